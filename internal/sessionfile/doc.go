// Package sessionfile reads session definitions, chains and steps from YAML or
// JSON. The fields are those of domain.Definition; a session file may have an
// id beside them.
//
// Every problem is named with file, line and field, and all of them at once:
//
//	release.yaml:12:5: chains[1].waitFor: unknown field; did you mean waitsFor?
//
// The rules of the model itself (cycles, unknown waits, ids that are taken
// twice, bounds) are the domain's; they are asked here, so that the line is
// known, before anything is sent.
package sessionfile
