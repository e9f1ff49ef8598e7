"""What `mailer check` says beside errors: things that are allowed, and that a sender would want to know first.

    for finding in lint_campaign(campaign, compiled): print(finding)

Rules look at rendered messages of a few recipients (SAMPLE), since a template may show each another face. A rule that a
campaign names under `ignore:` is silent. Every rule stands in `finding.RULES` with its reason.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import ExitStack, closing
from difflib import get_close_matches
from email import policy
from email.parser import BytesHeaderParser
from functools import partial
from itertools import chain, islice

from mailer.bounded_process import LimitExceeded, ProcessLimits, run_bounded
from mailer.campaign import Campaign, Recipient
from mailer.campaign.sources import read_recipients
from mailer.errors import InputError
from mailer.files import show_path
from mailer.lint import body_rules, envelope_rules
from mailer.lint.document import Document, read
from mailer.lint.finding import RULES, Finding
from mailer.lint.source import Sources
from mailer.render.compiled import CompiledCampaign

__all__ = ["RULES", "Finding", "lint_campaign"]

SAMPLE = 10  # recipients whose messages are looked at


LIMITS = ProcessLimits(seconds=60.0)


def lint_campaign(
    campaign: Campaign, compiled: CompiledCampaign, recipients: Iterable[Recipient] | None = None
) -> list[Finding]:
    """Return the findings, each once, sorted by place. They are made in a process with limits.

    `recipients` are those whose messages are looked at, at most SAMPLE; by default the first of the campaign's list.
    Raises RenderError if a message cannot be rendered, and InputError if the list cannot be read or a limit is
    exceeded.
    """
    with ExitStack() as stack:
        if recipients is None:
            recipients = stack.enter_context(closing(read_recipients(campaign.recipients)))
        sample = list(islice(recipients, SAMPLE))
    try:
        return run_bounded(lambda: list(_find(campaign, compiled, sample)), LIMITS)
    except LimitExceeded as error:
        raise InputError(f"{show_path(campaign.path)}: looking for what mailboxes dislike: {error}") from None


def _find(campaign: Campaign, compiled: CompiledCampaign, recipients: list[Recipient]) -> Iterator[Finding]:
    sources = Sources(campaign)
    documents: list[Document] = []
    found = set(envelope_rules.campaign_rules(campaign, sources))
    for recipient in recipients:
        found.update(_message_rules(campaign, compiled, recipient, sources, documents))
    if documents:
        found.update(body_rules.image_use(campaign, documents, partial(sources.template, campaign.template)))
    ignored = frozenset(campaign.ignore)
    for rule in ignored - RULES.keys():
        found.add(
            Finding(sources.key("ignore"), "unknown-rule", f"'ignore' names {rule!r}, which is no rule{_near(rule)}")
        )
    yield from sorted(finding for finding in found if finding.rule not in ignored)


def _near(rule: str) -> str:
    close = get_close_matches(rule, RULES, n=1)
    return f"; did you mean {close[0]!r}?" if close else ""


def _message_rules(
    campaign: Campaign, compiled: CompiledCampaign, recipient: Recipient, sources: Sources, documents: list[Document]
) -> Iterator[Finding]:
    content = compiled.render(recipient).content
    header = BytesHeaderParser(policy=policy.default).parsebytes(content)
    html, text = compiled.render_html(recipient), compiled.render_text(recipient)
    document = read(html) if html is not None else None
    in_html = partial(sources.template, campaign.template)
    in_text = partial(sources.template, campaign.text or campaign.template)
    leave = str(header.get("List-Unsubscribe", "")).partition("<")[2].partition(">")[0] or None
    yield from chain(
        envelope_rules.subject_rules(campaign, str(header.get("Subject", ""))),
        envelope_rules.header_rules(campaign, sources, content),
        body_rules.text_rules(campaign, text, document, in_text),
    )
    if campaign.unsubscribe is not None:
        where = in_html if document else in_text
        yield from body_rules.unsubscribe_rule(document, text, leave, where)
    if document is not None and html is not None:
        documents.append(document)
        yield from body_rules.html_rules(html, document, in_html)
