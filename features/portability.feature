@check-16
Feature: Moving sessions
  Sessions can be moved to another storage, exported to a file and restored from
  it. Nothing is lost on the way, and nothing comes back that was gone.

  Rule: Switching storage loses nothing

    Example: To the other storage and back
      Given ada uses a service of her own
      And ada has these sessions:
        | session | state     |
        | release | completed |
        | parcel  | paused    |
        | rocket  | failed    |
        | draft   | pending   |
      When the service is moved to the other storage and back
      Then every history is the same as before
      And ada's list of PAUSED sessions names "parcel"

    Example: A session goes on where it stopped
      Given ada uses a service of her own
      And worker amber has finished step "build/compile" of ada's running session "release" with output {"binary":"hello"}
      When the service is moved to the other storage
      Then step "build/compile" of ada's session "release" has output {"binary":"hello"}
      And worker birch can start step "build/test" of ada's session "release"

    Example: What was deleted stays deleted
      Given ada uses a service of her own
      And ada has a deleted session "release"
      When the service is moved to the other storage
      Then ada's session "release" is gone
      And ada has 0 sessions

    Example: What was moved survives a restart
      Given ada uses a service of her own
      And ada has a paused session "release"
      When the service is moved to the other storage and restarted
      Then ada's session "release" is PAUSED
      And every history is the same as before

  Rule: A move is finished or can be

    Example: A move that was killed goes on
      Given ada uses a service of her own
      And ada has these sessions:
        | session | state     |
        | release | completed |
        | parcel  | paused    |
        | rocket  | failed    |
        | draft   | cancelled |
      When the move to the other storage is killed half-way and made again
      Then every history is the same as before

    Example: Nobody changes what is being moved
      Given ada uses a service of her own
      And ada has a paused session "release"
      When ada resumes session "release" while the service is being moved
      Then it is refused as "unavailable" because "it is being moved to another server"
      And ada's session "release" is PAUSED

  Rule: An export restores sessions exactly as they were

    Example: Into a new service
      Given ada uses a service of her own
      And ada has these sessions:
        | session | state     |
        | release | completed |
        | parcel  | paused    |
      When everything is exported and imported into a new service
      Then every history is the same as before
      And ada's list of PAUSED sessions names "parcel"

    Example: A second time
      Given ada uses a service of her own
      And ada has a paused session "release"
      When everything is exported and imported into the same service
      Then the import has changed nothing
      And every history is the same as before

    Example: For another user
      Given ada uses a service of her own
      And ada has a paused session "release"
      When everything is exported and imported for grace
      Then grace's session "release" becomes PAUSED
      And ada's session "release" is PAUSED

  Rule: An import that would do harm is refused as a whole

    Example: A file that was cut
      Given ada uses a service of her own
      And ada has a paused session "release"
      When everything is exported, and imported into a new service from a file without its last line
      Then the import is refused because "without its trailer"
      And ada has 0 sessions

    Example: Sessions that have gone other ways
      Given ada uses a service of her own
      And ada has a paused session "release"
      When everything is exported, and imported where ada has a pending session "release" of her own
      Then the import is refused because "is there with another history"
      And ada's session "release" is PENDING

    Example: A session that is gone does not come back
      Given ada uses a service of her own
      And ada has a paused session "release"
      When everything is exported, ada deletes session "release", and it is imported again
      Then the import is refused because "is gone here"
      And ada's session "release" is gone
