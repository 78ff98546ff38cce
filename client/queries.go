package client

import (
	"context"
	"encoding/json"
	"iter"

	"github.com/nats-io/nats.go"

	"reprise/contract"
)

// query sends one query; it is safe to send again.
func (c *Client) query(ctx context.Context, name string, body, reply any, opts []QueryOption) error {
	raw, err := json.Marshal(body)
	if err != nil {
		return invalid("", "the query %s can't be written as JSON: %v", name, err)
	}
	header := nats.Header{}
	for _, opt := range opts {
		opt(header)
	}
	return c.exchange(ctx, request{subject: c.cfg.Names.Query(c.cfg.User, name), header: header, body: raw}, reply)
}

// Get returns a session as it is now, with all payloads. An unknown id is
// rejected with not_found, a deleted one with gone.
func (c *Client) Get(ctx context.Context, session string, opts ...QueryOption) (*contract.GetReply, error) {
	reply := new(contract.GetReply)
	return given(reply, c.query(ctx, contract.QueryGet, contract.GetRequest{Session: session}, reply, opts))
}

// List returns one page of the user's sessions; Next of the reply is the Page of
// the next request.
func (c *Client) List(ctx context.Context, req contract.ListRequest, opts ...QueryOption) (*contract.ListReply, error) {
	reply := new(contract.ListReply)
	return given(reply, c.query(ctx, contract.QueryList, req, reply, opts))
}

// Sessions yields the sessions of all pages from req.Page on, asking for the
// next page when it is needed. After an error it ends.
func (c *Client) Sessions(ctx context.Context, req contract.ListRequest, opts ...QueryOption) iter.Seq2[contract.Row, error] {
	return func(yield func(contract.Row, error) bool) {
		for {
			page, err := c.List(ctx, req, opts...)
			if err != nil {
				yield(contract.Row{}, err)
				return
			}
			for _, row := range page.Sessions {
				if !yield(row, nil) {
					return
				}
			}
			if page.Next == "" {
				return
			}
			req.Page = page.Next
		}
	}
}

// Count returns the number of sessions by state.
func (c *Client) Count(ctx context.Context, filter contract.Filter, opts ...QueryOption) (*contract.CountReply, error) {
	reply := new(contract.CountReply)
	return given(reply, c.query(ctx, contract.QueryCount, contract.CountRequest{Filter: filter}, reply, opts))
}

// History returns one page of a session's commits, oldest first; Next of the
// reply is the FromVersion of the next request.
func (c *Client) History(ctx context.Context, req contract.HistoryRequest, opts ...QueryOption) (*contract.HistoryReply, error) {
	reply := new(contract.HistoryReply)
	return given(reply, c.query(ctx, contract.QueryHistory, req, reply, opts))
}

// Commits yields the commits of all pages from req.FromVersion on. After an
// error it ends.
func (c *Client) Commits(ctx context.Context, req contract.HistoryRequest, opts ...QueryOption) iter.Seq2[contract.CommitEntry, error] {
	return func(yield func(contract.CommitEntry, error) bool) {
		for {
			page, err := c.History(ctx, req, opts...)
			if err != nil {
				yield(contract.CommitEntry{}, err)
				return
			}
			for _, entry := range page.Commits {
				if !yield(entry, nil) {
					return
				}
			}
			if page.Next == 0 {
				return
			}
			req.FromVersion = page.Next
		}
	}
}

// At returns a session as it was at a version, a stream sequence or a time;
// exactly one of them is set in the request.
func (c *Client) At(ctx context.Context, req contract.AtRequest, opts ...QueryOption) (*contract.GetReply, error) {
	reply := new(contract.GetReply)
	return given(reply, c.query(ctx, contract.QueryAt, req, reply, opts))
}

// given returns the reply only if there was no error.
func given[T any](reply *T, err error) (*T, error) {
	if err != nil {
		return nil, err
	}
	return reply, nil
}
