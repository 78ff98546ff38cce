package main

import (
	"fmt"
	"strings"
	"unicode"
)

// wide are the characters that take two columns: East Asian ones and emoji. A
// terminal that sees it differently clips the line, since it doesn't wrap.
var wide = &unicode.RangeTable{
	R16: []unicode.Range16{
		{0x1100, 0x115f, 1},
		{0x231a, 0x231b, 1},
		{0x23e9, 0x23ec, 1},
		{0x25fd, 0x25fe, 1},
		{0x2614, 0x2615, 1},
		{0x2648, 0x2653, 1},
		{0x26a1, 0x26a1, 1},
		{0x2705, 0x2705, 1},
		{0x274c, 0x274c, 1},
		{0x2757, 0x2757, 1},
		{0x2e80, 0x303e, 1},
		{0x3041, 0x4dbf, 1},
		{0x4e00, 0xa4cf, 1},
		{0xac00, 0xd7a3, 1},
		{0xf900, 0xfaff, 1},
		{0xfe30, 0xfe6f, 1},
		{0xff00, 0xff60, 1},
		{0xffe0, 0xffe6, 1},
	},
	R32: []unicode.Range32{{0x1f300, 0x1f64f, 1}, {0x1f680, 0x1f6ff, 1}, {0x1f900, 0x1f9ff, 1}, {0x20000, 0x3fffd, 1}},
}

// columns is how many columns one character takes.
func columns(r rune) int {
	switch {
	case unicode.In(r, unicode.Mn, unicode.Me, unicode.Cf):
		return 0
	case unicode.Is(wide, r):
		return 2
	}
	return 1
}

// cells is how many columns a text takes, without its styles.
func cells(text string) int {
	n, style := 0, false
	for _, r := range text {
		switch {
		case style:
			style = r != 'm'
		case r == '\x1b':
			style = true
		default:
			n += columns(r)
		}
	}
	return n
}

// fit cuts a text without styles to that many columns, the last one an ellipsis
// then.
func fit(text string, width int) string {
	if cells(text) <= width {
		return text
	}
	n := 0
	for i, r := range text {
		if n += columns(r); n > width-1 {
			return text[:i] + strings.Repeat("…", min(1, max(width, 0)))
		}
	}
	return text
}

// up moves the cursor up.
func up(rows int) string { return fmt.Sprintf("\x1b[%dA", rows) }
