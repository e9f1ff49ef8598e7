"""Images of an HTML message: local files become inline parts, `cid:` names are those of the campaign.

A message carries the images that its HTML uses. `<img src="images/x.png">` is looked for beside the template,
beside the campaign and in the root; addresses with a scheme (https:, data:) are left alone.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Mapping
from html import unescape
from os.path import basename
from pathlib import Path
from typing import NamedTuple
from urllib.parse import unquote

from mailer.errors import Problem
from mailer.files import format_binary_size, show_path
from mailer.render.attachments import FileProblem
from mailer.render.failure import RenderFailure
from mailer.render.headers import check_text
from mailer.render.images import FileStore, make_image_part
from mailer.render.mime import Part
from mailer.render.skeleton import TOKEN, has_token
from mailer.render.templates import PatternTemplate, TemplateVariables
from mailer.text import shorten

MAX_LOCAL = 16  # local images whose parts are kept; the store keeps more, within its bound
MAX_TAGS = 1024  # kept, of at most
MAX_TAG = 2048  # characters
_TAG = re.compile(r"""<img\b(?:[^>"']++|"[^"]*+"|'[^']*+')*+>""", re.IGNORECASE)
_SRC = re.compile(r"""(?<![\w-])src\s*=\s*(?:"([^"]*)"|'([^']*)'|([^\s>"']+))""", re.IGNORECASE)
_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*:|//|#")


class UnknownPath(Exception):
    """The path of an image is in no template: it may come from a recipient's value."""


class _Tag(NamedTuple):
    text: str  # as it goes out
    cid: str | None = None
    path: str | None = None  # of a local file; None if `cid` is a name of the campaign
    address: str = ""  # of that file, as the HTML has it


class Images:
    """The campaign's named images, and the local files that its HTML shows."""

    def __init__(self, named: Mapping[str, PatternTemplate], store: FileStore, max_size: int) -> None:
        """`max_size` is the limit of one message's images together, in bytes."""
        self._named = named
        self._max_size = max_size
        self._store = store
        self._tags: dict[tuple[str, str], _Tag] = {}
        self._constant: dict[str, Part] = {}
        self._local: dict[str, Part] = {}

    def load_constant_images(self) -> list[Problem]:
        """Encode the images that are the same for every recipient; returns their problems."""
        problems = []
        for name, path in self._named.items():
            if path.constant is not None:
                try:
                    self._constant[name] = self._image(name, path.constant, path)
                except RenderFailure as failure:
                    problems.append(Problem(failure.place, str(failure)))
        return problems

    def get_address(self, name: str) -> str:
        """What a template's `image(name)` gives."""
        if name not in self._named:
            raise ValueError(self._unknown(name))
        return f"cid:{name}"

    def find_images(
        self, html: str, folder: str, is_path_known: Callable[[str], bool] | None = None
    ) -> tuple[str, dict[str, str | None]]:
        """Find the images that the HTML shows.

        :param html: the HTML; tokens may stand in it for values.
        :param folder: the template's folder, in which files are looked for first.
        :param is_path_known: says whether a file's path is the author's; None if all paths are.
        :returns: the HTML with local images as `cid:`, and the images by their Content-ID; see `make_parts`.
        :raises FileProblem: if an image cannot be found.
        :raises UnknownPath: if the path of a file may come from a recipient's value.
        """
        used: dict[str, str | None] = {}
        if starts := _find_image_starts(html):
            html = self._tags_of(html, starts, folder, used, is_path_known)
        for name in self._named:
            if (
                name not in used
                and f"cid:{name}" in html
                and re.search(rf"cid:{re.escape(name)}(?![\w.@-])", html)
            ):
                used[name] = None
        return html, used

    def sort_images(self, html: str, images: Mapping[str, str | None]) -> dict[str, str | None]:
        """Sort images of HTML that `find_images` made, as it does.

        :param images: those that the HTML shows, in any order.
        """
        if len(images) < 2:
            return dict(images)
        found = [_TAG.match(html, start) for start in _find_image_starts(html)]
        addresses = [_find_address(tag[0])[1] for tag in found if tag is not None]
        shown = [address[4:] for address in addresses if address[:4].lower() == "cid:"]
        return {cid: images[cid] for cid in (*shown, *self._named) if cid in images}

    def make_parts(self, used: Mapping[str, str | None], variables: TemplateVariables) -> list[Part]:
        """The parts of the images `used`: Content-IDs with the path of a local file, or None for a named
        image.

        :raises FileProblem: if a file cannot be used.
        """
        parts, size = [], 0
        for cid, path in used.items():
            part = self._part(cid, path, variables)
            size += sum(map(len, part))
            if size > self._max_size:
                limit = format_binary_size(self._max_size)
                raise FileProblem(
                    f"{show_path(path) if path else cid}: the images are larger than {limit} together"
                )
            parts.append(part)
        return parts

    def _tags_of(
        self,
        html: str,
        starts: list[int],
        folder: str,
        used: dict[str, str | None],
        is_path_known: Callable[[str], bool] | None,
    ) -> str:
        pieces: list[str] = []
        done = 0
        for start in starts:
            found = _TAG.match(html, start) if start >= done else None
            if found is None:
                continue
            tag = self._tags.get((found[0], folder)) or self._tag(found[0], folder)
            if tag.cid is not None:
                used[tag.cid] = tag.path
            if tag.path is not None and is_path_known is not None and not is_path_known(tag.address):
                raise UnknownPath
            if tag.path is not None:
                pieces += html[done:start], tag.text
                done = found.end()
        return "".join((*pieces, html[done:])) if pieces else html

    def _tag(self, text: str, folder: str) -> _Tag:
        source, address = _find_address(text)
        if source is None or not address:
            tag = _Tag(text)
        elif address[:4].lower() == "cid:":
            if address[4:] not in self._named:
                raise FileProblem(f"{shorten(address, 24)}: {self._unknown(address[4:])}")
            tag = _Tag(text, address[4:])
        elif _SCHEME.match(address) or TOKEN.match(
            address
        ):  # a value that begins a `src` is a URL: transform.py
            tag = _Tag(text)
        elif has_token(address):
            raise FileProblem(
                "a path with a value of the list in it: a value chooses no file; expected a URL"
            )
        else:
            path = self._store.find_path(unquote(re.split(r"[?#]", address, maxsplit=1)[0]), Path(folder))
            cid = _make_content_id(path)
            tag = _Tag(f'{text[: source.start()]}src="cid:{cid}"{text[source.end() :]}', cid, path, address)
        if len(self._tags) >= MAX_TAGS:
            self._tags.clear()
        if len(text) <= MAX_TAG:
            self._tags[text, folder] = tag
        return tag

    def _part(self, cid: str, path: str | None, variables: TemplateVariables) -> Part:
        if path is not None:
            part = self._local.get(cid)
            if part is None:
                part = make_image_part(cid, path, self._store.load_encoded(path, show_path(path))[1])
                if len(self._local) < MAX_LOCAL:
                    self._local[cid] = part
            return part
        return self._constant.get(cid) or self._image(
            cid, self._named[cid].render(variables), self._named[cid]
        )

    def _image(self, name: str, path: str, expression: PatternTemplate) -> Part:
        try:
            return make_image_part(name, *self._store.load_encoded(check_text(path), path))
        except (FileProblem, ValueError) as problem:
            raise RenderFailure(expression.place, str(problem)) from problem

    def _unknown(self, name: str) -> str:
        names = ", ".join(self._named) or "it has none"
        return f"{shorten(name, 20)!r} is not in the campaign's images ({names})"


def _find_address(tag: str) -> tuple[re.Match[str] | None, str]:
    """The `src` of a tag, and the address in it."""
    source = _SRC.search(tag)
    return source, unescape(source[1] or source[2] or source[3] or "").strip() if source else ""


def _find_image_starts(html: str) -> list[int]:
    starts: list[int] = []
    for word in ("<img", "<IMG"):
        start = html.find(word)
        while start >= 0:
            starts.append(start)
            start = html.find(word, start + 4)
    starts.sort()
    return starts


def _make_content_id(path: str) -> str:
    """A name for a local file that no image of the campaign has: its own name, and a digest of its path."""
    name = re.sub(r"[^A-Za-z0-9._-]", "-", basename(path))[-40:]
    return f"{hashlib.sha256(path.encode()).hexdigest()[:12]}-{name}"
