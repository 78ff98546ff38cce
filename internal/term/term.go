// Package term writes for people: states that are easy to tell apart, tables,
// times as one says them. Colour goes to terminals only and respects NO_COLOR.
package term

import (
	"io"
	"os"
)

// Style is an ANSI rendition, such as "31" for red. The empty style is none.
type Style string

// The styles in use.
const (
	Plain   Style = ""
	Bold    Style = "1"
	Dim     Style = "2"
	Red     Style = "31"
	Green   Style = "32"
	Yellow  Style = "33"
	Blue    Style = "34"
	Magenta Style = "35"
	Cyan    Style = "36"
)

// Palette applies styles, or nothing where colour is not wanted. The zero value
// applies nothing.
type Palette struct{ on bool }

// NewPalette returns a palette for w: with colour if w is a terminal, NO_COLOR
// is not set (see no-color.org) and TERM is not "dumb".
func NewPalette(w io.Writer, getenv func(string) string) Palette {
	return Palette{on: IsTerminal(w) && getenv("NO_COLOR") == "" && getenv("TERM") != "dumb"}
}

// Always returns a palette with colour whatever the writer is.
func Always() Palette { return Palette{on: true} }

// Apply returns text in a style.
func (p Palette) Apply(style Style, text string) string {
	if !p.on || style == Plain || text == "" {
		return text
	}
	return "\x1b[" + string(style) + "m" + text + "\x1b[0m"
}

// IsTerminal reports whether w is a character device, which a terminal is.
func IsTerminal(w any) bool {
	file, ok := w.(*os.File)
	if !ok {
		return false
	}
	info, err := file.Stat()
	return err == nil && info.Mode()&os.ModeCharDevice != 0
}

// look is how one state is shown.
type look struct {
	symbol string
	style  Style
}

// looks covers the states of sessions, chains and steps. Each symbol is one
// column wide in every terminal.
var looks = map[string]look{
	"PENDING":   {"○", Dim},
	"RUNNING":   {"●", Blue},
	"PAUSED":    {"‖", Yellow},
	"COMPLETED": {"✓", Green},
	"SUCCESS":   {"✓", Green},
	"FAILED":    {"✗", Red},
	"TIMEOUT":   {"◷", Red},
	"CANCELLED": {"⊘", Magenta},
	"SKIPPED":   {"»", Cyan},
}

// Symbol returns the symbol of a state, coloured; "?" for an unknown one.
func Symbol[S ~string](p Palette, state S) string {
	l, ok := looks[string(state)]
	if !ok {
		return "?"
	}
	return p.Apply(l.style, l.symbol)
}

// State returns symbol and word of a state, coloured.
func State[S ~string](p Palette, state S) string {
	l, ok := looks[string(state)]
	if !ok {
		return "? " + string(state)
	}
	return p.Apply(l.style, l.symbol+" "+string(state))
}

// Word returns the word of a state, coloured.
func Word[S ~string](p Palette, state S) string {
	return p.Apply(looks[string(state)].style, string(state))
}
