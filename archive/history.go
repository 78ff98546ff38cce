package archive

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"strings"

	"reprise/contract"
	"reprise/domain"
	"reprise/eventstore"
)

// maxHeld bounds how much of one history is kept until it is verified, in bytes;
// a longer one is read twice.
const maxHeld = 4 << 20

// history is the verified history of one session: from its first commit, or its
// tombstone alone.
type history struct {
	key eventstore.Key
	// agg is the session after it; its sequences count commits.
	agg     eventstore.Aggregate
	commits []held // nil if they are more than maxHeld
	count   uint64
	bytes   uint64
	// digest is that of all bodies and headers.
	digest string
}

// held is one commit of a history.
type held struct {
	eventstore.Original

	version uint64
}

// gone reports whether the session is.
func (h *history) gone() bool { return h.agg.Session.Gone != nil }

// readHistory reads and verifies the history of a session up to a sequence, 0
// for all. A session that has none has a count of 0. The error of a history that
// can't be used is eventstore.ErrCorrupt.
func readHistory(ctx context.Context, store *eventstore.Store, key eventstore.Key, upTo uint64) (*history, error) {
	h, err := tryHistory(ctx, store, key, upTo)
	if err == nil || !errors.Is(err, eventstore.ErrCorrupt) && !errors.Is(err, eventstore.ErrNotFound) {
		return h, err
	}
	if now, again := tryHistory(ctx, store, key, 0); again == nil && now.gone() {
		return now, nil // it was purged while it was read
	}
	return h, err
}

func tryHistory(ctx context.Context, store *eventstore.Store, key eventstore.Key, upTo uint64) (*history, error) {
	h := &history{key: key}
	v := eventstore.NewVerifier(key, eventstore.Codec{})
	sum := sha256.New()
	var broken error
	err := store.History(ctx, key, upTo, func(m eventstore.Message) error {
		if hasType(m, domain.TypeSessionPurged) && (broken != nil || h.count > 0) {
			// What is before a tombstone doesn't count, and may be half removed.
			h, v, broken = &history{key: key}, eventstore.NewVerifier(key, eventstore.Codec{}), nil
			sum.Reset()
		}
		var c eventstore.Committed
		if broken == nil {
			c, broken = v.Add(m.Body)
		}
		if broken == nil {
			h.add(m, c)
			_, _ = fmt.Fprintf(sum, "%s\n%s\n", c.Hash, headerText(m.Header)) // a hash never fails
		}
		return nil // a tombstone may follow
	})
	h.agg, h.digest = v.Aggregate(), hex.EncodeToString(sum.Sum(nil))
	return h, errors.Join(err, broken)
}

// add keeps a commit if there is room.
func (h *history) add(m eventstore.Message, c eventstore.Committed) {
	h.count++
	if h.bytes += uint64(len(m.Body)); h.bytes > maxHeld {
		h.commits = nil
		return
	}
	h.commits = append(h.commits, held{eventstore.Original{Header: m.Header, Body: m.Body}, c.Commit.Version})
}

// each calls fn for every commit; a long history is read again.
func (h *history) each(ctx context.Context, store *eventstore.Store, fn func(held) error) error {
	if h.commits != nil {
		for _, c := range h.commits {
			if err := fn(c); err != nil {
				return err
			}
		}
		return nil
	}
	v := eventstore.NewVerifier(h.key, eventstore.Codec{})
	left := h.count
	err := store.History(ctx, h.key, 0, func(m eventstore.Message) error {
		if left == 0 {
			return nil
		}
		left--
		c, err := v.Add(m.Body)
		if err != nil {
			return err
		}
		return fn(held{eventstore.Original{Header: m.Header, Body: m.Body}, c.Commit.Version})
	})
	if err == nil && v.Aggregate().Hash != h.agg.Hash {
		err = fmt.Errorf("session %s changed while it was read: %w", h.key, eventstore.ErrNotFound)
	}
	return err
}

// headerText writes headers in one order.
func headerText(header map[string]string) string {
	names := make([]string, 0, len(header))
	for name := range header {
		if eventstore.RestorableHeader(name) {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	var b strings.Builder
	for _, name := range names {
		fmt.Fprintf(&b, "%q=%q\n", name, header[name])
	}
	return b.String()
}

// hasType reports whether the headers of a commit name an event type.
func hasType(m eventstore.Message, types ...domain.EventType) bool {
	for name := range strings.SplitSeq(m.Header[contract.HeaderTypes], ",") {
		if slices.Contains(types, domain.EventType(name)) {
			return true
		}
	}
	return false
}
