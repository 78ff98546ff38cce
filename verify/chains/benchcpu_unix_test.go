//go:build unix

package chains

import (
	"syscall"
	"testing"
	"time"
)

// cpuTime returns what this process has used of the processors, which says more
// than the clock on a machine that others use too.
func cpuTime(b *testing.B) time.Duration {
	b.Helper()
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
