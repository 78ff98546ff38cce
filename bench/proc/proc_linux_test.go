package proc

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"
)

// helperVariable makes this test binary a child that does as it says.
const helperVariable = "REPRISE_PROC_HELPER"

func TestMain(m *testing.M) {
	switch os.Getenv(helperVariable) {
	case "":
		os.Exit(m.Run())
	case "parent":
		child := helper("burn")
		_ = child.Start()
		_ = child.Wait()
	case "burn":
		for begun := time.Now(); time.Since(begun) < time.Minute; {
			_ = strings.Repeat("x", 1<<10)
		}
	case "fail":
		_, _ = os.Stderr.WriteString("the disk is on fire")
		os.Exit(3)
	}
}

func helper(role string) *exec.Cmd {
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), helperVariable+"="+role)
	return cmd
}

func start(t *testing.T, role string) *Child {
	t.Helper()
	c, err := Start(helper(role))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { stop(c) })
	return c
}

// stop kills at once.
func stop(c *Child) {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	c.Stop(ctx)
}

// eventually polls until check holds.
func eventually(t *testing.T, what string, check func() bool) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for !check() {
		select {
		case <-ctx.Done():
			t.Fatalf("not in time: %s", what)
		case <-tick.C:
		}
	}
}

func TestTreeCountsWhatIsBelow(t *testing.T) {
	c := start(t, "parent")
	eventually(t, "the grandchild uses the processor", func() bool {
		u, err := Tree(c.PID())
		own, _ := one(c.PID())
		return err == nil && u.CPU >= own.CPU+50*time.Millisecond && u.Memory > own.Memory
	})
}

func TestStopLeavesNothingBelow(t *testing.T) {
	c := start(t, "parent")
	var below []process
	eventually(t, "a grandchild", func() bool {
		below = descendants(c.PID())
		return len(below) == 1
	})
	stop(c)
	eventually(t, "the grandchild's end", func() bool {
		data, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", below[0].pid))
		return err != nil || strings.Contains(string(data), ") Z ")
	})
	if _, err := Tree(c.PID()); err == nil {
		t.Error("the child is still there")
	}
}

func TestAFailureHasTheLastWords(t *testing.T) {
	err := start(t, "fail").Failure()
	for _, want := range []string{"exit status 3", "the disk is on fire"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("the failure is %q; want %q in it", err, want)
		}
	}
}

func TestAMissingProgramIsAnError(t *testing.T) {
	if _, err := Start(exec.Command("/nonexistent/program")); err == nil || !strings.Contains(err.Error(), "cannot start program") {
		t.Errorf("got %v", err)
	}
}

func TestParseStat(t *testing.T) {
	line := "42 (a ) b) S 7 42 42 0 -1 4194560 1 2 3 4 10 20 30 40 20 0 1 0 1 1 1"
	st, err := parseStat([]byte(line))
	if err != nil || st.parent != 7 || st.cpu != time.Second {
		t.Errorf("got %+v, %v", st, err)
	}
	for _, bad := range []string{"", "42 (a) S", "42 (a) S x 1 1 1 1 1 1 1 1 1 1 1 1 1 1", strings.Replace(line, " 20 30", " x 30", 1)} {
		if _, err := parseStat([]byte(bad)); err == nil {
			t.Errorf("%q was taken for a stat line", bad)
		}
	}
}

func TestTheTailIsBounded(t *testing.T) {
	var said tail
	for range 100 {
		_, _ = said.Write([]byte(strings.Repeat("a", 1000)))
	}
	_, _ = said.Write([]byte("end"))
	if got := said.String(); len(got) != maxKept || !strings.HasSuffix(got, "aend") {
		t.Errorf("kept %d bytes", len(got))
	}
}
