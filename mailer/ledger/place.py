"""The place of a ledger: what a user gave, or `.mailer/ledger.sqlite3` in the project root."""

from __future__ import annotations

import os
from pathlib import Path
from urllib.parse import unquote

from mailer.errors import LedgerError

FOLDER = ".mailer"
FILE = "ledger.sqlite3"


def get_project_ledger(root: Path) -> Path:
    """The path of the ledger of the project at `root`, whether or not it exists."""
    return Path(os.path.abspath(root)) / FOLDER / FILE


def find_nearest_ledger(folder: Path) -> Path:
    """The path of the ledger for a command without a campaign.

    That is the ledger in the nearest `.mailer` of `folder` or of a folder above it. If there is none, it is
    the path that a ledger of `folder` would have.
    """
    start = Path(os.path.abspath(folder))
    for candidate in (start, *start.parents):
        if (candidate / FOLDER / FILE).exists():
            return candidate / FOLDER / FILE
    return get_project_ledger(start)


def is_database_url(text: str) -> bool:
    """Return whether `text` is the URL of a ledger in PostgreSQL."""
    return text.startswith(("postgresql://", "postgres://"))


def parse_ledger_path(text: str) -> Path:
    """Return the path in `text`, which a user gave: a path, or a URL as SQLAlchemy has it.

    Three slashes begin a relative path, four an absolute one. Raises LedgerError for another URL.
    """
    scheme, separator, rest = text.partition("://")
    if not separator:
        return Path(text)
    if scheme == "sqlite":
        path = unquote(rest.removeprefix("/"))
        if path and rest.startswith("/"):
            return Path(path)
        raise LedgerError(f"{text}: a ledger's URL is sqlite:///PATH")
    raise LedgerError(f"{scheme}://...: a ledger is a path, sqlite:///PATH or postgresql://...")
