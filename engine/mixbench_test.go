package engine

import (
	"context"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"os"
	"strconv"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
)

// mixSessions is how many sessions the mix is spread over; REPRISE_SESSIONS says
// otherwise.
const mixSessions = 100_000

// mixScript is what happens to a session of the mix: a service that makes it,
// starts it, completes its steps by command, pauses and resumes it.
var mixScript = []struct{ verb, body string }{
	{"create", `{"chains":[{"id":"c","steps":[{"id":"a","manual":true,"input":{"order":"A-1007"}},{"id":"b","manual":true}]}],"metadata":{"customer":"c-4711"}}`},
	{"start", ``},
	{"metadata.set", `{"set":{"stage":"packing"}}`},
	{"step.succeed", `{"chain":"c","step":"a","output":{"weight":1250}}`},
	{"pause", ``},
	{"resume", ``},
	{"metadata.set", `{"set":{"stage":"shipping"}}`},
	{"step.succeed", `{"chain":"c","step":"b"}`},
}

// BenchmarkMix measures a whole engine on file storage, with its views, lists,
// tasks and timers, while clients command many sessions at random: each command
// is for another session, so that next to nothing folds.
func BenchmarkMix(b *testing.B) { benchMix(b, false) }

// BenchmarkScripts is BenchmarkMix with clients that stay with a session until its
// script is over, as services do that drive a session; the next one is any of many.
func BenchmarkScripts(b *testing.B) { benchMix(b, true) }

func benchMix(b *testing.B, inTurn bool) {
	b.Helper()
	sessions := mixSessions
	if text := os.Getenv("REPRISE_SESSIONS"); text != "" {
		sessions, _ = strconv.Atoi(text)
	}
	for _, clients := range benchClients {
		b.Run(fmt.Sprintf("%d sessions/clients=%d", sessions, clients), func(b *testing.B) {
			ns := startServer(b, func(o *server.Options) {
				o.JetStream, o.StoreDir, o.SyncInterval = true, b.TempDir(), 100*time.Millisecond
			})
			e := mixEngine(b, ns)
			m := newMix(sessions, clients)
			m.inTurn = inTurn
			sendAll(b, ns, clients, sessions, m.create)
			e.settle(b)
			runClients(b, ns, clients, m.next)
			lag := e.lag()
			took := e.settle(b)
			b.ReportMetric(float64(lag), "lag-commits")
			b.ReportMetric(took.Seconds(), "lag-s")
		})
	}
}

// mix is what each client does: it takes one of its sessions at random and does
// the next thing of the script with it.
type mix struct {
	each   int
	states [][]int // by client and session: the next line of the script
	rounds [][]int
	random []*rand.Rand
	// inTurn has each client finish the script of a session, at, before it takes
	// another.
	inTurn bool
	at     []int
}

func newMix(sessions, clients int) *mix {
	m := &mix{each: max(1, sessions/clients), states: make([][]int, clients), rounds: make([][]int, clients), at: make([]int, clients)}
	for i := range clients {
		m.states[i], m.rounds[i] = make([]int, m.each), make([]int, m.each)
		m.random = append(m.random, rand.New(rand.NewPCG(uint64(i), 7)))
	}
	return m
}

func (m *mix) subject(client, session, line int) (string, string) {
	step := mixScript[line]
	return fmt.Sprintf("reprise.cmd.u%d.s%d-%d-%d.%s", client%64, client, session, m.rounds[client][session], step.verb), step.body
}

func (m *mix) create(client, n int) (string, string) {
	session := n % m.each
	if m.states[client][session] > 0 {
		return m.next(client, n)
	}
	m.states[client][session] = 1
	return m.subject(client, session, 0)
}

func (m *mix) next(client, _ int) (string, string) {
	session := m.at[client]
	if !m.inTurn || m.states[client][session] == len(mixScript) {
		session = m.random[client].IntN(m.each)
		m.at[client] = session
	}
	line := m.states[client][session]
	if line == len(mixScript) {
		line = 0
		m.rounds[client][session]++
	}
	m.states[client][session] = line + 1
	return m.subject(client, session, line)
}

type mixed struct{ *Engine }

func mixEngine(b *testing.B, ns *server.Server, change ...func(*Config)) mixed {
	b.Helper()
	cfg := Config{Logger: slog.New(slog.DiscardHandler), Dial: func(name string, options ...nats.Option) (*nats.Conn, error) {
		return nats.Connect("", append(options, nats.Name(name), nats.InProcessServer(ns))...)
	}}
	for _, f := range change {
		f(&cfg)
	}
	e, err := New(cfg)
	if err != nil {
		b.Fatal(err)
	}
	ctx, cancel := context.WithCancel(b.Context())
	done := make(chan error, 1)
	go func() { done <- e.Run(ctx) }()
	<-e.Ready()
	b.Cleanup(func() { cancel(); <-done })
	return mixed{e}
}

// lag is how many commits the views are behind.
func (e mixed) lag() uint64 {
	return e.Stats().Views.Lag
}

// settle waits until the views have taken everything in.
func (e mixed) settle(b *testing.B) time.Duration {
	b.Helper()
	began := time.Now()
	until(b, "the views keep up", func() bool { return e.lag() == 0 })
	return time.Since(began)
}
