package term

import (
	"os"
	"strings"
	"testing"
	"time"

	"reprise/domain"
)

func TestColour(t *testing.T) {
	env := func(pairs ...string) func(string) string {
		return func(name string) string {
			for i := 0; i < len(pairs); i += 2 {
				if pairs[i] == name {
					return pairs[i+1]
				}
			}
			return ""
		}
	}
	device, err := os.Open(os.DevNull) // a character device, as a terminal is
	if err != nil {
		t.Skip("no null device here")
	}
	defer func() { _ = device.Close() }()
	tests := []struct {
		name    string
		palette Palette
		want    bool
	}{
		{"terminal", NewPalette(device, env("TERM", "xterm")), true},
		{"NO_COLOR", NewPalette(device, env("NO_COLOR", "1")), false},
		{"dumb", NewPalette(device, env("TERM", "dumb")), false},
		{"pipe", NewPalette(&strings.Builder{}, env()), false},
		{"zero", Palette{}, false},
		{"always", Always(), true},
	}
	for _, tt := range tests {
		if got := tt.palette.Apply(Red, "x") != "x"; got != tt.want {
			t.Errorf("%s: colour %v, want %v", tt.name, got, tt.want)
		}
	}
	if Always().Apply(Plain, "x") != "x" || Always().Apply(Red, "") != "" {
		t.Error("nothing to style was styled")
	}
	closed, _ := os.Open(os.DevNull)
	_ = closed.Close()
	if IsTerminal(closed) {
		t.Error("a closed file is a terminal")
	}
}

// TestStatesDiffer: every state has a symbol; within sessions, chains and steps
// no two look alike.
func TestStatesDiffer(t *testing.T) {
	seen := map[string]bool{}
	check := func(kind, state string) {
		symbol := Symbol(Palette{}, state)
		if symbol == "?" || Width(symbol) != 1 || seen[kind+symbol] {
			t.Errorf("%s %s has symbol %q", kind, state, symbol)
		}
		seen[kind+symbol] = true
		if got := Word(Palette{}, state); got != state {
			t.Errorf("word %q", got)
		}
		if got := State(Palette{}, state); got != symbol+" "+state {
			t.Errorf("state %q", got)
		}
	}
	for _, s := range domain.States() {
		check("session", string(s))
	}
	for _, s := range domain.ChainStatuses() {
		check("chain", string(s))
	}
	for _, s := range domain.StepStatuses() {
		check("step", string(s))
	}
	if Symbol(Palette{}, "NEW") != "?" || State(Palette{}, "NEW") != "? NEW" {
		t.Error("an unknown state has a look")
	}
}

func TestTable(t *testing.T) {
	table := NewTable(Always(), "ID", "STATE", "")
	table.Row("a", State(Always(), domain.StateRunning), "two\nlines")
	table.Row("long-id", "x", "")
	var b strings.Builder
	if err := table.Write(&b); err != nil {
		t.Fatal(err)
	}
	want := "ID       STATE\na        ● RUNNING  two lines\nlong-id  x\n"
	if got := strip(b.String()); got != want {
		t.Errorf("table\n%q, want\n%q", got, want)
	}
}

func TestText(t *testing.T) {
	if got := strip("\x1b[31mred\x1b[0m \x1b[broken"); got != "red \x1b[broken" {
		t.Errorf("strip: %q", got)
	}
	if got := Safe("a\x1b[2Jb\n\tc\u009b"); got != "a[2Jb\n\tc" {
		t.Errorf("safe: %q", got)
	}
	if got := OneLine("a\r\n\x00b"); got != "a  b" {
		t.Errorf("one line: %q", got)
	}
	for _, tt := range []struct {
		text string
		n    int
		want string
	}{{"short", 5, "short"}, {"longer", 5, "long…"}, {"äöü", 2, "ä…"}, {"x", 0, "…"}} {
		if got := Shorten(tt.text, tt.n); got != tt.want {
			t.Errorf("shorten %q to %d: %q", tt.text, tt.n, got)
		}
	}
}

func TestTimes(t *testing.T) {
	for d, want := range map[time.Duration]string{
		0: "0ms", 850 * time.Millisecond: "850ms", 3250 * time.Millisecond: "3.2s", 4 * time.Second: "4s", 42 * time.Second: "42s",
		250 * time.Second: "4m10s", time.Minute: "1m", 125 * time.Minute: "2h5m", 76 * time.Hour: "3d4h", -time.Second: "-1s",
	} {
		if got := Span(d); got != want {
			t.Errorf("span %v: %s, want %s", d, got, want)
		}
	}
	now := time.Date(2026, 11, 21, 13, 31, 5, 0, time.UTC)
	for d, want := range map[time.Duration]string{
		0: "just now", 30 * time.Second: "30s ago", 200 * time.Second: "3m ago", 5 * time.Hour: "5h ago", 72 * time.Hour: "3d ago",
		-80 * time.Second: "in 1m", -(time.Hour - time.Millisecond): "in 1h", -9990 * time.Millisecond: "in 10s", -100 * time.Minute: "in 2h",
	} {
		if got := Ago(now, now.Add(-d)); got != want {
			t.Errorf("ago %v: %s, want %s", d, got, want)
		}
	}
	if Ago(now, time.Time{}) != "" || Moment(now, time.Time{}) != "" {
		t.Error("the zero time is a time")
	}
	if got := Moment(now, now.Add(-time.Minute)); got != "2026-11-21 13:30:05 UTC (1m ago)" {
		t.Errorf("moment %s", got)
	}
}
