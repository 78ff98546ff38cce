package auth

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/nats-io/nats.go"

	"reprise/contract"
)

const (
	// proofTimeout bounds the proof of one role.
	proofTimeout = 30 * time.Second
	// proofValid is how long the credentials of a proof last.
	proofValid = 5 * time.Minute
	// proofBatch is how many subjects are tried before the server's answer is
	// waited for.
	proofBatch = 100
)

// unreadable is the body of what is sent. It begins as a JSON object, so that the
// server refuses it wherever a body is optional: it takes other text there for
// none, and purges a stream.
const unreadable = `{"this is a test of permissions`

// changes marks subjects of the JetStream API by which something would change. A
// role that is allowed to is believed, not tried.
var changes = regexp.MustCompile(`^\$JS\.API\..*(CREATE|UPDATE|DELETE|PURGE|RESTORE|SNAPSHOT|REMOVE|STEPDOWN|PAUSE|RESET|UNPIN)\b`)

// Proof is what came of trying everything for one role.
type Proof struct {
	Role Role `json:"role"`
	// Allowed and Denied count what the server did as the table says.
	Allowed int `json:"allowed"`
	Denied  int `json:"denied"`
	// Wrong lists what it did otherwise.
	Wrong []string `json:"wrong,omitempty"`
}

// Prove tries, for every role, the whole surface of a server with credentials made
// for that, and compares what the server denies with the table. dial opens a
// connection to it. Nothing is changed, also where the server allows what it should
// not: what is sent is malformed for whoever might get it.
func (r *Realm) Prove(ctx context.Context, dial Dial) ([]Proof, error) {
	var proofs []Proof
	for _, role := range Roles() {
		ctx, cancel := context.WithTimeout(ctx, proofTimeout)
		p, err := r.prove(ctx, role, dial)
		cancel()
		if err != nil {
			return nil, fmt.Errorf("as %s: %w", role, err)
		}
		proofs = append(proofs, p)
	}
	return proofs, nil
}

func (r *Realm) prove(ctx context.Context, role Role, dial Dial) (Proof, error) {
	name, actions := "auth-proof", []string(nil)
	if role == RoleWorker {
		actions = []string{"auth-proof-action"}
	}
	_, creds, err := r.make(role, name, actions, proofValid)
	if err != nil {
		return Proof{}, err
	}
	options, err := With(creds)
	if err != nil {
		return Proof{}, err
	}
	d := &denials{seen: map[probe]bool{}, closed: make(chan struct{})}
	nc, err := dial("reprise-auth-proof", append(options, nats.ErrorHandler(d.note), nats.ClosedHandler(d.end), nats.NoReconnect())...)
	if err != nil {
		return Proof{}, err
	}
	defer nc.Close()
	probes := slices.DeleteFunc(surface(r.names, name, actions), func(p probe) bool {
		return changes.MatchString(p.subject) && Allowed(role, r.names, name, actions, p.way, p.subject)
	})
	if err := try(ctx, nc, probes); err != nil {
		return Proof{}, err
	}
	nc.Close()
	if err := d.wait(ctx); err != nil {
		return Proof{}, err
	}
	return compare(role, r.names, name, actions, probes, d), nil
}

// try does what the probes say, with bodies that nobody can read. What would be
// stored is refused by a header.
func try(ctx context.Context, nc *nats.Conn, probes []probe) error {
	for i, p := range probes {
		var err error
		if p.way == Receive {
			var sub *nats.Subscription
			if sub, err = nc.SubscribeSync(p.subject); err == nil {
				err = sub.AutoUnsubscribe(1)
			}
		} else {
			err = nc.PublishMsg(&nats.Msg{
				Subject: p.subject, Data: []byte(unreadable), Reply: nc.NewRespInbox(),
				Header: nats.Header{"Nats-Expected-Stream": {"none"}},
			})
		}
		if err == nil && (i%proofBatch == proofBatch-1 || i == len(probes)-1) {
			err = nc.FlushWithContext(ctx)
		}
		if err != nil {
			return fmt.Errorf("%s %s: %w", p.way, p.subject, err)
		}
	}
	return nil
}

// denials are what a server denied to one connection.
type denials struct {
	mu     sync.Mutex
	seen   map[probe]bool
	other  []error
	closed chan struct{}
}

// violation is how the server denies.
var violation = regexp.MustCompile(`(?i)permissions violation for (publish|subscription) to "([^"]+)"`)

func (d *denials) note(_ *nats.Conn, _ *nats.Subscription, err error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	found := violation.FindStringSubmatch(err.Error())
	switch {
	case found == nil:
		d.other = append(d.other, err)
	case strings.EqualFold(found[1], "publish"):
		d.seen[probe{Send, strings.Replace(found[2], forged, feedKind, 1)}] = true // see keepFeedsClean
	default:
		d.seen[probe{Receive, found[2]}] = true
	}
}

func (d *denials) end(*nats.Conn) { close(d.closed) }

// wait returns after the last denial was noted: that the connection is closed is
// told behind them.
func (d *denials) wait(ctx context.Context) error {
	select {
	case <-d.closed:
	case <-ctx.Done():
		return ctx.Err()
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	return errors.Join(d.other...)
}

func compare(role Role, n contract.Names, name string, actions []string, probes []probe, d *denials) Proof {
	p := Proof{Role: role}
	for _, tried := range probes {
		allowed := Allowed(role, n, name, actions, tried.way, tried.subject)
		switch denied := d.seen[tried]; {
		case allowed && denied:
			p.Wrong = append(p.Wrong, fmt.Sprintf("may not %s %s, but should", tried.way, tried.subject))
		case !allowed && !denied:
			p.Wrong = append(p.Wrong, fmt.Sprintf("may %s %s, but should not", tried.way, tried.subject))
		case denied:
			p.Denied++
		default:
			p.Allowed++
		}
	}
	return p
}
