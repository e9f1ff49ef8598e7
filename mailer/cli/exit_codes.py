"""The exit codes. docs/commands.md has the same table for users."""

from __future__ import annotations

from enum import IntEnum
from signal import SIGINT


class ExitCode(IntEnum):
    """What the exit code of a command says."""

    DONE = 0  # every requested message is sent
    INCOMPLETE = 1  # some recipients failed, are deferred or in doubt
    INPUT = 2  # the run could not start; nothing was sent
    SERVER = 3  # no connection, no TLS, no login, or the ledger can no longer be written
    GIVEN_UP = 4  # the run ended early: `stop_after`, or the provider refuses the account
    BUG = 70  # sysexits.h EX_SOFTWARE: an error in mailer that no other code describes
    IO = 74  # sysexits.h EX_IOERR: an output could not be written; what was sent is in the ledger
    INTERRUPTED = 130  # 128 + SIGINT; SIGTERM is 143, a closed terminal (SIGHUP) is 129
    BROKEN_PIPE = 141  # 128 + SIGPIPE: the program that read the output has ended


def code_for_signal(number: int | None) -> int:
    """Return the shell's exit code of a process that the signal `number` ended; None stands for SIGINT."""
    return 128 + (number or SIGINT)
