"""A file as the user named it, and where: problems with it are reported at that place."""

from __future__ import annotations

import codecs
import os
from pathlib import Path
from typing import BinaryIO

from mailer.campaign.access import is_project_file
from mailer.dataclass import dataclass
from mailer.errors import InputError, Place, Problem
from mailer.files import UnusableFile, describe_kind, explain_error, open_beneath, open_regular_file

# The longer mark first: UTF-32's little-endian mark begins with UTF-16's.
_MARKS = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)


@dataclass(frozen=True, slots=True)
class NamedFile:
    """A file as the user named it.

    `shown` is its name in messages. `named_at` is the place in the campaign file that names it, and `key` the
    key. With `root`, it is opened only if it is inside that folder and not hidden, after symbolic links are
    resolved.
    """

    path: Path
    shown: str
    named_at: Place | None = None
    key: str = ""
    root: Path | None = None

    def open(self) -> BinaryIO:
        """Return the file, open for reading.

        InputError at the place that names it if it is not a regular file.
        """
        try:
            if self.root is None:
                return open_regular_file(self.path)
            real = os.path.realpath(self.path)
            if not is_project_file(Path(real), self.root):
                raise UnusableFile("lies outside the project's folder, or is hidden")
            return open_beneath(self.root, real, follow=False)
        except UnusableFile as error:
            raise InputError(self._make_problem(str(error))) from None
        except OSError as error:  # a folder on the way was replaced meanwhile
            raise InputError(self._make_problem(explain_error(error))) from None

    def find_problem(self) -> Problem | None:
        """Return what keeps the file from being read, as far as its directory entry says, or None."""
        try:
            kind = describe_kind(os.stat(self.path).st_mode)
        except (OSError, ValueError) as error:
            return self._make_problem(explain_error(error))
        return self._make_problem(f"it is {kind}; expected a regular file") if kind else None

    def _make_problem(self, text: str) -> Problem:
        if self.named_at is None:
            return Problem(Place(self.shown), text)
        return Problem(
            self.named_at, f"{self.key}: {self.shown}: {text}" if self.key else f"{self.shown}: {text}"
        )


def detect_bom_encoding(start: bytes) -> str | None:
    """Return the encoding that a byte order mark at `start` announces, as a codec that removes the mark, or
    None.
    """
    return next((name for mark, name in _MARKS if start.startswith(mark)), None)
