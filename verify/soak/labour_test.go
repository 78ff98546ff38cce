package soak

import (
	"bufio"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"reprise/eventstore"
)

// slack is how late a worker may notice, on a busy machine, that an attempt was
// taken away.
const slack = 2 * time.Second

// stint is one run of a handler, from its worker's log.
type stint struct {
	attemptKey

	worker     string
	start, end time.Time
	ended      bool
}

// readStints reads the logs of all workers. A killed worker's last attempts end
// with it.
func readStints(w *town) ([]*stint, error) {
	files, err := filepath.Glob(filepath.Join(w.logs, "*"))
	if err != nil {
		return nil, err
	}
	var all []*stint
	for _, file := range files {
		stints, err := readLog(file)
		if err != nil {
			return nil, err
		}
		for _, s := range stints {
			death, killed := w.deaths[s.worker]
			if !s.ended && !killed {
				return nil, fmt.Errorf("attempt %v of %s has no end, and nobody killed its worker", s.attemptKey, s.worker)
			}
			if !s.ended {
				s.end = death
			}
		}
		all = append(all, stints...)
	}
	return all, nil
}

// readLog joins the beginnings and ends of one worker.
func readLog(path string) ([]*stint, error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer func() { _ = file.Close() }()
	open := map[attemptKey]*stint{}
	var all []*stint
	scanner := bufio.NewScanner(file)
	for scanner.Scan() {
		var e entry
		if err := json.Unmarshal(scanner.Bytes(), &e); err != nil {
			return nil, fmt.Errorf("%s: %w", filepath.Base(path), err)
		}
		key := attemptKey{stepKey{e.User, e.Session, e.Chain, e.Step}, e.Attempt}
		if e.Ended {
			open[key].end, open[key].ended = e.At, true
			continue
		}
		s := &stint{attemptKey: key, worker: e.Worker, start: e.At}
		open[key], all = s, append(all, s)
	}
	return all, scanner.Err()
}

// checkStints compares what workers did with what the events say: every run was
// claimed, none was doubled, and no two of one step were at the same time but
// for one whose lease was gone.
func checkStints(c *ledger, w *town, all []*stint) []error {
	var errs []error
	bySteps := map[stepKey][]*stint{}
	for _, s := range all {
		errs = append(errs, c.checkClaimed(s))
		for _, other := range bySteps[s.stepKey] {
			errs = append(errs, c.checkApart(w, s, other))
		}
		bySteps[s.stepKey] = append(bySteps[s.stepKey], s)
	}
	return compact(errs)
}

// checkClaimed looks for the claim of a run. Of deleted sessions nothing is left.
func (c *ledger) checkClaimed(s *stint) error {
	if c.deleted(s.stepKey) {
		return nil
	}
	if claimant := c.claims[s.attemptKey]; claimant != s.worker {
		return fmt.Errorf("attempt %v was run by %s; the events give it to %q", s.attemptKey, s.worker, claimant)
	}
	return nil
}

// deleted reports whether the session's history was compacted to a tombstone.
func (c *ledger) deleted(s stepKey) bool {
	known := c.Tales[eventstore.Key{User: s.user, Session: s.session}]
	return known != nil && known.Gone()
}

// checkApart compares two runs of one step.
func (c *ledger) checkApart(w *town, a, b *stint) error {
	if a.attempt == b.attempt {
		return fmt.Errorf("attempt %v was run by %s and by %s", a.attemptKey, a.worker, b.worker)
	}
	if a.attempt > b.attempt {
		a, b = b, a
	}
	if !a.start.Before(b.end) || !b.start.Before(a.end) {
		return nil
	}
	taken, wasTaken := c.takings[a.attemptKey]
	if c.deleted(a.stepKey) {
		taken, wasTaken = b.start, true
	}
	if !wasTaken || taken.After(b.start) {
		return fmt.Errorf("%v ran at %s until %s, and as attempt %d at %s from %s on; nobody took the first away (it ended as %q)",
			a.attemptKey, a.worker, clock(a.end), b.attempt, b.worker, clock(b.start), c.finished[a.attemptKey])
	}
	until := taken.Add(workerLease)
	if woken := w.woken[a.worker]; woken.After(until) {
		until = woken
	}
	if a.end.After(until.Add(slack)) {
		return fmt.Errorf("%v was taken from %s at %s and ran on until %s, beside attempt %d", a.attemptKey, a.worker, clock(taken), clock(a.end), b.attempt)
	}
	return nil
}

// overlaps counts pairs of runs at the same time by how the earlier attempt was
// taken away.
func (c *ledger) overlaps(all []*stint) map[string]int {
	counts := map[string]int{}
	bySteps := map[stepKey][]*stint{}
	for _, s := range all {
		for _, other := range bySteps[s.stepKey] {
			if s.start.Before(other.end) && other.start.Before(s.end) {
				counts[c.ending(s, other)]++
			}
		}
		bySteps[s.stepKey] = append(bySteps[s.stepKey], s)
	}
	return counts
}

// ending names the end of the earlier of two attempts.
func (c *ledger) ending(a, b *stint) string {
	first := a
	if b.attempt < a.attempt {
		first = b
	}
	if c.deleted(first.stepKey) {
		return "deleted since"
	}
	return string(c.finished[first.attemptKey])
}

func clock(t time.Time) string { return t.UTC().Format("15:04:05.000") }

// compact leaves out what is no error.
func compact(errs []error) (left []error) {
	for _, err := range errs {
		if err != nil {
			left = append(left, err)
		}
	}
	return left
}
