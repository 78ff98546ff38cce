@check-02
Feature: Seeing why a session does not move
  What a session waits for is a fact that lists show and can be asked by.

  Rule: A step whose action no worker serves is said to have none

    Background:
      Given ada has a running session "release" for workers on duty:
        | step          | does  | tries |
        | build/compile | waits | 9     |

    Example: Nobody has ever come
      When ada lists her sessions that wait for "no_worker"
      Then ada's list of sessions that wait for "no_worker" comes to name "release"
      And ada's session "release" waits for "no_worker" and nothing else

    Example: A worker is there
      When worker amber comes on duty
      Then ada's list of sessions that wait for "no_worker" comes to name ""

    Example: The last worker falls silent
      Given worker amber, who may be silent for six seconds, is on duty and at "build/compile" of ada's session "release"
      When worker amber falls silent
      Then ada's list of sessions that wait for "no_worker" comes to name "release"

  Rule: Everything else that holds a session up has a name too

    Example: Sessions that wait for different things
      Given ada has these sessions:
        | session | state   |
        | one     | pending |
        | two     | running |
        | three   | paused  |
      When ada lists her sessions that wait for "start, paused"
      Then the list names "one, three"

    Example: A step that somebody has to complete
      Given ada has a running session "release" with chains:
        | chain | steps   | by hand |
        | check | approve | yes     |
      When ada lists her sessions that wait for "person"
      Then the list names "release"

    Example: A kind that there isn't
      Given ada has a running session "release"
      When ada asks for her sessions that wait for "godot"
      Then it is refused as "invalid" because "no_worker"

  Rule: A step in flight shows what it said last

    Example: While it is carried out
      Given ada has a running session "release" for workers on duty:
        | step          | does              |
        | build/compile | reports and waits |
      When worker amber comes on duty
      Then step "build/compile" of ada's session "release" is seen in the hands of amber with the output {"log":"linking"}
