//go:build unix && !solaris && !illumos && !aix

package natsnode

import (
	"errors"
	"os"
	"syscall"
)

// lockFile takes a lock on the open file without waiting; the system gives it
// back when the file is closed or the process ends. errLocked: somebody has it.
func lockFile(file *os.File, exclusive bool) error {
	how := syscall.LOCK_SH
	if exclusive {
		how = syscall.LOCK_EX
	}
	for {
		err := syscall.Flock(int(file.Fd()), how|syscall.LOCK_NB)
		switch {
		case errors.Is(err, syscall.EINTR):
			continue
		case errors.Is(err, syscall.EWOULDBLOCK):
			return errLocked
		default:
			return err
		}
	}
}
