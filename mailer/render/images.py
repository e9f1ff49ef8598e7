"""Inline images and attachments: read inside the root, encoded once, kept in a bounded store."""

from __future__ import annotations

import hashlib
import mimetypes
import os
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from mailer.render.attachments import FileProblem, find, read
from mailer.render.body import base64_lines
from mailer.render.headers import checked, parameter
from mailer.render.mime import Part

UNKNOWN = "application/octet-stream"  # RFC 2046 4.5.1
MOST_KEPT = 48 * 1024 * 1024  # bytes of encoded files that stay in memory
_TYPES = mimetypes.MimeTypes(())  # the table of Python, not the machine's: the same message everywhere
for _type, _suffix in (
    ("image/webp", ".webp"),
    ("image/avif", ".avif"),
    ("image/svg+xml", ".svg"),
    ("text/markdown", ".md"),
    ("text/calendar", ".ics"),
    ("application/vnd.openxmlformats-officedocument.wordprocessingml.document", ".docx"),
    ("application/vnd.openxmlformats-officedocument.spreadsheetml.sheet", ".xlsx"),
    ("application/vnd.openxmlformats-officedocument.presentationml.presentation", ".pptx"),
):
    _TYPES.add_type(_type, _suffix)


@dataclass(frozen=True, slots=True)
class Encoded:
    """A file in base64, without its Content-* fields."""

    type: str
    content: bytes


def content_type(name: str) -> str:
    """By suffix. A message or multipart is not one of ours (RFC 2046 5.2.1: it may not be base64), nor is a .gz."""
    kind, encoding = _TYPES.guess_type(name)
    if kind is None or encoding or kind.startswith(("message/", "multipart/")):
        return UNKNOWN
    return kind


class Store:
    """Files by path, encoded; the least recently used go when MOST_KEPT is reached."""

    def __init__(self, folders: Sequence[Path], root: Path, most: int) -> None:
        self._folders = folders
        self._root = root
        self._most = most
        self._kept: OrderedDict[tuple[str, int, int], Encoded] = OrderedDict()
        self._size = 0

    def find(self, name: str, *beside: Path) -> str:
        return find(name, [*beside, *self._folders], self._root)

    def encoded(self, name: str, title: str) -> tuple[str, Encoded]:
        """The file's real path, and its content; FileProblem, which calls it `title`, where it cannot be used."""
        path = self.find(name)
        try:
            state = os.stat(path)
        except OSError as error:
            raise FileProblem(f"{title}: {(error.strerror or str(error)).lower()}") from error
        key = path, state.st_mtime_ns, state.st_size
        if (kept := self._kept.get(key)) is not None:
            self._kept.move_to_end(key)
            return path, kept
        content = read(path, self._most, title)
        kind = content_type(path)
        if kind.startswith("text/") and _is_utf8(content):
            kind += "; charset=utf-8"
        made = Encoded(kind, base64_lines(content))
        self._keep(key, made)
        return path, made

    def digests(self) -> list[str]:
        """Of what is kept, by the files' names in the root."""
        made = [
            f"{os.path.relpath(path, self._root)} {hashlib.sha256(kept.content).hexdigest()}"
            for (path, _, _), kept in self._kept.items()
        ]
        return sorted(made)

    def _keep(self, key: tuple[str, int, int], made: Encoded) -> None:
        self._kept[key] = made
        self._size += len(made.content)
        while self._size > MOST_KEPT and len(self._kept) > 1:
            _, gone = self._kept.popitem(last=False)
            self._size -= len(gone.content)


def _is_utf8(content: bytes) -> bool:
    try:
        content.decode("utf-8")
    except UnicodeDecodeError:
        return False
    return True


def image_part(cid: str, path: str, image: Encoded) -> Part:
    """An inline image: RFC 2392 `cid:` by its Content-ID. FileProblem for what is no image."""
    if not image.type.startswith("image/"):
        raise FileProblem(f"{os.path.basename(path)}: is no image by its name")
    fields = f"Content-Type: {image.type}\r\nContent-Transfer-Encoding: base64\r\nContent-ID: <{cid}>\r\n"
    fields += f"Content-Disposition: inline{parameter('filename', os.path.basename(path))}\r\n\r\n"
    return [fields.encode("ascii"), image.content]


def attachment_part(filename: str, attached: Encoded) -> Part:
    """RFC 2183. FileProblem for a name that is none. Its type is that of the file, or else of the name it is given."""
    if filename.strip() in ("", ".", "..") or "/" in filename or "\\" in filename:
        raise FileProblem(f"{filename!r} is no file name for an attachment")
    kind = attached.type if attached.type != UNKNOWN else content_type(filename)
    if kind.startswith("text/") and kind != attached.type:  # in what charset, nobody has looked
        kind = UNKNOWN
    fields = f"Content-Type: {kind}\r\nContent-Transfer-Encoding: base64\r\n"
    fields += f"Content-Disposition: attachment{parameter('filename', checked(filename))}\r\n\r\n"
    return [fields.encode("ascii"), attached.content]
