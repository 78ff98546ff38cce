#!/bin/sh
# Writes stations/NAME.csv, one file for each station of clean.csv.
set -eu
dir=${DATA_DIR:-bin/data}
rm -rf "$dir/stations"
mkdir -p "$dir/stations"
awk -F, -v dir="$dir/stations" '{print > (dir "/" $2 ".csv")}' "$dir/clean.csv"
echo "$(ls "$dir/stations" | wc -l | tr -d ' ') stations"
