package projections

import "context"

// ViewStore keeps views and the checkpoint that says what they cover. All
// methods are safe for concurrent use.
type ViewStore interface {
	// Open takes the role of the one writer: whoever wrote before is fenced.
	Open(ctx context.Context) (ViewWriter, error)
	// Get returns one view with its body, or ErrNoView.
	Get(ctx context.Context, key string) (View, error)
	// Scan calls fn for every view, in no order, and stops at fn's first error.
	// Bodies are left out unless asked for. Views that are written meanwhile
	// may be missed or come twice.
	Scan(ctx context.Context, bodies bool, fn func(View) error) error
	// Checkpoint returns the last checkpoint, the zero value if there is none.
	Checkpoint(ctx context.Context) (Checkpoint, error)
}

// ViewWriter writes views. It is for one goroutine. After any error but
// ErrTooLarge it is of no use any more; ErrFenced says that another writer was
// opened or somebody else wrote.
type ViewWriter interface {
	// Write puts views, and purges those without a body. It returns when all
	// are stored. A view that is too large is left out; the error then is
	// ErrTooLarge, and all others are stored.
	Write(ctx context.Context, views []View) error
	// SetCheckpoint stores the checkpoint behind everything written before.
	SetCheckpoint(ctx context.Context, c Checkpoint) error
	// Wipe removes the checkpoint first and then every view.
	Wipe(ctx context.Context) error
}
