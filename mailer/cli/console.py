"""Where words go: what the user asked for to standard output, everything else to standard error.

Nothing leaves here with a secret or a terminal's control characters in it, whoever wrote it.
"""

from __future__ import annotations

import os
import sys
from contextlib import suppress

from mailer.report.escape import printable, printable_lines
from mailer.secret import Secret, blank

_secrets: set[str] = set()


def hide(secret: Secret) -> None:
    """From now on this secret is blanked in whatever is printed, raw or in base64."""
    if secret:
        _secrets.add(secret.reveal())


def forget() -> None:
    """A new command line knows no secret yet."""
    _secrets.clear()


def clean(text: str) -> str:
    """`text` on one line, without secrets and controls."""
    return printable(blank(text, _secrets))


def error(text: str, *, hint: str | None = None) -> None:
    """`mailer: error: …`, a line for each line of `text`, and a `hint:` line."""
    _say("error", text)
    if hint:
        _write(f"hint: {clean(hint)}")


def hint(text: str) -> None:
    """What may be done next."""
    _write(f"hint: {clean(text)}")


def warning(text: str) -> None:
    _say("warning", text)


def note(text: str) -> None:
    """Something to know while it works, on standard error."""
    _write(printable_lines(blank(text, _secrets)))


def out(text: str) -> None:
    """A line that the user asked for, on standard output."""
    sys.stdout.write(printable_lines(blank(text, _secrets)) + "\n")


def is_terminal() -> bool:
    """Whether a person sits here who can be asked: input and standard error are a terminal, and this is no CI job."""
    return sys.stdin is not None and sys.stdin.isatty() and shows_progress()


def shows_progress() -> bool:
    """Whether standard error is a screen that can be drawn on."""
    return sys.stderr.isatty() and os.environ.get("TERM") != "dumb" and not os.environ.get("CI")


def _say(kind: str, text: str) -> None:
    for line in printable_lines(blank(text, _secrets)).splitlines() or [""]:
        _write(f"mailer: {kind}: {line}")


def _write(line: str) -> None:
    # A closed or full standard error must not end a run that is sending.
    with suppress(OSError, ValueError):
        print(line, file=sys.stderr, flush=True)
