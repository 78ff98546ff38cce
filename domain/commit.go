package domain

import "time"

// CommitVersion is the version of the commit's own shape, its field "v".
const CommitVersion = 1

// Commit is what one accepted command appends: the unit that is stored, hashed
// and read. It is immutable.
type Commit struct {
	// ID is the command id.
	ID      string
	Session string
	User    string
	// Version is that of the first event.
	Version uint64
	Time    time.Time
	Actor   string
	// Cause is the verb that led to the commit.
	Cause Verb
	// State is the state of the session after the commit.
	State State
	// Digest is the SHA-256 of verb and body of the command, in hex.
	Digest string
	// Prev is the SHA-256 of the body of the session's previous commit, in
	// hex; empty for the first.
	Prev string
	// Queue is the sequence of the queued command, if it came by the queue.
	Queue uint64
	// Results has an entry for every command of a batch.
	Results []Result
	Events  []Event
}

// Result is what became of one command of a batch.
type Result struct {
	Verb Verb `json:"verb"`
	// Code is empty for an accepted command; Message then too.
	Code    Code   `json:"code,omitempty"`
	Message string `json:"message,omitempty"`
	// Events is the number of events the command contributed.
	Events int `json:"events"`
}

// LastVersion returns the version of the session after the commit.
func (c *Commit) LastVersion() uint64 { return c.Version + uint64(len(c.Events)) - 1 }

// Tombstone returns the tombstone if this commit ends the session, else nil.
func (c *Commit) Tombstone() *Tombstone {
	for _, e := range c.Events {
		if p, ok := e.(*SessionPurged); ok {
			return &p.Tombstone
		}
	}
	return nil
}
