//go:build !unix

package soak

import "os"

// freeze does nothing: no worker is stalled on this system.
func freeze(*os.Process) error { return nil }

// thaw does nothing.
func thaw(*os.Process) error { return nil }
