package domain

// Manual lists the manual steps that are ready: somebody may complete them now.
func (s *Session) Manual() []StepRef {
	if s.State != StateRunning {
		return nil
	}
	var manual []StepRef
	for _, c := range s.Chains {
		if !c.Status.Unfinished() || len(s.openWaits(c)) > 0 {
			continue
		}
		for _, st := range c.Steps {
			if st.Status == StepStatusPending && st.Manual && len(c.openWaits(st)) == 0 {
				manual = append(manual, StepRef{c.ID, st.ID})
			}
		}
	}
	return manual
}

// AwaitsPlan reports whether a RUNNING session waits for somebody to plan on: an
// open chain whose steps are all done, or a session that is kept open and has no
// unfinished chain.
func (s *Session) AwaitsPlan() bool {
	if s.State != StateRunning {
		return false
	}
	unfinished := false
	for _, c := range s.Chains {
		if !c.Status.Unfinished() {
			continue
		}
		unfinished = true
		if c.Open && c.Done() && len(s.openWaits(c)) == 0 {
			return true
		}
	}
	return s.KeepOpen && !unfinished
}
