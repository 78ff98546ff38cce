package engine

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"reprise/domain"
)

// manySteps is a plan of n steps that may all run at once.
func manySteps(n int, more string) string {
	step := `{"action":"build","waitsFor":[]}`
	return `{` + more + `"chains":[{"id":"a","steps":[` + strings.Repeat(step+",", n-1) + step + `]}]}`
}

// TestOneUserDoesNotStarveOthers has a user with far more ready steps than the
// window holds, and two others that come later, one of them in a hurry.
func TestOneUserDoesNotStarveOthers(t *testing.T) {
	w := newWorkshop(t)
	w.run()
	const many = 2 * offerWindow
	w.begin("hog", "s1", manySteps(many, ""))
	until(t, "the window is full", func() bool { return len(w.tasks()) == offerWindow })
	w.begin("ann", "s1", manySteps(5, ""))
	w.begin("eve", "s1", manySteps(5, `"priority":10,`))
	w.untilSeen()
	crew := w.employ(1, "build")
	until(t, "all is done", func() bool { return len(crew.claimed()) == many+10 })
	order := crew.claimed()
	last := func(user string) int {
		return slices.IndexFunc(order, func(s string) bool { return strings.HasPrefix(s, user) && strings.HasSuffix(s, "/5") })
	}
	// What is in the window goes first; then the one in a hurry, then turns.
	if eve, ann := last("eve/"), last("ann/"); eve > offerWindow+10 || ann > offerWindow+25 || eve > ann {
		t.Errorf("the last step of eve was number %d, that of ann number %d of %d", eve, ann, len(order))
	}
}

func TestLimitsHold(t *testing.T) {
	w := newWorkshop(t)
	w.run(func(c *Config) { c.MaxPerAction, c.MaxPerUser = 3, 2 })
	w.begin("ann", "s1", manySteps(5, ""))
	w.untilTasks("s1/a/1", "s1/a/2")
	w.begin("bob", "s2", manySteps(5, ""))
	w.untilTasks("s1/a/1", "s1/a/2", "s2/a/1")
	w.must("amber", "build", "s1", domain.VerbClaim, `{"chain":"a","step":"1"}`)
	w.takeOut("build")
	w.untilTasks("s1/a/2", "s2/a/1")
	w.must("amber", "build", "s1", domain.VerbSucceed, `{"chain":"a","step":"1","attempt":1}`)
	until(t, "three are offered again", func() bool { return len(w.tasks()) == 3 })
	w.employ(4, "build")
	w.untilState("s1", domain.StateCompleted)
	until(t, "bob's session is done", func() bool { return w.sessionOf("bob", "s2").State == domain.StateCompleted })
}

// TestChainsLetOthersIn has a worker that follows a long chain while a step of
// another user waits for it.
func TestChainsLetOthersIn(t *testing.T) {
	w := newWorkshop(t)
	w.run()
	step := `{"action":"build"}`
	w.begin("ann", "long", `{"chains":[{"id":"a","steps":[`+strings.Repeat(step+",", 400)+step+`]}]}`)
	w.must("amber", "build", "long", domain.VerbClaim, `{"chain":"a","step":"1"}`)
	follow := func(n int) bool {
		r := w.must("amber", "build", "long", domain.VerbSucceed, fmt.Sprintf(`{"chain":"a","step":"%d","attempt":1,"claimNext":true}`, n))
		return r.Claimed != nil
	}
	if !follow(1) {
		t.Fatal("the chain could not be followed at all")
	}
	w.begin("bob", "short", `{"chains":[{"id":"a","steps":[{"action":"build"}]}]}`)
	for n := 2; n <= 400; n++ {
		if !follow(n) {
			return
		}
		pause(t.Context(), patience/100)
	}
	t.Errorf("user bob waited for all of the chain: %v", w.tasks())
}

func TestActionLimitAndClaimNext(t *testing.T) {
	w := newWorkshop(t)
	w.run(func(c *Config) { c.MaxPerAction = 1 })
	w.begin("ann", "s1", `{"chains":[{"id":"a","steps":[{"id":"x","action":"build"},{"id":"y","action":"test"}]}]}`)
	w.must("amber", "build", "s1", domain.VerbClaim, `{"chain":"a","step":"x"}`)
	r := w.must("amber", "build", "s1", domain.VerbSucceed, `{"chain":"a","step":"x","attempt":1,"claimNext":true,"actions":["test"]}`)
	if r.Claimed != nil {
		t.Error("a step of a limited action was given past its limit")
	}
	until(t, "it is offered", func() bool { return w.tasks()["s1/a/y"] == 1 })
}

// TestNothingIsOfferedTwice has workers that are faster than whoever follows the
// events. Every task has to lead to a claim.
func TestNothingIsOfferedTwice(t *testing.T) {
	w := newWorkshop(t)
	w.run()
	crew := w.employ(16, "build")
	const sessions, steps = 4, 250
	for i := range sessions {
		w.begin("ann", fmt.Sprint("s", i), manySteps(steps, ""))
	}
	for i := range sessions {
		w.untilState(fmt.Sprint("s", i), domain.StateCompleted)
	}
	if n := crew.refused.Load(); n > 0 || len(crew.claimed()) != sessions*steps {
		t.Errorf("%d claims were refused, %d accepted", n, len(crew.claimed()))
	}
}
