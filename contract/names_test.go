package contract_test

import (
	"errors"
	"strings"
	"testing"

	"reprise/contract"
	"reprise/domain"
)

func TestUserTokens(t *testing.T) {
	t.Parallel()
	for user, token := range map[string]string{
		"ann":                    "ann",
		"A-b_9":                  "A-b_9",
		strings.Repeat("x", 64):  strings.Repeat("x", 64),
		"ann@example.org":        "=YW5uQGV4YW1wbGUub3Jn",
		"a b":                    "=YSBi",
		"=YSBi":                  "=PVlTQmk",
		"日本":                     "=5pel5pys",
		"*":                      "=Kg",
		strings.Repeat("x", 65):  "=" + strings.Repeat("eHh4", 21) + "eHg",
		strings.Repeat("é", 64):  "=" + contract.UserToken(strings.Repeat("é", 64))[1:],
		strings.Repeat("x", 128): "=" + contract.UserToken(strings.Repeat("x", 128))[1:],
	} {
		if got := contract.UserToken(user); got != token {
			t.Errorf("UserToken(%q) is %q, want %q", user, got, token)
		}
		if got, err := contract.ParseUserToken(token); got != user || err != nil {
			t.Errorf("ParseUserToken(%q) is %q, %v", token, got, err)
		}
	}
}

func TestUserTokensThatAreNone(t *testing.T) {
	t.Parallel()
	for name, token := range map[string]string{
		"empty":                    "",
		"no user":                  "=",
		"no base64":                "=?",
		"padding":                  "=YSBiYw==",
		"standard alphabet":        "=+/+/",
		"a user that needs no =":   "=YW5u", // ann
		"stray bits":               "=YSBj9",
		"trailing bits not zero":   "=YSBjZB",
		"no UTF-8":                 "=_w",
		"a control character":      "=AA",
		"a newline in the base64":  "=YSBi\n",
		"DEL":                      "=fw",
		"129 bytes":                contract.UserToken(strings.Repeat("x", 129)),
		"65 characters without =":  strings.Repeat("x", 65),
		"a dot":                    "a.b",
		"a space":                  "a b",
		"a wildcard":               "*",
		"the other wildcard":       ">",
		"a plain non-ASCII letter": "é",
	} {
		if user, err := contract.ParseUserToken(token); !errors.Is(err, contract.ErrUserToken) {
			t.Errorf("%s: %q reads as %q, %v", name, token, user, err)
		}
	}
}

func TestValidUser(t *testing.T) {
	t.Parallel()
	for user, words := range map[string]string{
		"":                       "a user id has 1 to 128 bytes, not 0",
		strings.Repeat("x", 129): "a user id has 1 to 128 bytes, not 129",
		"\xff":                   "a user id is UTF-8 text",
		"a\tb":                   "a user id has no control characters",
		"a\u0085b":               "a user id has no control characters",
	} {
		if err := contract.ValidUser(user); err == nil || err.Error() != words {
			t.Errorf("ValidUser(%q): %v, want %s", user, err, words)
		}
	}
	if err := contract.ValidUser("ann@example.org"); err != nil {
		t.Error(err)
	}
}

func FuzzUserToken(f *testing.F) {
	for _, seed := range []string{"ann", "=YSBi", "a b", "=YW5u", "=", "", "日本", "=_w", "a.b", "\x00", "=YSBj9"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		if user, err := contract.ParseUserToken(text); err == nil {
			if again := contract.UserToken(user); again != text {
				t.Fatalf("%q and %q both name user %q", text, again, user)
			}
			if contract.ValidUser(user) != nil || strings.ContainsAny(text, ".*> \t\r\n") {
				t.Fatalf("%q names %q", text, user)
			}
		}
		if contract.ValidUser(text) == nil {
			if user, err := contract.ParseUserToken(contract.UserToken(text)); user != text || err != nil {
				t.Fatalf("user %q comes back as %q, %v", text, user, err)
			}
		}
	})
}

func TestNames(t *testing.T) {
	t.Parallel()
	n := contract.Default()
	for got, want := range map[string]string{
		n.Prefix():                                           "reprise",
		n.Command("ann", "s1", "step.retry"):                 "reprise.cmd.ann.s1.step.retry",
		n.Queue("a b", "s1", "pause"):                        "reprise.queue.=YSBi.s1.pause",
		n.AdminCommand("op", "ann", "s1", "hold"):            "reprise.adm.op.cmd.ann.s1.hold",
		n.Query("ann", contract.QueryGet):                    "reprise.qry.ann.get",
		n.Admin("op", "status"):                              "reprise.adm.op.status",
		n.Worker("w", "mail", "ann", "s1", domain.VerbClaim): "reprise.wrk.w.mail.ann.s1.claim",
		n.Work("mail", "ann", "s1", "c", "x"):                "reprise.work.mail.ann.s1.c.x",
		n.Event("ann", "s1"):                                 "reprise.evt.ann.s1",
		n.Live("ann", "s1"):                                  "reprise.live.ann.s1",
		n.Dead("ann", "s1", "pause"):                         "reprise.dead.ann.s1.pause",
		n.EventsStream():                                     "REPRISE_EVENTS",
		n.QueueStream():                                      "REPRISE_QUEUE",
		n.DeadStream():                                       "REPRISE_DEAD",
		n.WorkStream():                                       "REPRISE_WORK",
		n.LeaseStream():                                      "REPRISE_LEASES",
		n.SessionsBucket():                                   "reprise_sessions",
		n.HistoryBucket():                                    "reprise_history",
		n.ControlBucket():                                    "reprise_control",
		contract.ViewKey("a b", "s1"):                        "=YSBi.s1",
	} {
		if got != want {
			t.Errorf("got %s, want %s", got, want)
		}
	}
	for _, prefix := range []string{"A", "a.b", "a b", "a-b", strings.Repeat("x", 33)} {
		if _, err := contract.NewNames(prefix); err == nil || !strings.Contains(err.Error(), "use 1 to 32 lower-case letters and digits") {
			t.Errorf("prefix %q: %v", prefix, err)
		}
	}
	if n, err := contract.NewNames("test1"); err != nil || n.EventsStream() != "TEST1_EVENTS" {
		t.Errorf("%s, %v", n.EventsStream(), err)
	}
	if n, err := contract.NewNames(""); err != nil || n != contract.Default() {
		t.Errorf("%v, %v", n, err)
	}
}

func TestPositions(t *testing.T) {
	t.Parallel()
	p := contract.Position{Incarnation: "abc", Seq: 18446744073709551615}
	if got, err := contract.ParsePosition(p.String()); got != p || err != nil {
		t.Errorf("%s comes back as %s, %v", p, got, err)
	}
	for _, text := range []string{"", "5", ":5", "abc:", "abc:-1", "abc:+1", "abc:x", "abc:18446744073709551616", "abc:1:2"} {
		if got, err := contract.ParsePosition(text); err == nil || !strings.Contains(err.Error(), "is not a position; write incarnation:sequence") {
			t.Errorf("%q reads as %s, %v", text, got, err)
		}
	}
}

func TestEveryCodeHasAStatus(t *testing.T) {
	t.Parallel()
	want := map[domain.Code]int{
		domain.CodeInvalid: 400, domain.CodeNotAllowed: 403, domain.CodeNotFound: 404, domain.CodeAlready: 409, domain.CodeExists: 409,
		domain.CodeVersionConflict: 409, domain.CodeIDReused: 409, domain.CodeHeld: 409, domain.CodeGone: 410,
		domain.CodeIllegalTransition: 422, domain.CodeStaleAttempt: 422, domain.CodeBusy: 429,
		domain.CodeUnavailable: 503, domain.CodeWarming: 503, domain.CodeUnknownOutcome: 504,
	}
	for _, code := range domain.Codes() {
		if got := contract.Status(code); got != want[code] {
			t.Errorf("%s has status %d, want %d", code, got, want[code])
		}
	}
	defer func() {
		if recover() == nil {
			t.Error("an unknown code has a status")
		}
	}()
	contract.Status("strange")
}

func TestTaskSubjects(t *testing.T) {
	t.Parallel()
	n := contract.Default()
	want := contract.TaskRef{Action: "mail", User: "a b", Session: "s1", Chain: "c", Step: "x"}
	if got, ok := n.ParseWork(n.Work("mail", "a b", "s1", "c", "x")); got != want || !ok {
		t.Errorf("the subject reads as %+v, %v", got, ok)
	}
	for _, subject := range []string{
		"", "reprise.work", "reprise.work.mail.ann.s1.c", "reprise.work.mail.ann.s1.c.x.y", "other.work.mail.ann.s1.c.x",
		"reprise.work.mail.=YW5u.s1.c.x", "reprise.work..ann.s1.c.x", "reprise.work.mail.ann.s1.c.*", "reprise.wrk.mail.ann.s1.c.x",
	} {
		if got, ok := n.ParseWork(subject); ok {
			t.Errorf("%q reads as %+v", subject, got)
		}
	}
	if got := n.Serve("w", "mail"); got != "reprise.wrk.w.mail.serve" {
		t.Errorf("serve: %s", got)
	}
}
