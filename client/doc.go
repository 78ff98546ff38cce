// Package client is Go comfort for those who command and read sessions over
// NATS. It adds nothing to the contract: whatever it does, a plain NATS client
// can do with the subjects and bodies of package contract.
//
// What it takes off your hands: subjects, command ids, sending again with the
// same id when no answer came, rejections as errors with a code, pages as
// iterators, and a watch that notices what it missed.
//
//	c, err := client.New(nc, client.Config{User: "ada"})
//	reply, err := c.Create(ctx, "release-7", definition)
//	reply, err = c.Start(ctx, "release-7")
//	var rejected *client.Error
//	if errors.As(err, &rejected) && rejected.Code == domain.CodeAlready { ... }
//
// A *Client is safe for use by any number of goroutines. It does not own the
// connection and never closes it.
package client
