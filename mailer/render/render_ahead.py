"""Messages that a second process renders before they are claimed, if the machine has a core for it.

The child gets the recipients that come next in the list, a page at a time, and renders while this process
sends. What it makes is a cache: a message is taken from it only for a recipient that is the same, value for
value. Every other recipient is rendered by the caller.

Most octets of a message are the same in every message: images, above all. The child sends such a piece once,
and then its number.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import suppress
from typing import Any, Self

from mailer.bounded_process import ProcessLimits
from mailer.bounded_process.child import ChildProcess
from mailer.campaign.model import Recipient
from mailer.errors import Place, RenderError
from mailer.render.compiled import CompiledCampaign
from mailer.render.message import Message, MessageParts

PAGES = 2  # that the child has at most: one that it renders, and the next; both fit in a pipe
GROUP = 4  # messages that come back together: some ten kilobytes each, which the processor's cache still has
MAX_READY = 96  # messages that are ready: the child is given no more then
MAX_AGE = 10.0  # seconds until a message that is ready is too old: its Date is the time of its rendering
MAX_MISSES = 256  # recipients in a row that are not there, until what is ready is given up
MIN_CONSTANT = 256  # octets of a piece that is worth a number
MAX_CONSTANTS = 256  # pieces with a number

_PackedPiece = bytes | int | tuple[bytes]  # a piece; the number of a constant; the next constant
_Row = tuple[str, dict[str, object], str, int, int]


class PiecePacker:
    """Replaces each piece that was in the message before, as the same object, by a number."""

    def __init__(self) -> None:
        self._constants: list[bytes] = []  # kept, so that no other object gets the identity of one of them
        self._numbers: dict[int, int] = {}  # of constants, by their identity
        self._previous: dict[int, bytes] = {}  # the large pieces of the message before, by their identity

    def pack(self, pieces: Sequence[bytes]) -> list[_PackedPiece]:
        """Return the pieces of one message as `PieceUnpacker.unpack` takes them: those between constants as one."""
        packed: list[_PackedPiece] = []
        between: list[bytes] = []
        for piece in pieces:
            shortened = self._pack_piece(piece)
            if isinstance(shortened, bytes):
                between.append(shortened)
            else:
                packed += b"".join(between), shortened
                between.clear()
        packed.append(b"".join(between))
        self._previous = {id(piece): piece for piece in pieces if len(piece) >= MIN_CONSTANT}
        return packed

    def _pack_piece(self, piece: bytes) -> _PackedPiece:
        if (number := self._numbers.get(id(piece))) is not None:
            return number
        if id(piece) not in self._previous or len(self._constants) >= MAX_CONSTANTS:
            return piece
        self._numbers[id(piece)] = len(self._constants)
        self._constants.append(piece)
        return (piece,)


class PieceUnpacker:
    """The other side of a `PiecePacker`."""

    def __init__(self) -> None:
        self._constants: list[bytes] = []

    def unpack(self, packed: Sequence[_PackedPiece]) -> list[bytes]:
        """Return the pieces of the next message.

        Messages have to come in the order in which they were packed.
        """
        return [piece if isinstance(piece, bytes) else self._find_constant(piece) for piece in packed]

    def _find_constant(self, piece: int | tuple[bytes]) -> bytes:
        if isinstance(piece, int):
            return self._constants[piece]
        self._constants += piece
        return piece[0]


class RenderAhead:
    """The messages that come next, rendered by a child process.

    To be used as a context manager, or closed.
    """

    def __init__(self, compiled: CompiledCampaign, upcoming: Iterator[Sequence[Recipient]]) -> None:
        """`upcoming` yields the next recipients of the list, a page at a time, whenever it is asked.

        Two pages must fit in a pipe (64 KiB), so that neither process waits for the other one forever.
        """
        self._compiled = compiled
        self._limits = ProcessLimits(compiled.limits.seconds)
        self._upcoming: Iterator[Sequence[Recipient]] | None = upcoming
        self._child: ChildProcess | None = None
        self._eight_bit = False
        self._packer = PiecePacker()
        self._unpacker = PieceUnpacker()
        self._waiting: deque[deque[Recipient]] = deque()  # the pages that the child has
        self._ready: deque[tuple[Recipient, MessageParts]] = deque()
        self._received_at = 0.0  # the last message
        self._misses = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """End the process. No message is ready from then on."""
        self._upcoming = None
        self._waiting.clear()
        self._ready.clear()
        if self._child is not None:
            self._child.close()
            self._child = None

    def start_next(self, *, eight_bit: bool) -> None:
        """Give the child more work, if it has little; the messages may need 8BITMIME (`eight_bit`).

        Raises what reading the recipients raises.
        """
        if self._child is None:
            self._eight_bit = eight_bit
        while self._upcoming is not None and len(self._waiting) < PAGES and len(self._ready) < MAX_READY:
            page = next(self._upcoming, None)
            if not page:
                self._upcoming = None
                return
            if self._child is None:
                self._child = ChildProcess(self._serve, self._limits, ())
            rows = [_make_row(recipient) for recipient in page]
            self._child.send([rows[start : start + GROUP] for start in range(0, len(rows), GROUP)])
            self._waiting.append(deque(page))

    def take(self, recipient: Recipient, *, eight_bit: bool) -> Message | None:
        """Return the recipient's message; None if it is not among those that come next."""
        if self._waiting and not self._ready:
            self._receive()
            self.start_next(eight_bit=eight_bit)
        if not self._ready or eight_bit != self._eight_bit:
            return None
        if time.monotonic() - self._received_at > MAX_AGE:
            self._ready.clear()
            return None
        for index, (other, parts) in enumerate(self._ready):
            if other is recipient or (other.email == recipient.email and other == recipient):
                for _ in range(index + 1):  # no session claimed those before it
                    self._ready.popleft()
                self._misses = 0
                return parts.join()
        self._misses += 1
        if self._misses >= MAX_MISSES:
            self._misses = 0
            self._ready.clear()
        return None

    def _receive(self) -> None:
        """Wait for the child's next messages."""
        outcomes = self._child.receive_outcomes() if self._child is not None else None
        for outcome in outcomes or ():
            for result in outcome.value or ():
                recipient = self._waiting[0].popleft()
                if not self._waiting[0]:
                    self._waiting.popleft()
                if result is not None:
                    sender, recipients, packed, *others = result
                    parts = MessageParts(sender, recipients, self._unpacker.unpack(packed), *others)
                    self._ready.append((recipient, parts))
        self._received_at = time.monotonic()
        if outcomes is None or any(outcome.value is None for outcome in outcomes):
            self.close()  # whatever ended it: the messages can be rendered here

    def _serve(self, child: ChildProcess) -> None:
        """In the child."""
        child.serve_calls(self._render_group, self._limits)

    def _render_group(self, rows: list[_Row]) -> list[tuple[Any, ...] | None]:
        """In the child. An error is left to the caller, who renders the message again."""
        made: list[tuple[Any, ...] | None] = [None] * len(rows)
        for number, (email, columns, file, line, column) in enumerate(rows):
            recipient = Recipient(email, columns, Place(file, line, column))
            with suppress(RenderError):
                sender, recipients, pieces, *others = self._compiled.render_parts(
                    recipient, eight_bit=self._eight_bit
                )
                made[number] = (sender, recipients, self._packer.pack(pieces), *others)
        return made


def _make_row(recipient: Recipient) -> _Row:
    place = recipient.place
    return recipient.email, dict(recipient.columns), place.file, place.line, place.column
