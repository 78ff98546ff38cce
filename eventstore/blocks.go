package eventstore

import (
	"bytes"
	"compress/gzip"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"

	"reprise/domain"
)

// BlockSize is how many versions a history block spans. Block n of a session
// holds the commits whose first version is n*BlockSize+1 to (n+1)*BlockSize, so
// that every commit says by its version in which block it is.
const BlockSize = 256

// maxBlock bounds what a block may unpack to, in bytes.
const maxBlock = 32 << 20

// Blocks finds the history blocks that are kept of a session. They are derived:
// a block that is missing, or does not prove to be of the session's history,
// makes a long walk slower and nothing else. Any error counts as none.
//
// Block is called from many goroutines at once.
type Blocks interface {
	Block(ctx context.Context, key Key, number uint64) ([]byte, error)
}

// Block is a history block to be kept: the sequences of its commits, and the
// session as it was after the last of them.
type Block struct {
	Key    Key
	Number uint64
	Body   []byte
}

// EndsBlock reports whether a commit is the last one of its block.
func EndsBlock(c *domain.Commit) bool { return nextBlock(c) > BlockOf(c.Version) }

// BlockOf returns the block of a commit whose first version is given.
func BlockOf(version uint64) uint64 { return (max(version, 1) - 1) / BlockSize }

// nextBlock returns the block of the commit after c.
func nextBlock(c *domain.Commit) uint64 { return BlockOf(c.LastVersion() + 1) }

// block is what is kept, as JSON in gzip, whose checksum tells damage.
type block struct {
	Schema  int             `json:"schema"`
	User    string          `json:"user"`
	Session string          `json:"session"`
	Number  uint64          `json:"block"`
	Hash    string          `json:"hash"` // of the last commit
	Seqs    []uint64        `json:"seqs"` // of all commits, ascending
	State   json.RawMessage `json:"state"`
}

// end returns the sequence of the last commit.
func (b *block) end() uint64 { return b.Seqs[len(b.Seqs)-1] }

// NewBlock makes a block of all its commits, whose sequences are given in order;
// the last of them led to the aggregate. Remembered command ids are left out.
func NewBlock(number uint64, seqs []uint64, a Aggregate) (Block, error) {
	state, err := domain.Marshal(forgetful(a.Session))
	if err != nil {
		return Block{}, err
	}
	b := block{
		Schema: SchemaVersion, User: a.Key.User, Session: a.Key.Session, Number: number,
		Hash: a.Hash, Seqs: seqs, State: state,
	}
	raw, err := domain.Marshal(b)
	if err != nil {
		return Block{}, err
	}
	var packed bytes.Buffer
	w, err := gzip.NewWriterLevel(&packed, gzip.BestSpeed)
	if err == nil {
		_, err = w.Write(raw)
	}
	if err == nil {
		err = w.Close()
	}
	return Block{Key: a.Key, Number: number, Body: packed.Bytes()}, err
}

// forgetful returns the session without the command ids that it remembers.
func forgetful(s *domain.Session) *domain.Session {
	if s.Recent == nil {
		return s
	}
	bare := *s
	bare.Recent = nil
	return &bare
}

// decodeBlock reads a block and checks what can be checked without the events.
func decodeBlock(key Key, number uint64, packed []byte) (*block, error) {
	r, err := gzip.NewReader(bytes.NewReader(packed))
	if err != nil {
		return nil, err
	}
	raw, err := io.ReadAll(io.LimitReader(r, maxBlock))
	if err != nil {
		return nil, err
	}
	var b block
	if err := json.Unmarshal(raw, &b); err != nil {
		return nil, err
	}
	switch {
	case b.Schema != SchemaVersion:
		return nil, fmt.Errorf("it is of schema %d, and this program reads %d", b.Schema, SchemaVersion)
	case b.User != key.User || b.Session != key.Session || b.Number != number:
		return nil, fmt.Errorf("it is block %d of session %.80q of user %.80q", b.Number, b.Session, b.User)
	case len(b.Seqs) == 0 || len(b.Seqs) > BlockSize || !slices.IsSorted(b.Seqs):
		return nil, errors.New("its sequences are none, or too many, or not in order")
	}
	return &b, nil
}

// block returns a kept block, which is not proved to be true; nil for none.
func (s *Store) block(ctx context.Context, key Key, number uint64) *block {
	packed, err := s.blocks.Block(ctx, key, number)
	if err != nil {
		return nil
	}
	b, err := decodeBlock(key, number, packed)
	if err != nil {
		s.loads.blocksRefused.Add(1)
		return nil
	}
	return b
}

// anchor is the last commit of a block.
type anchor struct {
	Committed
	block   *block
	message Message
}

// anchor returns the last commit of a block if the block proves to be one of
// the session's history; nil for none. The hash of a commit covers all commits
// before it, and every message with a guard is among those that a walk from a
// later one visits; so it is enough that the commit is there as the block says.
func (s *Store) anchor(ctx context.Context, key Key, number uint64) *anchor {
	b := s.block(ctx, key, number)
	if b == nil {
		return nil
	}
	m, err := s.driver.Get(ctx, b.end())
	if err == nil && m.Key == key && m.Guarded && Hash(m.Body) == b.Hash {
		c, err := s.codec.Decode(m)
		if err == nil && BlockOf(c.Commit.Version) == number && EndsBlock(c.Commit) && c.Commit.Tombstone() == nil {
			s.loads.blocks.Add(1)
			return &anchor{Committed: c, block: b, message: m}
		}
	}
	s.loads.blocksRefused.Add(1)
	return nil
}

// aggregate returns the state at the end of a block; false if what is kept is
// not that of the commit.
func (a *anchor) aggregate() (Aggregate, bool) {
	var kept domain.Session
	if err := json.Unmarshal(a.block.State, &kept); err != nil {
		return Aggregate{}, false
	}
	fits := kept.ID == a.Key.Session && kept.User == a.Key.User && kept.Version == a.Commit.LastVersion() &&
		kept.State == a.Commit.State && kept.UpdatedAt.Equal(a.Commit.Time)
	return Aggregate{Key: a.Key, Session: forgetful(&kept), Seq: a.Seq, Last: a.Seq, Hash: a.Hash}, fits
}

// whole returns how many blocks lie before that of the last message of a
// session; 0 if the session has ended or there are none to be used.
func (s *Store) whole(head Message) uint64 {
	if s.blocks == nil || BlockOf(versionOf(head)) == 0 {
		return 0
	}
	c, err := s.codec.Decode(head)
	if err != nil || c.Commit.Tombstone() != nil {
		return 0
	}
	return BlockOf(c.Commit.Version)
}

// near returns a message from which it is not far back to the commit that holds
// a version: the end of that one's block, else head.
func (s *Store) near(ctx context.Context, head Message, version uint64) (Message, *block) {
	if n := BlockOf(version); n < s.whole(head) {
		if a := s.anchor(ctx, head.Key, n); a != nil {
			return a.message, a.block
		}
	}
	return head, nil
}
