package domain_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"reprise/domain"
)

// TestStatesDocument keeps docs/states.md equal to what the code does: the
// diagrams and the tables are what the walk over every command in every state
// has seen.
func TestStatesDocument(t *testing.T) {
	t.Parallel()
	cells := walk(t)
	var b strings.Builder
	b.WriteString(docHead)
	b.WriteString("\n## Sessions\n\n" + diagram(cells, "", func(p place) string { return p.session }))
	b.WriteString("\n## Chains\n\nAn open chain completes only once it is closed.\n\n" + diagram(cells, "create, chain.add", func(p place) string { return p.chain }))
	b.WriteString("\n## Steps\n\nA step that was offered to workers and not yet claimed is PENDING. An attempt that fails with tries\nleft, or that is released, leaves its step PENDING too.\n\n" + diagram(cells, "create, chain.add, step.add", func(p place) string { return p.step }))
	b.WriteString(docTable)
	b.WriteString(sessionTable(cells))
	b.WriteString("\n## What a rejection advises\n\nThe sentence of a rejection says what state the session is in, what the command needs, and what would work instead:\n\n")
	b.WriteString(adviceTable(cells))
	b.WriteString("\n## Steps and the commands about them\n\nIn a session whose state allows the command:\n\n")
	b.WriteString(stepTable(cells))
	golden(t, "../docs/states.md", b.String())
}

const docHead = `# States and transitions

This page is written by a test from what the code does (` + "`TestStatesDocument`" + ` in
` + "`domain`" + `; ` + "`UPDATE=1 go test ./domain -run TestStatesDocument`" + ` rewrites it). An arrow
is a command that was accepted; all that a command changes, at the step, its chain
and its session, is one commit, so nobody ever sees half of it.
`

const docTable = `
## Commands by state of the session

**yes**: accepted. **yes/no**: it depends on the chain, the step or a setting, see
below. **already**: the session is in that state, or the thing has that value (code
` + "`already`" + `, which scripts may treat as success). **stale**: the attempt is over and the
worker is told to stop (` + "`stale_attempt`" + `). **no**: rejected with ` + "`illegal_transition`" + `.
A session that was deleted answers everything with ` + "`gone`" + `, one that never was with
` + "`not_found`" + ` (but ` + "`create`" + `). A session on hold answers ` + "`held`" + ` to delete and purge. The verbs
` + "`session.timeout`, `step.timeout` and `purge`" + ` are the engine's own.

`

// diagram draws what moved from one state to another, with the commands that
// did. What makes a chain or step is named by birth; sessions show it themselves.
func diagram(cells []walked, birth string, state func(place) string) string {
	arrows := map[[2]string][]string{}
	for _, c := range cells {
		from, to := state(c.where), state(c.after)
		if c.err != nil || from == to || from == "" || to == "" || c.command == "fork" {
			continue
		}
		key := [2]string{mermaid(from), mermaid(to)}
		if !slices.Contains(arrows[key], c.command) {
			arrows[key] = append(arrows[key], c.command)
		}
	}
	keys := make([][2]string, 0, len(arrows))
	for key := range arrows {
		keys = append(keys, key)
	}
	rank := func(state string) int { return slices.Index(docOrder, state) }
	slices.SortFunc(keys, func(a, b [2]string) int {
		if a[0] != b[0] {
			return rank(a[0]) - rank(b[0])
		}
		return rank(a[1]) - rank(b[1])
	})
	var b strings.Builder
	b.WriteString("```mermaid\nstateDiagram-v2\n")
	if birth != "" {
		b.WriteString("    [*] --> PENDING: " + birth + "\n")
	}
	for _, key := range keys {
		fmt.Fprintf(&b, "    %s --> %s: %s\n", key[0], key[1], strings.Join(plain(arrows[key]), ", "))
	}
	b.WriteString("```\n")
	return b.String()
}

// plain drops variants of commands that do the same without them.
func plain(commands []string) []string {
	return slices.DeleteFunc(slices.Clone(commands), func(command string) bool {
		verb, _, variant := strings.Cut(command, " ")
		return variant && slices.Contains(commands, verb)
	})
}

var docOrder = []string{"[*]", "PENDING", "RUNNING", "PAUSED", "SUCCESS", "COMPLETED", "FAILED", "TIMEOUT", "SKIPPED", "CANCELLED", "GONE"}

func mermaid(state string) string {
	if state == "NONE" {
		return "[*]"
	}
	return state
}

// verbsOf lists the commands of the walk that the tables show, without the
// variants that say the same.
func verbsOf(cells []walked) []string {
	var verbs []string
	for _, c := range cells {
		if c.command != "succeed stale" && c.command != "create" && !slices.Contains(verbs, c.command) {
			verbs = append(verbs, c.command)
		}
	}
	return verbs
}

// answer sums up what a command answers over many situations.
func answer(cells []walked) string {
	seen := map[string]bool{}
	for _, c := range cells {
		switch {
		case c.err == nil:
			seen["yes"] = true
		case c.err.Code == domain.CodeHeld:
		case c.err.Code == domain.CodeAlready:
			seen["already"] = true
		case c.err.Code == domain.CodeStaleAttempt:
			seen["stale"] = true
		default:
			seen["no"] = true
		}
	}
	var words []string
	for _, word := range []string{"yes", "already", "stale", "no"} {
		if seen[word] {
			words = append(words, word)
		}
	}
	return strings.Join(words, "/")
}

func table(header []string, rows [][]string) string {
	var b strings.Builder
	write := func(row []string) { b.WriteString("| " + strings.Join(row, " | ") + " |\n") }
	write(header)
	b.WriteString(strings.Repeat("|---", len(header)) + "|\n")
	for _, row := range rows {
		write(row)
	}
	return b.String()
}

func stateNames() []string {
	var names []string
	for _, s := range domain.States() {
		names = append(names, string(s))
	}
	return names
}

// pick returns the cells of a command where a place fits.
func pick(cells []walked, verb string, fits func(place) bool) []walked {
	var some []walked
	for _, c := range cells {
		if c.command == verb && fits(c.where) {
			some = append(some, c)
		}
	}
	return some
}

func inSession(state string) func(place) bool {
	return func(p place) bool { return p.session == state }
}

func sessionTable(cells []walked) string {
	var rows [][]string
	for _, verb := range verbsOf(cells) {
		row := []string{"`" + verb + "`"}
		for _, state := range stateNames() {
			row = append(row, answer(pick(cells, verb, inSession(state))))
		}
		rows = append(rows, row)
	}
	return table(append([]string{"command"}, stateNames()...), rows)
}

// adviceTable shows the end of the sentence for what the session's state alone
// forbids.
func adviceTable(cells []walked) string {
	var rows [][]string
	for _, verb := range verbsOf(cells) {
		row, told := []string{"`" + verb + "`"}, false
		for _, state := range stateNames() {
			cell := ""
			for _, c := range pick(cells, verb, inSession(state)) {
				if c.err == nil || c.err.Code != domain.CodeIllegalTransition || answer(pick(cells, verb, inSession(state))) != "no" {
					continue
				}
				parts := strings.Split(c.err.Message, "; ")
				cell, told = parts[len(parts)-1], true
			}
			row = append(row, cell)
		}
		if told {
			rows = append(rows, row)
		}
	}
	return table(append([]string{"command"}, stateNames()...), rows)
}

// stepTable shows what commands about a step answer by the status of the step,
// over the sessions in which the command is accepted at all.
func stepTable(cells []walked) string {
	verbs := []string{"claim", "heartbeat", "release", "succeed", "fail", "step.timeout", "step.retry", "step.skip", "step.succeed", "step.fail"}
	header := []string{"command"}
	for _, status := range domain.StepStatuses() {
		header = append(header, string(status))
	}
	var rows [][]string
	for _, verb := range verbs {
		row := []string{"`" + verb + "`"}
		for _, status := range domain.StepStatuses() {
			row = append(row, answer(pick(cells, verb, func(p place) bool {
				byHand := verb == "step.succeed" || verb == "step.fail"
				return p.step == string(status) && slices.Contains(p.flags, "manual") == byHand && domain.Accepts(domain.Verb(verb), domain.State(p.session))
			})))
		}
		rows = append(rows, row)
	}
	return table(header, rows)
}
