package storetest

import (
	"context"
	"errors"
	"fmt"
	"strconv"

	"reprise/eventstore"
)

var driverCases = []testCase{
	{"an append without a guard is refused", unguarded},
	{"a failed guard stores nothing", failedGuard},
	{"what is stored carries its guard, its headers and its body", storedWhole},
	{"several records are stored together or not at all", allOrNothing},
	{"a scan delivers what its filter selects, in order", scanFilters},
	{"a scan ends at the end as it was", scanEnds},
	{"an error of the callback ends a scan", scanStops},
	{"a follower gets what is there and what comes", follows},
	{"an error of the callback or the end of the context ends a follower", followStops},
	{"what is not there is not found", notFound},
	{"compaction removes what is before and leaves the rest", compacts},
	{"a user id of any text is kept", anyUser},
	{"an append under a context that is over is not a success", cancelled},
}

func put(k eventstore.Key, last uint64, body string) eventstore.Record {
	return eventstore.Record{Key: k, Guard: eventstore.ExpectLast(last), Header: map[string]string{"ce-id": body}, Body: []byte(body)}
}

func (w *world) append(records ...eventstore.Record) []uint64 {
	w.Helper()
	seqs, err := w.Driver.Append(w.ctx, records)
	w.must(err)
	return seqs
}

func (w *world) refused(kind error, records ...eventstore.Record) {
	w.Helper()
	before, err := w.Driver.Info(w.ctx)
	w.must(err)
	_, err = w.Driver.Append(w.ctx, records)
	w.want(err, kind)
	after, err := w.Driver.Info(w.ctx)
	w.must(err)
	w.equal("the store after a refused append", after, before)
}

func unguarded(w *world) {
	r := put(key(1), 0, "a")
	r.Guard = eventstore.Guard{}
	w.refused(eventstore.ErrUnguarded, r)
	w.refused(eventstore.ErrUnguarded, put(key(2), 0, "b"), r)
	if _, err := w.Driver.Append(w.ctx, nil); err == nil {
		w.Error("an append of nothing is accepted")
	}
	if _, err := w.Driver.Append(w.ctx, []eventstore.Record{put(key(1), 0, "a"), put(key(1), 1, "b")}); err == nil {
		w.Error("two records of one session are accepted")
	}
}

func failedGuard(w *world) {
	w.refused(eventstore.ErrConflict, put(key(1), 5, "a"))
	first := w.append(put(key(1), 0, "a"))[0]
	w.refused(eventstore.ErrConflict, put(key(1), 0, "b"))
	w.refused(eventstore.ErrConflict, put(key(1), first+1, "b"))
	w.append(put(key(2), 0, "other"))
	second := w.append(put(key(1), first, "b"))[0]
	w.refused(eventstore.ErrConflict, put(key(1), first, "c"))
	if second <= first {
		w.Errorf("the second sequence is %d, the first %d", second, first)
	}
}

func storedWhole(w *world) {
	first := w.append(put(key(1), 0, "a"))[0]
	second := w.append(put(key(1), first, "b"))[0]
	for _, want := range []eventstore.Message{
		{Key: key(1), Seq: first, Prev: 0, Guarded: true, Header: map[string]string{"ce-id": "a"}, Body: []byte("a")},
		{Key: key(1), Seq: second, Prev: first, Guarded: true, Header: map[string]string{"ce-id": "b"}, Body: []byte("b")},
	} {
		got, err := w.Driver.Get(w.ctx, want.Seq)
		w.must(err)
		if got.Time.IsZero() {
			w.Error("the message has no time")
		}
		want.Time, want.Size = got.Time, got.Size
		w.equal("the message", got, want)
	}
	sum := uint64(0)
	w.must(w.Driver.Scan(w.ctx, eventstore.Filter{HeadersOnly: true}, func(m eventstore.Message) error { sum += m.Size; return nil }))
	if info, err := w.Driver.Info(w.ctx); err != nil || info.Bytes != sum {
		w.Errorf("the messages have %d bytes, the store %d; error %v", sum, info.Bytes, err)
	}
	last, err := w.Driver.Last(w.ctx, key(1))
	w.must(err)
	if last.Seq != second || string(last.Body) != "b" || last.Prev != first || !last.Guarded {
		w.Errorf("the last message is %+v", last)
	}
	w.must(w.Foreign(w.ctx, key(1), []byte("foreign")))
	last, err = w.Driver.Last(w.ctx, key(1))
	w.must(err)
	if last.Guarded || last.Prev != 0 || string(last.Body) != "foreign" {
		w.Errorf("the foreign message is %+v", last)
	}
}

func allOrNothing(w *world) {
	seqs := w.append(put(key(1), 0, "a1"), put(key(2), 0, "b1"))
	if len(seqs) != 2 || seqs[1] != seqs[0]+1 {
		w.Fatalf("the sequences are %v", seqs)
	}
	a, b := seqs[0], seqs[1]
	w.refused(eventstore.ErrConflict, put(key(1), 0, "a2"), put(key(2), b, "b2"))
	w.refused(eventstore.ErrConflict, put(key(1), a, "a2"), put(key(2), a, "b2"))
	w.refused(eventstore.ErrConflict, put(key(1), 0, "a2"), put(key(2), 0, "b2"))
	for i := range 3 {
		k := []eventstore.Key{key(1), key(2), key(3)}
		seqs = w.append(put(k[0], a, fmt.Sprint("a", i)), put(k[1], b, fmt.Sprint("b", i)), put(eventstore.Key{User: "bob", Session: strconv.Itoa(i)}, 0, "c"))
		a, b = seqs[0], seqs[1]
		for j, seq := range seqs[:2] {
			m, err := w.Driver.Get(w.ctx, seq)
			w.must(err)
			if m.Key != k[j] {
				w.Errorf("sequence %d is of %s, not of %s", seq, m.Key, k[j])
			}
		}
	}
}

// spread appends two messages to each of four sessions of two users.
func (w *world) spread() (seqs []uint64) {
	for round := range 2 {
		for _, k := range []eventstore.Key{{User: "ada", Session: "s1"}, {User: "ada", Session: "s2"}, {User: "bob", Session: "s1"}, {User: "bob", Session: "s2"}} {
			last := uint64(0)
			if round > 0 {
				m, err := w.Driver.Last(w.ctx, k)
				w.must(err)
				last = m.Seq
			}
			seqs = append(seqs, w.append(put(k, last, fmt.Sprint(k, " ", round)))...)
		}
	}
	return seqs
}

func (w *world) bodies(f eventstore.Filter) (bodies []string) {
	w.Helper()
	seq := uint64(0)
	w.must(w.Driver.Scan(w.ctx, f, func(m eventstore.Message) error {
		if m.Seq <= seq {
			w.Errorf("sequence %d comes after %d", m.Seq, seq)
		}
		seq = m.Seq
		bodies = append(bodies, string(m.Body))
		return nil
	}))
	return bodies
}

func scanFilters(w *world) {
	if got := w.bodies(eventstore.Filter{}); len(got) != 0 {
		w.Fatalf("an empty store holds %q", got)
	}
	seqs := w.spread()
	all := []string{"ada.s1 0", "ada.s2 0", "bob.s1 0", "bob.s2 0", "ada.s1 1", "ada.s2 1", "bob.s1 1", "bob.s2 1"}
	for _, c := range []struct {
		filter eventstore.Filter
		want   []string
	}{
		{eventstore.Filter{}, all},
		{eventstore.Filter{User: "ada"}, []string{all[0], all[1], all[4], all[5]}},
		{eventstore.Filter{User: "bob", Session: "s2"}, []string{all[3], all[7]}},
		{eventstore.Filter{From: seqs[2], To: seqs[5]}, all[2:6]},
		{eventstore.Filter{User: "ada", From: seqs[1], To: seqs[4]}, []string{all[1], all[4]}},
		{eventstore.Filter{From: seqs[7]}, all[7:]},
		{eventstore.Filter{To: seqs[0]}, all[:1]},
		{eventstore.Filter{From: seqs[7] + 1}, nil},
		{eventstore.Filter{From: seqs[5], To: seqs[4]}, nil},
		{eventstore.Filter{User: "eve"}, nil},
		{eventstore.Filter{User: "ada", Session: "s1", From: seqs[5]}, nil},
	} {
		w.equal(fmt.Sprintf("the scan %+v", c.filter), w.bodies(c.filter), c.want)
	}
	w.must(w.Driver.Scan(w.ctx, eventstore.Filter{HeadersOnly: true}, func(m eventstore.Message) error {
		if len(m.Body) > 0 || m.Header["ce-id"] == "" || !m.Guarded {
			w.Errorf("headers-only gives %+v", m)
		}
		return nil
	}))
}

func scanEnds(w *world) {
	w.spread()
	n := 0
	w.must(w.Driver.Scan(w.ctx, eventstore.Filter{}, func(eventstore.Message) error {
		n++
		w.append(put(eventstore.Key{User: "late", Session: strconv.Itoa(n)}, 0, "late"))
		return nil
	}))
	if n != 8 {
		w.Errorf("the scan delivered %d messages, not the 8 of its start", n)
	}
}

var errStop = errors.New("stop")

func scanStops(w *world) {
	w.spread()
	n := 0
	err := w.Driver.Scan(w.ctx, eventstore.Filter{}, func(eventstore.Message) error { n++; return errStop })
	if err != errStop || n != 1 { //nolint:errorlint // it must be returned as it is
		w.Errorf("the scan returned %v after %d messages", err, n)
	}
}

// following runs a follower until it has seen n messages and returns them.
func (w *world) following(from uint64, n int, meanwhile func()) []string {
	w.Helper()
	got := make(chan string, n)
	done := make(chan error, 1)
	go func() {
		seen := 0
		done <- w.Driver.Follow(w.ctx, from, func(m eventstore.Message) error {
			got <- string(m.Body)
			if seen++; seen == n {
				return errStop
			}
			return nil
		})
	}()
	meanwhile()
	if err := <-done; err != errStop { //nolint:errorlint // it must be returned as it is
		w.Fatalf("the follower returned %v", err)
	}
	close(got)
	var bodies []string
	for b := range got {
		bodies = append(bodies, b)
	}
	return bodies
}

func follows(w *world) {
	seqs := w.spread()
	got := w.following(seqs[6], 4, func() {
		w.append(put(key(7), 0, "new"))
		w.append(put(key(8), 0, "newer"))
	})
	w.equal("what was followed", got, []string{"bob.s1 1", "bob.s2 1", "new", "newer"})
	got = w.following(0, 10, func() {})
	if len(got) != 10 || got[0] != "ada.s1 0" {
		w.Errorf("from the beginning it is %q", got)
	}
}

func followStops(w *world) {
	ctx, cancel := context.WithCancel(w.ctx)
	done := make(chan error, 1)
	seen := make(chan struct{})
	go func() {
		done <- w.Driver.Follow(ctx, 1, func(eventstore.Message) error { close(seen); return nil })
	}()
	w.append(put(key(1), 0, "a"))
	<-seen
	cancel()
	w.want(<-done, context.Canceled)
}

func notFound(w *world) {
	_, err := w.Driver.Last(w.ctx, key(1))
	w.want(err, eventstore.ErrNotFound)
	_, err = w.Driver.Get(w.ctx, 1)
	w.want(err, eventstore.ErrNotFound)
	seq := w.append(put(key(1), 0, "a"))[0]
	_, err = w.Driver.Get(w.ctx, seq+1)
	w.want(err, eventstore.ErrNotFound)
	_, err = w.Driver.Last(w.ctx, key(2))
	w.want(err, eventstore.ErrNotFound)
}

func compacts(w *world) {
	seqs := w.spread()
	k := eventstore.Key{User: "ada", Session: "s1"}
	w.must(w.Driver.Compact(w.ctx, k, seqs[4]))
	w.must(w.Driver.Compact(w.ctx, k, seqs[4]))
	_, err := w.Driver.Get(w.ctx, seqs[0])
	w.want(err, eventstore.ErrNotFound)
	last, err := w.Driver.Last(w.ctx, k)
	w.must(err)
	if last.Seq != seqs[4] || last.Prev != seqs[0] {
		w.Errorf("the last message is %+v", last)
	}
	w.equal("what is left", len(w.bodies(eventstore.Filter{})), 7)
	w.refused(eventstore.ErrConflict, put(k, 0, "reborn"))
	info, err := w.Driver.Info(w.ctx)
	w.must(err)
	if info.First != seqs[1] || info.Last != seqs[7] || info.Messages != 7 || info.Subjects != 4 || info.Incarnation == "" {
		w.Errorf("the store is %+v", info)
	}
	w.must(w.Driver.Compact(w.ctx, eventstore.Key{User: "ada", Session: "s2"}, seqs[5]))
	w.must(w.Driver.Compact(w.ctx, eventstore.Key{User: "bob", Session: "s2"}, seqs[7]))
	info, err = w.Driver.Info(w.ctx)
	w.must(err)
	if info.First != seqs[2] || info.Deleted != 1 || info.Messages != 5 {
		w.Errorf("the store is %+v", info)
	}
}

func anyUser(w *world) {
	for i, user := range []string{"ada@example.org", "Ω mega", "a.b.*.>", "=x", "a b"} {
		k := eventstore.Key{User: user, Session: "s1"}
		seq := w.append(put(k, 0, user))[0]
		m, err := w.Driver.Last(w.ctx, k)
		w.must(err)
		if m.Key != k || m.Seq != seq {
			w.Errorf("%d: %q is kept as %+v", i, user, m.Key)
		}
		w.equal("the scan for "+user, w.bodies(eventstore.Filter{User: user}), []string{user})
	}
}

func cancelled(w *world) {
	ctx, cancel := context.WithCancel(w.ctx)
	cancel()
	if _, err := w.Driver.Append(ctx, []eventstore.Record{put(key(1), 0, "a")}); err == nil {
		w.Error("the append is a success")
	}
	if _, err := w.Driver.Last(ctx, key(1)); err == nil {
		w.Error("the read is a success")
	}
}
