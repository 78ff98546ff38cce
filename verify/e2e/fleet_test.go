package e2e

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go/jetstream"
)

// berthVariable makes the test binary run a NATS server and nothing else, at the
// berth that it names as JSON: a server in a process of its own can be killed.
const berthVariable = "REPRISE_E2E_BERTH"

// berth is where one server of a fleet lives, for as long as the test runs.
type berth struct {
	Name string `json:"name"`
	Dir  string `json:"dir"`
	// Client, Route and Monitor are its ports, Routes those of all for each other.
	Client  int   `json:"client"`
	Route   int   `json:"route"`
	Monitor int   `json:"monitor"`
	Routes  []int `json:"routes"`
}

// runServer runs a server until the process is killed, or the test that started it
// has ended.
func runServer(text string) int {
	var b berth
	err := json.Unmarshal([]byte(text), &b)
	var srv *server.Server
	if err == nil {
		srv, err = server.NewServer(b.options())
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	go func() {
		_, _ = io.Copy(io.Discard, os.Stdin) // it ends with the test
		os.Exit(1)
	}()
	srv.Start()
	if !srv.ReadyForConnections(patience) { // it says nothing of a port that it can't have
		return 1
	}
	srv.WaitForShutdown()
	return 0
}

func (b berth) options() *server.Options {
	o := &server.Options{
		ServerName: b.Name, Host: "127.0.0.1", Port: b.Client, HTTPHost: "127.0.0.1", HTTPPort: b.Monitor, NoLog: true,
		JetStream: true, StoreDir: b.Dir, Cluster: server.ClusterOpts{Name: "test-" + strconv.Itoa(b.Routes[0]), Host: "127.0.0.1", Port: b.Route},
	}
	for _, port := range b.Routes {
		o.Routes = append(o.Routes, &url.URL{Scheme: "nats", Host: fmt.Sprintf("127.0.0.1:%d", port)})
	}
	return o
}

// fleetSize is the number of servers of a cluster.
const fleetSize = 3

// fleet are servers that listen to each other on the loopback alone. It is for one
// goroutine.
type fleet struct {
	berths  [fleetSize]berth
	servers [fleetSize]*run
}

// run is one run of a server; ended is closed after it.
type run struct {
	process *os.Process
	ended   chan struct{}
}

// newFleet starts the servers. Somebody else may take a port before they do: then
// others are tried.
func newFleet(t *testing.T) *fleet {
	t.Helper()
	for range 5 {
		f := designFleet(t, freePorts(t, 3*fleetSize))
		t.Cleanup(f.killAll)
		if f.startAll(t) && f.elects() {
			return f
		}
		f.killAll()
	}
	t.Fatal("no cluster starts")
	return nil
}

func designFleet(t *testing.T, ports []int) *fleet {
	f := &fleet{}
	for i := range f.berths {
		f.berths[i] = berth{
			Name: fmt.Sprint("n", i), Dir: t.TempDir(),
			Client: ports[i], Route: ports[fleetSize+i], Monitor: ports[2*fleetSize+i], Routes: ports[fleetSize : 2*fleetSize],
		}
	}
	return f
}

// startAll reports whether every server has its ports.
func (f *fleet) startAll(t *testing.T) bool {
	t.Helper()
	for i := range f.servers {
		f.launch(t, i)
	}
	for i := range f.servers {
		if !f.awaitServer(t, i) {
			return false
		}
	}
	return true
}

// start starts a server again, once nobody else has one of its ports.
func (f *fleet) start(t *testing.T, i int) {
	t.Helper()
	eventually(t, func() error {
		f.launch(t, i)
		if !f.awaitServer(t, i) {
			return fmt.Errorf("server %d does not start again", i)
		}
		return nil
	})
}

func (f *fleet) launch(t *testing.T, i int) {
	t.Helper()
	text, err := json.Marshal(f.berths[i])
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(os.Args[0])
	cmd.Env, cmd.Stderr = append(os.Environ(), berthVariable+"="+string(text)), os.Stderr
	if _, err := cmd.StdinPipe(); err != nil { // open for as long as this process lives
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	r := &run{process: cmd.Process, ended: make(chan struct{})}
	go func() {
		_ = cmd.Wait() // it is killed
		close(r.ended)
	}()
	f.servers[i] = r
}

// awaitServer returns once a server answers; false if it has ended.
func (f *fleet) awaitServer(t *testing.T, i int) bool {
	t.Helper()
	ended := false
	eventually(t, func() error {
		select {
		case <-f.servers[i].ended:
			ended = true
			return nil
		default:
			return f.look(i, "varz", &struct{}{})
		}
	})
	return !ended
}

// look reads what a server says of itself.
func (f *fleet) look(i int, what string, v any) error {
	r, err := http.Get(fmt.Sprintf("http://127.0.0.1:%d/%s", f.berths[i].Monitor, what))
	if err != nil {
		return err
	}
	defer func() { _ = r.Body.Close() }()
	return json.NewDecoder(r.Body).Decode(v)
}

// kill ends a server at once, as a crash would.
func (f *fleet) kill(i int) {
	if r := f.servers[i]; r != nil {
		_ = r.process.Kill() // it may have ended
		<-r.ended
	}
}

// stop has a server shut down, as for an update.
func (f *fleet) stop(i int) {
	r := f.servers[i]
	_ = r.process.Signal(os.Interrupt) // it may have ended
	<-r.ended
}

func (f *fleet) killAll() {
	for i := range f.servers {
		f.kill(i)
	}
}

// urls are where clients connect, separated by commas.
func (f *fleet) urls() string {
	var all []string
	for _, b := range f.berths {
		all = append(all, fmt.Sprintf("nats://127.0.0.1:%d", b.Client))
	}
	return strings.Join(all, ",")
}

// elects reports whether every server comes to know which one leads all of them. One
// that could not have its port for the others never does.
func (f *fleet) elects() bool {
	for deadline := time.Now().Add(patience / 2); time.Now().Before(deadline); <-time.After(lookAgain) {
		if f.led() {
			return true
		}
	}
	return false
}

// led reports whether all servers know of the same leader, and it of all of them.
func (f *fleet) led() bool {
	first, err := f.meta(0)
	if err != nil || first.Leader == "" {
		return false
	}
	for i, b := range f.berths {
		m, err := f.meta(i)
		if err != nil || m.Leader != first.Leader || m.Size != fleetSize || m.Leader == b.Name && !m.followed() {
			return false
		}
	}
	return true
}

// meta is what a server knows of who leads all servers, and the leader of the others.
type meta struct {
	Leader   string                `json:"leader"`
	Size     int                   `json:"cluster_size"` //nolint:tagliatelle // the server writes it so
	Replicas []*jetstream.PeerInfo `json:"replicas"`
}

// followed reports whether all others keep up with the leader.
func (m meta) followed() bool {
	behind := slices.ContainsFunc(m.Replicas, func(p *jetstream.PeerInfo) bool { return p.Offline || !p.Current })
	return len(m.Replicas) == fleetSize-1 && !behind
}

func (f *fleet) meta(i int) (meta, error) {
	var v struct {
		Meta meta `json:"meta_cluster"` //nolint:tagliatelle // as above
	}
	err := f.look(i, "jsz", &v)
	return v.Meta, err
}

// leader is the server that leads the others, -1 if there is none.
func (f *fleet) leader() int {
	for i := range f.servers {
		if m, err := f.meta(i); err == nil && m.Leader != "" {
			return f.named(m.Leader)
		}
	}
	return -1
}

// named returns the server with a name, -1 if there is none.
func (f *fleet) named(name string) int {
	for i, b := range f.berths {
		if b.Name == name {
			return i
		}
	}
	return -1
}

// leaderOf is the server that leads a stream.
func (f *fleet) leaderOf(t *testing.T, p *peer, stream string) int {
	t.Helper()
	leader := -1
	eventually(t, func() error {
		s, err := p.stream(t).Stream(bounded(t), stream)
		if err != nil {
			return err
		}
		if c := s.CachedInfo().Cluster; c != nil {
			leader = f.named(c.Leader)
		}
		if leader < 0 {
			return errors.New("stream " + stream + " has no leader")
		}
		return nil
	})
	return leader
}

// awaitReplicas waits until every stream has its leader, and all its replicas are
// there.
func (f *fleet) awaitReplicas(t *testing.T, p *peer) {
	t.Helper()
	eventually(t, func() error {
		list, seen := p.stream(t).ListStreams(bounded(t)), 0
		for info := range list.Info() {
			seen++
			if err := attended(info); err != nil {
				return err
			}
		}
		if seen == 0 {
			return fmt.Errorf("no streams (error %w)", list.Err())
		}
		return list.Err()
	})
}

func attended(info *jetstream.StreamInfo) error {
	if info.Cluster == nil || info.Cluster.Leader == "" {
		return fmt.Errorf("stream %s has no leader", info.Config.Name)
	}
	for _, r := range info.Cluster.Replicas {
		if r.Offline {
			return fmt.Errorf("stream %s lacks its replica on %s", info.Config.Name, r.Name)
		}
	}
	return nil
}
