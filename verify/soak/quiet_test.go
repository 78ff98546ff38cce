package soak

import (
	"context"
	"fmt"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"reprise/contract"
	"reprise/domain"
)

// The wait for the end: nothing may be appended for so long, and all must be
// done within quietLimit after the last command.
const (
	quietFor   = 2 * time.Second
	quietLook  = 250 * time.Millisecond
	quietLimit = 2 * time.Minute
)

// awaitQuiet waits until no session has anything to do, no task is offered and
// no queued command waits, and returns the history.
func awaitQuiet(js jetstream.JetStream, names contract.Names) (*ledger, error) {
	ctx, cancel := context.WithTimeout(context.Background(), quietLimit)
	defer cancel()
	tick := time.NewTicker(quietLook)
	defer tick.Stop()
	var last uint64
	since, why := time.Now(), fmt.Errorf("events are still appended")
	for {
		select {
		case <-ctx.Done():
			return nil, fmt.Errorf("it did not become quiet in %s: %w", quietLimit, why)
		case <-tick.C:
		}
		stream, err := js.Stream(ctx, names.EventsStream())
		if err != nil {
			why = err
			continue
		}
		if seq := stream.CachedInfo().State.LastSeq; seq != last {
			last, since = seq, time.Now()
		}
		if time.Since(since) < quietFor {
			continue
		}
		c, err := readEvents(js, names)
		if err != nil {
			return nil, err
		}
		if why = leftOver(ctx, js, names, c); why == nil {
			return c, nil
		}
	}
}

// leftOver says what is still to be done.
func leftOver(ctx context.Context, js jetstream.JetStream, names contract.Names, c *ledger) error {
	for _, name := range []string{names.QueueStream(), names.WorkStream()} {
		stream, err := js.Stream(ctx, name)
		if err != nil {
			return err
		}
		if n := stream.CachedInfo().State.Msgs; n > 0 {
			return fmt.Errorf("there are %d messages in %s", n, name)
		}
	}
	for key, told := range c.Tales {
		if what := unfinished(told.Session); what != "" {
			return fmt.Errorf("session %s: %s", key, what)
		}
	}
	return nil
}

// unfinished says what of a session goes on by itself, now or when it is due.
func unfinished(s *domain.Session) string {
	if !s.Exists() {
		return ""
	}
	if s.State == domain.StateRunning && s.Timeout > 0 {
		return "it has not timed out yet"
	}
	for _, chain := range s.Chains {
		for _, step := range chain.Steps {
			if step.Status == domain.StepStatusRunning {
				return fmt.Sprintf("step %s/%s runs", chain.ID, step.ID)
			}
			if !step.Manual && s.Blocker(chain.ID, step.ID, time.Now().Add(time.Hour)) == "" {
				return fmt.Sprintf("step %s/%s is ready and nobody runs it", chain.ID, step.ID)
			}
		}
	}
	if s.State == domain.StateRunning && !expectant(s) {
		return "it is RUNNING and waits for nothing"
	}
	return ""
}

// expectant reports whether a session that runs waits for a command: for more
// chains, for more steps, or for a person to do one.
func expectant(s *domain.Session) bool {
	if s.KeepOpen {
		return true
	}
	for _, chain := range s.Chains {
		if chain.Open {
			return true
		}
		for _, step := range chain.Steps {
			if step.Manual && s.Blocker(chain.ID, step.ID, time.Now()) == "" {
				return true
			}
		}
	}
	return false
}
