package main

import (
	"io"
	"slices"
	"strings"
	"sync"
)

// What steers a terminal; see ECMA-48 and the DEC private modes, which all
// terminals in use have, or ignore.
const (
	hideCursor, showCursor = "\x1b[?25l", "\x1b[?25h"
	noWrap, wrap           = "\x1b[?7l", "\x1b[?7h"
	// A picture between these two is shown at once (mode 2026).
	beginUpdate, endUpdate = "\x1b[?2026h", "\x1b[?2026l"
	clearLine, clearBelow  = "\x1b[K", "\x1b[J"
)

// The size of a terminal that doesn't say.
const (
	unknownWidth, unknownHeight = 80, 24
	// minWidth keeps a terminal of a few columns from making nonsense.
	minWidth = 20
)

// screen draws lines in place, below what the terminal had. It is safe for
// concurrent use.
type screen struct {
	out  io.Writer
	size func(out any) (width, height int, ok bool)

	mu sync.Mutex
	// open is set until close; begun once something was drawn.
	open, begun bool
	lines       []string
	width       int
}

func newScreen(out io.Writer, size func(any) (int, int, bool)) *screen {
	return &screen{out: out, size: size, open: true}
}

// bounds returns the size that lines may have now. The last column stays free:
// clearing from there would take its character away.
func (s *screen) bounds() (width, height int) {
	width, height, ok := s.size(s.out)
	if !ok || width <= 0 || height <= 0 {
		return unknownWidth - 1, unknownHeight
	}
	return max(width, minWidth) - 1, height
}

// draw puts lines in the place of those before. Each has to fit the width.
func (s *screen) draw(lines []string) {
	width, _ := s.bounds()
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.open || (slices.Equal(lines, s.lines) && width == s.width) {
		return
	}
	var b strings.Builder
	s.rewind(&b, width)
	s.put(&b, lines, width)
	_, _ = io.WriteString(s.out, b.String())
}

// above writes a text that stays, over the lines.
func (s *screen) above(text string) {
	width, _ := s.bounds()
	s.mu.Lock()
	defer s.mu.Unlock()
	var b strings.Builder
	if s.open && s.begun {
		s.rewind(&b, width)
		b.WriteString(wrap)
	}
	b.WriteString(strings.ReplaceAll(text, "\n", clearLine+"\r\n") + clearLine + "\r\n")
	if s.open && s.begun {
		b.WriteString(noWrap)
		s.put(&b, s.lines, width)
	}
	_, _ = io.WriteString(s.out, b.String())
}

// rewind goes to the first line that was drawn. A terminal that got narrower has
// broken long lines into several.
func (s *screen) rewind(b *strings.Builder, width int) {
	b.WriteString(beginUpdate)
	if !s.begun {
		s.begun = true
		b.WriteString(hideCursor + noWrap)
	}
	b.WriteByte('\r')
	rows := 0
	for _, line := range s.lines {
		rows += 1 + max(0, cells(line)-1)/width
	}
	if rows > 0 {
		b.WriteString(up(rows))
	}
}

func (s *screen) put(b *strings.Builder, lines []string, width int) {
	for _, line := range lines {
		b.WriteString(line + clearLine + "\r\n")
	}
	b.WriteString(clearBelow + endUpdate)
	s.lines, s.width = lines, width
}

// close gives the terminal back; the lines stay.
func (s *screen) close() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.open && s.begun {
		_, _ = io.WriteString(s.out, wrap+showCursor)
	}
	s.open = false
}

// suspend gives the terminal back for a while; the next draw goes on below.
func (s *screen) suspend() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.open && s.begun {
		_, _ = io.WriteString(s.out, wrap+showCursor)
	}
	s.begun, s.lines = false, nil
}
