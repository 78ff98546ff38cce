package engine

import (
	"testing"

	"reprise/domain"
)

const twoChains = `{"chains":[
	{"id":"a","steps":[{"action":"build"},{"action":"build"}]},
	{"id":"b","waitsFor":["a"],"steps":[{"action":"build"},{"action":"test","waitsFor":[]}]}]}`

func TestSessionIsExecuted(t *testing.T) {
	w := newWorkshop(t)
	w.run()
	w.begin("ann", "s1", twoChains)
	w.untilTasks("s1/a/1")
	w.employ(1, "build")
	w.untilTasks("s1/b/2")
	w.employ(1, "test")
	s := w.untilState("s1", domain.StateCompleted)
	for _, c := range s.Chains {
		for _, st := range c.Steps {
			if st.Attempt != 1 {
				t.Errorf("step %s/%s was attempted %d times", c.ID, st.ID, st.Attempt)
			}
		}
	}
	w.untilTasks()
}
