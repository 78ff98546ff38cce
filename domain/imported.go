package domain

// VerbImport is the cause of a commit that begins a session with the state of
// another one. It is no command.
const VerbImport Verb = "import"

// ImportedFrom returns the event that begins another session with the state of
// s, whose payloads have to be filled in; head is the hash of its last commit.
// The error is a *Rejection if s is gone or does not fit one message.
func ImportedFrom(s *Session, head string) (*SessionImported, error) {
	if s.Gone != nil {
		return nil, gone(s)
	}
	plan := *s
	plan.Recent, plan.QueueSeq = nil, 0
	plan.Chains = make([]*Chain, 0, len(s.Chains))
	for _, c := range s.Chains {
		chain := *c
		chain.Steps = make([]*Step, 0, len(c.Steps))
		for _, st := range c.Steps {
			chain.Steps = append(chain.Steps, st.whole())
		}
		plan.Chains = append(plan.Chains, &chain)
	}
	if r := checkCarried(VerbImport, plan.Chains...); r != nil {
		return nil, r
	}
	return &SessionImported{Plan: plan, Source: Parent{Session: s.ID, Version: s.Version}, Head: head}, nil
}
