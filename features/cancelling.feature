@check-08
Feature: Cancelling a session
  A cancelled session ends at once, with everything that had not ended yet.

  Rule: Only a running or paused session can be cancelled

    Scenario Outline: A <state> session
      Given ada has a <state> session "release"
      When ada cancels session "release"
      Then it is refused as "<code>"
      And ada's session "release" has not changed

      Examples:
        | state     | code               |
        | pending   | illegal_transition |
        | completed | illegal_transition |
        | failed    | illegal_transition |
        | cancelled | already            |

    Scenario Outline: A <state> session is cancelled
      Given ada has a <state> session "release"
      When ada cancels session "release"
      Then it is accepted
      And ada's session "release" is CANCELLED

      Examples:
        | state   |
        | running |
        | paused  |

  Rule: Whatever had not ended is cancelled, whatever had ended is kept

    Example: Finished, running and pending steps
      Given ada has a running session "release" with chains:
        | chain | steps                |
        | build | compile, test, smoke |
      And worker amber has finished step "build/compile" of ada's session "release"
      And worker amber is working on step "build/test" of ada's session "release"
      When ada cancels session "release"
      Then ada's session "release" looks like this:
        | chain build         | CANCELLED |
        | step build/compile  | SUCCESS   |
        | step build/test     | CANCELLED |
        | step build/smoke    | CANCELLED |

    Example: Chains that were finished
      Given ada has a running session "release" with chains:
        | chain   | steps   | waits for |
        | build   | compile |           |
        | publish | upload  | build     |
      And worker amber has finished step "build/compile" of ada's session "release"
      When ada cancels session "release"
      Then ada's session "release" looks like this:
        | chain build         | COMPLETED |
        | chain publish       | CANCELLED |
        | step publish/upload | CANCELLED |

  Rule: Nothing happens to a session after it was cancelled

    Example: Its steps can't be started
      Given ada has a cancelled session "release"
      When worker amber starts step "build/compile" of ada's session "release"
      Then it is refused as "illegal_transition"
      And ada's session "release" has not changed

    @check-11
    Example: A worker who was still at it is told to stop
      Given worker amber is working on step "build/compile" of ada's running session "release"
      And ada has cancelled session "release"
      When worker amber finishes step "build/compile" of ada's session "release"
      Then it is refused as "stale_attempt" because "stop working on it"
      And ada's session "release" has not changed

    Example: Nothing of it is in flight
      Given ada has a running session "release"
      And worker amber is working on step "build/compile" of ada's session "release"
      When ada cancels session "release"
      Then it is accepted
      And ada's session "release" has 0 steps in flight
