package features

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"github.com/cucumber/godog"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"reprise/contract"
	"reprise/domain"
	"reprise/engine/cleanup"
)

// housekeeping is what a scenario knows of scans and purges.
type housekeeping struct {
	*world

	plan   *contract.CleanupPlan
	report *contract.CleanupReport
	// refused is what became of a purge that archives.
	refused error
}

// attic is the name of the scenario's archive.
func (h *housekeeping) attic() string { return fmt.Sprintf("attic-%d", h.number) }

func (h *housekeeping) setUpArchive() error {
	nc, err := h.conn()
	if err != nil {
		return err
	}
	js, err := jetstream.New(nc)
	if err != nil {
		return err
	}
	_, err = js.CreateObjectStore(context.Background(), jetstream.ObjectStoreConfig{Bucket: h.attic(), Storage: jetstream.MemoryStorage})
	return err
}

// archived counts the histories in the archive that can be read to their end.
func (h *housekeeping) archived(want int) error {
	if h.refused != nil {
		return h.refused
	}
	nc, err := h.conn()
	if err != nil {
		return err
	}
	js, err := jetstream.New(nc)
	if err != nil {
		return err
	}
	bucket, err := js.ObjectStore(context.Background(), h.attic())
	if err != nil {
		return err
	}
	objects, err := bucket.List(context.Background())
	if err != nil || len(objects) != want {
		return fmt.Errorf("the archive holds %d objects, %w", len(objects), err)
	}
	for _, o := range objects {
		if _, err := bucket.GetBytes(context.Background(), o.Name); err != nil {
			return fmt.Errorf("%s: %w", o.Name, err)
		}
	}
	return nil
}

func (w *world) housekeeping(sc *godog.ScenarioContext) {
	h := &housekeeping{world: w}
	kept := func(do func(contract.CleanupRequest) error) func(_, state, age string) error {
		return func(_, state, age string) error {
			r, err := keptFor(state, age)
			if err != nil {
				return err
			}
			return do(r)
		}
	}
	sc.Step(`^operator (\w+) (?:has scanned|scans) with `+states+` sessions kept for "([^"]*)"$`, kept(h.scan))
	sc.When(`^operator (\w+) purges with `+states+` sessions kept for "([^"]*)"$`, kept(h.purge))
	sc.When(`^operator (\w+) tries out a purge with `+states+` sessions kept for "([^"]*)"$`, kept(func(r contract.CleanupRequest) error {
		r.DryRun = true
		return h.purge(r)
	}))
	sc.Given(`^an archive is set up$`, h.setUpArchive)
	sc.When(`^operator (\w+) archives and purges with `+states+` sessions kept for "([^"]*)"$`, kept(func(r contract.CleanupRequest) error {
		r.Archive = "bucket:" + h.attic()
		h.refused = h.purge(r)
		return nil
	}))
	sc.Then(`^the archive holds (\d+) histor(?:y|ies)$`, h.archived)
	sc.Then(`^the purge is refused because "([^"]*)"$`, func(because string) error {
		if h.refused == nil || !strings.Contains(h.refused.Error(), because) {
			return fmt.Errorf("the purge ended with %w", h.refused)
		}
		return nil
	})
	sc.Given(`^operator \w+ has purged (idle|completed) sessions$`, h.hasPurged)
	sc.Given(`^operator \w+ purges cancelled sessions while the service is restarted$`, h.purgeBrokenOff)
	sc.When(`^operator \w+ purges by that plan$`, func() error { return h.purge(contract.CleanupRequest{Plan: h.plan}) })
	sc.Given(`^(\w+) has (\d+) cancelled sessions$`, h.hasMany)
	sc.Then(`^it finds nothing$`, func() error { return h.finds() })
	sc.Then(`^it finds "([^"]*)" as "([^"]*)" and nothing else$`, func(session, reason string) error { return h.finds(session + " " + reason) })
	sc.Then(`^the report counts (\d+) purged$`, func(n int) error { return h.counts(n, "", 0) })
	sc.Then(`^the report counts (\d+) "(\w+)" and (\d+) purged$`, func(skipped int, outcome string, purged int) error {
		return h.counts(purged, outcome, skipped)
	})
	sc.Then(`^all (\d+) sessions of (\w+) are gone without a trace$`, h.allGone)
}

// keptFor is a request by a policy that keeps everything but one state for ever.
func keptFor(state, age string) (contract.CleanupRequest, error) {
	d, err := domain.ParseDuration(age)
	policy := cleanup.DefaultPolicy()
	policy.Name = "of-a-scenario"
	wanted := domain.State(strings.ToUpper(state))
	for _, s := range domain.States() {
		if s != wanted {
			policy.Keep = append(policy.Keep, s)
		}
	}
	policy.Retention[wanted] = d
	return contract.CleanupRequest{Policy: &policy}, err
}

func (h *housekeeping) scan(r contract.CleanupRequest) error { return h.inTurn(contract.AdminScan, r) }

func (h *housekeeping) purge(r contract.CleanupRequest) error {
	return h.inTurn(contract.AdminPurge, r)
}

// errAskAgain says that a request was refused with a hint to ask again.
var errAskAgain = errors.New("ask again")

// inTurn looks at the scenario's own user alone, and asks again while another
// scenario cleans up: a service does one thing at a time.
func (h *housekeeping) inTurn(name string, r contract.CleanupRequest) error {
	r.Filter.Users = []string{h.user("ada")}
	var failed error
	err := eventually(func() error {
		failed = h.operate(name, r, nil)
		if errors.Is(failed, errAskAgain) {
			return failed
		}
		return nil
	})
	return errors.Join(err, failed)
}

// operate sends an operator's request and reads its answer until the report, or
// until each returns an error.
func (h *housekeeping) operate(name string, r contract.CleanupRequest, each func() error) error {
	nc, err := h.conn()
	if err != nil {
		return err
	}
	data, err := encode(r)
	if err != nil {
		return err
	}
	inbox := nc.NewInbox()
	sub, err := nc.SubscribeSync(inbox)
	if err != nil {
		return err
	}
	defer func() { _ = sub.Unsubscribe() }()
	if err := nc.PublishMsg(&nats.Msg{Subject: h.names.Admin("olga", name), Reply: inbox, Data: data}); err != nil {
		return err
	}
	if each != nil {
		return each()
	}
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	h.report = nil
	for h.report == nil {
		msg, err := sub.NextMsgWithContext(ctx)
		if err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		if err := h.read(msg); err != nil {
			return err
		}
	}
	return nil
}

func (h *housekeeping) read(msg *nats.Msg) error {
	a, err := readAnswer(msg)
	if err != nil {
		return err
	}
	if err := a.err(); err != nil && a.refusal.RetryAfter > 0 {
		return fmt.Errorf("%w: %w", errAskAgain, err)
	} else if err != nil {
		return err
	}
	var part contract.CleanupMessage
	if err := json.Unmarshal(msg.Data, &part); err != nil {
		return err
	}
	if part.Plan != nil {
		h.plan = part.Plan
	}
	if h.plan != nil {
		h.plan.Items = append(h.plan.Items, part.Items...)
	}
	h.report = part.Report
	return nil
}

func (h *housekeeping) hasPurged(which string) error {
	state := which
	if which == "idle" {
		state = "paused"
	}
	r, err := keptFor(state, "0s")
	if err != nil {
		return err
	}
	r.Policy.PurgeIdle = true
	if err := h.purge(r); err != nil {
		return err
	}
	return h.counts(1, "", 0)
}

// purgeBrokenOff restarts the service as soon as it was told to purge.
func (h *housekeeping) purgeBrokenOff() error {
	r, err := keptFor("cancelled", "0s")
	if err != nil {
		return err
	}
	return h.operate(contract.AdminPurge, r, func() error {
		nc, err := h.conn()
		if err != nil {
			return err
		}
		return errors.Join(flush(nc), h.restart(false))
	})
}

func (h *housekeeping) hasMany(user string, n int) error {
	_, err := together(n, func(i int) (answer, error) {
		session := fmt.Sprintf("old-%d", i)
		for _, verb := range []domain.Verb{domain.VerbCreate, domain.VerbStart, domain.VerbCancel} {
			var body any
			if verb == domain.VerbCreate {
				body = usual()
			}
			a, err := h.command(user, session, verb, body)
			if err = errors.Join(err, a.err()); err != nil {
				return a, err
			}
		}
		return answer{}, nil
	})
	return err
}

// finds compares what the scan found: sessions with their reasons.
func (h *housekeeping) finds(want ...string) error {
	got := make([]string, 0, len(h.plan.Items))
	for _, item := range h.plan.Items {
		got = append(got, item.Session+" "+string(item.Reason))
	}
	if strings.Join(got, ", ") != strings.Join(want, ", ") || h.report.Stale+h.report.Orphaned != len(want) {
		return fmt.Errorf("it finds %q; the report is %+v", got, h.report)
	}
	return nil
}

// counts compares the report; an outcome without a name means that nothing was
// skipped.
func (h *housekeeping) counts(purged int, outcome string, skipped int) error {
	r := h.report
	all := 0
	for _, n := range r.Skipped {
		all += n
	}
	if r.Purged != purged || r.Failed > 0 || all != skipped || r.Skipped[contract.CleanupOutcome(outcome)] != skipped {
		return fmt.Errorf("the report is %+v", r)
	}
	return nil
}

// allGone looks for each session, and for what may be left of them.
func (h *housekeeping) allGone(n int, user string) error {
	for i := range n {
		if err := h.isGone(user, fmt.Sprintf("old-%d", i)); err != nil {
			return err
		}
	}
	if err := h.scan(contract.CleanupRequest{}); err != nil {
		return err
	}
	return h.finds()
}
