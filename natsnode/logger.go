package natsnode

import (
	"fmt"
	"log/slog"
	"sync/atomic"
)

// serverLog is the embedded server's logger. The server reports a failed start
// through Fatalf alone, so the first of them is kept.
type serverLog struct {
	log   *slog.Logger
	fatal atomic.Pointer[string]
}

// Noticef takes the server's everyday messages.
func (l *serverLog) Noticef(format string, v ...any) { l.log.Debug(fmt.Sprintf(format, v...)) }

// Warnf takes warnings.
func (l *serverLog) Warnf(format string, v ...any) { l.log.Warn(fmt.Sprintf(format, v...)) }

// Errorf takes errors.
func (l *serverLog) Errorf(format string, v ...any) { l.log.Error(fmt.Sprintf(format, v...)) }

// Debugf and Tracef are off.
func (l *serverLog) Debugf(string, ...any) {}

// Tracef is off.
func (l *serverLog) Tracef(string, ...any) {}

// Fatalf takes what ends the start of the server.
func (l *serverLog) Fatalf(format string, v ...any) {
	text := fmt.Sprintf(format, v...)
	l.fatal.CompareAndSwap(nil, &text)
	l.log.Error(text)
}

// failure returns the first fatal message, or "".
func (l *serverLog) failure() string {
	if text := l.fatal.Load(); text != nil {
		return *text
	}
	return ""
}
