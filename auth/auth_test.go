package auth_test

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"reprise/auth"
	"reprise/contract"
)

func newRealm(t *testing.T, cfg auth.Config) *auth.Realm {
	t.Helper()
	realm, err := auth.Init(filepath.Join(t.TempDir(), "auth"), cfg)
	if err != nil {
		t.Fatal(err)
	}
	return realm
}

// TestDocument compares docs/security.md with the table. With UPDATE=1 it writes it.
func TestDocument(t *testing.T) {
	const file, begin, end = "../docs/security.md", "<!-- table -->\n", "<!-- end of table -->"
	body, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	before, rest, _ := strings.Cut(string(body), begin)
	_, after, found := strings.Cut(rest, end)
	want := before + begin + "\n" + auth.Markdown() + "\n" + end + after
	switch {
	case !found:
		t.Fatalf("%s has no place for the table", file)
	case want == string(body):
	case os.Getenv("UPDATE") != "":
		if err := os.WriteFile(file, []byte(want), 0o600); err != nil {
			t.Fatal(err)
		}
	default:
		t.Errorf("the table in %s is not that of the code; run UPDATE=1 go test ./auth -run Document", file)
	}
}

// TestAllowed holds, by hand, what must never come into the table.
func TestAllowed(t *testing.T) {
	n := contract.Default()
	never := []struct {
		role    auth.Role
		way     auth.Way
		subject string
	}{
		{auth.RoleUser, auth.Send, "reprise.cmd.bob.s.start"},
		{auth.RoleUser, auth.Send, "reprise.evt.ada.s"},
		{auth.RoleUser, auth.Send, "reprise.adm.ada.cmd.ada.s.hold"},
		{auth.RoleUser, auth.Send, "reprise.wrk.ada.build.serve"},
		{auth.RoleUser, auth.Send, "$JS.API.CONSUMER.CREATE.REPRISE_EVENTS"},
		{auth.RoleUser, auth.Send, "$JS.API.DIRECT.GET.REPRISE_EVENTS"},
		{auth.RoleUser, auth.Send, "$JS.API.DIRECT.GET.KV_reprise_sessions"},
		{auth.RoleUser, auth.Send, "$KV.reprise_sessions.ada.s"},
		{auth.RoleUser, auth.Receive, "reprise.live.>"},
		{auth.RoleUser, auth.Receive, "_INBOX.>"},
		{auth.RoleUser, auth.Receive, ">"},
		{auth.RoleUser, auth.Receive, "reprise.cmd.ada.>"},
		{auth.RoleUser, auth.Receive, "_INBOX.*.>"},
		{auth.RoleWorker, auth.Send, "reprise.wrk.ada.deploy.serve"},
		{auth.RoleWorker, auth.Send, "reprise.cmd.ada.s.start"},
		{auth.RoleWorker, auth.Send, "reprise.qry.ada.list"},
		{auth.RoleWorker, auth.Send, "$JS.API.CONSUMER.MSG.NEXT.REPRISE_WORK.deploy"},
		{auth.RoleWorker, auth.Send, "$JS.API.CONSUMER.MSG.NEXT.REPRISE_EVENTS.build"},
		{auth.RoleWorker, auth.Receive, "reprise.live.>"},
		{auth.RoleAuditor, auth.Send, "reprise.cmd.ada.s.start"},
		{auth.RoleAuditor, auth.Send, "reprise.evt.ada.s"},
		{auth.RoleAuditor, auth.Send, "$JS.API.CONSUMER.CREATE.REPRISE_EVENTS"},
		{auth.RoleAuditor, auth.Send, "$JS.API.STREAM.PURGE.REPRISE_EVENTS"},
		{auth.RoleOperator, auth.Send, "reprise.adm.bob.cleanup.scan"},
		{auth.RoleOperator, auth.Send, "reprise.cmd.ada.s.start"},
		{auth.RoleOperator, auth.Send, "$SYS.REQ.CLAIMS.UPDATE"},
		{auth.RoleOperator, auth.Receive, "reprise.cmd.>"},
		{auth.RoleEngine, auth.Send, "$JS.API.STREAM.DELETE.REPRISE_EVENTS"},
		{auth.RoleEngine, auth.Send, "$JS.API.STREAM.CREATE.OBJ_reprise_archive"},
		{auth.RoleEngine, auth.Send, "$JS.API.CONSUMER.PAUSE.REPRISE_WORK.build"},
		{auth.RoleEngine, auth.Send, "$JS.API.CONSUMER.RESET.REPRISE_WORK.build"},
		{auth.RoleEngine, auth.Send, "reprise.cmd.ada.s.start"},
		{auth.RoleUser, auth.Send, "reprise.adm.ada.doctor"},
		{auth.RoleAuditor, auth.Send, "reprise.adm.eve.doctor"},
		{auth.RoleUser, auth.Send, "$JS.API.CONSUMER.LIST.REPRISE_WORK"},
		{auth.RoleUser, auth.Send, "$O.reprise_archive.C.x"},
		{auth.RoleOperator, auth.Send, "$O.reprise_archive.C.x"},
		{auth.RoleAuditor, auth.Send, "$JS.API.DIRECT.GET.OBJ_reprise_archive"},
		{auth.RoleService, auth.Send, "reprise.evt.ada.s"},
		{auth.RoleService, auth.Send, "$JS.API.INFO"},
	}
	for _, c := range never {
		if auth.Allowed(c.role, n, "ada", []string{"build"}, c.way, c.subject) {
			t.Errorf("%s may %s %s", c.role, c.way, c.subject)
		}
	}
	for _, subject := range []string{"reprise.cmd.ada.s.step.retry", "reprise.qry.ada.list", "$JS.API.DIRECT.GET.KV_reprise_sessions.$KV.reprise_sessions.ada.s"} {
		if !auth.Allowed(auth.RoleUser, n, "ada", nil, auth.Send, subject) {
			t.Errorf("a user may not send %s", subject)
		}
	}
}

func TestCredentials(t *testing.T) {
	realm := newRealm(t, auth.Config{})
	issue, creds, err := realm.Add(auth.RoleUser, "ada@example.org")
	if err != nil {
		t.Fatal(err)
	}
	if name, err := auth.NameIn(creds); err != nil || name != contract.UserToken("ada@example.org") || name != issue.Name {
		t.Errorf("the credentials are those of %q, %v", name, err)
	}
	if _, err := auth.NameIn([]byte("nonsense")); !errors.Is(err, auth.ErrName) {
		t.Errorf("nonsense gives %v", err)
	}
	again, err := auth.Open(realm.Dir())
	if err != nil {
		t.Fatal(err)
	}
	if _, _, err := again.Add(auth.RoleUser, "ada@example.org"); !errors.Is(err, auth.ErrExists) {
		t.Errorf("adding twice gives %v", err)
	}
	if _, err := realm.Revoke(auth.RoleUser, "ada@example.org"); err != nil {
		t.Error(err)
	}
	if _, err := realm.Revoke(auth.RoleUser, "ada@example.org"); !errors.Is(err, auth.ErrUnknown) {
		t.Errorf("revoking twice gives %v", err)
	}
	if _, _, err := again.Add(auth.RoleUser, "ada@example.org"); err != nil {
		t.Errorf("a revoked name can't be used again: %v", err)
	}
	if list := again.List(); len(list) != 2 || list[0].Valid() || !list[1].Valid() {
		t.Errorf("the list is %+v", list)
	}
}

func TestRefusedNames(t *testing.T) {
	realm := newRealm(t, auth.Config{})
	tests := []struct {
		role    auth.Role
		name    string
		actions []string
	}{
		{"king", "ada", nil},
		{auth.RoleEngine, "ada", nil},
		{auth.RoleUser, "", nil},
		{auth.RoleUser, strings.Repeat("x", 129), nil},
		{auth.RoleUser, "a\x00b", nil},
		{auth.RoleUser, "ada", []string{"build"}},
		{auth.RoleWorker, "amber", nil},
		{auth.RoleWorker, "a.b", []string{"build"}},
		{auth.RoleWorker, "amber", []string{"build", "*"}},
		{auth.RoleOperator, ">", nil},
		{auth.RoleAuditor, "e v e", nil},
	}
	for _, c := range tests {
		if _, _, err := realm.Add(c.role, c.name, c.actions...); !errors.Is(err, auth.ErrName) {
			t.Errorf("%s %q %q: %v", c.role, c.name, c.actions, err)
		}
		if _, err := realm.Temporary(c.role, c.name, time.Minute, c.actions...); !errors.Is(err, auth.ErrName) {
			t.Errorf("for a while, %s %q %q: %v", c.role, c.name, c.actions, err)
		}
	}
}

// TestFiles: nobody else on the machine reads them, and what is missing is named.
func TestFiles(t *testing.T) {
	realm := newRealm(t, auth.Config{})
	issue, creds, err := realm.Add(auth.RoleWorker, "amber", "build")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := realm.WriteCreds(issue, creds); err != nil {
		t.Fatal(err)
	}
	err = filepath.Walk(realm.Dir(), func(path string, info os.FileInfo, err error) error {
		if err == nil && info.Mode().Perm()&0o077 != 0 {
			t.Errorf("%s has mode %s", path, info.Mode())
		}
		return err
	})
	if err != nil {
		t.Error(err)
	}
	if _, err := auth.Init(realm.Dir(), auth.Config{}); !errors.Is(err, auth.ErrInitialised) {
		t.Errorf("a second Init gives %v", err)
	}
	if _, err := auth.Open(t.TempDir()); !errors.Is(err, auth.ErrNotInitialised) {
		t.Errorf("an empty directory gives %v", err)
	}
	if _, err := auth.Init(t.TempDir(), auth.Config{Prefix: "A.B"}); !errors.Is(err, auth.ErrName) {
		t.Errorf("a bad prefix gives %v", err)
	}
	if _, err := auth.Init(t.TempDir(), auth.Config{Join: t.TempDir()}); !errors.Is(err, auth.ErrNotInitialised) {
		t.Errorf("joining nothing gives %v", err)
	}
	// Without its keys a realm still serves.
	if err := os.RemoveAll(filepath.Join(realm.Dir(), "keys")); err != nil {
		t.Fatal(err)
	}
	if _, _, err := realm.Add(auth.RoleUser, "ada"); !errors.Is(err, auth.ErrKeys) {
		t.Errorf("without keys Add gives %v", err)
	}
	if _, err := realm.Server(); err != nil {
		t.Error(err)
	}
	if _, err := realm.Engine(nil); err != nil {
		t.Error(err)
	}
	if err := realm.Refresh(); err != nil {
		t.Error(err)
	}
}
