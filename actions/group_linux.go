package actions

import "syscall"

// groupAttributes put a command into a process group of its own. Should this
// process be killed, the command is too: nobody would renew its lease, and the
// step would run somewhere else at the same time.
func groupAttributes() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
}
