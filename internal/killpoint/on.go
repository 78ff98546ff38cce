//go:build killpoints && unix

package killpoint

import (
	"os"
	"strconv"
	"sync/atomic"
	"syscall"
)

var (
	place      = os.Getenv(EnvPoint)
	passing, _ = strconv.ParseInt(os.Getenv(EnvTurn), 10, 64)
	passed     atomic.Int64
)

// Pass ends the process if this is the place and the time. It is safe for
// concurrent use.
func Pass(point string) {
	if point != place || passed.Add(1) != max(passing, 1) {
		return
	}
	_ = syscall.Kill(os.Getpid(), syscall.SIGKILL)
	select {} // nothing comes after it, whatever the other threads do
}
