package e2e

import (
	"encoding/json"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"reprise/contract"
	"reprise/domain"
	"reprise/eventstore"
	"reprise/verify/internal/chronicle"
)

// TestPlainClient drives one process with nothing but NATS.
func TestPlainClient(t *testing.T) {
	t.Parallel()
	p := serve(t, "--memory", "--listen", "127.0.0.1:0")
	for name, test := range map[string]func(*testing.T, *peer){
		"a life": aLife, "live": live, "watched view": watchedView, "micro service": microService,
		"stored shape": storedShape, "own writes": ownWrites, "dry run": dryRun, "repeat": repeated,
		"expected version": expectedVersion, "batch": batch, "past": past,
		"bad commands": badCommands, "bad plans": badPlans, "bad queries": badQueries, "foreign headers": foreignHeaders,
		"secrets": secrets, "user names": userNames,
		"queue": queueInOrder, "dead letters": deadLetters,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			test(t, dial(t, p.url, strings.ReplaceAll(name, " ", "-")))
		})
	}
}

// aLife goes from creation to deletion, with a worker's part.
func aLife(t *testing.T, p *peer) {
	made := p.do(t, "new", domain.VerbCreate, plan("compile", "test"))
	s := made.Session
	if made.State != domain.StatePending || made.Version != 1 || made.Position.Seq == 0 || made.User != p.user {
		t.Errorf("created %+v", made)
	}
	p.do(t, s, domain.VerbStart, nil)
	for _, step := range []string{"compile", "test"} {
		claimed, err := p.labour("amber", s, step, domain.VerbClaim, 0)
		if err != nil || claimed.reply.Claimed == nil {
			t.Fatalf("claim %s: %v %+v", step, err, claimed.refusal)
		}
		if got := claimed.reply.Claimed; got.IdempotencyKey != s+"/build/"+step+"/1" || got.Lease == 0 {
			t.Errorf("claimed %+v", got)
		}
		if a, err := p.labour("amber", s, step, domain.VerbSucceed, claimed.reply.Claimed.Attempt); err != nil || a.refusal != nil {
			t.Fatalf("succeed %s: %v %+v", step, err, a.refusal)
		}
	}
	if got := p.get(t, s); got.State != domain.StateCompleted {
		t.Errorf("it is %s", got.State)
	}
	p.refused(t, s, domain.VerbPause, nil, domain.CodeIllegalTransition)
	p.do(t, s, domain.VerbDelete, nil)
	p.refused(t, s, domain.VerbStart, nil, domain.CodeGone)
	p.refused(t, "never-was", domain.VerbStart, nil, domain.CodeNotFound)
}

// live reads the commits of a session as they happen.
func live(t *testing.T, p *peer) {
	sub, err := p.nc.SubscribeSync(p.names.Live(p.user, "s1"))
	if err != nil {
		t.Fatal(err)
	}
	if err := p.nc.FlushTimeout(patience); err != nil {
		t.Fatal(err)
	}
	p.do(t, "s1", domain.VerbCreate, plan("compile"))
	p.do(t, "s1", domain.VerbStart, nil)
	for _, cause := range []string{"create", "start"} {
		msg, err := sub.NextMsg(patience)
		if err != nil {
			t.Fatal(err)
		}
		var commit struct{ Cause, Session, User string }
		if err := json.Unmarshal(msg.Data, &commit); err != nil {
			t.Fatal(err)
		}
		if commit.Cause != cause || commit.Session != "s1" || commit.User != p.user {
			t.Errorf("got %s", msg.Data)
		}
	}
}

// watchedView watches the view of a session until it shows what happened.
func watchedView(t *testing.T, p *peer) {
	watcher, err := p.views(t).Watch(bounded(t), contract.ViewKey(p.user, "s1"))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = watcher.Stop() }()
	p.do(t, "s1", domain.VerbCreate, plan("compile"))
	p.do(t, "s1", domain.VerbStart, nil)
	last := awaitView(t, watcher, func(v chronicle.View) bool { return v.State == domain.StateRunning })
	if last.Schema == 0 || last.Seq == 0 || len(last.Hash) != 64 || last.Version != 2 || len(last.Chains) != 1 {
		t.Errorf("the view is %+v", last)
	}
	p.do(t, "s1", domain.VerbDelete, object{"force": true})
	awaitView(t, watcher, func(v chronicle.View) bool { return v.Session == nil })
}

// awaitView waits for a view that is as wanted; one that is gone has no session.
func awaitView(t *testing.T, watcher jetstream.KeyWatcher, wanted func(chronicle.View) bool) chronicle.View {
	t.Helper()
	ctx := bounded(t)
	for {
		select {
		case <-ctx.Done():
			t.Fatal("the view did not come in time")
		case entry := <-watcher.Updates():
			var v chronicle.View
			if entry == nil {
				continue
			}
			if entry.Operation() == jetstream.KeyValuePut {
				if err := json.Unmarshal(entry.Value(), &v); err != nil {
					t.Fatal(err)
				}
			}
			if wanted(v) {
				return v
			}
		}
	}
}

// microService asks the way `nats micro` does.
func microService(t *testing.T, p *peer) {
	p.refused(t, "none", domain.VerbStart, nil, domain.CodeNotFound)
	for _, what := range []string{"PING", "INFO", "STATS"} {
		msg, err := p.nc.Request("$SRV."+what+".reprise", nil, patience)
		if err != nil {
			t.Fatal(err)
		}
		var answer struct {
			Name, ID, Version, Type string
			Endpoints               []struct {
				Name, Subject string
				Metadata      map[string]string
			}
		}
		if err := json.Unmarshal(msg.Data, &answer); err != nil {
			t.Fatal(err)
		}
		if answer.Name != "reprise" || answer.ID == "" || answer.Version == "" {
			t.Errorf("%s answers %s", what, msg.Data)
		}
		if what != "INFO" {
			continue
		}
		for _, e := range answer.Endpoints {
			if e.Subject != "reprise.cmd.>" {
				continue
			}
			for _, verb := range domain.UserVerbs() {
				if !slices.Contains(strings.Fields(e.Metadata["serves"]), string(verb)) {
					t.Errorf("the endpoint %s does not say that it serves %s", e.Name, verb)
				}
			}
		}
	}
}

// storedShape reads one commit as an auditor would: every field by its name.
func storedShape(t *testing.T, p *peer) {
	const trace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
	p.do(t, "s1", domain.VerbCreate, plan("compile"), contract.HeaderCommandID, "make-1", contract.HeaderTraceParent, trace)
	p.do(t, "s1", domain.VerbStart, nil, contract.HeaderCommandID, "start-1")
	stream, err := p.stream(t).Stream(bounded(t), "REPRISE_EVENTS")
	if err != nil {
		t.Fatal(err)
	}
	msg, err := stream.GetLastMsgForSubject(bounded(t), "reprise.evt."+p.user+".s1")
	if err != nil {
		t.Fatal(err)
	}
	var body map[string]any
	if err := json.Unmarshal(msg.Data, &body); err != nil {
		t.Fatal(err)
	}
	want := object{
		"v": 1.0, "commit": "start-1", "session": "s1", "user": p.user, "version": 2.0, "actor": p.user,
		"cause": "start", "state": "RUNNING", "digest": domain.Digest(domain.VerbStart, nil),
		"events": []any{object{"type": "session.started", "data": object{}}},
	}
	for name, value := range want {
		if !reflect.DeepEqual(body[name], value) {
			t.Errorf("%s is %v, want %v", name, body[name], value)
		}
	}
	for name := range body {
		if _, known := want[name]; !known && name != "time" && name != "prev" {
			t.Errorf("the commit has an unknown field %q", name)
		}
	}
	if text, _ := body["time"].(string); !strings.HasSuffix(text, "Z") {
		t.Errorf("the time is %v, not RFC 3339 in UTC", body["time"])
	}
	first := firstCommit(t, p)
	if body["prev"] != eventstore.Hash(first.Data) || msg.Header.Get("Reprise-Types") != "session.started" || msg.Header.Get(contract.HeaderGuard) == "" {
		t.Errorf("headers %v, prev %v", msg.Header, body["prev"])
	}
	if got := first.Header.Get(contract.HeaderTraceParent); got != trace {
		t.Errorf("the trace context is %q", got)
	}
}

// firstCommit reads the first commit of session s1. Others delete sessions meanwhile,
// so that the stream can't be read as a whole.
func firstCommit(t *testing.T, p *peer) *jetstream.RawStreamMsg {
	t.Helper()
	var page contract.HistoryReply
	p.query(t, contract.QueryHistory, object{"session": "s1"}, &page)
	stream, err := p.stream(t).Stream(bounded(t), p.names.EventsStream())
	if err != nil {
		t.Fatal(err)
	}
	msg, err := stream.GetMsg(bounded(t), page.Commits[0].Seq)
	if err != nil {
		t.Fatal(err)
	}
	return msg
}

// ownWrites reads lists that hold what was just written.
func ownWrites(t *testing.T, p *peer) {
	for i := range 20 {
		reply := p.do(t, fmt.Sprintf("s%d", i), domain.VerbCreate, plan("compile"))
		var list contract.ListReply
		p.query(t, contract.QueryList, object{"limit": 100}, &list, contract.HeaderMinPosition, reply.Position.String())
		var count contract.CountReply
		p.query(t, contract.QueryCount, object{}, &count, contract.HeaderMinPosition, reply.Position.String())
		if len(list.Sessions) != i+1 || count.Total != i+1 {
			t.Fatalf("after %d there are %d in the list and %d counted", i+1, len(list.Sessions), count.Total)
		}
	}
}

// dryRun asks for events that are not appended.
func dryRun(t *testing.T, p *peer) {
	p.do(t, "s1", domain.VerbCreate, plan("compile"))
	reply := p.do(t, "s1", domain.VerbStart, nil, contract.HeaderDryRun, "true")
	if !reply.DryRun || len(reply.Events) != 1 || reply.Events[0].Type != domain.TypeSessionStarted || reply.Events[0].Data == nil {
		t.Errorf("the dry run says %+v", reply)
	}
	p.do(t, "s2", domain.VerbCreate, plan("compile"), contract.HeaderDryRun, "true")
	p.refused(t, "s2", domain.VerbStart, nil, domain.CodeNotFound)
	p.refused(t, "s1", domain.VerbPause, nil, domain.CodeIllegalTransition, contract.HeaderDryRun, "true")
	if s := p.get(t, "s1"); s.Version != 1 {
		t.Errorf("the dry run left version %d", s.Version)
	}
}

// repeated sends commands again.
func repeated(t *testing.T, p *peer) {
	for _, verb := range []domain.Verb{domain.VerbCreate, domain.VerbStart, domain.VerbCancel, domain.VerbDelete} {
		body := any(nil)
		if verb == domain.VerbCreate {
			body = plan("compile")
		}
		id := []string{contract.HeaderCommandID, "once-" + string(verb)}
		first := p.do(t, "s1", verb, body, id...)
		again := p.do(t, "s1", verb, body, id...)
		if !again.Duplicate {
			t.Errorf("%s: the repeat doesn't say so: %+v", verb, again)
		}
		first.Duplicate, again.Duplicate = false, false
		if !reflect.DeepEqual(first, again) {
			t.Errorf("%s: first\n%+v\nagain\n%+v", verb, first, again)
		}
	}
	p.do(t, "s2", domain.VerbCreate, plan("compile"), contract.HeaderCommandID, "x")
	p.refused(t, "s2", domain.VerbStart, nil, domain.CodeIDReused, contract.HeaderCommandID, "x")
	one := p.do(t, "new", domain.VerbCreate, plan("compile"), contract.HeaderCommandID, "make")
	two := p.do(t, "new", domain.VerbCreate, plan("compile"), contract.HeaderCommandID, "make")
	if one.Session != two.Session || !two.Duplicate {
		t.Errorf("made %s and %s", one.Session, two.Session)
	}
}

// expectedVersion guards commands with a version.
func expectedVersion(t *testing.T, p *peer) {
	p.do(t, "s1", domain.VerbCreate, plan("compile"))
	refusal := p.refused(t, "s1", domain.VerbStart, nil, domain.CodeVersionConflict, contract.HeaderExpectVersion, "7")
	if refusal.Version != 1 {
		t.Errorf("the refusal says version %d", refusal.Version)
	}
	p.do(t, "s1", domain.VerbStart, nil, contract.HeaderExpectVersion, "1")
	p.refused(t, "s1", domain.VerbPause, nil, domain.CodeInvalid, contract.HeaderExpectVersion, "soon")
}

// batch sends several commands at once.
func batch(t *testing.T, p *peer) {
	all := object{"commands": []object{{"verb": "create", "body": plan("compile")}, {"verb": "start"}}}
	if reply := p.do(t, "s1", domain.VerbBatch, all); reply.State != domain.StateRunning || len(reply.Results) != 2 {
		t.Errorf("the batch says %+v", reply)
	}
	bad := object{"commands": []object{{"verb": "pause"}, {"verb": "complete"}}}
	p.refused(t, "s1", domain.VerbBatch, bad, domain.CodeIllegalTransition)
	if s := p.get(t, "s1"); s.State != domain.StateRunning {
		t.Errorf("half of a batch was applied: %s", s.State)
	}
	each := object{"mode": "each", "commands": []object{{"verb": "complete"}, {"verb": "pause"}}}
	reply := p.do(t, "s1", domain.VerbBatch, each)
	if reply.State != domain.StatePaused || reply.Results[0].Code != domain.CodeIllegalTransition || reply.Results[1].Code != "" {
		t.Errorf("the batch says %+v", reply)
	}
}

// past reads history page by page, and the session as it was.
func past(t *testing.T, p *peer) {
	p.do(t, "s1", domain.VerbCreate, plan("compile"))
	p.do(t, "s1", domain.VerbStart, nil)
	for range 5 {
		p.do(t, "s1", domain.VerbPause, nil)
		p.do(t, "s1", domain.VerbResume, nil)
	}
	var causes []string
	for from := uint64(1); from != 0; {
		var page contract.HistoryReply
		p.query(t, contract.QueryHistory, object{"session": "s1", "limit": 5, "fromVersion": from}, &page)
		for _, c := range page.Commits {
			causes = append(causes, string(c.Cause))
			var was contract.GetReply
			p.query(t, contract.QueryAt, object{"session": "s1", "seq": c.Seq}, &was)
			if was.Session.State != c.State {
				t.Errorf("at %d it was %s, its history says %s", c.Seq, was.Session.State, c.State)
			}
		}
		from = page.Next
	}
	if want := "create start" + strings.Repeat(" pause resume", 5); strings.Join(causes, " ") != want {
		t.Errorf("the history has %v", causes)
	}
}

// foreignHeaders sends what could misuse the engine's own rights: it is dropped.
func foreignHeaders(t *testing.T, p *peer) {
	p.do(t, "s1", domain.VerbCreate, plan("compile"))
	for _, name := range []string{"Nats-Expected-Last-Sequence", "Nats-Msg-Id", "Nats-Rollup"} {
		msg := &nats.Msg{Subject: p.names.Command(p.user, "s1", domain.VerbStart), Header: headers(name, "1")}
		if _, err := p.nc.RequestMsg(msg, 150*time.Millisecond); err == nil {
			t.Errorf("a command with the header %s was answered", name)
		}
	}
	if s := p.get(t, "s1"); s.Version != 1 {
		t.Errorf("a command with a header of the server's was applied")
	}
}
