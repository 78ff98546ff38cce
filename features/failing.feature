@check-15
Feature: Errors
  What went wrong is kept whole, where it happened and in the words of whoever
  reported it.

  Rule: A failure is kept with all its details

    Example: Code, message and stack trace
      Given ada has a running session "release"
      When worker amber fails step "build/compile" of ada's session "release" with code "exit_status", message "disk full" and a stack trace of 200 lines
      Then the error of step "build/compile" of ada's session "release" has that code, message and stack trace
      And the error of ada's session "release" names step "build/compile", worker amber and attempt 1

    Example: The first failure decides and later ones stay on their steps
      Given ada has a running session "release" with chains:
        | chain | steps   |
        | build | compile |
        | docs  | render  |
      And worker birch has failed step "build/compile" of ada's session "release" with "disk full" while amber was at "docs/render"
      When worker amber fails step "docs/render" of ada's session "release" with "no fonts"
      Then the error of ada's session "release" says "disk full"
      And the error of step "docs/render" of ada's session "release" says "no fonts"

    Example: A report without a reason is not taken
      Given ada has a running session "release"
      And worker amber is working on step "build/compile" of ada's session "release"
      When worker amber fails step "build/compile" of ada's session "release" with ""
      Then it is refused as "invalid" because "say what went wrong"
      And step "build/compile" of ada's session "release" is RUNNING

  Rule: A step is tried as often as its plan says

    Example: Tries are left
      Given ada has a running session "release" whose steps may be tried 2 times
      When worker amber fails step "build/compile" of ada's session "release" with "network down"
      Then step "build/compile" of ada's session "release" is PENDING
      And ada's session "release" is RUNNING

    Example: The last try
      Given ada has a running session "release" whose steps may be tried 2 times
      And worker amber has failed step "build/compile" of ada's session "release" with "network down"
      When worker amber fails step "build/compile" of ada's session "release" with "network still down"
      Then step "build/compile" of ada's session "release" is FAILED
      And the error of ada's session "release" says "network still down"

    Example: An error that no other try would mend
      Given ada has a running session "release" whose steps may be tried 2 times
      When worker amber fails step "build/compile" of ada's session "release" for good with "no such branch"
      Then step "build/compile" of ada's session "release" is FAILED
      And ada's session "release" is FAILED

    Example: A step that is given back was not a try
      Given ada has a running session "release" whose steps may be tried 2 times
      And worker amber has given back step "build/compile" of ada's session "release"
      When worker birch fails step "build/compile" of ada's session "release" with "network down"
      Then step "build/compile" of ada's session "release" is PENDING
      And ada's session "release" is RUNNING

  Rule: A step that a person does can fail and succeed too

    Example: It succeeds
      Given ada has a running session "release" with chains:
        | chain | steps   | by hand |
        | check | approve | yes     |
      When ada reports success of step "check/approve" of session "release"
      Then step "check/approve" of ada's session "release" is SUCCESS
      And ada's session "release" is COMPLETED

    Example: It fails
      Given ada has a running session "release" with chains:
        | chain | steps   | by hand |
        | check | approve | yes     |
      When ada reports failure of step "check/approve" of session "release" with "not good enough"
      Then ada's session "release" is FAILED
      And the error of ada's session "release" says "not good enough"
