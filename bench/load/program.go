package load

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"syscall"
)

// Role is what one process of a peer does until ctx ends; args are what follows
// its name on the command line.
type Role func(ctx context.Context, args []string) error

// Main runs the role that the first argument names, until it returns or an
// interrupt or SIGTERM comes, and returns the program's exit code.
func Main(roles map[string]Role) int {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if len(os.Args) < 2 || roles[os.Args[1]] == nil {
		fmt.Fprintf(os.Stderr, "%s: name what to be; the harness does (make bench-peers)\n", os.Args[0])
		return 2
	}
	err := roles[os.Args[1]](ctx, os.Args[2:])
	if err != nil && ctx.Err() == nil {
		fmt.Fprintf(os.Stderr, "%s %s: %v\n", os.Args[0], os.Args[1], err)
		return 1
	}
	return 0
}

// Flags returns an empty set of flags for a role.
func Flags(role string) *flag.FlagSet { return flag.NewFlagSet(role, flag.ContinueOnError) }
