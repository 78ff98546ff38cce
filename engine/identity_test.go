package engine

import (
	"testing"

	"github.com/nats-io/nats.go"
)

func TestImpostors(t *testing.T) {
	accounts := &Accounts{Users: "U", Workers: "W", Auditors: "A"}
	ada := `{"acc":"U","name_tag":"ada","user":"UKEY"}`
	tests := map[string]struct {
		subject string
		info    []string
		honest  bool
	}{
		"a user":                              {"reprise.cmd.ada.s.start", []string{ada}, true},
		"another user":                        {"reprise.cmd.bob.s.start", []string{ada}, false},
		"a user of another account":           {"reprise.cmd.ada.s.start", []string{`{"acc":"X","name_tag":"ada"}`}, false},
		"a name the connection gave itself":   {"reprise.cmd.ada.s.start", []string{`{"acc":"U","name":"ada"}`}, false},
		"nobody":                              {"reprise.cmd.ada.s.start", nil, false},
		"two at once":                         {"reprise.cmd.ada.s.start", []string{ada, `{"acc":"U","name_tag":"bob"}`}, false},
		"no JSON":                             {"reprise.cmd.ada.s.start", []string{"ada"}, false},
		"a queue":                             {"reprise.queue.ada.s.start", []string{ada}, true},
		"another's queue":                     {"reprise.queue.bob.s.start", []string{ada}, false},
		"a user's query":                      {"reprise.qry.ada.list", []string{ada}, true},
		"another's query":                     {"reprise.qry.bob.list", []string{ada}, false},
		"an auditor's query":                  {"reprise.qry.ada.list", []string{`{"acc":"A","name_tag":"eve"}`}, true},
		"an operator's query":                 {"reprise.qry.ada.list", nil, true},
		"a worker":                            {"reprise.wrk.amber.build.ada.s.claim", []string{`{"acc":"W","name_tag":"amber"}`}, true},
		"a user as worker":                    {"reprise.wrk.ada.build.ada.s.claim", []string{ada}, false},
		"a worker as another":                 {"reprise.wrk.birch.build.serve", []string{`{"acc":"W","name_tag":"amber"}`}, false},
		"an operator":                         {"reprise.adm.root.cmd.ada.s.hold", nil, true},
		"somebody of another account as such": {"reprise.adm.ada.cmd.ada.s.hold", []string{ada}, false},
		"another subject":                     {"reprise.evt.ada.s", []string{ada}, false},
	}
	for name, test := range tests {
		header := nats.Header{}
		if test.info != nil {
			header[headerRequestInfo] = test.info
		}
		if why := accounts.impostor(test.subject, header); (why == "") != test.honest {
			t.Errorf("%s: %q", name, why)
		}
		if why := (*Accounts)(nil).impostor(test.subject, header); why != "" {
			t.Errorf("%s, without accounts: %q", name, why)
		}
	}
	if len(accounts.inboxes()) != 2 || (*Accounts)(nil).inboxes() != nil {
		t.Error("inboxes")
	}
}
