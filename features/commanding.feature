@check-11
Feature: Commands in any order and number
  Whatever is sent, in whatever order and by however many, a session only ever
  makes legal moves.

  Rule: Commands that contradict each other leave a sound session

    Example: Pause and cancel at the same time
      Given ada has a running session "release"
      When ada pauses and cancels session "release" at the same time
      Then ada's session "release" is CANCELLED
      And the history of ada's session "release" is unbroken

    Example: A result and a cancellation at the same time
      Given ada has a running session "release" with chains:
        | chain | steps   |
        | build | compile |
      And worker amber is working on step "build/compile" of ada's session "release"
      When ada cancels session "release" while worker amber finishes step "build/compile"
      Then exactly one of the two is accepted
      And ada's session "release" is COMPLETED or CANCELLED accordingly

    Example: A crowd that pauses and resumes
      Given ada has a running session "release"
      When 30 clients of ada pause and resume session "release" at once
      Then ada's session "release" is RUNNING or PAUSED
      And the history of ada's session "release" is unbroken
      And in the history of ada's session "release" pauses and resumptions take turns

  Rule: Queued commands are carried out in the order they were sent

    Example: A whole life
      Given ada has a pending session "release"
      When ada queues for session "release": start, pause, resume, pause, resume, cancel
      Then ada's session "release" becomes CANCELLED
      And in the history of ada's session "release" the commands are: create, start, pause, resume, pause, resume, cancel

    Example: A command that is refused is kept with the reason
      Given ada has a pending session "release"
      When ada queues for session "release": resume, start
      Then ada's session "release" becomes RUNNING
      And the refused "resume" is kept for ada with "illegal_transition" and "resume needs PAUSED"

    Example: A queued command is applied once however often it is sent
      Given ada has a pending session "release"
      When ada queues "start" for session "release" 3 times with command id "start-1", then "pause"
      Then ada's session "release" becomes PAUSED
      And in the history of ada's session "release" the commands are: create, start, pause

  Rule: A batch is all or nothing, unless each command is to stand for itself

    Example: All are legal
      Given ada has a pending session "release"
      When ada sends as one batch for session "release":
        | start  |
        | pause  |
      Then it is accepted
      And ada's session "release" is PAUSED
      And ada's session "release" has 2 entries in its history

    Example: One is not
      Given ada has a pending session "release"
      When ada sends as one batch for session "release":
        | start  |
        | resume |
      Then it is refused as "already" because "nothing of the batch was applied"
      And ada's session "release" has not changed

    Example: Each for itself
      Given ada has a pending session "release"
      When ada sends as one batch, each for itself, for session "release":
        | start    |
        | complete |
        | pause    |
      Then it is accepted except for "complete" as "illegal_transition"
      And ada's session "release" is PAUSED

  Rule: Nonsense is refused, and the next command works

    Scenario Outline: <nonsense>
      Given ada has a pending session "release"
      When ada sends <nonsense> to session "release"
      Then it is refused as "invalid" because "<sentence>"
      And ada's session "release" has not changed
      And ada can start session "release"

      Examples:
        | nonsense                   | sentence                 |
        | half a text                | is not JSON              |
        | an unknown field           | no field "colour"        |
        | an unknown command         | there is no command      |
        | a number for a name        | can't stand here         |
        | more than fits             | the most there may be is |
        | two commands in one text   | goes on after the end    |

  Rule: A command can be tried without carrying it out

    Example: It says what would happen
      Given ada has a running session "release"
      When ada tries what pausing session "release" would do
      Then it would bring "session.paused, session.quiesced"
      And ada's session "release" has not changed

    Example: It says why it would be refused
      Given ada has a pending session "release"
      When ada tries what pausing session "release" would do
      Then it is refused as "illegal_transition" because "pause needs RUNNING"
