@check-04
Feature: Deleting a session
  A deleted session is gone with all that belonged to it, and stays gone.

  Rule: Nothing of a deleted session remains

    Example: Neither the session nor its chains and steps can be read
      Given ada has a completed session "release"
      When ada deletes session "release"
      Then ada's session "release" is gone
      And ada has 0 sessions
      And no trace of ada's session "release" is left in what clients watch

    @check-13
    Example: Its steps can't be worked on any more
      Given ada has a paused session "release"
      And ada has deleted session "release"
      When worker amber starts step "build/compile" of ada's session "release"
      Then it is refused as "gone"

    @check-13
    Example: A late result doesn't bring it back
      Given ada has a running session "release"
      And worker amber is working on step "build/compile" of ada's session "release"
      And ada has deleted session "release" by force
      When worker amber finishes step "build/compile" of ada's session "release"
      Then it is refused as "gone"

  Rule: Deleting what isn't there is answered properly

    Example: A session that never was
      Given ada has no session "release"
      When ada deletes session "release"
      Then it is refused as "not_found"

    Example: A session that was deleted before
      Given ada has a deleted session "release"
      When ada deletes session "release"
      Then it is refused as "gone" because "it was removed by"

    Example: The same request again
      Given ada has a completed session "release"
      And ada has deleted session "release" with command id "delete-1"
      When ada deletes session "release" with command id "delete-1"
      Then it is accepted as a repeat with the first answer

    Example: The id is not used again
      Given ada has a deleted session "release"
      When ada creates session "release"
      Then it is refused as "gone"
      And ada has 0 sessions

  Rule: A session is not deleted by mistake

    Example: Not while it runs
      Given ada has a running session "release"
      When ada deletes session "release"
      Then it is refused as "illegal_transition" because "cancel it first"
      And ada's session "release" has not changed

    Example: While it runs only by force
      Given ada has a running session "release"
      When ada deletes session "release" by force
      Then it is accepted
      And ada's session "release" is gone

    Example: Never while it is on hold
      Given ada has a completed session "release"
      And operator olga has put ada's session "release" on hold
      When ada deletes session "release" by force
      Then it is refused as "held" because "olga"
      And ada's session "release" is COMPLETED
