package e2e

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"reprise/client"
	"reprise/domain"
	"reprise/verify/internal/chronicle"
	"reprise/worker"
)

// Who lives in a town, and what of each session of a user is set directly and by
// the queue.
const (
	townUsers   = 3
	townWorkers = 2
	townNotes   = 3
)

// town is a cluster with engines, workers, and users who lead one session after the
// other from its plan to its end until they are told to stop.
type town struct {
	*testing.T

	fleet   *fleet
	engines []*process
	peer    *peer
	known   *acknowledged
	labour  labour
	// done counts what users had acknowledged.
	done atomic.Int64
}

// newTown starts the servers and the engines.
func newTown(t *testing.T, engines int) *town {
	t.Helper()
	w := &town{T: t, fleet: newFleet(t), known: newAcknowledged(), labour: labour{running: map[string]string{}}}
	for range engines {
		w.engines = append(w.engines, w.engine())
	}
	w.peer = dial(t, w.fleet.urls(), "ada")
	return w
}

func (w *town) engine() *process {
	w.Helper()
	return serve(w.T, "--nats", w.fleet.urls(), "--replicas", fmt.Sprint(fleetSize))
}

// replace kills the engine that was started first and starts another one.
func (w *town) replace() {
	w.Helper()
	w.engines[0].kill(w.T)
	w.engines = append(w.engines[1:], w.engine())
}

// live has workers and users at work while something disturbs them. It returns after
// the users' last sessions have come to their ends.
func (w *town) live(disturb func()) {
	w.Helper()
	working, goHome := context.WithCancel(w.Context())
	using, stop := context.WithCancel(w.Context())
	var users, workers sync.WaitGroup
	defer workers.Wait()
	defer goHome()
	defer users.Wait()
	defer stop()
	for i := range townWorkers {
		wk := w.worker(fmt.Sprint("w", i))
		workers.Go(func() {
			if err := wk.Run(working); err != nil {
				w.Error(err)
			}
		})
	}
	for i := range townUsers {
		user := w.user(fmt.Sprint("user", i))
		users.Go(func() {
			for n := 0; using.Err() == nil && !w.Failed(); n++ {
				w.lead(user, fmt.Sprint("s", n))
			}
		})
	}
	disturb()
}

// labour notes which steps are being done.
type labour struct {
	mu      sync.Mutex
	running map[string]string
	doubled []string
}

func (l *labour) begin(step, attempt string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if other, busy := l.running[step]; busy {
		l.doubled = append(l.doubled, fmt.Sprintf("%s by %s and by %s", step, other, attempt))
	}
	l.running[step] = attempt
}

func (l *labour) end(step string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.running, step)
}

func (w *town) worker(id string) *worker.Worker {
	w.Helper()
	wk, err := worker.New(dial(w.T, w.fleet.urls(), id).nc, worker.Config{ID: id, DrainTimeout: time.Second})
	if err != nil {
		w.Fatal(err)
	}
	wk.Handle("work", func(_ context.Context, task *worker.Task) (any, error) {
		step := fmt.Sprint(task.User, ".", task.Session, ".", task.Chain, ".", task.Step)
		w.labour.begin(step, fmt.Sprint(id, " as attempt ", task.Attempt))
		defer w.labour.end(step)
		return task.Attempt, nil
	})
	return wk
}

func (w *town) user(name string) *client.Client {
	w.Helper()
	c, err := client.New(dial(w.T, w.fleet.urls(), name).nc, client.Config{User: name, Operator: "olga"})
	if err != nil {
		w.Fatal(err)
	}
	return c
}

// lead has a session planned, started and changed, and watches it until it is
// completed and all that was queued is applied.
func (w *town) lead(c *client.Client, session string) {
	step := domain.StepDef{Action: "work"}
	w.command(c, session, "create", &domain.Create{Definition: domain.Definition{Chains: []domain.ChainDef{{ID: "build", Steps: []domain.StepDef{step, step}}}}})
	w.command(c, session, "start", &domain.Start{})
	for n := range townNotes {
		w.command(c, session, fmt.Sprint("set-", n), &domain.SetMetadata{Set: map[string]string{"direct": fmt.Sprint(n)}})
		w.insist(session+" queue", func(ctx context.Context) error {
			_, err := c.Enqueue(ctx, session, &domain.SetMetadata{Set: map[string]string{"queued": fmt.Sprint(n)}},
				client.WithCommandID(fmt.Sprint(session, "-queue-", n)))
			return err
		})
	}
	w.insist(session+" watch", func(ctx context.Context) error { return watched(ctx, c, session) })
}

// watched returns when the session is completed and its queue is empty.
func watched(ctx context.Context, c *client.Client, session string) error {
	completed, queued := false, 0
	for entry, err := range c.Watch(ctx, session, 1) {
		if err != nil {
			return err
		}
		if completed = completed || entry.State == domain.StateCompleted; strings.HasPrefix(entry.Commit, session+"-queue-") {
			queued++
		}
		if completed && queued == townNotes {
			return nil
		}
	}
	return errors.New("the watch has ended")
}

// command sends a command until it is answered.
func (w *town) command(c *client.Client, session, name string, command domain.Command) {
	w.insist(session+" "+name, func(ctx context.Context) error {
		reply, err := c.Do(ctx, session, command, client.WithCommandID(session+"-"+name))
		if err == nil {
			w.known.note(answer{reply: *reply}, nil)
		}
		return err
	})
}

// insist repeats what fails in a way that passes, for as long as patience.
func (w *town) insist(what string, do func(context.Context) error) {
	ctx, cancel := context.WithTimeout(w.Context(), patience)
	defer cancel()
	began := time.Now()
	for tries := 1; ; tries++ {
		err := do(ctx)
		if err == nil {
			if took := time.Since(began); took > patience/30 {
				w.Logf("%s took %s, from %s on", what, took.Round(time.Millisecond), began.UTC().Format(time.StampMilli))
			}
			w.done.Add(1)
			return
		}
		if ctx.Err() != nil || !passes(err) {
			w.Errorf("%s, try %d: %v", what, tries, err)
			return
		}
	}
}

// passes reports whether a client may do better a moment later.
func passes(err error) bool {
	later := []domain.Code{domain.CodeUnavailable, domain.CodeWarming, domain.CodeBusy, domain.CodeUnknownOutcome}
	return slices.Contains(later, client.CodeOf(err)) || errors.Is(err, nats.ErrTimeout) || errors.Is(err, nats.ErrNoResponders)
}

// getsOn waits until users have so many more answers.
func (w *town) getsOn(answers int64) {
	w.Helper()
	began, target := time.Now(), w.done.Load()+answers
	eventually(w.T, func() error {
		if done := w.done.Load(); done < target && !w.Failed() {
			return fmt.Errorf("users have %d of %d answers", done, target)
		}
		return nil
	})
	w.Logf("%d answers took %s", answers, time.Since(began).Round(time.Millisecond))
}

// judge compares what everybody was told with what is stored.
func (w *town) judge() {
	w.Helper()
	w.fleet.awaitReplicas(w.T, w.peer)
	c := w.history()
	checkKept(w.T, c, w.known)
	awaitViews(w.T, w.peer, c)
	for key, tale := range c.Tales {
		checkNotes(w.T, key.String(), tale)
	}
	for _, double := range w.labour.doubled {
		w.Errorf("a step was done twice at a time: %s", double)
	}
	w.Logf("%d commands were acknowledged to %d sessions", w.known.count(), len(c.Tales))
}

// history reads the events up to their end, as the leader knows it: who answers may
// be a replica that is behind.
func (w *town) history() *chronicle.Chronicle {
	w.Helper()
	var c *chronicle.Chronicle
	eventually(w.T, func() error {
		s, err := w.peer.stream(w.T).Stream(bounded(w.T), w.peer.names.EventsStream())
		if err != nil {
			return err
		}
		c = readEvents(w.T, w.peer)
		read := uint64(0)
		for _, tale := range c.Tales {
			read = max(read, tale.Seq)
		}
		if end := s.CachedInfo().State.LastSeq; read < end {
			return fmt.Errorf("read up to %d of %d", read, end)
		}
		return nil
	})
	return c
}

// checkNotes fails unless a session is completed and what was set directly, and by the
// queue, was set once and in order.
func checkNotes(t *testing.T, key string, tale *chronicle.Tale) {
	t.Helper()
	if tale.Session.State != domain.StateCompleted {
		t.Errorf("%s is %s", key, tale.Session.State)
	}
	notes := map[string][]string{}
	for _, commit := range tale.Commits {
		for _, e := range commit.Events {
			if set, ok := e.(*domain.MetadataSet); ok {
				for way, n := range set.Set {
					notes[way] = append(notes[way], n)
				}
			}
		}
	}
	for _, way := range []string{"direct", "queued"} {
		if !slices.Equal(notes[way], []string{"0", "1", "2"}) {
			t.Errorf("%s: what was set is %s %v", key, way, notes[way])
		}
	}
}
