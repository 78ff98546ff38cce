// Command temporal-server is the server of a comparison for Temporal: its
// development server (all services in one process, on SQLite) made from Temporal's
// own packages. It is a module of its own, outside of the workspace: it needs
// another version of Temporal's API than the newest SDK, and some 150 modules.
package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"strconv"
	"time"

	"github.com/google/uuid"
	"go.temporal.io/server/common/authorization"
	"go.temporal.io/server/common/cluster"
	"go.temporal.io/server/common/config"
	"go.temporal.io/server/common/dynamicconfig"
	"go.temporal.io/server/common/log"
	"go.temporal.io/server/common/membership/static"
	sqliteplugin "go.temporal.io/server/common/persistence/sql/sqlplugin/sqlite"
	"go.temporal.io/server/common/primitives"
	"go.temporal.io/server/schema/sqlite"
	"go.temporal.io/server/temporal"

	"reprise/bench/load"
)

func main() {
	os.Exit(load.Main(map[string]load.Role{"server": serve}))
}

// namespace is the one that a development server starts with.
const namespace = "default"

// The names of the one cluster and of its store.
const (
	loopback    = "127.0.0.1"
	clusterName = "active"
	storeName   = "sqlite-default"
)

// setting is what the harness chooses of the server.
type setting struct {
	port int
	// file is the database; empty keeps it in memory.
	file string
	// journal and synchronous are SQLite's pragmas; empty leaves the default.
	journal, synchronous string
	// shards is the number of history shards, pollRPS how often a second each of
	// their queues looks for tasks; 0 leaves the default.
	shards, pollRPS int
	// eager lets the server hand out the next activity in the answer to a worker.
	eager bool
}

// serve runs the development server until ctx ends.
func serve(ctx context.Context, args []string) error {
	var s setting
	flags := load.Flags("server")
	flags.IntVar(&s.port, "port", 0, "`PORT` of the frontend")
	flags.StringVar(&s.file, "file", "", "database `FILE`; memory without")
	flags.StringVar(&s.journal, "journal-mode", "", "SQLite's journal_mode")
	flags.StringVar(&s.synchronous, "synchronous", "", "SQLite's synchronous")
	flags.IntVar(&s.shards, "shards", 1, "`N` history shards")
	flags.IntVar(&s.pollRPS, "poll-rps", 0, "`N` looks of a queue for tasks a second; 0 for the default")
	flags.BoolVar(&s.eager, "eager", false, "hand out activities eagerly")
	if err := flags.Parse(args); err != nil {
		return err
	}
	server, err := s.server(ctx)
	if err != nil {
		return err
	}
	if err := server.Start(); err != nil {
		return fmt.Errorf("cannot start: %w", err)
	}
	<-ctx.Done()
	return server.Stop()
}

func (s setting) server(ctx context.Context) (temporal.Server, error) {
	store, err := s.store()
	if err != nil {
		return nil, err
	}
	cfg, err := s.config(ctx, store)
	if err != nil {
		return nil, err
	}
	return temporal.NewServer(
		temporal.WithConfig(cfg),
		temporal.ForServices(temporal.DefaultServices),
		temporal.WithStaticHosts(hosts(cfg)),
		temporal.WithLogger(log.NewNoopLogger()),
		temporal.WithAuthorizer(authorization.NewNoopAuthorizer()),
		temporal.WithDynamicConfigClient(s.dynamic()),
	)
}

// store makes the database with its schema and the namespace.
func (s setting) store() (*config.SQL, error) {
	store := &config.SQL{PluginName: sqliteplugin.PluginName, DatabaseName: s.file, ConnectAttributes: map[string]string{"mode": "rwc"}}
	if s.file == "" {
		store.DatabaseName = "bench"
		store.ConnectAttributes = map[string]string{"mode": "memory", "cache": "shared"}
	}
	for pragma, value := range map[string]string{"journal_mode": s.journal, "synchronous": s.synchronous} {
		if value != "" {
			store.ConnectAttributes[pragma] = value
		}
	}
	if s.file != "" {
		if err := sqlite.SetupSchema(store); err != nil {
			return nil, fmt.Errorf("cannot make the database: %w", err)
		}
	}
	ns, err := sqlite.NewNamespaceConfig(clusterName, namespace, false, nil)
	if err != nil {
		return nil, err
	}
	if err := sqlite.CreateNamespaces(store, ns); err != nil {
		return nil, fmt.Errorf("cannot make the namespace: %w", err)
	}
	return store, nil
}

// config is what the development server sets, with all services in one process.
func (s setting) config(ctx context.Context, store *config.SQL) (*config.Config, error) {
	cfg := &config.Config{}
	address := net.JoinHostPort(loopback, strconv.Itoa(s.port))
	cfg.Global.Membership = config.Membership{MaxJoinDuration: 30 * time.Second, BroadcastAddress: loopback}
	cfg.Persistence = config.Persistence{
		DefaultStore: storeName, VisibilityStore: storeName, NumHistoryShards: int32(s.shards),
		DataStores: map[string]config.DataStore{storeName: {SQL: store}},
	}
	cfg.ClusterMetadata = &cluster.Config{
		FailoverVersionIncrement: 10, MasterClusterName: clusterName, CurrentClusterName: clusterName,
		ClusterInformation: map[string]cluster.ClusterInformation{
			clusterName: {Enabled: true, InitialFailoverVersion: 1, RPCAddress: address, ClusterID: uuid.NewString()},
		},
	}
	cfg.DCRedirectionPolicy.Policy = "noop"
	cfg.Archival.History.State, cfg.Archival.Visibility.State = "disabled", "disabled"
	cfg.NamespaceDefaults.Archival.History.State, cfg.NamespaceDefaults.Archival.Visibility.State = "disabled", "disabled"
	cfg.PublicClient.HostPort = address
	var err error
	cfg.Services, err = services(ctx, s.port)
	return cfg, err
}

// services gives every service its ports; only the frontend's is chosen.
func services(ctx context.Context, frontend int) (map[string]config.Service, error) {
	names := []string{"frontend", "history", "matching", "worker"}
	ports, err := freePorts(ctx, 2*len(names))
	if err != nil {
		return nil, err
	}
	all := map[string]config.Service{}
	for i, name := range names {
		rpc := config.RPC{GRPCPort: ports[2*i], MembershipPort: ports[2*i+1], BindOnLocalHost: true}
		if name == "frontend" {
			rpc.GRPCPort = frontend
		}
		all[name] = config.Service{RPC: rpc}
	}
	return all, nil
}

// hosts says where each service is, so that none looks for the others.
func hosts(cfg *config.Config) map[primitives.ServiceName]static.Hosts {
	all := map[primitives.ServiceName]static.Hosts{}
	for name, service := range cfg.Services {
		all[primitives.ServiceName(name)] = static.SingleLocalHost(net.JoinHostPort(loopback, strconv.Itoa(service.RPC.GRPCPort)))
	}
	return all
}

// freePorts finds n ports of the loopback that nobody listens on.
func freePorts(ctx context.Context, n int) (ports []int, err error) {
	for range n {
		l, listenErr := new(net.ListenConfig).Listen(ctx, "tcp", net.JoinHostPort(loopback, "0"))
		if listenErr != nil {
			return nil, fmt.Errorf("no free port: %w", listenErr)
		}
		defer func() { err = errors.Join(err, l.Close()) }()
		_, text, splitErr := net.SplitHostPort(l.Addr().String())
		port, portErr := strconv.Atoi(text)
		if err := errors.Join(splitErr, portErr); err != nil {
			return nil, err
		}
		ports = append(ports, port)
	}
	return ports, nil
}

// tunedRPS is more requests a second than anybody here makes.
const tunedRPS = 1_000_000

// dynamic is the dynamic configuration: what the development server sets, whether
// activities are eager (the server's default is no), and how often the queues of
// a shard look for tasks, which bounds how fast steps follow each other; with
// that go the bounds on requests.
func (s setting) dynamic() dynamicconfig.StaticClient {
	values := dynamicconfig.StaticClient{
		dynamicconfig.HistoryCacheHostLevelMaxSize.Key():                 8096,
		dynamicconfig.FrontendMaxNamespaceVisibilityRPSPerInstance.Key(): 100,
		dynamicconfig.ForceSearchAttributesCacheRefreshOnRead.Key():      true,
		dynamicconfig.FrontendPersistenceMaxQPS.Key():                    10_000,
		dynamicconfig.HistoryPersistenceMaxQPS.Key():                     45_000,
		dynamicconfig.EnableActivityEagerExecution.Key():                 s.eager,
	}
	if s.pollRPS == 0 {
		return values
	}
	for _, queue := range []string{"transfer", "timer", "visibility"} {
		values[dynamicconfig.MakeKey("history."+queue+"ProcessorMaxPollRPS")] = s.pollRPS
	}
	for _, bound := range []string{"frontend.rps", "frontend.namespaceRPS", "history.rps", "matching.rps", "frontend.persistenceMaxQPS", "history.persistenceMaxQPS", "matching.persistenceMaxQPS"} {
		values[dynamicconfig.MakeKey(bound)] = tunedRPS
	}
	return values
}
