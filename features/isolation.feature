@check-12
Feature: Isolation
  What one user has is nobody else's business, and no session disturbs another.

  Rule: Users reach only what is theirs

    Scenario Outline: bert <command> a session of ada's
      Given ada has a <state> session "release"
      When bert <command> session "release"
      Then it is refused as "not_found"
      And ada's session "release" has not changed

      Examples:
        | state     | command  |
        | pending   | starts   |
        | running   | pauses   |
        | paused    | resumes  |
        | running   | cancels  |
        | completed | deletes  |
        | running   | reads    |

    Example: bert forks a session of ada's
      Given ada has a completed session "release"
      When bert forks session "release" as "stolen"
      Then it is refused as "not_found"
      And bert has 0 sessions

    Example: bert moves a chain into a session of ada's
      Given ada has a running session "release"
      And bert has a running session "parcel" with chains:
        | chain | steps |
        | pack  | fold  |
        | send  | carry |
      When bert moves chain "pack" of session "parcel" to session "release"
      Then it is refused as "not_found"
      And ada's session "release" has not changed

  Rule: Not even the existence of another's session shows

    Example: The answer is the same as for an id that nobody ever used
      Given ada has a running session "release"
      And bert has a running session "parcel"
      When bert sends every command and query to session "release" and to an id that nobody has
      Then the answers are the same but for the id

    Example: A deleted session of another's shows no more than a living one
      Given ada has a deleted session "release"
      When bert sends every command and query to session "release" and to an id that nobody has
      Then the answers are the same but for the id

  Rule: Lists and counts hold nothing of others

    Example: Lists
      Given ada has a running session "release"
      And bert has a running session "parcel"
      When bert lists his sessions
      Then the list names "parcel"

    Example: Counts
      Given ada has a running session "release"
      And bert has a running session "parcel"
      When bert counts his sessions
      Then the counts are:
        | state   | sessions |
        | RUNNING | 1        |

  Rule: The same id under two users is two sessions

    Example: What happens to one doesn't happen to the other
      Given ada has a running session "release"
      And bert has a running session "release"
      When bert cancels session "release"
      Then bert's session "release" is CANCELLED
      And ada's session "release" is RUNNING

    Example: Sessions that fail leave others alone
      Given ada has a running session "release"
      And ada has a running session "parcel"
      When worker amber fails step "build/compile" of ada's session "release" with "disk full"
      Then ada's session "release" is FAILED
      And ada's session "parcel" has not changed

  Rule: A worker gets only the work it is for

    Example: Work of another kind
      Given ada has a running session "release"
      When worker amber, who only paints, starts step "build/compile" of ada's session "release"
      Then it is refused as "not_allowed"
      And step "build/compile" of ada's session "release" is PENDING

    Example: A result for another worker's step
      Given ada has a running session "release"
      And worker amber is working on step "build/compile" of ada's session "release"
      When worker birch finishes amber's step "build/compile" of ada's session "release"
      Then it is refused as "stale_attempt"
      And step "build/compile" of ada's session "release" is RUNNING
