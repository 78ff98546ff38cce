@check-10
Feature: Skipping a step
  A step that isn't needed counts as done without being run.

  Rule: Only a pending or failed step can be skipped

    Example: A pending step
      Given ada has a running session "release"
      When ada skips step "build/compile" of session "release"
      Then it is accepted
      And step "build/compile" of ada's session "release" is SKIPPED

    Example: A step that is being worked on
      Given ada has a running session "release"
      And worker amber is working on step "build/compile" of ada's session "release"
      When ada skips step "build/compile" of session "release"
      Then it is refused as "illegal_transition" because "it is RUNNING"
      And step "build/compile" of ada's session "release" is RUNNING

    Example: A step that was finished
      Given ada has a running session "release"
      And worker amber has finished step "build/compile" of ada's session "release"
      When ada skips step "build/compile" of session "release"
      Then it is refused as "illegal_transition" because "it is SUCCESS"

    Example: A step that was skipped before
      Given ada has a pending session "release"
      And ada has skipped step "build/compile" of session "release"
      When ada skips step "build/compile" of session "release"
      Then it is refused as "already"
      And ada's session "release" has not changed

  Rule: What waits for a skipped step goes on

    Example: The next step is ready
      Given ada has a running session "release"
      When ada skips step "build/compile" of session "release"
      Then worker amber can start step "build/test" of ada's session "release"

    Example: The next step is handed what stands in for the result
      Given ada has a running session "release"
      And ada has skipped step "build/compile" of session "release" with output {"binary":"yesterday's"}
      When worker amber starts step "build/test" of ada's session "release"
      Then amber is handed the output {"binary":"yesterday's"} of step "compile"
      And amber is told that step "compile" was skipped

    Example: The chain that waits for it is ready
      Given ada has a running session "release" with chains:
        | chain   | steps   | waits for |
        | build   | compile |           |
        | publish | upload  | build     |
      When ada skips step "build/compile" of session "release"
      Then chain "build" of ada's session "release" is COMPLETED
      And worker amber can start step "publish/upload" of ada's session "release"

  Rule: A skipped step does no harm to its chain and session

    Example: Skipping the last step completes both
      Given ada has a running session "release"
      And worker amber has finished step "build/compile" of ada's session "release"
      When ada skips step "build/test" of session "release"
      Then chain "build" of ada's session "release" is COMPLETED
      And ada's session "release" is COMPLETED

    Example: Skipping the failed step lets the session go on
      Given ada has a failed session "release"
      When ada skips step "build/compile" of session "release"
      Then ada's session "release" is RUNNING
      And worker amber can start step "build/test" of ada's session "release"

    Example: The error of a skipped step is kept
      Given ada has a failed session "release"
      When ada skips step "build/compile" of session "release"
      Then step "build/compile" of ada's session "release" is SKIPPED
      And the error of step "build/compile" of ada's session "release" says "disk full"

    Example: A session whose steps are all skipped completes when it starts
      Given ada has a pending session "release"
      And ada has skipped step "build/compile" of session "release"
      And ada has skipped step "build/test" of session "release"
      When ada starts session "release"
      Then ada's session "release" is COMPLETED
