//go:build !unix

package main

import (
	"errors"
	"os/exec"
)

func canRunPostgres() error { return errors.New("PostgreSQL is run as a child here on Unix only") }

func (*stage) asPostgres(*exec.Cmd) error { return canRunPostgres() }
