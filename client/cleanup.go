package client

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go"

	"reprise/contract"
	"reprise/domain"
)

const (
	// runSilence is how long a run may say nothing before it is given up; it says
	// something every second, and a moment may pass until there is a holder.
	runSilence = 15 * time.Second
	// stopPatience is how long a run that was told to stop may take to report.
	stopPatience = 90 * time.Second
	// runBuffer is how many messages of a run may wait to be read.
	runBuffer = 65536
)

// Scan has the engine look for stale and orphaned sessions. It returns the whole
// plan. Config.Operator has to be set; progress may be nil.
func (c *Client) Scan(ctx context.Context, r contract.CleanupRequest, progress func(contract.CleanupProgress)) (*contract.CleanupPlan, *contract.CleanupReport, error) {
	var plan *contract.CleanupPlan
	report, err := c.run(ctx, contract.AdminScan, r, func(m contract.CleanupMessage) {
		if m.Plan != nil {
			plan = m.Plan
		}
		if plan != nil {
			plan.Items = append(plan.Items, m.Items...)
		}
		if m.Progress != nil && progress != nil {
			progress(*m.Progress)
		}
	})
	if err == nil && plan == nil {
		err = &Error{Code: domain.CodeUnavailable, Message: "the engine reported a scan without its plan"}
	}
	return plan, report, err
}

// Purge has the engine purge what a plan or, without one, a scan finds. When ctx
// ends the run is told to stop, and its report says how far it came. each is told
// of everything the engine says; it may be nil.
func (c *Client) Purge(ctx context.Context, r contract.CleanupRequest, each func(contract.CleanupMessage)) (*contract.CleanupReport, error) {
	return c.run(ctx, contract.AdminPurge, r, each)
}

// Repair has the engine compare what is derived with the events, and put it right
// if the request says so.
func (c *Client) Repair(ctx context.Context, r contract.RepairRequest, each func(contract.CleanupMessage)) (*contract.CleanupReport, error) {
	return c.run(ctx, contract.AdminRepair, r, each)
}

// CleanupStatus returns the policy in force and the last reports.
func (c *Client) CleanupStatus(ctx context.Context) (*contract.CleanupStatus, error) {
	reply := &contract.CleanupStatus{}
	return reply, c.ask(ctx, contract.AdminStatus, nil, reply)
}

// StopCleanup ends the run that is going on; its report goes to whoever asked
// for it.
func (c *Client) StopCleanup(ctx context.Context, r contract.StopRequest) (*contract.CleanupProgress, error) {
	reply := &contract.CleanupProgress{}
	return reply, c.ask(ctx, contract.AdminStop, r, reply)
}

// ask sends an operator's request that has one answer.
func (c *Client) ask(ctx context.Context, name string, body, reply any) error {
	r, err := c.adminRequest(name, body)
	if err != nil {
		return err
	}
	return c.exchange(ctx, r, reply)
}

func (c *Client) adminRequest(name string, body any) (request, error) {
	if c.cfg.Operator == "" {
		return request{}, invalid("operator", "%s is for operators; set Config.Operator", name)
	}
	data, err := domain.Marshal(body)
	if err != nil {
		return request{}, invalid("", "%s: %v", name, err)
	}
	return request{subject: c.cfg.Names.Admin(c.cfg.Operator, name), body: data, header: nats.Header{}}, nil
}

// run sends a request and reads the messages of its answer until the report. What
// nobody heard, or an engine refused for the moment before anything began, is
// sent again, as often as any request.
func (c *Client) run(ctx context.Context, name string, body any, each func(contract.CleanupMessage)) (*contract.CleanupReport, error) {
	r, err := c.adminRequest(name, body)
	if err != nil {
		return nil, err
	}
	begun := false
	noted := func(m contract.CleanupMessage) {
		begun = true
		if each != nil {
			each(m)
		}
	}
	for try := 1; ; try++ {
		report, err := c.runOnce(ctx, r, noted)
		if err == nil {
			return report, nil
		}
		if try == c.cfg.Attempts || begun || !refusedForNow(err) || ctx.Err() != nil || !pause(ctx, c.backoff(try, err)) {
			return nil, c.explainRun(r, err)
		}
	}
}

// refusedForNow reports whether a run may begin a little later.
func refusedForNow(err error) bool {
	if e, ok := errors.AsType[*Error](err); ok {
		return e.Code == domain.CodeUnavailable || e.Code == domain.CodeWarming
	}
	return errors.Is(err, nats.ErrNoResponders)
}

func (c *Client) runOnce(ctx context.Context, r request, each func(contract.CleanupMessage)) (*contract.CleanupReport, error) {
	inbox := c.nc.NewInbox()
	messages := make(chan *nats.Msg, runBuffer)
	sub, err := c.nc.ChanSubscribe(inbox, messages)
	if err != nil {
		return nil, err
	}
	defer func() { _ = sub.Unsubscribe() }() // the connection may be gone
	if err := c.nc.PublishMsg(&nats.Msg{Subject: r.subject, Reply: inbox, Data: r.body}); err != nil {
		return nil, err
	}
	return c.listen(ctx, messages, each)
}

// listen reads until there is a report, an error or too long a silence. When ctx
// ends it has the run stopped and goes on until the report.
func (c *Client) listen(ctx context.Context, messages <-chan *nats.Msg, each func(contract.CleanupMessage)) (*contract.CleanupReport, error) {
	silence := time.NewTimer(runSilence)
	defer silence.Stop()
	ended, id := ctx.Done(), ""
	for {
		select {
		case m := <-messages:
			silence.Reset(runSilence)
			part, err := readPart(m)
			if err != nil {
				return nil, err
			}
			if part.Progress != nil {
				id = part.Progress.Run
			}
			each(part)
			if part.Report != nil {
				return part.Report, nil
			}
		case <-ended:
			ended = nil
			silence.Reset(stopPatience)
			c.endRun(ctx, id)
		case <-silence.C:
			return nil, nats.ErrTimeout
		}
	}
}

// endRun tells the engine to stop. Whether it heard that shows in the report.
func (c *Client) endRun(ctx context.Context, id string) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), c.cfg.Timeout)
	defer cancel()
	_, _ = c.StopCleanup(ctx, contract.StopRequest{Run: id}) // it may be over by now
}

func readPart(m *nats.Msg) (contract.CleanupMessage, error) {
	var part contract.CleanupMessage
	if m.Header.Get("Status") == "503" {
		return part, nats.ErrNoResponders
	}
	if e := rejection(m); e != nil {
		return part, e
	}
	if err := json.Unmarshal(m.Data, &part); err != nil {
		return part, fmt.Errorf("the answer can't be read: %w", err)
	}
	return part, nil
}

// explainRun turns the failure of a run into the error for the caller.
func (c *Client) explainRun(r request, err error) error {
	if e, ok := errors.AsType[*Error](err); ok {
		return e
	}
	return c.explain(r, err, false)
}
