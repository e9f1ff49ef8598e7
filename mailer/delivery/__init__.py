"""Sending a campaign: when, how fast, when again, and never twice.

The modules, in the order in which a recipient meets them:

- `run`: from the lock on the campaign to the record of the run. `options`: what it is asked to do, and its
  result.
- `preparation` comes before the first connection: `plan`, then `preflight` (with `checking_pool`). `proof` sends
  one message instead.
- `message_queue`: the messages that are left, what may start now, and what is durable. `pacing`: how fast.
- `session_runner`: sessions one after the other, to a server that `server_access` describes. `reconnect`:
  when it tries again. `session`: the messages of one session. `renderers`: what makes these messages.
- `dispositions`: what a result means, as a pure function. `reply_rules`: replies that say more than a digit.
  `backoff`: how long to wait.
- `recorder`: from results to the ledger, the figures and the `observer`.
- `run_state`: whether the run continues, and what its sessions have learned. `signals`: who ends it.
- `throttle`: pauses and giving up. `failure_limit`: `stop_after`. `scaling`: `connections: auto`.
- `coordination`: a run among others on a shared ledger. `kept_sessions`: sessions that outlive a run.
- `clock` and `race`: time, and waiting for several things.

The words:

- An edition is one sending of a campaign to its whole list. A run is the work of one command on an edition.
  With `mailer send --workers`, a worker is a process that sends shares: parts of the edition, each of them a
  run.
- A claim is a message that a run has taken from the queue. It is in flight until the run has recorded its
  outcome (for good), a retry (later), or its release (not sent).
- A session is one SMTP connection from the login to QUIT. A session runner opens one after the other. A
  permit allows a session beside those of other runs.
- A disposition is what a result means: a record for the ledger, and what the session does next.
- A message is in doubt if its last byte may have left and no reply came.
"""
