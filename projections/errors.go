package projections

import (
	"errors"
	"fmt"
)

// The questions a caller may ask of an error with errors.Is.
var (
	// ErrIncarnation: the position is of another event stream; the detail is an
	// *IncarnationError.
	ErrIncarnation = errors.New("the position is of another event stream")
	// ErrStopped: the runner or the views ended before what was waited for.
	ErrStopped = errors.New("the projection has stopped")
	// ErrUsed: Run was called a second time.
	ErrUsed = errors.New("run may be called only once at a time")
	// ErrFenced: somebody else writes the views; give the role up, and if it is
	// still yours call Run again.
	ErrFenced = errors.New("somebody else has written to the views")
	// ErrNoView: there is no such view.
	ErrNoView = errors.New("there is no such view")
	// ErrStandby: only the instance that runs the views can do that.
	ErrStandby = errors.New("this instance does not write the views; ask the one that holds the role")
	// ErrTooLarge: a view does not fit one message; it was reported and left as it was.
	ErrTooLarge = errors.New("the view is larger than one message may be")
	// ErrSettings: the view bucket exists with settings that do not fit.
	ErrSettings = errors.New("the view bucket has settings that do not fit")
)

// IncarnationError says which stream a position is of. It is ErrIncarnation.
type IncarnationError struct {
	// Asked is the incarnation of the position, Have that of the stream.
	Asked, Have string
}

// Error says what would have worked.
func (e *IncarnationError) Error() string {
	return fmt.Sprintf("the position is of event stream %q, but this is %q; take a position from an answer of this engine", e.Asked, e.Have)
}

// Is makes errors.Is(err, ErrIncarnation) true.
func (e *IncarnationError) Is(target error) bool { return target == ErrIncarnation }
