"""The octets of a message in pieces: constant ones, which are made once, and those of one recipient."""

from __future__ import annotations

from collections.abc import Iterable, Sequence


class ConstantPieces:
    """The constant octets of a text with slots: those before the first slot, between each two, and behind the last.

    `size` is the number of these octets.
    """

    __slots__ = ("_with_room", "pieces", "size")

    def __init__(self, pieces: Sequence[bytes]) -> None:
        self.pieces = pieces
        self.size = sum(map(len, pieces))
        self._with_room = [b""] * (2 * len(pieces) - 1)
        self._with_room[0::2] = pieces

    def fill(self, values: Sequence[bytes]) -> list[bytes]:
        """Return the text in pieces, with one of `values` in each slot."""
        filled = self._with_room.copy()
        filled[1::2] = values
        return filled


class FilledPieces:
    """Constant pieces with one recipient's values in their slots."""

    __slots__ = ("constant", "values")

    def __init__(self, constant: ConstantPieces, values: Sequence[bytes]) -> None:
        """`values` are those of the slots, in the order of the text."""
        self.constant = constant
        self.values = values

    def __len__(self) -> int:
        """Return the number of octets."""
        return self.constant.size + sum(map(len, self.values))

    def fill(self) -> list[bytes]:
        """Return the text in pieces."""
        return self.constant.fill(self.values)


Piece = bytes | FilledPieces


def join_pieces(pieces: Iterable[Piece]) -> bytes:
    """Return the octets of `pieces` as one."""
    joined: list[bytes] = []
    for piece in pieces:
        if isinstance(piece, FilledPieces):
            joined += piece.fill()
        else:
            joined.append(piece)
    return b"".join(joined)
