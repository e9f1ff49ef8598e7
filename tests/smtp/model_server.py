"""A server without I/O, strict about order. It refuses, drops and misbehaves as told, and remembers what it took.

It is written from the RFCs and from what Postfix and Exim do, not from our client: what it accepted is the truth that
the client's account is compared with. Every SMTP dialogue of the tests is this one: `tests.smtp.servers.Smtp` and
`tests.faults.server` put it on sockets.
"""

from __future__ import annotations

import base64
import re
from collections import Counter
from dataclasses import dataclass, field

PATH = re.compile(rb"<([^>]*)>(.*)")


@dataclass(frozen=True)
class Login:
    """The only login that is accepted. `mechanism` is PLAIN, or XOAUTH2 with the password as its token."""

    mechanism: str
    username: str
    password: str
    refusal: str = "5.7.8 wrong"  # what another login is told

    def is_proved_by(self, response: str) -> bool:
        decoded = base64.b64decode(response).decode()
        if self.mechanism == "XOAUTH2":
            return decoded == f"user={self.username}\x01auth=Bearer {self.password}\x01\x01"
        return decoded == f"\0{self.username}\0{self.password}"


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
    login: Login | None = None  # without it every login is accepted, and none is needed


class ModelServer:
    """One session. `feed` takes what the client sent, `take_out` gives what it is to read."""

    def __init__(self, behaviour: Behaviour) -> None:
        self.behaviour = behaviour
        self.out = b""
        self.closed = False
        self.accepted: Counter[tuple[bytes, tuple[bytes, ...], bytes]] = Counter()
        self.lines: list[bytes] = []  # the commands that it got
        self.wants_tls = (
            False  # it said 220 to STARTTLS: the owner of the socket does TLS, then says `start_tls`
        )
        self.is_secure = False
        self.greeted = False  # by EHLO, in this channel
        self.in_login = False
        self.logged_in = behaviour.login is None
        self.buffer = bytearray()
        self.sender: bytes | None = None
        self.recipients: list[bytes] = []
        self.content: bytes | None = None  # of chunks so far, or of DATA
        self.chunk = -1  # octets of the chunk that are missing
        self.last = False
        self.in_data = False
        self.searched = 0  # octets of the buffer without the end of the content
        self.bad_chunks = False
        self.silent = False  # the chunk is read, and gets no reply
        self.commands = 0
        self.announced = False
        self.nonmail = 0
        self.free_reset = True
        self.mails = 0
        self.bdat_unread = False  # the reply to BDAT LAST is not read yet, and no RSET came
        self.answer("greeting", b"", make_reply(220, "model"))

    # -- what an owner may replace

    def answer(self, step: str, argument: bytes, reply: bytes) -> bool:
        """Reply to a step of the dialogue, and return whether it is granted.

        The steps are greeting, ehlo, starttls, auth, mail, rcpt, data, accepted and quit. `argument` is the address
        of mail and rcpt.
        """
        self.out += reply
        return True

    def begin_content(self) -> None:
        """The content of a message, or its last chunk, follows."""

    def decide(self, content: bytes) -> None:
        """Take or refuse the message that has come in whole."""
        code = 554 if not self.recipients else self.behaviour.refused.get(content.partition(b"\r\n")[0], 250)
        if code == 250:
            assert self.sender is not None
            self.accepted[self.sender, tuple(self.recipients), content] += 1
        self.say(code)
        self.content = None
        if code == 250 or not self.behaviour.holds:
            self.forget()
        self.free_reset = True

    def list_offers(self) -> list[str]:
        """Return the lines of the reply to EHLO, without the first."""
        behaviour = self.behaviour
        offers = ["PIPELINING"] * behaviour.pipelining + ["CHUNKING"] * behaviour.chunking
        if behaviour.mail_max is not None:
            offers.append(f"LIMITS MAILMAX={behaviour.mail_max}")
        return [*offers, *behaviour.offers]

    # -- in and out

    def say(self, code: int, text: str = "x") -> None:
        self.out += make_reply(code, text)

    def take_out(self) -> bytes:
        out, self.out, self.bdat_unread = self.out, b"", False
        return out

    def start_tls(self) -> None:
        """The owner of the socket has done the handshake: the session begins anew (RFC 3207, 4.2)."""
        assert not self.buffer, "octets behind STARTTLS, in plaintext"
        self.wants_tls, self.is_secure, self.greeted = False, True, False
        self.forget()

    def feed(self, data: bytes) -> None:
        self.buffer += data
        while not (self.closed or self.wants_tls) and self.take_step():
            pass

    def take_step(self) -> bool:
        """Take a command, a chunk or a content from the buffer. False: it is not there whole."""
        if self.chunk >= 0:
            return self.read_chunk()
        if self.in_data:
            return self.read_data()
        end = self.buffer.find(b"\r\n")
        if end < 0:
            return False
        line = self._take(end + 2)[:-2]
        if self.in_login:
            self._finish_login(line)
            return True
        self.lines.append(line)
        self.commands += 1
        if self.commands == self.behaviour.ends_after:
            return self._end_early(line)
        verb = line.partition(b" ")[0].upper()
        handler = getattr(self, f"do_{verb.decode('ascii', 'replace').strip().lower()}", None)
        if handler is None:
            self.say(500, "5.5.1 what?")
        else:
            handler(line)
        return True

    def _take(self, size: int) -> bytes:
        """Remove so many octets from the front of the buffer, and return them."""
        taken = bytes(self.buffer[:size])
        del self.buffer[:size]
        return taken

    def _end_early(self, line: bytes) -> bool:
        if self.behaviour.announces:
            self.say(421, "enough")
        if not (self.behaviour.announces and self.behaviour.continues):
            self.closed = True
            return False
        self.announced = True
        if line == b"RSET":
            self.forget()  # or the next message would join the old transaction: no client could send safely
        if line.upper().startswith(b"BDAT"):  # the chunk is read all the same
            self.chunk, self.last, self.bad_chunks = int(line.split()[1]), line.endswith(b"LAST"), True
            self.silent = True
        return True

    # -- commands

    def do_ehlo(self, _line: bytes) -> None:
        self.forget()  # RFC 5321, 4.1.4
        self.greeted = True
        lines = ["model", *self.list_offers(), "HELP"]
        last = len(lines) - 1
        reply = b"".join(
            b"250%s%s\r\n" % (b"-" if n < last else b" ", line.encode()) for n, line in enumerate(lines)
        )
        self.answer("ehlo", b"", reply)

    def do_starttls(self, _line: bytes) -> None:
        self.wants_tls = self.answer("starttls", b"", make_reply(220, "2.0.0 go ahead"))

    def do_auth(self, line: bytes) -> None:
        _, mechanism, *initial = line.decode().split(" ", 2)
        login = self.behaviour.login
        if login is None:
            self.say(235, "2.7.0 welcome")
        elif mechanism.upper() != login.mechanism:
            self.say(504, f"5.5.4 only {login.mechanism}")
        elif initial:
            self._finish_login(initial[0].encode())
        else:
            self.in_login = True
            self.say(334, "")

    def _finish_login(self, line: bytes) -> None:
        self.in_login = False
        assert self.behaviour.login is not None
        self.check_login(self.behaviour.login.is_proved_by(line.decode()))

    def check_login(self, is_right: bool) -> None:
        """Answer a login that is right or wrong."""
        if is_right:
            self.logged_in = True
            self.answer("auth", b"", make_reply(235, "2.7.0 welcome"))
        else:
            assert self.behaviour.login is not None
            self.say(535, self.behaviour.login.refusal)

    def do_noop(self, _line: bytes) -> None:
        self.say(250, "2.0.0 ok")

    def do_mail(self, line: bytes) -> None:
        match = PATH.search(line)
        assert match is not None, line
        self.mails += 1
        if self.behaviour.panics and self.bdat_unread:
            self.closed = True
            return
        if self.announced or (self.behaviour.mail_max is not None and self.mails > self.behaviour.mail_max):
            self.say(421, "no more")
        elif not self.greeted:
            self.say(503, "5.5.1 EHLO first")
        elif not self.logged_in:
            self.say(530, "5.7.0 log in first")
        elif self.sender is not None or self.content is not None:
            self.say(503, "5.5.1 nested MAIL")
        elif code := self.behaviour.refused.get(match[1]):
            self.say(code)
        elif self.answer("mail", match[1], make_reply(250, "2.1.0 ok")):
            self.sender = match[1]

    def do_rcpt(self, line: bytes) -> None:
        match = PATH.search(line)
        assert match is not None, line
        if self.sender is None:
            self.say(503, "5.5.1 need MAIL")
        elif code := self.behaviour.refused.get(match[1]):
            self.say(code)
        elif self.answer("rcpt", match[1], make_reply(250, "2.1.5 ok")):
            self.recipients.append(match[1])

    def do_data(self, _line: bytes) -> None:
        if self.content is not None:
            self.say(503, "5.5.1 DATA after BDAT")  # RFC 3030, 2
        elif not self.recipients and not self.behaviour.goes_to_354:
            self._refuse_without_recipients()
            self._forget_if_told()
        elif self.recipients and (code := self.behaviour.refused.get(b"DATA " + self.recipients[0])):
            self.say(code)
            self._forget_if_told()
        elif self.answer("data", b"", make_reply(354, "go on")):
            self.in_data, self.content, self.searched = True, b"", 0
            self.begin_content()

    def _refuse_without_recipients(self) -> None:
        self.say(503 if self.sender is None else 554, "5.5.1 no valid recipients")

    def _forget_if_told(self) -> None:
        if self.behaviour.forgets:
            self.forget()

    def read_data(self) -> bool:
        """Take the content of DATA, if it is there whole."""
        if self.buffer.startswith(b".\r\n"):
            content = self._take(3)[:0]
        else:
            end = self.buffer.find(b"\r\n.\r\n", self.searched)
            if end < 0:
                self.searched = max(0, len(self.buffer) - 4)
                return False
            content = self._take(end + 5)[:-3]
        self.in_data = False
        self.decide((b"\r\n" + content).replace(b"\r\n.", b"\r\n")[2:])
        if self.behaviour.behind_content != "works":
            commands = self.buffer.count(b"\r\n")
            self.buffer.clear()
            if self.behaviour.behind_content == "refused":
                self.out += b"503 pipelined after end of DATA\r\n" * commands
        return True

    def do_bdat(self, line: bytes) -> None:
        words = line.split()
        if self.behaviour.bdat == "closes":
            self.closed = True
        elif self.behaviour.bdat == "unknown":
            self.say(500, "5.5.1 BDAT?")
        else:
            self.chunk, self.last = int(words[1]), words[-1].upper() == b"LAST"
            if self.content is None:
                self.content = b""
            if self.last:
                self.begin_content()

    def read_chunk(self) -> bool:
        """Take the chunk, if it is there whole."""
        if len(self.buffer) < self.chunk:
            return False
        chunk, self.chunk = self._take(self.chunk), -1
        if self.silent:
            self.silent = self.bad_chunks = False
            if self.last:
                self.forget()
        elif self.behaviour.bdat == "refused":
            self.say(502, "5.5.1 no BDAT")
        elif not self.recipients or self.bad_chunks:
            self._refuse_without_recipients()
            self.bad_chunks = not self.last
            if self.last:
                self.content = None
            if self.last and self.behaviour.closes:
                self.forget()
        elif not self.last:
            self.content = (self.content or b"") + chunk
            self.say(250, "2.0.0 chunk")
        else:
            self.decide((self.content or b"") + chunk)
            self.bdat_unread = True
        return True

    def do_rset(self, _line: bytes) -> None:
        self.forget()
        self.bdat_unread = False
        if not self.free_reset:
            self.nonmail += 1
        self.free_reset = False
        if self.behaviour.nonmail is not None and self.nonmail > self.behaviour.nonmail:
            self.say(554, "too many nonmail commands")
            self.closed = True
        else:
            self.say(250, "2.0.0 reset")

    def do_quit(self, _line: bytes) -> None:
        self.answer("quit", b"", make_reply(221, "2.0.0 bye"))
        self.closed = True

    def forget(self) -> None:
        """End the transaction."""
        self.sender, self.recipients, self.content, self.bad_chunks = None, [], None, False


def make_reply(code: int, text: str) -> bytes:
    return b"%d %s\r\n" % (code, text.encode())
