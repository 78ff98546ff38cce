package e2e

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"reprise/contract"
	"reprise/domain"
	"reprise/engine/cleanup"
	"reprise/internal/killpoint"
)

// The sessions that are removed while the process is killed.
const (
	oldOnes  = 6
	idleOnes = 2
)

// house is where a process runs that is killed: on a data directory, or on a
// server that survives it.
type house struct {
	args    []string
	archive string
}

// onFiles has the server within the process, and archives in a directory.
func onFiles(t *testing.T) *house {
	t.Helper()
	attic := t.TempDir()
	return &house{archive: attic, args: []string{"--data", t.TempDir(), "--listen", "127.0.0.1:0", "--cleanup-archive", attic}}
}

// onServer has a server that keeps what it has in memory, tasks above all, and
// archives in an object store.
func onServer(t *testing.T) *house {
	t.Helper()
	url := externalServer(t)
	_, err := dial(t, url, "ada").stream(t).CreateObjectStore(bounded(t), jetstream.ObjectStoreConfig{Bucket: "attic"})
	if err != nil {
		t.Fatal(err)
	}
	return &house{archive: "bucket:attic", args: []string{"--nats", url}}
}

// start starts a process as it is released.
func (h *house) start(t *testing.T) (*process, *peer) {
	t.Helper()
	p := serve(t, h.args...)
	return p, dial(t, p.url, "ada")
}

// doomed starts a process that kills itself at a passing of a point.
func (h *house) doomed(t *testing.T, point string, passing int) (*process, *peer) {
	t.Helper()
	p := start(t, doomed(t, point, passing, append([]string{"serve"}, h.args...)...))
	return p, dial(t, p.url, "ada")
}

// doomed makes a run of the binary that kills itself at a passing of a point.
func doomed(t *testing.T, point string, passing int, args ...string) *exec.Cmd {
	t.Helper()
	binary, err := suicidal()
	if err != nil {
		t.Fatal(err)
	}
	cmd := command(t, args...)
	cmd.Path, cmd.Args[0] = binary, binary
	cmd.Env = append(cmd.Env, killpoint.EnvPoint+"="+point, killpoint.EnvTurn+"="+fmt.Sprint(passing))
	return cmd
}

// killed reports whether SIGKILL ended a process.
func killed(state *os.ProcessState) bool {
	status, ok := state.Sys().(syscall.WaitStatus)
	return ok && status.Signal() == syscall.SIGKILL
}

// died waits for the process and fails unless it was killed.
func (p *process) died(t *testing.T) {
	t.Helper()
	select {
	case <-p.ended:
	case <-bounded(t).Done():
		t.Fatalf("the process was not killed in time\n%s", p.log)
	}
	if !killed(p.cmd.ProcessState) {
		t.Fatalf("the process ended with %v\n%s", p.err, p.log)
	}
}

// whileAlive is a context that ends with the process.
func (p *process) whileAlive(t *testing.T) context.Context {
	t.Helper()
	ctx, cancel := context.WithCancel(bounded(t))
	go func() {
		<-p.ended
		cancel()
	}()
	return ctx
}

// fill makes sessions of ada that have ended, some that run with a step on offer,
// a message that is of no session, and one session of bob's that lives on.
func fill(t *testing.T, p *peer) {
	p.cancelled(t, oldOnes, 0)
	for i := range idleOnes {
		p.do(t, fmt.Sprint("idle", i), domain.VerbCreate, plan("compile"))
		p.do(t, fmt.Sprint("idle", i), domain.VerbStart, nil)
	}
	bob := p.as("bob")
	bob.do(t, "alive", domain.VerbCreate, plan("compile"))
	bob.do(t, "alive", domain.VerbStart, nil)
	if _, err := p.stream(t).Publish(bounded(t), p.names.Event("ada", "headless"), []byte("debris")); err != nil {
		t.Fatal(err)
	}
}

// removed are the ids of fill that don't live on.
func removed() []string {
	ids := []string{}
	for i := range oldOnes {
		ids = append(ids, fmt.Sprint("old", i))
	}
	for i := range idleOnes {
		ids = append(ids, fmt.Sprint("idle", i))
	}
	return ids
}

// everythingOf asks for the purge of all that ada has.
func (h *house) everythingOf() contract.CleanupRequest {
	policy := cleanup.DefaultPolicy()
	policy.PurgeIdle, policy.Debris = true, 0
	r := atOnce()
	r.Policy, r.Filter.Users, r.Archive, r.Concurrency = &policy, []string{"ada"}, h.archive, 1
	return r
}

// TestPurgeKilledAtEveryPoint kills the process at each point of a purge. The
// next run completes it, with exact numbers, and nothing comes back.
func TestPurgeKilledAtEveryPoint(t *testing.T) {
	t.Parallel()
	for point, passing := range map[string]int{
		killpoint.CleanupJudge: 4, killpoint.CleanupArchive: 3, killpoint.ArchiveWritten: 3, killpoint.ArchiveChecked: 3,
		killpoint.ArchiveKept: 3, killpoint.CleanupOrder: 3, killpoint.SessionEnding: 3, killpoint.SessionEnded: 3,
		killpoint.SessionCompacted: 3, killpoint.CleanupCompact: 3, killpoint.CleanupDone: 3, killpoint.DebrisEnded: 1,
		killpoint.ViewRemoving: 2, killpoint.ViewRemoved: 1, killpoint.TaskWithdrawing: 1, killpoint.TaskWithdrawn: 1,
		killpoint.ResultsKeeping: 1, killpoint.ResultsKept: 1, killpoint.ReportKeeping: 1, killpoint.ReportKept: 1,
	} {
		t.Run(point+" on files", func(t *testing.T) {
			t.Parallel()
			purgeKilled(t, onFiles(t), point, passing)
		})
		if surviving(point) {
			t.Run(point+" on a server", func(t *testing.T) {
				t.Parallel()
				purgeKilled(t, onServer(t), point, passing)
			})
		}
	}
}

// surviving reports whether a server that outlives the engine has something at
// this point that a restart of both would not have.
func surviving(point string) bool {
	return slices.Contains([]string{
		killpoint.ArchiveWritten, killpoint.ArchiveKept, killpoint.SessionEnded, killpoint.ViewRemoving,
		killpoint.TaskWithdrawing, killpoint.TaskWithdrawn, killpoint.ResultsKeeping,
	}, point)
}

func purgeKilled(t *testing.T, h *house, point string, passing int) {
	first, p := h.start(t)
	fill(t, p)
	first.stop(t)
	second, p := h.doomed(t, point, passing)
	report, err := p.operate(second.whileAlive(t), contract.AdminPurge, h.everythingOf(), func(contract.CleanupMessage) {})
	t.Logf("the purge before the kill ended with %+v, %v", report, err)
	second.died(t)
	third, p := h.start(t)
	completes(t, p, h.everythingOf())
	checkRemoved(t, p, append(removed(), "headless"))
	h.checkArchive(t, p)
	third.kill(t)
	_, p = h.start(t)
	checkRemoved(t, p, append(removed(), "headless"))
}

// completes runs a cleanup again, and compares its report with what was there
// before and after.
func completes(t *testing.T, p *peer, r contract.CleanupRequest) {
	before := readTrails(t, p)
	report, err := p.operate(bounded(t), contract.AdminPurge, r, func(contract.CleanupMessage) {})
	if err != nil {
		t.Fatal(err)
	}
	after := readTrails(t, p)
	ends, unfinished := 0, 0
	for _, trail := range before {
		switch {
		case !trail.ended:
			ends++
		case trail.messages > 1:
			unfinished++
		}
	}
	if r.Filter.OlderThan == nil {
		ends = 0 // it removes what is half done alone
	}
	begun := report.Stale + report.Reasons[contract.ReasonHeadless]
	if begun != ends || report.Reasons[contract.ReasonUnfinished] != unfinished {
		t.Errorf("%d were not begun and %d half done; the report counts %v", ends, unfinished, report.Reasons)
	}
	if report.Stopped || report.Failed > 0 || len(report.Skipped) > 0 || report.Purged+report.Repaired != report.Stale+report.Orphaned {
		t.Errorf("the next run reports %+v", report)
	}
	if gone := before.messages() + ends - after.messages(); gone != int(report.Commits) {
		t.Errorf("%d commits are gone, and the report counts %d", gone, report.Commits)
	}
	var status contract.CleanupStatus
	readJSON(t, string(p.operator(t, contract.AdminStatus)), &status)
	if status.Purge == nil || status.Purge.ID != report.ID || status.Purge.Purged != report.Purged {
		t.Errorf("the last purge of the audit is %+v", status.Purge)
	}
}

// operator asks for something that has one answer.
func (p *peer) operator(t *testing.T, name string) []byte {
	t.Helper()
	a, err := p.settled(p.names.Admin("olga", name), nil, nil)
	if err != nil || a.refusal != nil {
		t.Fatalf("%s: %v %+v", name, err, a.refusal)
	}
	return a.msg.Data
}

// trail is what is stored of a session of ada's.
type trail struct {
	messages int
	ended    bool
}

type trails map[string]trail

func (s trails) messages() int {
	n := 0
	for _, t := range s {
		n += t.messages
	}
	return n
}

// readTrails reads the headers of what is stored of ada's sessions.
func readTrails(t *testing.T, p *peer) trails {
	t.Helper()
	stream, err := p.stream(t).Stream(bounded(t), p.names.EventsStream())
	if err != nil {
		t.Fatal(err)
	}
	info, err := stream.Info(bounded(t), jetstream.WithSubjectFilter(p.names.Event("ada", "*")))
	if err != nil {
		t.Fatal(err)
	}
	found := trails{}
	for subject, n := range info.State.Subjects {
		m, err := stream.GetLastMsgForSubject(bounded(t), subject)
		if err != nil {
			t.Fatal(err)
		}
		found[subject] = trail{messages: int(n), ended: endsSession(m.Header)}
	}
	return found
}

// endsSession reports whether a commit has a tombstone.
func endsSession(h nats.Header) bool {
	return strings.HasSuffix(h.Get(contract.HeaderTypes), string(domain.TypeSessionPurged))
}

// checkRemoved fails unless tombstones are all that is left of these sessions.
func checkRemoved(t *testing.T, p *peer, ids []string) {
	t.Helper()
	for _, id := range ids {
		p.refused(t, id, domain.VerbCreate, plan("compile"), domain.CodeGone)
		a, err := p.settled(p.names.Query(p.user, contract.QueryGet), object{"session": id}, nil)
		if err != nil {
			t.Fatal(err)
		}
		checkRefusal(t, a, domain.CodeGone)
	}
	eventually(t, func() error {
		for subject, trail := range readTrails(t, p) {
			if trail.messages != 1 || !trail.ended {
				return fmt.Errorf("%s has %+v", subject, trail)
			}
		}
		return nil
	})
	eventually(t, func() error { return onlyBobs(t, p) })
	if s := p.as("bob").get(t, "alive"); s.State != domain.StateRunning {
		t.Errorf("what was not purged is %s", s.State)
	}
}

// onlyBobs looks for views, tasks and leases of anybody else.
func onlyBobs(t *testing.T, p *peer) error {
	t.Helper()
	for stream, want := range map[string][]string{
		"KV_" + p.names.SessionsBucket(): {"$KV." + p.names.SessionsBucket() + "._checkpoint", "$KV." + p.names.SessionsBucket() + ".bob.alive"},
		p.names.WorkStream():             {p.names.Work("work", "bob", "alive", "build", "compile")},
		p.names.LeaseStream():            nil,
	} {
		s, err := p.stream(t).Stream(bounded(t), stream)
		if err != nil {
			return err
		}
		info, err := s.Info(bounded(t), jetstream.WithSubjectFilter(">"))
		if err != nil {
			return err
		}
		left := info.State.Subjects
		for subject := range left {
			if m, err := s.GetLastMsgForSubject(bounded(t), subject); err != nil || m.Header.Get("KV-Operation") != "" {
				delete(left, subject)
			}
		}
		for _, subject := range want {
			if left[subject] == 0 {
				return fmt.Errorf("%s is not in %s", subject, stream)
			}
		}
		if len(left) != len(want) {
			return fmt.Errorf("stream %s holds %v", stream, left)
		}
	}
	return nil
}

// checkArchive fails unless every session has one whole archive.
func (h *house) checkArchive(t *testing.T, p *peer) {
	t.Helper()
	var names []string
	if filepath.IsAbs(h.archive) {
		files, err := os.ReadDir(filepath.Join(h.archive, "ada"))
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range files {
			names = append(names, f.Name())
		}
	} else {
		bucket, err := p.stream(t).ObjectStore(bounded(t), "attic")
		if err != nil {
			t.Fatal(err)
		}
		objects, err := bucket.List(bounded(t))
		if err != nil {
			t.Fatal(err)
		}
		for _, o := range objects {
			if _, err := bucket.GetBytes(bounded(t), o.Name); err != nil {
				t.Errorf("archive %s: %v", o.Name, err)
			}
			names = append(names, o.Name)
		}
	}
	whole := 0
	for _, name := range names {
		if filepath.Base(name)[0] != '.' {
			whole++
		}
	}
	if whole != oldOnes+idleOnes {
		t.Errorf("the archive holds %v", names)
	}
}

// TestDeleteKilledAtEveryPoint kills the process at each point of a delete, which
// is sent again then.
func TestDeleteKilledAtEveryPoint(t *testing.T) {
	t.Parallel()
	for _, point := range []string{
		killpoint.SessionEnding, killpoint.SessionEnded, killpoint.SessionCompacted,
		killpoint.ViewRemoving, killpoint.ViewRemoved, killpoint.TaskWithdrawing, killpoint.TaskWithdrawn,
	} {
		t.Run(point+" on files", func(t *testing.T) {
			t.Parallel()
			deleteKilled(t, onFiles(t), point)
		})
		if surviving(point) {
			t.Run(point+" on a server", func(t *testing.T) {
				t.Parallel()
				deleteKilled(t, onServer(t), point)
			})
		}
	}
}

func deleteKilled(t *testing.T, h *house, point string) {
	t.Helper()
	first, p := h.start(t)
	fill(t, p)
	first.stop(t)
	second, p := h.doomed(t, point, 1)
	p.offered(t, "late")
	ids := append(removed(), "late")
	if err := p.deleteAll(second.whileAlive(t), ids); errors.Is(err, errRefused) {
		t.Error(err)
	}
	second.died(t)
	third, p := h.start(t)
	halfDone := h.everythingOf()
	halfDone.Filter.OlderThan, halfDone.Filter.Sessions = nil, ids
	completes(t, p, halfDone)
	if err := p.deleteAll(bounded(t), ids); err != nil {
		t.Error(err)
	}
	purge := h.everythingOf()
	purge.Filter.Sessions = []string{"headless"}
	if r, err := p.operate(bounded(t), contract.AdminPurge, purge, func(contract.CleanupMessage) {}); err != nil || r.Purged != 1 {
		t.Errorf("the purge of the debris: %+v, error %v", r, err)
	}
	checkRemoved(t, p, ids)
	third.kill(t)
	_, p = h.start(t)
	checkRemoved(t, p, ids)
}

// offered makes a session and waits until its step is offered.
func (p *peer) offered(t *testing.T, id string) {
	t.Helper()
	p.do(t, id, domain.VerbCreate, plan("compile"))
	p.do(t, id, domain.VerbStart, nil)
	eventually(t, func() error {
		stream, err := p.stream(t).Stream(bounded(t), p.names.WorkStream())
		if err == nil {
			_, err = stream.GetLastMsgForSubject(bounded(t), p.names.Work("work", p.user, id, "build", "compile"))
		}
		return err
	})
}

// errRefused says that a command was refused. While a process is being killed,
// requests may fail in other ways.
var errRefused = errors.New("refused")

// deleteAll deletes sessions, the last one first. The same call again has the
// same command ids.
func (p *peer) deleteAll(ctx context.Context, ids []string) error {
	for _, id := range slices.Backward(ids) {
		if err := p.deleteOne(ctx, id); err != nil {
			return err
		}
	}
	return nil
}

// deleteOne deletes a session, and asks again where the answer hints at it.
func (p *peer) deleteOne(ctx context.Context, id string) error {
	for {
		msg, err := p.nc.RequestMsgWithContext(ctx, &nats.Msg{
			Subject: p.names.Command(p.user, id, domain.VerbDelete), Data: []byte(`{"force":true}`),
			Header: headers(contract.HeaderCommandID, "delete-"+id),
		})
		if err != nil {
			return err
		}
		a, err := read(msg)
		switch {
		case err != nil || a.refusal == nil:
			return err
		case a.refusal.RetryAfter == 0:
			return fmt.Errorf("delete %s: %w: %s", id, errRefused, a.refusal.Message)
		}
		<-time.After(50 * time.Millisecond)
	}
}
