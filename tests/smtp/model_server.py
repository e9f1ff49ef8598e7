"""A server without I/O, strict about order. It refuses, drops and misbehaves as told, and remembers what it took.

It is written from the RFCs and from what Postfix and Exim do, not from our client: what it accepted is the truth that
the client's account is compared with.
"""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass, field

PATH = re.compile(rb"<([^>]*)>(.*)")


@dataclass
class Behaviour:
    pipelining: bool = True
    chunking: bool = True
    closes: bool = True  # BDAT LAST ends a transaction without recipients (Postfix), or not (Exim)
    holds: bool = (
        False  # refused content leaves the transaction open, with its recipients (Postfix, end-of-data)
    )
    behind_content: str = (
        "works"  # works | refused (Haraka: 503 for each command) | dropped (Courier), in one segment
    )
    panics: bool = False  # at a MAIL behind BDAT LAST whose reply is not read, without RSET (Dovecot's proxy)
    bdat: str = (
        "works"  # works | refused (the chunk is read) | unknown (the chunk is read as commands) | closes
    )
    goes_to_354: bool = False  # DATA is 354 also without recipients
    nonmail: int | None = None  # so many RSETs, but one a message, then 554 and a close
    refused: dict[bytes, int] = field(default_factory=dict)  # sender, recipient, content's first line, or
    # b"DATA " and the first recipient -> code
    forgets: bool = False  # a refused DATA ends the transaction
    ends_after: int | None = None  # commands; then it closes,
    announces: bool = False  # ... with 421,
    continues: bool = False  # ... which it says and does not do: every MAIL from then on is 421
    mail_max: int | None = None
    offers: tuple[str, ...] = ()  # beside those that follow from the above


@dataclass
class ModelServer:
    behaviour: Behaviour
    out: bytes = b""
    closed: bool = False
    accepted: Counter[tuple[bytes, tuple[bytes, ...], bytes]] = field(default_factory=Counter)
    lines: list[bytes] = field(default_factory=list)  # the commands that it got
    wants_tls: bool = (
        False  # it said 220 to STARTTLS: the owner of the socket does TLS, and sets this to False
    )

    def __post_init__(self) -> None:
        self.buffer = b""
        self.sender: bytes | None = None
        self.recipients: list[bytes] = []
        self.content: bytes | None = None  # of chunks so far, or of DATA
        self.chunk = -1  # octets of the chunk that are missing
        self.last = False
        self.in_data = False
        self.bad_chunks = False
        self.commands = 0
        self.announced = False
        self.nonmail = 0
        self.free_reset = True
        self.mails = 0
        self.bdat_unread = False  # the reply to BDAT LAST is not read yet, and no RSET came
        self.say(220, "model")

    def say(self, code: int, text: str = "x") -> None:
        self.out += b"%d %s\r\n" % (code, text.encode())

    def take_out(self) -> bytes:
        out, self.out, self.bdat_unread = self.out, b"", False
        return out

    def feed(self, data: bytes) -> None:
        self.buffer += data
        while not self.closed and self._step():
            pass

    def _step(self) -> bool:
        if self.chunk >= 0:
            return self._read_chunk()
        if self.in_data:
            return self._read_data()
        line, found, rest = self.buffer.partition(b"\r\n")
        if not found:
            return False
        self.buffer = rest
        self.lines.append(line)
        self.commands += 1
        if self.commands == self.behaviour.ends_after:
            if self.behaviour.announces:
                self.say(421, "enough")
            if self.behaviour.announces and self.behaviour.continues:
                self.announced = True
                if line == b"RSET":
                    self._forget()  # or the next message would join the old transaction: no client could send safely
                if line.upper().startswith(b"BDAT"):  # the chunk is read all the same
                    self.chunk, self.last, self.bad_chunks = (
                        int(line.split()[1]),
                        line.endswith(b"LAST"),
                        True,
                    )
                    self.silent = True
                return True
            self.closed = True
            return False
        verb = line.partition(b" ")[0].upper()
        handler = getattr(self, f"_{verb.decode('ascii', 'replace').strip().lower()}", None)
        if handler is None:
            self.say(500, "what?")
        else:
            handler(line)
        return True

    silent = False

    def _ehlo(self, _line: bytes) -> None:
        offers = [b"model"]
        offers += [b"PIPELINING"] * self.behaviour.pipelining + [b"CHUNKING"] * self.behaviour.chunking
        if self.behaviour.mail_max is not None:
            offers.append(b"LIMITS MAILMAX=%d" % self.behaviour.mail_max)
        offers += [offer.encode() for offer in self.behaviour.offers]
        self.out += b"".join(b"250-%s\r\n" % offer for offer in offers) + b"250 HELP\r\n"

    def _starttls(self, _line: bytes) -> None:
        self.say(220, "go ahead")
        self.wants_tls = True

    def _auth(self, _line: bytes) -> None:
        self.say(235, "2.7.0 welcome")

    def _noop(self, _line: bytes) -> None:
        self.say(250)

    def _mail(self, line: bytes) -> None:
        match = PATH.search(line)
        assert match is not None, line
        self.mails += 1
        if self.behaviour.panics and self.bdat_unread:
            self.closed = True
            return
        if self.announced or (self.behaviour.mail_max is not None and self.mails > self.behaviour.mail_max):
            self.say(421, "no more")
        elif self.sender is not None or self.content is not None:
            self.say(503, "nested MAIL")
        elif code := self.behaviour.refused.get(match[1]):
            self.say(code)
        else:
            self.sender = match[1]
            self.say(250)

    def _rcpt(self, line: bytes) -> None:
        match = PATH.search(line)
        assert match is not None, line
        if self.sender is None:
            self.say(503, "need MAIL")
        elif code := self.behaviour.refused.get(match[1]):
            self.say(code)
        else:
            self.recipients.append(match[1])
            self.say(250)

    def _data(self, _line: bytes) -> None:
        if not self.recipients and not self.behaviour.goes_to_354:
            self.say(503 if self.sender is None else 554, "no valid recipients")
            self._forget_if_told()
        elif self.recipients and (code := self.behaviour.refused.get(b"DATA " + self.recipients[0])):
            self.say(code)
            self._forget_if_told()
        else:
            self.say(354)
            self.in_data, self.content = True, b""

    def _forget_if_told(self) -> None:
        if self.behaviour.forgets:
            self._forget()

    def _read_data(self) -> bool:
        head, found, rest = (b"\r\n" + self.buffer).partition(b"\r\n.\r\n")
        if not found:
            return False
        self.buffer, self.in_data = rest, False
        content = (head + b"\r\n").replace(b"\r\n.", b"\r\n")[2:]
        self._decide(content, holds=self.behaviour.holds)
        if self.behaviour.behind_content != "works":
            commands, self.buffer = self.buffer.count(b"\r\n"), b""
            if self.behaviour.behind_content == "refused":
                self.out += b"503 pipelined after end of DATA\r\n" * commands
        return True

    def _bdat(self, line: bytes) -> None:
        words = line.split()
        if self.behaviour.bdat == "closes":
            self.closed = True
        elif self.behaviour.bdat == "unknown":
            self.say(500, "BDAT?")
        else:
            self.chunk, self.last = int(words[1]), words[-1].upper() == b"LAST"
            if self.content is None:
                self.content = b""

    def _read_chunk(self) -> bool:
        if len(self.buffer) < self.chunk:
            return False
        chunk, self.buffer = self.buffer[: self.chunk], self.buffer[self.chunk :]
        self.chunk = -1
        if self.silent:
            self.silent = self.bad_chunks = False
            if self.last:
                self._forget()
            return True
        if self.behaviour.bdat == "refused":
            self.say(502, "no BDAT")
        elif not self.recipients or self.bad_chunks:
            self.say(503 if self.sender is None else 554, "no valid recipients")
            self.bad_chunks = not self.last
            if self.last:
                self.content = None
            if self.last and self.behaviour.closes:
                self._forget()
        elif not self.last:
            self.content = (self.content or b"") + chunk
            self.say(250)
        else:
            self._decide((self.content or b"") + chunk, holds=self.behaviour.holds)
            self.bdat_unread = True
        return True

    def _decide(self, content: bytes, *, holds: bool = False) -> None:
        code = 554 if not self.recipients else self.behaviour.refused.get(content.partition(b"\r\n")[0], 250)
        if code == 250:
            assert self.sender is not None
            self.accepted[self.sender, tuple(self.recipients), content] += 1
        self.say(code)
        self.content = None
        if code == 250 or not holds:
            self._forget()
        self.free_reset = True

    def _rset(self, _line: bytes) -> None:
        self._forget()
        self.bdat_unread = False
        if not self.free_reset:
            self.nonmail += 1
        self.free_reset = False
        if self.behaviour.nonmail is not None and self.nonmail > self.behaviour.nonmail:
            self.say(554, "too many nonmail commands")
            self.closed = True
        else:
            self.say(250)

    def _quit(self, _line: bytes) -> None:
        self.say(221)
        self.closed = True

    def _forget(self) -> None:
        self.sender, self.recipients, self.content, self.bad_chunks = None, [], None, False
