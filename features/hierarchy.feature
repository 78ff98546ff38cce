@check-13
Feature: Sessions, chains and steps
  Every chain belongs to one session and every step to one chain, and the
  parent always agrees with its children.

  Rule: A chain belongs to its session, a step to its chain

    Example: The same names in another session are other chains and steps
      Given ada has a running session "release"
      And ada has a running session "parcel"
      When worker amber finishes step "build/compile" of ada's session "release"
      Then step "build/compile" of ada's session "release" is SUCCESS
      And step "build/compile" of ada's session "parcel" is PENDING

    Example: An open chain takes more steps until it is closed
      Given ada has a running session "release" with an open chain "extra"
      When ada adds step "paint" to chain "extra" of session "release"
      Then it is accepted
      And step "extra/paint" of ada's session "release" is PENDING

    Example: A closed chain takes none
      Given ada has a running session "release"
      When ada adds step "paint" to chain "build" of session "release"
      Then it is refused as "illegal_transition" because "the chain is closed"
      And ada's session "release" has 2 steps

  Rule: Removing a chain removes its steps and updates the session

    Example: The session goes on with what is left
      Given ada has a running session "release" with chains:
        | chain | steps   |
        | build | compile |
        | docs  | render  |
      When ada removes chain "docs" of session "release"
      Then ada's session "release" has 1 step
      And worker amber can't start step "docs/render" of ada's session "release" any more

    Example: The session completes when everything else is done
      Given ada has a running session "release" with chains:
        | chain | steps   |
        | build | compile |
        | docs  | render  |
      And worker amber has finished step "build/compile" of ada's session "release"
      When ada removes chain "docs" of session "release"
      Then ada's session "release" is COMPLETED

    Example: Not while it is being worked on
      Given ada has a running session "release" with chains:
        | chain | steps   |
        | build | compile |
        | docs  | render  |
      And worker amber is working on step "docs/render" of ada's session "release"
      When ada removes chain "docs" of session "release"
      Then it is refused as "illegal_transition" because "RUNNING"
      And ada's session "release" has not changed

    Example: Not while another chain waits for it
      Given ada has a running session "release" with chains:
        | chain   | steps   | waits for |
        | build   | compile |           |
        | publish | upload  | build     |
      When ada removes chain "build" of session "release"
      Then it is refused as "illegal_transition" because "waits for it"
      And ada's session "release" has not changed

  Rule: Moving a chain updates both sessions or neither

    Example: The chain moves with its results
      Given ada has a running session "manual"
      And ada has a running session "release" in which worker amber has finished step "docs/render", with chains:
        | chain | steps         |
        | build | compile, test |
        | docs  | render, print |
      When ada moves chain "docs" of session "release" to session "manual"
      Then step "docs/render" of ada's session "manual" is SUCCESS
      And ada's session "release" has no chain "docs"

    Example: What is left behind may be complete
      Given ada has a running session "manual"
      And ada has a running session "release" in which worker amber has finished step "build/compile", with chains:
        | chain | steps   |
        | build | compile |
        | docs  | render  |
      When ada moves chain "docs" of session "release" to session "manual"
      Then ada's session "release" is COMPLETED
      And worker amber can start step "docs/render" of ada's session "manual"

    Example: A name that is taken leaves both as they were
      Given ada has a running session "release" with chains:
        | chain | steps   |
        | build | compile |
        | docs  | render  |
      And ada has a running session "manual"
      When ada moves chain "build" of session "release" to session "manual"
      Then it is refused as "exists"
      And neither ada's session "release" nor "manual" has changed

    Example: A chain that two want goes to one
      Given ada has a running session "release" with chains:
        | chain | steps   |
        | build | compile |
        | docs  | render  |
      And ada has running sessions "manual" and "website"
      When ada moves chain "docs" of session "release" to "manual" and to "website" at the same time
      Then exactly one of the two is accepted
      And chain "docs" is in exactly one of ada's sessions "release", "manual" and "website"

  Rule: A chain changes its place within its session

    Example: To the front
      Given ada has a running session "release" with chains:
        | chain | steps   |
        | build | compile |
        | docs  | render  |
      When ada moves chain "docs" of session "release" to the front
      Then the chains of ada's session "release" are "docs, build"
