package client

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/nats-io/nats.go"

	"reprise/contract"
)

// doctorIdle is how long engines that have not answered yet are given after one
// has.
const doctorIdle = 750 * time.Millisecond

// doctorPatience is how long the first of them may take: a moment may pass until
// there is a holder.
const doctorPatience = 12 * time.Second

// Doctor asks every engine how it is and returns what they say, in the order of
// their ids. Config.Operator has to be set. An engine that could not find out is
// an error beside the reports of the others; ErrNoEngine means that there is none.
func (c *Client) Doctor(ctx context.Context) ([]contract.EngineReport, error) {
	r, err := c.adminRequest(contract.AdminDoctor, struct{}{})
	if err != nil {
		return nil, err
	}
	sub, err := c.nc.SubscribeSync(c.nc.NewInbox())
	if err != nil {
		return nil, c.explain(r, err, false)
	}
	defer func() { _ = sub.Unsubscribe() }() // the connection may be gone
	if err := c.nc.PublishMsg(&nats.Msg{Subject: r.subject, Reply: sub.Subject, Data: r.body}); err != nil {
		return nil, c.explain(r, err, false)
	}
	var reports []contract.EngineReport
	var errs []error
	for patience := doctorPatience; ; patience = doctorIdle {
		report, err := nextReport(ctx, sub, patience)
		switch {
		case err == nil:
			reports = append(reports, report)
		case unheard(err):
			slices.SortFunc(reports, func(a, b contract.EngineReport) int { return cmp.Compare(a.Engine, b.Engine) })
			if len(reports) == 0 && len(errs) == 0 {
				errs = append(errs, c.explainRun(r, err))
			}
			return reports, errors.Join(errs...)
		default:
			errs = append(errs, c.explainRun(r, err))
		}
	}
}

// unheard reports whether nobody (else) answers.
func unheard(err error) bool {
	return errors.Is(err, nats.ErrNoResponders) || errors.Is(err, context.DeadlineExceeded) || errors.Is(err, context.Canceled) ||
		errors.Is(err, nats.ErrTimeout) || errors.Is(err, nats.ErrConnectionClosed) || errors.Is(err, nats.ErrBadSubscription)
}

func nextReport(ctx context.Context, sub *nats.Subscription, patience time.Duration) (contract.EngineReport, error) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	var report contract.EngineReport
	m, err := sub.NextMsgWithContext(ctx)
	if err != nil {
		return report, err
	}
	if e := rejection(m); e != nil {
		return report, e
	}
	if err := json.Unmarshal(m.Data, &report); err != nil {
		return report, fmt.Errorf("the answer of an engine can't be read: %w", err)
	}
	return report, nil
}
