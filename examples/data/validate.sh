#!/bin/sh
# Checks the stations: `complete`, `ranges`, or a `report` as JSON.
set -eu
dir=${DATA_DIR:-bin/data}
case $1 in
complete)
	for file in "$dir"/stations/*.csv; do
		awk -F, -v file="$file" 'seen[$1]++ {print file ": day " $1 " is there twice" > "/dev/stderr"; exit 1}' "$file"
		echo "$file: $(($(wc -l <"$file"))) days"
	done
	;;
ranges)
	for file in "$dir"/stations/*.csv; do
		awk -F, -v file="$file" '$3 < -40 || $3 > 50 || $4 < 0 || $4 > 500 {
			print file ": day " $1 " is out of range: " $0 > "/dev/stderr"; exit 1}' "$file"
		echo "$file: in range"
	done
	;;
report)
	awk -F, '{rows[$2]++} END {
		printf "{"
		for (name in rows) printf "%s\"%s\": %d", (n++ ? ", " : ""), name, rows[name]
		print "}"
	}' "$dir/clean.csv"
	;;
*)
	echo "validate.sh: there is no check \"$1\"; use complete, ranges or report" >&2
	exit 2
	;;
esac
