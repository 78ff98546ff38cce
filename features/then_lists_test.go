package features

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/cucumber/godog"
	"github.com/nats-io/nats.go/jetstream"

	"reprise/contract"
	"reprise/domain"
)

func (w *world) thenLists(sc *godog.ScenarioContext) {
	sc.Then(`^(\w+)'s list of ([A-Z]+) sessions names "([^"]*)"$`, func(user, state, list string) error {
		if err := w.lists(user, object{"states": []string{state}}); err != nil {
			return err
		}
		return w.listNames(list)
	})
	sc.Then(`^(\w+) has (\d+) sessions?$`, w.hasSessions)
	sc.Then(`^the list names "([^"]*)"$`, w.listNames)
	sc.Then(`^the list names "([^"]*)" in the order they were created$`, func(list string) error {
		if !slices.Equal(w.list, names(list)) {
			return fmt.Errorf("it names %v", w.list)
		}
		return nil
	})
	sc.Then(`^it took (\d+) pages$`, func(n int) error {
		if w.pages != n {
			return fmt.Errorf("it took %d", w.pages)
		}
		return nil
	})
	sc.Then(`^the counts are:$`, w.countsAre)
	sc.Then(`^no trace of (\w+)'s session "([^"]*)" is left in what clients watch$`, w.noTrace)
	sc.Then(`^the views of (\w+)'s sessions "([^"]*)" and "([^"]*)" are the same as before$`, func(user, one, two string) error {
		return errors.Join(w.viewAsBefore(user, one), w.viewAsBefore(user, two))
	})
}

func (w *world) listNames(list string) error {
	if !sameSet(w.list, names(list)) {
		return fmt.Errorf("it names %v", w.list)
	}
	return nil
}

// hasSessions asks for a list and for a count; both must agree.
func (w *world) hasSessions(user string, n int) error {
	var counts contract.CountReply
	if err := w.demand(user, contract.QueryCount, object{}, &counts); err != nil {
		return err
	}
	if err := w.lists(user, object{}); err != nil {
		return err
	}
	if counts.Total != n || len(w.list) != n {
		return fmt.Errorf("there are %d: %v", counts.Total, w.list)
	}
	return nil
}

func (w *world) countsAre(table *godog.Table) error {
	total := 0
	for _, row := range table.Rows[1:] {
		var n int
		if _, err := fmt.Sscan(row.Cells[1].Value, &n); err != nil {
			return err
		}
		if got := w.counts.States[domain.State(row.Cells[0].Value)]; got != n {
			return fmt.Errorf("%s: %d", row.Cells[0].Value, got)
		}
		total += n
	}
	if w.counts.Total != total {
		return fmt.Errorf("there are %d in all", w.counts.Total)
	}
	return nil
}

// view reads what clients watch of a session.
func (w *world) view(user, session string) ([]byte, error) {
	nc, err := w.conn()
	if err != nil {
		return nil, err
	}
	js, err := jetstream.New(nc)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	kv, err := js.KeyValue(ctx, w.names.SessionsBucket())
	if err != nil {
		return nil, err
	}
	entry, err := kv.Get(ctx, contract.ViewKey(w.user(user), session))
	if err != nil {
		return nil, err
	}
	return entry.Value(), nil
}

func (w *world) noTrace(user, session string) error {
	return eventually(func() error {
		raw, err := w.view(user, session)
		if errors.Is(err, jetstream.ErrKeyNotFound) {
			return nil
		}
		return errors.Join(err, fmt.Errorf("there is %s", raw))
	})
}

// keepViews notes the views of all sessions of the scenario before a restart,
// once they show the newest version.
func (w *world) keepViews() error {
	for k, version := range w.seen {
		err := eventually(func() error {
			raw, err := w.view(k.user, k.session)
			if errors.Is(err, jetstream.ErrKeyNotFound) {
				return w.isGone(k.user, k.session)
			}
			if err != nil {
				return err
			}
			w.views[k] = raw
			var view struct{ Version uint64 }
			if err := json.Unmarshal(raw, &view); err != nil || view.Version != version {
				return fmt.Errorf("the view of %q is at version %d, not %d: %w", k.session, view.Version, version, err)
			}
			return nil
		})
		if err != nil {
			return err
		}
	}
	return nil
}

func (w *world) viewAsBefore(user, session string) error {
	before := w.views[sessionKey{user, session}]
	if len(before) == 0 {
		return fmt.Errorf("there was no view of %q", session)
	}
	return eventually(func() error {
		raw, err := w.view(user, session)
		if err != nil {
			return err
		}
		if !bytes.Equal(raw, before) {
			return fmt.Errorf("it was\n%s\nand is\n%s", before, raw)
		}
		return nil
	})
}

func (w *world) thenHistories(sc *godog.ScenarioContext) {
	sc.Then(`^(\w+)'s session "([^"]*)" has (\d+) entr(?:y|ies) in its history$`, w.hasEntries)
	sc.Then(`^the history of (\w+)'s session "([^"]*)" tells:$`, w.historyTells)
	sc.Then(`^the history of (\w+)'s session "([^"]*)" is unbroken$`, w.historyUnbroken)
	sc.Then(`^the last entry in the history of (\w+)'s session "([^"]*)" is "([^"]*)"$`, w.lastEntry)
	sc.Then(`^in the history of (\w+)'s session "([^"]*)" the commands are: (.+)$`, w.commandsAre)
	sc.Then(`^in the history of (\w+)'s session "([^"]*)" pauses and resumptions take turns$`, w.takeTurns)
}

func (w *world) hasEntries(user, session string, n int) error {
	entries, err := w.history(user, session)
	if err != nil {
		return err
	}
	if len(entries) != n {
		return fmt.Errorf("it has %d", len(entries))
	}
	return nil
}

func (w *world) historyTells(user, session string, table *godog.Table) error {
	entries, err := w.history(user, session)
	if err != nil {
		return err
	}
	if len(entries) != len(table.Rows)-1 {
		return fmt.Errorf("it has %d entries", len(entries))
	}
	for i, row := range table.Rows[1:] {
		e := entries[i]
		by, command, events := row.Cells[0].Value, row.Cells[1].Value, row.Cells[2].Value
		if e.Actor != w.user(by) || string(e.Cause) != command || typesOf(e.Events) != events || e.Time.IsZero() {
			return fmt.Errorf("entry %d: %s by %s brought %s", i+1, e.Cause, e.Actor, typesOf(e.Events))
		}
	}
	return nil
}

// historyUnbroken checks that no entry is missing, doubled or changed: versions
// and hashes follow one another up to what can be read now.
func (w *world) historyUnbroken(user, session string) error {
	entries, err := w.history(user, session)
	if err != nil {
		return err
	}
	version, hash := uint64(1), ""
	commits := map[string]bool{}
	for _, e := range entries {
		if e.Version != version || e.Prev != hash || commits[e.Commit] {
			return fmt.Errorf("entry %s at version %d does not follow version %d", e.Commit, e.Version, version-1)
		}
		version, hash, commits[e.Commit] = version+uint64(len(e.Events)), e.Hash, true
	}
	s, err := w.get(user, session)
	if err != nil {
		return err
	}
	if s.Version != version-1 {
		return fmt.Errorf("the session is at version %d, its history at %d", s.Version, version-1)
	}
	return nil
}

func (w *world) lastEntry(user, session, list string) error {
	entries, err := w.history(user, session)
	if err != nil {
		return err
	}
	if got := typesOf(entries[len(entries)-1].Events); got != list {
		return fmt.Errorf("it is %q", got)
	}
	return nil
}

func (w *world) commandsAre(user, session, list string) error {
	entries, err := w.history(user, session)
	if err != nil {
		return err
	}
	var got []string
	for _, e := range entries {
		got = append(got, string(e.Cause))
	}
	if strings.Join(got, ", ") != list {
		return fmt.Errorf("they are %v", got)
	}
	return nil
}

func (w *world) takeTurns(user, session string) error {
	entries, err := w.history(user, session)
	if err != nil {
		return err
	}
	paused := false
	for _, e := range entries {
		if e.Cause != domain.VerbPause && e.Cause != domain.VerbResume {
			continue
		}
		if now := e.Cause == domain.VerbPause; now == paused {
			return fmt.Errorf("two times %s, at version %d", e.Cause, e.Version)
		}
		paused = !paused
	}
	return nil
}
