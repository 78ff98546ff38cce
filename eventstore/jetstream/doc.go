// Package jetstream keeps the event store in a NATS JetStream stream, in memory
// or on file, of an embedded server or of one elsewhere.
//
// EnsureStream makes or checks the stream, Open gives a driver for it. The
// driver writes and reads on two connections, so that reads don't wait behind a
// long window of writes.
package jetstream
