package proc

import "time"

// Usage is what processes have used so far.
type Usage struct {
	// CPU is user and system time, of children that have ended too.
	CPU time.Duration
	// Memory is resident now, in bytes; pages that several processes share are
	// counted once in all.
	Memory int64
}

// Add returns the sum of both.
func (u Usage) Add(v Usage) Usage { return Usage{CPU: u.CPU + v.CPU, Memory: u.Memory + v.Memory} }
