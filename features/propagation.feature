@check-14
Feature: From step to chain to session
  What happens to a step shows in its chain and session in the same moment.

  Rule: Success goes up

    Example: The last step completes its chain and the session
      Given ada has a running session "release"
      And worker amber has finished step "build/compile" of ada's session "release"
      When worker amber finishes step "build/test" of ada's session "release"
      Then chain "build" of ada's session "release" is COMPLETED
      And ada's session "release" is COMPLETED

    Example: The session waits for its last chain
      Given ada has a running session "release" with chains:
        | chain | steps   |
        | build | compile |
        | docs  | render  |
      When worker amber finishes step "build/compile" of ada's session "release"
      Then chain "build" of ada's session "release" is COMPLETED
      And ada's session "release" is RUNNING

    Example: The first step that is worked on starts its chain
      Given ada has a running session "release"
      When worker amber starts step "build/compile" of ada's session "release"
      Then chain "build" of ada's session "release" is RUNNING

    Example: An open chain completes when it is closed
      Given ada has a running session "release" with an open chain "extra"
      And worker amber has finished step "build/compile" of ada's session "release"
      And worker amber has finished step "build/test" of ada's session "release"
      When ada closes chain "extra" of session "release"
      Then ada's session "release" is COMPLETED

  Rule: Failure goes up

    @check-15
    Example: A step that fails for good fails its chain and the session
      Given ada has a running session "release"
      When worker amber fails step "build/compile" of ada's session "release" with "disk full"
      Then ada's session "release" looks like this:
        | step build/compile | FAILED  |
        | step build/test    | PENDING |
        | chain build        | FAILED  |
      And ada's session "release" is FAILED

    Example: A session that goes on after failures finishes what it can
      Given ada has a running session "release" that goes on after failures, with chains:
        | chain   | steps   | waits for |
        | build   | compile |           |
        | docs    | render  |           |
        | publish | upload  | build     |
      And worker amber has failed step "build/compile" of ada's session "release" with "disk full"
      When worker amber finishes step "docs/render" of ada's session "release"
      Then ada's session "release" is FAILED
      And ada's session "release" looks like this:
        | chain docs          | COMPLETED |
        | chain publish       | PENDING   |
        | step publish/upload | PENDING   |

  Rule: Nobody ever sees half of a change

    Example: A result and what follows from it are one entry in the history
      Given ada has a running session "release"
      And worker amber has finished step "build/compile" of ada's session "release"
      When worker amber finishes step "build/test" of ada's session "release"
      Then the last entry in the history of ada's session "release" is "step.succeeded, chain.completed, session.completed"

    Example: A failure and what follows from it are one entry in the history
      Given ada has a running session "release"
      When worker amber fails step "build/compile" of ada's session "release" with "disk full"
      Then the last entry in the history of ada's session "release" is "step.failed, chain.failed, session.failed"

    Example: Every state that was ever readable agrees with itself
      Given ada has a running session "release" with chains:
        | chain   | steps         | waits for |
        | build   | compile, test |           |
        | docs    | render        |           |
        | publish | upload        | build     |
      When workers carry out the whole of ada's session "release" while others keep reading it
      Then ada's session "release" is COMPLETED
      And in every state that was read the chains agree with their steps and the session with its chains
