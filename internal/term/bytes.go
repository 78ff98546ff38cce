package term

import "strconv"

// Bytes writes a number of bytes as people read it: 999 B, 1.2 kB, 34 MB.
func Bytes(n uint64) string {
	if n < 1000 {
		return strconv.FormatUint(n, 10) + " B"
	}
	value, unit := float64(n), -1
	for value >= 999.5 && unit < len(byteUnits)-1 {
		value /= 1000
		unit++
	}
	digits := 0
	if value < 9.95 {
		digits = 1
	}
	return strconv.FormatFloat(value, 'f', digits, 64) + " " + byteUnits[unit]
}

var byteUnits = []string{"kB", "MB", "GB", "TB", "PB", "EB"}
