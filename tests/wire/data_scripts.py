"""Lines of conversations with DATA, for the tests."""

from __future__ import annotations

from tests.wire.conversation import message

ONE, TWO, THREE = message(1), message(2), message(3)


ENVELOPE = {
    n: f"C: MAIL FROM:<s{n}@example.com>\nC: RCPT TO:<r{n}@example.com>\nC: DATA\n" for n in (1, 2, 3)
}


CONTENT = {n: f"C: ${n}\nC: .\n" for n in (1, 2, 3)}


GO = "S: 250 ok\nS: 250 ok\nS: 354 go\n"


REFUSED = "S: 250 ok\nS: 550 5.1.1 no\nS: 554 5.5.1 no valid recipients\n"
