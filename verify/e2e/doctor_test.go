package e2e

import (
	"encoding/json"
	"errors"
	"fmt"
	"os/exec"
	"strings"
	"testing"

	"reprise/contract"
)

// diagnosis is what `reprise doctor --json` says.
type diagnosis struct {
	Worst    string
	Findings []struct{ Check, Level, Says, Do string }
	Engines  []contract.EngineReport
}

// finding returns what was found of something.
func (d diagnosis) finding(check string) string {
	for _, f := range d.Findings {
		if f.Check == check {
			return f.Level + ": " + f.Says + "; " + f.Do
		}
	}
	return ""
}

// examined asks the doctor, with credentials from a file if there is one, and
// checks that the exit code is that of what was found.
func examined(t *testing.T, creds string, args ...string) diagnosis {
	t.Helper()
	cmd := command(t, append([]string{"doctor", "--json", "--operator", "root"}, args...)...)
	if creds != "" {
		cmd.Env = append(cmd.Env, "NATS_CREDS="+creds)
	}
	out, err := cmd.Output()
	code := 0
	if exit, failed := errors.AsType[*exec.ExitError](err); failed {
		code = exit.ExitCode()
	} else if err != nil {
		t.Fatal(err)
	}
	var d diagnosis
	if err := json.Unmarshal(out, &d); err != nil {
		t.Fatalf("exit code %d, %v in\n%s", code, err, out)
	}
	if wanted := map[bool]int{true: 1, false: 0}[d.Worst == "bad"]; code != wanted {
		t.Errorf("the exit code is %d where the worst is %s: %+v", code, d.Worst, d.Findings)
	}
	return d
}

// awaitDoctor asks until that many engines answer as they should, and nothing is
// bad.
func awaitDoctor(t *testing.T, engines int, fine func(contract.EngineReport) bool, creds string, args ...string) {
	t.Helper()
	eventually(t, func() error {
		d := examined(t, creds, args...)
		if d.Worst == "bad" || len(d.Engines) != engines {
			return fmt.Errorf("the doctor heard %d engines and says %+v", len(d.Engines), d.Findings)
		}
		for _, e := range d.Engines {
			if !fine(e) {
				return fmt.Errorf("an engine reports %+v", e)
			}
		}
		return nil
	})
}

// TestDoctorWithCredentials asks a server with authentication as an operator, as
// somebody who may not know, as a stranger, and by way of the data directory.
func TestDoctorWithCredentials(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	cli(t, 0, "auth", "init", "--data", dir)
	creds := map[string]string{}
	for role, name := range map[string]string{"operator": "root", "user": "ada"} {
		creds[role], _, _ = strings.Cut(cli(t, 0, "auth", "add", role, name, "--data", dir), "\n")
	}
	p := embedded(t, dir)
	cli(t, 0, "session", "create", "s1", "--keep-open", "--data", dir)
	fine := func(e contract.EngineReport) bool {
		return e.Holder == e.Engine && e.Events.Messages == 1 && e.Lists.Sessions == 1 && e.Server.Disk != nil
	}
	awaitDoctor(t, 1, fine, creds["operator"], "--nats", p.url)
	awaitDoctor(t, 1, fine, "", "--data", dir)
	if d := examined(t, creds["user"], "--nats", p.url); len(d.Engines) > 0 || !strings.Contains(d.finding("credentials"), "reprise auth add operator") {
		t.Errorf("a user is told %+v", d)
	}
	if d := examined(t, "", "--nats", p.url); len(d.Engines) > 0 || !strings.HasPrefix(d.finding("server"), "bad: ") {
		t.Errorf("a stranger is told %+v", d)
	}
	p.stop(t)
	if d := examined(t, creds["operator"], "--nats", p.url); !strings.HasPrefix(d.finding("server"), "bad: ") {
		t.Errorf("of a server that is away it says %+v", d.Findings)
	}
}

// doctorOnCluster asks about engines whose streams have three replicas.
func doctorOnCluster(t *testing.T, urls string, engines int) {
	t.Helper()
	awaitDoctor(t, engines, func(e contract.EngineReport) bool {
		return e.Holder != "" && e.Events.Replicas == 3 && e.Events.Leader != "" && strings.HasPrefix(e.Server.Cluster, "test-")
	}, "", "--nats", urls)
}
