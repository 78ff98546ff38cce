package e2e

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"
)

// binaryVariable names the binary under test for all tests.
const binaryVariable = "REPRISE_E2E_BINARY"

func TestMain(m *testing.M) {
	if text := os.Getenv(berthVariable); text != "" {
		os.Exit(runServer(text))
	}
	os.Exit(runAll(m))
}

// runAll builds the binary, runs the tests on it and removes it.
func runAll(m *testing.M) int {
	dir, err := os.MkdirTemp("", "reprise-e2e-")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer func() { _ = os.RemoveAll(dir) }()
	binary := filepath.Join(dir, "reprise")
	if err := build(binary, raceFlags()...); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	if err := os.Setenv(binaryVariable, binary); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return m.Run()
}

// build builds the command.
func build(binary string, flags ...string) error {
	args := append([]string{"build", "-o", binary}, flags...)
	cmd := exec.Command("go", append(args, "./cmd/reprise")...)
	cmd.Dir = filepath.Join("..", "..")
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("go %v: %w\n%s", cmd.Args[1:], err, out)
	}
	return nil
}

// suicidal builds the command that kills itself where its environment says; see
// package killpoint. It is built when first asked for.
var suicidal = sync.OnceValues(func() (string, error) {
	binary := os.Getenv(binaryVariable) + "-killpoints"
	return binary, build(binary, "-tags", "killpoints")
})
