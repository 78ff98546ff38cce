@check-09
Feature: Retrying a failed step
  A step that failed can be tried again without doing the others again.

  Rule: Only a failed step can be retried

    Example: A step that nobody has worked on yet
      Given ada has a running session "release"
      When ada retries step "build/compile" of session "release"
      Then it is refused as "illegal_transition" because "retry needs FAILED or TIMEOUT"
      And ada's session "release" has not changed

    Example: A step that was finished
      Given ada has a running session "release"
      And worker amber has finished step "build/compile" of ada's session "release"
      When ada retries step "build/compile" of session "release"
      Then it is refused as "illegal_transition" because "it is SUCCESS"

    Example: A step that is being worked on
      Given ada has a running session "release"
      And worker amber is working on step "build/compile" of ada's session "release"
      When ada retries step "build/compile" of session "release"
      Then it is refused as "illegal_transition" because "it is RUNNING"

    Example: A session that was cancelled
      Given ada has a cancelled session "release"
      When ada retries step "build/compile" of session "release"
      Then it is refused as "illegal_transition" because "fork it"

  Rule: The session runs again while a step is retried

    Example: From the retry on
      Given ada has a failed session "release"
      When ada retries step "build/compile" of session "release"
      Then it is accepted
      And ada's session "release" is RUNNING
      And chain "build" of ada's session "release" is RUNNING

    Example: The step itself runs from the moment a worker takes it
      Given ada has a failed session "release"
      And ada has retried step "build/compile" of session "release"
      When worker birch starts step "build/compile" of ada's session "release"
      Then step "build/compile" of ada's session "release" is RUNNING
      And step "build/compile" of ada's session "release" is in its attempt 2

    Example: A paused session stays paused
      Given worker amber is working on step "build/compile" of ada's running session "release"
      And ada has paused session "release" and amber has failed its step
      When ada retries step "build/compile" of session "release"
      Then ada's session "release" is PAUSED
      And step "build/compile" of ada's session "release" is PENDING

  Rule: A retried step ends like any other

    Example: It succeeds and the session goes on
      Given ada has a failed session "release"
      And ada has retried step "build/compile" of session "release"
      When worker birch finishes step "build/compile" of ada's session "release"
      Then ada's session "release" is RUNNING
      And worker birch can start step "build/test" of ada's session "release"

    @check-15
    Example: It fails again and so does the session
      Given ada has a failed session "release"
      And ada has retried step "build/compile" of session "release"
      When worker birch fails step "build/compile" of ada's session "release" with "still no space"
      Then ada's session "release" is FAILED
      And the error of ada's session "release" says "still no space"

    Example: It may be retried with another input
      Given ada has a failed session "release"
      And ada has retried step "build/compile" of session "release" with input {"disk":"large"}
      When worker birch starts step "build/compile" of ada's session "release"
      Then birch is handed the input {"disk":"large"}

  Rule: Another failure that remains still counts

    @check-14
    Example: Two steps failed and one is mended
      Given ada has a running session "release" that goes on after failures, with chains:
        | chain | steps   |
        | build | compile |
        | docs  | render  |
      And worker amber has failed step "build/compile" of ada's session "release" with "disk full"
      And worker amber has failed step "docs/render" of ada's session "release" with "no fonts"
      When ada skips step "build/compile" of session "release"
      Then ada's session "release" is FAILED
