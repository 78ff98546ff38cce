// Package contract is the public contract of Reprise on NATS as Go: subjects,
// headers, the bodies of requests and replies, and the numbers of the error
// codes. Services, workers and the engine share it; it holds no behaviour.
package contract
