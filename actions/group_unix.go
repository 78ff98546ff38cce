//go:build unix && !linux

package actions

import "syscall"

// groupAttributes put a command into a process group of its own.
func groupAttributes() *syscall.SysProcAttr { return &syscall.SysProcAttr{Setpgid: true} }
