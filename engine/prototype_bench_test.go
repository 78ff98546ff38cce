package engine

import (
	"fmt"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/nats-io/nats.go/micro"
)

// prototypeBytes is the size of a commit of the prototype.
const prototypeBytes = 300

// BenchmarkPrototype is what the command path is compared with: a micro request
// and one guarded publish of 300 bytes on file storage, without a domain, views
// or checks, with the sessions' sequences in memory.
func BenchmarkPrototype(b *testing.B) {
	for _, clients := range benchClients {
		b.Run(fmt.Sprintf("clients=%d", clients), func(b *testing.B) {
			ns := startServer(b, func(o *server.Options) { o.JetStream, o.StoreDir = true, b.TempDir() })
			startPrototype(b, ns)
			runClients(b, ns, clients, func(client, n int) (string, string) {
				return fmt.Sprintf("proto.cmd.ann.s%d-%d.start", client, n/len(benchScript)), `{"chain":"c","step":"a"}`
			})
		})
	}
}

type prototype struct {
	js   jetstream.JetStream
	body []byte
	mu   sync.Mutex
	last map[string]uint64
}

func startPrototype(b *testing.B, ns *server.Server) {
	b.Helper()
	js, err := jetstream.New(dialServer(b, ns), jetstream.WithPublishAsyncMaxPending(16384))
	if err != nil {
		b.Fatal(err)
	}
	_, err = js.CreateStream(b.Context(), jetstream.StreamConfig{Name: "PROTO", Subjects: []string{"proto.evt.>"}})
	if err != nil {
		b.Fatal(err)
	}
	p := &prototype{js: js, body: make([]byte, prototypeBytes), last: map[string]uint64{}}
	svc, err := micro.AddService(dialServer(b, ns), micro.Config{Name: "proto", Version: "0.0.1"})
	if err != nil {
		b.Fatal(err)
	}
	if err := svc.AddEndpoint("cmd", micro.HandlerFunc(func(r micro.Request) { go p.answer(r) }), micro.WithEndpointSubject("proto.cmd.*.*.*")); err != nil {
		b.Fatal(err)
	}
}

func (p *prototype) answer(r micro.Request) {
	session := strings.Split(r.Subject(), ".")[3]
	p.mu.Lock()
	last := p.last[session]
	p.mu.Unlock()
	f, err := p.js.PublishMsgAsync(&nats.Msg{
		Subject: "proto.evt.ann." + session, Data: p.body,
		Header: nats.Header{jetstream.ExpectedLastSubjSeqHeader: {strconv.FormatUint(last, 10)}},
	})
	if err != nil {
		_ = r.Error("500", err.Error(), nil)
		return
	}
	select {
	case ack := <-f.Ok():
		p.mu.Lock()
		p.last[session] = ack.Sequence
		p.mu.Unlock()
		_ = r.Respond([]byte(`{"ok":true}`))
	case err := <-f.Err():
		_ = r.Error("500", err.Error(), nil)
	}
}
