#!/bin/sh
# Writes NAME.svg: the monthly means of one column for each station.
#   plot.sh NAME COLUMN TITLE
set -eu
dir=${DATA_DIR:-bin/data}
awk -F, -v column="$2" -v title="$3" '
{
	month = int(($1 - 1) * 12 / 365)
	sum[$2, month] += $column; n[$2, month]++
	if (!($2 in index_of)) { index_of[$2] = ++stations; name[stations] = $2 }
}
END {
	split("#2a6fb0 #c8553d #5a8f3c #8a5fa8", colour, " ")
	low = 0; high = 1
	for (key in sum) {
		mean[key] = sum[key] / n[key]
		if (mean[key] < low) low = mean[key]
		if (mean[key] > high) high = mean[key]
	}
	width = 640; height = 320; left = 48; top = 40; bottom = 280; step = (width - left - 100) / 11
	printf "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 %d %d\" font-family=\"sans-serif\" font-size=\"12\">\n", width, height
	printf "<rect width=\"100%%\" height=\"100%%\" fill=\"#fff\"/>\n<text x=\"%d\" y=\"24\" font-size=\"16\">%s</text>\n", left, title
	for (i = 0; i <= 4; i++) {
		value = low + (high - low) * i / 4; y = bottom - (bottom - top) * i / 4
		printf "<line x1=\"%d\" y1=\"%.1f\" x2=\"%d\" y2=\"%.1f\" stroke=\"#ddd\"/>", left, y, width - 100, y
		printf "<text x=\"%d\" y=\"%.1f\" text-anchor=\"end\">%.1f</text>\n", left - 6, y + 4, value
	}
	for (m = 0; m < 12; m++)
		printf "<text x=\"%.1f\" y=\"%d\" text-anchor=\"middle\">%s</text>\n", left + m * step, bottom + 20, substr("JanFebMarAprMayJunJulAugSepOctNovDec", m * 3 + 1, 3)
	for (s = 1; s <= stations; s++) {
		printf "<polyline fill=\"none\" stroke=\"%s\" stroke-width=\"2\" points=\"", colour[(s - 1) % 4 + 1]
		for (m = 0; m < 12; m++)
			if ((name[s], m) in mean)
				printf "%.1f,%.1f ", left + m * step, bottom - (bottom - top) * (mean[name[s], m] - low) / (high - low)
		printf "\"/>\n<text x=\"%d\" y=\"%d\" fill=\"%s\">%s</text>\n", width - 88, top + 20 * s, colour[(s - 1) % 4 + 1], name[s]
	}
	print "</svg>"
}' "$dir/clean.csv" >"$dir/$1.svg"
echo "$dir/$1.svg"
