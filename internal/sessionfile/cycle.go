package sessionfile

import (
	"fmt"
	"strings"

	"reprise/domain"
)

// cycles reports a chain or step that waits for itself over others, at its own
// waitsFor and with the way round. The domain refuses that too, but can't say
// where in the file.
func (d *decoder) cycles(f *File) {
	waits := map[string][]string{}
	paths := map[string]string{}
	for i, c := range f.Chains {
		at := fmt.Sprintf("chains[%d]", i)
		waits[c.ID], paths[c.ID] = c.WaitsFor, at
		d.stepCycles(c, at)
	}
	d.cycle("chain", waits, paths, order(f.Chains, func(c domain.ChainDef) string { return c.ID }))
}

func (d *decoder) stepCycles(c domain.ChainDef, at string) {
	waits := map[string][]string{}
	paths := map[string]string{}
	previous := ""
	for i, s := range c.Steps {
		switch {
		case s.WaitsFor != nil:
			waits[s.ID] = *s.WaitsFor
		case i > 0:
			waits[s.ID] = []string{previous}
		}
		paths[s.ID], previous = fmt.Sprintf("%s.steps[%d]", at, i), s.ID
	}
	d.cycle("step", waits, paths, order(c.Steps, func(s domain.StepDef) string { return s.ID }))
}

func order[T any](items []T, id func(T) string) []string {
	ids := make([]string, 0, len(items))
	for _, item := range items {
		ids = append(ids, id(item))
	}
	return ids
}

// cycle reports the first way round that it finds. Ids that were left out are
// "", which nobody can wait for, so they are no part of one; an id that is there
// twice is another problem, and the domain's to tell.
func (d *decoder) cycle(kind string, waits map[string][]string, paths map[string]string, ids []string) {
	done, seen := map[string]bool{}, map[string]bool{"": false}
	for _, id := range ids {
		if seen[id] {
			return
		}
		seen[id] = id != ""
	}
	for _, id := range ids {
		if round := walk(id, waits, done, nil); round != nil {
			path := paths[round[0]] + ".waitsFor"
			d.reportf(d.nearest(path), path, "%s %q waits for itself: %s", kind, round[0], strings.Join(round, " waits for "))
			return
		}
	}
}

// walk follows the waits of id depth first and returns the way round, first and
// last the same, or nil.
func walk(id string, waits map[string][]string, done map[string]bool, trail []string) []string {
	for i, before := range trail {
		if before == id {
			return append(append([]string{}, trail[i:]...), id)
		}
	}
	if id == "" || done[id] {
		return nil
	}
	trail = append(trail, id)
	for _, next := range waits[id] {
		if round := walk(next, waits, done, trail); round != nil {
			return round
		}
	}
	done[id] = true
	return nil
}
