@check-07
Feature: Resuming a session
  A resumed session goes on exactly where it was paused.

  Rule: Only a paused session can be resumed

    Scenario Outline: A <state> session
      Given ada has a <state> session "release"
      When ada resumes session "release"
      Then it is refused as "<code>"
      And ada's session "release" has not changed

      Examples:
        | state     | code               |
        | pending   | illegal_transition |
        | running   | already            |
        | completed | illegal_transition |
        | failed    | illegal_transition |
        | cancelled | illegal_transition |

  Rule: It goes on where it was paused

    Example: Finished steps stay finished and the next one is ready
      Given worker amber has finished step "build/compile" of ada's running session "release"
      And ada has paused session "release"
      When ada resumes session "release"
      Then step "build/compile" of ada's session "release" is SUCCESS
      And worker birch can start step "build/test" of ada's session "release"

    Example: Work that went on through the pause still counts
      Given worker amber is working on step "build/compile" of ada's running session "release"
      And ada has paused and resumed session "release"
      When worker amber finishes step "build/compile" of ada's session "release"
      Then it is accepted
      And step "build/compile" of ada's session "release" is SUCCESS

  Rule: What was decided during the pause takes effect at once

    Example: The last step was finished
      Given ada has a running session "release" with chains:
        | chain | steps   |
        | build | compile |
      And worker amber is working on step "build/compile" of ada's session "release"
      And ada has paused session "release" and amber has finished its step
      When ada resumes session "release"
      Then ada's session "release" is COMPLETED

    Example: A step failed for good
      Given ada has a running session "release"
      And worker amber is working on step "build/compile" of ada's session "release"
      And ada has paused session "release" and amber has failed its step
      When ada resumes session "release"
      Then ada's session "release" is FAILED
