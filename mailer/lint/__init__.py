"""Warnings of `mailer check`: things that are allowed, and that a sender wants to know before sending.

    for finding in lint_campaign(campaign, compiled): print(finding)

Rules look at the rendered messages of the first SAMPLE recipients, because a template may differ from one to
the next. A rule that a campaign names under `ignore:` gives no finding. `finding.RULES` has all rules, with
their reasons.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, closing
from email import policy
from email.parser import BytesHeaderParser, BytesParser
from functools import partial
from itertools import chain, islice

from mailer.bounded_process import LimitExceeded, ProcessLimits, run_bounded
from mailer.campaign import Campaign, Recipient
from mailer.campaign.sources import read_recipients
from mailer.errors import InputError
from mailer.files import show_path
from mailer.lint import rules
from mailer.lint.document import Document, parse_html
from mailer.lint.finding import RULES, Finding
from mailer.lint.source import Sources
from mailer.render.compiled import CompiledCampaign
from mailer.text import count_noun, find_similar, make_printable, shorten

__all__ = ["RULES", "Finding", "lint_campaign"]

SAMPLE = 10  # recipients whose messages are looked at
LIMITS = ProcessLimits(seconds=60.0)


def lint_campaign(
    campaign: Campaign, compiled: CompiledCampaign, recipients: Iterable[Recipient] | None = None
) -> list[Finding]:
    """Return the findings, each once, sorted by place. They are made in a process with limits.

    `recipients` are those whose messages are looked at, at most SAMPLE; by default the first of the
    campaign's list. Raises RenderError if a message cannot be rendered, and InputError if the list cannot be
    read or a limit is exceeded.
    """
    with ExitStack() as stack:
        if recipients is None:
            recipients = stack.enter_context(closing(read_recipients(campaign.recipients)))
        sample = list(islice(recipients, SAMPLE))
    try:
        return run_bounded(lambda: list(_find_all(campaign, compiled, sample)), LIMITS)
    except LimitExceeded as error:
        raise InputError(
            f"{show_path(campaign.path)}: its messages cannot be checked for warnings: {error}"
        ) from None


def _find_all(
    campaign: Campaign, compiled: CompiledCampaign, recipients: list[Recipient]
) -> Iterator[Finding]:
    sources = Sources(campaign)
    documents: list[Document] = []
    found = set(rules.check_campaign(campaign, sources))
    for recipient in recipients:
        found.update(_check_message(campaign, compiled, recipient, sources, documents))
    if documents:
        found.update(
            rules.check_image_use(campaign, documents, partial(sources.find_in_template, campaign.template))
        )
    found.update(_check_nulls(recipients))
    ignored = frozenset(campaign.ignore)
    for rule in ignored - RULES.keys():
        found.add(
            Finding(
                sources.find_key("ignore"),
                "unknown-rule",
                f"'ignore' names {rule!r}, which is not a rule{_suggest_rule(rule)}",
            )
        )
    yield from sorted(finding for finding in found if finding.rule not in ignored)


def _check_nulls(recipients: list[Recipient]) -> Iterator[Finding]:
    """Columns that are null in the list, with the number of recipients among those that were looked at."""
    counts = Counter(name for recipient in recipients for name in recipient.nulls)
    for name, count in counts.items():
        place = next(recipient.place for recipient in recipients if name in recipient.nulls)
        of = f"{count:,} of the first {count_noun(len(recipients), 'recipient')}"
        yield Finding(place, "null-values", f"the column {shorten(make_printable(name))!r} is null for {of}")


def _suggest_rule(rule: str) -> str:
    similar = find_similar(rule.replace("-", "_"), [name.replace("-", "_") for name in RULES])
    return f"; did you mean {similar.replace('_', '-')!r}?" if similar else ""


def _check_message(
    campaign: Campaign,
    compiled: CompiledCampaign,
    recipient: Recipient,
    sources: Sources,
    documents: list[Document],
) -> Iterator[Finding]:
    content = compiled.render(recipient).content
    has_images = campaign.images and not documents  # of the first message: most have the same images
    message = (BytesParser if has_images else BytesHeaderParser)(policy=policy.default).parsebytes(content)
    if has_images:
        yield from rules.check_image_files(sources, message)
    html, text = compiled.render_html(recipient), compiled.render_text(recipient)
    document = parse_html(html) if html is not None else None
    in_html = partial(sources.find_in_template, campaign.template)
    in_text = partial(sources.find_in_template, campaign.text or campaign.template)
    leave = str(message.get("List-Unsubscribe", "")).partition("<")[2].partition(">")[0] or None
    yield from chain(
        rules.check_subject(campaign, str(message.get("Subject", ""))),
        rules.check_headers(campaign, sources, content),
        rules.check_text(campaign, text, document, in_text),
    )
    if campaign.unsubscribe is not None:
        where = in_html if document else in_text
        yield from rules.check_unsubscribe_link(document, text, leave, where)
    if document is not None and html is not None:
        documents.append(document)
        yield from rules.check_html(html, document, in_html)
