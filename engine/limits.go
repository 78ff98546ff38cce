package engine

import (
	"errors"
	"fmt"
	"math"
	"sync"
	"time"

	"reprise/contract"
	"reprise/domain"
)

const (
	// maxBuckets is how many users' rates are remembered. Beyond it those are
	// forgotten who have their full allowance again.
	maxBuckets = 65536
	// allowanceSeconds is how many seconds' worth of commands a user may send at once.
	allowanceSeconds = 1
	// maxRefusals is how many commands over the rate are answered, a second and
	// user. What comes beyond is dropped, since an answer costs more than the
	// refusal, and a flood would have everybody else wait for its answers.
	maxRefusals = 256
)

// Limits bound what one user may ask of an engine; 0 is no bound. What is over one
// is rejected with code busy. Each engine counts for itself. Operators are bound by
// the size of payloads alone; workers' results are not bound, since nothing would
// be won by losing them.
type Limits struct {
	// Rate is the number of commands a second, of which one second's worth may come
	// at once. What is over it is rejected, and what is over it by far not even
	// answered. Queued commands, which nobody waits for, are not counted.
	Rate int
	// Sessions is how many a user may have that are not deleted. The count follows
	// the index, so commands that come at once may pass it by a few.
	Sessions int
	// Payload is the size of a command's body in bytes.
	Payload int
	// History is how many commits a session may have before its user can only cancel,
	// complete, fork or delete it.
	History int
}

func (l Limits) validate() error {
	if min(l.Rate, l.Sessions, l.Payload, l.History) < 0 {
		return errors.New("limits of a user: use 0 for none, or 1 and more")
	}
	return nil
}

// limiter keeps the limits. A nil limiter has none. It is safe for concurrent use.
type limiter struct {
	Limits

	// sessions counts the sessions of a user; false while that is not known.
	sessions func(user string) (int, bool)
	clock    func() time.Time

	mu      sync.Mutex
	buckets map[string]*bucket
}

// owned counts the sessions of a user in the index; false until that is ready.
func (p *parts) owned(user string) (int, bool) {
	counts, err := p.index.Count(user, contract.CountRequest{})
	return counts.Total, err == nil
}

// bucket is what a user may still send, and how many refusals may be answered.
type bucket struct {
	left, refusals float64
	at             time.Time
}

// verdict is what becomes of a command by the rate of its user.
type verdict int

const (
	allowed verdict = iota
	refused         // and told so
	dropped
)

func newLimiter(l Limits, clock func() time.Time, sessions func(string) (int, bool)) *limiter {
	if l == (Limits{}) {
		return nil
	}
	return &limiter{Limits: l, clock: clock, sessions: sessions, buckets: map[string]*bucket{}}
}

// admit says why a command can't be taken when it arrives; nil if it can.
func (l *limiter) admit(r *Request, a address, body []byte) error {
	if l == nil || a.worker != "" {
		return nil
	}
	if l.Payload > 0 && len(body) > l.Payload {
		return over(r, "the command has %d bytes, and the most is %d; send less in one", len(body), l.Payload)
	}
	return nil
}

// tooFast says why a command over its user's rate is refused.
func (l *limiter) tooFast() string {
	if l == nil {
		return ""
	}
	return fmt.Sprintf("a user may send %d commands a second here, and you send more; send it again a little later", l.Rate)
}

// over rejects what is over a limit. A queued command would be tried again for
// ever if it were busy, so it is not allowed.
func over(r *Request, format string, args ...any) error {
	code := domain.CodeBusy
	if r.QueueSeq > 0 {
		code = domain.CodeNotAllowed
	}
	return domain.Reject(code, domain.StateNone, format, args...)
}

// spend takes one command of a user's allowance. A nil limiter allows all.
func (l *limiter) spend(user string) verdict {
	if l == nil || l.Rate == 0 {
		return allowed
	}
	now := l.clock()
	l.mu.Lock()
	defer l.mu.Unlock()
	b := l.buckets[user]
	if b == nil {
		l.makeRoom(now)
		b = &bucket{left: l.most(), refusals: maxRefusals, at: now}
		l.buckets[user] = b
	}
	b.refusals = min(maxRefusals, b.refusals+b.since(now)*maxRefusals)
	b.left = l.left(b, now)
	b.at = now
	switch {
	case b.left >= 1:
		b.left--
		return allowed
	case b.refusals >= 1:
		b.refusals--
		return refused
	}
	return dropped
}

// since is how many seconds have passed; none if the clock was set back.
func (b *bucket) since(now time.Time) float64 { return max(0, now.Sub(b.at).Seconds()) }

func (l *limiter) most() float64 { return float64(l.Rate) * allowanceSeconds }

// left is what a user may send at a time.
func (l *limiter) left(b *bucket, now time.Time) float64 {
	return math.Min(l.most(), b.left+b.since(now)*float64(l.Rate))
}

// makeRoom forgets users who have their full allowance again, once there are many;
// if that is nobody, somebody.
func (l *limiter) makeRoom(now time.Time) {
	if len(l.buckets) < maxBuckets {
		return
	}
	var somebody string
	for user, b := range l.buckets {
		if somebody = user; l.left(b, now) >= l.most() {
			delete(l.buckets, user)
		}
	}
	if len(l.buckets) >= maxBuckets {
		delete(l.buckets, somebody)
	}
}

// outgrown says why a user's command can't be applied to a session as it is: there
// would be too many sessions, or its history too long. It is nil if it can.
func (l *limiter) outgrown(r *Request, s *domain.Session) error {
	if l == nil || r.Actor != r.Key.User {
		return nil
	}
	if l.Sessions > 0 && (r.Verb == domain.VerbFork || s.Version == 0 && makesSession(r.Verb)) {
		if n, known := l.sessions(r.Key.User); known && n >= l.Sessions {
			return over(r, "user %q has %d sessions, the most there may be; delete some", r.Key.User, n)
		}
	}
	if l.History == 0 || s.Commits < uint64(l.History) {
		return nil
	}
	switch r.Verb {
	case domain.VerbCancel, domain.VerbComplete, domain.VerbDelete, domain.VerbFork:
		return nil
	default:
		return over(r, "session %q has %d commits, the most there may be; fork it to go on, or cancel, complete or delete it", s.ID, s.Commits)
	}
}
