// Command restate is the worker and the client of a comparison for Restate, with
// its Go SDK; the server is Restate's own binary. It is a module of its own,
// outside of the workspace, so that its dependencies stay with it.
package main

import (
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"os"
	"time"

	"github.com/google/uuid"
	restate "github.com/restatedev/sdk-go"
	"github.com/restatedev/sdk-go/ingress"
	"github.com/restatedev/sdk-go/server"

	"reprise/bench/load"
)

func main() {
	os.Exit(load.Main(map[string]load.Role{"worker": work, "load": serveLoad}))
}

// The kinds of handler that a session can be, and the name of theirs.
const (
	kindWorkflow = "workflow"
	kindService  = "service"
	handlerName  = "Run"
)

const (
	// patience bounds one session.
	patience = time.Minute
	// idleConns is how many connections the client keeps: more than it has
	// sessions in flight, so that none is dialled while it is measured.
	idleConns = 1024
)

// steps runs n durable steps that do nothing, one after another.
func steps(ctx restate.Context, n int) (restate.Void, error) {
	for range n {
		if _, err := restate.Run(ctx, func(restate.RunContext) (restate.Void, error) { return restate.Void{}, nil }); err != nil {
			return restate.Void{}, err
		}
	}
	return restate.Void{}, nil
}

// definitions are both kinds: a workflow has a key and is kept after its end, a
// service is an invocation and no more.
func definitions() []restate.ServiceDefinition {
	return []restate.ServiceDefinition{
		restate.NewWorkflow(kindWorkflow).Handler(handlerName, restate.NewWorkflowHandler(
			func(ctx restate.WorkflowContext, n int) (restate.Void, error) { return steps(ctx, n) })),
		restate.NewService(kindService).Handler(handlerName, restate.NewServiceHandler(steps)),
	}
}

// work serves the handlers to the server until ctx ends.
func work(ctx context.Context, args []string) error {
	flags := load.Flags("worker")
	listen := flags.String("listen", "", "`HOST:PORT` for the server's calls")
	if err := flags.Parse(args); err != nil {
		return err
	}
	r := server.NewRestate().WithLogger(slog.DiscardHandler, true)
	for _, definition := range definitions() {
		r.Bind(definition)
	}
	return r.Start(ctx, *listen)
}

// serveLoad calls the handlers as the harness asks.
func serveLoad(ctx context.Context, args []string) error {
	flags := load.Flags("load")
	url := flags.String("url", "", "`URL` of the ingress")
	n := flags.Int("steps", 1, "`N` steps a session")
	kind := flags.String("kind", kindWorkflow, "what a session is: workflow or service")
	if err := flags.Parse(args); err != nil {
		return err
	}
	transport := &http.Transport{MaxIdleConns: idleConns, MaxIdleConnsPerHost: idleConns}
	c := ingress.NewClient(*url, ingress.WithHttpClient(&http.Client{Transport: transport, Timeout: patience}))
	call, err := caller(c, *kind)
	if err != nil {
		return err
	}
	return load.Serve(ctx, os.Stdin, os.Stdout, func(ctx context.Context) error {
		_, err := call().Request(ctx, *n)
		return err
	})
}

// caller returns what makes the request of a new session.
func caller(c *ingress.Client, kind string) (func() ingress.Requester[int, restate.Void], error) {
	switch kind {
	case kindWorkflow:
		return func() ingress.Requester[int, restate.Void] {
			return ingress.Workflow[int, restate.Void](c, kindWorkflow, uuid.NewString(), handlerName)
		}, nil
	case kindService:
		return func() ingress.Requester[int, restate.Void] {
			return ingress.Service[int, restate.Void](c, kindService, handlerName)
		}, nil
	default:
		return nil, fmt.Errorf("no kind of session is called %q: use %s or %s", kind, kindWorkflow, kindService)
	}
}
