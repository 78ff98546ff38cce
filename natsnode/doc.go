// Package natsnode gets an engine its NATS: a server embedded in this process,
// or connections to one that runs elsewhere. Both are a *Node.
//
// An embedded node locks its data directory, so that no second process can
// write there, and looks after its storage: a full or unwritable disk makes it
// unhealthy with a sentence that says so, and it goes on by itself when there
// is room again.
package natsnode
