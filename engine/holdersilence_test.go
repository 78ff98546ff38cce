package engine

import (
	"errors"
	"io"
	"net"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// quietServer is a way to a server that can be made silent: the connection
// stays, and nothing goes through.
type quietServer struct {
	*server.Server
	pass sync.RWMutex // held while it is silent
}

// dialQuietly connects to a server through one that can be silent.
func dialQuietly(t *testing.T, ns *server.Server) (*quietServer, *nats.Conn) {
	t.Helper()
	q := &quietServer{Server: ns}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = listener.Close() })
	go func() {
		for {
			near, err := listener.Accept()
			if err != nil {
				return
			}
			far, err := ns.InProcessConn()
			if err != nil {
				_ = near.Close()
				return
			}
			go q.carry(far, near)
			go q.carry(near, far)
		}
	}()
	nc, err := nats.Connect(listener.Addr().String(), nats.Timeout(testPatience))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(nc.Close)
	return q, nc
}

func (q *quietServer) carry(to io.WriteCloser, from io.Reader) {
	defer func() { _ = to.Close() }()
	buf := make([]byte, 4096)
	for {
		n, err := from.Read(buf)
		if err != nil {
			return
		}
		q.pass.RLock()
		_, err = to.Write(buf[:n])
		q.pass.RUnlock()
		if err != nil {
			return
		}
	}
}

// silenced is a holder to which the server says nothing until speak is called,
// and whose lease has expired meanwhile; kv is the way of others to it.
func silenced(t *testing.T) (c *campaign, kv jetstream.KeyValue, speak func()) {
	t.Helper()
	ns := startJetStream(t)
	q, nc := dialQuietly(t, ns)
	c = startCampaignOn(t, nc, "silenced", time.Now)
	until(t, "the engine holds", c.holds.Load)
	js, err := jetstream.New(dialServer(t, ns))
	if err != nil {
		t.Fatal(err)
	}
	if kv, err = js.KeyValue(t.Context(), "reprise_control"); err != nil {
		t.Fatal(err)
	}
	q.pass.Lock()
	speak = sync.OnceFunc(q.pass.Unlock)
	t.Cleanup(speak)
	until(t, "the lease has expired", func() bool {
		_, err := kv.Get(t.Context(), leaseKey)
		return errors.Is(err, jetstream.ErrKeyNotFound)
	})
	return c, kv, speak
}

func TestHolderOutlastsASilentServer(t *testing.T) {
	c, kv, speak := silenced(t)
	if !c.holds.Load() {
		t.Error("it has stopped although nobody could take its place")
	}
	speak()
	until(t, "it has its lease again", func() bool {
		entry, err := kv.Get(t.Context(), leaseKey)
		return err == nil && string(entry.Value()) == "silenced"
	})
	if terms := c.terms.Load(); terms != 1 || !c.holds.Load() {
		t.Errorf("it began %d terms; its first one should go on", terms)
	}
}

func TestHolderThatWasReplacedInSilenceStops(t *testing.T) {
	c, kv, speak := silenced(t)
	if _, err := kv.Create(t.Context(), leaseKey, []byte("another")); err != nil {
		t.Fatal(err)
	}
	speak()
	until(t, "it has stopped", func() bool { return !c.holds.Load() })
	until(t, "it holds again once the other lease has expired", func() bool { return c.holds.Load() && c.terms.Load() >= 2 })
}

func TestHolderNoticesThatSomebodyHeldInBetween(t *testing.T) {
	c, kv, speak := silenced(t)
	rev, err := kv.Create(t.Context(), leaseKey, []byte("another"))
	if err == nil {
		err = kv.Delete(t.Context(), leaseKey, jetstream.LastRevision(rev))
	}
	if err != nil {
		t.Fatal(err)
	}
	speak()
	until(t, "it begins a new term", func() bool { return c.holds.Load() && c.terms.Load() >= 2 })
}

func TestRenewalWhoseAnswerWasLostCounts(t *testing.T) {
	c := startCampaign(t, startJetStream(t), "deaf", time.Now)
	until(t, "the engine holds", c.holds.Load)
	began := time.Now()
	rev, err := c.kv.Put(t.Context(), leaseKey, []byte("deaf"))
	if err != nil {
		t.Fatal(err)
	}
	until(t, "it goes on renewing", func() bool {
		entry, err := c.kv.Get(t.Context(), leaseKey)
		return err == nil && entry.Revision() > rev+1
	})
	if took := time.Since(began); took > leaseTTL {
		t.Skipf("the machine stood still for %s, in which any lease expires", took)
	}
	if terms := c.terms.Load(); terms != 1 || !c.holds.Load() {
		t.Errorf("it began %d terms; its first one should go on", terms)
	}
}
