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
from typing import Any, NamedTuple, Self

from mailer.bounded_process import ProcessLimits
from mailer.bounded_process.child import ChildProcess
from mailer.campaign.stored import StoredRecipient
from mailer.errors import RenderError
from mailer.render.compiled import CompiledCampaign
from mailer.render.message import Message
from mailer.render.pieces import ConstantPieces, FilledPieces, Piece

MAX_AHEAD = 512  # messages that the child has, or that are ready: as many as a sender may claim at once
GROUP = 16  # messages that come back together
MAX_AGE = 10.0  # seconds until a message that is ready is too old: its Date is the time of its rendering
MAX_MISSES = 256  # recipients in a row that are not there, until what is ready is given up
MIN_CONSTANT = 256  # octets of a piece that is worth a number
MAX_CONSTANT_SIZE = 32 * 1024 * 1024  # octets of all that has a number
PIPE_SIZE = 256 * 1024  # octets of recipients that are on their way to the child
MAX_PAGE_OCTETS = 48 * 1024  # of a page in the pipe

# A piece; the number of a constant, or the constant if it has none yet; and both with the values of its slots.
_PackedPiece = bytes | int | tuple[bytes] | tuple[int | Sequence[bytes], Sequence[bytes]]


class PiecePacker:
    """Replaces what is the same in many messages by a number: it is sent once.

    That are the constant pieces of texts with slots, and the pieces that were in the message before as the
    same object.
    """

    def __init__(self) -> None:
        # Kept, so that no other object gets the identity of one of them.
        self._constants: list[bytes | ConstantPieces] = []
        self._numbers: dict[int, int] = {}  # of constants, by their identity
        self._size = 0
        self._previous: dict[int, bytes] = {}  # the large pieces of the message before, by their identity

    def pack(self, pieces: Sequence[Piece]) -> list[_PackedPiece]:
        """Return the pieces of one message as `PieceUnpacker.unpack` takes them: those between constants as one."""
        packed: list[_PackedPiece] = []
        between: list[bytes] = []
        for piece in pieces:
            shortened = (
                self._pack_filled(piece) if isinstance(piece, FilledPieces) else self._pack_piece(piece)
            )
            if isinstance(shortened, bytes):
                between.append(shortened)
            else:
                packed += b"".join(between), shortened
                between.clear()
        packed.append(b"".join(between))
        self._previous = {
            id(piece): piece for piece in pieces if isinstance(piece, bytes) and len(piece) >= MIN_CONSTANT
        }
        return packed

    def _pack_filled(self, piece: FilledPieces) -> _PackedPiece:
        constant = piece.constant
        if (number := self._numbers.get(id(constant))) is not None:
            return number, piece.values
        if not self._give_number(constant, constant.size):
            return b"".join(piece.fill())
        return constant.pieces, piece.values

    def _pack_piece(self, piece: bytes) -> _PackedPiece:
        if (number := self._numbers.get(id(piece))) is not None:
            return number
        if id(piece) not in self._previous or not self._give_number(piece, len(piece)):
            return piece
        return (piece,)

    def _give_number(self, constant: bytes | ConstantPieces, size: int) -> bool:
        """Return False if there are too many constants."""
        if self._size + size > MAX_CONSTANT_SIZE:
            return False
        self._numbers[id(constant)] = len(self._constants)
        self._constants.append(constant)
        self._size += size
        return True


class PieceUnpacker:
    """The other side of a `PiecePacker`."""

    def __init__(self) -> None:
        self._constants: list[Any] = []  # each is what the packer gave this number

    def unpack(self, packed: Sequence[_PackedPiece]) -> list[bytes]:
        """Return the octets of the next message in pieces.

        Messages have to come in the order in which they were packed.
        """
        pieces: list[bytes] = []
        for piece in packed:
            if isinstance(piece, bytes):
                pieces.append(piece)
            elif isinstance(piece, int):
                pieces.append(self._constants[piece])
            else:
                pieces += self._unpack_constant(*piece)
        return pieces

    def _unpack_constant(self, first: Any, values: Sequence[bytes] | None = None) -> Sequence[bytes]:
        """A constant that gets its number now, or one with values in its slots."""
        if values is None:
            self._constants.append(first)
            return [first]
        if not isinstance(first, int):
            self._constants.append(ConstantPieces(first))
            first = -1
        filled: list[bytes] = self._constants[first].fill(values)
        return filled


class RenderAhead:
    """The messages that come next, rendered by a child process.

    To be used as a context manager, or closed.
    """

    def __init__(self, compiled: CompiledCampaign, upcoming: Iterator[Sequence[StoredRecipient]]) -> None:
        """`upcoming` yields the next recipients of the list, a page at a time, whenever it is asked."""
        self._compiled = compiled
        self._limits = ProcessLimits(compiled.limits.seconds)
        self._upcoming: Iterator[Sequence[StoredRecipient]] | None = upcoming
        self._child: ChildProcess | None = None
        self._eight_bit = False
        self._packer = PiecePacker()
        self._unpacker = PieceUnpacker()
        self._waiting: deque[_Page] = deque()  # what the child has
        self._ready: dict[str, _ReadyMessage] = {}  # by address, in the order of the list
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
        while self._upcoming is not None and self._count_ahead() < MAX_AHEAD and self._has_room():
            recipients = next(self._upcoming, None)
            if not recipients:
                self._upcoming = None
                return
            if self._child is None:
                self._child = ChildProcess(self._serve, self._limits, (), jobs_size=PIPE_SIZE)
            rows = [tuple(recipient) for recipient in recipients]  # written in half the time of named tuples
            size = self._child.send([rows[start : start + GROUP] for start in range(0, len(rows), GROUP)])
            self._waiting.append(_Page(deque(recipients), size))

    def _count_ahead(self) -> int:
        return len(self._ready) + sum(len(page.recipients) for page in self._waiting)

    def _has_room(self) -> bool:
        """Whether another page can be written without a wait.

        The child may itself wait until its messages are read, so that both would wait forever.
        """
        if self._child is None or not self._waiting:
            return True
        return sum(page.size for page in self._waiting) + MAX_PAGE_OCTETS <= self._child.jobs_size

    def take(self, recipient: StoredRecipient, *, eight_bit: bool) -> Message | None:
        """Return the recipient's message; None if it is not among those that come next."""
        if self._waiting and not self._ready:
            self._receive()
            self.start_next(eight_bit=eight_bit)
        if not self._ready or eight_bit != self._eight_bit:
            return None
        if time.monotonic() - self._received_at > MAX_AGE:
            self._ready.clear()
            return None
        found = self._ready.get(recipient.email)
        if found is None or found.recipient != recipient:
            self._note_miss()
            return None
        self._misses = 0
        while self._ready:  # no session claimed those before it
            email = next(iter(self._ready))
            del self._ready[email]
            if email == recipient.email:
                break
        _, sender, recipients, pieces, others = found
        return Message(sender, recipients, b"".join(pieces), *others)

    def _note_miss(self) -> None:
        """After many misses in a row, give up what is ready: it is of recipients who come later, or never."""
        self._misses += 1
        if self._misses >= MAX_MISSES:
            self._misses = 0
            self._ready.clear()

    def _receive(self) -> None:
        """Wait for the child's next messages."""
        outcomes = self._child.receive_outcomes() if self._child is not None else None
        for outcome in outcomes or ():
            for result in outcome.value or ():
                recipient = self._waiting[0].recipients.popleft()
                if not self._waiting[0].recipients:
                    self._waiting.popleft()
                if result is not None:
                    sender, recipients, packed, *others = result
                    pieces = self._unpacker.unpack(packed)
                    self._ready[recipient.email] = _ReadyMessage(
                        recipient, sender, recipients, pieces, others
                    )
        self._received_at = time.monotonic()
        if outcomes is None or any(outcome.value is None for outcome in outcomes):
            self.close()  # whatever ended it: the messages can be rendered here

    def _serve(self, child: ChildProcess) -> None:
        """In the child."""
        child.serve_calls(self._render_group, self._limits)

    def _render_group(
        self, rows: list[tuple[str, str, int, int, str | None]]
    ) -> list[tuple[Any, ...] | None]:
        """In the child. An error is left to the caller, who reads and renders the message again."""
        made: list[tuple[Any, ...] | None] = [None] * len(rows)
        for number, row in enumerate(rows):
            with suppress(RenderError, ValueError, TypeError):
                sender, recipients, pieces, *others = self._compiled.render_parts(
                    StoredRecipient(*row).parse(), eight_bit=self._eight_bit
                )
                made[number] = (sender, recipients, self._packer.pack(pieces), *others)
        return made


class _ReadyMessage(NamedTuple):
    """A message of `recipient`, its content in pieces; `others` are the other fields of Message."""

    recipient: StoredRecipient
    sender: str
    recipients: tuple[str, ...]
    pieces: list[bytes]
    others: list[Any]


class _Page(NamedTuple):
    """Recipients whose messages the child has not sent yet, and the octets of the page in the pipe."""

    recipients: deque[StoredRecipient]
    size: int
