package projections

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/tidwall/btree"

	"reprise/contract"
	"reprise/domain"
	"reprise/eventstore"
)

// lockedRows is how many rows are looked at under one read lock, so that a
// long search doesn't hold up the follower.
const lockedRows = 4096

// IndexConfig configures an Index.
type IndexConfig struct {
	// Source is the event store; required.
	Source Source
	// Views are read headers-only at the start; nil builds the index from the
	// events.
	Views ViewStore
	// Declared are the metadata keys that lists may filter by. They have to be
	// those of the Views, else the views are of no use to the index.
	Declared []string
	// Report is told which views could not be used; nil for nobody. It must
	// not block.
	Report func(error)
	// Present says what holds at the moment, once for each list; nil for the time
	// of this machine and not knowing which workers wait. It may take a moment.
	Present func() Present
}

// Index answers lists and counts from memory. Every instance has one and gives
// it to its Runner. A session is in it once the runner's position covers its
// commit. All methods are safe for concurrent use.
type Index struct {
	cfg IndexConfig

	mu       sync.RWMutex
	rows     map[eventstore.Key]*row
	owners   *btree.BTreeG[*owner]  // by user
	loads    map[string]*ActionLoad // by action
	position contract.Position
	warm     chan struct{} // closed when everything is in that was there at the start
}

// NewIndex checks the configuration. It starts nothing.
func NewIndex(cfg IndexConfig) (*Index, error) {
	if cfg.Source == nil {
		return nil, errors.New("projections: an index needs a Source")
	}
	if cfg.Report == nil {
		cfg.Report = func(error) {}
	}
	if cfg.Present == nil {
		cfg.Present = func() Present { return Present{Now: time.Now()} }
	}
	cfg.Declared = normalKeys(cfg.Declared)
	x := &Index{cfg: cfg, warm: make(chan struct{})}
	x.clear()
	return x, nil
}

func (x *Index) clear() {
	x.rows = map[eventstore.Key]*row{}
	x.owners = btree.NewBTreeGOptions(byUser, btree.Options{NoLocks: true})
	x.loads = map[string]*ActionLoad{}
}

// Name returns "index".
func (x *Index) Name() string { return "index" }

// Ready reports whether the index holds everything that was there at the
// start; until then lists are rejected with domain.CodeWarming.
func (x *Index) Ready() bool {
	select {
	case <-x.warm:
		return true
	default:
		return false
	}
}

// Warm returns nil once the index is ready, else the error of ctx when that
// ends first.
func (x *Index) Warm(ctx context.Context) error {
	select {
	case <-x.warm:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// Start is called by the Runner. It builds the index from the headers of the
// views, as far as these can be proved to be of this event stream.
func (x *Index) Start(ctx context.Context, info eventstore.Info) (uint64, error) {
	x.mu.Lock()
	x.position = contract.Position{Incarnation: info.Incarnation}
	x.mu.Unlock()
	if x.cfg.Views == nil {
		return 0, nil
	}
	c, err := x.cfg.Views.Checkpoint(ctx)
	if err == nil && c.Seq > 0 && c.fits(x.cfg.Declared) {
		return x.fromViews(ctx, c, info)
	}
	if err != nil {
		x.cfg.Report(fmt.Errorf("the index is built from the events, since the views can't be read: %w", err))
	}
	return 0, nil
}

// fromViews returns the sequence that the views cover, 0 if they are of no use.
func (x *Index) fromViews(ctx context.Context, c Checkpoint, info eventstore.Info) (uint64, error) {
	proven, err := c.proven(ctx, x.cfg.Source, info)
	if err != nil || !proven {
		return 0, err
	}
	var odd []eventstore.Key
	err = x.cfg.Views.Scan(ctx, false, func(view View) error {
		e, err := parseEntry(view.Key, view.Index)
		if err == nil && e.Schema == eventstore.SchemaVersion && e.Seq <= info.Last && e.whole() {
			x.put(eventstore.Key{User: e.User, Session: e.ID}, newRow(e), false)
			return nil
		}
		if key, err := parseKey(view.Key); err == nil {
			odd = append(odd, key)
		}
		return nil
	})
	if err == nil {
		err = x.loadOdd(ctx, odd)
	}
	if err == nil {
		err = x.stillCovered(ctx, c)
	}
	if err != nil && ctx.Err() == nil {
		x.cfg.Report(fmt.Errorf("the index is built from the events, since the views can't be read: %w", err))
		x.mu.Lock()
		defer x.mu.Unlock()
		x.clear()
		return 0, nil
	}
	return c.Seq, err
}

// stillCovered returns an error if the views were removed while they were read.
func (x *Index) stillCovered(ctx context.Context, before Checkpoint) error {
	now, err := x.cfg.Views.Checkpoint(ctx)
	if err == nil && (now.Incarnation != before.Incarnation || now.Seq < before.Seq) {
		err = errors.New("they are being written anew")
	}
	return err
}

// loadOdd takes the sessions whose headers can't be used from the events.
func (x *Index) loadOdd(ctx context.Context, keys []eventstore.Key) error {
	for _, key := range keys {
		a, err := load(ctx, x.cfg.Source, key)
		if errors.Is(err, eventstore.ErrCorrupt) {
			x.cfg.Report(err)
			continue
		}
		if err != nil {
			return err
		}
		x.Replace(a)
	}
	return nil
}

// Apply is called by the Runner.
func (x *Index) Apply(_ context.Context, c Change) error {
	x.take(c.After, c.Seq)
	return nil
}

// Skip is called by the Runner.
func (x *Index) Skip(seq uint64) { x.moved(seq) }

// CaughtUp is called by the Runner.
func (x *Index) CaughtUp(end uint64) {
	x.moved(end)
	if !x.Ready() { // only the Runner's one goroutine comes here
		close(x.warm)
	}
}

func (x *Index) moved(seq uint64) {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.position.Seq = max(x.position.Seq, seq)
}

// Replace takes in the true state of a session whose view was found to be
// wrong, unless the index has a newer one from the events.
func (x *Index) Replace(a eventstore.Aggregate) { x.take(a, 0) }

// take puts the row of a session, or drops it where there is none any more, and
// moves the position to seq.
func (x *Index) take(a eventstore.Aggregate, seq uint64) {
	if !a.Session.Exists() {
		x.drop(a.Key, a.Seq)
		x.moved(seq)
		return
	}
	r := rowOf(a, x.cfg.Declared)
	r.proven = true
	x.mu.Lock()
	defer x.mu.Unlock()
	x.place(a.Key, r)
	x.position.Seq = max(x.position.Seq, seq)
}

// put stores a row that is proven by the events, or one from a view's header.
func (x *Index) put(key eventstore.Key, r row, proven bool) {
	r.proven = proven
	x.mu.Lock()
	defer x.mu.Unlock()
	x.place(key, r)
}

// place stores a row; the caller holds the lock. A row from the events stands
// until a newer one comes; one from a view's header until any from the events
// does.
func (x *Index) place(key eventstore.Key, r row) {
	old, known := x.rows[key]
	switch {
	case !known:
		o := x.owner(key.User)
		key.User = o.user // shares the string
		stored := r
		o.add(&stored)
		x.rows[key] = &stored
	case old.proven && (!r.proven || old.seq >= r.seq):
		return
	case old.waits.equal(r.waits):
		r.waits = old.waits
		old.owner.change(old, r)
		return
	default:
		x.burden(old.waits, -1)
		old.owner.change(old, r)
	}
	x.burden(r.waits, 1)
}

// owner returns the user's entry, which is made where there is none.
func (x *Index) owner(user string) *owner {
	fresh := &owner{user: user}
	if o, ok := x.owners.Get(fresh); ok {
		return o
	}
	x.owners.Set(fresh)
	return fresh
}

// drop removes the row of a session that was not there at seq.
func (x *Index) drop(key eventstore.Key, seq uint64) {
	x.mu.Lock()
	defer x.mu.Unlock()
	old, known := x.rows[key]
	if !known || old.proven && old.seq > seq {
		return
	}
	delete(x.rows, key)
	x.burden(old.waits, -1)
	old.owner.remove(old)
	if old.owner.empty() {
		x.owners.Delete(old.owner)
	}
}

// Get returns the entry of one session; false if there is none.
func (x *Index) Get(key eventstore.Key) (Entry, bool) {
	x.mu.RLock()
	defer x.mu.RUnlock()
	r, ok := x.rows[key]
	if !ok {
		return Entry{}, false
	}
	return r.entry(), true
}

// Each calls fn for every session of every user, ordered by user, state, time
// of creation and id, until fn returns false. Sessions that change meanwhile
// may come twice or not at all. It is for operators and for timers, and
// rejects with domain.CodeWarming until the index is ready.
func (x *Index) Each(fn func(Entry) bool) error {
	if !x.Ready() {
		return warming()
	}
	var last *row
	for {
		chunk := x.chunk(last)
		for i := range chunk {
			if !fn(chunk[i].entry()) {
				return nil
			}
		}
		if len(chunk) < lockedRows {
			return nil
		}
		last = &chunk[len(chunk)-1]
	}
}

// chunk copies the next rows behind last.
func (x *Index) chunk(last *row) []row {
	x.mu.RLock()
	defer x.mu.RUnlock()
	chunk := make([]row, 0, min(lockedRows, len(x.rows)))
	take := func(o *owner) bool {
		chunk = o.copyBehind(last, chunk)
		return len(chunk) < lockedRows
	}
	if last == nil {
		x.owners.Scan(take)
	} else {
		x.owners.Ascend(last.owner, take)
	}
	return chunk
}

// Len returns the number of sessions of all users.
func (x *Index) Len() int {
	x.mu.RLock()
	defer x.mu.RUnlock()
	return len(x.rows)
}

// Users returns the number of users that have a session.
func (x *Index) Users() int {
	x.mu.RLock()
	defer x.mu.RUnlock()
	return x.owners.Len()
}

func warming() error {
	return domain.Reject(domain.CodeWarming, domain.StateNone, "the index of sessions is still being built; ask again in a moment")
}
