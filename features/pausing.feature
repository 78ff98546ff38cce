@check-06
Feature: Pausing a session
  A paused session starts nothing new. What is being worked on may still be
  finished, unless it is interrupted.

  Rule: Only a running session can be paused

    Scenario Outline: A <state> session
      Given ada has a <state> session "release"
      When ada pauses session "release"
      Then it is refused as "illegal_transition" because "it is <STATE>"
      And ada's session "release" has not changed

      Examples:
        | state     | STATE     |
        | pending   | PENDING   |
        | completed | COMPLETED |
        | failed    | FAILED    |
        | cancelled | CANCELLED |

  Rule: Nothing new starts while a session is paused

    Example: A step that was ready
      Given ada has a paused session "release"
      When worker amber starts step "build/compile" of ada's session "release"
      Then it is refused as "illegal_transition" because "PAUSED"
      And step "build/compile" of ada's session "release" is PENDING

    Example: The step after one that was being worked on
      Given worker amber is working on step "build/compile" of ada's running session "release"
      And ada has paused session "release"
      When worker amber finishes step "build/compile" of ada's session "release" and asks for the next
      Then it is accepted
      And step "build/test" of ada's session "release" is PENDING

  Rule: The pause is visible to everybody who may see the session

    Example: In the session and in lists
      Given ada has a running session "release"
      When ada pauses session "release"
      Then ada's session "release" is PAUSED
      And ada's session "release" was paused by ada
      And ada's list of PAUSED sessions names "release"

    Example: With what is still being worked on
      Given ada has a running session "release"
      And worker amber is working on step "build/compile" of ada's session "release"
      When ada pauses session "release"
      Then ada's session "release" is PAUSED
      And ada's session "release" has 1 step in flight

    Example: It is told when the last work in flight is over
      Given ada has a running session "release"
      And worker amber is working on step "build/compile" of ada's session "release"
      And ada has paused session "release"
      When worker amber finishes step "build/compile" of ada's session "release"
      Then the last entry in the history of ada's session "release" is "step.succeeded, session.quiesced"

  Rule: What is being worked on may be interrupted

    Example: The step is free again and the old result is not taken
      Given worker amber is working on step "build/compile" of ada's running session "release"
      And ada has paused session "release" and interrupted what was in flight
      When worker amber finishes step "build/compile" of ada's session "release"
      Then it is refused as "stale_attempt" because "stop working on it"
      And step "build/compile" of ada's session "release" is PENDING
