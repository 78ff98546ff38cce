#!/bin/sh
# Writes raw.csv: day,station,temperature,rain for DAYS days, with a few faults.
set -eu
dir=${DATA_DIR:-bin/data}
mkdir -p "$dir"
awk -v seed="${SEED:-42}" -v days="${DAYS:-365}" 'BEGIN {
	srand(seed)
	split("coast valley ridge city", station, " ")
	split("11 9 3 12", mean, " ")
	print "day,station,temperature,rain"
	for (s = 1; s <= 4; s++)
		for (d = 1; d <= days; d++) {
			t = mean[s] - 10 * cos(6.28318 * (d - 15) / 365) + 6 * (rand() - 0.5)
			r = rand() < 0.35 ? -8 * log(1 - rand()) : 0
			value = sprintf("%.1f", t)
			if (rand() < 0.01) value = "n/a" # the sensor was off
			printf "%d,%s,%s,%.1f\n", d, station[s], value, r
		}
}' >"$dir/raw.csv"
echo "$(($(wc -l <"$dir/raw.csv") - 1)) rows in $dir/raw.csv"
