@check-02
Feature: Reading sessions
  What is read is what was written: whole, current, and with its past.

  Rule: A session is read with everything it was given

    Example: Plan, labels and inputs come back as they were
      Given ada has no session "release"
      When ada creates session "release" with label "version" = "1.4.0" and input {"tag":"<v1&2>","size":[1,2.50,null]}
      Then ada's session "release" has label "version" = "1.4.0"
      And step "build/compile" of ada's session "release" has input {"tag":"<v1&2>","size":[1,2.50,null]}
      And ada's session "release" has 2 steps

    Example: A large result comes back whole
      Given ada has a running session "release"
      When worker amber finishes step "build/compile" of ada's session "release" with 100 KB of output
      Then it is accepted
      And step "build/compile" of ada's session "release" has that output

    Example: A step gets the outputs of what it waited for
      Given ada has a running session "release"
      And worker amber has finished step "build/compile" of ada's session "release" with output {"binary":"hello"}
      When worker birch starts step "build/test" of ada's session "release"
      Then birch is handed the output {"binary":"hello"} of step "compile"

  Rule: What isn't there is said not to be there

    Example: An id that nobody has used
      Given ada has no session "release"
      When ada reads session "release"
      Then it is refused as "not_found" because "there is no session"

    Example: An id that can't be one
      Given ada has no session "release"
      When ada reads session "two words"
      Then it is refused as "invalid" because "is no session id"

    Example: A step that the plan doesn't have
      Given ada has a pending session "release"
      When ada skips step "build/paint" of session "release"
      Then it is refused as "not_found" because "paint"
      And ada's session "release" has not changed

  Rule: Lists hold exactly what was asked for

    Background:
      Given ada has these sessions:
        | session | state     |
        | one     | pending   |
        | two     | running   |
        | three   | running   |
        | four    | completed |
        | five    | failed    |
        | six     | cancelled |

    Example: By state
      When ada lists her RUNNING sessions
      Then the list names "two, three"

    Example: Page by page
      When ada lists her sessions 4 at a time
      Then the list names "one, two, three, four, five, six" in the order they were created
      And it took 2 pages

    Example: By what became of their steps
      When ada lists her sessions with a FAILED step
      Then the list names "five"

    Example: Counted by state
      When ada counts her sessions
      Then the counts are:
        | state     | sessions |
        | PENDING   | 1        |
        | RUNNING   | 2        |
        | COMPLETED | 1        |
        | FAILED    | 1        |
        | CANCELLED | 1        |

  Rule: The past can be read as well as the present

    Example: Every change is in the history with who made it
      Given ada has a running session "release"
      When ada pauses session "release"
      Then the history of ada's session "release" tells:
        | by  | command | events                             |
        | ada | create  | session.created                    |
        | ada | start   | session.started                    |
        | ada | pause   | session.paused, session.quiesced   |

    Example: A session is read as it was
      Given ada has a running session "release"
      And ada has cancelled session "release"
      When ada reads session "release" as it was when it had started
      Then it was RUNNING with every step PENDING

  Rule: Who watches is told of every change

    Example: Changes arrive in order while they happen
      Given ada has a pending session "release"
      And ada watches session "release"
      When ada sends as one batch for session "release":
        | start  |
        | pause  |
        | resume |
      Then ada is told of "session.started, session.paused, session.quiesced, session.resumed"
