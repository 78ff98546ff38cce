package engine

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"reprise/domain"
	"reprise/eventstore"
)

// limited is a limiter with a clock that a test moves.
func limited(l Limits, owned int) (*limiter, *time.Time) {
	now := time.Date(2026, 11, 21, 13, 0, 0, 0, time.UTC)
	return newLimiter(l, func() time.Time { return now }, func(string) (int, bool) { return owned, owned >= 0 }), &now
}

// sent is a command of a user.
func sent(user string, verb domain.Verb) *Request {
	return &Request{Key: eventstore.Key{User: user, Session: "s"}, Verb: verb, Actor: user}
}

// wantOver wants a rejection with a code and a part of the sentence.
func wantOver(t *testing.T, err error, code domain.Code, part string) {
	t.Helper()
	var r *domain.Rejection
	if !errors.As(err, &r) || r.Code != code || !strings.Contains(r.Message, part) {
		t.Errorf("got %v, want %s: %s", err, code, part)
	}
}

func TestRate(t *testing.T) {
	l, now := limited(Limits{Rate: 3}, 0)
	want := func(what, user string, want verdict, n int) {
		t.Helper()
		for i := range n {
			if got := l.spend(user); got != want {
				t.Errorf("%s, command %d: verdict %d, want %d", what, i, got, want)
			}
		}
	}
	want("within the rate", "ada", allowed, 3)
	want("over it", "ada", refused, maxRefusals)
	want("far over it", "ada", dropped, 10_000)
	want("another user", "bob", allowed, 3)
	*now = now.Add(time.Second/3 + 1)
	want("a third of a second later", "ada", allowed, 1)
	want("over it again", "ada", refused, maxRefusals/3)
	want("far over it again", "ada", dropped, 10)
	*now = now.Add(-time.Hour)
	want("with a clock that was set back", "ada", dropped, 10)
	*now = now.Add(2 * time.Second)
	want("two seconds later", "ada", allowed, 3)
	if why := l.tooFast(); !strings.Contains(why, "3 commands a second") {
		t.Errorf("the reason is %q", why)
	}
	if none := (*limiter)(nil).spend("ada"); none != allowed {
		t.Errorf("without limits: verdict %d", none)
	}
}

func TestRatesAreBounded(t *testing.T) {
	l, now := limited(Limits{Rate: 2}, 0)
	for i := range maxBuckets + 10 {
		l.spend(fmt.Sprint("u", i))
	}
	if len(l.buckets) > maxBuckets {
		t.Errorf("%d users are remembered", len(l.buckets))
	}
	*now = now.Add(time.Minute)
	l.spend("one more")
	if len(l.buckets) > 10 {
		t.Errorf("%d users are remembered who sent nothing for a minute", len(l.buckets))
	}
}

func TestPayloadSessionsAndHistory(t *testing.T) {
	l, _ := limited(Limits{Payload: 4, Sessions: 2, History: 10}, 2)
	wantOver(t, l.admit(sent("ada", domain.VerbStart), address{}, []byte("12345")), domain.CodeBusy, "5 bytes")
	if err := l.admit(sent("ada", domain.VerbStart), address{}, []byte("1234")); err != nil {
		t.Error(err)
	}
	for _, verb := range []domain.Verb{domain.VerbCreate, domain.VerbBatch, domain.VerbFork} {
		wantOver(t, l.outgrown(sent("ada", verb), &domain.Session{}), domain.CodeBusy, "2 sessions")
	}
	known := &domain.Session{ID: "s", Version: 3, Commits: 3}
	if err := l.outgrown(sent("ada", domain.VerbCreate), known); err != nil {
		t.Errorf("creating what exists: %v", err)
	}
	long := &domain.Session{ID: "s", Version: 30, Commits: 10}
	wantOver(t, l.outgrown(sent("ada", domain.VerbPause), long), domain.CodeBusy, "10 commits")
	queued := sent("ada", domain.VerbPause)
	queued.QueueSeq = 1
	wantOver(t, l.outgrown(queued, long), domain.CodeNotAllowed, "10 commits")
	worker := sent("ada", domain.VerbSucceed)
	worker.Actor = "amber"
	for _, free := range []*Request{sent("ada", domain.VerbCancel), sent("ada", domain.VerbDelete), sent("ada", domain.VerbComplete), worker} {
		if err := l.outgrown(free, long); err != nil {
			t.Errorf("%s: %v", free.Verb, err)
		}
	}
	if warming, _ := limited(Limits{Sessions: 1}, -1); warming.outgrown(sent("ada", domain.VerbCreate), &domain.Session{}) != nil {
		t.Error("sessions that can't be counted yet are a limit")
	}
	none, _ := limited(Limits{}, 0)
	if none != nil || none.admit(sent("ada", domain.VerbStart), address{}, nil) != nil || none.outgrown(queued, long) != nil {
		t.Error("no limits are some")
	}
	if (Limits{Rate: -1}).validate() == nil {
		t.Error("a negative limit")
	}
}
