package jetstream

import (
	"context"
	"errors"
	"strconv"
	"time"

	"github.com/nats-io/nats.go"

	"reprise/eventstore"
)

var _ eventstore.Fetcher = (*Driver)(nil)

// fetchTimeout bounds a fetch. An answer that is lost by then is asked for again
// by a Get.
const fetchTimeout = time.Second

// Fetch gets messages by direct gets that are all under way at once, and calls fn
// with each that arrives, in no order. The next call goes over another connection,
// so that the server answers both side by side. Those that any replica does not have are
// left out; Get asks the leader for them.
func (d *Driver) Fetch(ctx context.Context, seqs []uint64, fn func(eventstore.Message)) error {
	ctx, cancel := context.WithTimeout(ctx, fetchTimeout)
	defer cancel()
	nc := d.single()
	inbox := nc.NewInbox()
	answers := make(chan *nats.Msg, len(seqs))
	sub, err := nc.ChanSubscribe(inbox, answers)
	if err != nil {
		return unavailable(err)
	}
	defer func() { _ = sub.Unsubscribe() }() // the connection may be closed
	subject := d.api + "DIRECT.GET." + d.stream
	query := make([]byte, 0, len(`{"seq":}`)+20)
	for _, seq := range seqs {
		query = append(strconv.AppendUint(append(query[:0], `{"seq":`...), seq, 10), '}')
		if err := nc.PublishRequest(subject, inbox, query); err != nil {
			return unavailable(err)
		}
	}
	for range seqs {
		select {
		case msg := <-answers:
			m, err := d.answered(msg)
			switch {
			case err == nil:
				fn(m)
			case !errors.Is(err, eventstore.ErrNotFound):
				return err
			}
		case <-ctx.Done():
			return unavailable(ctx.Err())
		}
	}
	return nil
}
