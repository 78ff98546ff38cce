package eventstore

import (
	"testing"

	"reprise/domain"
)

// ownAt is a commit of this store at a sequence, on a session of its own.
func ownAt(seq uint64) Committed {
	return Committed{Key: Key{User: "ada", Session: "s"}, Seq: seq, Prev: 4, Hash: "hash", Commit: &domain.Commit{ID: "c", User: "ada", Session: "s"}}
}

func windowFrom(next uint64) *ownCommits {
	o := newOwnCommits()
	o.attach(next)
	return o
}

// taken is the sequences that a follower gets at once.
func taken(o *ownCommits) []uint64 {
	var seqs []uint64
	run, _ := o.take(make([]Committed, 0, 3))
	for _, c := range run {
		seqs = append(seqs, c.Seq)
	}
	return seqs
}

func equalSeqs(t *testing.T, what string, got []uint64, want ...uint64) {
	t.Helper()
	if len(got) != len(want) {
		t.Fatalf("%s: the follower gets %v, not %v", what, got, want)
	}
	for i := range got {
		if got[i] != want[i] {
			t.Fatalf("%s: the follower gets %v, not %v", what, got, want)
		}
	}
}

func TestOwnCommitsAreTakenInOrder(t *testing.T) {
	o := windowFrom(9)
	for _, seq := range []uint64{11, 12, 10, 14} {
		o.add(ownAt(seq), []byte("body"))
	}
	equalSeqs(t, "before 9", taken(o))
	select {
	case <-o.wake:
		t.Error("it is woken for nothing")
	default:
	}
	o.add(ownAt(9), nil)
	<-o.wake
	equalSeqs(t, "at most what it has room for", taken(o), 9, 10, 11)
	equalSeqs(t, "the rest", taken(o), 12)
	if r := o.ahead(); r.kept != 14 || !r.known || r.lost {
		t.Errorf("ahead is %+v", r)
	}
	o.skip(14)
	equalSeqs(t, "behind the gap", taken(o), 14)
	if r := o.ahead(); r != (row{settled: true}) || o.bytes != 0 {
		t.Errorf("ahead is %+v, with %d bytes", r, o.bytes)
	}
}

func TestOwnCommitsKnowTheirMessages(t *testing.T) {
	m := Message{Key: Key{User: "ada", Session: "s"}, Seq: 9, Prev: 4, Guarded: true, Body: []byte("body")}
	changes := map[string]func(*Message){
		"another sequence":     func(m *Message) { m.Seq = 10 },
		"another body":         func(m *Message) { m.Body = []byte("other") },
		"no guard":             func(m *Message) { m.Guarded = false },
		"another guard":        func(m *Message) { m.Prev = 5 },
		"another session":      func(m *Message) { m.Key.Session = "s2" },
		"another user":         func(m *Message) { m.Key.User = "eve" },
		"a whole window later": func(m *Message) { m.Seq += ownWindow },
	}
	for name, change := range changes {
		o, other := windowFrom(9), m
		o.add(ownAt(9), []byte("body"))
		change(&other)
		if _, ok := o.match(other); ok {
			t.Errorf("%s: %+v is taken for another", name, other)
		}
		if o.next != other.Seq+1 || o.bytes != 0 {
			t.Errorf("%s: next is %d, with %d bytes", name, o.next, o.bytes)
		}
	}
	o := windowFrom(7)
	o.add(ownAt(9), []byte("body"))
	if c, ok := o.match(m); !ok || c != ownAtLike(c) {
		t.Errorf("it is %+v (%v)", c, ok)
	}
}

// ownAtLike is ownAt(9) with the commit of another, which is a pointer.
func ownAtLike(c Committed) Committed {
	want := ownAt(9)
	want.Commit = c.Commit
	return want
}

func TestOwnCommitsAreBounded(t *testing.T) {
	o := windowFrom(1)
	o.add(ownAt(ownWindow), nil)
	o.add(ownAt(ownWindow+1), nil)
	if r := o.ahead(); r.kept != ownWindow || !r.lost {
		t.Errorf("beyond the window ahead is %+v", r)
	}
	o = windowFrom(1)
	half := make([]byte, ownBytes/2+1)
	for _, seq := range []uint64{3, 4, 5, 1} {
		o.add(ownAt(seq), half)
	}
	equalSeqs(t, "what it needs is kept in any case", taken(o), 1)
	o.skip(3)
	equalSeqs(t, "as much as there is room for", taken(o), 3, 4)
	if r := o.ahead(); r.kept != 0 || !r.known || !r.lost || o.bytes != 0 {
		t.Errorf("ahead is %+v, with %d bytes", r, o.bytes)
	}
}

func TestOwnCommitsReportLateAcknowledgements(t *testing.T) {
	o := windowFrom(5)
	o.add(ownAt(4), nil)
	o.add(ownAt(5), nil)
	if run, late := o.take(make([]Committed, 0, 3)); len(run) != 0 || !late {
		t.Errorf("it gets %v (%v)", run, late)
	}
	equalSeqs(t, "then", taken(o), 5)
}

func TestOwnCommitsAreForOneFollower(t *testing.T) {
	o := newOwnCommits()
	o.add(ownAt(1), []byte("nobody follows"))
	if !o.attach(1) || o.attach(1) {
		t.Error("not exactly the first follower gets them")
	}
	equalSeqs(t, "from before", taken(o))
	o.add(ownAt(1), nil)
	o.detach()
	if o.window != nil || !o.attach(1) {
		t.Error("the next follower can't begin")
	}
	equalSeqs(t, "from the one before", taken(o))
}

func TestOwnCommitsKnowWhatIsUnderWay(t *testing.T) {
	o := windowFrom(1)
	first := o.begin()
	if !o.mark() || o.ahead().settled {
		t.Error("the first append is forgotten")
	}
	second := o.begin()
	if o.mark() {
		t.Error("the second mark does not wait for the first")
	}
	o.end(first)
	if !o.ahead().settled {
		t.Error("it waits for an append that began after the mark")
	}
	if !o.mark() || o.ahead().settled {
		t.Error("the second append is forgotten")
	}
	o.end(second)
	if !o.ahead().settled || o.underway != [2]int{} {
		t.Errorf("appends are under way: %v", o.underway)
	}
}
