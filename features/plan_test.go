package features

import (
	"fmt"
	"strings"

	"github.com/cucumber/godog"
)

// plan is the body of a create command.
type plan object

// usual is the plan of a session of which nothing else is said.
func usual() plan { return newPlan(chainOf("build", "compile", "test")) }

func newPlan(chains ...object) plan { return plan{"chains": chains} }

// chainOf is a chain of steps, one after another, that any worker may do.
func chainOf(id string, steps ...string) object {
	defs := make([]object, len(steps))
	for i, step := range steps {
		defs[i] = object{"id": step, "action": "work"}
	}
	return object{"id": id, "steps": defs}
}

// eachStep changes every step of the plan.
func (p plan) eachStep(change func(object)) plan {
	for _, c := range p["chains"].([]object) {
		for _, s := range c["steps"].([]object) {
			change(s)
		}
	}
	return p
}

// with adds a setting.
func (p plan) with(key string, value any) plan {
	p[key] = value
	return p
}

// readPlan reads a table with the columns chain, steps, waits for and by hand.
func readPlan(table *godog.Table) (plan, error) {
	var chains []object
	for _, row := range table.Rows[1:] {
		chain := object{}
		for i, cell := range row.Cells {
			if err := readCell(chain, table.Rows[0].Cells[i].Value, cell.Value); err != nil {
				return nil, err
			}
		}
		chains = append(chains, chain)
	}
	return newPlan(chains...), nil
}

// readCell puts one cell of the table into its chain; columns stand in the
// order of readPlan.
func readCell(chain object, column, text string) error {
	switch column {
	case "chain":
		chain["id"] = text
	case "steps":
		chain["steps"] = chainOf("", names(text)...)["steps"]
	case "waits for":
		chain["waitsFor"] = names(text)
	case "by hand":
		if text == "yes" {
			newPlan(chain).eachStep(func(s object) { delete(s, "action"); s["manual"] = true })
		}
	default:
		return fmt.Errorf("a plan has no column %q", column)
	}
	return nil
}

// badPlan is a plan with a fault.
func badPlan(fault string) (plan, error) {
	first, second := chainOf("build", "compile"), chainOf("docs", "render")
	switch fault {
	case "two chains that wait for each other":
		first["waitsFor"], second["waitsFor"] = []string{"docs"}, []string{"build"}
	case "a chain that waits for nobody known":
		first["waitsFor"] = []string{"nobody"}
	case "the same chain twice":
		second["id"] = "build"
	case "the same step twice":
		first = chainOf("build", "compile", "compile")
	case "10000 steps":
		first = chainOf("build", make([]string, 10000)...)
	case "a setting nobody knows":
		return usual().with("colour", "red"), nil
	default:
		return nil, fmt.Errorf("no plan has the fault %q", fault)
	}
	return newPlan(first, second), nil
}

// badID is a session id that isn't one.
func badID(what string) (string, error) {
	switch what {
	case "a path":
		return "release/one", nil
	case "a wildcard":
		return "*", nil
	case "a dotted name":
		return "release.one", nil
	case "65 characters":
		return strings.Repeat("r", 65), nil
	}
	return "", fmt.Errorf("no id is %q", what)
}
