"""`mailer sandbox`: the embedded SMTP server with its inbox page, until interrupted; how it misbehaves."""

from __future__ import annotations

from collections.abc import Iterator, MutableMapping
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import click

from mailer.cli import console
from mailer.cli.interrupts import explain_start_error, serve_until_stopped
from mailer.cli.options import BEHAVIOR_OPTIONS
from mailer.errors import InputError
from mailer.files import show_path
from mailer.ledger.place import FOLDER
from mailer.sandbox import Behavior, Sandbox
from mailer.sandbox.behavior import make_behavior
from mailer.sandbox.maildir import open_rehearsal_folder
from mailer.sandbox.page import SandboxAddresses, SandboxOptions, make_export_line, serve_sandbox


def run_sandbox(
    *,
    as_json: bool,
    maildir: Path | None,
    port: int,
    page_port: int,
    password: str | None,
    ca_dir: Path | None,
    **given: Any,
) -> int:
    """Serve until a signal arrives, and return that signal's exit code.

    A port of 0 takes a free one. `given` are the options of BEHAVIOR_OPTIONS. Raises InputError if the
    sandbox cannot start.
    """

    def announce(addresses: SandboxAddresses) -> None:
        export = make_export_line(addresses.smtps, Path(addresses.ca))
        if not as_json:  # for a person, as it would be typed here
            addresses = replace(addresses, maildir=show_path(addresses.maildir))
        console.print_addresses(addresses, as_json, (export,))

    asked = SandboxOptions(maildir, port, page_port, password, ca_dir, take_behavior(given))
    return serve_until_stopped(serve_sandbox(announce, asked), "the sandbox")


@contextmanager
def run_rehearsal(root: Path, behavior: Behavior | None) -> Iterator[Sandbox]:
    """Run a sandbox for one rehearsal of the project at `root`.

    Its messages are kept in the project's `.mailer` until the next rehearsal; in a temporary folder if that
    cannot be written. Raises InputError if the sandbox cannot start.
    """
    with ExitStack() as stack:
        try:
            maildir = stack.enter_context(open_rehearsal_folder(root / FOLDER))
        except OSError:
            maildir = None
        try:
            sandbox = stack.enter_context(Sandbox(maildir=maildir, behavior=behavior))
        except OSError as error:
            raise InputError(f"the sandbox could not start: {explain_start_error(error)}") from error
        yield sandbox


def take_behavior(given: MutableMapping[str, Any]) -> Behavior | None:
    """Take the options of BEHAVIOR_OPTIONS out of `given`; None if none of them is set.

    Raises click.UsageError if one cannot be understood.
    """
    taken = {name: given.pop(name) for name in BEHAVIOR_OPTIONS}
    if not any(taken.values()):
        return None
    try:
        return make_behavior(
            fail=taken["fail"],
            delay=taken["delay"] or 0.0,
            drop=taken["drop"] or 0.0,
            chunking=not taken["no_chunking"],
            pipelining=not taken["no_pipelining"],
            login=not taken["tls_only"],
            starttls=taken["starttls"],
        )
    except ValueError as error:
        raise click.UsageError(f"--{error}") from None
