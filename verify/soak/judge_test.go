package soak

import (
	"strings"
	"testing"
	"time"

	"reprise/domain"
	"reprise/eventstore"
	"reprise/verify/internal/chronicle"
)

// TestJudgeOfRuns makes sure that the judge of runs is not asleep. Attempt 1 runs
// from second 0 to 10; attempt 2 from second 5 to 6, unless a case says other.
func TestJudgeOfRuns(t *testing.T) {
	t.Parallel()
	at := func(second float64) time.Time {
		return time.Unix(1000, 0).Add(time.Duration(second * float64(time.Second)))
	}
	for name, c := range map[string]struct {
		change func(c *ledger, w *town, a, b *stint)
		says   string
	}{
		"nobody took it":       {func(*ledger, *town, *stint, *stint) {}, "nobody took"},
		"taken afterwards":     {func(c *ledger, _ *town, a, _ *stint) { c.takings[a.attemptKey] = at(6) }, "nobody took"},
		"ran on for too long":  {func(c *ledger, _ *town, a, _ *stint) { c.takings[a.attemptKey] = at(1) }, "ran on until"},
		"noticed in time":      {func(c *ledger, _ *town, a, _ *stint) { c.takings[a.attemptKey], a.end = at(4), at(8) }, ""},
		"was stalled":          {func(c *ledger, w *town, a, _ *stint) { c.takings[a.attemptKey], w.woken["w1"] = at(1), at(9) }, ""},
		"one after the other":  {func(_ *ledger, _ *town, a, _ *stint) { a.end = at(5) }, ""},
		"the same attempt":     {func(_ *ledger, _ *town, a, b *stint) { b.attempt = a.attempt }, "was run by w2 and by w1"},
		"run without a claim":  {func(c *ledger, _ *town, a, _ *stint) { a.end = at(5); delete(c.claims, a.attemptKey) }, "the events give it to"},
		"claimed by another":   {func(c *ledger, _ *town, a, _ *stint) { a.end = at(5); c.claims[a.attemptKey] = "w3" }, "the events give it to"},
		"the logs are swapped": {func(_ *ledger, _ *town, a, b *stint) { *a, *b = *b, *a }, "nobody took"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			step := stepKey{"ada", "s1", "c0", "s0"}
			a := &stint{attemptKey: attemptKey{step, 1}, worker: "w1", start: at(0), end: at(10)}
			b := &stint{attemptKey: attemptKey{step, 2}, worker: "w2", start: at(5), end: at(6)}
			chron, w := newLedger(), &town{woken: map[string]time.Time{}}
			chron.Tales[eventstore.Key{User: "ada", Session: "s1"}] = &chronicle.Tale{Commits: []*domain.Commit{{}}}
			chron.claims[a.attemptKey], chron.claims[b.attemptKey] = "w1", "w2"
			c.change(chron, w, a, b)
			said := ""
			for _, err := range checkStints(chron, w, []*stint{a, b}) {
				said += err.Error()
			}
			if c.says == "" && said != "" || !strings.Contains(said, c.says) {
				t.Errorf("it says %q, want %q", said, c.says)
			}
		})
	}
}
