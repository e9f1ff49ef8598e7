"""ULIDs (github.com/ulid/spec): 26 characters that sort by time, 48 bits of milliseconds and 80 of chance."""

from __future__ import annotations

import secrets

_CROCKFORD = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"


def ulid(seconds: float) -> str:
    """A new ULID of the time `seconds` since the epoch."""
    number = (int(seconds * 1000) & (1 << 48) - 1) << 80 | secrets.randbits(80)
    return "".join(_CROCKFORD[number >> shift & 31] for shift in range(125, -1, -5))
