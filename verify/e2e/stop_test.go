package e2e

import (
	"context"
	"errors"
	"fmt"
	"os/exec"
	"strings"
	"testing"

	"reprise/domain"
)

// enough is the number of acknowledged commands after which a test interferes.
const enough = 400

// fewClients is how many work at the same time where their number matters little.
const fewClients = 8

// TestKilledUnderLoad kills the process in the middle of a load and starts it
// again on the same data, in each durability mode: in the mode always commits
// are written in groups.
func TestKilledUnderLoad(t *testing.T) {
	t.Parallel()
	for mode, clients := range map[string]int{"100ms": fewClients, "always": 64} {
		t.Run(mode, func(t *testing.T) {
			t.Parallel()
			killedUnderLoad(t, mode, clients)
		})
	}
}

func killedUnderLoad(t *testing.T, mode string, clients int) {
	t.Helper()
	dir := t.TempDir()
	first := serve(t, "--data", dir, "--listen", "127.0.0.1:0", "--sync", mode)
	k := newAcknowledged()
	underLoad(t, first, k, clients, func() { first.kill(t) })
	second := embedded(t, dir)
	p := dial(t, second.url, "ada")
	c := readEvents(t, p)
	checkKept(t, c, k)
	awaitViews(t, p, c)
	if k.count() < enough {
		t.Errorf("only %d commands were acknowledged before the kill", k.count())
	}
	p.do(t, "after", domain.VerbCreate, plan("compile"))
	p.do(t, "after", domain.VerbStart, nil)
	second.stop(t)
}

// TestDrainedUnderLoad stops the process in the middle of a load: what was
// accepted is answered, and nothing acknowledged is lost.
func TestDrainedUnderLoad(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	first := embedded(t, dir)
	k := newAcknowledged()
	underLoad(t, first, k, fewClients, func() { first.stop(t) })
	second := embedded(t, dir)
	p := dial(t, second.url, "ada")
	c := readEvents(t, p)
	checkKept(t, c, k)
	checkAnswered(t, c, k)
	awaitViews(t, p, c)
	for code := range k.refused {
		switch code {
		case domain.CodeUnavailable, domain.CodeNotFound, domain.CodeIllegalTransition, domain.CodeBusy:
		default:
			t.Errorf("%d commands were refused as %s", k.refused[code], code)
		}
	}
	second.stop(t)
}

// underLoad lets clients work until enough commands are acknowledged, and then
// interferes and waits for the clients to give up.
func underLoad(t *testing.T, p *process, k *acknowledged, clients int, interfere func()) {
	t.Helper()
	client := dial(t, p.url, "")
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() {
		defer close(done)
		load(ctx, client, "load", clients, 10_000, k)
	}()
	eventually(t, func() error {
		if n := k.count(); n < enough {
			return fmt.Errorf("only %d commands were acknowledged", n)
		}
		return nil
	})
	interfere()
	cancel()
	<-done
}

// TestSecondProcessIsRefused starts a process on data that another one has.
func TestSecondProcessIsRefused(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	first := embedded(t, dir)
	second := command(t, "serve", "--data", dir, "--listen", "127.0.0.1:0")
	out, err := second.CombinedOutput()
	if _, failed := errors.AsType[*exec.ExitError](err); !failed {
		t.Fatalf("the second process ended with %v: %s", err, out)
	}
	for _, part := range []string{dir, "in use by process", "use another directory"} {
		if !strings.Contains(string(out), part) {
			t.Errorf("it says %q, without %q", out, part)
		}
	}
	dial(t, first.url, "ada").do(t, "s1", domain.VerbCreate, plan("compile"))
}
