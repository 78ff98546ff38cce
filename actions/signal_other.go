//go:build !unix

package actions

import (
	"os"
	"syscall"
)

// groupAttributes: there are no process groups here.
func groupAttributes() *syscall.SysProcAttr { return nil }

// terminate and kill end the process itself; what it started goes on.
func terminate(p *os.Process) { _ = p.Kill() }

func kill(p *os.Process) { _ = p.Kill() }

func signalOf(*os.ProcessState) string { return "" }
