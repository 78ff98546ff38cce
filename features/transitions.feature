@check-05
Feature: Legal and illegal transitions
  Every command is legal in some states. In the others it is refused, with a
  sentence that says what would have been legal, and nothing changes.

  Rule: A command that the state doesn't allow is refused with the reason

    Scenario Outline: <command> in <state>
      Given ada has a <state> session "release"
      When ada <command> session "release"
      Then it is refused as "<code>" because "<sentence>"
      And ada's session "release" has not changed

      Examples:
        | state     | command   | code               | sentence                    |
        | pending   | pauses    | illegal_transition | pause needs RUNNING         |
        | pending   | resumes   | illegal_transition | resume needs PAUSED         |
        | pending   | cancels   | illegal_transition | delete it instead           |
        | pending   | completes | illegal_transition | complete needs RUNNING      |
        | running   | starts    | already            | already RUNNING             |
        | running   | resumes   | already            | already RUNNING             |
        | running   | completes | illegal_transition | keepOpen                    |
        | running   | deletes   | illegal_transition | delete it with force        |
        | paused    | starts    | illegal_transition | start needs PENDING         |
        | paused    | pauses    | already            | already PAUSED              |
        | paused    | completes | illegal_transition | complete needs RUNNING      |
        | completed | starts    | illegal_transition | fork it to run it again     |
        | completed | pauses    | illegal_transition | fork it to run it again     |
        | completed | resumes   | illegal_transition | fork it to run it again     |
        | completed | cancels   | illegal_transition | RUNNING or PAUSED           |
        | completed | completes | already            | already COMPLETED           |
        | failed    | starts    | illegal_transition | retry or skip               |
        | failed    | pauses    | illegal_transition | retry or skip               |
        | failed    | resumes   | illegal_transition | retry or skip               |
        | failed    | cancels   | illegal_transition | RUNNING or PAUSED           |
        | cancelled | starts    | illegal_transition | fork it to run it again     |
        | cancelled | pauses    | illegal_transition | fork it to run it again     |
        | cancelled | resumes   | illegal_transition | fork it to run it again     |
        | cancelled | cancels   | already            | already CANCELLED           |

  Rule: A command that the state allows is carried out

    Scenario Outline: <command> in <state>
      Given ada has a <state> session "release"
      When ada <command> session "release"
      Then it is accepted
      And ada's session "release" is <next>

      Examples:
        | state   | command | next      |
        | pending | starts  | RUNNING   |
        | running | pauses  | PAUSED    |
        | running | cancels | CANCELLED |
        | paused  | resumes | RUNNING   |
        | paused  | cancels | CANCELLED |

    Scenario Outline: deletes in <state>
      Given ada has a <state> session "release"
      When ada deletes session "release"
      Then it is accepted
      And ada's session "release" is gone

      Examples:
        | state     |
        | pending   |
        | paused    |
        | completed |
        | failed    |
        | cancelled |

    Example: A session that was kept open is completed by its owner
      Given ada has a running session "release" that is kept open
      And worker amber has finished step "build/compile" of ada's session "release"
      And worker amber has finished step "build/test" of ada's session "release"
      When ada completes session "release"
      Then ada's session "release" is COMPLETED

    Example: A session that has ended is run again as a fork
      Given ada has a failed session "release"
      When ada forks session "release" as "again"
      Then it is accepted
      And ada's session "again" is PENDING
      And ada's session "release" is FAILED
