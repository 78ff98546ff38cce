package projections

import "reprise/eventstore"

// maxTrails bounds how many long sessions are followed. One that is not, has its
// block made from the events.
const maxTrails = 1024

// trail is what a session has had since its last block: enough to make the next
// one without reading.
type trail struct {
	number uint64
	seqs   []uint64
	last   uint64               // the sequence of the commit before the next one
	agg    eventstore.Aggregate // after that; Session nil while it is not known
}

// trails follow long sessions from the end of one block to that of the next. They
// are for one goroutine.
type trails map[eventstore.Key]*trail

// follow takes in a commit, and returns what the block that it ends consists of;
// false if it ends none, or not all of that is known.
func (t trails) follow(c Change) (trail, bool) {
	followed, known := t[c.Key]
	if known && !followed.take(c) {
		delete(t, c.Key)
		known = false
	}
	if !eventstore.EndsBlock(c.Commit) {
		return trail{}, false
	}
	next := &trail{number: eventstore.BlockOf(c.Commit.LastVersion() + 1), last: c.Seq}
	var ended trail
	if known {
		ended, next.agg = *followed, followed.agg
	}
	next.see(c)
	for key := range t {
		if known || len(t) < maxTrails {
			break
		}
		delete(t, key)
	}
	t[c.Key] = next
	return ended, known && ended.agg.Seq == c.Seq
}

// take adds a commit; false if it is not the next one of the trail.
func (t *trail) take(c Change) bool {
	if c.Prev != t.last || eventstore.BlockOf(c.Commit.Version) != t.number {
		return false
	}
	t.seqs, t.last = append(t.seqs, c.Seq), c.Seq
	t.see(c)
	return true
}

// see brings the state to the commit: the one that came with it if that is not a
// later one, else by folding. Remembered commands are not needed.
func (t *trail) see(c Change) {
	if c.After.Seq == c.Seq {
		t.agg = c.After
		return
	}
	after, ok := follow(t.agg, c.Committed)
	if !ok || after.Seq != c.Seq {
		t.agg = eventstore.Aggregate{}
		return
	}
	t.agg = after
}

// block makes the block that the trail ended with.
func (t *trail) block() (eventstore.Block, error) {
	return eventstore.NewBlock(t.number, t.seqs, t.agg)
}
