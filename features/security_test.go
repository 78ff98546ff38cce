package features

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/cucumber/godog"
	"github.com/nats-io/nats.go"

	"reprise/auth"
	"reprise/contract"
	"reprise/domain"
)

// unheard is how long a request that nobody should answer is waited for.
const unheard = 300 * time.Millisecond

// secured is a service that asks for credentials, of one scenario.
type secured struct {
	newDir func() string
	realm  *auth.Realm
	svc    *service
	names  contract.Names
	creds  map[string][]byte
	// denials come from the server; err is how connecting ended.
	denials chan error
	err     error
	ended   chan struct{}
	read    []string
}

// credentials registers the steps about them, and ends what they opened.
func (w *world) credentials(sc *godog.ScenarioContext) {
	s := &secured{newDir: w.newDir, names: w.names, creds: map[string][]byte{}, denials: make(chan error, 16), ended: make(chan struct{})}
	sc.Given(`^(\w+) has a session "([^"]*)" where credentials are asked for$`, func(user, id string) error {
		if err := s.start(); err != nil {
			return err
		}
		return s.create(user, id)
	})
	sc.Given(`^(\w+) is connected$`, s.connected)
	sc.When(`^somebody connects without credentials$`, func() error { _, s.err = nats.Connect(s.svc.node.URL(), nats.Timeout(patience)); return nil })
	sc.When(`^(\w+)'s credentials are revoked$`, s.revoke)
	sc.When(`^bert wants an answer of his sent as a command to ada's session$`, s.deputy)
	sc.When(`^ada starts her session "([^"]*)"$`, s.begin)
	sc.When(`^auditor eve reads ada's session and its events$`, s.audit)
	for words, a := range s.attempts() {
		sc.When("^"+words+"$", func() error { return s.try(a) })
	}
	sc.Then(`^(?:they are|bert is) turned away$`, s.turnedAway)
	sc.Then(`^(\w+)'s connection ends$`, s.connectionEnds)
	sc.Then(`^the server denies it$`, s.denied)
	sc.Then(`^session "([^"]*)" is as ada left it$`, func(id string) error { return s.commits(id, 1) })
	sc.Then(`^its history names ada alone$`, func() error { return s.commits("release", 2) })
	sc.Then(`^she sees them$`, s.sees)
	sc.After(func(ctx context.Context, _ *godog.Scenario, _ error) (context.Context, error) {
		if s.svc == nil {
			return ctx, nil
		}
		return ctx, s.svc.stop()
	})
}

// start starts a server with credentials, and an engine on it.
func (s *secured) start() error {
	svc, err := startService(storage{name: "credentials", memory: true, badged: true}, s.newDir())
	if err != nil {
		return err
	}
	s.svc, s.realm = svc, svc.badges.realm
	return nil
}

// as connects as somebody; what the server denies is noted.
func (s *secured) as(role auth.Role, name string, more ...nats.Option) (*nats.Conn, error) {
	key := string(role) + name
	if s.creds[key] == nil {
		var actions []string
		if role == auth.RoleWorker {
			actions = []string{"build"}
		}
		_, creds, err := s.realm.Add(role, name, actions...)
		if err != nil {
			return nil, err
		}
		s.creds[key] = creds
	}
	options, err := auth.With(s.creds[key])
	if err != nil {
		return nil, err
	}
	note := nats.ErrorHandler(func(_ *nats.Conn, _ *nats.Subscription, err error) { s.denials <- err })
	return nats.Connect(s.svc.node.URL(), append(append(options, note, nats.Timeout(patience)), more...)...)
}

// ask sends a request as somebody and returns its answer, which must not be a
// rejection.
func (s *secured) ask(role auth.Role, name, subject, body string) (*nats.Msg, error) {
	nc, err := s.as(role, name)
	if err != nil {
		return nil, err
	}
	defer nc.Close()
	m, err := nc.Request(subject, []byte(body), patience)
	if err == nil && m.Header.Get(contract.HeaderError) != "" {
		err = errors.New(m.Header.Get(contract.HeaderError))
	}
	return m, err
}

func (s *secured) create(user, id string) error {
	_, err := s.ask(auth.RoleUser, user, s.names.Command(user, id, domain.VerbCreate), `{"chains":[{"id":"c","steps":[{"id":"s","action":"build"}]}]}`)
	return err
}

func (s *secured) begin(id string) error {
	_, err := s.ask(auth.RoleUser, "ada", s.names.Command("ada", id, domain.VerbStart), "{}")
	return err
}

func (s *secured) connected(user string) error {
	_, err := s.as(auth.RoleUser, user, nats.MaxReconnects(0), nats.ClosedHandler(func(*nats.Conn) { close(s.ended) }))
	return err
}

func (s *secured) revoke(user string) error {
	if _, err := s.realm.Revoke(auth.RoleUser, user); err != nil {
		return err
	}
	err := s.realm.Tell(context.Background(), func(name string, options ...nats.Option) (*nats.Conn, error) {
		return nats.Connect(s.svc.node.URL(), append(options, nats.Timeout(patience))...)
	})
	_, s.err = s.as(auth.RoleUser, user)
	return err
}

// deputy asks with a command of ada's as the subject for the answer.
func (s *secured) deputy() error {
	nc, err := s.as(auth.RoleUser, "bert")
	if err != nil {
		return err
	}
	defer nc.Close()
	err = nc.PublishRequest(s.names.Query("bert", contract.QueryList), s.names.Command("ada", "release", domain.VerbStart), []byte("{}"))
	if err != nil {
		return err
	}
	_, err = nc.Request(s.names.Query("bert", contract.QueryList), []byte("{}"), patience)
	return err
}

// attempt is something that the server has to deny.
type attempt struct {
	role    auth.Role
	name    string
	listens bool
	subject string
}

// attempts are the attempts of the features, by their words.
func (s *secured) attempts() map[string]attempt {
	n := s.names
	user := func(subject string) attempt { return attempt{auth.RoleUser, "bert", false, subject} }
	listening := func(subject string) attempt { return attempt{auth.RoleUser, "bert", true, subject} }
	worker := func(subject string) attempt { return attempt{auth.RoleWorker, "amber", false, subject} }
	command, query := n.Command("ada", "release", domain.VerbStart), n.Query("ada", contract.QueryGet)
	view := "$JS.API.DIRECT.GET.KV_" + n.SessionsBucket() + ".$KV." + n.SessionsBucket() + ".ada.release"
	return map[string]attempt{
		"bert sends a command to ada's session":   user(command),
		"bert queues a command for ada's session": user(n.Queue("ada", "release", domain.VerbStart)),
		"bert asks for ada's session":             user(query),
		"bert reads the view of ada's session":    user(view),
		"bert reads the stream of events":         user("$JS.API.DIRECT.GET." + n.EventsStream()),
		"bert makes a consumer of events":         user("$JS.API.CONSUMER.CREATE." + n.EventsStream()),
		"bert writes an event of ada's":           user(n.Event("ada", "release")),
		"bert watches ada's session":              listening(n.Live("ada", "release")),
		"bert watches everybody":                  listening(n.Prefix() + ".live.>"),
		"bert listens to ada's answers":           listening(auth.InboxPrefix("ada") + ".>"),
		"bert sends an operator's command":        user(n.AdminCommand("bert", "ada", "release", domain.VerbHold)),
		"bert claims a step of ada's session":     user(n.Worker("bert", "build", "ada", "release", domain.VerbClaim)),
		"bert asks the server about itself":       user("$SYS.REQ.SERVER.PING"),

		"amber, who builds, pulls tasks of painters":          worker("$JS.API.CONSUMER.MSG.NEXT." + n.WorkStream() + ".paint"),
		"amber, who builds, claims a step in birch's name":    worker(n.Worker("birch", "build", "ada", "release", domain.VerbClaim)),
		"amber, who builds, sends a command to ada's session": worker(command),
		"amber, who builds, asks for ada's session":           worker(query),

		"auditor eve sends a command to ada's session": {auth.RoleAuditor, "eve", false, command},
	}
}

func (s *secured) try(a attempt) error {
	nc, err := s.as(a.role, a.name)
	if err != nil {
		return err
	}
	defer nc.Close()
	if a.listens {
		_, err = nc.SubscribeSync(a.subject)
		return errors.Join(err, flush(nc))
	}
	if m, err := nc.Request(a.subject, []byte("{}"), unheard); err == nil {
		return fmt.Errorf("it was answered: %s", m.Data)
	}
	return flush(nc) // behind it the server has said what it denies
}

func (s *secured) denied() error {
	select {
	case err := <-s.denials:
		if !errors.Is(err, nats.ErrPermissionViolation) {
			return err
		}
		return nil
	case <-time.After(patience):
		return errors.New("the server denied nothing")
	}
}

func (s *secured) turnedAway() error {
	if !errors.Is(s.err, nats.ErrAuthorization) {
		return fmt.Errorf("connecting gave %w", s.err)
	}
	return nil
}

func (s *secured) connectionEnds(string) error {
	select {
	case <-s.ended:
		return nil
	case <-time.After(patience):
		return errors.New("the connection lives on")
	}
}

// commits checks how many commits ada's session has, all of them hers.
func (s *secured) commits(id string, want int) error {
	m, err := s.ask(auth.RoleUser, "ada", s.names.Query("ada", contract.QueryHistory), `{"session":"`+id+`"}`)
	if err != nil {
		return err
	}
	var history contract.HistoryReply
	if err := json.Unmarshal(m.Data, &history); err != nil {
		return err
	}
	for _, c := range history.Commits {
		if c.Actor != "ada" {
			return fmt.Errorf("%s did %s", c.Actor, c.Cause)
		}
	}
	if len(history.Commits) != want {
		return fmt.Errorf("there are %d commits, want %d", len(history.Commits), want)
	}
	return nil
}

// audit reads a session and its events as an auditor.
func (s *secured) audit() error {
	for subject, body := range map[string]string{
		s.names.Query("ada", contract.QueryGet):        `{"session":"release"}`,
		"$JS.API.DIRECT.GET." + s.names.EventsStream(): `{"last_by_subj":"` + s.names.Event("ada", "release") + `"}`,
	} {
		m, err := s.ask(auth.RoleAuditor, "eve", subject, body)
		if err != nil {
			return err
		}
		s.read = append(s.read, string(m.Data))
	}
	return nil
}

func (s *secured) sees() error {
	for _, text := range s.read {
		if !strings.Contains(text, "release") {
			return fmt.Errorf("she sees %s", text)
		}
	}
	if len(s.read) != 2 {
		return fmt.Errorf("she sees %d things", len(s.read))
	}
	return nil
}
