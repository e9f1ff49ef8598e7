"""A campaign made ready once: what does not vary is read, checked and encoded before the first recipient."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from mailer.campaign.model import Campaign, Pattern
from mailer.campaign.sources import InlineSource
from mailer.errors import InputError, Place, Problem, by_place
from mailer.render.attachments import FileProblem
from mailer.render.compiled import CompiledCampaign, Limits, Ready
from mailer.render.dkim import Signer
from mailer.render.failure import Failure
from mailer.render.head import Patterns
from mailer.render.html import Images
from mailer.render.images import Store
from mailer.render.pages import Pages
from mailer.render.templates import Expression, Variables

T = TypeVar("T")
MEGABYTE = 1024 * 1024


def compile_campaign(
    campaign: Campaign,
    *,
    edition: int = 1,
    seconds: float = 10.0,
    max_bytes: int = 16 * MEGABYTE,
    max_message: int = 25 * MEGABYTE,
) -> CompiledCampaign:
    """`campaign` ready to render; InputError with all problems of its patterns, templates, images and attachments.

    A message takes at most `seconds` (wall clock), `max_bytes` of template output, and `max_message` bytes in all.
    """
    limits = Limits(seconds, max_bytes, max_message)
    return _Compilation(campaign, limits, edition).compiled()


class _Compilation:
    """Collects problems, so that all are shown at once."""

    def __init__(self, campaign: Campaign, limits: Limits, edition: int) -> None:
        self.campaign = campaign
        self.limits = limits
        self.edition = edition
        self.problems: list[Problem] = []
        self.pages = Pages(campaign, limits.output)
        self.store = Store([campaign.path.parent, campaign.root], campaign.root, limits.message)

    def compiled(self) -> CompiledCampaign:
        named = {name: found for name, path in self.campaign.images.items() if (found := self._pattern(path))}
        images = Images(named, self.store)
        own: Variables = {"campaign": self.campaign.name, "image": images.address}
        self.problems += self.pages.load(own)
        patterns = self._patterns()
        self.problems += images.load()
        if patterns:
            self._attachments(patterns)
        signer = self._signer()
        if self.problems or patterns is None:
            raise InputError(self._all_problems())
        return CompiledCampaign(
            Ready(self.campaign, self.edition, self.limits, self.pages, patterns, images, self.store, signer)
        )

    def _all_problems(self) -> list[Problem]:
        """By place; rows that stand in the campaign file itself are told with its other errors."""
        rows = self.campaign.recipients
        return by_place([*self.problems, *(rows.find_problems() if isinstance(rows, InlineSource) else ())])

    def _patterns(self) -> Patterns | None:
        c, before = self.campaign, len(self.problems)
        unsubscribe = c.unsubscribe
        made = Patterns(
            subject=self._required(c.subject),
            cc=self._all(c.cc),
            bcc=self._all(c.bcc),
            envelope_from=self._optional(c.envelope_from),
            key=self._optional(c.key),
            unsubscribe_url=self._optional(unsubscribe.url if unsubscribe else None),
            unsubscribe_mailto=self._optional(unsubscribe.mailto if unsubscribe else None),
            headers=tuple((name, self._required(value)) for name, value in c.headers.items()),
            attachments=tuple((self._required(a.path), self._optional(a.filename)) for a in c.attachments),
        )
        return made if len(self.problems) == before else None

    def _required(self, pattern: Pattern) -> Expression:
        return self._pattern(pattern) or Expression(Pattern("", pattern.place), self.pages.patterns)

    def _optional(self, pattern: Pattern | None) -> Expression | None:
        return self._pattern(pattern) if pattern is not None else None

    def _all(self, patterns: tuple[Pattern, ...]) -> tuple[Expression, ...]:
        return tuple(map(self._required, patterns))

    def _pattern(self, pattern: Pattern) -> Expression | None:
        return self._try(lambda: Expression(pattern, self.pages.patterns))

    def _attachments(self, patterns: Patterns) -> None:
        """Those that everybody gets are read and encoded now."""
        for path, _ in patterns.attachments:
            if (name := path.constant) is not None:
                try:
                    self.store.encoded(name, name)
                except FileProblem as problem:
                    self.problems.append(Problem(path.place, f"attachment {problem}"))

    def _signer(self) -> Signer | None:
        if self.campaign.dkim is None:
            return None
        try:
            return Signer(self.campaign.dkim)
        except FileProblem as problem:
            place = self.campaign.dkim.place or Place(str(self.campaign.path))
            self.problems.append(Problem(place, f"dkim: {problem}"))
            return None

    def _try(self, make: Callable[[], T]) -> T | None:
        try:
            return make()
        except Failure as failure:
            self.problems.append(Problem(failure.place, str(failure)))
            return None
