"""What is made of a template's output: HTML of Markdown or MJML, CSS inlined, the text alternative, images
found.

All of it is done on text in which tokens stand for a recipient's values (`skeleton.py`). `Plan` says which
values may be tokens. A value may be one if what is made of the text with the token, the value then put in its
place, is what would be made of the text with the value: if it is plain words, and its place decides
nothing.
"""

from __future__ import annotations

import re
from collections import OrderedDict
from collections.abc import Callable, Container, Sequence
from html import unescape
from typing import Any, NamedTuple

from jinja2 import TemplateRuntimeError

from mailer.campaign.model import Campaign
from mailer.render import markup
from mailer.render.attachments import FileProblem
from mailer.render.html import Images
from mailer.render.markup_sections import MARKUP, STYLE
from mailer.render.placeholders import NUMBER
from mailer.render.skeleton import NONCHARACTERS, PAD, TOKEN, Skeleton, has_token, make_token
from mailer.render.templates import show_path_segment
from mailer.templating.environment import show_text
from mailer.text import shorten

Shape = tuple[str | None, ...]  # for each slot None (a token), or the text in it

MAX_SLOT = 4096  # characters of a value that may be a token
MAX_KEPT = 64  # results for Markdown and MJML that are kept
MAX_KEPT_SIZE = 512 * 1024  # characters of one that is kept

_WORD = rf"[^\s\x00-\x1f\x7f-\x9f{NONCHARACTERS}]+"  # nothing that HTML collapses or drops
_WORDS = re.compile(f"{_WORD}(?: {_WORD})*")
_LINES_OF_WORDS = re.compile(_WORDS.pattern + rf"(?:\n{_WORDS.pattern})*")
# What may be a part of a padding, of which the derived text keeps nothing.
_PADDED = re.compile(rf"^{PAD}|{PAD}[ \u00a0]?{PAD}|{PAD}$", re.MULTILINE)
_URL = re.compile(r"https?://", re.IGNORECASE)
_SCHEME = re.compile(r"\s*(?:[A-Za-z][A-Za-z0-9+.-]*:|//|#)")
_ATTRIBUTE = re.compile(r"([^\s\"'<>/=]+)\s*=\s*(?:\"([^\"]*)\"|'([^']*)'|([^\s\"'<>]+))")
_ADDRESSES = frozenset({"href", "src", "background", "action"})
# Attributes whose values decide nothing, unless a rule of CSS selects by an attribute.
_PASSIVE = _ADDRESSES | {"alt", "title", "content", "lang", "value", "aria-label", "summary", "datetime"}
_TEXTS = frozenset({str})
_SIMPLE = frozenset({str, int, float, bool})


class Transformed(NamedTuple):
    """What was made of a template's output: skeletons of HTML and text, and the images that the HTML shows.

    `text` is None if it is not derived. `compared` are a link's text and address that are equal for some
    values.
    """

    html: Skeleton
    text: Skeleton | None
    images: dict[str, str | None]
    compared: list[tuple[Skeleton, Skeleton]]

    def has_equal_link(self, raw: Sequence[Any]) -> bool:
        """Whether a recipient's values make the text of a link equal to its address."""
        return has_equal_link(self.compared, raw)


def has_equal_link(compared: list[tuple[Skeleton, Skeleton]], raw: Sequence[Any]) -> bool:
    """Return whether values make the text of a link equal to its address.

    :param compared: texts of links and their addresses.
    :param raw: the values of their slots.
    """
    from mailer.render.plain_text import is_address_shown

    values = list(map(show_text, raw))
    return any(is_address_shown(text.fill(values), address.fill(values)) for text, address in compared)


class Transformer:
    """What is done to the output of a campaign's templates of one kind."""

    def __init__(
        self,
        convert: Callable[[str], str] | None,
        *,
        is_text_derived: bool,
        is_css_inlined: bool,
        images: Images,
    ) -> None:
        self._convert = convert
        self.is_text_derived = is_text_derived
        self.is_css_inlined = is_css_inlined
        self._images = images
        self._kept: OrderedDict[tuple[str, str], Transformed] = OrderedDict()

    def transform(
        self, written: str, folder: str, is_path_known: Callable[[str], bool] | None = None
    ) -> Transformed:
        """Make HTML, and text if it is derived, of a template's output.

        :param written: the output, with or without tokens.
        :param folder: the template's folder, in which images are looked for first.
        :param is_path_known: says whether an image's path is the author's; None if all paths are.
        :raises ValueError: if the markup is wrong, or a token did not come through whole.
        :raises FileProblem: if an image cannot be used.
        """
        if self._convert is None:
            return self._transform_html(written, folder, is_path_known)
        made = self._kept.get((written, folder))
        if made is None:
            made = self._transform_html(self._convert(written), folder)
            if len(written) <= MAX_KEPT_SIZE:
                self._kept[written, folder] = made
                if len(self._kept) > MAX_KEPT:
                    self._kept.popitem(last=False)
        return made

    def _transform_html(
        self, html: str, folder: str, is_path_known: Callable[[str], bool] | None = None
    ) -> Transformed:
        text, compared = None, list[tuple[str, str]]()
        if self.is_text_derived:
            from mailer.render.plain_text import derive_text

            text = Skeleton.from_text(derive_text(html, compared))
        if self.is_css_inlined:
            html = markup.inline_css(html)
        html, images = self._images.find_images(html, folder, is_path_known)
        links = [(Skeleton.from_text(label), Skeleton.from_text(address)) for label, address in compared]
        return Transformed(Skeleton.from_text(html), text, images, links)

    @property
    def may_have_sections(self) -> bool:
        """Whether what is made of a part of an output may be cut out of what is made of the whole."""
        return self._convert is None

    def lay_out_marked(
        self, written: str, rounds: Container[int]
    ) -> tuple[str | None, list[tuple[str, str]]]:
        """Derive the text of HTML with marks around its sections.

        :param rounds: the marks of sections that are rounds of a loop.
        :returns: the text with marks, not finished yet (None if it is not derived), and the compared links.
        :raises NotLocal: if a section depends on what is around it.
        """
        compared = list[tuple[str, str]]()
        if not self.is_text_derived:
            return None, compared
        from mailer.render.plain_text import lay_out

        return lay_out(written, compared, rounds), compared

    def inline_css(self, html: str) -> str:
        """Inline the CSS of HTML, if the campaign wants that."""
        return markup.inline_css(html) if self.is_css_inlined else html

    def find_images(self, html: str, folder: str) -> tuple[str, dict[str, str | None]]:
        """As `Images.find_images`."""
        return self._images.find_images(html, folder)

    def sort_images(self, html: str, images: dict[str, str | None]) -> dict[str, str | None]:
        """As `Images.sort_images`."""
        return self._images.sort_images(html, images)

    def may_be_tokens(self, values: list[Any]) -> bool:
        """Whether values of places that decide nothing may all be tokens. If not, `Plan.shape` says which.

        :param values: what is not escaped; if the HTML is sent as it is written, what is.
        """
        if not self._is_strict:
            return not any("cid:" in text for text in values)
        if not values:
            return True
        lines = "\n".join(map(str, values))
        return (
            _SIMPLE.issuperset(map(type, values))
            and len(lines) <= MAX_SLOT
            and lines.count("\n") == len(values) - 1
            and _LINES_OF_WORDS.fullmatch(lines) is not None
            and not _has_padding(lines)
        )

    @property
    def _is_strict(self) -> bool:
        return self._convert is not None or self.is_text_derived or self.is_css_inlined

    def plan(self, pieces: Sequence[str | int], count: int, *, has_selectors: bool | None = None) -> Plan:
        """Which of the `count` slots of an output may be tokens.

        :param has_selectors: whether a style sheet selects by attributes; None to look for one in `pieces`.
        """
        return Plan(
            pieces,
            count,
            has_selectors=has_selectors,
            is_html=self._convert is None,
            is_strict=self._is_strict,
        )

    def is_same(self, html: Any, text: Any, direct: Transformed) -> bool:
        """Whether filled skeletons are what was made of Jinja2's own output."""
        made, expected = html.write(), direct.html.fill(())
        if made != expected and unescape(made) != unescape(expected):
            return False
        return direct.text is None or text.write() == direct.text.fill(())


class Plan:
    """Which slots of one way through a template may be tokens."""

    def __init__(
        self,
        pieces: Sequence[str | int],
        count: int,
        *,
        is_html: bool,
        is_strict: bool,
        has_selectors: bool | None = None,
    ) -> None:
        self._pieces = pieces
        self._count = count
        self._is_html = is_html
        self.is_strict = is_strict
        text = "".join(make_token(piece) if isinstance(piece, int) else piece for piece in pieces)
        self.has_selectors = _has_selectors(text) if has_selectors is None else has_selectors
        sites = (
            _find_sites(text, self.has_selectors)
            if is_html
            else _Sites(_find_numeric_sites(pieces), set(), set(), set())
        )
        self._literal = sites.literal
        self._images = sites.images
        self._segments = sites.segments
        self._numeric = sites.literal
        self._addresses = sites.addresses
        self.all_tokens: Shape = (None,) * count
        self.has_free_slots = not any(sites)  # no place decides anything: plain text may be in each
        self.is_simple = is_html and self.has_free_slots

    def shape(self, raw: Sequence[Any], shown: Sequence[str]) -> Shape | None:
        """Which slots are tokens for these values; None if they are left to Jinja2.

        :param raw: the values, before they are escaped.
        :param shown: the values as they are written in the template's output.
        """
        if not self._is_html:
            return tuple(
                [
                    self._convert_slot(n, value, text)
                    for n, (value, text) in enumerate(zip(raw, shown, strict=True))
                ]
            )
        for number in self._images:
            _check_source(raw[number])
        for number in self._segments:
            _check_segment(raw[number])
        if not self.is_strict:
            if any("cid:" in text for text in shown):
                return None
            return tuple([text if n in self._segments else None for n, text in enumerate(shown)])
        if not self._literal and not self._addresses and _TEXTS.issuperset(map(type, raw)):
            lines = "\n".join(raw)
            if (
                len(lines) <= MAX_SLOT
                and lines.count("\n") == self._count - 1
                and _LINES_OF_WORDS.fullmatch(lines)
                and not _has_padding(lines)
            ):
                return self.all_tokens
        return tuple(
            [self._html_slot(n, value, text) for n, (value, text) in enumerate(zip(raw, shown, strict=True))]
        )

    def write(self, shape: Shape) -> str:
        """The output with tokens and texts in its slots."""
        slots = [make_token(n) if text is None else text for n, text in enumerate(shape)]
        return "".join([slots[piece] if isinstance(piece, int) else piece for piece in self._pieces])

    def _html_slot(self, number: int, value: Any, text: str) -> str | None:
        if number in self._literal or hasattr(value, "__html__"):
            return text
        words = show_text(value)
        if len(words) > MAX_SLOT or not _WORDS.fullmatch(words) or _has_padding(words):
            return text
        return text if number in self._addresses and not _URL.match(words) else None

    def _convert_slot(self, number: int, value: Any, text: str) -> str | None:
        """For Markdown and MJML, as `Placeholders.show`: but a number in running text is a value as any
        other.
        """
        if hasattr(value, "__html__") or not text.strip():
            return text
        return text if number in self._numeric and NUMBER.fullmatch(text) else None


def _has_padding(text: str) -> bool:
    """Whether invisible characters in a text may be taken for a padding, alone or with those beside it."""
    return not text.isascii() and _PADDED.search(text) is not None


class _Sites(NamedTuple):
    """Slots by where they stand. `literal` ones decide something. `addresses` begin an address, `images` the
    one of an image; `segments` are within the path of an image.
    """

    literal: set[int]
    addresses: set[int]
    images: set[int]
    segments: set[int]


def _has_selectors(html: str) -> bool:
    return any("[" in css or ":lang" in css for css in STYLE.findall(html))


def _find_sites(html: str, has_selectors: bool) -> _Sites:
    sites = _Sites(set(), set(), set(), set())
    for found in re.finditer(f"[<&]{TOKEN.pattern}", html):
        sites.literal.add(int(found[1]))
    for found in MARKUP.finditer(html):
        piece = found[0]
        if not has_token(piece) or piece.startswith("<!--"):
            continue
        if found[1]:
            sites.literal.update(_numbers_in(piece))
            continue
        sites.literal.update(_numbers_in(_ATTRIBUTE.sub("", piece)))
        for attribute in _ATTRIBUTE.finditer(piece):
            value = next(text for text in (attribute[2], attribute[3], attribute[4]) if text is not None)
            if has_token(value):
                is_structural = (
                    has_selectors or attribute[4] is not None
                )  # a blank would end an unquoted value
                _add_attribute(sites, piece, attribute[1].lower(), value, is_structural)
    return sites


def _add_attribute(sites: _Sites, tag: str, name: str, value: str, is_structural: bool) -> None:
    numbers = _numbers_in(value)
    if is_structural or (name not in _PASSIVE and not name.startswith("data-")):
        sites.literal.update(numbers)
    if name not in _ADDRESSES:
        return
    if found := TOKEN.match(value.strip()):
        sites.addresses.add(int(found[1]))
        if name == "src" and tag[:4].lower() == "<img":
            sites.images.add(int(found[1]))
    elif name == "src" and not _SCHEME.match(value):
        sites.segments.update(numbers)
        sites.literal.update(numbers)


def _check_source(value: Any) -> None:
    """A `src` that comes from a recipient's value is a URL, so that a list cannot choose a file."""
    text = show_text(value).strip()
    if text and not _URL.match(text):
        raise FileProblem(f"{shorten(text, 20)!r}: a value of the list chooses no file; expected a URL")


def _check_segment(value: Any) -> None:
    """A value within the path of a `src` is one segment of it."""
    try:
        show_path_segment(value)
    except TemplateRuntimeError as error:
        raise FileProblem(str(error)) from None


def _find_numeric_sites(pieces: Sequence[str | int]) -> set[int]:
    """Slots of Markdown or MJML in which a number means something: in a tag, or at the begin of a line."""
    text = "".join(make_token(piece) if isinstance(piece, int) else piece for piece in pieces)
    inside = {number for tag in MARKUP.finditer(text) for number in _numbers_in(tag[0])}
    for found in TOKEN.finditer(text):
        line = text[text.rfind("\n", 0, found.start()) + 1 : found.start()]
        if not any(char.isalpha() for char in line):
            inside.add(int(found[1]))
    return inside


def _numbers_in(text: str) -> list[int]:
    return [int(number) for number in TOKEN.findall(text)]


def make_transformer(campaign: Campaign, format_: str, images: Images) -> Transformer:
    """What is done to templates of a format: `html`, `markdown` or `mjml`."""
    make = {"markdown": markup.make_markdown_converter, "mjml": markup.make_mjml_converter}.get(format_)
    return Transformer(
        make() if make else None,
        is_text_derived=campaign.text is None,
        is_css_inlined=campaign.css == "inline" and format_ != "mjml",
        images=images,
    )
