package engine

import (
	"context"
	"errors"
	"testing"

	"reprise/contract"
	"reprise/domain"
)

// coldIndex is an index that is warm once somebody waits for it.
type coldIndex struct{ warm bool }

func (x *coldIndex) Warm(context.Context) error {
	x.warm = true
	return nil
}

var errCold = errors.New("asked too early")

func (x *coldIndex) List(string, contract.ListRequest) (contract.ListReply, error) {
	if !x.warm {
		return contract.ListReply{}, errCold
	}
	return contract.ListReply{}, nil
}

func (x *coldIndex) Count(string, contract.CountRequest) (contract.CountReply, error) {
	if !x.warm {
		return contract.CountReply{}, errCold
	}
	return contract.CountReply{}, nil
}

func (x *coldIndex) Waiting(*domain.Session) ([]contract.Waiting, []string) { return nil, nil }

func TestListsWaitForTheIndexOfAnEngineThatHasJustStarted(t *testing.T) {
	nowhere := func() contract.Position { return contract.Position{} }
	lists := &queries{index: &coldIndex{}, position: nowhere}
	if _, err := lists.list(t.Context(), "ann", contract.ListRequest{}); err != nil {
		t.Errorf("list: %v", err)
	}
	counts := &queries{index: &coldIndex{}, position: nowhere}
	if _, err := counts.count(t.Context(), "ann", contract.CountRequest{}); err != nil {
		t.Errorf("count: %v", err)
	}
}
