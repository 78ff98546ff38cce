package main

import (
	"slices"
	"strconv"
	"strings"
	"testing"

	"reprise/internal/term"
)

// glass is a terminal that understands what a screen writes.
type glass struct {
	rows     [][]rune
	row, col int
	hidden   bool
	nowrap   bool
}

func (g *glass) Write(p []byte) (int, error) {
	text := []rune(string(p))
	for i := 0; i < len(text); i++ {
		for len(g.rows) <= g.row {
			g.rows = append(g.rows, nil)
		}
		switch text[i] {
		case '\r':
			g.col = 0
		case '\n':
			g.row++
		case '\x1b':
			end := i + 2 + slices.IndexFunc(text[i+2:], func(r rune) bool { return r >= '@' })
			g.steer(string(text[i+2:end]), text[end])
			i = end
		default:
			g.rows[g.row] = append(g.rows[g.row][:min(g.col, len(g.rows[g.row]))], text[i])
			g.col++
		}
	}
	return len(p), nil
}

func (g *glass) steer(args string, verb rune) {
	switch {
	case verb == 'A':
		n, _ := strconv.Atoi(args)
		g.row = max(g.row-n, 0)
	case verb == 'K':
		g.rows[g.row] = g.rows[g.row][:min(g.col, len(g.rows[g.row]))]
	case verb == 'J':
		g.rows = g.rows[:g.row]
	case args == "?25":
		g.hidden = verb == 'l'
	case args == "?7":
		g.nowrap = verb == 'l'
	}
}

func (g *glass) String() string {
	lines := make([]string, 0, len(g.rows))
	for _, row := range g.rows {
		lines = append(lines, string(row))
	}
	return strings.TrimRight(strings.Join(lines, "\n"), "\n")
}

func TestScreen(t *testing.T) {
	g, width := &glass{}, 20
	s := newScreen(g, func(any) (int, int, bool) { return width, 10, true })
	see := func(want string) {
		t.Helper()
		if got := g.String(); got != want {
			t.Errorf("the terminal shows\n%s\nwant\n%s", got, want)
		}
	}
	s.above("before")
	s.draw([]string{"one", "two and a half", "three"})
	see("before\none\ntwo and a half\nthree")
	if !g.hidden || !g.nowrap {
		t.Error("the cursor is shown while it draws")
	}
	s.draw([]string{"1", "2"})
	see("before\n1\n2")
	s.above("a notice\nof two lines")
	see("before\na notice\nof two lines\n1\n2")
	s.suspend()
	if g.hidden || g.nowrap {
		t.Error("a stopped process has left the terminal as it was drawing")
	}
	s.draw([]string{"again"})
	see("before\na notice\nof two lines\n1\n2\nagain")
	s.close()
	s.draw([]string{"too late"})
	s.close()
	see("before\na notice\nof two lines\n1\n2\nagain")
	if g.hidden || g.nowrap {
		t.Error("the cursor is hidden after the end")
	}
}

// TestScreenGetsNarrower: lines that the terminal broke are drawn over.
func TestScreenGetsNarrower(t *testing.T) {
	g, width := &glass{}, 40
	s := newScreen(g, func(any) (int, int, bool) { return width, 10, true })
	s.draw([]string{strings.Repeat("x", 39), "short"})
	g.rows = [][]rune{[]rune(strings.Repeat("x", 20)), []rune(strings.Repeat("x", 19)), []rune("short")}
	g.row, width = 3, 21
	s.draw([]string{"narrow"})
	if got := g.String(); got != "narrow" {
		t.Errorf("the terminal shows %q", got)
	}
	unknown := newScreen(g, terminalSize)
	if w, h := unknown.bounds(); w != unknownWidth-1 || h != unknownHeight {
		t.Errorf("a size of %d × %d", w, h)
	}
}

func TestWidths(t *testing.T) {
	for _, tt := range []struct {
		text  string
		width int
		want  string
	}{
		{"plain", 5, "plain"},
		{"plain", 4, "pla…"},
		{"日本語", 6, "日本語"},
		{"日本語", 5, "日本…"},
		{"日本語", 4, "日…"},
		{"e\u0301tude", 5, "e\u0301tude"},
		{"✅ done", 7, "✅ done"},
		{"x", 0, ""},
		{"", 3, ""},
	} {
		if got := fit(tt.text, tt.width); got != tt.want || cells(got) > tt.width {
			t.Errorf("fit %q to %d: %q", tt.text, tt.width, got)
		}
	}
	if got := cells(term.Always().Apply(term.Red, "日本")); got != 4 {
		t.Errorf("%d columns", got)
	}
}
