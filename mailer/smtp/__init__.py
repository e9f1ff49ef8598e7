"""An ESMTP client from sockets: how messages cross one session. It knows nothing of campaigns.

    session = await connect(endpoint, login)                  connection.py
    while messages or in_flight:
        while session.room and messages: session.submit(Transaction(...))
        for result in await session.next_results(): ...         a refusal is a value; ConnectionLost is an exception
    await session.quit()

From the octets up: `reply` (octets -> replies), `commands`, `extensions`, `data`; `exchange` (what was written, and the
replies that are owed for it, in order); `flight` (one message on its way), `mailing` (all of them), `window` and
`budget` (how many, and how often RSET); `turns` and `stream` (when what is written); `states` and `protocol` (a session
from the greeting to the end). None of these knows of sockets or clocks. The shell does: `reaching`, `channel`, `tls`,
`connection`.
"""
