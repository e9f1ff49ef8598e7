"""Lines of conversations with BDAT, for the tests."""

from __future__ import annotations

from tests.wire.conversation import OPENING, STREAMED, message

M = {n: message(n) for n in range(1, 10)}


OK = "S: 250 ok\nS: 250 ok\nS: 250 queued\n"


GONE = "S: 250 ok\nS: 550 5.1.1 no\nS: 554 5.5.1 no valid recipients\n"


RESET = "C: RSET\n"


RESET_OK = "S: 250 reset\n"


FIRST = len(b"Subject: 1\r\n")  # of the first message, the line that is tried


REST = len(M[1].content) - FIRST


def whole(n: int) -> str:
    return f"C: MAIL FROM:<s{n}@example.com>\nC: RCPT TO:<r{n}@example.com>\nC: BDAT {len(M[n].content)} LAST\nC: ${n}\n"


def first(n: int = 1) -> str:
    return (
        f"C: MAIL FROM:<s{n}@example.com>\nC: RCPT TO:<r{n}@example.com>\nC: BDAT {FIRST}\nC: Subject: {n}\n"
    )


def rest(n: int = 1) -> str:
    return f"C: BDAT {REST} LAST\nC: \nC: body {n}\n"


VERIFIED = OPENING + STREAMED + first() + "S: 250 ok\nS: 250 ok\nS: 250 12 octets\n" + rest()
