package cleanup

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/goccy/go-yaml"

	"reprise/contract"
	"reprise/domain"
)

// day is the unit in which retention is counted.
const day = domain.Duration(24 * time.Hour)

// The defaults of a policy.
const (
	keepCompleted    = 30 * day
	keepFailed       = 90 * day
	keepCancelled    = 7 * day
	keepNeverStarted = 7 * day
	keepIdle         = 30 * day
	// keepTombstones is beyond the age of everything that could bring an id
	// back: queued commands, leases, plans.
	keepTombstones = 90 * day
	keepDebris     = 7 * day
)

// minTombstones is the least age at which a tombstone may go: queued commands
// live for 30 days.
const minTombstones = 30 * day

// maxPolicyName bounds the name of a policy in bytes.
const maxPolicyName = 64

// DefaultPolicy returns the policy that holds where no other was given.
func DefaultPolicy() contract.CleanupPolicy {
	return contract.CleanupPolicy{
		Name: "default",
		Retention: map[domain.State]domain.Duration{
			domain.StateCompleted: keepCompleted, domain.StateFailed: keepFailed, domain.StateCancelled: keepCancelled,
			domain.StatePending: keepNeverStarted, domain.StatePaused: keepIdle, domain.StateRunning: keepIdle,
		},
		Tombstones: keepTombstones, Debris: keepDebris,
	}
}

// ParsePolicy reads a policy in YAML or JSON. What it leaves out is as in
// DefaultPolicy, but for the name. The error is a *domain.Rejection.
func ParsePolicy(text []byte) (contract.CleanupPolicy, error) {
	raw, err := yaml.YAMLToJSON(text)
	if err != nil {
		return contract.CleanupPolicy{}, domain.Invalid("policy", "it is neither YAML nor JSON: %v", err)
	}
	p := DefaultPolicy()
	p.Name = "custom"
	if err := domain.DecodeStrict(raw, &p); err != nil {
		return contract.CleanupPolicy{}, err
	}
	return p, CheckPolicy(p)
}

// CheckPolicy says what is wrong with a policy; the error is a *domain.Rejection.
func CheckPolicy(p contract.CleanupPolicy) error {
	var wrong []error
	if p.Name == "" || len(p.Name) > maxPolicyName || strings.ContainsFunc(p.Name, func(r rune) bool { return r < ' ' || r == 0x7f }) {
		wrong = append(wrong, fmt.Errorf("its name has to be 1 to %d bytes of plain text", maxPolicyName))
	}
	for _, state := range domain.States() {
		if _, ok := p.Retention[state]; !ok && !slices.Contains(p.Keep, state) {
			wrong = append(wrong, fmt.Errorf("it says nothing of %s; give it a retention, or keep it", state))
		}
	}
	for state := range p.Retention {
		wrong = append(wrong, checkState(state))
	}
	for _, state := range p.Keep {
		wrong = append(wrong, checkState(state))
	}
	if p.Tombstones < minTombstones {
		wrong = append(wrong, fmt.Errorf("tombstones are kept for %s, and that has to be at least %s", p.Tombstones, minTombstones))
	}
	if err := errors.Join(wrong...); err != nil {
		return domain.Invalid("policy", "%s", strings.ReplaceAll(err.Error(), "\n", "; "))
	}
	return nil
}

func checkState(s domain.State) error {
	if s.Valid() {
		return nil
	}
	return fmt.Errorf("there is no state %.40q", string(s))
}

// criteria decide which sessions are stale.
type criteria struct {
	policy contract.CleanupPolicy
	filter contract.CleanupFilter
	now    time.Time
}

// retention returns how long sessions in a state are kept; false for ever.
func (c *criteria) retention(s domain.State) (time.Duration, bool) {
	if slices.Contains(c.policy.Keep, s) {
		return 0, false
	}
	if c.filter.OlderThan != nil {
		return c.filter.OlderThan.Std(), true
	}
	d, ok := c.policy.Retention[s]
	return d.Std(), ok
}

// over reports whether a time is at least an age ago.
func (c *criteria) over(t time.Time, age time.Duration) bool { return !c.now.Before(t.Add(age)) }

// stale reports whether a session has been left alone for long enough.
func (c *criteria) stale(s domain.State, last time.Time, inFlight int) bool {
	age, ends := c.retention(s)
	return ends && inFlight == 0 && c.over(last, age)
}

// wanted reports whether the filter lets a session through, but for its metadata.
func (c *criteria) wanted(user, session string, s domain.State) bool {
	return c.named(user, session) && among(c.filter.States, s)
}

// named reports whether the filter lets something of a session through that has
// no state of its own.
func (c *criteria) named(user, session string) bool {
	return among(c.filter.Users, user) && among(c.filter.Sessions, session)
}

// orphans reports whether orphans are looked for: they have neither state nor
// metadata.
func (c *criteria) orphans() bool { return len(c.filter.States) == 0 && len(c.filter.Metadata) == 0 }

func among[T comparable](some []T, one T) bool { return len(some) == 0 || slices.Contains(some, one) }

// hasAll reports whether metadata holds all these pairs.
func hasAll(metadata, want map[string]string) bool {
	for k, v := range want {
		if got, ok := metadata[k]; !ok || got != v {
			return false
		}
	}
	return true
}

// reasonOf returns why a stale session is one.
func reasonOf(s domain.State) contract.CleanupReason {
	switch s {
	case domain.StateCompleted:
		return contract.ReasonCompleted
	case domain.StateFailed:
		return contract.ReasonFailed
	case domain.StateCancelled:
		return contract.ReasonCancelled
	case domain.StatePending:
		return contract.ReasonNeverStarted
	case domain.StatePaused, domain.StateRunning, domain.StateNone:
	}
	return contract.ReasonIdle
}
