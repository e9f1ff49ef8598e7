"""An ESMTP client from sockets: how messages cross one session. It knows nothing of campaigns.

    session = await connect(endpoint, login)                  connection.py
    while messages or in_flight:
        while session.room and messages: session.submit(Transaction(...))
        for result in await session.next_results(): ...   a refusal is a value; ConnectionLost an exception
    await session.quit()

`protocol/` has no I/O and no clock. From the octets up: `reply` (octets -> replies), `commands`,
`extensions`, `data`; `pipeline` (what was written, and the replies that are owed for it, in order);
`in_flight` (one message on its way), `transaction_queue` (all of them, and how often RSET), `window` (how
many are in flight); `data_writer` and `bdat_writer` (what is written when), `submission` (owns the queue and
the writer); `states`, `opening` (greeting to login) and `session` (octets in, events out). `sasl/` has the
mechanisms. The shell has the sockets: `tcp`, `transport`, `tls`, `connection`; `certificate` describes the
server's certificate.
"""
