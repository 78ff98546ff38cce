package e2e

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

// binaryVariable names the binary under test for all tests.
const binaryVariable = "REPRISE_E2E_BINARY"

func TestMain(m *testing.M) { os.Exit(runAll(m)) }

// runAll builds the binary, runs the tests on it and removes it.
func runAll(m *testing.M) int {
	dir, err := os.MkdirTemp("", "reprise-e2e-")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer func() { _ = os.RemoveAll(dir) }()
	binary := filepath.Join(dir, "reprise")
	args := append([]string{"build", "-o", binary}, raceFlags()...)
	build := exec.Command("go", append(args, "./cmd/reprise")...)
	build.Dir = filepath.Join("..", "..")
	if out, err := build.CombinedOutput(); err != nil {
		fmt.Fprintf(os.Stderr, "go %v: %v\n%s", build.Args[1:], err, out)
		return 1
	}
	if err := os.Setenv(binaryVariable, binary); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return m.Run()
}
