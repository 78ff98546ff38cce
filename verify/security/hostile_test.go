package security

import (
	"bufio"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"net/url"
	"regexp"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nkeys"

	"reprise/auth"
	"reprise/contract"
	"reprise/domain"
	"reprise/engine"
)

const (
	// hostileTime bounds each attack that goes on for a while.
	hostileTime = 1500 * time.Millisecond
	// maxGrowth is how much more memory may be in use after an attack, in bytes.
	maxGrowth = 96 << 20
	// marker stands in every payload of an attack; it must never be in the log.
	marker = "s3cr3t-payload"
)

// seed is the seed of a key pair, which is two letters longer than any public key:
// those stand in the log, and hold every short text some day.
var seed = regexp.MustCompile(`\bS[A-Z][A-Z2-7]{56}\b`)

// TestSeedsAreRecognised: a seed is told from a public key in any text.
func TestSeedsAreRecognised(t *testing.T) {
	for _, create := range []func() (nkeys.KeyPair, error){nkeys.CreateUser, nkeys.CreateAccount, nkeys.CreateOperator} {
		pair, err := create()
		if err != nil {
			t.Fatal(err)
		}
		secret, secretErr := pair.Seed()
		public, publicErr := pair.PublicKey()
		if secretErr != nil || publicErr != nil || !seed.MatchString("seed="+string(secret)+"\n") || seed.MatchString("key="+public+"\n") {
			t.Errorf("%s is not told from its seed: %v, %v", public, secretErr, publicErr)
		}
	}
}

// healthy checks that somebody else is served, and that nothing was logged that
// should not be.
func (w *world) healthy(t *testing.T) {
	t.Helper()
	bob := w.as(auth.RoleUser, "bob")
	id := fmt.Sprint("after-", rand.Uint32())
	poll(t, "an answer for bob", func() bool {
		m, err := bob.Request(w.names.Command("bob", id, domain.VerbCreate), []byte(onePlan), patience)
		return err == nil && m.Header.Get(contract.HeaderError) == ""
	})
	for _, secret := range []string{marker, "BEGIN USER NKEY SEED", "eyJ0eXAi"} {
		if strings.Contains(w.log.String(), secret) {
			t.Errorf("the log holds %q", secret)
		}
	}
	if found := seed.FindString(w.log.String()); found != "" {
		t.Errorf("the log holds the seed %.5s...", found)
	}
	if strings.Contains(w.log.String(), "panic") {
		t.Error("something panicked")
	}
}

func memory() uint64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapInuse
}

// bounded waits until an attack has left no more memory in use than it may.
func bounded(t *testing.T, before uint64) {
	t.Helper()
	poll(t, fmt.Sprintf("memory in use to be at most %d bytes more than the %d before", maxGrowth, before), func() bool {
		return memory() <= before+maxGrowth
	})
}

// junk makes bodies, subjects' ends and headers that nobody should send.
func junk(r *rand.Rand) string {
	pieces := []string{
		"{}", "null", "[", "{", `{"a":`, marker, "\x00", "\xff\xfe", strings.Repeat("[", 2000), `{"chains":[{}]}`, `"` + strings.Repeat("x", 5000) + `"`,
		`{"set":{"k":"v"}}`, "1e999", `{"mode":"interrupt"}`, "💣", `{"chain":"c","step":"s","attempt":-1}`, onePlan,
	}
	var b strings.Builder
	for range 1 + r.IntN(3) {
		b.WriteString(pieces[r.IntN(len(pieces))])
	}
	return b.String()
}

// TestFuzzAtFullRate: a user and a worker send nonsense on all they may send to.
func TestFuzzAtFullRate(t *testing.T) {
	w := newWorld(t, func(cfg *engine.Config) { cfg.Limits.Rate = 5000 })
	before := memory()
	r := rand.New(rand.NewPCG(1, 2))
	verbs := []string{"start", "create", "batch", "delete", "step.retry", "chain.move", "fork", "nonsense", "a.b.c.d", "hold", "claim", "session.timeout", "purge"}
	mallory, amber := w.as(auth.RoleUser, "mallory"), w.as(auth.RoleWorker, "amber", "build")
	p := w.names.Prefix()
	for end, i := time.Now().Add(hostileTime), 0; time.Now().Before(end); i++ {
		verb, body := verbs[r.IntN(len(verbs))], []byte(junk(r))
		for nc, subject := range map[*nats.Conn]string{
			mallory: []string{p + ".cmd.mallory.s." + verb, p + ".queue.mallory.s." + verb, p + ".qry.mallory." + verb, p + ".cmd.mallory.*." + verb, p + ".cmd.mallory." + verb}[r.IntN(5)],
			amber:   []string{p + ".wrk.amber.build.mallory.s." + verb, p + ".wrk.amber.build.serve", "$JS.API.CONSUMER.MSG.NEXT." + w.names.WorkStream() + ".build", "$JS.ACK." + w.names.WorkStream() + ".build." + verb}[r.IntN(4)],
		} {
			m := &nats.Msg{Subject: subject, Data: body, Reply: nc.NewRespInbox(), Header: nats.Header{}}
			if r.IntN(4) == 0 {
				m.Header.Set([]string{"Reprise-Command-Id", "Reprise-Expect-Version", "Reprise-Unknown", "Nats-Rollup", "Nats-Batch-Id", "Nats-Schedule", "traceparent"}[r.IntN(7)], junk(r))
			}
			_ = nc.PublishMsg(m) // what the client itself refuses is no attack
		}
		if i%200 == 199 {
			_ = mallory.FlushTimeout(patience)
			_ = amber.FlushTimeout(patience)
		}
	}
	w.healthy(t)
	bounded(t, before)
}

// TestGiantHeaders: headers up to the server's limit are read or refused, and what
// is beyond it ends the connection.
func TestGiantHeaders(t *testing.T) {
	w := newWorld(t)
	mallory := w.as(auth.RoleUser, "mallory")
	huge := strings.Repeat(marker, 60_000)
	for name, values := range map[string][]string{
		"traceparent": {huge}, contract.HeaderCommandID: {huge}, "X": {huge}, "Nats-Request-Info": {huge}, "Y": slicesOf("v", 20_000),
	} {
		m := &nats.Msg{Subject: w.names.Command("mallory", "s", domain.VerbStart), Header: nats.Header{name: values}, Data: []byte("{}")}
		if reply, err := mallory.RequestMsg(m, 500*time.Millisecond); err == nil && len(reply.Data) > 4096 {
			t.Errorf("%s: the answer has %d bytes", name, len(reply.Data))
		}
	}
	w.healthy(t)
}

func slicesOf(text string, n int) []string {
	list := make([]string, n)
	for i := range list {
		list[i] = text
	}
	return list
}

// TestHalfOpenConnections: connections that never say who they are end by
// themselves, and those that send nonsense at once.
func TestHalfOpenConnections(t *testing.T) {
	w := newWorld(t)
	u, err := url.Parse(w.node.URL())
	if err != nil {
		t.Fatal(err)
	}
	var silent []net.Conn
	for i := range 50 {
		conn, err := net.Dial("tcp", u.Host)
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		switch i % 3 {
		case 1:
			_, _ = conn.Write([]byte("CONNECT {\"verbose\":false"))
		case 2:
			_, _ = conn.Write([]byte(strings.Repeat("\x00\xff"+marker, 500) + "\r\n"))
		}
		silent = append(silent, conn)
	}
	w.healthy(t)
	for _, conn := range silent {
		_ = conn.SetReadDeadline(time.Now().Add(patience))
		reader := bufio.NewReader(conn)
		for err = nil; err == nil; {
			_, err = reader.ReadString('\n')
		}
		if timeout, ok := errors.AsType[net.Error](err); ok && timeout.Timeout() {
			t.Fatal("a connection without credentials lives on")
		}
	}
}

// TestSlowConsumers: who asks for much and doesn't read it is cut off, or waits;
// others are served meanwhile.
func TestSlowConsumers(t *testing.T) {
	w := newWorld(t)
	before := memory()
	mallory := w.as(auth.RoleUser, "mallory")
	must(t, mallory, w.names.Command("mallory", "s", domain.VerbCreate), onePlan)
	stuck := make(chan struct{})
	defer close(stuck)
	slow := w.as(auth.RoleUser, "mallory")
	if _, err := slow.Subscribe(w.names.Live("mallory", "*"), func(*nats.Msg) { <-stuck }); err != nil {
		t.Fatal(err)
	}
	for i := range 3000 {
		if err := slow.PublishRequest(w.names.Query("mallory", contract.QueryHistory), slow.NewRespInbox(), []byte(`{"session":"s"}`)); err != nil {
			t.Fatal(err)
		}
		if i%100 == 0 {
			must(t, mallory, w.names.Command("mallory", "s", domain.VerbMetadataSet), fmt.Sprintf(`{"set":{"k":"%d"}}`, i))
		}
	}
	w.healthy(t)
	bounded(t, before)
}

// TestReplays: messages that are sent again, or in another order, change nothing
// that the first ones did not.
func TestReplays(t *testing.T) {
	w := newWorld(t)
	n, ada := w.names, w.as(auth.RoleUser, "ada")
	type sent struct {
		verb domain.Verb
		id   string
		body string
	}
	script := []sent{
		{domain.VerbCreate, "c1", `{"keepOpen":true}`},
		{domain.VerbStart, "c2", "{}"},
		{domain.VerbPause, "c3", "{}"},
		{domain.VerbResume, "c4", "{}"},
		{domain.VerbMetadataSet, "c5", `{"set":{"k":"v"}}`},
		{domain.VerbCancel, "c6", "{}"},
	}
	send := func(s sent) *nats.Msg {
		return settled(t, ada, &nats.Msg{Subject: n.Command("ada", "s", s.verb), Data: []byte(s.body), Header: nats.Header{contract.HeaderCommandID: {s.id}}})
	}
	for _, s := range script {
		if reply := send(s); reply.Header.Get(contract.HeaderError) != "" {
			t.Fatalf("%s: %s", s.verb, reply.Data)
		}
	}
	before := w.events(t)
	r := rand.New(rand.NewPCG(3, 4))
	for range 200 {
		s := script[r.IntN(len(script))]
		if reply := send(s); !strings.Contains(string(reply.Data), `"duplicate":true`) {
			t.Errorf("%s again: %s", s.verb, reply.Data)
		}
		s.body = `{"reason":"other"}`
		if reply := send(s); reply.Header.Get(contract.HeaderError) == "" {
			t.Errorf("%s with another body: %s", s.verb, reply.Data)
		}
	}
	if after := w.events(t); after != before {
		t.Errorf("%d events were added by repeats", after-before)
	}
}

// TestLimitsOfAUser: over its limits a user is told so, and others are not.
func TestLimitsOfAUser(t *testing.T) {
	w := newWorld(t, func(cfg *engine.Config) { cfg.Limits = engine.Limits{Rate: 20, Sessions: 2, Payload: 2000, History: 4} })
	n, ada, bob := w.names, w.as(auth.RoleUser, "ada"), w.as(auth.RoleUser, "bob")
	refusedBy(t, ada, domain.CodeBusy, n.Command("ada", "s", domain.VerbCreate), `{"metadata":{"k":"`+strings.Repeat("x", 2000)+`"}}`)
	for _, id := range []string{"one", "two"} {
		must(t, ada, n.Command("ada", id, domain.VerbCreate), `{"keepOpen":true}`)
	}
	poll(t, "the limit of sessions", func() bool {
		count := must(t, ada, n.Query("ada", contract.QueryCount), "{}")
		return strings.Contains(string(count.Data), `"total":2`)
	})
	m := ask(t, ada, n.Command("ada", "three", domain.VerbCreate), `{"keepOpen":true}`)
	if m.Header.Get(contract.HeaderErrorCode) != "429" {
		t.Errorf("a third session: %v %s", m.Header, m.Data)
	}
	must(t, bob, n.Command("bob", "one", domain.VerbCreate), `{"keepOpen":true}`)
	for _, verb := range []domain.Verb{domain.VerbStart, domain.VerbPause, domain.VerbResume} {
		must(t, bob, n.Command("bob", "one", verb), "{}")
	}
	refusedBy(t, bob, domain.CodeBusy, n.Command("bob", "one", domain.VerbPause), "{}")
	must(t, bob, n.Command("bob", "one", domain.VerbCancel), "{}")
	poll(t, "one of 60 commands at once to be over 20 a second", func() bool {
		return burst(t, ada, n.Command("ada", "one", domain.VerbResume), 60)
	})
}

// burst sends a command so many times at once and reports whether one was refused
// as one too many.
func burst(t *testing.T, nc *nats.Conn, subject string, times int) bool {
	t.Helper()
	answers, err := nc.SubscribeSync(nc.NewRespInbox())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = answers.Unsubscribe() }()
	for range times {
		if err := nc.PublishRequest(subject, answers.Subject, []byte("{}")); err != nil {
			t.Fatal(err)
		}
	}
	for range times {
		m, err := answers.NextMsg(time.Second)
		if err != nil {
			return false
		}
		if m.Header.Get(contract.HeaderErrorCode) == "429" {
			return true
		}
	}
	return false
}
