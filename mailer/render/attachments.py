"""Files of a project that go into messages: templates, images, attachments.

Each is found by name in a few folders, inside the project's root. A name may come from a column ("invoices/{{
n }}.pdf"), so each name is checked after its symbolic links are resolved, and the file is opened by walking
from the root. Hidden files, private keys, ledgers and the files that are withheld are never used.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Sequence
from pathlib import Path

from mailer.files import UnusableFile, format_binary_size, is_beneath, open_beneath, read_limited, show_path

_LEDGER = b"Mail"  # the `application_id` that mailer.ledger gives its SQLite databases
_PRIVATE_KEY = re.compile(rb"-----BEGIN [A-Z0-9 ]*PRIVATE KEY-----")


class FileProblem(Exception):
    """Why a file cannot be used; `str()` is a sentence that begins with its name."""


class ProjectFiles:
    """The files of a project that may go into messages.

    `withheld` are files that may not: the list of recipients, keys, passwords, the ledger.
    """

    def __init__(self, root: Path, withheld: Iterable[Path] = ()) -> None:
        self.root = root
        self._real_root = os.path.realpath(root)
        self._withheld = frozenset(os.path.realpath(path) for path in withheld)
        self.opened: set[str] = set()  # the real paths of the files that were read

    def find(self, name: str, folders: Sequence[Path]) -> str:
        """Find a file by name.

        :param name: a path relative to one of the folders.
        :param folders: the folders to look in, in this order.
        :returns: the real path of the first `folder/name` that exists.
        :raises FileProblem: if there is no such file, it is outside the root, or it may not be used.
        """
        if not name or "\0" in name:
            raise FileProblem(f"{name!r} is not a file name")
        is_outside = False
        for folder in folders:
            path = os.path.realpath(folder / name)
            if not is_beneath(path, self._real_root):
                is_outside = True
            elif os.path.lexists(path):
                self._check(path, name)
                return path
        if is_outside:  # does not say whether the file exists
            raise FileProblem(f"{name}: is outside the project root {show_path(self.root)}")
        looked = ", ".join(dict.fromkeys(show_path(folder) for folder in folders))
        raise FileProblem(f"{name}: not found (looked in {looked})")

    def read(self, path: str, max_size: int, name: str | None = None) -> bytes:
        """Read a file that `find` found. Opening never blocks, not even if the file is a FIFO.

        :param max_size: the largest size that is allowed, in bytes.
        :param name: the name to show in errors; default: the path.
        :raises FileProblem: if it is not a regular file, is too large, may not be used, or cannot be read.
        """
        name = name or path
        try:
            with open_beneath(self._real_root, path, follow=False) as stream:
                size = os.fstat(stream.fileno()).st_size
                if size > max_size:
                    limit = format_binary_size(max_size)
                    raise FileProblem(f"{name}: is {format_binary_size(size)}; the limit is {limit}")
                content = read_limited(stream, max_size)
        except UnusableFile as problem:
            raise FileProblem(f"{name}: {problem}") from None
        if content.startswith(b"SQLite format 3\0") and content[68:72] == _LEDGER:
            raise FileProblem(f"{name}: is a delivery ledger; it is never sent")
        if _PRIVATE_KEY.search(content[:65536]):
            raise FileProblem(f"{name}: is a private key; it is never sent")
        self.opened.add(path)
        return content

    def _check(self, path: str, name: str) -> None:
        parts = os.path.relpath(path, self._real_root).split(os.sep)
        if any(part.startswith(".") and part != "." for part in parts):
            raise FileProblem(
                f"{name}: is hidden (a name that starts with a dot); hidden files are never sent"
            )
        if path in self._withheld:
            raise FileProblem(
                f"{name}: is the campaign's own list, key, password or ledger; it is never sent"
            )
