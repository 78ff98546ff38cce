// Command peers measures Reprise beside other engines for durable work: the same
// sessions of one chain of empty steps, on the same machine, one engine after
// another. bench/README.md says what is measured and how fair it is.
//
//	main.go      flags, the order of the runs, the files of results
//	setup.go     what a setup is, and which are asked for
//	reprise.go, restate.go, temporal.go, dbos.go
//	             the setups of each peer: what they need, and how they start
//	tools.go     builds and npm packages, in the user's cache
//	stage.go     the processes of one run, in a directory of their own
//	user_unix.go who PostgreSQL runs as
//	measure.go   cold start, warm-up and the phases
//	loader.go    the harness's end of package load
//	sample.go    processor time and memory while it runs
//	result.go    what is written as JSON
//	table.go     what is written as markdown
//	behind.go    where a peer is ahead
//	machine.go   the machine it ran on
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, os.Args[1:], os.Stdout); err != nil {
		fmt.Fprintf(os.Stderr, "peers: %v\n", err)
		stop()
		os.Exit(1) //nolint:gocritic // stop was called
	}
}

// options are the flags.
type options struct {
	root, out, cache, note string
	peers                  string
	rounds                 int
	work                   work
}

// work is the same for every setup.
type work struct {
	// Steps is how many steps the chain of a session has.
	Steps int `json:"steps"`
	// Clients are the numbers of sessions in flight of each phase.
	Clients []int `json:"clients"`
	// Warm and Measure are the times of a phase before and while it counts, in
	// milliseconds.
	Warm    int `json:"warmMillis"`
	Measure int `json:"measureMillis"`
	// Rounds makes a phase longer for a slow peer; see load.Phase.
	Rounds int `json:"rounds"`
	// Sessions ends a phase earlier; 0 for never.
	Sessions int `json:"sessions"`
}

func parse(args []string, out io.Writer) (options, error) {
	o := options{work: work{Steps: 5, Clients: []int{1, 64}, Rounds: 4}}
	f := flag.NewFlagSet("peers", flag.ContinueOnError)
	f.SetOutput(out)
	f.StringVar(&o.root, "root", ".", "`DIR`ectory of the repository")
	f.StringVar(&o.out, "out", "", "`DIR`ectory for the results (default: bench/results)")
	f.StringVar(&o.cache, "cache", "", "`DIR`ectory for what is built and downloaded (default: reprise-bench in the user's cache)")
	f.StringVar(&o.note, "note", "", "`TEXT` to put above the results")
	f.StringVar(&o.peers, "peers", "", "`NAMES` of peers or setups, separated by commas (default: all)")
	f.IntVar(&o.rounds, "rounds", 1, "`N` times through all setups; the table shows medians")
	warm := f.Duration("warm", 5*time.Second, "`TIME` before anything counts")
	measure := f.Duration("measure", 10*time.Second, "`TIME` that counts")
	f.IntVar(&o.work.Sessions, "sessions", 0, "end a phase after `N` sessions; 0 for its time alone")
	if err := f.Parse(args); err != nil {
		return o, err
	}
	o.work.Warm, o.work.Measure = int(warm.Milliseconds()), int(measure.Milliseconds())
	if f.NArg() > 0 || o.rounds < 1 || o.work.Warm < 0 || o.work.Measure < 1 || o.work.Sessions < 0 {
		return o, errors.New("use -rounds 1 or more, a -measure above 0, and no arguments behind the flags; -help lists them")
	}
	if o.out == "" {
		o.out = filepath.Join(o.root, "bench", "results")
	}
	return o, nil
}

// run measures everything that was asked for, and writes the results. What is
// missing for one peer is said, and the others are measured all the same.
func run(ctx context.Context, args []string, out io.Writer) error {
	o, err := parse(args, out)
	if errors.Is(err, flag.ErrHelp) {
		return nil
	}
	if err != nil {
		return err
	}
	all, err := choose(setups(), o.peers)
	if err != nil {
		return err
	}
	h, err := newHarness(o, out)
	if err != nil {
		return err
	}
	res := h.result(ctx)
	ready := h.prepare(ctx, all, res)
	for round := range o.rounds {
		for _, s := range ready {
			if ctx.Err() != nil {
				return ctx.Err()
			}
			res.Runs = append(res.Runs, h.measure(ctx, s, round+1))
		}
	}
	return h.write(res)
}

// write writes both files, and the table to the terminal.
func (h *harness) write(res *result) error {
	if len(res.Runs) == 0 {
		return errors.New("nothing could be measured")
	}
	base := filepath.Join(h.opts.out, "peers-"+res.Date)
	if h.opts.peers != "" {
		base += "-" + strings.NewReplacer(",", "-", " ", "-").Replace(h.opts.peers)
	}
	table := res.table()
	if err := os.MkdirAll(h.opts.out, 0o755); err != nil { //nolint:gosec // results are no secret
		return err
	}
	if err := res.save(base + ".json"); err != nil {
		return err
	}
	if err := os.WriteFile(base+".md", []byte(table), 0o644); err != nil { //nolint:gosec // as above
		return err
	}
	_, err := fmt.Fprintf(h.out, "\n%s\nwritten: %s.json and .md\n", table, base)
	return err
}
