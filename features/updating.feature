@check-03
Feature: Changing a session
  A change that was accepted stays, whoever else changes the session meanwhile.

  Rule: Changes persist

    Example: A label
      Given ada has a running session "release"
      When ada sets label "owner" of session "release" to "team blue"
      Then it is accepted
      And ada's session "release" has label "owner" = "team blue"

    Example: A state
      Given ada has a pending session "release"
      When ada starts session "release"
      Then ada's session "release" is RUNNING
      And ada's list of RUNNING sessions names "release"

    Example: More work
      Given ada has a running session "release"
      When ada adds chain "publish" with steps "sign, upload" to session "release"
      Then it is accepted
      And ada's session "release" has 4 steps
      And step "publish/sign" of ada's session "release" is PENDING

  Rule: Those who change a session at the same time don't undo each other

    Example: Many labels at once
      Given ada has a running session "release"
      When ada sets 40 different labels of session "release" at once
      Then all 40 are accepted
      And ada's session "release" has all 40 labels
      And the history of ada's session "release" is unbroken

    Example: Many workers want the same step
      Given ada has a running session "release"
      When 20 workers start step "build/compile" of ada's session "release" at once
      Then 1 of them is accepted and the others are refused as "illegal_transition"
      And step "build/compile" of ada's session "release" is in its attempt 1
      And the history of ada's session "release" is unbroken

  Rule: A change may be made to depend on what its sender has seen

    Example: Nothing happened since
      Given ada has a running session "release"
      When ada pauses session "release" provided that it is at version 2
      Then it is accepted
      And ada's session "release" is PAUSED

    Example: Somebody was faster
      Given ada has a running session "release"
      When ada pauses session "release" provided that it is at version 1
      Then it is refused as "version_conflict"
      And ada's session "release" has not changed

  Rule: Sending the same command again does nothing more

    Example: The answer got lost
      Given ada has a pending session "release"
      And ada has started session "release" with command id "start-1"
      When ada starts session "release" with command id "start-1"
      Then it is accepted as a repeat with the first answer
      And ada's session "release" has not changed

    Example: The session has moved on meanwhile
      Given ada has a pending session "release"
      And ada has started session "release" with command id "start-1"
      And ada has paused session "release"
      When ada starts session "release" with command id "start-1"
      Then it is accepted as a repeat with the first answer

    Example: Many copies at once
      Given ada has a running session "release"
      When ada sets the same label of session "release" 20 times at once with command id "label-1"
      Then all 20 are accepted
      And ada's session "release" has 3 entries in its history

    Example: A command id stands for one command
      Given ada has a pending session "release"
      And ada has started session "release" with command id "start-1"
      When ada pauses session "release" with command id "start-1"
      Then it is refused as "id_reused"
      And ada's session "release" has not changed
