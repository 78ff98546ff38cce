package soak

import (
	"fmt"
	"os"
	"testing"
)

// The environment of the test and of the workers that it starts.
const (
	// soakVariable holds how long to go on, such as 3m; without it nothing runs.
	soakVariable = "REPRISE_SOAK"
	// seedVariable holds the seed of an earlier run.
	seedVariable = "REPRISE_SOAK_SEED"
	// workerVariable makes this binary a worker of that name.
	workerVariable = "REPRISE_SOAK_WORKER"
	// serverVariable and logVariable tell a worker its server and its log.
	serverVariable, logVariable = "REPRISE_SOAK_SERVER", "REPRISE_SOAK_LOG"
)

func TestMain(m *testing.M) {
	if id := os.Getenv(workerVariable); id != "" {
		if err := labour(id, os.Getenv(serverVariable), os.Getenv(logVariable)); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	os.Exit(m.Run())
}
