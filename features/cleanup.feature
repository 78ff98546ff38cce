@check-04
Feature: Cleaning up
  Sessions don't pile up for ever. What is stale is found and purged, by a policy
  that everybody can read, and nothing is removed that somebody still uses.

  Rule: A scan finds what is stale, and changes nothing

    Example: Sessions that ended and were kept for long enough
      Given ada has a completed session "release"
      And ada has a running session "parcel"
      When operator olga scans with completed sessions kept for "0s"
      Then it finds "release" as "completed" and nothing else
      And ada's session "release" has not changed

    Example: Nothing is stale
      Given ada has a completed session "release"
      And ada has a running session "parcel"
      When operator olga scans with completed sessions kept for "30d"
      Then it finds nothing

    Example: Sessions that nobody ever started
      Given ada has a pending session "draft"
      When operator olga scans with pending sessions kept for "0s"
      Then it finds "draft" as "never-started" and nothing else

    Example: What a worker works on is not idle
      Given worker amber is working on step "build/compile" of ada's running session "release"
      When operator olga scans with running sessions kept for "0s"
      Then it finds nothing

  Rule: A purge removes what was found, and what belonged to it

    Example: Neither the session nor its chains and steps can be read
      Given ada has a completed session "release"
      When operator olga purges with completed sessions kept for "0s"
      Then the report counts 1 purged
      And ada's session "release" is gone
      And no trace of ada's session "release" is left in what clients watch

    @check-13
    Example: Its steps can't be worked on any more
      Given ada has a paused session "release"
      And operator olga has purged idle sessions
      When worker amber starts step "build/compile" of ada's session "release"
      Then it is refused as "gone"

    Example: A dry run only says what would go
      Given ada has a completed session "release"
      When operator olga tries out a purge with completed sessions kept for "0s"
      Then the report counts 1 purged
      And ada's session "release" has not changed

    Example: What was purged stays purged after a restart
      Given ada uses a service of her own
      And ada has a completed session "release"
      And operator olga has purged completed sessions
      When the service is restarted
      Then ada's session "release" is gone

  Rule: Only what has not moved since the scan is purged

    @check-08
    Example: The session was taken up again
      Given ada has a failed session "release"
      And operator olga has scanned with failed sessions kept for "0s"
      And ada has retried step "build/compile" of session "release"
      When operator olga purges by that plan
      Then the report counts 1 "changed" and 0 purged

    @check-08
    Example: The session was deleted meanwhile
      Given ada has a completed session "release"
      And operator olga has scanned with completed sessions kept for "0s"
      And ada has deleted session "release"
      When operator olga purges by that plan
      Then the report counts 1 "gone" and 0 purged

    Example: The session is on hold
      Given ada has a completed session "release"
      And operator olga has put ada's session "release" on hold
      When operator olga purges with completed sessions kept for "0s"
      Then the report counts 1 "held" and 0 purged
      And ada's session "release" is COMPLETED

    Example: Idle sessions are reported, and kept unless the policy says otherwise
      Given ada has a paused session "release"
      When operator olga purges with paused sessions kept for "0s"
      Then the report counts 1 "protected" and 0 purged
      And ada's session "release" is PAUSED

  Rule: What is to be archived is purged only once its history is in the archive

    Example: The archive is there
      Given ada has a completed session "release"
      And an archive is set up
      When operator olga archives and purges with completed sessions kept for "0s"
      Then the archive holds 1 history
      And the report counts 1 purged

    Example: The archive can't be reached
      Given ada has a completed session "release"
      When operator olga archives and purges with completed sessions kept for "0s"
      Then the purge is refused because "it has to be there"
      And ada's session "release" is COMPLETED

  Rule: A purge that was broken off is completed by the next one

    @check-08
    Example: The service is restarted in the middle of it
      Given ada uses a service of her own
      And ada has 60 cancelled sessions
      And operator olga purges cancelled sessions while the service is restarted
      When operator olga purges with cancelled sessions kept for "0s"
      Then all 60 sessions of ada are gone without a trace
