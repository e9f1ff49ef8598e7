"""The place of a project's ledger: `.mailer/ledger.sqlite3` in the project root."""

from __future__ import annotations

import os
from pathlib import Path

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
