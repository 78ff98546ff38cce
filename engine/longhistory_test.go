package engine

import (
	"fmt"
	"reflect"
	"testing"

	"github.com/nats-io/nats.go/jetstream"

	"reprise/contract"
	"reprise/domain"
)

// blocksKept returns how many history blocks there are.
func (h *house) blocksKept() uint64 {
	h.t.Helper()
	js, err := jetstream.New(h.nc)
	if err != nil {
		h.t.Fatal(err)
	}
	stream, err := js.Stream(h.t.Context(), "KV_"+contract.Default().HistoryBucket())
	if err != nil {
		h.t.Fatal(err)
	}
	return stream.CachedInfo().State.Msgs
}

func (h *house) waitForBlocks(want uint64) {
	h.t.Helper()
	until(h.t, fmt.Sprint(want, " history blocks"), func() bool { return h.blocksKept() == want })
}

// entireHistory pages through the commits of a session.
func (h *house) entireHistory(session string) []contract.CommitEntry {
	h.t.Helper()
	var all []contract.CommitEntry
	for from := uint64(1); from > 0; {
		page, rejected := query[contract.HistoryReply](h, contract.QueryHistory, contract.HistoryRequest{Session: session, FromVersion: from, Limit: 100})
		if rejected != nil {
			h.t.Fatal(rejected)
		}
		all, from = append(all, page.Commits...), page.Next
	}
	return all
}

func TestALongHistoryHasBlocksWhichGoWithTheSession(t *testing.T) {
	h := newHouse(t)
	stop := h.start()
	const commits = 700
	h.command("s1", domain.VerbCreate, domain.Definition{KeepOpen: true})
	for i := 1; i < commits; i++ {
		h.command("s1", domain.VerbMetadataSet, domain.SetMetadata{Set: map[string]string{"n": fmt.Sprint(i)}})
	}
	h.waitForBlocks(commits / 256)
	past := func(version uint64) *domain.Session {
		t.Helper()
		got, rejected := query[contract.GetReply](h, contract.QueryAt, contract.AtRequest{Session: "s1", Version: version})
		if rejected != nil || got.Session.Version != version || got.Session.Metadata["n"] != fmt.Sprint(version-1) {
			t.Fatalf("at version %d: %+v %+v", version, got.Session, rejected)
		}
		return got.Session
	}
	before, history := past(600), h.entireHistory("s1")
	for i, c := range history {
		if c.Version != uint64(i+1) || i > 0 && c.Prev != history[i-1].Hash {
			t.Fatalf("commit %d is %+v", i, c)
		}
	}
	if len(history) != commits {
		t.Fatalf("the history has %d commits", len(history))
	}

	// Without any block, and on another engine, which makes them again.
	js, err := jetstream.New(h.nc)
	if err != nil {
		t.Fatal(err)
	}
	if err := stop(); err != nil {
		t.Fatal(err)
	}
	if err := js.DeleteStream(t.Context(), "KV_"+contract.Default().HistoryBucket()); err != nil {
		t.Fatal(err)
	}
	h.start()
	if again := past(600); !reflect.DeepEqual(again, before) {
		t.Errorf("at version 600 it is %+v and was %+v", again, before)
	}
	if again := h.entireHistory("s1"); !reflect.DeepEqual(again, history) {
		t.Error("the history is another one without blocks")
	}
	until(t, "the blocks that a walk misses", func() bool {
		h.entireHistory("s1")
		return h.blocksKept() == commits/256
	})
	h.command("s1", domain.VerbDelete, domain.Delete{Reason: "over"})
	h.waitForBlocks(0)

	// What a crash left behind, beside the blocks of a session that lives.
	h.command("s2", domain.VerbCreate, domain.Definition{KeepOpen: true})
	for _, subject := range []string{"ann.s1.0", "ann.s1.1", "ann.s2.0"} {
		if _, err := js.Publish(t.Context(), "$KV."+contract.Default().HistoryBucket()+"."+subject, []byte("x")); err != nil {
			t.Fatal(err)
		}
	}
	if got := h.operate(contract.AdminRepair, contract.RepairRequest{Apply: true}); got.report.Purged != 2 || got.report.Failed != 0 {
		t.Errorf("the repair reports %+v", got.report)
	}
	h.waitForBlocks(1)
	if got := h.operate(contract.AdminRepair, contract.RepairRequest{Apply: true, Rebuild: true}); got.report.Failed != 0 {
		t.Errorf("the rebuild reports %+v", got.report)
	}
	h.waitForBlocks(0)
}
