"""What the exit code says (contract section 2, and three of the shell's own)."""

from __future__ import annotations

from enum import IntEnum
from signal import SIGINT


class Exit(IntEnum):
    DONE = 0  # every message asked for is sent
    INCOMPLETE = 1  # some recipients failed, are deferred or in doubt
    INPUT = 2  # it could not begin; nothing was sent
    SERVER = 3  # no server, no TLS, no login, or the ledger cannot be written any more
    GIVEN_UP = 4  # stop_after
    BUG = 70  # sysexits.h EX_SOFTWARE: an error of ours that no other code describes
    IO = 74  # sysexits.h EX_IOERR: what was asked for could not be written; what was sent is in the ledger
    INTERRUPTED = 130  # 128 + SIGINT; SIGTERM is 143, a closed terminal (SIGHUP) 129
    BROKEN_PIPE = 141  # 128 + SIGPIPE: whoever read our output has left

    @classmethod
    def interrupted(cls, number: int | None) -> int:
        """The shell's code for a process that the signal `number` ended."""
        return 128 + (number or SIGINT)
