"""Inline images and attachments: read inside the root, encoded once, kept in a bounded cache."""

from __future__ import annotations

import functools
import hashlib
import mimetypes
import os
from collections import OrderedDict
from collections.abc import Sequence
from pathlib import Path

from mailer.dataclass import dataclass
from mailer.render.attachments import FileProblem, ProjectFiles
from mailer.render.body import encode_base64
from mailer.render.headers import check_text, format_name, format_parameter
from mailer.render.mime import Part

UNKNOWN = "application/octet-stream"  # RFC 2046 4.5.1
MAX_KEPT = 48 * 1024 * 1024  # bytes of encoded files that stay in memory
_MORE_TYPES = (
    ("image/webp", ".webp"),
    ("image/avif", ".avif"),
    ("image/svg+xml", ".svg"),
    ("text/markdown", ".md"),
    ("text/calendar", ".ics"),
    ("application/vnd.openxmlformats-officedocument.wordprocessingml.document", ".docx"),
    ("application/vnd.openxmlformats-officedocument.spreadsheetml.sheet", ".xlsx"),
    ("application/vnd.openxmlformats-officedocument.presentationml.presentation", ".pptx"),
)


@dataclass(frozen=True, slots=True)
class EncodedFile:
    """A file in base64, without its Content-* fields."""

    type: str
    content: bytes


@functools.cache
def _content_types() -> mimetypes.MimeTypes:
    """Python's own table, not the machine's: the same message on every machine. It takes 2 ms to make."""
    types = mimetypes.MimeTypes(())
    for kind, suffix in _MORE_TYPES:
        types.add_type(kind, suffix)
    return types


def guess_content_type(name: str) -> str:
    """The media type by the suffix of `name`; UNKNOWN for messages, multiparts and compressed files."""
    kind, encoding = _content_types().guess_type(name)
    if kind is None or encoding or kind.startswith(("message/", "multipart/")):
        return UNKNOWN
    return kind


class FileStore:
    """Encoded files by path. The least recently used ones are removed when MAX_KEPT is reached."""

    def __init__(self, files: ProjectFiles, folders: Sequence[Path], max_size: int) -> None:
        """`folders` are looked in for each name, in this order; `max_size` is a file's largest size in bytes."""
        self._files = files
        self._folders = folders
        self._max_size = max_size
        self._kept: OrderedDict[tuple[str, int, int], EncodedFile] = OrderedDict()
        self._size = 0

    @property
    def files(self) -> ProjectFiles:
        """The files of the project."""
        return self._files

    def find_path(self, name: str, *beside: Path) -> str:
        """Return the path of the file `name` in the project: the first that is there, `beside` before the folders.

        Raises FileProblem if there is none.
        """
        return self._files.find(name, [*beside, *self._folders])

    def load_encoded(self, name: str, title: str) -> tuple[str, EncodedFile]:
        """Find, read and encode a file.

        :param name: a path relative to one of the folders.
        :param title: the name to show in errors.
        :returns: the real path and the encoded content.
        :raises FileProblem: if the file cannot be used.
        """
        path = self.find_path(name)
        try:
            state = os.stat(path)
        except OSError as error:
            raise FileProblem(f"{title}: {(error.strerror or str(error)).lower()}") from error
        key = path, state.st_mtime_ns, state.st_size
        if (kept := self._kept.get(key)) is not None:
            self._kept.move_to_end(key)
            return path, kept
        content = self._files.read(path, self._max_size, title)
        kind = guess_content_type(path)
        if kind.startswith("text/") and _is_utf8(content):
            kind += "; charset=utf-8"
        made = EncodedFile(kind, encode_base64(content))
        self._keep(key, made)
        return path, made

    def list_digests(self) -> list[str]:
        """Digests of the kept files, each with the file's path in the root."""
        made = [
            f"{os.path.relpath(path, self._files.root)} {hashlib.sha256(kept.content).hexdigest()}"
            for (path, _, _), kept in self._kept.items()
        ]
        return sorted(made)

    def _keep(self, key: tuple[str, int, int], made: EncodedFile) -> None:
        self._kept[key] = made
        self._size += len(made.content)
        while self._size > MAX_KEPT and len(self._kept) > 1:
            _, gone = self._kept.popitem(last=False)
            self._size -= len(gone.content)


def _is_utf8(content: bytes) -> bool:
    try:
        content.decode("utf-8")
    except UnicodeDecodeError:
        return False
    return True


def make_image_part(cid: str, path: str, image: EncodedFile) -> Part:
    """Make the part of an inline image (RFC 2392). FileProblem if the file is not an image."""
    if not image.type.startswith("image/"):
        raise FileProblem(f"{os.path.basename(path)}: is not an image by its suffix")
    name = os.path.basename(path)
    fields = f"Content-Type: {image.type}{format_name(name)}\r\nContent-Transfer-Encoding: base64\r\n"
    fields += f"Content-ID: <{cid}>\r\n"
    fields += f"Content-Disposition: inline{format_parameter('filename', name)}\r\n\r\n"
    return [fields.encode("ascii"), image.content]


def make_attachment_part(filename: str, attached: EncodedFile) -> Part:
    """Make the part of an attachment (RFC 2183). Its type is that of the file, or else of `filename`.

    :param filename: the name that a reader sees; a path separator in it is replaced.
    """
    filename = filename.strip().replace("/", "-").replace("\\", "-")
    if filename in ("", ".", ".."):
        raise FileProblem(f"{filename!r} is not a file name for an attachment")
    kind = attached.type if attached.type != UNKNOWN else guess_content_type(filename)
    if kind.startswith("text/") and kind != attached.type:  # the charset is unknown
        kind = UNKNOWN
    check_text(filename)
    fields = f"Content-Type: {kind}{format_name(filename)}\r\nContent-Transfer-Encoding: base64\r\n"
    fields += f"Content-Disposition: attachment{format_parameter('filename', filename)}\r\n\r\n"
    return [fields.encode("ascii"), attached.content]
