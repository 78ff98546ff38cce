package client_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log"
	"time"

	"github.com/nats-io/nats.go"

	"reprise/client"
	"reprise/contract"
	"reprise/domain"
)

func Example() {
	nc, err := nats.Connect(nats.DefaultURL)
	if err != nil {
		log.Fatal(err)
	}
	defer nc.Close()
	c, err := client.New(nc, client.Config{User: "ada"})
	if err != nil {
		log.Fatal(err)
	}
	ctx := context.Background()
	_, err = c.Create(ctx, "nightly-7", domain.Definition{
		Timeout: domain.Duration(time.Hour),
		Chains: []domain.ChainDef{
			{ID: "load", Steps: []domain.StepDef{{Action: "exec", Input: json.RawMessage(`{"run":"make data"}`)}}},
			{ID: "check", WaitsFor: []string{"load"}, Steps: []domain.StepDef{{ID: "approve", Manual: true}}},
		},
	})
	if err != nil {
		log.Fatal(err)
	}
	reply, err := c.Start(ctx, "nightly-7")
	if err != nil {
		log.Fatal(err)
	}
	// Read one's own write.
	got, err := c.Get(ctx, "nightly-7", client.MinPosition(reply.Position))
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(got.Session.State)
}

func ExampleError() {
	var c *client.Client // made by client.New
	_, err := c.Resume(context.Background(), "nightly-7")
	var rejected *client.Error
	switch {
	case errors.Is(err, client.ErrNoEngine):
		fmt.Println("start an engine with: reprise serve")
	case client.CodeOf(err) == domain.CodeAlready:
		fmt.Println("it runs already")
	case errors.As(err, &rejected):
		fmt.Println(rejected.Message, "it is", rejected.State)
	}
}

func ExampleClient_Sessions() {
	var c *client.Client // made by client.New
	failed := contract.ListRequest{Filter: contract.Filter{States: []domain.State{domain.StateFailed}}, Sort: "-updated"}
	for row, err := range c.Sessions(context.Background(), failed) {
		if err != nil {
			log.Fatal(err)
		}
		fmt.Println(row.ID, row.Error)
	}
}

func ExampleClient_Watch() {
	var c *client.Client // made by client.New
	for commit, err := range c.Watch(context.Background(), "nightly-7", 1) {
		if err != nil {
			log.Fatal(err)
		}
		fmt.Println(commit.Version, commit.Cause, commit.State)
	}
}
