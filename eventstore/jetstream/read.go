package jetstream

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	js "github.com/nats-io/nats.go/jetstream"

	"reprise/contract"
	"reprise/eventstore"
)

const (
	// readTimeout bounds a read whose context has no deadline.
	readTimeout = 5 * time.Second
	// askAgain is how long the first answer of a cluster may take. Who was asked may
	// be gone; so the same is asked again then, with twice the patience each time.
	askAgain = time.Second
)

// Get returns the message with that sequence. On a replicated stream a replica
// that does not have it yet is not believed; the leader is asked then.
func (d *Driver) Get(ctx context.Context, seq uint64) (eventstore.Message, error) {
	query := fmt.Appendf(nil, `{"seq":%d}`, seq)
	m, err := d.direct(ctx, d.api+"DIRECT.GET."+d.stream, query)
	if errors.Is(err, eventstore.ErrNotFound) && d.replicas > 1 {
		m, err = d.leader(ctx, query)
	}
	if err != nil {
		return eventstore.Message{}, fmt.Errorf("sequence %d: %w", seq, err)
	}
	return m, nil
}

// Last returns the last message of a session: by a direct get from a stream
// with one replica, from the leader of one with several.
func (d *Driver) Last(ctx context.Context, key eventstore.Key) (eventstore.Message, error) {
	var m eventstore.Message
	var err error
	subject := d.names.Event(key.User, key.Session)
	if d.replicas > 1 {
		m, err = d.leader(ctx, fmt.Appendf(nil, `{"last_by_subj":%q}`, subject))
	} else {
		m, err = d.direct(ctx, d.api+"DIRECT.GET."+d.stream+"."+subject, nil)
	}
	if err != nil {
		return eventstore.Message{}, fmt.Errorf("session %s: %w", key, err)
	}
	return m, nil
}

// direct asks any replica; the answer is the message with its place in headers.
func (d *Driver) direct(ctx context.Context, subject string, query []byte) (eventstore.Message, error) {
	ctx, cancel := bounded(ctx)
	defer cancel()
	msg, err := d.ask(ctx, d.single(), subject, query)
	if err != nil {
		return eventstore.Message{}, unavailable(err)
	}
	return d.answered(msg)
}

// single returns the connection whose turn it is for single messages.
func (d *Driver) single() *nats.Conn { return d.singles[d.turn.Add(1)%uint32(len(d.singles))] }

// answered reads the answer to a direct get.
func (d *Driver) answered(msg *nats.Msg) (eventstore.Message, error) {
	switch status := msg.Header.Get("Status"); status {
	case "":
	case "404":
		return eventstore.Message{}, eventstore.ErrNotFound
	default:
		return eventstore.Message{}, fmt.Errorf("%w: the server says %s %q", eventstore.ErrUnavailable, status, msg.Header.Get("Description"))
	}
	seq, err := strconv.ParseUint(msg.Header.Get(js.SequenceHeader), 10, 64)
	if err != nil {
		return eventstore.Message{}, fmt.Errorf("%w: a direct get without a sequence", eventstore.ErrUnavailable)
	}
	// The server writes RFC 3339; a time that can't be read stays zero.
	stored, _ := time.Parse(time.RFC3339Nano, msg.Header.Get(js.TimeStampHeaer))
	return d.decode(msg.Header.Get(js.SubjectHeader), seq, stored, msg.Header, msg.Data)
}

// leader asks the leader of the stream.
func (d *Driver) leader(ctx context.Context, query []byte) (eventstore.Message, error) {
	ctx, cancel := bounded(ctx)
	defer cancel()
	msg, err := d.ask(ctx, d.read, d.api+"STREAM.MSG.GET."+d.stream, query)
	if err != nil {
		return eventstore.Message{}, unavailable(err)
	}
	var answer struct {
		Error   *apiError `json:"error"`
		Message struct {
			Subject string    `json:"subject"`
			Seq     uint64    `json:"seq"`
			Time    time.Time `json:"time"`
			Header  string    `json:"hdrs"`
			Data    []byte    `json:"data"`
		} `json:"message"`
	}
	if err := json.Unmarshal(msg.Data, &answer); err != nil {
		return eventstore.Message{}, fmt.Errorf("%w: %w", eventstore.ErrUnavailable, err)
	}
	if answer.Error != nil {
		return eventstore.Message{}, classify(answer.Error)
	}
	var header nats.Header
	if raw, err := base64.StdEncoding.DecodeString(answer.Message.Header); err == nil && len(raw) > 0 {
		header, _ = nats.DecodeHeadersMsg(raw) // headers that can't be read hold no guard
	}
	return d.decode(answer.Message.Subject, answer.Message.Seq, answer.Message.Time, header, answer.Message.Data)
}

// ask sends a request for a message; on a replicated stream again and again until
// it is answered or ctx ends.
func (d *Driver) ask(ctx context.Context, nc *nats.Conn, subject string, query []byte) (*nats.Msg, error) {
	if d.replicas <= 1 {
		return nc.RequestWithContext(ctx, subject, query)
	}
	for patience := askAgain; ; patience *= 2 {
		try, cancel := context.WithTimeout(ctx, patience)
		msg, err := nc.RequestWithContext(try, subject, query)
		cancel()
		if !errors.Is(err, context.DeadlineExceeded) || ctx.Err() != nil {
			return msg, err
		}
	}
}

// bounded gives a read a deadline if it has none.
func bounded(ctx context.Context) (context.Context, context.CancelFunc) {
	if _, ok := ctx.Deadline(); ok {
		return ctx, func() {}
	}
	return context.WithTimeout(ctx, readTimeout)
}

// decode makes a message of its parts as they are stored.
func (d *Driver) decode(subject string, seq uint64, stored time.Time, header nats.Header, body []byte) (eventstore.Message, error) {
	key, err := d.key(subject)
	if err != nil {
		return eventstore.Message{}, err
	}
	m := eventstore.Message{Key: key, Seq: seq, Header: make(map[string]string, len(header)), Body: body, Time: stored.UTC()}
	m.Size = d.storedSize(subject, header, body)
	for k, v := range header {
		if len(v) > 0 && !strings.HasPrefix(k, serverHeaders) {
			m.Header[k] = v[0]
		}
	}
	if guard := header.Get(contract.HeaderGuard); guard != "" {
		m.Prev, err = strconv.ParseUint(guard, 10, 64)
		m.Guarded = err == nil
	}
	return m, nil
}

// serverHeaders begin the headers that are the server's: the guard, those of a
// batch and those of a direct get.
const serverHeaders = "Nats-"

// key reads the session from a subject of the stream: <prefix>.evt.<user>.<session>.
// A token that is no user's one name is kept as it is: no engine wrote it.
func (d *Driver) key(subject string) (eventstore.Key, error) {
	rest, ok := strings.CutPrefix(subject, d.names.Prefix()+".evt.")
	token, session, dot := strings.Cut(rest, ".")
	if !ok || !dot {
		return eventstore.Key{}, fmt.Errorf("%w: %q is no subject of stream %s", eventstore.ErrUnavailable, subject, d.stream)
	}
	user, err := contract.ParseUserToken(token)
	if err != nil {
		user = token
	}
	return eventstore.Key{User: user, Session: session}, nil
}
