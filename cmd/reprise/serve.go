package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"github.com/spf13/cobra"

	"reprise/contract"
	"reprise/engine"
	"reprise/natsnode"
)

// serveFlags are the flags of `reprise serve` that no other command has.
type serveFlags struct {
	memory   bool
	listen   string
	sync     durability
	replicas int
	// grouped says that a server elsewhere syncs every write.
	grouped bool
	// perAction and perUser bound the steps that are with workers; 0 for none.
	perAction, perUser int
	metadata           []string
	// cache is how much memory sessions may take, in megabytes.
	cache    int
	level    slog.Level
	guarding guarding
	limits   engine.Limits
	cleanup  serveCleanup
	cleaning engine.CleanupConfig
	// embed says that serve starts its own NATS server; checkServe sets it.
	embed bool
}

// defaultCache and maxCache are megabytes.
const (
	defaultCache = 512
	maxCache     = 1 << 20
)

// serverCommands are those that serve, or are about this program.
func (a *app) serverCommands() []*cobra.Command {
	return []*cobra.Command{a.serveCommand(), a.workerCommand(), a.migrateCommand(), a.versionCommand()}
}

func (a *app) serveCommand() *cobra.Command {
	var s serveFlags
	cmd := &cobra.Command{
		Use:   "serve",
		Short: "Serve sessions: an engine on an embedded NATS server, or on yours",
		Long: `Serve starts an engine and, unless a server is named, the NATS server it works
on: with file storage in a data directory, and a port for every NATS client.

On a server of yours (--nats, --context, or the NATS_* variables of the nats CLI)
it makes its streams if they are missing and checks them if they are not. They
are in the JetStream of that server: a context that names the JetStream domain of
another, or another API prefix, is refused.

An interrupt or SIGTERM drains: commands in flight are answered first.`,
		Example: `  reprise serve
  reprise serve --data /var/lib/reprise --sync always --listen 127.0.0.1:4333
  reprise serve --listen 0.0.0.0:4222 --tls-cert cert.pem --tls-key key.pem
  reprise serve --memory
  reprise serve --nats nats://one:4222,nats://two:4222 --replicas 3`,
		Args: noArguments,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := a.checkServe(cmd, &s); err != nil {
				return err
			}
			return a.serve(cmd.Context(), &s)
		},
	}
	a.serveFlags(cmd, &s)
	return cmd
}

// noArguments refuses what follows the flags.
func noArguments(cmd *cobra.Command, args []string) error {
	if len(args) > 0 {
		return usage(cmd, "it takes no arguments, and %q is one", args[0])
	}
	return nil
}

func (a *app) serveFlags(cmd *cobra.Command, s *serveFlags) {
	f, g := cmd.Flags(), &a.flags
	f.StringVar(&g.data, "data", "", "data `DIR`ectory of the embedded server (default: "+a.shownDataDir()+")")
	f.BoolVar(&s.memory, "memory", false, "keep everything in memory, for as long as this process runs")
	f.StringVar(&s.listen, "listen", natsnode.DefaultListen, "`HOST:PORT` of the embedded server, or none")
	s.sync.flag(cmd)
	f.StringVar(&g.nats, "nats", "", "`URL` of a NATS server to work on instead (default: $NATS_URL)")
	f.StringVar(&g.context, "context", "", "`NAME` of a context of the nats CLI to work on instead (default: $NATS_CONTEXT)")
	f.StringVar(&g.prefix, "prefix", "", "first token of every subject (default: "+contract.DefaultPrefix+")")
	f.IntVar(&s.limits.Rate, "user-rate", 0, "`N` commands a second of one user at most; 0 for any number")
	f.IntVar(&s.limits.Sessions, "user-sessions", 0, "`N` sessions of one user at most; 0 for any number")
	f.IntVar(&s.limits.Payload, "user-payload", 0, "`BYTES` of one command at most; 0 for what a message may have")
	f.IntVar(&s.limits.History, "user-history", 0, "`N` commits of one session at most; 0 for any number")
	f.StringVar(&s.guarding.dir, "auth", "", "`DIR`ectory of credentials (default: auth in the data directory, if `reprise auth init` made it)")
	f.BoolVar(&s.guarding.insecure, "insecure", false, "listen beyond this machine without asking anybody who they are")
	f.StringVar(&s.guarding.cert, "tls-cert", "", "`FILE` with the certificate of the embedded server")
	f.StringVar(&s.guarding.key, "tls-key", "", "`FILE` with its key")
	f.StringVar(&s.guarding.ca, "tls-ca", "", "`FILE` with the authority of clients' certificates, which are required then")
	f.IntVar(&s.replicas, "replicas", 1, "`N` replicas of every stream, on a cluster")
	f.BoolVar(&s.grouped, "group-commit", false, "with --nats: that server has sync_always; write commits in groups that share the syncs")
	f.IntVar(&s.cache, "cache", defaultCache, "`MB` of memory for sessions at most; what is not there is read from the store")
	f.StringSliceVar(&s.metadata, "metadata-keys", nil, "metadata `KEYS` that lists may filter by")
	f.IntVar(&s.perAction, "max-per-action", 0, "at most `N` steps of one action with workers at once (default: any number)")
	f.IntVar(&s.perUser, "max-per-user", 0, "at most `N` steps of one user with workers at once (default: any number)")
	f.TextVar(&s.level, "log-level", slog.LevelInfo, "`LEVEL` of the log on stderr: debug, info, warn or error")
	s.cleanup.flags(cmd)
	_ = cmd.RegisterFlagCompletionFunc("log-level", fixed("debug", "info", "warn", "error"))
}

// embeds reports whether serve starts its own server: no other was named, or a
// flag that only an embedded one has.
func (a *app) embeds(s *serveFlags, changed func(string) bool) bool {
	if a.flags.nats != "" || a.flags.context != "" {
		return false
	}
	return s.memory || changed("listen") || changed("sync") || !a.remote()
}

// checkServe refuses flags that contradict each other, before anything starts.
func (a *app) checkServe(cmd *cobra.Command, s *serveFlags) error {
	changed := cmd.Flags().Changed
	s.embed = a.embeds(s, changed)
	if !s.embed {
		for _, name := range []string{"data", "memory", "listen", "sync", "insecure", "tls-cert", "tls-key", "tls-ca"} {
			if changed(name) {
				return usage(cmd, "--%s is about the embedded server; leave it out with --nats or --context", name)
			}
		}
	}
	if err := s.checkReplicas(cmd); err != nil {
		return err
	}
	if s.memory && changed("data") {
		return usage(cmd, "--memory keeps nothing in a data directory; leave --data out")
	}
	if s.memory && changed("sync") {
		return usage(cmd, "--memory syncs nothing; leave --sync out")
	}
	if s.perAction < 0 || s.perUser < 0 {
		return usage(cmd, "--max-per-action and --max-per-user take 1 and more, or 0 for any number")
	}
	if s.cache < 1 || s.cache > maxCache {
		return usage(cmd, "--cache %d: use 1 to %d megabytes", s.cache, maxCache)
	}
	if err := s.sync.check(cmd); err != nil {
		return err
	}
	if _, err := contract.NewNames(a.flags.prefix); err != nil {
		return usage(cmd, "--prefix: %s", err.Error())
	}
	var err error
	s.cleaning, err = s.cleanup.config(cmd)
	return err
}

// checkReplicas refuses replicas, and what depends on them, where they are not.
func (s *serveFlags) checkReplicas(cmd *cobra.Command) error {
	switch {
	case s.embed && s.replicas != 1:
		return usage(cmd, "--replicas %d needs a cluster: name one with --nats; the embedded server has one replica", s.replicas)
	case s.embed && s.grouped:
		return usage(cmd, "--group-commit is about a server elsewhere; the embedded one does it by itself with --sync always")
	case s.grouped && s.replicas > 1:
		return usage(cmd, "--group-commit is for one replica: on replicated streams the server relaxes sync_always, and groups cost more than they save")
	}
	return nil
}

// serve runs the node and the engine until ctx ends, and drains both.
func (a *app) serve(ctx context.Context, s *serveFlags) error {
	log := slog.New(slog.NewTextHandler(a.err, &slog.HandlerOptions{Level: s.level}))
	g, err := s.guarding.open(a, s)
	if err != nil {
		return err
	}
	node, err := a.serveNode(ctx, s, g, log)
	if err != nil {
		return err
	}
	watching, stopWatching := context.WithCancel(context.WithoutCancel(ctx))
	watched := make(chan error, 1)
	go func() { watched <- node.Run(watching) }()
	cfg, err := g.admit(node, engine.Config{
		Prefix: a.flags.prefix, Memory: node.Storage() == jetstream.MemoryStorage,
		Replicas: s.replicas, GroupCommit: s.grouped, MetadataKeys: s.metadata, Logger: log,
		MaxPerAction: s.perAction, MaxPerUser: s.perUser, Limits: s.limits, Trouble: node.Trouble, Cleanup: s.cleaning,
		Disk: s.disk(), CacheBytes: int64(s.cache) << 20,
	})
	if err == nil {
		err = a.serveEngine(ctx, node, cfg)
	}
	stopWatching()
	return errors.Join(err, <-watched, closeNode(node)) //nolint:contextcheck // ctx has ended, and closing has a bound of its own
}

func (a *app) serveNode(ctx context.Context, s *serveFlags, g *guard, log *slog.Logger) (*natsnode.Node, error) {
	if !s.embed {
		options, err := g.look()
		if err != nil {
			return nil, err
		}
		return natsnode.Connect(ctx, natsnode.Remote{
			URL: a.flags.nats, Context: a.flags.context, Own: true, Options: options, Getenv: a.getenv, Logger: log,
		})
	}
	if err := s.guarding.refuse(s.listen, g); err != nil {
		return nil, err
	}
	opts := s.storage()
	opts.Listen, opts.Logger = s.listen, log
	if !s.memory {
		opts.DataDir = a.dataDir()
	}
	var err error
	if opts.TLS, err = s.guarding.tls(); err != nil {
		return nil, err
	}
	if opts, err = g.protect(opts); err != nil {
		return nil, err
	}
	return natsnode.StartEmbedded(opts)
}

// serveEngine runs an engine until ctx ends. After the storage has failed and is
// back it runs a new one, which makes anew what was only in memory.
func (a *app) serveEngine(ctx context.Context, node *natsnode.Node, cfg engine.Config) error {
	h, err := startHost(ctx, node, cfg)
	if err != nil {
		return unlessEnded(ctx, err)
	}
	if err := a.announce(node, cfg); err != nil {
		return errors.Join(err, stopHost(ctx, h))
	}
	for {
		recovered := false
		if err == nil {
			recovered, err = runHost(ctx, node, h)
		}
		if ctx.Err() != nil {
			return unlessEnded(ctx, err)
		}
		if !recovered && !waitRecovered(ctx, node) {
			return err
		}
		cfg.Logger.WarnContext(ctx, "the engine starts again after a failure of the storage", "error", err)
		h, err = startHost(ctx, node, cfg)
	}
}

// unlessEnded returns err, but nil for one that only says that ctx has ended.
func unlessEnded(ctx context.Context, err error) error {
	if ctx.Err() != nil && errors.Is(err, context.Canceled) {
		return nil
	}
	return err
}

// runHost waits until ctx ends, the node has recovered or the engine ends by
// itself, and stops the engine. An engine that ends by itself without a reason
// is an error too.
func runHost(ctx context.Context, node *natsnode.Node, h *host) (recovered bool, err error) {
	select {
	case <-ctx.Done():
		return false, stopHost(ctx, h)
	case <-node.Recovered():
		return true, stopHost(ctx, h)
	case <-h.Done():
		return false, fmt.Errorf("the engine has ended: %w", orStopped(stopHost(ctx, h)))
	}
}

func stopHost(ctx context.Context, h *host) error {
	stopping, cancel := context.WithTimeout(context.WithoutCancel(ctx), stopPatience)
	defer cancel()
	return h.stop(stopping)
}

// recoveryLooks is how often a node that looks well is looked at before its
// engine's failure counts as one of the engine alone.
const recoveryLooks = 4

// waitRecovered waits for a storage that has failed to come back; false if that
// is not what is wrong, or ctx has ended. An engine may notice a failure before
// the node is sure of it, so even a node that looks well is given some intervals.
func waitRecovered(ctx context.Context, node *natsnode.Node) bool {
	if !node.Embedded() {
		return false
	}
	ticker := time.NewTicker(natsnode.DefaultHealthInterval)
	defer ticker.Stop()
	failed := false
	for looks := 1; ; looks++ {
		select {
		case <-node.Recovered():
			return true
		case <-ctx.Done():
			return false
		case <-ticker.C:
		}
		switch err := node.Healthy(ctx); {
		case errors.Is(err, natsnode.ErrStorage):
			failed = true
		case failed || err != nil || looks == recoveryLooks:
			return failed && err == nil
		}
	}
}

// announce says once that commands are answered, where, how to try it, and what
// an answer is worth.
func (a *app) announce(node *natsnode.Node, cfg engine.Config) error {
	names, err := contract.NewNames(cfg.Prefix)
	if err != nil {
		return err
	}
	where, try := "no port", ""
	if url := node.URL(); url != "" {
		where = url
		try = fmt.Sprintf("; try: nats -s %s req %s '{}'", url, names.Query(a.owner(), contract.QueryList))
	}
	if cfg.Accounts != nil {
		try = "; it asks for credentials: reprise auth add user NAME"
	}
	_, err = fmt.Fprintf(a.out, "reprise is ready: %s (%s)%s\ndurability: %s\n", where, node, try, node.Promise())
	return err
}
