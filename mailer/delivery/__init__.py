"""When to send, again, how fast, and never twice.

run             from the lock on the campaign to the record of the run; `plan`, `preflight` and `proof` before
it message_queue   the messages that are left: what may start, and what is durable (`pacing`: how fast) worker
one connection's part: sessions one after the other (`reconnect`: when to connect again) session         one
session: keep its window full, and record the results dispositions    what a result means: a pure function
(`reply_rules`: replies that say more than a digit) recorder        from results to the ledger, the figures
and the observer run_state       whether the run continues, and what its sessions have learned throttle
pauses and giving up; `failure_limit`: `stop_after`; `scaling`: `connections: auto` coordination    a run
among others on a shared ledger
"""
