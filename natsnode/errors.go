package natsnode

import (
	"errors"
	"fmt"
	"time"
)

// The questions a caller may ask of an error with errors.Is.
var (
	// ErrOptions: the options contradict each other or can't be read.
	ErrOptions = errors.New("the NATS options are not usable")
	// ErrDirectory: the data directory can't hold a store.
	ErrDirectory = errors.New("the data directory is not usable")
	// ErrInUse: another process has the data directory; the detail is an *InUseError.
	ErrInUse = errors.New("the data directory is in use")
	// ErrListen: the embedded server can't listen on the address.
	ErrListen = errors.New("cannot listen")
	// ErrStart: the embedded server did not start for another reason.
	ErrStart = errors.New("the embedded NATS server did not start")
	// ErrStorage: the embedded server can't store anything now.
	ErrStorage = errors.New("the storage cannot be written")
	// ErrUnreachable: no server answers, or it refuses these credentials.
	ErrUnreachable = errors.New("cannot reach the NATS server")
	// ErrTooOld: the server is older than MinServerVersion.
	ErrTooOld = errors.New("the NATS server is too old")
	// ErrNoJetStream: the server or the account has no JetStream.
	ErrNoJetStream = errors.New("JetStream is not available")
	// ErrClosed: the node was closed.
	ErrClosed = errors.New("the NATS node is closed")
)

// problem is a sentence for people that answers errors.Is for one of the
// sentinels above and keeps its cause.
type problem struct {
	kind, cause error
	sentence    string
}

func (p *problem) Error() string { return p.sentence }

func (p *problem) Unwrap() []error {
	if p.cause == nil {
		return []error{p.kind}
	}
	return []error{p.kind, p.cause}
}

// problemf makes a problem; cause may be nil and is not added to the sentence.
func problemf(kind, cause error, format string, args ...any) error {
	return &problem{kind: kind, cause: cause, sentence: fmt.Sprintf(format, args...)}
}

// InUseError says who has a data directory. It is ErrInUse.
type InUseError struct {
	Dir string
	// Holder is zero where the other process has not written its facts yet.
	Holder Info
}

// Error names the process and what to do.
func (e *InUseError) Error() string {
	if e.Holder.PID == 0 {
		return fmt.Sprintf("data directory %s is in use by another process; stop it, or use another directory", e.Dir)
	}
	return fmt.Sprintf("data directory %s is in use by process %d (since %s%s); stop that process, or use another directory",
		e.Dir, e.Holder.PID, e.Holder.Started.Format(time.RFC3339), e.at())
}

func (e *InUseError) at() string {
	if e.Holder.URL == "" {
		return ""
	}
	return ", serving " + e.Holder.URL
}

// Is makes errors.Is(err, ErrInUse) true.
func (e *InUseError) Is(target error) bool { return target == ErrInUse }
