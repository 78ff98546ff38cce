package main

import (
	"context"
	"encoding/json"
	"os"
	"time"
)

// result is the raw file of one invocation.
type result struct {
	Date    string    `json:"date"`
	Started time.Time `json:"started"`
	Note    string    `json:"note,omitempty"`
	Commit  string    `json:"commit"`
	Machine machine   `json:"machine"`
	Work    work      `json:"work"`
	Setups  []*setup  `json:"setups"`
	Runs    []outcome `json:"runs"`
	Missing []missing `json:"missing,omitempty"`
}

// missing is a setup that could not be prepared.
type missing struct {
	Setup  string `json:"setup"`
	Reason string `json:"reason"`
}

// outcome is one run of one setup.
type outcome struct {
	Setup   string    `json:"setup"`
	Round   int       `json:"round"`
	Started time.Time `json:"started"`
	Error   string    `json:"error,omitempty"`
	// ColdStart is from the start of the first process to the first session
	// COMPLETED, in milliseconds.
	ColdStart float64 `json:"coldStartMillis"`
	// FirstMemory is held by server and worker after the first session,
	// PeakMemory the most after that, in bytes.
	FirstMemory int64   `json:"firstMemoryBytes"`
	PeakMemory  int64   `json:"peakMemoryBytes"`
	Phases      []phase `json:"phases"`
}

// phase is one measurement; latencies are in milliseconds.
type phase struct {
	Clients        int     `json:"clients"`
	Sessions       int     `json:"sessions"`
	Seconds        float64 `json:"seconds"`
	StepsPerSecond float64 `json:"stepsPerSecond"`
	P50            float64 `json:"p50Millis"`
	P90            float64 `json:"p90Millis"`
	P99            float64 `json:"p99Millis"`
	Max            float64 `json:"maxMillis"`
	// CPU is the processor time of each role, in seconds.
	CPU map[role]float64 `json:"cpuSeconds"`
}

// engineCPU is the processor time of a step in microseconds, without the client
// where that is a process of its own.
func (p phase) engineCPU(steps int) float64 {
	return (p.CPU[server] + p.CPU[worker]) * 1e6 / float64(p.Sessions*steps)
}

// allCPU is as engineCPU with the client.
func (p phase) allCPU(steps int) float64 {
	return p.engineCPU(steps) + p.CPU[client]*1e6/float64(p.Sessions*steps)
}

// result begins one.
func (h *harness) result(ctx context.Context) *result {
	now := time.Now().UTC().Truncate(time.Second)
	return &result{
		Date: now.Format(time.DateOnly), Started: now, Note: h.opts.note,
		Commit: commit(ctx, h.tools.root), Machine: thisMachine(), Work: h.opts.work,
	}
}

// save writes it as JSON.
func (r *result) save(path string) error {
	data, err := json.MarshalIndent(r, "", "  ")
	if err != nil {
		return err
	}
	return os.WriteFile(path, append(data, '\n'), 0o644) //nolint:gosec // results are no secret
}
