"""Sending a campaign: when, how fast, when again, and never twice.

- `run`: from the lock on the campaign to the record of the run. `preparation` comes before the first
  connection (`plan`, `preflight`); `proof` sends one message instead.
- `message_queue`: the messages that are left, what may start now, and what is durable. `pacing`: how fast.
- `session_runner`: sessions one after the other. `session`: the messages of one session.
- `dispositions`: what a result means, as a pure function. `reply_rules`: replies that say more than a digit.
- `recorder`: from results to the ledger, the figures and the observer.
- `run_state`: whether the run continues, and what its sessions have learned.
- `throttle`: pauses and giving up. `failure_limit`: `stop_after`. `scaling`: `connections: auto`.
- `coordination`: a run among others on a shared ledger.
"""
