package eventstore

import (
	"context"
	"crypto/rand"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"
)

// Faults are hooks into a Memory for tests. Each may block, and each is called
// without a lock held.
type Faults struct {
	// BeforeAppend is asked before anything is stored; its error is the
	// append's, and nothing is stored.
	BeforeAppend func(ctx context.Context, records []Record) error
	// AfterAppend is asked after the records were stored; its error is the
	// append's although they are: a lost acknowledgement.
	AfterAppend func(ctx context.Context, records []Record, seqs []uint64) error
	// BeforeRead is asked before every Get, Last and Scan.
	BeforeRead func(ctx context.Context) error
}

// Memory is a Driver that keeps everything in this process. It is made with
// NewMemory.
type Memory struct {
	incarnation string

	mu       sync.RWMutex
	faults   Faults
	messages []Message // index is sequence - 1; removed ones have sequence 0
	subjects map[Key][]uint64
	removed  uint64
	bytes    uint64
	grown    chan struct{} // closed and replaced when messages are added
}

var _ Driver = (*Memory)(nil)

// NewMemory returns an empty store with an incarnation of its own.
func NewMemory() *Memory {
	return &Memory{incarnation: rand.Text(), subjects: map[Key][]uint64{}, grown: make(chan struct{})}
}

// SetFaults replaces the hooks.
func (m *Memory) SetFaults(f Faults) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.faults = f
}

func (m *Memory) hooks() Faults {
	m.mu.RLock()
	defer m.mu.RUnlock()
	return m.faults
}

// Features says that nothing survives the process.
func (m *Memory) Features() Features { return Features{} }

// Append stores all records or none.
func (m *Memory) Append(ctx context.Context, records []Record) ([]uint64, error) {
	faults := m.hooks()
	if err := CheckRecords(records); err != nil {
		return nil, err
	}
	if err := ctx.Err(); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrUnavailable, err)
	}
	if faults.BeforeAppend != nil {
		if err := faults.BeforeAppend(ctx, records); err != nil {
			return nil, err
		}
	}
	seqs, err := m.store(records)
	if err == nil && faults.AfterAppend != nil {
		err = faults.AfterAppend(ctx, records, seqs)
	}
	if err != nil {
		return nil, err
	}
	return seqs, nil
}

func (m *Memory) store(records []Record) ([]uint64, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, r := range records {
		if want, _ := r.Guard.Seq(); m.lastSeq(r.Key) != want {
			return nil, fmt.Errorf("session %s: %w: the last sequence is %d, not %d", r.Key, ErrConflict, m.lastSeq(r.Key), want)
		}
	}
	seqs := make([]uint64, len(records))
	for i, r := range records {
		prev, _ := r.Guard.Seq()
		seqs[i] = m.add(Message{Key: r.Key, Prev: prev, Guarded: true, Header: r.Header, Body: r.Body})
	}
	return seqs, nil
}

// Inject stores a message without a guard, as a foreign writer would.
func (m *Memory) Inject(key Key, header map[string]string, body []byte) uint64 {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.add(Message{Key: key, Header: header, Body: body})
}

// add needs the lock. It copies what the caller may still change.
func (m *Memory) add(msg Message) uint64 {
	msg.Seq, msg.Time = uint64(len(m.messages))+1, time.Now().UTC()
	msg.Header, msg.Body = maps.Clone(msg.Header), slices.Clone(msg.Body)
	msg.Size = uint64(len(msg.Body))
	m.messages = append(m.messages, msg)
	m.subjects[msg.Key] = append(m.subjects[msg.Key], msg.Seq)
	m.bytes += uint64(len(msg.Body))
	close(m.grown)
	m.grown = make(chan struct{})
	return msg.Seq
}

// lastSeq needs the lock.
func (m *Memory) lastSeq(key Key) uint64 {
	seqs := m.subjects[key]
	if len(seqs) == 0 {
		return 0
	}
	return seqs[len(seqs)-1]
}

// Get returns the message with that sequence.
func (m *Memory) Get(ctx context.Context, seq uint64) (Message, error) {
	if err := m.beforeRead(ctx); err != nil {
		return Message{}, err
	}
	m.mu.RLock()
	defer m.mu.RUnlock()
	if seq == 0 || seq > uint64(len(m.messages)) || m.messages[seq-1].Seq == 0 {
		return Message{}, fmt.Errorf("sequence %d: %w", seq, ErrNotFound)
	}
	return m.messages[seq-1], nil
}

// Last returns the last message of a session.
func (m *Memory) Last(ctx context.Context, key Key) (Message, error) {
	if err := m.beforeRead(ctx); err != nil {
		return Message{}, err
	}
	m.mu.RLock()
	defer m.mu.RUnlock()
	seq := m.lastSeq(key)
	if seq == 0 {
		return Message{}, fmt.Errorf("session %s: %w", key, ErrNotFound)
	}
	return m.messages[seq-1], nil
}

func (m *Memory) beforeRead(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return fmt.Errorf("%w: %w", ErrUnavailable, err)
	}
	if hook := m.hooks().BeforeRead; hook != nil {
		return hook(ctx)
	}
	return nil
}

// Scan calls fn for every selected message up to the end at the start.
func (m *Memory) Scan(ctx context.Context, f Filter, fn func(Message) error) error {
	if err := m.beforeRead(ctx); err != nil {
		return err
	}
	m.mu.RLock()
	to := uint64(len(m.messages))
	m.mu.RUnlock()
	if f.To > 0 {
		to = min(to, f.To)
	}
	for seq := max(f.From, 1); seq <= to; seq++ {
		if err := ctx.Err(); err != nil {
			return err
		}
		msg := m.at(seq)
		if msg.Seq == 0 || f.User != "" && f.User != msg.Key.User || f.Session != "" && f.Session != msg.Key.Session {
			continue
		}
		if f.HeadersOnly {
			msg.Body = nil
		}
		if err := fn(msg); err != nil {
			return err
		}
	}
	return nil
}

func (m *Memory) at(seq uint64) Message {
	m.mu.RLock()
	defer m.mu.RUnlock()
	return m.messages[seq-1]
}

// Follow calls fn for every message from a sequence on, for ever.
func (m *Memory) Follow(ctx context.Context, from uint64, fn func(Message) error) error {
	for seq := max(from, 1); ; {
		m.mu.RLock()
		end, grown := uint64(len(m.messages)), m.grown
		m.mu.RUnlock()
		for ; seq <= end; seq++ {
			if err := ctx.Err(); err != nil {
				return err
			}
			if msg := m.at(seq); msg.Seq > 0 {
				if err := fn(msg); err != nil {
					return err
				}
			}
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-grown:
		}
	}
}

// Compact removes the messages of a session before a sequence.
func (m *Memory) Compact(ctx context.Context, key Key, before uint64) error {
	if err := ctx.Err(); err != nil {
		return fmt.Errorf("%w: %w", ErrUnavailable, err)
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	seqs := m.subjects[key]
	keep, _ := slices.BinarySearch(seqs, before)
	for _, seq := range seqs[:keep] {
		m.bytes -= uint64(len(m.messages[seq-1].Body))
		m.messages[seq-1] = Message{}
	}
	m.removed += uint64(keep)
	if m.subjects[key] = slices.Clone(seqs[keep:]); len(m.subjects[key]) == 0 {
		delete(m.subjects, key)
	}
	return nil
}

// Info describes the store.
func (m *Memory) Info(context.Context) (Info, error) {
	m.mu.RLock()
	defer m.mu.RUnlock()
	info := Info{
		Incarnation: m.incarnation, Last: uint64(len(m.messages)),
		Messages: uint64(len(m.messages)) - m.removed, Bytes: m.bytes, Subjects: uint64(len(m.subjects)),
	}
	for i := range m.messages {
		if m.messages[i].Seq > 0 {
			info.First = m.messages[i].Seq
			info.Deleted = info.Last - info.First + 1 - info.Messages
			break
		}
	}
	return info, nil
}
