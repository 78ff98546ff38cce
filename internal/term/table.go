package term

import (
	"io"
	"strings"
	"unicode/utf8"
)

// gap is what stands between two columns.
const gap = "  "

// Table gathers rows and writes them with aligned columns. Cells may be styled.
type Table struct {
	header []string
	rows   [][]string
	p      Palette
}

// NewTable returns a table with these column names; none for no header line.
func NewTable(p Palette, header ...string) *Table { return &Table{p: p, header: header} }

// Row adds a row. Line breaks in cells become spaces.
func (t *Table) Row(cells ...string) {
	for i := range cells {
		cells[i] = OneLine(cells[i])
	}
	t.rows = append(t.rows, cells)
}

// Write writes the table. The last column is not padded.
func (t *Table) Write(w io.Writer) error {
	widths := t.widths()
	var b strings.Builder
	if len(t.header) > 0 {
		line := make([]string, len(t.header))
		for i, name := range t.header {
			line[i] = t.p.Apply(Bold, name)
		}
		writeRow(&b, line, widths)
	}
	for _, row := range t.rows {
		writeRow(&b, row, widths)
	}
	_, err := io.WriteString(w, b.String())
	return err
}

func (t *Table) widths() []int {
	var widths []int
	for _, row := range append([][]string{t.header}, t.rows...) {
		for i, cell := range row {
			if i == len(widths) {
				widths = append(widths, 0)
			}
			widths[i] = max(widths[i], Width(cell))
		}
	}
	return widths
}

func writeRow(b *strings.Builder, cells []string, widths []int) {
	var line strings.Builder
	for i, cell := range cells {
		if i > 0 {
			line.WriteString(gap)
		}
		line.WriteString(cell)
		if i < len(cells)-1 {
			line.WriteString(strings.Repeat(" ", widths[i]-Width(cell)))
		}
	}
	b.WriteString(strings.TrimRight(line.String(), " "))
	b.WriteByte('\n')
}

// Width is the number of characters of text without its styles.
func Width(text string) int { return utf8.RuneCountInString(strip(text)) }

// strip removes what Palette.Apply adds.
func strip(text string) string {
	for {
		start := strings.Index(text, "\x1b[")
		if start < 0 {
			return text
		}
		end := strings.IndexByte(text[start:], 'm')
		if end < 0 {
			return text
		}
		text = text[:start] + text[start+end+1:]
	}
}

// OneLine replaces line breaks and tabs by spaces and drops other control
// characters but for the escape that begins a style, so that what somebody
// stored can't take the layout apart.
func OneLine(text string) string {
	return strings.Map(func(r rune) rune {
		switch {
		case r == '\n' || r == '\r' || r == '\t':
			return ' '
		case r < ' ' && r != '\x1b', r == 0x7f:
			return -1
		}
		return r
	}, text)
}

// Safe drops every control character but line breaks and tabs: for text from
// elsewhere, such as an error message, which must not steer the terminal.
func Safe(text string) string {
	return strings.Map(func(r rune) rune {
		if (r < ' ' && r != '\n' && r != '\t') || r == 0x7f || (r >= 0x80 && r < 0xa0) {
			return -1
		}
		return r
	}, text)
}

// Shorten cuts text to at most n characters, the last one an ellipsis then.
func Shorten(text string, n int) string {
	if utf8.RuneCountInString(text) <= n {
		return text
	}
	runes := []rune(text)
	return string(runes[:max(n-1, 0)]) + "…"
}
