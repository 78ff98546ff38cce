package load

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// serve runs the phases of input and returns what was reported.
func serve(t *testing.T, input string, session Session) []Report {
	t.Helper()
	var out bytes.Buffer
	if err := Serve(t.Context(), strings.NewReader(input), &out, session); err != nil {
		t.Fatal(err)
	}
	var reports []Report
	for dec := json.NewDecoder(&out); dec.More(); {
		var r Report
		if err := dec.Decode(&r); err != nil {
			t.Fatal(err)
		}
		reports = append(reports, r)
	}
	return reports
}

func events(reports []Report) string {
	names := make([]string, 0, len(reports))
	for _, r := range reports {
		names = append(names, r.Event)
	}
	return strings.Join(names, " ")
}

func TestOnlySessionsThatEndWithinTheWindowCount(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		got := serve(t, `{"clients":2,"warmMillis":1005,"measureMillis":1000}`, func(context.Context) error {
			time.Sleep(100 * time.Millisecond)
			return nil
		})
		if events(got) != "ready begin end idle" {
			t.Fatalf("reported %v", got)
		}
		end := got[2]
		if len(end.Micros) != 20 || end.ElapsedMicros != 1_000_000 || end.Micros[0] != 100_000 {
			t.Errorf("2 clients at 100 ms each measured %+v in a second", end)
		}
	})
}

func TestASlowPeerIsMeasuredForItsRounds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		got := serve(t, `{"clients":4,"warmMillis":500,"measureMillis":1000,"rounds":2}`, func(context.Context) error {
			time.Sleep(2 * time.Second)
			return nil
		})
		end := got[2]
		if len(end.Micros) != 8 || end.ElapsedMicros != 4_000_000 {
			t.Errorf("4 clients at 2 s each measured %+v", end)
		}
	})
}

func TestRoundsStretchAPhaseOnlySoFar(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		got := serve(t, `{"clients":4,"warmMillis":500,"measureMillis":1000,"rounds":2}`, func(context.Context) error {
			time.Sleep(time.Hour)
			return nil
		})
		if end := got[2]; len(end.Micros) != 0 || end.ElapsedMicros != MaxStretch*1_000_000 {
			t.Errorf("measured %+v", end)
		}
	})
}

func TestAPhaseEndsAfterItsSessions(t *testing.T) {
	var started atomic.Int64
	got := serve(t, `{"clients":4,"measureMillis":60000,"sessions":25}`, func(context.Context) error {
		started.Add(1)
		return nil
	})
	if events(got) != "ready begin end idle" || len(got[2].Micros) != 25 {
		t.Errorf("reported %v", got)
	}
}

func TestAFailedSessionEndsItsPhaseAndNotTheNext(t *testing.T) {
	var fail atomic.Bool
	fail.Store(true)
	phase := `{"clients":3,"measureMillis":60000,"sessions":5}`
	got := serve(t, phase+"\n"+phase, func(context.Context) error {
		if fail.Swap(false) {
			return errors.New("the peer is gone")
		}
		return nil
	})
	first, found := strings.CutSuffix(events(got), " idle begin end idle")
	if !found || !slices.Contains([]string{"ready begin end", "ready begin error", "ready error"}, first) {
		t.Errorf("reported %s", events(got))
	}
}

func TestAnErrorIsReportedWithItsReason(t *testing.T) {
	got := serve(t, `{"clients":1,"measureMillis":60000}`, func(context.Context) error { return errors.New("the peer is gone") })
	last := got[len(got)-2]
	if last.Event != EventError || last.Message != "the peer is gone" {
		t.Errorf("reported %v", got)
	}
}

func TestAPhaseThatCannotBeRunIsRefused(t *testing.T) {
	for _, phase := range []string{`{}`, `{"clients":0,"measureMillis":1}`, `{"clients":1}`, `{"clients":1,"measureMillis":1,"warmMillis":-1}`, `{"clients":1,"measureMillis":1,"sessions":-1}`} {
		got := serve(t, phase, func(context.Context) error { return nil })
		if events(got) != "ready error" {
			t.Errorf("%s: reported %s", phase, events(got))
		}
	}
}

func TestServeEndsWithItsInputOrContext(t *testing.T) {
	var out bytes.Buffer
	if err := Serve(t.Context(), strings.NewReader("nonsense"), &out, nil); err == nil {
		t.Error("nonsense was taken for a phase")
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := Serve(ctx, strings.NewReader(""), &out, nil); !errors.Is(err, context.Canceled) {
		t.Errorf("an ended context gave %v", err)
	}
}
