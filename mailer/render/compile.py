"""Compiling a campaign: what is the same for every recipient is read, checked and encoded once."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TypeVar

from mailer.bounded_process import LimitExceeded, ProcessLimits, run_bounded
from mailer.campaign.model import Campaign, Pattern
from mailer.campaign.named_file import NamedFile
from mailer.campaign.secrets import FileSecret
from mailer.campaign.sources import FileSource, InlineSource
from mailer.errors import InputError, Place, Problem, sort_problems
from mailer.files import show_path
from mailer.render.attachments import FileProblem, ProjectFiles
from mailer.render.compiled import CompiledCampaign, CompiledParts, MessageLimits
from mailer.render.dkim import Signer
from mailer.render.failure import RenderFailure
from mailer.render.head import PatternSet
from mailer.render.html import Images
from mailer.render.images import FileStore
from mailer.render.pages import Pages
from mailer.render.templates import PatternTemplate
from mailer.templating import shorten_error

T = TypeVar("T")
MEGABYTE = 1024 * 1024
COMPILE_LIMITS = ProcessLimits(seconds=30.0)


def compile_campaign(
    campaign: Campaign,
    *,
    edition: int = 1,
    seconds: float = 10.0,
    max_bytes: int = 16 * MEGABYTE,
    max_message: int = 25 * MEGABYTE,
    is_isolated: bool = False,
) -> CompiledCampaign:
    """Compile a campaign, so that its messages can be rendered.

    :param edition: the number of the edition; it is part of each Message-ID.
    :param seconds: the time limit of one message.
    :param max_bytes: the limit of one template's output, in characters.
    :param max_message: the limit of one message, in bytes.
    :param is_isolated: the caller is a process with limits of its own, so compiling needs no other one.
    :raises InputError: all problems of the campaign's patterns, templates, images and attachments.
    """
    limits = MessageLimits(seconds, max_bytes, max_message)
    if not is_isolated:
        _try_compile(campaign, limits, edition)
    return _Compilation(campaign, limits, edition).compile()


def _try_compile(campaign: Campaign, limits: MessageLimits, edition: int) -> None:
    """Compile in a process of its own first: a template may be made so that compiling it takes hours."""

    if campaign.template is not None and campaign.css == "inline":
        import css_inline  # noqa: F401 - here, because the child would import it for itself alone

    def try_compile() -> None:
        _Compilation(campaign, limits, edition).compile()

    try:
        run_bounded(try_compile, COMPILE_LIMITS)
    except LimitExceeded as error:
        raise InputError(
            Problem(Place(show_path(campaign.path)), f"compiling its templates: {error}")
        ) from None


class _Compilation:
    """Collects problems, so that all are shown at once."""

    def __init__(self, campaign: Campaign, limits: MessageLimits, edition: int) -> None:
        self.campaign = campaign
        self.limits = limits
        self.edition = edition
        self.problems: list[Problem] = []
        files = ProjectFiles(campaign.root, _list_withheld(campaign))
        self.pages = Pages(campaign, files, limits.output)
        self.store = FileStore(files, [campaign.path.parent, campaign.root], limits.message)

    def compile(self) -> CompiledCampaign:
        named = {
            name: found for name, path in self.campaign.images.items() if (found := self._compile_image(path))
        }
        images = Images(named, self.store, self.limits.message)
        own = {"campaign": self.campaign.name, "image": images.get_address}
        self.problems += self.pages.load(own, images)
        patterns = self._compile_patterns()
        self.problems += images.load_constant_images()
        if patterns:
            self._load_attachments(patterns)
        self._check_given_variables(patterns)
        signer = self._load_signer()
        compiled = None
        if patterns is not None and not self.problems:
            parts = CompiledParts(
                self.campaign, self.edition, self.limits, self.pages, patterns, images, self.store, signer
            )
            compiled = self._collect_failure(lambda: CompiledCampaign(parts))  # `from` may give no address
        if compiled is None:
            raise InputError(self._all_problems())
        return compiled

    def _check_given_variables(self, patterns: PatternSet | None) -> None:
        """A `--var` that neither `vars` nor any template names is misspelt."""
        if not self.campaign.unknown_variables or patterns is None or not self.pages.are_all_loaded:
            return
        sources = "\n".join([*patterns.list_sources(), *self.pages.sources()])
        for name in self.campaign.unknown_variables:
            if not re.search(rf"\b{re.escape(name)}\b", sources):
                place = Place(show_path(self.campaign.path))
                self.problems.append(
                    Problem(place, f"--var {name}: no template and no key of the campaign uses it")
                )

    def _all_problems(self) -> list[Problem]:
        """Sorted by place, with the problems of the recipients that are written in the campaign file itself."""
        rows = self.campaign.recipients
        own = [replace(problem, text=shorten_error(problem.text)) for problem in self.problems]
        return sort_problems([*own, *(rows.find_problems() if isinstance(rows, InlineSource) else ())])

    def _compile_patterns(self) -> PatternSet | None:
        c, before = self.campaign, len(self.problems)
        unsubscribe = c.unsubscribe
        made = PatternSet(
            sender=self._compile_required(c.sender),
            reply_to=self._compile_all(c.reply_to),
            to=self._compile_optional(c.to),
            subject=self._compile_required(c.subject),
            cc=self._compile_all(c.cc),
            bcc=self._compile_all(c.bcc),
            envelope_from=self._compile_optional(c.envelope_from),
            key=self._compile_optional(c.key),
            unsubscribe_url=self._compile_optional(unsubscribe.url if unsubscribe else None),
            unsubscribe_mailto=self._compile_optional(unsubscribe.mailto if unsubscribe else None),
            headers=tuple((name, self._compile_required(value)) for name, value in c.headers.items()),
            attachments=tuple(
                (self._compile_path(a.path), self._compile_optional(a.filename)) for a in c.attachments
            ),
        )
        return made if len(self.problems) == before else None

    def _compile_required(self, pattern: Pattern) -> PatternTemplate:
        return self._compile_pattern(pattern) or PatternTemplate(
            Pattern("", pattern.place), self.pages.patterns
        )

    def _compile_path(self, pattern: Pattern) -> PatternTemplate:
        """The pattern of a path, in which a value is one segment."""
        return self._compile_image(pattern) or PatternTemplate(Pattern("", pattern.place), self.pages.paths)

    def _compile_image(self, pattern: Pattern) -> PatternTemplate | None:
        return self._collect_failure(lambda: PatternTemplate(pattern, self.pages.paths))

    def _compile_optional(self, pattern: Pattern | None) -> PatternTemplate | None:
        return self._compile_pattern(pattern) if pattern is not None else None

    def _compile_all(self, patterns: tuple[Pattern, ...]) -> tuple[PatternTemplate, ...]:
        return tuple(map(self._compile_required, patterns))

    def _compile_pattern(self, pattern: Pattern) -> PatternTemplate | None:
        return self._collect_failure(lambda: PatternTemplate(pattern, self.pages.patterns))

    def _load_attachments(self, patterns: PatternSet) -> None:
        """Read and encode the attachments that are the same for every recipient."""
        for path, _ in patterns.attachments:
            if (name := path.constant) is not None:
                try:
                    self.store.load_encoded(name, name)
                except FileProblem as problem:
                    self.problems.append(Problem(path.place, f"attachment {problem}"))

    def _load_signer(self) -> Signer | None:
        if self.campaign.dkim is None:
            return None
        try:
            return Signer(self.campaign.dkim)
        except FileProblem as problem:
            place = self.campaign.dkim.place or Place(show_path(self.campaign.path))
            self.problems.append(Problem(place, f"dkim.key_file: {problem}"))
            return None

    def _collect_failure(self, make: Callable[[], T]) -> T | None:
        try:
            return make()
        except RenderFailure as failure:
            self.problems.append(Problem(failure.place, str(failure)))
            return None


def _list_withheld(campaign: Campaign) -> list[Path]:
    """The campaign's files that are never sent."""
    withheld = [campaign.path]
    if isinstance(campaign.recipients, FileSource) and isinstance(campaign.recipients.file, NamedFile):
        withheld.append(campaign.recipients.file.path)
    if campaign.dkim is not None:
        withheld.append(campaign.dkim.key_file)
    if campaign.server is not None and isinstance(campaign.server.password, FileSecret):
        withheld.append(campaign.server.password.file.path)
    return withheld
