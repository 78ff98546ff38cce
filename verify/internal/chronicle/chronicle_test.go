package chronicle

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"reprise/contract"
	"reprise/domain"
	"reprise/eventstore"
)

// stored is one message of a made-up event stream.
type stored struct {
	header nats.Header
	commit domain.Commit
	body   []byte
}

// madeUp is a sound history of three commits, at the sequences 1, 2 and 3.
func madeUp(t *testing.T) []stored {
	t.Helper()
	now := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	all := []stored{
		{commit: domain.Commit{ID: "one", Cause: domain.VerbCreate, State: domain.StatePending, Events: []domain.Event{&domain.SessionCreated{}}}},
		{commit: domain.Commit{ID: "two", Cause: domain.VerbMetadataSet, State: domain.StatePending, Events: []domain.Event{&domain.MetadataSet{}}}},
		{commit: domain.Commit{ID: "three", Cause: domain.VerbMetadataSet, State: domain.StatePending, Events: []domain.Event{&domain.MetadataSet{}}}},
	}
	prev := ""
	for i := range all {
		c := &all[i].commit
		c.User, c.Session, c.Actor, c.Version, c.Prev = "ada", "s1", "ada", uint64(i+1), prev
		c.Time = now.Add(time.Duration(i) * time.Second)
		all[i].seal(t, i)
		prev = eventstore.Hash(all[i].body)
	}
	return all
}

// seal writes body and headers of a commit that follows sequence guard.
func (s *stored) seal(t *testing.T, guard int) {
	t.Helper()
	body, err := eventstore.Codec{}.Encode(&s.commit)
	if err != nil {
		t.Fatal(err)
	}
	s.body = body
	s.header = nats.Header{"ce-specversion": {"1.0"}, "ce-type": {"reprise.commit.v1"}, "ce-subject": {"ada.s1"}, "ce-id": {"x"}, "ce-source": {"x"}, "ce-time": {"x"}}
	s.header.Set(contract.HeaderGuard, fmt.Sprint(guard))
	s.header.Set(contract.HeaderTypes, string(s.commit.Events[0].Type()))
}

// TestChronicleNoticesDamage makes sure that the judge of the other tests is
// not asleep.
func TestChronicleNoticesDamage(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		damage func([]stored) []stored
		says   string
	}{
		"sound":            {func(all []stored) []stored { return all }, ""},
		"lost commit":      {func(all []stored) []stored { return append(all[:1:1], all[2]) }, "doesn't follow"},
		"doubled commit":   {func(all []stored) []stored { return append(all, all[2]) }, "doesn't follow"},
		"swapped":          {func(all []stored) []stored { return []stored{all[0], all[2], all[1]} }, "doesn't follow"},
		"changed body":     {func(all []stored) []stored { all[0].commit.Actor = "eve"; all[0].seal(t, 0); return all }, "doesn't follow"},
		"no guard":         {func(all []stored) []stored { all[1].header.Del(contract.HeaderGuard); return all }, "no guard"},
		"wrong guard":      {func(all []stored) []stored { all[1].header.Set(contract.HeaderGuard, "7"); return all }, "doesn't follow"},
		"no event types":   {func(all []stored) []stored { all[1].header.Del(contract.HeaderTypes); return all }, "doesn't name"},
		"wrong state":      {func(all []stored) []stored { all[2].commit.State = domain.StateRunning; all[2].seal(t, 2); return all }, "the fold is"},
		"time runs back":   {func(all []stored) []stored { all[2].commit.Time = time.Unix(0, 0); all[2].seal(t, 2); return all }, "backwards"},
		"the same command": {func(all []stored) []stored { all[2].commit.ID = "two"; all[2].seal(t, 2); return all }, "twice"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			chron, said := New(), ""
			for i, m := range c.damage(madeUp(t)) {
				if _, err := chron.Add("reprise.evt.ada.s1", m.header, m.body, uint64(i+1)); err != nil {
					said += err.Error()
				}
			}
			if c.says == "" && said != "" || !strings.Contains(said, c.says) {
				t.Errorf("it says %q, want %q", said, c.says)
			}
		})
	}
}

// TestLostAcknowledgementIsNoticed asks for commands that the history has not.
func TestLostAcknowledgementIsNoticed(t *testing.T) {
	t.Parallel()
	chron := New()
	for i, m := range madeUp(t) {
		if _, err := chron.Add("reprise.evt.ada.s1", m.header, m.body, uint64(i+1)); err != nil {
			t.Fatal(err)
		}
	}
	reply := contract.Reply{User: "ada", Session: "s1", Version: 2, State: domain.StatePending}
	if err := chron.Holds("ada.s1 two", reply); err != nil {
		t.Errorf("a kept command: %v", err)
	}
	for id, r := range map[string]contract.Reply{
		"ada.s1 four": reply,
		"ada.s1 two":  {User: "ada", Session: "s1", Version: 3, State: domain.StatePending},
		"ada.s2 two":  {User: "ada", Session: "s2", Version: 2, State: domain.StatePending},
	} {
		if chron.Holds(id, r) == nil {
			t.Errorf("%s %+v is not missed", id, r)
		}
	}
}
