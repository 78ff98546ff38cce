// Package workertest is a small engine in memory for tests of workers: it decides
// with the real rules of package domain, offers tasks on a real stream, and can
// be told to lose answers, to be busy, or to forget a worker.
package workertest
