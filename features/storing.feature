@check-16
Feature: Storage
  The same service runs on memory for development and on disk for production,
  and behaves the same. What was accepted is there after a restart.

  Rule: What was accepted survives a restart of the service

    Example: A session in the middle of its life
      Given ada uses a service of her own
      And worker amber has finished step "build/compile" of ada's running session "release" with output {"binary":"hello"}
      When the service is restarted
      Then step "build/compile" of ada's session "release" has output {"binary":"hello"}
      And worker birch can start step "build/test" of ada's session "release"

    Example: Lists and histories
      Given ada uses a service of her own
      And ada has these sessions:
        | session | state     |
        | release | completed |
        | parcel  | paused    |
      When the service is restarted
      Then ada's list of PAUSED sessions names "parcel"
      And the history of ada's session "release" is unbroken

    Example: What went on before is where it was
      Given ada uses a service of her own
      And ada has a paused session "release"
      When the service is restarted
      Then ada's session "release" has not changed
      And ada's session "release" is PAUSED

  Rule: What was settled before a restart is settled after it

    @check-04
    Example: What was deleted stays deleted
      Given ada uses a service of her own
      And ada has a deleted session "release"
      When the service is restarted
      Then ada's session "release" is gone
      And ada has 0 sessions

    @check-03
    Example: A command that is sent again after the restart is still applied once
      Given ada uses a service of her own
      And ada has a pending session "release"
      And ada has started session "release" with command id "start-1"
      When the service is restarted and ada starts session "release" with command id "start-1" again
      Then it is accepted as a repeat with the first answer

  Rule: Everything else can be made again from the history

    Example: Views that were lost come back the same
      Given ada uses a service of her own
      And ada has a completed session "release"
      And ada has a failed session "parcel"
      When the service is restarted without its views
      Then the views of ada's sessions "release" and "parcel" are the same as before

  Rule: Two services may share one storage

    Example: What one accepted the other one knows
      Given ada uses a service of her own
      And a second service shares its storage
      When both are sent pauses and resumptions of ada's new running session "release" at once
      Then in the history of ada's session "release" pauses and resumptions take turns
      And the history of ada's session "release" is unbroken
