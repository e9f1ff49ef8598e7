"""A compiled campaign: makes a message for each recipient."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from functools import partial
from typing import TypeVar

from mailer.bounded_process import is_limit_error
from mailer.campaign.addresses import normalize_address
from mailer.campaign.model import Campaign, Recipient, RowView
from mailer.dataclass import dataclass
from mailer.errors import Place, Problem, RenderError, sort_problems
from mailer.files import format_binary_size
from mailer.render.attachments import FileProblem
from mailer.render.body import BodyEncoder
from mailer.render.dkim import Signer
from mailer.render.failure import RenderFailure
from mailer.render.growth import is_short
from mailer.render.head import HeadMaker, PatternSet
from mailer.render.html import Images
from mailer.render.images import FileStore, make_attachment_part
from mailer.render.message import Message, MessageParts
from mailer.render.mime import Boundaries, Part, make_text_part
from mailer.render.pages import Pages
from mailer.render.pieces import Piece, join_pieces
from mailer.render.programs import Explanation, Program
from mailer.render.template_page import Content
from mailer.render.templates import TemplateVariables, UnboundedWork
from mailer.templating import describe_error, find_template_place, shorten_error

T = TypeVar("T")
MAX_ENCODED = 16  # bytes of a character: four in UTF-8, each of them `=XX` in quoted-printable; and line ends


@dataclass(frozen=True, slots=True)
class MessageLimits:
    """Limits of one message: seconds, characters of each template's output, bytes of the whole message."""

    seconds: float
    output: int
    message: int


@dataclass(frozen=True, slots=True)
class CompiledParts:
    """The parts that `compile_campaign` makes."""

    campaign: Campaign
    edition: int
    limits: MessageLimits
    pages: Pages
    patterns: PatternSet
    images: Images
    store: FileStore
    signer: Signer | None


class CompiledCampaign:
    """Renders a campaign's messages, one at a time. It is not safe to use from several threads."""

    def __init__(self, ready: CompiledParts) -> None:
        campaign = ready.campaign
        self.campaign = campaign
        self._edition = ready.edition
        self.limits = ready.limits
        self._pages = ready.pages
        self._patterns = ready.patterns
        self._images = ready.images
        self._store = ready.store
        self.files = ready.store.files
        self._signer = ready.signer
        self._header = HeadMaker(campaign, ready.patterns)
        self.fingerprint = self._fingerprint()
        self._boundaries = Boundaries(self.fingerprint[:24])
        self._encoder = BodyEncoder(self._boundaries.mark)
        self._base: dict[str, object] = ready.pages.globals() | dict(campaign.vars)
        self._own: dict[str, object] = {"campaign": campaign.name, "image": ready.images.get_address}

    def make_key(self, recipient: Recipient) -> str:
        """Make the key that is unique for the message in its campaign.

        :raises RenderError: if the `key` pattern cannot be rendered, or renders to blanks.
        """
        if self._patterns.key is None:
            return recipient.email.casefold()
        with _ErrorContext(recipient):
            key = self._patterns.key.render(self._variables(recipient))
            if not key.strip():  # otherwise all recipients with an empty key would be one recipient
                raise RenderFailure(self._patterns.key.place, "key: expected text, found only blanks")
            return key

    def render(self, recipient: Recipient, *, eight_bit: bool = False) -> Message:
        """Render one recipient's message.

        :param eight_bit: whether the message may need 8BITMIME (RFC 6152).
        :raises RenderError: all that is wrong, each with the place and the recipient.
        """
        try:
            return self.render_parts(recipient, eight_bit=eight_bit).join()
        except RenderError as error:
            if is_limit_error(error):  # the other parts may need as much
                raise
            raise RenderError(self._find_problems(recipient, error)) from error

    def render_parts(self, recipient: Recipient, *, eight_bit: bool = False) -> MessageParts:
        """As `render`, but the content is left in pieces, and the first problem ends it."""
        with _ErrorContext(recipient):
            return self._message(self._variables(recipient), recipient, eight_bit=eight_bit)

    def render_if_bounded(self, recipient: Recipient, *, eight_bit: bool = False) -> Message | None:
        """As `render`, but only if the work is known to be little; None if it is not.

        It is known if the recipient's values are short, and if the way through each template and pattern was
        taken before and has only operations whose cost is bounded (`growth.py`).
        """
        if recipient.problem is not None or not is_short(recipient.columns):
            return None
        try:
            with _ErrorContext(recipient):
                variables = self._variables(recipient, only_bounded=True)
                return self._message(variables, recipient, eight_bit=eight_bit).join()
        except UnboundedWork:
            return None

    def learn(self, recipient: Recipient, *, eight_bit: bool = False) -> None:
        """Render a message for the ways through the templates that it takes; its errors are ignored."""
        with suppress(RenderError):
            self.render(recipient, eight_bit=eight_bit)

    def is_sure_to_render(self, recipient: Recipient) -> bool:
        """Whether it is known, without making the message, that `render` makes it.

        It is known if the way through each template and pattern was taken before, with bounded work; if each
        operation succeeds with the recipient's values; and if those can be sent: no value has a NUL or half of
        a surrogate pair, and all of them are short beside the limit of a message. What such values cannot make
        fail is not made: bodies are not encoded, and nothing is joined. For plain text (`plainness.py`), most
        templates compute no more than the questions of their branches.
        """
        if recipient.problem is not None or not is_short(recipient.columns):
            return False
        if self._patterns.attachments or self.campaign.calendar is not None:
            return False
        try:
            variables = self._variables(recipient, only_bounded=True)
            if self._patterns.key is not None:
                self._patterns.key.render(variables)
            self._header.check_head(recipient, variables)
            measured = self._pages.measure_plain(variables) or _measure(self._pages.write(variables))
            if measured is None:
                return False
            characters, images = measured
            size = sum([sum(map(len, part)) for part in self._images.make_parts(images, variables)])
        except Exception:  # it is to be rendered within limits, which says what is wrong
            return False
        return size + MAX_ENCODED * characters <= self.limits.message

    def render_html(self, recipient: Recipient) -> str | None:
        """Render the HTML as it is sent, local images as `cid:`; None if the campaign has no HTML template."""
        with _ErrorContext(recipient):
            html = self._content(self._variables(recipient)).html
            return html.write() if html else None

    def render_text(self, recipient: Recipient) -> str:
        """Render the text alternative as it is sent."""
        with _ErrorContext(recipient):
            return self._content(self._variables(recipient)).text.write()

    def compare_with_jinja2(self, recipient: Recipient) -> bool:
        """Whether the compiled templates and patterns give this recipient what Jinja2 gives.

        A template that differs is left to Jinja2 from now on, in this process. Preflight calls this for its
        first recipients; if one of them differs, `use_jinja2_alone` does the same in the process that sends.

        :raises RenderError: if the message cannot be made.
        """
        with _ErrorContext(recipient):
            variables = self._variables(recipient)
            patterns = [pattern.compare(variables) for pattern in self._patterns.list_patterns()]
            return self._pages.compare(variables) and all(patterns)

    def use_jinja2_alone(self) -> None:
        """Render every recipient by Jinja2 from now on, without compiled templates."""
        self._pages.stop_compiling()
        for pattern in self._patterns.list_patterns():
            pattern.stop_compiling()

    def explain(self, recipients: Iterable[Recipient]) -> list[Explanation]:
        """How much of each template and pattern is compiled, after the messages of `recipients` were
        rendered.

        Recipients whose message cannot be made are left out. Some dozens show most ways through the branches.
        """
        for recipient in recipients:
            with suppress(RenderError):
                self.compare_with_jinja2(recipient)
        return [program.explain() for program in self.list_programs()]

    def list_programs(self) -> list[Program]:
        """The compiled forms of the templates and patterns that were made so far."""
        patterns = [pattern.program for pattern in self._patterns.list_patterns()]
        return [*self._pages.list_programs(), *(program for program in patterns if program is not None)]

    def _find_problems(self, recipient: Recipient, error: RenderError) -> list[Problem]:
        """Return the problems of `error`, and those of the parts of the message that come after it."""
        if recipient.problem is not None:
            return list(error.problems)
        found = list(error.problems)
        try:
            variables = self._variables(recipient)
        except RenderFailure:  # of the address to unsubscribe at, which every part may use
            return found
        steps: list[Callable[[], object]] = [
            partial(pattern.render, variables) for pattern in self._patterns.list_patterns()
        ]
        steps += [partial(self._write_part, write, variables) for write in self._pages.list_writers()]
        for step in steps:
            try:
                with _ErrorContext(recipient):
                    step()
            except RenderError as other:
                if is_limit_error(other):
                    raise
                found += other.problems
        return sort_problems(found)

    def _variables(self, recipient: Recipient, *, only_bounded: bool = False) -> TemplateVariables:
        """The names that a template sees: the mailer's own ones, then columns, then `vars`."""
        if recipient.problem is not None:
            raise RenderError(recipient.problem)
        names = (*recipient.columns, "email", "row")
        variables = TemplateVariables(self._base, names, only_bounded=only_bounded)
        variables.update(recipient.columns)
        variables.update(self._own, email=recipient.email, row=RowView(recipient.columns))
        if (url := self._header.render_unsubscribe_url(variables)) is not None:
            variables["unsubscribe_url"] = url
            variables.own_names = (*names, "unsubscribe_url")
        return variables

    def _message(
        self, variables: TemplateVariables, recipient: Recipient, *, eight_bit: bool
    ) -> MessageParts:
        key = self._patterns.key
        message_id = self._message_id(
            key.render(variables) if key else normalize_address(recipient.email), variables
        )
        head = self._header.make_head(recipient, variables, message_id)
        body, needs_eight_bit = self._body(variables, eight_bit=eight_bit and self._signer is None)
        pieces: list[Piece] = [*head.fields, *body]
        if not join_pieces(pieces[-2:]).endswith(b"\r\n"):
            pieces.append(b"\r\n")
        if (
            self._signer is not None
        ):  # never 8bit: a relay that re-encodes the message would break the signature
            content = join_pieces(pieces)
            pieces = [self._signer.sign(content), content]
        if (size := sum(map(len, pieces))) > (most := self.limits.message):
            raise FileProblem(
                f"the message is {format_binary_size(size)}; the limit is {format_binary_size(most)}"
            )
        return MessageParts(head.sender, head.recipients, pieces, message_id, needs_eight_bit, head.utf8)

    def _body(self, variables: TemplateVariables, *, eight_bit: bool) -> tuple[Part, bool]:
        """The parts, and whether one of them is 8bit."""
        content = self._content(variables)
        text = content.text.encode(self._encoder, eight_bit=eight_bit)
        alternatives: list[Part] = [make_text_part(b"plain", text)]
        needs_eight_bit = text.encoding == b"8bit"
        if content.html is not None:
            html = content.html.encode(self._encoder, eight_bit=eight_bit)
            needs_eight_bit = needs_eight_bit or html.encoding == b"8bit"
            images = self._make_images(content, variables)
            alternatives.append(self._boundaries.make_related([make_text_part(b"html", html), *images]))
        if content.calendar is not None and self.campaign.calendar is not None:
            calendar = self._encoder.encode(content.calendar, eight_bit=eight_bit)
            needs_eight_bit = needs_eight_bit or calendar.encoding == b"8bit"
            method = self.campaign.calendar.method.encode("ascii")
            alternatives.append(make_text_part(b"calendar; method=" + method, calendar))  # last: RFC 6047 2.4
        whole = self._boundaries.make_alternative(alternatives)
        if self._patterns.attachments:
            whole = self._boundaries.make_mixed([whole, *self._attachments(variables)])
        return whole, needs_eight_bit

    def _content(self, variables: TemplateVariables) -> Content:
        return self._write_part(self._pages.write, variables)

    def _write_part(self, write: Callable[[TemplateVariables], T], variables: TemplateVariables) -> T:
        try:
            return write(variables)
        except FileProblem as problem:
            raise self._image_failure(problem, variables) from problem

    def _make_images(self, content: Content, variables: TemplateVariables) -> list[Part]:
        try:
            return self._images.make_parts(content.images, variables) if content.images else []
        except FileProblem as problem:
            raise self._image_failure(problem, variables) from problem

    def _image_failure(self, problem: FileProblem, variables: TemplateVariables) -> RenderFailure:
        name = str(problem).partition(": ")[0]
        return RenderFailure(self._pages.place(variables, name), f"image {problem}")

    def _attachments(self, variables: TemplateVariables) -> Iterator[Part]:
        for path, filename in self._patterns.attachments:
            name = path.render(variables)
            if not name.strip():
                continue  # this recipient gets no such attachment
            try:
                title = filename.render(variables) if filename else name.replace("\\", "/").rpartition("/")[2]
                yield make_attachment_part(title, self._store.load_encoded(name, name)[1])
            except (FileProblem, ValueError) as problem:
                raise RenderFailure(path.place, f"attachment {problem}") from problem

    def _message_id(self, key: str, variables: TemplateVariables) -> str:
        """The same for each rendering of this message, so that a second copy can be recognized (RFC 5322
        3.6.4).
        """
        seed = "\0".join((self.campaign.name, str(self._edition), key)).encode("utf-8", "surrogatepass")
        return f"<{hashlib.blake2b(seed, digest_size=16).hexdigest()}@{self._header.find_domain(variables)}>"

    def _fingerprint(self) -> str:
        """A digest of everything that the messages are made of, except the recipients."""
        campaign = self.campaign
        digest = hashlib.sha256()
        parts = (
            repr(
                (
                    campaign.dkim,
                    list(campaign.headers),
                    list(campaign.images),
                    campaign.css,
                    campaign.calendar,
                )
            ),
            json.dumps(campaign.vars, sort_keys=True, default=str),
            *self._patterns.list_sources(),
            *self._pages.sources(),
            *self._store.list_digests(),
        )
        for part in parts:
            digest.update(f"{len(part)}:{part}".encode("utf-8", "surrogatepass"))
        return digest.hexdigest()


def _measure(content: Content) -> tuple[int, Mapping[str, str | None]] | None:
    """How many characters the texts of a message have at most, and the images; None if one cannot be sent."""
    texts = [content.text] if content.html is None else [content.text, content.html]
    if not all(text.is_sendable() for text in texts):
        return None
    return sum([text.measure() for text in texts]), content.images


class _ErrorContext:
    """Turns an error in its block into a RenderError that names the place and the recipient."""

    __slots__ = ("_recipient",)

    def __init__(self, recipient: Recipient) -> None:
        self._recipient = recipient

    def __enter__(self) -> None:
        pass

    def __exit__(self, _kind: object, error: BaseException | None, _trace: object) -> None:
        if isinstance(error, (RenderError, UnboundedWork)) or not isinstance(error, Exception):
            return
        place = error.place if isinstance(error, RenderFailure) else find_template_place(error)
        text = (
            str(error)
            if isinstance(error, (RenderFailure, FileProblem, ValueError))
            else describe_error(error)
        )
        row = self._recipient.place
        said = f"{text}, for {self._recipient.email}"
        if place is not None and place != row:
            said += f" ({Place(row.file, row.line)})"
        raise RenderError(Problem(place or row, shorten_error(said))) from error
