package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"reprise/client"
	"reprise/contract"
	"reprise/domain"
	"reprise/engine"
	"reprise/natsnode"
)

// updateVariable set to anything rewrites the transcripts: the diff is the review.
const updateVariable = "REPRISE_UPDATE"

// TestTranscripts replays testdata/*.txt, each against an engine of its own:
//
//	$ reprise ARGS     runs a command; what it says follows, on stderr after "! "
//	< TEXT             a line of its standard input
//	[exit N]           its exit code, unless 0
//	@ 3m               time passes
//	% claim|succeed|fail SESSION CHAIN STEP ACTION   a worker does something
func TestTranscripts(t *testing.T) {
	paths, err := filepath.Glob("testdata/*.txt")
	if err != nil || len(paths) == 0 {
		t.Fatalf("transcripts %v, error %v", paths, err)
	}
	for _, path := range paths {
		t.Run(strings.TrimSuffix(filepath.Base(path), ".txt"), func(t *testing.T) {
			script, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			got := newPlayer(t).play(string(script))
			if os.Getenv(updateVariable) != "" {
				if err := os.WriteFile(path, []byte(got), 0o600); err != nil {
					t.Fatal(err)
				}
			} else if got != string(script) {
				t.Errorf("%s differs; with %s=1 it is rewritten\n%s", path, updateVariable, firstDifference(string(script), got))
			}
		})
	}
}

// firstDifference shows the lines around the first one that differs.
func firstDifference(want, got string) string {
	w, g := strings.Split(want, "\n"), strings.Split(got, "\n")
	for i := range max(len(w), len(g)) {
		if i >= len(w) || i >= len(g) || w[i] != g[i] {
			return fmt.Sprintf("line %d\nwant\n%s\ngot\n%s", i+1, strings.Join(w[max(0, min(i, len(w))-3):min(len(w), i+4)], "\n"),
				strings.Join(g[max(0, min(i, len(g))-3):min(len(g), i+4)], "\n"))
		}
	}
	return ""
}

// clock is a time that stands still until a script moves it.
type clock struct {
	mu  sync.Mutex
	now time.Time
}

func (c *clock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

func (c *clock) advance(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = c.now.Add(d)
}

// player runs scripts against one engine.
type player struct {
	t     *testing.T
	clock *clock
	nc    *nats.Conn
	url   string
}

// startEngine runs an engine in memory with a listener for one test.
func startEngine(t *testing.T, now func() time.Time) *natsnode.Node {
	t.Helper()
	node, err := natsnode.StartEmbedded(natsnode.Options{Memory: true, Listen: "127.0.0.1:0"})
	if err != nil {
		t.Fatal(err)
	}
	h, err := startHost(t.Context(), node, engine.Config{Memory: true, MetadataKeys: []string{"project"}, Clock: now})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := h.stop(context.Background()); err != nil {
			t.Error(err)
		}
		if err := node.Close(context.Background()); err != nil {
			t.Error(err)
		}
	})
	return node
}

func newPlayer(t *testing.T) *player {
	t.Helper()
	c := &clock{now: time.Date(2026, 11, 21, 13, 30, 0, 0, time.UTC)}
	node := startEngine(t, c.Now)
	nc, err := node.Dial("script")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(nc.Close)
	return &player{t: t, clock: c, nc: nc, url: node.URL()}
}

// play runs a script and returns it with what really happened.
func (p *player) play(script string) string {
	var out strings.Builder
	lines := strings.Split(strings.TrimRight(script, "\n"), "\n")
	for i := 0; i < len(lines); i++ {
		line := lines[i]
		switch {
		case strings.HasPrefix(line, "$ reprise "):
			var input strings.Builder
			out.WriteString(line + "\n")
			for i+1 < len(lines) && strings.HasPrefix(lines[i+1], "< ") {
				i++
				out.WriteString(lines[i] + "\n")
				input.WriteString(lines[i][2:] + "\n")
			}
			out.WriteString(p.command(split(line)[2:], input.String()))
		case strings.HasPrefix(line, "@ "):
			d, err := domain.ParseDuration(line[2:])
			if err != nil {
				p.t.Fatal(err)
			}
			p.clock.advance(d.Std())
			out.WriteString(line + "\n")
		case strings.HasPrefix(line, "% "):
			p.work(strings.Fields(line)[1:])
			out.WriteString(line + "\n")
		case strings.HasPrefix(line, "#"):
			out.WriteString(line + "\n\n")
		}
	}
	return out.String()
}

// split cuts a line into words; single quotes keep one together.
func split(line string) []string {
	var words []string
	for _, m := range regexp.MustCompile(`(?:[^\s']|'[^']*')+`).FindAllString(line, -1) {
		words = append(words, strings.ReplaceAll(m, "'", ""))
	}
	return words
}

// What differs from run to run is shown by name.
var (
	uuids  = regexp.MustCompile(`[0-9a-f]{8}-[0-9a-f]{4}-[47][0-9a-f]{3}-[0-9a-f]{4}-[0-9a-f]{12}`)
	hashes = regexp.MustCompile(`(hash|prev)(": "|":"|: )[0-9a-f]{64}`)
	places = regexp.MustCompile(`(incarnation"?: "?)[0-9A-Za-z]+`)
)

// command runs one command line in this process.
func (p *player) command(args []string, input string) string {
	p.settle()
	var stdout, stderr bytes.Buffer
	a := p.app(&stdout, &stderr, input)
	code := a.run(p.t.Context(), args)
	out := &stdout
	for line := range strings.Lines(stderr.String()) {
		out.WriteString("! " + line)
	}
	if code != exitOK {
		fmt.Fprintf(out, "[exit %d]\n", code)
	}
	text := strings.ReplaceAll(out.String(), p.url, "<url>")
	text = hashes.ReplaceAllString(text, "$1$2<hash>")
	text = places.ReplaceAllString(text, "$1<incarnation>")
	return uuids.ReplaceAllString(text, "<id>") + "\n"
}

// settle waits until the lists have seen every commit, so that what a script
// shows does not depend on how fast they follow.
func (p *player) settle() {
	p.t.Helper()
	c, err := client.New(p.nc, client.Config{User: "ada"})
	if err != nil {
		p.t.Fatal(err)
	}
	js, err := jetstream.New(p.nc)
	if err != nil {
		p.t.Fatal(err)
	}
	events, err := js.Stream(p.t.Context(), contract.Default().EventsStream())
	if err != nil {
		p.t.Fatal(err)
	}
	now, err := c.Count(p.t.Context(), contract.Filter{})
	if err != nil {
		p.t.Fatal(err)
	}
	now.Position.Seq = events.CachedInfo().State.LastSeq
	if _, err := c.Count(p.t.Context(), contract.Filter{}, client.MinPosition(now.Position)); err != nil {
		p.t.Fatal(err)
	}
}

// app is one that talks to the script's engine as ada.
func (p *player) app(stdout, stderr *bytes.Buffer, input string) *app {
	a := newApp(strings.NewReader(input), stdout, stderr)
	a.now, a.zone = p.clock.Now, time.UTC
	a.getenv = environment("REPRISE_USER=ada", "REPRISE_OPERATOR=root", "NATS_URL="+p.url, "HOME=/home/ada")
	return a
}

func environment(pairs ...string) func(string) string {
	return func(name string) string {
		for _, pair := range pairs {
			if value, ok := strings.CutPrefix(pair, name+"="); ok {
				return value
			}
		}
		return ""
	}
}

// work does as a worker named amber.
func (p *player) work(words []string) {
	p.t.Helper()
	verb, session, chain, step, action := words[0], words[1], words[2], words[3], words[4]
	body := map[string]any{"chain": chain, "step": step, "attempt": p.attempt(session, chain, step)}
	switch domain.Verb(verb) {
	case domain.VerbClaim:
		delete(body, "attempt")
	case domain.VerbFail:
		body["error"] = map[string]any{"code": "exit_status", "message": "exit status 1", "stack": "main.go:7: undefined: x\nmain.go:9: too many errors"}
	default:
		body["output"] = map[string]any{"ok": true}
	}
	raw, err := domain.Marshal(body)
	if err != nil {
		p.t.Fatal(err)
	}
	msg, err := p.nc.Request(contract.Default().Worker("amber", action, "ada", session, domain.Verb(verb)), raw, servePatience)
	if err != nil {
		p.t.Fatalf("%v: %v", words, err)
	}
	if sentence := msg.Header.Get(contract.HeaderError); sentence != "" {
		p.t.Fatalf("%v: %s", words, sentence)
	}
}

// attempt is the number of a step's last attempt.
func (p *player) attempt(session, chain, step string) int {
	msg, err := p.nc.Request(contract.Default().Query("ada", contract.QueryGet), []byte(`{"session":"`+session+`"}`), servePatience)
	if err != nil {
		p.t.Fatal(err)
	}
	var reply contract.GetReply
	if err := json.Unmarshal(msg.Data, &reply); err != nil || reply.Session == nil {
		p.t.Fatalf("%s: %v", msg.Data, err)
	}
	return reply.Session.Step(chain, step).Attempt
}
