package domain

import (
	"math"
	"time"
)

// triesLeft reports whether the policy allows another try after this one.
func (st *Step) triesLeft() bool { return st.Retry != nil && st.Tries+1 < st.Retry.MaxAttempts }

// jitterShare is the part of a backoff that jitter may add, so that steps that
// failed together don't come back together.
const jitterShare = 0.2

// delay returns the pause after try number n: Backoff times Factor for each
// earlier try, at most MaxBackoff, and up to a fifth on top.
func (p *RetryPolicy) delay(n int, jitter float64) Duration {
	base, limit, factor := p.Backoff, p.MaxBackoff, p.Factor
	if base == 0 {
		base = DefaultBackoff
	}
	if limit == 0 {
		limit = max(DefaultMaxBackoff, base)
	}
	if factor == 0 {
		factor = DefaultFactor
	}
	wait := math.Min(float64(base)*math.Pow(factor, float64(n-1)), float64(limit))
	wait *= 1 + jitterShare*jitter
	return Duration(time.Duration(wait).Round(time.Millisecond))
}

// failure makes the failure that a report describes.
func (e ReportError) failure() Failure {
	return Failure{Code: e.Code, Message: e.Message, Stack: e.Stack}
}

// final reports whether the reporter rules out another try.
func (e ReportError) final() bool { return e.Retryable != nil && !*e.Retryable }
