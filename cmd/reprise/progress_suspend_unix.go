//go:build unix

package main

import (
	"os"
	"os/signal"
	"sync"
	"syscall"
)

// onSuspend calls prepare before the shell stops this process with Ctrl-Z, so
// that it gets its terminal back as it was. The function it returns ends that.
func onSuspend(prepare func()) (end func()) {
	stops, done := make(chan os.Signal, 1), make(chan struct{})
	signal.Notify(stops, syscall.SIGTSTP)
	go func() {
		for {
			select {
			case <-stops:
				prepare()
				_ = syscall.Kill(syscall.Getpid(), syscall.SIGSTOP)
			case <-done:
				return
			}
		}
	}()
	return sync.OnceFunc(func() {
		signal.Stop(stops)
		close(done)
	})
}
