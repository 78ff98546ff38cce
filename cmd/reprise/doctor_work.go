package main

import (
	"fmt"
	"slices"
	"time"

	"reprise/actions"
	"reprise/contract"
)

// maxShownActions is how many actions without a worker the doctor names.
const maxShownActions = 20

// workersFindings say which actions no worker serves, each by itself.
func workersFindings(r contract.EngineReport) []finding {
	if !r.ServingKnown {
		return []finding{{"workers", levelUnknown, "the server does not say for which actions workers wait", "ask again"}}
	}
	var findings []finding
	served, more := 0, r.MoreActions
	for _, x := range r.Actions {
		switch {
		case x.Served || x.Ready == 0:
			served++
		case len(findings) == maxShownActions:
			more++
		default:
			findings = append(findings, unservedFinding(x))
		}
	}
	if more > 0 && len(findings) > 0 {
		findings = append(findings, finding{"workers", levelWarn, fmt.Sprintf("%s are not shown", plural(more, "more action")), ""})
	}
	if len(findings) == 0 {
		findings = []finding{{"workers", levelOK, fmt.Sprintf("%s with steps that are ready or in flight, and workers for all", plural(served, "action")), ""}}
	}
	return findings
}

func unservedFinding(x contract.ActionReport) finding {
	verb := "wait"
	if x.Ready == 1 {
		verb = "waits"
	}
	do := "start a worker for " + x.Action
	if slices.Contains(actions.Names(), x.Action) {
		do = "reprise worker --actions " + x.Action
	}
	return finding{"workers", levelWarn, fmt.Sprintf("no worker serves %s, and %s %s for one", x.Action, plural(x.Ready, "step"), verb), do}
}

func queueFinding(r contract.EngineReport) finding {
	says := fmt.Sprintf("%s to be applied", plural(int(r.Queued), "queued command"))
	if r.Queued > longQueue {
		return finding{"queue", levelWarn, says, "they come faster than the holder applies them, or it stands still; ask again and compare"}
	}
	return finding{"queue", levelOK, says, ""}
}

func deadFinding(r contract.EngineReport) finding {
	says := plural(int(r.DeadLetters), "dead letter")
	if r.DeadLetters == 0 {
		return finding{"dead letters", levelOK, says, ""}
	}
	return finding{"dead letters", levelWarn, says + ": queued commands that were rejected", "read them with their reasons in the stream of dead letters (nats stream view); cleanup removes those of sessions that are gone"}
}

func readOnlyFinding(m *contract.ReadOnlyReport) finding {
	if m == nil {
		return finding{"read-only", levelOK, "commands are taken", ""}
	}
	return finding{"read-only", levelWarn, fmt.Sprintf("nothing may be changed since %s, by %s: %s", m.Since.UTC().Format(time.RFC3339), m.By, m.Reason), "wait until that is over; reprise migrate --release ends one that was left behind"}
}
