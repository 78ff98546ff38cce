package domain_test

import (
	"fmt"
	"strings"
	"testing"

	"reprise/domain"
)

// theTable is the transition table of the design, written out: command, then
// session, chain and step with flags, then the events, or "!code". What no line
// matches is rejected with illegal_transition. "{cancel}" stands for what
// cancel gives in the same place.
const theTable = `
create,          NONE * *                                    => session.created
*,               NONE * *                                    => !not_found
*,               GONE * *                                    => !gone
create,          * * *                                       => !exists
fork,            * * *                                       => session.forked

start,           PENDING * PENDING                           => session.started
start,           PENDING * SKIPPED z-skipped                 => session.started, chain.completed c, chain.completed z, session.completed
start,           PENDING * SKIPPED                           => session.started, chain.completed c
start,           RUNNING * *                                 => !already

pause,           RUNNING * RUNNING                           => session.paused
pause,           RUNNING * * z-RUNNING                       => session.paused
pause,           RUNNING * *                                 => session.paused, session.quiesced
pause,           PAUSED * *                                  => !already
pause interrupt, RUNNING|PAUSED * RUNNING                    => session.paused, step.released c/x, session.quiesced
pause interrupt, RUNNING * * z-RUNNING                       => session.paused, step.released z/1, session.quiesced
pause interrupt, RUNNING * *                                 => session.paused, session.quiesced
pause interrupt, PAUSED * *                                  => !already

resume,          PAUSED COMPLETED * z-COMPLETED !keepOpen    => session.resumed, session.completed
resume,          PAUSED * FAILED|TIMEOUT !continue           => session.resumed, session.failed
resume,          PAUSED * *                                  => session.resumed
resume,          RUNNING * *                                 => !already

cancel,          RUNNING|PAUSED * PENDING|RUNNING !z-COMPLETED => step.cancelled c/x, step.cancelled z/1, chain.cancelled c, chain.cancelled z, session.cancelled
cancel,          RUNNING|PAUSED * PENDING|RUNNING            => step.cancelled c/x, chain.cancelled c, session.cancelled
cancel,          RUNNING|PAUSED * SUCCESS open               => step.cancelled z/1, chain.cancelled c, chain.cancelled z, session.cancelled
cancel,          RUNNING|PAUSED * * !z-COMPLETED             => step.cancelled z/1, chain.cancelled z, session.cancelled
cancel,          RUNNING|PAUSED * *                          => session.cancelled
cancel,          CANCELLED * *                               => !already

complete,        RUNNING COMPLETED * keepOpen z-COMPLETED    => session.completed
complete,        COMPLETED * *                               => !already

session.timeout, RUNNING * RUNNING                           => step.timedout c/x, chain.failed c, session.failed
session.timeout, RUNNING * * z-RUNNING                       => step.timedout z/1, chain.failed z, session.failed
session.timeout, RUNNING * *                                 => session.failed

delete,          * * * held                                  => !held
delete force,    * * * held                                  => !held
purge,           * * * held                                  => !held
purge cancel,    * * * held                                  => !held
delete,          PENDING|PAUSED|COMPLETED|FAILED|CANCELLED * *       => session.deleted, session.purged
delete force,    PENDING|PAUSED|COMPLETED|FAILED|CANCELLED * *       => session.deleted, session.purged
delete force,    RUNNING * *                                 => {cancel}, session.deleted, session.purged
purge,           PENDING|PAUSED|COMPLETED|FAILED|CANCELLED * *       => session.purged
purge cancel,    PENDING|PAUSED|COMPLETED|FAILED|CANCELLED * *       => session.purged
purge cancel,    RUNNING * *                                 => {cancel}, session.purged

hold,            * * * held                                  => !already
hold,            * * *                                       => session.held
unhold,          * * * held                                  => session.unheld
unhold,          * * *                                       => !already
metadata.set,    * * *                                       => metadata.set

chain.add,       PENDING|RUNNING|PAUSED * *                  => chain.added new
step.add,        PENDING|RUNNING|PAUSED PENDING|RUNNING * open => step.added c/new
chain.close,     RUNNING|PAUSED|FAILED * SUCCESS|SKIPPED open => chain.closed c, chain.completed c
chain.close,     PENDING|RUNNING|PAUSED|FAILED * * open      => chain.closed c
chain.close,     PENDING|RUNNING|PAUSED|FAILED * *           => !already

chain.remove,    RUNNING|FAILED * PENDING|SUCCESS|SKIPPED|FAILED|TIMEOUT z-COMPLETED !keepOpen => chain.removed c, session.completed
chain.remove,    FAILED * SUCCESS|SKIPPED|PENDING z-FAILED   => chain.removed c
chain.remove,    FAILED * PENDING|SUCCESS|SKIPPED|FAILED|TIMEOUT => chain.removed c, session.resumed
chain.remove,    PENDING|RUNNING|PAUSED * PENDING|SUCCESS|SKIPPED|FAILED|TIMEOUT => chain.removed c
chain.move,      PENDING|RUNNING|PAUSED|FAILED * *           => chain.moved c

claim,           RUNNING PENDING PENDING !manual             => chain.started c, step.started c/x
claim,           RUNNING RUNNING PENDING !manual             => step.started c/x
heartbeat,       * * RUNNING                                 =>
heartbeat,       * * *                                       => !stale_attempt
release,         PAUSED * RUNNING                            => step.released c/x, session.quiesced
release,         * * RUNNING                                 => step.released c/x
release,         * * *                                       => !stale_attempt

succeed,         RUNNING * RUNNING open                      => step.succeeded c/x
succeed,         PAUSED * RUNNING                            => step.succeeded c/x, chain.completed c, session.quiesced
succeed,         RUNNING * RUNNING z-COMPLETED               => step.succeeded c/x, chain.completed c, session.completed
succeed,         RUNNING|FAILED * RUNNING                    => step.succeeded c/x, chain.completed c
succeed,         * * *                                       => !stale_attempt
succeed stale,   * * *                                       => !stale_attempt

fail,            RUNNING * RUNNING continue !z-COMPLETED     => step.failed c/x, chain.failed c
fail,            RUNNING * RUNNING                           => step.failed c/x, chain.failed c, session.failed
fail,            PAUSED * RUNNING                            => step.failed c/x, chain.failed c, session.quiesced
fail,            FAILED * RUNNING                            => step.failed c/x, chain.failed c
fail,            * * *                                       => !stale_attempt

step.timeout,    RUNNING * PENDING manual continue           => chain.started c, step.timedout c/x, chain.failed c
step.timeout,    RUNNING * PENDING manual                    => chain.started c, step.timedout c/x, chain.failed c, session.failed
step.timeout,    RUNNING * RUNNING continue !z-COMPLETED     => step.timedout c/x, chain.failed c
step.timeout,    RUNNING * RUNNING                           => step.timedout c/x, chain.failed c, session.failed
step.timeout,    PAUSED * RUNNING                            => step.timedout c/x, chain.failed c, session.quiesced
step.timeout,    FAILED * RUNNING                            => step.timedout c/x, chain.failed c
step.timeout,    * * *                                       => !stale_attempt

step.retry,      FAILED * FAILED|TIMEOUT                     => step.retried c/x, chain.started c, session.resumed
step.retry,      RUNNING|PAUSED * FAILED|TIMEOUT             => step.retried c/x, chain.started c

step.skip,       PENDING * PENDING                           => step.skipped c/x
step.skip,       RUNNING|PAUSED * PENDING open               => step.skipped c/x
step.skip,       RUNNING * PENDING z-COMPLETED               => step.skipped c/x, chain.completed c, session.completed
step.skip,       RUNNING|PAUSED * PENDING|FAILED|TIMEOUT !open => step.skipped c/x, chain.completed c
step.skip,       RUNNING|PAUSED * FAILED|TIMEOUT open        => step.skipped c/x, chain.started c
step.skip,       FAILED * PENDING z-FAILED open              => step.skipped c/x
step.skip,       FAILED * PENDING z-FAILED                   => step.skipped c/x, chain.completed c
step.skip,       FAILED * PENDING                            => step.skipped c/x, chain.completed c, session.resumed
step.skip,       FAILED * FAILED|TIMEOUT open                => step.skipped c/x, chain.started c, session.resumed
step.skip,       FAILED * FAILED|TIMEOUT z-COMPLETED         => step.skipped c/x, chain.completed c, session.completed
step.skip,       FAILED * FAILED|TIMEOUT                     => step.skipped c/x, chain.completed c, session.resumed
step.skip,       PENDING|RUNNING|PAUSED|FAILED * SKIPPED     => !already

step.succeed,    RUNNING * PENDING manual open               => chain.started c, step.succeeded c/x
step.succeed,    RUNNING * PENDING manual z-COMPLETED        => chain.started c, step.succeeded c/x, chain.completed c, session.completed
step.succeed,    RUNNING|PAUSED * PENDING manual             => chain.started c, step.succeeded c/x, chain.completed c
step.fail,       RUNNING * PENDING manual continue           => chain.started c, step.failed c/x, chain.failed c
step.fail,       RUNNING * PENDING manual                    => chain.started c, step.failed c/x, chain.failed c, session.failed
step.fail,       PAUSED * PENDING manual                     => chain.started c, step.failed c/x, chain.failed c
`

// wanted returns what the table says of a cell.
func wanted(t *testing.T, table []expectation, c walked) string {
	t.Helper()
	for _, e := range table {
		if !e.matches(c) {
			continue
		}
		if strings.Contains(e.want, "{cancel}") {
			cancel := c
			cancel.command = "cancel"
			return strings.ReplaceAll(e.want, "{cancel}", wanted(t, table, cancel))
		}
		return e.want
	}
	return "!" + string(domain.CodeIllegalTransition)
}

func (c walked) got() string {
	if c.err != nil {
		return "!" + string(c.err.Code)
	}
	return c.events
}

func TestEveryCommandInEveryState(t *testing.T) {
	t.Parallel()
	table := parseExpectations(t, theTable)
	used := make([]bool, len(table))
	for _, c := range walk(t) {
		if got, want := c.got(), wanted(t, table, c); got != want {
			t.Errorf("%s in %s\n got %s\nwant %s", c.command, c.where, got, want)
		}
		for i, e := range table {
			if e.matches(c) {
				used[i] = true
				break
			}
		}
	}
	for i, ok := range used {
		if !ok {
			t.Errorf("no situation shows the line %s, %s %s %s %v => %s",
				table[i].command, table[i].session, table[i].chain, table[i].step, table[i].flags, table[i].want)
		}
	}
}

// TestSentences keeps the exact sentence of every rejection and the events of
// everything accepted, for people to review.
func TestSentences(t *testing.T) {
	t.Parallel()
	var b strings.Builder
	seen := map[string]bool{}
	where := ""
	for _, c := range walk(t) {
		if c.where.String() != where {
			where = c.where.String()
			if seen[where] {
				where = ""
				continue
			}
			seen[where] = true
			fmt.Fprintf(&b, "\n# %s\n", where)
		}
		if c.err == nil {
			fmt.Fprintf(&b, "%-16s ok    %s\n", c.command, c.events)
			continue
		}
		fmt.Fprintf(&b, "%-16s %s: %s\n", c.command, c.err.Code, c.err.Message)
	}
	golden(t, "testdata/sentences.txt", strings.TrimLeft(b.String(), "\n"))
}
