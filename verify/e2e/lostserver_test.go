package e2e

import (
	"context"
	"errors"
	"math/rand/v2"
	"os"
	"strconv"
	"testing"

	"reprise/contract"
)

// roundsVariable is how many servers TestLostServers takes away, one after the other;
// `make soak` sets it.
const roundsVariable = "REPRISE_CLUSTER_ROUNDS"

// lostAnswers is what users get answered while a server is away, and again when it is
// back.
const lostAnswers = 30

// TestLostServers takes servers away from a cluster under load, and an engine with
// them: the one that leads all servers, or one that leads a stream. Nothing that was
// acknowledged is lost or done twice, everything that was begun comes to its end, and
// operators are answered meanwhile.
func TestLostServers(t *testing.T) {
	if testing.Short() {
		t.Skip("a cluster takes some seconds")
	}
	t.Parallel()
	rounds, err := strconv.Atoi(os.Getenv(roundsVariable))
	if err != nil {
		rounds = 1
	}
	w := newTown(t, 2)
	w.live(func() {
		w.getsOn(lostAnswers)
		for round := range rounds {
			w.loseServer(round)
		}
	})
	w.judge()
}

// loseServer takes a server away and starts it again. In the first round it is the one
// that leads the events, which is shut down, and an engine dies with it; in later ones
// servers are killed, and it takes some seconds until others lead.
func (w *town) loseServer(round int) {
	w.Helper()
	names := w.peer.names
	streams := []string{
		names.EventsStream(), "", "KV_" + names.SessionsBucket(), names.WorkStream(), names.QueueStream(), "KV_" + names.ControlBucket(),
	}
	stream, engine := streams[0], true
	if round > 0 {
		stream, engine = streams[rand.IntN(len(streams))], rand.IntN(2) == 0
	}
	lost := w.fleet.leader()
	if stream != "" {
		lost = w.fleet.leaderOf(w.T, w.peer, stream)
	}
	w.Logf("round %d: server %d is lost, which leads %q; an engine too: %t", round, lost, stream, engine)
	if round > 0 {
		w.fleet.kill(lost)
	} else {
		w.fleet.stop(lost)
	}
	if engine {
		w.replace()
	}
	w.operate()
	w.getsOn(lostAnswers)
	w.fleet.start(w.T, lost)
	w.getsOn(lostAnswers)
	w.fleet.awaitReplicas(w.T, w.peer)
}

// operate asks what operators ask, until each is answered.
func (w *town) operate() {
	w.Helper()
	c := w.user("olga")
	w.insist("doctor", func(ctx context.Context) error {
		engines, err := c.Doctor(ctx)
		if err == nil && len(engines) == 0 {
			err = errors.New("nobody told the doctor anything")
		}
		return err
	})
	w.insist("scan", func(ctx context.Context) error {
		_, _, err := c.Scan(ctx, contract.CleanupRequest{}, nil)
		return err
	})
	w.insist("repair", func(ctx context.Context) error {
		_, err := c.Repair(ctx, contract.RepairRequest{}, nil)
		return err
	})
	w.insist("count", func(ctx context.Context) error {
		_, err := c.Count(ctx, contract.Filter{})
		return err
	})
}
