@check-01
Feature: Creating a session
  A session is a plan of work: chains of steps. Whoever creates one owns it, and
  decides when it starts.

  Rule: A new session has an id and an owner and waits to be started

    Example: The owner chooses the id
      Given ada has no session "release"
      When ada creates session "release" with chains:
        | chain   | steps         | waits for |
        | build   | compile, test |           |
        | publish | upload        | build     |
      Then it is accepted
      And ada's session "release" is PENDING
      And every step of ada's session "release" is PENDING

    Example: An id is made for whoever brings none
      Given ada has no session "release"
      When ada creates a session without an id
      Then it is accepted
      And the new session is PENDING and belongs to ada

    @check-12
    Example: An owner may have a name of any script
      Given "Zoë <zoe@exämple.org>" is a user called zoe
      When zoe creates session "release"
      Then it is accepted
      And zoe's session "release" is PENDING

  Rule: A session that was accepted is stored

    Example: It can be read at once
      Given ada has no session "release"
      When ada creates session "release"
      Then ada's session "release" is PENDING
      And ada's list of PENDING sessions names "release"

    Example: Asking twice for the same session makes one
      Given ada has a pending session "release"
      When ada creates session "release"
      Then it is accepted as a repeat
      And ada has 1 session
      And ada's session "release" has 1 entry in its history

    Example: An id stands for one plan only
      Given ada has a pending session "release"
      When ada creates session "release" with chains:
        | chain  | steps |
        | deploy | push  |
      Then it is refused as "exists" because "exists already"
      And ada's session "release" has not changed

  Rule: An id that can't be one is refused

    Scenario Outline: A session id of <what>
      Given ada has no session "release"
      When ada creates a session whose id is <what>
      Then it is refused as "invalid"
      And ada has 0 sessions

      Examples:
        | what             |
        | a path           |
        | a wildcard       |
        | a dotted name    |
        | 65 characters    |

  Rule: A plan that could never end is refused

    Scenario Outline: A plan with <fault>
      Given ada has no session "release"
      When ada creates session "release" from a plan with <fault>
      Then it is refused as "invalid" because "<sentence>"
      And ada has no session "release"

      Examples:
        | fault                               | sentence             |
        | two chains that wait for each other | waits for itself     |
        | a chain that waits for nobody known | there is no such     |
        | the same chain twice                | earlier chain        |
        | the same step twice                 | earlier step         |
        | 10000 steps                         | steps are too many   |
        | a setting nobody knows              | "colour"             |
