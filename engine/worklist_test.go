package engine

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"reprise/domain"
	"reprise/eventstore"
)

var t0 = time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)

// waiting makes offers of one action from "user:priority" words, numbered by
// user.
func waiting(w *worklist, words string) {
	numbers := map[string]int{}
	for word := range strings.FieldsSeq(words) {
		var priority int
		user, rest, _ := strings.Cut(word, ":")
		_, _ = fmt.Sscan(rest, &priority)
		numbers[user]++
		w.push(&offer{
			key: eventstore.Key{User: user}, priority: priority, action: "build",
			ref: domain.StepRef{Step: fmt.Sprint(user, numbers[user])},
		})
	}
}

func names(offers []*offer) string {
	steps := make([]string, len(offers))
	for i, o := range offers {
		steps[i] = o.ref.Step
	}
	return strings.Join(steps, " ")
}

func TestOrderOfOffers(t *testing.T) {
	tests := []struct{ name, waiting, want string }{
		{"one user, first come first served", "a a a", "a1 a2 a3"},
		{"users in turn", "a a a a b c b", "a1 b1 c1 a2 b2 a3 a4"},
		{"who comes late has the next turn", "a a a a a a b", "a1 b1 a2 a3 a4 a5 a6"},
		{"higher priority first", "a a:5 b:-5 b:5 a:5", "a2 b2 a3 a1 b1"},
	}
	for _, test := range tests {
		w := newWorklist(0, 0)
		waiting(w, test.waiting)
		var got []*offer
		for o := w.take(1, t0); o != nil; o = w.take(1, t0) {
			got = append(got, o...)
		}
		if names(got) != test.want {
			t.Errorf("%s: %s, not %s", test.name, names(got), test.want)
		}
	}
}

func TestWindowBoundsOffers(t *testing.T) {
	w := newWorklist(0, 0)
	waiting(w, strings.Repeat("a ", 2*offerWindow))
	first := w.take(10*offerWindow, t0)
	if len(first) != offerWindow || len(w.take(1, t0)) != 0 {
		t.Fatalf("%d offers at once, not %d", len(first), offerWindow)
	}
	w.uncount(first[0])
	if next := w.take(5, t0); len(next) != 1 {
		t.Errorf("%d offers for one place", len(next))
	}
}

func TestLimits(t *testing.T) {
	w := newWorklist(3, 2)
	waiting(w, "a a a b b")
	first := w.take(10, t0)
	if names(first) != "a1 b1 a2" {
		t.Fatalf("%s with three steps an action", names(first))
	}
	w.uncount(first[1])
	w.started("b", "build") // claimed
	if more := w.take(10, t0); len(more) > 0 {
		t.Errorf("%s although three are in flight or on offer", names(more))
	}
	w.ended("b", "build")
	if more := names(w.take(10, t0)); more != "b2" {
		t.Errorf("%q: user a is at the limit, and b is not", more)
	}
	w.uncount(first[0])
	if more := names(w.take(10, t0)); more != "a3" {
		t.Errorf("%q: user a is below the limit again", more)
	}
}

func TestOverdue(t *testing.T) {
	w := newWorklist(0, 0)
	waiting(w, "a:1 b:0")
	w.take(2, t0)
	for _, test := range []struct {
		user     string
		priority int
		after    time.Duration
		want     bool
	}{
		{"a", 1, patience, false},
		{"b", 1, patience, true},
		{"b", 1, patience / 2, false},
		{"a", 0, patience, true},
		{"c", 2, patience, false},
	} {
		if got := w.overdue("build", test.user, test.priority, t0.Add(test.after)); got != test.want {
			t.Errorf("user %s at priority %d after %s: %t", test.user, test.priority, test.after, got)
		}
	}
	if w.overdue("test", "a", 0, t0.Add(patience)) {
		t.Error("nothing waits for that action")
	}
	full := newWorklist(0, 0)
	waiting(full, strings.Repeat("a ", offerWindow))
	full.take(offerWindow, t0)
	waiting(full, "a b")
	if !full.overdue("build", "a", 0, t0.Add(patience)) {
		t.Error("user b waits for a place in the window and is not seen")
	}
}

// TestWorklistKeepsCount does things at random and compares with plain counts.
// At the end nothing is left.
func TestWorklistKeepsCount(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	rnd := rand.New(rand.NewPCG(seed, 1))
	const maxAction, maxUser = 20, 5
	w := newWorklist(maxAction, maxUser)
	var queued, out []*offer
	pick := func(from *[]*offer) *offer {
		i := rnd.IntN(len(*from))
		o := (*from)[i]
		*from = slices.Delete(*from, i, i+1)
		return o
	}
	check := func() {
		t.Helper()
		users, actions := map[string]int{}, map[string]int{}
		for _, o := range out {
			users[o.key.User]++
			actions[o.action]++
		}
		for user, n := range users {
			if n > maxUser || w.users[user].count != n {
				t.Fatalf("user %s has %d out, counted as %d", user, n, w.users[user].count)
			}
		}
		for action, n := range actions {
			if n > maxAction || w.actions[action].out.Len() != n {
				t.Fatalf("action %s has %d out", action, n)
			}
		}
	}
	for range 20000 {
		switch k := rnd.IntN(4); {
		case k == 0 || len(queued) == 0:
			o := &offer{key: eventstore.Key{User: fmt.Sprint("u", rnd.IntN(8))}, action: fmt.Sprint("a", rnd.IntN(3)), priority: rnd.IntN(3)}
			w.push(o)
			queued = append(queued, o)
		case k == 1:
			w.remove(pick(&queued))
		case k == 2 && len(out) > 0:
			w.uncount(pick(&out))
		default:
			for _, o := range w.take(3, t0) {
				out = append(out, o)
				queued = slices.DeleteFunc(queued, func(q *offer) bool { return q == o })
			}
		}
		check()
	}
	for len(queued)+len(out) > 0 {
		taken := w.take(1000, t0)
		out = append(out, taken...)
		queued = slices.DeleteFunc(queued, func(q *offer) bool { return slices.Contains(taken, q) })
		if len(out) == 0 {
			t.Fatalf("%d offers wait and none is given", len(queued))
		}
		w.uncount(pick(&out))
	}
	if len(w.actions) > 0 || len(w.users) > 0 {
		t.Errorf("%d actions and %d users are left", len(w.actions), len(w.users))
	}
}
