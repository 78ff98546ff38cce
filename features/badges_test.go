package features

import (
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/nats-io/nats.go"

	"reprise/auth"
	"reprise/contract"
	"reprise/domain"
	"reprise/engine"
	"reprise/natsnode"
)

// badgeValid is how long the credentials of a scenario last.
const badgeValid = time.Hour

// badges are the credentials of a service that asks for them, and a connection
// for each. A nil one has none. It is safe for concurrent use.
type badges struct {
	mu    sync.Mutex
	realm *auth.Realm
	held  map[badge]*holder
}

// badge is what credentials say of somebody; action is a worker's.
type badge struct {
	role         auth.Role
	name, action string
}

// holder is somebody who is connected, and what the server has denied them.
type holder struct {
	nc *nats.Conn

	mu      sync.Mutex
	denied  int
	trouble error
}

// guard makes the credentials of a service once, and what its server is told.
func (s *service) guard() (*natsnode.Auth, error) {
	if s.badges == nil {
		realm, err := auth.Init(filepath.Join(s.dir, "auth"), auth.Config{})
		if err != nil {
			return nil, err
		}
		s.badges = &badges{realm: realm, held: map[badge]*holder{}}
	}
	server, err := s.badges.realm.Server()
	guard := natsnode.Auth(server)
	return &guard, err
}

// engine is how an engine connects, and the accounts it expects.
func (b *badges) engine(dial auth.Dial) (auth.Dial, *engine.Accounts, error) {
	dial, err := b.realm.Engine(dial)
	return dial, &engine.Accounts{
		Users: b.realm.Account(auth.RoleUser), Workers: b.realm.Account(auth.RoleWorker), Auditors: b.realm.Account(auth.RoleAuditor),
	}, err
}

// connFor is the connection of whoever a subject names as its sender.
func (b *badges) connFor(n contract.Names, subject, url string) (*nats.Conn, error) {
	tokens := strings.Split(strings.TrimPrefix(subject, n.Prefix()+"."), ".")
	if len(tokens) < 3 {
		return nil, fmt.Errorf("nobody sends to %s", subject)
	}
	who := badge{role: auth.RoleUser, name: tokens[1]}
	switch tokens[0] {
	case "wrk":
		who.role, who.action = auth.RoleWorker, tokens[2]
	case "adm":
		who.role = auth.RoleOperator
	}
	h, err := b.holder(who, url)
	if err != nil {
		return nil, err
	}
	return h.nc, nil
}

// holder connects somebody, with credentials of their own.
func (b *badges) holder(who badge, url string) (*holder, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if h := b.held[who]; h != nil {
		return h, nil
	}
	name, actions := who.name, []string(nil)
	if who.role == auth.RoleUser {
		var err error
		if name, err = contract.ParseUserToken(who.name); err != nil {
			return nil, err
		}
	}
	if who.action != "" {
		actions = []string{who.action}
	}
	creds, err := b.realm.Temporary(who.role, name, badgeValid, actions...)
	if err != nil {
		return nil, err
	}
	options, err := auth.With(creds)
	if err != nil {
		return nil, err
	}
	h := &holder{}
	h.nc, err = nats.Connect(url, append(options, nats.Timeout(patience), nats.ErrorHandler(h.note))...)
	if err == nil {
		b.held[who] = h
	}
	return h, err
}

func (h *holder) note(_ *nats.Conn, _ *nats.Subscription, err error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if errors.Is(err, nats.ErrPermissionViolation) {
		h.denied++
		return
	}
	h.trouble = errors.Join(h.trouble, err)
}

// wasDenied is how often the server has denied something so far.
func (h *holder) wasDenied() (int, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.denied, h.trouble
}

// hangUp closes all connections.
func (b *badges) hangUp() {
	if b == nil {
		return
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	for who, h := range b.held {
		h.nc.Close()
		delete(b.held, who)
	}
}

// nobodyCrosses has every user of a scenario, where there are credentials, reach
// for what every other one has. The server must deny all of it.
func (w *world) nobodyCrosses() error {
	if !w.svc.storage.badged {
		return nil
	}
	var errs []error
	for theirs := range w.seen {
		owner := w.user(theirs.user)
		w.users.Range(func(user, _ any) bool {
			if user != owner {
				errs = append(errs, w.denied(user.(string), owner, theirs.session))
			}
			return true
		})
	}
	return errors.Join(errs...)
}

// denied reaches for a session of another's in every way there is.
func (w *world) denied(user, other, session string) error {
	h, err := w.svc.badges.holder(badge{role: auth.RoleUser, name: contract.UserToken(user)}, w.svc.node.URL())
	if err != nil {
		return err
	}
	before, _ := h.wasDenied()
	sent, heard := w.reaches(other, session)
	for _, subject := range sent {
		if err := h.nc.PublishRequest(subject, h.nc.NewRespInbox(), []byte("{}")); err != nil {
			return err
		}
	}
	for _, subject := range heard {
		if _, err := h.nc.SubscribeSync(subject); err != nil {
			return err
		}
	}
	if err := h.nc.Flush(); err != nil {
		return err
	}
	return eventually(func() error {
		denied, trouble := h.wasDenied()
		if got, want := denied-before, len(sent)+len(heard); got != want || trouble != nil {
			return errors.Join(fmt.Errorf("%s was denied %d of %d ways to %s's session %s", user, got, want, other, session), trouble)
		}
		return nil
	})
}

// reaches are the ways to a session of somebody's: what is sent, and what is
// listened to.
func (w *world) reaches(user, session string) (sent, heard []string) {
	n := w.names
	for _, verb := range []domain.Verb{domain.VerbStart, domain.VerbCancel, domain.VerbDelete, domain.VerbFork} {
		sent = append(sent, n.Command(user, session, verb), n.Queue(user, session, verb))
	}
	for _, name := range []string{contract.QueryGet, contract.QueryList, contract.QueryCount, contract.QueryHistory, contract.QueryAt} {
		sent = append(sent, n.Query(user, name))
	}
	key := n.SessionsBucket() + "." + contract.UserToken(user) + "." + session
	sent = append(sent, n.Event(user, session), "$KV."+key,
		"$JS.API.DIRECT.GET.KV_"+n.SessionsBucket()+".$KV."+key, "$JS.API.DIRECT.GET."+n.EventsStream()+"."+n.Event(user, session))
	return sent, []string{n.Live(user, session), auth.InboxPrefix(contract.UserToken(user)) + ".>"}
}
