@check-12
Feature: Credentials
  Everybody who connects says who they are, and the server keeps them to what
  that allows.

  Rule: Nobody is served without credentials

    Example: A stranger
      Given ada has a session "release" where credentials are asked for
      When somebody connects without credentials
      Then they are turned away

    Example: Credentials that were revoked
      Given ada has a session "release" where credentials are asked for
      And bert is connected
      When bert's credentials are revoked
      Then bert's connection ends
      And bert is turned away

  Rule: Users reach only what is theirs

    Scenario Outline: bert <attempt>
      Given ada has a session "release" where credentials are asked for
      When bert <attempt>
      Then the server denies it
      And session "release" is as ada left it

      Examples:
        | attempt                                  |
        | sends a command to ada's session         |
        | queues a command for ada's session       |
        | asks for ada's session                   |
        | reads the view of ada's session          |
        | reads the stream of events               |
        | makes a consumer of events               |
        | writes an event of ada's                 |
        | watches ada's session                    |
        | watches everybody                        |
        | listens to ada's answers                 |
        | sends an operator's command              |
        | claims a step of ada's session           |
        | asks the server about itself             |

    Example: An answer can't be made a command
      Given ada has a session "release" where credentials are asked for
      When bert wants an answer of his sent as a command to ada's session
      Then session "release" is as ada left it

    Example: What ada may do
      Given ada has a session "release" where credentials are asked for
      When ada starts her session "release"
      Then its history names ada alone

  Rule: Workers get only the work of their actions

    Scenario Outline: amber, who builds, <attempt>
      Given ada has a session "release" where credentials are asked for
      When amber, who builds, <attempt>
      Then the server denies it

      Examples:
        | attempt                          |
        | pulls tasks of painters          |
        | claims a step in birch's name    |
        | sends a command to ada's session |
        | asks for ada's session           |

  Rule: Auditors read everything and change nothing

    Example: Reading
      Given ada has a session "release" where credentials are asked for
      When auditor eve reads ada's session and its events
      Then she sees them

    Example: Changing
      Given ada has a session "release" where credentials are asked for
      When auditor eve sends a command to ada's session
      Then the server denies it
      And session "release" is as ada left it
