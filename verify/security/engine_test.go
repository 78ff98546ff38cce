package security

import (
	"strings"
	"testing"

	"reprise/auth"
	"reprise/contract"
	"reprise/domain"
)

// TestEnginesHaveWhatTheyNeed: nothing that people do makes the server deny
// something to the engine, cleanup and repair included.
func TestEnginesHaveWhatTheyNeed(t *testing.T) {
	w := newWorld(t)
	n := w.names
	ada, root := w.as(auth.RoleUser, "ada"), w.as(auth.RoleOperator, "root")
	must(t, ada, n.Command("ada", "one", domain.VerbCreate), onePlan)
	must(t, ada, n.Command("ada", "one", domain.VerbStart), "{}")
	must(t, w.as(auth.RoleWorker, "amber", "build"), n.Serve("amber", "build"), "")
	must(t, ada, n.Command("ada", "one", domain.VerbCancel), "{}")
	must(t, ada, n.Command("ada", "one", domain.VerbFork), `{"id":"two"}`)
	must(t, ada, n.Command("ada", "two", domain.VerbDelete), "{}")
	ask(t, ada, n.Queue("ada", "one", domain.VerbResume), "{}")
	eve := w.as(auth.RoleAuditor, "eve")
	poll(t, "a dead letter", func() bool {
		m := ask(t, eve, "$JS.API.DIRECT.GET."+n.DeadStream()+"."+n.Dead("ada", "one", domain.VerbResume), "")
		return m.Header.Get(contract.HeaderCode) != ""
	})
	must(t, root, n.AdminCommand("root", "ada", "one", domain.VerbHold), "{}")
	must(t, root, n.AdminCommand("root", "ada", "one", domain.VerbUnhold), "{}")
	for _, name := range []string{contract.AdminDoctor, contract.AdminScan, contract.AdminStatus, contract.AdminPurge, contract.AdminRepair} {
		body := "{}"
		if name == contract.AdminPurge {
			body = `{"filter":{"olderThan":"0s"}}`
		}
		poll(t, name, func() bool { return ask(t, root, n.Admin("root", name), body).Header.Get(contract.HeaderError) == "" })
	}
	poll(t, "the purge", func() bool {
		m := ask(t, ada, n.Query("ada", contract.QueryGet), `{"session":"one"}`)
		return m.Header.Get(contract.HeaderErrorCode) == "410"
	})
	poll(t, "a report that an auditor reads", func() bool {
		return len(ask(t, eve, "$JS.API.DIRECT.GET."+n.AuditStream(), `{"last_by_subj":"`+n.Audit(">")+`"}`).Data) > 0
	})
	for line := range strings.Lines(w.log.String()) {
		if strings.Contains(line, "Violation") || strings.Contains(line, "request was dropped") {
			t.Errorf("the server denied something: %s", line)
		}
	}
}
