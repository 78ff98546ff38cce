package engine

import (
	"container/list"
	"slices"
	"time"

	"reprise/domain"
	"reprise/eventstore"
)

// offerWindow is how many steps of one action are offered at once. The others
// wait in the holder's memory, where priorities and fairness order them; what
// is in the stream already is taken in the order in which it came.
const offerWindow = 256

// offer is what the holder knows of one step that workers may claim, or might
// have claimed a moment ago. The dispatcher's lock guards it.
type offer struct {
	key      eventstore.Key
	ref      domain.StepRef
	action   string
	priority int
	// version of the session for which want was set.
	version uint64
	// want is the attempt that should be offered, 0 if none should.
	want int
	// have is the attempt of the task in the stream, 0 if there is none, and seq
	// its sequence there.
	have int
	seq  uint64
	// busy is set while the stream is being changed for this offer; claimed is
	// the attempt that was claimed meanwhile.
	busy    bool
	claimed int
	// window is its place in the window of its action, nil if it has none, and
	// since when it has it.
	window *list.Element
	since  time.Time
	// queue and place say where the offer waits for such a place.
	queue *userQueue
	place *list.Element
	// mark is the round in which a look at the session found the step ready.
	mark uint64
}

// worklist orders the offers that wait for a place in the window of their
// action: sessions of higher priority first, users of the same priority in
// turn, each user's steps in the order in which they became ready. It also
// counts what is offered and in flight, for the limits. It is not safe for
// concurrent use.
type worklist struct {
	// maxAction and maxUser bound offers and steps in flight; 0 is no bound.
	maxAction, maxUser int

	actions map[string]*actionQueue
	users   map[string]*userLoad
}

// actionQueue are the offers of one action.
type actionQueue struct {
	// out are the offers in the stream or on their way, the oldest first.
	out list.List // of *offer
	// running is the number of steps in flight, waiting that of offers in the
	// levels.
	running, waiting int
	levels           []*level // highest priority first
}

// level are the waiting offers of one action and one priority.
type level struct {
	priority int
	users    map[string]*userQueue
	turns    list.List // of *userQueue; the next one first
}

// userQueue are the waiting offers of one user in a level.
type userQueue struct {
	user   string
	action *actionQueue
	level  *level
	offers list.List     // of *offer
	turn   *list.Element // nil while the user is over the limit
}

// userLoad is what a user has in flight and on offer, over all actions.
type userLoad struct {
	count int
	// parked are the queues that were passed over because of the limit.
	parked []*userQueue
}

func newWorklist(maxAction, maxUser int) *worklist {
	return &worklist{
		maxAction: maxAction, maxUser: maxUser,
		actions: map[string]*actionQueue{}, users: map[string]*userLoad{},
	}
}

func (w *worklist) action(name string) *actionQueue {
	a := w.actions[name]
	if a == nil {
		a = &actionQueue{}
		w.actions[name] = a
	}
	return a
}

// push makes an offer wait for its turn.
func (w *worklist) push(o *offer) {
	a := w.action(o.action)
	q := a.level(o.priority).queue(o.key.User, a)
	o.queue, o.place = q, q.offers.PushBack(o)
	a.waiting++
	if q.offers.Len() == 1 {
		q.turn = q.level.turns.PushBack(q)
	}
}

// level returns the level of a priority, made on demand.
func (a *actionQueue) level(priority int) *level {
	at, found := slices.BinarySearchFunc(a.levels, priority, func(l *level, p int) int { return p - l.priority })
	if !found {
		a.levels = slices.Insert(a.levels, at, &level{priority: priority, users: map[string]*userQueue{}})
	}
	return a.levels[at]
}

func (l *level) queue(user string, a *actionQueue) *userQueue {
	q := l.users[user]
	if q == nil {
		q = &userQueue{user: user, action: a, level: l}
		l.users[user] = q
	}
	return q
}

// remove takes an offer out of the queue, if it waits there.
func (w *worklist) remove(o *offer) {
	q := o.queue
	if q == nil {
		return
	}
	q.offers.Remove(o.place)
	o.queue, o.place = nil, nil
	q.action.waiting--
	if q.offers.Len() > 0 {
		return
	}
	if q.turn != nil {
		q.level.turns.Remove(q.turn)
		q.turn = nil
	}
	delete(q.level.users, q.user)
	if len(q.level.users) == 0 {
		q.action.levels = slices.DeleteFunc(q.action.levels, func(l *level) bool { return l == q.level })
	}
	w.tidy(o.action, q.action)
}

// tidy forgets an action of which nothing is left.
func (w *worklist) tidy(name string, a *actionQueue) {
	if a.out.Len() == 0 && a.running == 0 && a.waiting == 0 {
		delete(w.actions, name)
	}
}

// take returns up to n offers that may be made now, over all actions. They
// count as made at that time.
func (w *worklist) take(n int, now time.Time) []*offer {
	var taken []*offer
	for _, a := range w.actions {
		for len(taken) < n {
			o := w.next(a)
			if o == nil {
				break
			}
			w.count(o, now)
			w.remove(o)
			taken = append(taken, o)
		}
	}
	return taken
}

// next returns the offer of an action whose turn it is, and lets the next user
// have the next turn; nil if none waits or a bound is reached.
func (w *worklist) next(a *actionQueue) *offer {
	if a.waiting == 0 || a.out.Len() >= offerWindow || w.maxAction > 0 && a.out.Len()+a.running >= w.maxAction {
		return nil
	}
	for _, l := range a.levels {
		for turn := l.turns.Front(); turn != nil; turn = l.turns.Front() {
			q := turn.Value.(*userQueue) //nolint:forcetypeassert // there is nothing else in it
			if w.full(q.user) {
				w.park(q)
				continue
			}
			l.turns.MoveToBack(turn)
			return q.offers.Front().Value.(*offer) //nolint:forcetypeassert // as above
		}
	}
	return nil
}

func (w *worklist) full(user string) bool {
	load := w.users[user]
	return w.maxUser > 0 && load != nil && load.count >= w.maxUser
}

// park passes a queue over until its user is below the limit again.
func (w *worklist) park(q *userQueue) {
	q.level.turns.Remove(q.turn)
	q.turn = nil
	load := w.users[q.user]
	load.parked = append(load.parked, q)
}

// count makes an offer take a place in its action's window.
func (w *worklist) count(o *offer, now time.Time) {
	if o.window == nil {
		o.window, o.since = w.action(o.action).out.PushBack(o), now
		w.load(o.key.User, 1)
	}
}

// uncount gives that place back.
func (w *worklist) uncount(o *offer) {
	if o.window == nil {
		return
	}
	a := w.action(o.action)
	a.out.Remove(o.window)
	o.window = nil
	w.load(o.key.User, -1)
	w.tidy(o.action, a)
}

// started counts a step that was claimed, ended one that is no longer in flight.
func (w *worklist) started(user, action string) {
	w.action(action).running++
	w.load(user, 1)
}

func (w *worklist) ended(user, action string) {
	a := w.action(action)
	a.running--
	w.load(user, -1)
	w.tidy(action, a)
}

// load changes what a user has out. Below the limit its queues get turns again.
func (w *worklist) load(user string, by int) {
	load := w.users[user]
	if load == nil {
		load = &userLoad{}
		w.users[user] = load
	}
	load.count += by
	if by < 0 && len(load.parked) > 0 && load.count < w.maxUser {
		for _, q := range load.parked {
			if q.turn == nil && q.offers.Len() > 0 {
				q.turn = q.level.turns.PushBack(q)
			}
		}
		load.parked = nil
	}
	if load.count == 0 {
		delete(w.users, user)
	}
}

// patience is how long an offer may wait for a worker before those who follow a
// chain have to let go of it.
const patience = time.Second

// overdue reports whether another step of the action has waited for a worker too
// long to let one of this user go on with its chain: a step of a higher priority,
// or of the same and of somebody else.
func (w *worklist) overdue(action, user string, priority int, now time.Time) bool {
	a := w.actions[action]
	if a == nil {
		return false
	}
	before := func(p int, u string) bool { return p > priority || p == priority && u != user }
	for at := a.out.Front(); at != nil; at = at.Next() {
		o := at.Value.(*offer) //nolint:forcetypeassert // there is nothing else in it
		if now.Sub(o.since) < patience {
			return false // and those behind it came later
		}
		if before(o.priority, o.key.User) || a.waits(before) {
			return true
		}
	}
	return false
}

// waits reports whether a queue waits for a place in the window that fits.
func (a *actionQueue) waits(fits func(priority int, user string) bool) bool {
	for _, l := range a.levels {
		for user := range l.users {
			if fits(l.priority, user) {
				return true
			}
		}
	}
	return false
}
