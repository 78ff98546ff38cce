package archive

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"reprise/contract"
	"reprise/eventstore"
)

// maxProblems is how many problems a report names; the others it counts.
const maxProblems = 20

// ErrNoSession says that a session that was named is not there, or is gone.
var ErrNoSession = errors.New("no such session")

// ExportOptions say what Export writes. The zero value is every session that is
// not gone.
type ExportOptions struct {
	Filter Filter
	// SkipDamaged leaves sessions out whose history can't be verified, instead of
	// ending with an error.
	SkipDamaged bool
	// Now returns the time in the header; time.Now if nil.
	Now func() time.Time
	// Progress is called after every session; it may be nil.
	Progress func(Progress)
}

// ExportReport says what was written.
type ExportReport struct {
	Trailer

	// Position is the point of time of the export: no later commit is in it.
	Position contract.Position `json:"position"`
	// Bytes is the size of all bodies.
	Bytes uint64 `json:"bytes"`
	// Damaged counts the sessions that were left out, Problems names the first.
	Damaged  uint64   `json:"damaged"`
	Problems []string `json:"problems,omitempty"`
}

// Export writes sessions as they are at the moment of the call, whatever happens
// to them meanwhile; one that is purged meanwhile is left out. Each history is
// verified before it is written. Of sessions that are named, each has to be
// there, else it is ErrNoSession.
func Export(ctx context.Context, store *eventstore.Store, w io.Writer, o ExportOptions) (ExportReport, error) {
	info, err := store.Info(ctx)
	if err != nil {
		return ExportReport{}, err
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	x := &export{store: store, o: o, upTo: info.Last}
	x.report.Position = store.Position(info.Last)
	x.out, err = NewWriter(w, Header{Created: o.Now().UTC(), Source: x.report.Position, Filter: o.Filter})
	if err == nil {
		err = x.sessions(ctx)
	}
	if err != nil {
		return x.report, err
	}
	x.report.Trailer, err = x.out.Close()
	return x.report, err
}

// export is one run of Export.
type export struct {
	store  *eventstore.Store
	o      ExportOptions
	upTo   uint64
	out    *Writer
	report ExportReport
}

func (x *export) sessions(ctx context.Context) error {
	if len(x.o.Filter.Sessions) > 0 {
		for _, key := range x.o.Filter.keys() {
			if err := x.named(ctx, key); err != nil {
				return err
			}
		}
		return nil
	}
	return eachArrival(ctx, x.store, x.o.Filter.User, 1, x.upTo, func(found []arrival, _ uint64) error {
		for _, a := range found {
			if a.tombstone && !x.o.Filter.Tombstones {
				continue
			}
			if err := x.session(ctx, a); err != nil {
				return err
			}
		}
		return nil
	})
}

// named exports a session that has to be there.
func (x *export) named(ctx context.Context, key eventstore.Key) error {
	before := x.report.Sessions
	h, err := readHistory(ctx, x.store, key, x.upTo)
	switch {
	case err != nil:
		return x.damaged(key, err)
	case h.count == 0:
		return fmt.Errorf("%w: %s of user %s was never created; names are exact", ErrNoSession, key.Session, key.User)
	case h.gone() && !x.o.Filter.Tombstones:
		return fmt.Errorf("%w: %s of user %s is gone; its tombstone is exported with --tombstones", ErrNoSession, key.Session, key.User)
	}
	if err := x.write(ctx, h); err != nil || x.report.Sessions > before {
		return err
	}
	return fmt.Errorf("%w: %s of user %s does not fit the other conditions", ErrNoSession, key.Session, key.User)
}

// session exports a session that was found.
func (x *export) session(ctx context.Context, a arrival) error {
	h, err := readHistory(ctx, x.store, a.key, x.upTo)
	switch {
	case err != nil:
		return x.damaged(a.key, err)
	case h.count == 0 || h.gone() != a.tombstone:
		return nil // it is gone; where its tombstone is it is met again
	}
	return x.write(ctx, h)
}

// damaged ends the export, or notes what is left out.
func (x *export) damaged(key eventstore.Key, err error) error {
	if !errors.Is(err, eventstore.ErrCorrupt) || !x.o.SkipDamaged {
		return fmt.Errorf("session %s can't be exported: %w", key, err)
	}
	if x.report.Damaged++; len(x.report.Problems) < maxProblems {
		x.report.Problems = append(x.report.Problems, err.Error())
	}
	return nil
}

// write writes a session if the filter selects it.
func (x *export) write(ctx context.Context, h *history) error {
	if !x.o.Filter.matches(h.agg.Session) {
		return nil
	}
	if err := writeHistory(ctx, x.store, x.out, h); err != nil {
		return err
	}
	x.report.Sessions++
	x.report.Commits += h.count
	x.report.Bytes += h.bytes
	if x.o.Progress != nil {
		x.o.Progress(Progress{Doing: "reading", Sessions: x.report.Sessions, Commits: x.report.Commits, Bytes: x.report.Bytes})
	}
	return ctx.Err()
}

func writeHistory(ctx context.Context, store *eventstore.Store, out *Writer, h *history) error {
	err := h.each(ctx, store, func(c held) error { return out.Commit(h.key, c.version, c.Original) })
	if err != nil {
		return err
	}
	return out.End(h.agg.Session.Version)
}
