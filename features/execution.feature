Feature: Carrying out a session
  Workers on duty take the steps that are ready, one attempt at a time, and
  hear of everything that becomes of their session.

  @check-14
  Rule: Workers carry a session out, and what they do shows in chain and session

    Example: Step after step and chain after chain
      Given ada has a running session "release" for workers on duty:
        | step           | does     | waits for |
        | build/compile  | succeeds |           |
        | build/test     | succeeds |           |
        | publish/upload | succeeds | build     |
      When worker amber comes on duty
      Then the workers complete ada's session "release", beginning "compile, test, upload" in this order

    @check-15
    Example: A failure
      Given ada has a running session "release" for workers on duty:
        | step          | does     |
        | build/compile | fails    |
        | build/test    | succeeds |
      When worker amber comes on duty
      Then ada's session "release" becomes FAILED
      And chain "build" of ada's session "release" is FAILED
      And nobody begins "build/test" of ada's session "release"

    Example: A failure beside work in flight
      Given ada has a running session "release" for workers on duty:
        | step          | does            |
        | docs/render   | waits           |
        | build/compile | waits and fails |
      And worker amber is on duty and at "docs/render" of ada's session "release"
      When worker amber comes to the end of "build/compile" of ada's session "release"
      Then ada's session "release" is FAILED
      And step "docs/render" of ada's session "release" is RUNNING

  @check-06
  Rule: A pause halts what has not begun and keeps what is in flight

    Example: What is in flight is finished
      Given ada has a running session "release" for workers on duty:
        | step          | does     |
        | build/compile | waits    |
        | build/test    | succeeds |
      And worker amber is on duty and at "build/compile" of ada's session "release"
      And ada has paused session "release"
      When worker amber comes to the end of "build/compile" of ada's session "release"
      Then step "build/compile" of ada's session "release" is SUCCESS

    Example: What has not begun does not begin
      Given ada has a running session "release" for workers on duty:
        | step           | does     | waits for |
        | build/compile  | waits    |           |
        | publish/upload | succeeds | build     |
      And worker amber is on duty and at "build/compile" of ada's session "release"
      And ada has paused session "release"
      When worker amber comes to the end of "build/compile" of ada's session "release"
      Then nobody begins "publish/upload" of ada's session "release"

    Example: The worker hears of it
      Given ada has a running session "release" for workers on duty:
        | step          | does  |
        | build/compile | waits |
      And worker amber is on duty and at "build/compile" of ada's session "release"
      When ada pauses session "release"
      Then the worker at "build/compile" of ada's session "release" hears that the session is PAUSED
      And step "build/compile" of ada's session "release" is RUNNING

    Example: What is in flight is interrupted
      Given ada has a running session "release" for workers on duty:
        | step          | does  |
        | build/compile | waits |
      And worker amber is on duty and at "build/compile" of ada's session "release"
      When ada pauses session "release" and interrupts what is in flight
      Then the worker at "build/compile" of ada's session "release" is told to stop because "the session was interrupted"
      And step "build/compile" of ada's session "release" is PENDING

  @check-07
  Rule: A resumed session goes on exactly where it was paused

    Example: The next step begins and no finished one again
      Given ada has a running session "release" for workers on duty:
        | step          | does     |
        | build/compile | waits    |
        | build/test    | succeeds |
      And worker amber is on duty and at "build/compile" of ada's session "release"
      And ada has paused session "release" and worker amber has come to the end of "build/compile"
      When ada resumes session "release"
      Then the workers complete ada's session "release", beginning "compile, test" in this order

    Example: An interrupted step begins again
      Given ada has a running session "release" for workers on duty:
        | step          | does  |
        | build/compile | waits |
      And worker amber is on duty and at "build/compile" of ada's session "release"
      And ada has paused session "release" and interrupted what was in flight
      When ada resumes session "release"
      Then "build/compile" of ada's session "release" comes to go through "started, released, started"

  @check-08
  Rule: A cancellation ends the work in flight

    Example: The worker is told to stop
      Given ada has a running session "release" for workers on duty:
        | step          | does  |
        | build/compile | waits |
      And worker amber is on duty and at "build/compile" of ada's session "release"
      When ada cancels session "release"
      Then the worker at "build/compile" of ada's session "release" is told to stop because "the session was cancelled"
      And step "build/compile" of ada's session "release" is CANCELLED

    Example: Steps that had not begun never do
      Given ada has a running session "release" for workers on duty:
        | step          | does     |
        | build/compile | waits    |
        | build/test    | succeeds |
      And worker amber is on duty and at "build/compile" of ada's session "release"
      When ada cancels session "release"
      Then nobody begins "build/test" of ada's session "release"

  @check-09
  Rule: A retried step runs again, and its session with it

    Example: While a worker is at it
      Given ada has a running session "release" for workers on duty:
        | step          | does                 |
        | build/compile | fails once and waits |
      And worker amber has carried out ada's session "release" until it was FAILED
      When ada retries step "build/compile" of session "release"
      Then worker amber is at "build/compile" of ada's session "release"
      And ada's session "release" is RUNNING

    Example: It succeeds
      Given ada has a running session "release" for workers on duty:
        | step          | does       |
        | build/compile | fails once |
        | build/test    | succeeds   |
      And worker amber has carried out ada's session "release" until it was FAILED
      When ada retries step "build/compile" of session "release"
      Then ada's session "release" was RUNNING from the retry until it became COMPLETED
      And "build/compile" of ada's session "release" went through "started, failed, retried, started, succeeded"

    Example: It fails again
      Given ada has a running session "release" for workers on duty:
        | step          | does        |
        | build/compile | fails twice |
      And worker amber has carried out ada's session "release" until it was FAILED
      When ada retries step "build/compile" of session "release"
      Then ada's session "release" was RUNNING from the retry until it became FAILED
      And "build/compile" of ada's session "release" went through "started, failed, retried, started, failed"

  @check-10
  Rule: The steps after a skipped one are told, and go on

    Example: The step after it
      Given ada has a running session "release" for workers on duty:
        | step          | does     |
        | build/compile | fails    |
        | build/test    | succeeds |
      And worker amber has carried out ada's session "release" until it was FAILED
      When ada skips step "build/compile" of session "release"
      Then the workers complete ada's session "release", beginning "compile, test" in this order
      And the worker of "build/test" of ada's session "release" was told that "compile" was skipped

    Example: With what stands in for its result
      Given ada has a running session "release" for workers on duty:
        | step          | does     |
        | build/compile | fails    |
        | build/test    | succeeds |
      And ada has skipped step "build/compile" of session "release" with output {"binary":"yesterday's"}
      When worker amber comes on duty
      Then the workers complete ada's session "release", beginning "test" in this order
      And the worker of "build/test" of ada's session "release" was handed the output {"binary":"yesterday's"} of "compile"

    Example: The chain that waits for it
      Given ada has a running session "release" for workers on duty:
        | step           | does     | waits for |
        | build/compile  | fails    |           |
        | publish/upload | succeeds | build     |
      And worker amber has carried out ada's session "release" until it was FAILED
      When ada skips step "build/compile" of session "release"
      Then the workers complete ada's session "release", beginning "compile, upload" in this order

  @check-15
  Rule: A step that takes longer than its time limit is ended

    Example: The session fails and says why
      Given ada has a running session "release" for workers on duty:
        | step          | does  | time limit |
        | build/compile | waits | 200ms      |
      When worker amber comes on duty
      Then ada's session "release" becomes FAILED
      And step "build/compile" of ada's session "release" is TIMEOUT
      And the error of ada's session "release" says "ran past its timeout of 200ms"

    Example: The worker is told to stop
      Given ada has a running session "release" for workers on duty:
        | step          | does  | time limit |
        | build/compile | waits | 200ms      |
      When worker amber comes on duty
      Then the worker at "build/compile" of ada's session "release" is told to stop because "ran past its timeout"

    Example: What it had put out is kept
      Given ada has a running session "release" for workers on duty:
        | step          | does              | time limit |
        | build/compile | reports and waits | 2s         |
      When worker amber comes on duty
      Then ada's session "release" becomes FAILED
      And step "build/compile" of ada's session "release" has output {"log":"linking"}
      And the error of step "build/compile" of ada's session "release" says "ran past its timeout of 2s"

    Example: It is tried again as often as its plan says
      Given ada has a running session "release" for workers on duty:
        | step          | does  | time limit | tries |
        | build/compile | waits | 200ms      | 2     |
      When worker amber comes on duty
      Then ada's session "release" becomes FAILED
      And "build/compile" of ada's session "release" went through "started, timedout, started, timedout"

  @check-15
  Rule: A failed step is tried again by itself as often as its plan says

    Example: After pauses that grow
      Given ada has a running session "release" for workers on duty:
        | step          | does        | tries |
        | build/compile | fails twice | 3     |
      When worker amber comes on duty
      Then ada's session "release" becomes COMPLETED
      And "build/compile" of ada's session "release" went through "started, failed, started, failed, started, succeeded"
      And the tries of "build/compile" of ada's session "release" are further and further apart

    Example: Until no try is left
      Given ada has a running session "release" for workers on duty:
        | step          | does  | tries |
        | build/compile | fails | 2     |
      When worker amber comes on duty
      Then ada's session "release" becomes FAILED
      And "build/compile" of ada's session "release" went through "started, failed, started, failed"
      And the error of ada's session "release" says "disk full"

  @check-15
  Rule: Workers that break harm nobody else

    Example: A panic fails the step and its stack is kept
      Given ada has a running session "release" for workers on duty:
        | step          | does   |
        | build/compile | panics |
      When worker amber comes on duty
      Then ada's session "release" becomes FAILED
      And the error of ada's session "release" says "no such branch"
      And the stack of "build/compile" of ada's session "release" shows where it panicked

    Example: The step of a worker that falls silent is another's
      Given ada has a running session "release" for workers on duty:
        | step          | does  | tries |
        | build/compile | waits | 9     |
      And worker amber, who may be silent for six seconds, is on duty and at "build/compile" of ada's session "release"
      And worker birch is on duty
      When worker amber falls silent
      Then worker birch is at "build/compile" of ada's session "release"

    Example: A worker falls silent at the last try
      Given ada has a running session "release" for workers on duty:
        | step          | does  |
        | build/compile | waits |
      And worker amber, who may be silent for six seconds, is on duty and at "build/compile" of ada's session "release"
      When worker amber falls silent
      Then ada's session "release" becomes FAILED
      And the error of ada's session "release" says "was silent for longer than its lease"
