#!/bin/sh
# Writes clean.csv: the rows of raw.csv whose values are numbers.
set -eu
dir=${DATA_DIR:-bin/data}
awk -F, 'NR > 1 && $3 ~ /^-?[0-9.]+$/ && $4 ~ /^[0-9.]+$/' "$dir/raw.csv" >"$dir/clean.csv"
raw=$(($(wc -l <"$dir/raw.csv") - 1))
clean=$(($(wc -l <"$dir/clean.csv")))
echo "$clean of $raw rows are clean"
