package verify

import (
	"testing"
	"time"

	"pgregory.net/rapid"

	"reprise/domain"
)

// TestDomain drives the rules with random commands over a few sessions of one
// user and checks after every commit what must always hold.
func TestDomain(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		w := newWorld()
		w.handle(t, w.lane("s1"), &domain.Create{Definition: genDefinition(t)})
		w.handle(t, w.lane("s1"), &domain.Start{})
		t.Repeat(map[string]func(*rapid.T){
			"command":   w.command,
			"command 2": w.command,
			"command 3": w.command,
			"batch":     w.batch,
			"fork":      w.fork,
			"move":      w.moveAcross,
			"again":     w.again,
			"time":      w.pass,
		})
	})
}

func (w *world) someLane(t *rapid.T) *lane {
	return w.lane(rapid.SampledFrom([]string{"s1", "s1", "s1", "s2", "s3"}).Draw(t, "session"))
}

func (w *world) command(t *rapid.T) {
	l := w.someLane(t)
	w.handle(t, l, genCommand(t, l.s))
}

func (w *world) batch(t *rapid.T) {
	l := w.someLane(t)
	b := &domain.Batch{Mode: domain.BatchMode(oneOf(t, "batch mode", "all", "each"))}
	for range rapid.IntRange(1, 4).Draw(t, "batch size") {
		b.Commands = append(b.Commands, genCommand(t, l.s))
	}
	w.handle(t, l, b)
}

func (w *world) fork(t *rapid.T) {
	source, l := w.someLane(t), w.someLane(t)
	before := text(t, source.s)
	w.handle(t, l, &domain.Fork{Source: whole(t, source)})
	if l != source && text(t, source.s) != before {
		t.Fatalf("a fork changed its parent")
	}
}

func (w *world) moveAcross(t *rapid.T) {
	src, dst := w.someLane(t), w.someLane(t)
	if src == dst {
		return
	}
	w.move(t, src, dst, &domain.MoveChain{Chain: genChainID(t, src.s), To: dst.s.ID, Position: genPosition(t, dst.s)})
}

// again sends a command a second time: the id is found before anything is
// decided, and says which commit answers it.
func (w *world) again(t *rapid.T) {
	l := w.someLane(t)
	if len(l.commits) == 0 {
		return
	}
	last := l.commits[len(l.commits)-1]
	seen, ok := l.s.FindRecent(last.ID)
	if !ok || seen.Version != last.Version || !seen.Same(last.Digest) || seen.Same(domain.Digest("other", nil)) {
		t.Fatalf("command %s of version %d is remembered as %+v", last.ID, last.Version, seen)
	}
}

// pass lets time go by, now and then backwards.
func (w *world) pass(t *rapid.T) {
	steps := []time.Duration{-time.Minute, time.Millisecond, time.Second + 1, 10 * time.Second, time.Minute, time.Hour}
	w.now = w.now.Add(rapid.SampledFrom(steps).Draw(t, "pass"))
}
