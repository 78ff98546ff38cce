package domain

import "time"

// stopClock keeps what is left of the session's timeout, and not less than the
// least. A pause leaves at least a moment, so that it is no way round a timeout.
func (d *draft) stopClock(now time.Time, least Duration) {
	if !d.s.Deadline.IsZero() {
		d.s.Remaining = max(Duration(d.s.Deadline.Sub(now)).whole(), least)
		d.s.Deadline = time.Time{}
	}
}

// stopManual withdraws the deadlines of manual steps of a chain that can't be
// completed now; they get new ones when they are ready again.
func (d *draft) stopManual(c *Chain) {
	for _, st := range c.Steps {
		if st.Status == StepStatusPending && !st.ReadyAt.IsZero() {
			next := d.step(c.ID, st.ID)
			next.ReadyAt, next.Deadline = time.Time{}, time.Time{}
		}
	}
}

// shiftClocks makes what stood still from one time to another due later.
func (d *draft) shiftClocks(from, to time.Time) {
	stood := func(st *Step) bool {
		return st.Status == StepStatusPending && (st.NotBefore.After(from) || !st.Deadline.IsZero())
	}
	d.eachStep(stood, func(st *Step) {
		for _, at := range []*time.Time{&st.NotBefore, &st.Deadline, &st.ReadyAt} {
			if at == &st.Deadline && !at.IsZero() || at.After(from) {
				*at = at.Add(to.Sub(from))
			}
		}
	})
}

// markManual starts the clock of manual steps with a timeout that have become
// ready by this commit.
func (d *draft) markManual(now time.Time) {
	waiting := func(st *Step) bool {
		return st.Manual && st.Timeout > 0 && st.Status == StepStatusPending && st.ReadyAt.IsZero()
	}
	if d.s.State != StateRunning {
		return
	}
	for _, c := range d.s.Chains {
		for _, st := range c.Steps {
			if !waiting(st) {
				continue
			}
			from := now
			if st.NotBefore.After(now) { // after its backoff
				from = st.NotBefore
			}
			if d.s.blocker(c, st, from) == "" {
				next := d.step(c.ID, st.ID)
				next.ReadyAt, next.Deadline = from, from.Add(st.Timeout.Std())
			}
		}
	}
}

// after returns the time a positive duration after t, and zero for none.
func after(t time.Time, d Duration) time.Time {
	if d <= 0 {
		return time.Time{}
	}
	return t.Add(d.Std())
}
