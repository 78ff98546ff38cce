package features

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/cucumber/godog"
	"github.com/nats-io/nats.go/jetstream"

	"reprise/archive"
	"reprise/contract"
	"reprise/domain"
	"reprise/engine"
	"reprise/eventstore"
	esjs "reprise/eventstore/jetstream"
)

// portability is what a scenario knows of sessions that are moved.
type portability struct {
	*world

	// before are the histories of before they were moved, by session.
	before map[string]string
	report archive.ImportReport
	failed error
}

func (w *world) portability(sc *godog.ScenarioContext) {
	p := &portability{world: w}
	sc.When(`^the service is moved to the other storage$`, func() error { return p.move() })
	sc.When(`^the service is moved to the other storage and back$`, func() error { return errors.Join(p.move(), p.move()) })
	sc.When(`^the service is moved to the other storage and restarted$`, func() error {
		if err := p.move(); err != nil {
			return err
		}
		p.hangUp()
		return p.svc.restart(nil)
	})
	sc.When(`^the move to the other storage is killed half-way and made again$`, p.moveKilled)
	sc.When(`^(\w+) resumes session "([^"]*)" while the service is being moved$`, p.resumeMeanwhile)
	sc.When(`^everything is exported and imported into a new service$`, func() error { return p.exportInto(p.renew, whole) })
	sc.When(`^everything is exported and imported into the same service$`, func() error { return p.exportInto(nil, whole) })
	sc.When(`^everything is exported and imported for (\w+)$`, p.exportFor)
	sc.When(`^everything is exported, and imported into a new service from a file without its last line$`, func() error {
		return p.exportInto(p.renew, cut)
	})
	sc.When(`^everything is exported, and imported where (\w+) has a (\w+) session "([^"]*)" of her own$`, func(user, state, session string) error {
		return p.exportInto(func() error { return errors.Join(p.renew(), p.lead(user, session, state, usual())) }, whole)
	})
	sc.When(`^everything is exported, (\w+) deletes session "([^"]*)", and it is imported again$`, func(user, session string) error {
		return p.exportInto(func() error { return p.do(user, session, domain.VerbDelete, nil) }, whole)
	})
	sc.Then(`^every history is the same as before$`, p.sameHistories)
	sc.Then(`^the import has changed nothing$`, p.changedNothing)
	sc.Then(`^the import is refused because "([^"]*)"$`, p.refusedImport)
}

// opened calls fn with the event store of a service, opened as an operator does.
func opened(svc *service, fn func(context.Context, jetstream.JetStream, *eventstore.Store) error) error {
	ctx, cancel := context.WithTimeout(context.Background(), startBound)
	defer cancel()
	read, err := svc.node.Dial("operator")
	if err != nil {
		return err
	}
	defer read.Close()
	write, err := svc.node.Dial("operator-write", esjs.WriteOptions()...)
	if err != nil {
		return err
	}
	defer write.Close()
	js, err := jetstream.New(read)
	if err != nil {
		return err
	}
	driver, err := esjs.Open(ctx, esjs.Config{Read: read, Write: write, Names: contract.Default()})
	if err != nil {
		return err
	}
	store, err := eventstore.Open(ctx, eventstore.Config{Driver: driver, CacheBytes: -1})
	if err == nil {
		err = fn(ctx, js, store)
	}
	return errors.Join(err, driver.Close())
}

// histories reads every history of the scenario's service.
func (p *portability) histories() (map[string]string, error) {
	all := map[string]string{}
	err := opened(p.svc, func(ctx context.Context, _ jetstream.JetStream, store *eventstore.Store) error {
		return store.Raw(ctx, eventstore.Filter{}, func(m eventstore.Message) error {
			all[m.Key.String()] += string(m.Body) + "\n"
			return nil
		})
	})
	return all, err
}

// remember notes the histories of before, once.
func (p *portability) remember() (err error) {
	if p.before == nil {
		p.before, err = p.histories()
	}
	return err
}

// other starts a service on the storage that this one is not on.
func (p *portability) other() (*service, error) {
	kind := storages()[0]
	if p.svc.storage.memory {
		kind = storages()[1]
	}
	return startService(kind, p.newDir())
}

// settle goes on with another service, and stops the one before.
func (p *portability) settle(to *service) error {
	p.hangUp()
	before := p.svc
	p.svc = to
	p.position = contract.Position{}
	return before.stop()
}

// move brings everything to a service on the other storage.
func (p *portability) move() error {
	if err := p.remember(); err != nil {
		return err
	}
	to, err := p.other()
	if err != nil {
		return err
	}
	if err := p.copyTo(to, nil); err != nil {
		return errors.Join(err, to.stop())
	}
	return p.settle(to)
}

// copyTo copies all sessions; progress may cancel it.
func (p *portability) copyTo(to *service, progress func(archive.Progress, context.CancelFunc)) error {
	return opened(p.svc, func(ctx context.Context, _ jetstream.JetStream, source *eventstore.Store) error {
		return opened(to, func(_ context.Context, js jetstream.JetStream, target *eventstore.Store) error {
			ctx, cancel := context.WithCancel(ctx)
			defer cancel()
			book, err := archive.OpenCheckpoints(ctx, js, contract.Default())
			if err != nil {
				return err
			}
			_, err = archive.Copy(ctx, source, target, archive.CopyOptions{Checkpoints: book, Run: "move", Progress: func(at archive.Progress) {
				if progress != nil {
					progress(at, cancel)
				}
			}})
			return err
		})
	})
}

func (p *portability) moveKilled() error {
	if err := p.remember(); err != nil {
		return err
	}
	to, err := p.other()
	if err != nil {
		return err
	}
	err = p.copyTo(to, func(at archive.Progress, kill context.CancelFunc) {
		if at.Doing == "writing" && at.Sessions == 2 {
			kill()
		}
	})
	if !errors.Is(err, context.Canceled) {
		return errors.Join(fmt.Errorf("the move was not killed: %w", err), to.stop())
	}
	if err := p.copyTo(to, nil); err != nil {
		return errors.Join(err, to.stop())
	}
	return p.settle(to)
}

// resumeMeanwhile makes the service read-only, as a move does, and commands it.
func (p *portability) resumeMeanwhile(user, session string) error {
	return opened(p.svc, func(ctx context.Context, js jetstream.JetStream, _ *eventstore.Store) error {
		nc, err := p.conn()
		if err != nil {
			return err
		}
		mark, err := engine.OpenReadOnlyMark(ctx, js, contract.Default())
		if err != nil {
			return err
		}
		set := engine.ReadOnly{ID: "move", By: "grace", Reason: "it is being moved to another server"}
		if err := errors.Join(mark.Set(ctx, set), mark.Settle(ctx, nc)); err != nil {
			return err
		}
		return p.happened(p.ask(p.names.Command(p.user(user), session, domain.VerbResume), nil))
	})
}

// renew goes on with a new, empty service on the same storage.
func (p *portability) renew() error {
	to, err := startService(p.svc.storage, p.newDir())
	if err != nil {
		return err
	}
	return p.settle(to)
}

func whole(file []byte) []byte { return file }

// cut leaves the last line out.
func cut(file []byte) []byte {
	return file[:bytes.LastIndexByte(bytes.TrimSuffix(file, []byte("\n")), '\n')+1]
}

// exportInto exports everything, lets something happen, and imports the file.
func (p *portability) exportInto(then func() error, change func([]byte) []byte) error {
	file, err := p.export()
	if err != nil {
		return err
	}
	if then != nil {
		if err := then(); err != nil {
			return err
		}
	}
	p.failed = p.load(change(file), archive.ImportOptions{})
	return nil
}

func (p *portability) exportFor(user string) error {
	file, err := p.export()
	if err != nil {
		return err
	}
	return p.load(file, archive.ImportOptions{User: p.user(user), Actor: "grace"})
}

func (p *portability) export() ([]byte, error) {
	if err := p.remember(); err != nil {
		return nil, err
	}
	var file bytes.Buffer
	err := opened(p.svc, func(ctx context.Context, _ jetstream.JetStream, store *eventstore.Store) error {
		_, err := archive.Export(ctx, store, &file, archive.ExportOptions{})
		return err
	})
	return file.Bytes(), err
}

func (p *portability) load(file []byte, o archive.ImportOptions) error {
	return opened(p.svc, func(ctx context.Context, _ jetstream.JetStream, store *eventstore.Store) (err error) {
		p.report, err = archive.Import(ctx, store, func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(file)), nil }, o)
		info, infoErr := store.Info(ctx)
		p.saw(store.Position(info.Last)) // what is asked next has to have seen the import
		return errors.Join(err, infoErr)
	})
}

func (p *portability) sameHistories() error {
	now, err := p.histories()
	if err != nil || p.failed != nil {
		return errors.Join(err, p.failed)
	}
	for key, was := range p.before {
		if now[key] != was {
			return fmt.Errorf("session %s was\n%s\nand is\n%s", key, was, now[key])
		}
	}
	if len(now) != len(p.before) {
		return fmt.Errorf("there were %d sessions and are %d", len(p.before), len(now))
	}
	return nil
}

func (p *portability) changedNothing() error {
	if p.failed != nil || p.report.Written > 0 || p.report.Unchanged == 0 {
		return fmt.Errorf("the import reports %+v, %w", p.report, p.failed)
	}
	return nil
}

func (p *portability) refusedImport(because string) error {
	if p.failed == nil || !strings.Contains(p.failed.Error(), because) {
		return fmt.Errorf("it ended with: %w", p.failed)
	}
	return nil
}
