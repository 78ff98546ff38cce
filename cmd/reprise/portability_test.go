package main

import (
	"bytes"
	"context"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"reprise/archive"
	"reprise/contract"
	"reprise/engine"
	"reprise/natsnode"
)

// line runs a command line that has to end with a code, and returns what it says
// on both streams.
func line(t *testing.T, code int, env []string, args ...string) string {
	t.Helper()
	got, stdout, stderr := command(t.Context(), env, args...)
	if got != code {
		t.Fatalf("reprise %s: exit %d, want %d: %s%s", strings.Join(args, " "), got, code, stdout, stderr)
	}
	return stdout.String() + stderr.String()
}

// says checks what a command said.
func says(t *testing.T, text string, want ...string) {
	t.Helper()
	for _, w := range want {
		if !strings.Contains(text, w) {
			t.Errorf("it does not say %q:\n%s", w, text)
		}
	}
}

// sessionsIn makes sessions at a server: a running, a paused and a deleted one.
func sessionsIn(t *testing.T, env []string) {
	t.Helper()
	for _, id := range []string{"one", "two", "three"} {
		line(t, exitOK, env, "session", "create", id, "--keep-open", "--start", "--meta", "project="+id)
	}
	line(t, exitOK, env, "session", "pause", "two")
	line(t, exitOK, env, "session", "delete", "three", "--force")
}

func TestExportAndImport(t *testing.T) {
	dir := t.TempDir()
	env := []string{"NATS_URL=" + startEngine(t, nil).URL(), "REPRISE_USER=ada"}
	sessionsIn(t, env)
	file := filepath.Join(dir, "all.jsonl.zst")
	says(t, line(t, exitOK, env, "session", "export", "--all", "-f", file), "exported 2 sessions, 3 commits", file)
	says(t, line(t, exitUsage, env, "session", "export", "--all", "-f", file), "is there already; --force replaces it")
	var result exported
	if err := json.Unmarshal([]byte(line(t, exitOK, env, "session", "export", "--all", "--tombstones", "--force", "-f", file, "-o", "json")), &result); err != nil || result.Sessions != 3 {
		t.Errorf("%+v, %v", result, err)
	}

	other := startEngine(t, nil)
	there := []string{"NATS_URL=" + other.URL(), "REPRISE_USER=ada"}
	says(t, line(t, exitOK, there, "session", "import", file, "--dry-run"), "There would be 3 new sessions")
	says(t, line(t, exitOK, there, "session", "import", file), "imported 3 new sessions, 0 continued, 0 unchanged, 0 left out; 4 commits written")
	says(t, line(t, exitOK, there, "session", "import", file), "imported 0 new sessions, 0 continued, 3 unchanged")
	eventually(t, "both sessions in the list", func() bool {
		text := line(t, exitOK, there, "session", "list", "--json")
		return strings.Contains(text, `"one"`) && strings.Contains(text, `"two"`) && !strings.Contains(text, `"three"`)
	})
	line(t, exitNotFound, there, "session", "show", "three")
	says(t, line(t, exitOK, there, "session", "resume", "two"), "RUNNING")
	says(t, line(t, exitFailed, there, "session", "import", file, "--new-id", "x"), "a tombstone can't become another session")
}

func TestImportRefusals(t *testing.T) {
	dir := t.TempDir()
	env := []string{"REPRISE_DATA=" + filepath.Join(dir, "a"), "REPRISE_USER=ada"}
	there := []string{"REPRISE_DATA=" + filepath.Join(dir, "b"), "REPRISE_USER=ada"}
	line(t, exitOK, env, "session", "create", "one", "--keep-open", "--start")
	line(t, exitOK, there, "session", "create", "one", "--keep-open")
	file := filepath.Join(dir, "one.jsonl")
	line(t, exitOK, env, "session", "export", "one", "-f", file)
	says(t, line(t, exitFailed, there, "session", "import", file), "session ada.one is there with another history: the first version that differs is 1")
	says(t, line(t, exitOK, there, "session", "import", file, "--skip-clashes"), "left out: session ada.one", "1 left out")
	says(t, line(t, exitOK, there, "session", "import", file, "--new-id", "copy"), "imported 1 new session")
	says(t, line(t, exitOK, there, "session", "show", "copy"), "RUNNING")
	says(t, line(t, exitOK, there, "session", "import", file, "--user", "eve"), "imported 1 new session")
	says(t, line(t, exitOK, there, "session", "show", "one", "-u", "eve"), "RUNNING")
	whole, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, whole[:len(whole)-300], 0o600); err != nil {
		t.Fatal(err)
	}
	says(t, line(t, exitFailed, there, "session", "import", file), "one.jsonl: line ", "nothing was imported")
	line(t, exitUsage, there, "session", "import", filepath.Join(dir, "missing"))
	line(t, exitUsage, there, "session", "import")
}

func TestImportFromStdin(t *testing.T) {
	dir := t.TempDir()
	env := []string{"REPRISE_DATA=" + filepath.Join(dir, "a"), "REPRISE_USER=ada"}
	line(t, exitOK, env, "session", "create", "one", "--keep-open")
	code, stdout, stderr := command(t.Context(), env, "session", "export", "one", "-f", "-")
	if code != exitOK || !strings.Contains(stderr.String(), "exported 1 session, 1 commit") {
		t.Fatalf("exit %d: %s", code, stderr)
	}
	out := new(buffer)
	a := newApp(strings.NewReader(stdout.String()), out, out)
	a.getenv = environment("REPRISE_DATA="+filepath.Join(dir, "b"), "REPRISE_USER=ada")
	if code := a.run(t.Context(), []string{"session", "import", "-"}); code != exitOK || !strings.Contains(out.String(), "imported 1 new session") {
		t.Errorf("exit %d: %s", code, out)
	}
}

func TestExportCommandLines(t *testing.T) {
	dir := t.TempDir()
	env := []string{"REPRISE_DATA=" + filepath.Join(dir, "data"), "REPRISE_USER=ada"}
	file := filepath.Join(dir, "x.jsonl")
	says(t, line(t, exitUsage, env, "session", "export", "one", "-f", file), "there is no directory")
	line(t, exitOK, env, "session", "create", "one", "--keep-open", "--meta", "team=red")
	for name, test := range map[string]struct {
		code int
		args []string
		want string
	}{
		"nothing":       {exitUsage, []string{"-f", file}, "say which sessions"},
		"no file":       {exitUsage, []string{"--all"}, "-f FILE is needed"},
		"both":          {exitUsage, []string{"one", "--all", "-f", file}, "exclude each other"},
		"for lists":     {exitUsage, []string{"--step-state", "FAILED", "-f", file}, "--step-state is for lists"},
		"no such state": {exitUsage, []string{"--state", "ASLEEP", "-f", file}, "ASLEEP"},
		"unknown":       {exitNotFound, []string{"two", "-f", file}, "two of user ada was never created"},
		"no directory":  {exitFailed, []string{"one", "-f", filepath.Join(dir, "none", "x")}, "no such file"},
	} {
		says(t, line(t, test.code, env, append([]string{"session", "export"}, test.args...)...), test.want)
		if _, err := os.Stat(file); err == nil {
			t.Fatalf("%s: a file was left behind", name)
		}
	}
	says(t, line(t, exitOK, env, "session", "export", "--meta", "team=red", "--created-after", "1h", "-f", file), "exported 1 session")
	says(t, line(t, exitOK, env, "session", "export", "--state", "failed", "--force", "-f", file), "exported 0 sessions")
	if left, _ := filepath.Glob(filepath.Join(dir, ".*writing*")); len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
}

func TestMigrateBetweenBackends(t *testing.T) {
	dir := t.TempDir()
	env := []string{"REPRISE_USER=ada"}
	memory := startEngine(t, nil).URL()
	sessionsIn(t, append(env, "NATS_URL="+memory))
	data := filepath.Join(dir, "data")
	says(t, line(t, exitOK, env, "migrate", "--from", memory, "--to", data),
		"migrated 2 sessions and 1 tombstone, 4 commits", "4 commits written now, and every session was compared")
	says(t, line(t, exitOK, append(env, "REPRISE_DATA="+data), "session", "show", "two"), "PAUSED")
	line(t, exitOK, append(env, "NATS_URL="+memory), "session", "resume", "two") // the source may be changed again
	back := startEngine(t, nil).URL()
	var result migrated
	text := line(t, exitOK, env, "migrate", "--from", data, "--to", back, "--keep-read-only", "-o", "json")
	if err := json.Unmarshal([]byte(text), &result); err != nil || result.Sessions != 2 || !result.ReadOnly {
		t.Errorf("%+v, %v", result, err)
	}
	says(t, line(t, exitUnreachable, append(env, "REPRISE_DATA="+data), "session", "resume", "two"), "read-only since", "it is being migrated to "+back)
	says(t, line(t, exitOK, env, "migrate", "--from", data, "--release"), "can be changed again; it was read-only by ada")
	says(t, line(t, exitOK, env, "migrate", "--from", data, "--release"), "it was not read-only")
	line(t, exitOK, append(env, "REPRISE_DATA="+data), "session", "resume", "two")
	line(t, exitNotFound, append(env, "NATS_URL="+back), "session", "show", "three")
	eventually(t, "the list of the target", func() bool {
		return strings.Contains(line(t, exitOK, append(env, "NATS_URL="+back), "session", "list", "--json"), `"two"`)
	})
}

func TestMigrateRefusals(t *testing.T) {
	dir := t.TempDir()
	env := []string{"REPRISE_USER=ada", "HOME=" + dir}
	node := startEngine(t, nil)
	url := node.URL()
	says(t, line(t, exitUsage, env, "migrate", "--to", url), "--from is needed")
	says(t, line(t, exitUsage, env, "migrate", "--from", url), "--to is needed")
	says(t, line(t, exitUsage, env, "migrate", "--from", url, "--to", url, "--release"), "leave --to out")
	says(t, line(t, exitUsage, env, "migrate", "--from", url, "--to", url), "the same store")
	says(t, line(t, exitUsage, env, "migrate", "--from", url, "--to", "nowhere"), `no NATS context "nowhere"`, "./nowhere")
	says(t, line(t, exitUsage, env, "migrate", "--from", dir+"/none", "--to", url), "there is no directory")
	says(t, line(t, exitFailed, env, "migrate", "--from", t.TempDir(), "--to", url), "the source: there are no sessions at")
	says(t, line(t, exitUsage, env, "migrate", "--from", url, "--to", url, "--prefix", "A"), "prefix")

	markOf(t, node, engine.ReadOnly{ID: "backup", By: "eve", Reason: "a backup is made"})
	says(t, line(t, exitUnreachable, env, "migrate", "--from", url, "--to", dir+"/x"), "read-only already", "by eve: a backup is made")
	target := startEngine(t, nil)
	markOf(t, target, engine.ReadOnly{ID: "backup", By: "eve", Reason: "a backup is made"})
	says(t, line(t, exitOK, env, "migrate", "--from", url, "--release"), "by eve")
	says(t, line(t, exitUnreachable, env, "migrate", "--from", url, "--to", target.URL()),
		"the target: the service is read-only already", "the source stays read-only", "--release` gives up")
	file := filepath.Join(dir, "f.jsonl")
	line(t, exitOK, env, "migrate", "--from", url, "--release")
	line(t, exitOK, append(env, "NATS_URL="+url), "session", "create", "one", "--keep-open")
	line(t, exitOK, append(env, "NATS_URL="+url), "session", "export", "one", "-f", file)
	says(t, line(t, exitUnreachable, append(env, "NATS_URL="+target.URL()), "session", "import", file), "read-only already")
}

// markOf makes a service read-only.
func markOf(t *testing.T, node *natsnode.Node, r engine.ReadOnly) {
	t.Helper()
	nc, err := node.Dial("test")
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	js, err := jetstream.New(nc)
	if err != nil {
		t.Fatal(err)
	}
	mark, err := engine.OpenReadOnlyMark(t.Context(), js, contract.Default())
	if err == nil {
		err = mark.Set(t.Context(), r)
	}
	if err == nil {
		err = mark.Settle(t.Context(), nc)
	}
	if err != nil {
		t.Fatal(err)
	}
}

// TestMigrateGoesOn interrupts a migration, which leaves the source read-only,
// and runs it again.
func TestMigrateGoesOn(t *testing.T) {
	dir := t.TempDir()
	env := []string{"REPRISE_USER=ada"}
	url := startEngine(t, nil).URL()
	sessionsIn(t, append(env, "NATS_URL="+url))
	ctx, interrupt := context.WithCancel(t.Context())
	a := newApp(strings.NewReader(""), new(buffer), new(buffer))
	a.getenv = environment(env...)
	from, err := a.openOperatorStore(ctx, opening{where: placeNamed(url)})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = from.close() }()
	to, err := a.openOperatorStore(ctx, opening{where: placeNamed(dir + "/data"), make: true})
	if err != nil {
		t.Fatal(err)
	}
	interrupt()
	if err := a.migrateHeld(ctx, &migrateFlags{from: url}, from, to); err == nil {
		t.Fatal("an interrupted migration says nothing")
	}
	run, err := migration(t.Context(), from, to)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := from.hold(t.Context(), a.whoHolds(run, "it is being migrated", 0)); err != nil {
		t.Fatal(err)
	}
	again, err := migration(t.Context(), from, to)
	if err != nil || again != run {
		t.Errorf("the migration %q is not found again: %q, %v", run, again, err)
	}
	if err := to.close(); err != nil {
		t.Fatal(err)
	}
	says(t, line(t, exitUnreachable, append(env, "NATS_URL="+url), "session", "resume", "two"), "it is being migrated")
	says(t, line(t, exitOK, env, "migrate", "--from", url, "--to", dir+"/data"), "migrated 2 sessions")
	line(t, exitOK, append(env, "NATS_URL="+url), "session", "resume", "two")
}

// TestHoldsAreRenewed: a hold with a time to live ends when it is told to.
func TestHoldsAreRenewed(t *testing.T) {
	node := startEngine(t, nil)
	a := newApp(strings.NewReader(""), new(buffer), new(buffer))
	a.getenv = environment("REPRISE_USER=ada")
	s, err := a.openOperatorStore(t.Context(), opening{where: where{url: node.URL()}})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = s.close() }()
	end, err := s.hold(t.Context(), a.whoHolds("test", "a test", holdTTL))
	if err != nil {
		t.Fatal(err)
	}
	env := []string{"REPRISE_USER=ada", "NATS_URL=" + node.URL()}
	line(t, exitUnreachable, env, "session", "create", "one", "--keep-open")
	if err := end(); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the end of the hold", func() bool {
		code, _, _ := command(t.Context(), env, "session", "create", "one", "--keep-open", "--ok-if-already")
		return code == exitOK
	})
}

func TestMeter(t *testing.T) {
	var out bytes.Buffer
	now := time.Unix(0, 0)
	m := &meter{out: &out, now: func() time.Time { return now }}
	m.shown = now.Add(-time.Hour)
	m.show(archive.Progress{Doing: "reading", Sessions: 3, Commits: 9, Of: 7})
	m.show(archive.Progress{Doing: "reading", Sessions: 4})
	m.done()
	if got := out.String(); got != "\r\x1b[Kreading: 3 of 7 sessions, 9 commits\r\x1b[K" {
		t.Errorf("%q", got)
	}
	for n, want := range map[uint64]string{0: "0 bytes", 999: "999 bytes", 1500: "1.5 kB", 25_000_000: "25.0 MB"} {
		if got := sized(n); got != want {
			t.Errorf("%d bytes are shown as %s", n, got)
		}
	}
}
