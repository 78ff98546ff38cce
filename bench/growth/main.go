// Growth measures how an engine's figures change as sessions, histories and
// clients grow, and draws them. It runs the real `reprise serve` on file storage
// with its default settings and commands it over TCP.
//
//	go run ./bench/growth -sessions 1000,10000 -clients 1,64 -history 1,100
//
// It writes the raw result as JSON and the plot as SVG, and changes nothing else.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"time"
)

// work says what is measured.
type work struct {
	sessions, clients, history []int
	lasts                      time.Duration
	reprise, out               string
	// tell gets a line for every point.
	tell io.Writer
}

func main() { os.Exit(exitCode()) }

func exitCode() int {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := run(ctx); err != nil {
		fmt.Fprintln(os.Stderr, "growth:", err)
		return 1
	}
	return 0
}

func run(ctx context.Context) error {
	w, err := flags()
	if err != nil {
		return err
	}
	r := &result{
		Time: time.Now().UTC().Truncate(time.Second), Cores: runtime.NumCPU(), Go: runtime.Version(),
		Load: firstLine("/proc/loadavg"), Settings: "reprise serve (file storage, default durability), client over TCP on the same machine",
	}
	if err := w.measure(ctx, r); err != nil {
		return err
	}
	raw, err := json.MarshalIndent(r, "", "  ")
	if err != nil {
		return err
	}
	return errors.Join(os.WriteFile(w.out+".json", append(raw, '\n'), 0o600), os.WriteFile(w.out+".svg", []byte(r.svg()), 0o600))
}

// flags reads the command line.
func flags() (*work, error) {
	w := &work{tell: os.Stdout}
	sessions := flag.String("sessions", "1000,10000,100000,1000000", "numbers of sessions")
	clients := flag.String("clients", "1,4,16,64,256,1024", "numbers of clients")
	history := flag.String("history", "1,10,100,1000,10000", "numbers of commits of a session")
	flag.DurationVar(&w.lasts, "for", 5*time.Second, "how long each point is measured")
	flag.StringVar(&w.reprise, "reprise", "bin/reprise", "the binary")
	flag.StringVar(&w.out, "out", filepath.Join("bench", "results", "growth-"+time.Now().UTC().Format(time.DateOnly)), "the files' name, without ending")
	flag.Parse()
	var errs [3]error
	w.sessions, errs[0] = numbers(*sessions)
	w.clients, errs[1] = numbers(*clients)
	w.history, errs[2] = numbers(*history)
	return w, errors.Join(errs[:]...)
}

func numbers(text string) ([]int, error) {
	if text == "" {
		return nil, nil
	}
	var all []int
	for part := range strings.SplitSeq(text, ",") {
		n, err := strconv.Atoi(part)
		if err != nil || n < 1 {
			return nil, fmt.Errorf("%q is no list of numbers", text)
		}
		all = append(all, n)
	}
	return all, nil
}

func firstLine(path string) string {
	data, err := os.ReadFile(path)
	if err != nil {
		return "unknown"
	}
	line, _, _ := strings.Cut(string(data), "\n")
	return line
}
