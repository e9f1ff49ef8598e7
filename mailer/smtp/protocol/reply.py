"""Replies: bounded bytes in, `Reply` values out (RFC 5321 4.2, enhanced codes RFC 2034 and RFC 3463).

Every limit is far above what servers send, and far below what a hostile one could make this program hold.
"""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Callable, Sequence

from mailer.dataclass import dataclass
from mailer.errors import ProtocolViolation
from mailer.secret import make_blanker
from mailer.text import make_printable, shorten

MAX_LINE = 16 * 1024  # RFC 5321 4.5.3.1.5 says 512; policy replies with long URLs are longer
MAX_LINES = 256  # the longest EHLO replies have some thirty
MAX_REPLY = 64 * 1024  # octets of one reply, all lines
MAX_TEXT = 1024  # characters of a reply as it is shown and kept: the ledger has one for each recipient
MAX_REMEMBERED = 32  # distinct lines that are kept parsed: "250 2.1.0 Ok" comes thousands of times

_ENHANCED = re.compile(r"([245])\.\d{1,3}\.\d{1,3}(?= |$)")


@dataclass(frozen=True, slots=True)
class Reply:
    """A server's reply. `lines` are without code and line ends; they hold no control characters."""

    code: int
    enhanced: str | None
    lines: tuple[str, ...]

    @property
    def text(self) -> str:
        """All lines as one, at most MAX_TEXT characters.

        An enhanced code that every line repeats is kept on the first only.
        """
        if len(self.lines) == 1:
            return shorten(self.lines[0], MAX_TEXT)
        first, *others = self.lines
        repeated = f"{self.enhanced} " if self.enhanced else ""
        parts = (first, *(line.removeprefix(repeated) for line in others))
        return shorten(" ".join(part for part in parts if part), MAX_TEXT)

    @property
    def is_success(self) -> bool:
        """2xx"""
        return self.code < 300

    @property
    def is_intermediate(self) -> bool:
        """3xx: the server waits for more (354 after DATA, 334 after AUTH)."""
        return 300 <= self.code < 400

    @property
    def is_transient(self) -> bool:
        return 400 <= self.code < 500

    @property
    def is_permanent(self) -> bool:
        return self.code >= 500

    @property
    def concerns_session(self) -> bool:
        """500 to 504: a bad sequence of commands, or an unknown command or parameter (RFC 5321 4.2.2)."""
        return 500 <= self.code <= 504

    def __str__(self) -> str:
        return f"{self.code} {self.text}".rstrip()


class ReplyParser:
    """Octets in any split -> replies, one at a time, so that what follows a reply can still be judged.

    Secrets are blanked in every line before anything else sees it.
    """

    def __init__(self, show: Callable[[str], None] | None = None) -> None:
        """`show` gets every line as it came, secrets blanked."""
        self._blank: Callable[[str], str] | None = None
        self._show = show
        self._keeps_challenges = False
        self._complete = deque[bytes]()  # lines, without their LF
        self._begun = b""  # the line whose end has not come yet
        self._code = b""  # of a reply whose last line has not come yet
        self._lines: list[str] = []
        self._octets = 0
        self._remembered: dict[bytes, Reply] = {}

    def blank_secrets(self, secrets: Sequence[str]) -> None:
        """Blank `secrets` in every line from now on, in every form in which a server may repeat them."""
        self._blank = make_blanker(secrets) if secrets else None

    def keep_challenges(self, keep: bool) -> None:
        """`keep` True: from now on the text of 334 comes as it was sent, since a login computes with it."""
        self._keeps_challenges = keep

    @property
    def has_input(self) -> bool:
        """There is input behind the last reply."""
        return bool(self._complete or self._begun or self._lines)

    def feed(self, data: bytes) -> None:
        """Add `data`, octets from the server."""
        # A bare LF ends a reply line too: some servers send it, and a reply cannot smuggle anything.
        *lines, self._begun = (self._begun + data).split(b"\n")
        self._complete += lines

    def next_reply(self) -> Reply | None:
        """Return the next complete reply; None if more input is needed.

        Raises ProtocolViolation for anything else.
        """
        while self._complete:
            line = self._complete.popleft()
            if not self._lines and (known := self._remembered.get(line)) is not None:
                return known
            _check_length(line)
            reply = self._add_line(line.removesuffix(b"\r"))
            if reply is not None:
                if len(reply.lines) == 1:
                    self._remember(line, reply)
                return reply
        _check_length(self._begun)
        return None

    def _add_line(self, line: bytes) -> Reply | None:
        code, separator = line[:3], line[3:4]
        if not (len(code) == 3 and code.isdigit() and b"2" <= code < b"6" and separator in b" -"):
            raise ProtocolViolation(
                f"the server sent a line that is not an SMTP reply: {self._make_printable(line)[:200]!r}"
            )
        if self._lines and code != self._code:  # RFC 5321 4.2.1: the code is the same on every line
            raise ProtocolViolation(
                f"the server sent a reply with two codes: {self._code.decode()} and {code.decode()}"
            )
        self._code = code
        text = self._make_printable(line[4:])
        if self._show is not None:
            self._show(f"{code.decode()}{separator.decode()}{text}")
        self._lines.append(
            line[4:].decode("ascii", "replace") if self._keeps_challenges and code == b"334" else text
        )
        self._octets += len(line) + 2
        if separator == b"-":
            if len(self._lines) >= MAX_LINES or self._octets > MAX_REPLY:
                raise ProtocolViolation("the server sent a reply that does not end")
            return None
        reply = Reply(int(code), _parse_enhanced(code, self._lines[0]), tuple(self._lines))
        self._lines.clear()
        self._octets = 0
        return reply

    def _remember(self, line: bytes, reply: Reply) -> None:
        if self._show is not None:  # it gets every line
            return
        if len(self._remembered) >= MAX_REMEMBERED:
            self._remembered.clear()
        self._remembered[line] = reply

    def _make_printable(self, raw: bytes) -> str:
        text = raw.decode("utf-8", "replace")
        if self._blank:  # first, since a secret may have characters that are not printable
            text = self._blank(text)
        return make_printable(text)


def _check_length(line: bytes) -> None:
    if len(line) > MAX_LINE:
        raise ProtocolViolation(f"the server sent a reply line longer than {MAX_LINE} octets")


def _parse_enhanced(code: bytes, text: str) -> str | None:
    """The enhanced status code, if there is one of the reply's own class (RFC 2034, section 4)."""
    match = _ENHANCED.match(text)
    return match[0] if match and match[1] == chr(code[0]) else None
