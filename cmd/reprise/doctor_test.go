package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"reprise/client"
	"reprise/contract"
	"reprise/domain"
	"reprise/natsnode"
)

// healthy is the report of an engine with which all is well.
func healthy() contract.EngineReport {
	return contract.EngineReport{
		Engine: "one", Version: "1.2.3", Holder: "one",
		Server:       contract.ServerReport{Name: "n1", Version: "2.15.2", Disk: &contract.Disk{Interval: domain.Duration(100 * time.Millisecond)}},
		Events:       contract.EventsReport{Stream: "REPRISE_EVENTS", Replicas: 1},
		Lists:        contract.ListsReport{Ready: true},
		ServingKnown: true,
	}
}

func TestDoctorFindsNothingWhereAllIsWell(t *testing.T) {
	findings := judge([]contract.EngineReport{healthy()})
	if w := worst(findings); w != levelOK || len(findings) < 12 {
		t.Errorf("%d findings, at worst %s: %+v", len(findings), w, findings)
	}
}

func TestDoctorSaysWhatIsWrongAndWhatToDo(t *testing.T) {
	for name, c := range map[string]struct {
		change func(*contract.EngineReport)
		level  level
		check  string
		says   string
	}{
		"no holder":          {func(r *contract.EngineReport) { r.Holder = "" }, levelBad, "holder", "stand still"},
		"a silent holder":    {func(r *contract.EngineReport) { r.Holder = "two" }, levelWarn, "holder", "did not answer"},
		"a wrong clock":      {func(r *contract.EngineReport) { r.Skew = -time.Hour }, levelBad, "clock", "1h0m0s off"},
		"a drifting clock":   {func(r *contract.EngineReport) { r.Skew = 400 * time.Millisecond }, levelWarn, "clock", "400ms off"},
		"a full disk":        {func(r *contract.EngineReport) { r.Trouble = "the disk is full" }, levelBad, "storage", "the disk is full"},
		"a reached limit":    {func(r *contract.EngineReport) { r.JetStream.Store, r.JetStream.MaxStore = 99, 100 }, levelBad, "jetstream", "99 B on disk of 100 B"},
		"a limit near":       {func(r *contract.EngineReport) { r.JetStream.Streams, r.JetStream.MaxStreams = 9, 11 }, levelWarn, "jetstream", "used to 81%"},
		"a replica lost":     {func(r *contract.EngineReport) { r.Events.Behind = []string{"n3"} }, levelWarn, "events", "offline or behind: n3"},
		"memory":             {func(r *contract.EngineReport) { r.Events.Memory = true }, levelWarn, "durability", "nothing outlives the server"},
		"async persistence":  {func(r *contract.EngineReport) { r.Events.Async = true }, levelBad, "durability", "asynchronous"},
		"an external server": {func(r *contract.EngineReport) { r.Server.Disk = nil }, levelUnknown, "durability", "the external server decides"},
		"replicas":           {func(r *contract.EngineReport) { r.Events.Replicas = 3 }, levelUnknown, "durability", "majority of 3 replicas"},
		"sync always on replicas is not always": {func(r *contract.EngineReport) {
			r.Events.Replicas, r.Server.Disk = 3, &contract.Disk{Always: true}
		}, levelUnknown, "durability", "a client can't see it"},
		"sync always":       {func(r *contract.EngineReport) { r.Server.Disk = &contract.Disk{Always: true} }, levelOK, "durability", "always: "},
		"sync interval":     {func(*contract.EngineReport) {}, levelOK, "durability", "interval 100ms: "},
		"many subjects":     {func(r *contract.EngineReport) { r.Events.Subjects = slowIndex + 1 }, levelWarn, "size", "restarts slowly"},
		"many deletes":      {func(r *contract.EngineReport) { r.Events.Deleted = slowIndex + 1 }, levelWarn, "size", "1000001 interior deletes"},
		"as many as may be": {func(r *contract.EngineReport) { r.Events.Deleted = slowIndex }, levelOK, "size", "1000000 interior deletes"},
		"warming":           {func(r *contract.EngineReport) { r.Lists.Ready = false }, levelWarn, "lists", "still building"},
		"a small cache": {func(r *contract.EngineReport) {
			r.Cache = contract.CacheReport{Hits: 5000, Misses: 15000, Sessions: 9, Bytes: 95, MaxBytes: 100}
		}, levelWarn, "cache", "25% of 20000 loads"},
		"a cold cache": {func(r *contract.EngineReport) {
			r.Cache = contract.CacheReport{Hits: 10, Misses: 90, Sessions: 9, Bytes: 9, MaxBytes: 100}
		}, levelOK, "cache", "10% of 100 loads"},
		"views behind": {func(r *contract.EngineReport) { r.Lists.ViewsBehind = farBehind + 1 }, levelWarn, "lists", "views are 10001 commits behind"},
		"no worker": {func(r *contract.EngineReport) {
			r.Actions = []contract.ActionReport{{Action: "deploy", Ready: 3}, {Action: "exec", Ready: 1, Served: true}}
		}, levelWarn, "workers", "no worker serves deploy, and 3 steps wait for one"},
		"unknown workers": {func(r *contract.EngineReport) { r.ServingKnown = false }, levelUnknown, "workers", "does not say"},
		"a long queue":    {func(r *contract.EngineReport) { r.Queued = longQueue + 1 }, levelWarn, "queue", "10001 queued commands"},
		"dead letters":    {func(r *contract.EngineReport) { r.DeadLetters = 1 }, levelWarn, "dead letters", "1 dead letter:"},
		"read-only": {func(r *contract.EngineReport) {
			r.ReadOnly = &contract.ReadOnlyReport{By: "olga", Reason: "migration"}
		}, levelWarn, "read-only", "by olga: migration"},
	} {
		r := healthy()
		c.change(&r)
		findings := judge([]contract.EngineReport{r})
		found := false
		for _, f := range findings {
			found = found || f.Check == c.check && f.Level == c.level && strings.Contains(f.Says, c.says)
			if f.Level == levelBad && f.Do == "" {
				t.Errorf("%s: nothing to do about %+v", name, f)
			}
		}
		if !found || worst(findings) != c.level {
			t.Errorf("%s: want %s %s with %q, got at worst %s of %+v", name, c.level, c.check, c.says, worst(findings), findings)
		}
	}
}

func TestDoctorLooksAtEveryEngine(t *testing.T) {
	one, two := healthy(), healthy()
	two.Engine, two.Version, two.Skew = "two", "1.3.0", 2*time.Second
	two.Lists.Ready = false
	text := fmt.Sprint(judge([]contract.EngineReport{two, one}))
	for _, want := range []string{"2 engines of version 1.3.0, 1.2.3: two, one", "engine two is 2s off", "engine two is still building", "engine one lists"} {
		if !strings.Contains(text, want) {
			t.Errorf("%q is not said in %s", want, text)
		}
	}
}

func TestDoctorNamesSomeActionsOfMany(t *testing.T) {
	r := healthy()
	for i := range maxShownActions + 5 {
		r.Actions = append(r.Actions, contract.ActionReport{Action: fmt.Sprint("a", i), Ready: 1})
	}
	r.MoreActions = 2
	findings := workersFindings(r)
	if last := findings[len(findings)-1]; len(findings) != maxShownActions+1 || !strings.Contains(last.Says, "7 more actions") {
		t.Errorf("%d findings, the last %+v", len(findings), last)
	}
}

func TestDoctorExplainsWhyNobodyAnswers(t *testing.T) {
	for want, err := range map[string]error{
		"start the server":           natsnode.ErrUnreachable,
		"an engine has to run":       fmt.Errorf("%w here", client.ErrNoEngine),
		"credentials of an operator": &client.Error{Code: domain.CodeNotAllowed, Message: "denied"},
		"look at the log":            errors.New("odd"),
	} {
		if f := unanswered(err); len(f) != 1 || f[0].Level != levelBad || !strings.Contains(f[0].Do, want) {
			t.Errorf("%v: %+v", err, f)
		}
	}
	if f := unanswered(nil); len(f) != 0 {
		t.Errorf("%+v", f)
	}
}

// diagnose runs the doctor and reads what it says as JSON.
func diagnose(t *testing.T, env []string, args ...string) (diagnosis, int) {
	t.Helper()
	var out, complaints bytes.Buffer
	a := newApp(strings.NewReader(""), &out, &complaints)
	a.getenv = environment(env...)
	code := a.run(t.Context(), append([]string{"doctor", "--json"}, args...))
	var d diagnosis
	if err := json.Unmarshal(out.Bytes(), &d); err != nil {
		t.Fatalf("%v: %s %s", err, out.String(), complaints.String())
	}
	return d, code
}

// comesTo asks the doctor until it is content: beside a busy machine a clock looks
// as if it were off, and a holder comes late.
func comesTo(t *testing.T, what string, ok func() (diagnosis, bool)) {
	t.Helper()
	var last diagnosis
	defer func() {
		if t.Failed() {
			t.Logf("the last diagnosis: %+v", last)
		}
	}()
	eventually(t, what, func() bool {
		var content bool
		last, content = ok()
		return content
	})
}

func TestDoctorWorksOnADataDirectoryAndOnAServer(t *testing.T) {
	home := []string{"HOME=" + t.TempDir(), "REPRISE_OPERATOR=olga"}
	data := t.TempDir()
	comesTo(t, "all is well on a directory", func() (diagnosis, bool) {
		d, code := diagnose(t, home, "--data", data)
		return d, code == exitOK && d.Worst == levelOK && len(d.Engines) == 1 && d.Engines[0].Holder == d.Engines[0].Engine && d.Engines[0].Server.Disk != nil
	})
	node := startEngine(t, time.Now)
	comesTo(t, "a warning on a server in memory", func() (diagnosis, bool) {
		d, code := diagnose(t, home, "--nats", node.URL())
		return d, code == exitOK && d.Worst == levelWarn && d.Engines[0].Events.Memory
	})
	d, code := diagnose(t, home, "--nats", node.URL(), "--prefix", "nobody")
	if code != exitFailed || d.Worst != levelBad || len(d.Engines) != 0 {
		t.Errorf("where no engine runs: exit %d, %+v", code, d)
	}
}
