package features

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/nats-io/nats.go"

	"reprise/contract"
	"reprise/domain"
)

// patience bounds every request and every wait for something to happen.
const patience = time.Minute

// lookAgain is the pause between two looks of eventually.
const lookAgain = 5 * time.Millisecond

// world is what one scenario knows. Users get names of their own in it, so
// that scenarios don't meet.
type world struct {
	names  contract.Names
	svc    *service
	own    bool
	number int
	newDir func() string
	nc     *nats.Conn

	// users are the ids of those who were named so far.
	users sync.Map
	// aliases are the real names of users who have one.
	aliases map[string]string
	// seen is the version of a session after the last Given that changed it.
	seen map[sessionKey]uint64
	// first is the answer to a command of a Given, by command id.
	first map[string]contract.Reply
	// views are those of before a restart.
	views map[sessionKey][]byte

	watch *nats.Subscription

	// last is the answer to what happened in the When, all are the answers
	// where several things happened at once.
	last answer
	all  []answer

	made    string
	list    []string
	pages   int
	counts  contract.CountReply
	past    *domain.Session
	payload json.RawMessage
	failure domain.ReportError

	mu sync.Mutex
	// attempts are those that workers have in hand.
	attempts map[attemptKey]int
	// position is the newest one that any answer named.
	position contract.Position
	states   []*domain.Session
}

type sessionKey struct{ user, session string }

type attemptKey struct{ worker, user, session, chain, step string }

func newWorld(shared *service, number int, newDir func() string) *world {
	return &world{
		names: contract.Default(), svc: shared, number: number, newDir: newDir,
		aliases: map[string]string{}, seen: map[sessionKey]uint64{}, first: map[string]contract.Reply{},
		views: map[sessionKey][]byte{}, attempts: map[attemptKey]int{},
	}
}

// close ends what the scenario opened.
func (w *world) close() error {
	w.hangUp()
	if w.own {
		return w.svc.stop()
	}
	return nil
}

func (w *world) hangUp() {
	if w.nc != nil {
		w.nc.Close()
		w.nc = nil
	}
}

// connFor is the connection of whoever a subject says sends it.
func (w *world) connFor(subject string) (*nats.Conn, error) {
	if !w.svc.storage.badged {
		return w.conn()
	}
	return w.svc.badges.connFor(w.names, subject, w.svc.node.URL())
}

// conn is the scenario's connection.
func (w *world) conn() (*nats.Conn, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.nc != nil {
		return w.nc, nil
	}
	nc, err := w.svc.connect()
	w.nc = nc
	return nc, err
}

// user is the id of a user of this scenario.
func (w *world) user(name string) string {
	if full, ok := w.aliases[name]; ok {
		name = full
	}
	id := fmt.Sprintf("%s-%d", name, w.number)
	w.users.Store(id, true)
	return id
}

// saw notes how far an answer says the service is.
func (w *world) saw(p contract.Position) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if p.Incarnation != w.position.Incarnation || p.Seq > w.position.Seq {
		w.position = p
	}
}

func (w *world) attempt(k attemptKey) int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.attempts[k]
}

func (w *world) setAttempt(k attemptKey, n int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.attempts[k] = n
}

// eventually looks until check is content, and returns what it said last if it
// never is.
func eventually(check func() error) error {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	tick := time.NewTicker(lookAgain)
	defer tick.Stop()
	for {
		err := check()
		if err == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			return errors.Join(errors.New("it didn't happen in time"), err)
		case <-tick.C:
		}
	}
}

// together does something n times at once and returns when all are done.
func together[T any](n int, do func(i int) (T, error)) ([]T, error) {
	results, errs := make([]T, n), make([]error, n)
	var wg sync.WaitGroup
	for i := range n {
		wg.Go(func() { results[i], errs[i] = do(i) })
	}
	wg.Wait()
	return results, errors.Join(errs...)
}
