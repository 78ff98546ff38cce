package main

import (
	"strings"

	"github.com/spf13/cobra"

	"reprise/contract"
	"reprise/internal/term"
)

// noWorker is what stands where a step waits that nobody will take.
const noWorker = "no worker serves "

// waitingWords are the kinds of waiting as flags write them.
func waitingWords() []string {
	list := words(contract.Waitings())
	for i, word := range list {
		list[i] = strings.ReplaceAll(word, "_", "-")
	}
	return list
}

// waitingKinds reads kinds of waiting; no-worker and no_worker are the same.
func waitingKinds(cmd *cobra.Command, given []string) ([]contract.Waiting, error) {
	var kinds []contract.Waiting
	for _, word := range given {
		known := strings.ReplaceAll(word, "-", "_")
		found, err := oneOf(cmd, "waiting", []string{known}, contract.Waitings())
		if err != nil {
			return nil, usage(cmd, "--waiting %s: there are %s", word, strings.Join(waitingWords(), ", "))
		}
		kinds = append(kinds, found...)
	}
	return kinds, nil
}

// waits says in a few words what a session waits for that its state does not say.
func (a *app) waits(row contract.Row) string {
	var list []string
	for _, kind := range row.Waiting {
		switch kind {
		case contract.WaitingNoWorker:
			list = append(list, a.palette.Apply(term.Yellow, noWorker+strings.Join(row.Unserved, ", ")))
		case contract.WaitingWorker:
			list = append(list, "a worker")
		case contract.WaitingBackoff:
			list = append(list, "its next try")
		case contract.WaitingPerson:
			list = append(list, "a person")
		case contract.WaitingPlan:
			list = append(list, "more steps")
		case contract.WaitingStart, contract.WaitingPaused:
		}
	}
	return strings.Join(list, "; ")
}
