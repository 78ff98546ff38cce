package domain

import (
	"encoding/json"
	"fmt"
	"maps"
	"strconv"
)

// Normalise checks a definition against the bounds and writes out what was left
// to defaults: ids and waits. It returns the definition and its SHA-256 in hex,
// by which the same definition is known again. The caller's value is not
// changed.
func Normalise(def Definition) (Definition, string, *Rejection) {
	switch def.OnFailure {
	case "":
		def.OnFailure = FailStop
	case FailStop, FailContinue:
	default:
		return def, "", Invalid("onFailure", "%.40q is no policy; use stop or continue", def.OnFailure)
	}
	if r := checkSettings(def); r != nil {
		return def, "", r
	}
	def.Metadata = maps.Clone(def.Metadata)
	chains, rejected := normaliseChains(def.Chains)
	if rejected != nil {
		return def, "", rejected
	}
	def.Chains = chains
	raw, err := Marshal(def)
	if err != nil {
		return def, "", Invalid("", "the definition can't be written as JSON: %v", err)
	}
	if len(raw) > MaxCommandBytes {
		return def, "", Invalid("chains", "the definition has %d bytes; the most there may be is %d; put large inputs elsewhere and refer to them", len(raw), MaxCommandBytes)
	}
	return def, sum(raw), nil
}

func checkSettings(def Definition) *Rejection {
	if r := checkDuration("timeout", def.Timeout); r != nil {
		return r
	}
	if def.Priority < -MaxPriority || def.Priority > MaxPriority {
		return Invalid("priority", "%d is outside -%d to %d", def.Priority, MaxPriority, MaxPriority)
	}
	return checkMetadata("metadata", def.Metadata)
}

func normaliseChains(defs []ChainDef) ([]ChainDef, *Rejection) {
	if len(defs) > MaxChains {
		return nil, Invalid("chains", "%d chains are too many; the most there may be is %d", len(defs), MaxChains)
	}
	known, steps, bytes := make(map[string]bool, len(defs)), 0, 0
	next := make([]ChainDef, len(defs))
	for i, def := range defs {
		if def.ID == "" {
			def.ID = strconv.Itoa(i + 1)
		}
		if known[def.ID] {
			return nil, Invalid(fmt.Sprintf("chains[%d].id", i), "%.80q is the id of an earlier chain", def.ID)
		}
		known[def.ID] = true
		steps += len(def.Steps)
		next[i] = def
	}
	if steps > MaxSteps {
		return nil, Invalid("chains", "%d steps are too many; the most there may be in a session is %d", steps, MaxSteps)
	}
	for i, def := range next {
		def, rejected := normaliseChain(fmt.Sprintf("chains[%d].", i), def, known)
		if rejected != nil {
			return nil, rejected
		}
		next[i] = def
		bytes += planBytes(def)
	}
	if bytes > MaxPlanBytes {
		return nil, Invalid("chains", "the plan has %d bytes without inputs; the most there may be is %d", bytes, MaxPlanBytes)
	}
	waits := make([][]string, len(next))
	ids := make([]string, len(next))
	for i, c := range next {
		ids[i], waits[i] = c.ID, c.WaitsFor
	}
	if cycle := findCycle(ids, waits); cycle != "" {
		return nil, Invalid("chains", "chain %q waits for itself, over its waitsFor", cycle)
	}
	return next, nil
}

// normaliseChain checks one chain; known are the ids that it may wait for. The
// path is put before the names of fields.
func normaliseChain(path string, def ChainDef, known map[string]bool) (ChainDef, *Rejection) {
	if !ValidID(def.ID) {
		return def, badID(path+"id", def.ID)
	}
	if len(def.Title) > MaxTitleLength {
		return def, Invalid(path+"title", "%d bytes are too many; the most there may be is %d", len(def.Title), MaxTitleLength)
	}
	if len(def.Steps) == 0 && !def.Open {
		return def, Invalid(path+"steps", "chain %q has no steps; give it one, or make it open", def.ID)
	}
	if len(def.Steps) > MaxSteps {
		return def, Invalid(path+"steps", "%d steps are too many; the most there may be in a session is %d", len(def.Steps), MaxSteps)
	}
	if r := checkWaits(path+"waitsFor", "chain", def.ID, def.WaitsFor, known); r != nil {
		return def, r
	}
	steps, rejected := normaliseSteps(path, def.Steps)
	def.Steps = steps
	return def, rejected
}

func normaliseSteps(path string, defs []StepDef) ([]StepDef, *Rejection) {
	next := make([]StepDef, len(defs))
	known := make(map[string]bool, len(defs))
	ids, waits := make([]string, len(defs)), make([][]string, len(defs))
	previous := ""
	for i, def := range defs {
		if def.ID == "" {
			def.ID = strconv.Itoa(i + 1)
		}
		at := path + "steps[" + strconv.Itoa(i) + "]"
		if known[def.ID] {
			return nil, Invalid(at+".id", "%.80q is the id of an earlier step of the chain", def.ID)
		}
		def, rejected := normaliseStep(at, def, previous)
		if rejected != nil {
			return nil, rejected
		}
		known[def.ID], previous = true, def.ID
		next[i], ids[i], waits[i] = def, def.ID, *def.WaitsFor
	}
	for i, def := range next {
		if r := checkWaits(path+"steps["+strconv.Itoa(i)+"].waitsFor", "step", def.ID, waits[i], known); r != nil {
			return nil, r
		}
	}
	if cycle := findCycle(ids, waits); cycle != "" {
		return nil, Invalid(path+"steps", "step %q waits for itself, over its waitsFor", cycle)
	}
	return next, nil
}

// normaliseStep checks one step but for what its waits name. A step whose waits
// are left out waits for the previous one.
func normaliseStep(path string, def StepDef, previous string) (StepDef, *Rejection) {
	if !ValidID(def.ID) {
		return def, badID(path+".id", def.ID)
	}
	switch {
	case len(def.Title) > MaxTitleLength:
		return def, Invalid(path+".title", "%d bytes are too many; the most there may be is %d", len(def.Title), MaxTitleLength)
	case def.Action == "" && !def.Manual:
		return def, Invalid(path+".action", "step %q needs an action, or manual: true", def.ID)
	case def.Action != "" && !ValidID(def.Action):
		return def, badID(path+".action", def.Action)
	}
	if r := checkDuration(path+".timeout", def.Timeout); r != nil {
		return def, r
	}
	if r := checkRetry(path+".retry", def.Retry); r != nil {
		return def, r
	}
	input, rejected := checkPayload(path+".input", def.Input)
	if rejected != nil {
		return def, rejected
	}
	def.Input = input
	waits := []string{}
	switch {
	case def.WaitsFor != nil:
		waits = append(waits, *def.WaitsFor...)
	case previous != "":
		waits = append(waits, previous)
	}
	def.WaitsFor = &waits
	return def, nil
}

func badID(field, id string) *Rejection {
	return Invalid(field, "%.80q is no id; use 1 to %d of A-Z a-z 0-9 _ -", id, MaxIDLength)
}

func checkWaits(field, kind, id string, waits []string, known map[string]bool) *Rejection {
	seen := make(map[string]bool, len(waits))
	for _, w := range waits {
		switch {
		case w == id:
			return Invalid(field, "%s %q waits for itself", kind, id)
		case !known[w]:
			return Invalid(field, "%s %q waits for %.80q, and there is no such %s", kind, id, w, kind)
		case seen[w]:
			return Invalid(field, "%s %q waits for %q twice", kind, id, w)
		}
		seen[w] = true
	}
	return nil
}

// findCycle returns an id that waits for itself over others, or "".
func findCycle(ids []string, waits [][]string) string {
	index := make(map[string]int, len(ids))
	for i, id := range ids {
		index[id] = i
	}
	const visiting, done = 1, 2
	marks := make([]int, len(ids))
	var visit func(i int) bool
	visit = func(i int) bool {
		if marks[i] != 0 {
			return marks[i] == visiting
		}
		marks[i] = visiting
		for _, w := range waits[i] {
			if j, ok := index[w]; ok && visit(j) {
				return true
			}
		}
		marks[i] = done
		return false
	}
	for i, id := range ids {
		if visit(i) {
			return id
		}
	}
	return ""
}

// planBytes is what a chain takes of MaxPlanBytes: its JSON without inputs.
func planBytes(def ChainDef) int {
	bare := def
	bare.Steps = make([]StepDef, len(def.Steps))
	for i, st := range def.Steps {
		st.Input = nil
		bare.Steps[i] = st
	}
	raw, err := json.Marshal(bare)
	if err != nil {
		return MaxPlanBytes + 1
	}
	return len(raw)
}
