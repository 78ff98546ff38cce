package soak

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"reprise/client"
	"reprise/contract"
)

// longestSoak bounds a run, and mostErrors what is printed of its faults.
const (
	longestSoak = 20 * time.Minute
	mostErrors  = 20
)

// TestSoak runs only for `make soak`.
func TestSoak(t *testing.T) {
	length, seed, err := settings()
	if err != nil {
		t.Fatal(err)
	}
	if length == 0 {
		t.Skipf("set %s to how long to soak, such as 3m", soakVariable)
	}
	t.Logf("seed %d; %s=%d sends the same load again", seed, seedVariable, seed)
	w := newTown(t)
	k := newTold()
	live(t, w, k, length, seed)
	judge(t, w, k)
}

// settings reads the environment.
func settings() (length time.Duration, seed uint64, err error) {
	text := os.Getenv(soakVariable)
	if text == "" {
		return 0, 0, nil
	}
	if length, err = time.ParseDuration(text); err != nil || length <= 0 || length > longestSoak {
		return 0, 0, fmt.Errorf("%s is %q; it takes a duration up to %s, such as 3m", soakVariable, text, longestSoak)
	}
	seed = rand.Uint64()
	if text = os.Getenv(seedVariable); text != "" {
		seed, err = strconv.ParseUint(text, 10, 64)
	}
	return length, seed, err
}

// newTown starts server, engines and workers; they end with the test.
func newTown(t *testing.T) *town {
	t.Helper()
	w := &town{
		binary: binary(t), home: t.TempDir(), logs: t.TempDir(), url: natsServer(t),
		deaths: map[string]time.Time{}, woken: map[string]time.Time{}, did: map[string]int{},
	}
	t.Cleanup(func() {
		if err := w.close(); err != nil {
			t.Error(err)
		}
	})
	if err := w.settle(); err != nil {
		t.Fatal(err)
	}
	return w
}

// live lets users command and processes die for a time.
func live(t *testing.T, w *town, k *told, length time.Duration, seed uint64) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), length)
	defer cancel()
	nc := dial(t, w.url)
	var wg sync.WaitGroup
	for i := range users * hands {
		c, err := client.New(nc, client.Config{User: fmt.Sprintf("user%d", i%users), Timeout: 2 * time.Second, Attempts: 10})
		if err != nil {
			t.Fatal(err)
		}
		h := &hand{client: c, rand: source(seed, i+1), name: fmt.Sprintf("h%d", i), told: k}
		wg.Go(func() { h.busy(ctx) })
	}
	wg.Go(func() { w.haunt(ctx, source(seed, 0)) })
	wg.Wait()
	for _, err := range w.errs {
		t.Error(err)
	}
}

// source is the randomness of one actor.
func source(seed uint64, actor int) *rand.Rand { return rand.New(rand.NewPCG(seed, uint64(actor))) }

func dial(t *testing.T, url string) *nats.Conn {
	t.Helper()
	nc, err := nats.Connect(url, nats.MaxReconnects(-1))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(nc.Close)
	return nc
}

// judge waits for the end and checks everything.
func judge(t *testing.T, w *town, k *told) {
	t.Helper()
	js, err := jetstream.New(dial(t, w.url))
	if err != nil {
		t.Fatal(err)
	}
	names := contract.Default()
	c, err := awaitQuiet(js, names)
	if err = errors.Join(err, w.retire()); err != nil {
		t.Fatal(err)
	}
	stints, err := readStints(w)
	if err != nil {
		t.Fatal(err)
	}
	summarise(t, w, k, c, stints)
	report(t, "event stream", c.errs)
	report(t, "acknowledged commands", checkKept(c, k))
	report(t, "queued commands", checkQueued(js, names, c, k))
	report(t, "runs of steps", checkStints(c, w, stints))
	report(t, "views", compact([]error{awaitViews(js, names, c)}))
}

// summarise says how much was done.
func summarise(t *testing.T, w *town, k *told, c *ledger, stints []*stint) {
	t.Helper()
	states := map[string]int{}
	for _, told := range c.Tales {
		state := "deleted"
		if told.Session.Exists() {
			state = string(told.Session.State)
		}
		states[state]++
	}
	t.Logf("sessions: %d %v", len(c.Tales), states)
	t.Logf("commits: %d; acknowledged commands: %d; queued: %d; refused: %v", len(c.Commits), len(k.replies), len(k.queued), k.refused)
	t.Logf("attempts run: %d; side by side because the earlier one was taken away: %v; killed: %v", len(stints), c.overlaps(stints), w.did)
	t.Logf("events: %v", c.events)
}

// report says of one check that it passed, or what is wrong.
func report(t *testing.T, what string, errs []error) {
	t.Helper()
	if len(errs) == 0 {
		t.Logf("checked, sound: %s", what)
		return
	}
	t.Errorf("%s: %d errors", what, len(errs))
	for _, err := range errs[:min(len(errs), mostErrors)] {
		t.Error(err)
	}
}
