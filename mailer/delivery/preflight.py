"""Preflight: every message is checked before the first connection is opened.

The messages are rendered in child processes with limits (`checking_pool.py`), one for each core; but a message
that is sure to render, by what the process has learned from those before, is not rendered at all. This process
renders some of those that took little time again, to know the ways through the compiled templates when it sends.
A message that cannot be rendered is recorded as failed, and the next preflight tries it again. The caller
decides whether that stops the run. When all messages were tried, the templates are remembered: as long as
they are the same, the next run renders only recipients that are new or changed.

The first message that needs too much time or memory ends preflight: the others would need as much.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import closing
from itertools import chain, islice
from typing import NamedTuple

from mailer.campaign.model import Campaign, Recipient
from mailer.delivery.checking_pool import CheckingPool, RenderResult, RenderWork
from mailer.delivery.observer import Observer
from mailer.delivery.plan import MAX_SHOWN, PlanResult, plan
from mailer.errors import Place, Problem, append_remainder
from mailer.ledger import Edition, Ledger
from mailer.ledger.planning import (
    MessageGroup,
    UncheckedRow,
    count_unchecked,
    find_planned_list,
    parse_unchecked,
    read_unchecked,
    record_checked,
    set_preflight,
)
from mailer.render.compiled import CompiledCampaign
from mailer.render.render_process import QuickRepeats, make_render_error
from mailer.render.template_page import COMPILED_AFTER
from mailer.text import count_noun

PAGE = 500  # messages whose results are recorded at once
PART = 125  # messages that a process looks at
COMPARED = 100  # messages that Jinja2 alone renders too: the compiled templates must give the same

# Messages that a person wants to be sent again: their problems are shown, and nothing of them is recorded.
_REFUSED, _HELD = MessageGroup("failed", "refused"), MessageGroup("in_doubt")


class PreflightResult(NamedTuple):
    """What preflight found.

    `problems` are the first 20, each with the number of the recipients that share it, then one with the
    number of the others. `failed_count` is the number of messages that cannot be rendered. `is_complete` says
    that each message was tried, and none exceeded its limits.
    """

    problems: list[Problem]
    failed_count: int
    is_complete: bool


def preflight(
    ledger: Ledger,
    edition: Edition,
    compiled: CompiledCampaign,
    observer: Observer | None = None,
    *,
    only: str | None = None,
    with_failed: bool = False,
    with_held: bool = False,
) -> PreflightResult:
    """Check all messages of `edition` that are to be sent, or those of `only`, an address or a key.

    To be called by the sender that holds the campaign, after planning. Messages that cannot be rendered are
    recorded in `ledger` as failed. With `with_failed`, messages that the server refused are rendered too, and
    with `with_held` those that are in doubt. They are to be sent again, and nothing is recorded of them.
    `observer` is told how many were rendered. Returns what was found.
    """
    again = [group for group, is_wanted in ((_REFUSED, with_failed), (_HELD, with_held)) if is_wanted]
    return _Preflight(ledger, edition, compiled, observer or Observer(), only).run(again)


def check_messages(
    campaign: Campaign, compiled: CompiledCampaign, observer: Observer
) -> tuple[PlanResult, list[Problem]]:
    """Read the list of `campaign` and render every message, with a temporary ledger.

    `observer` is told about the progress. Returns what was planned, and the problems of the list and of the
    messages. Raises InputError if the list cannot be read.
    """
    with Ledger.open_temporary() as ledger:
        edition = ledger.ensure_edition(campaign.name)
        planned = plan(ledger, campaign, compiled, edition, observer=observer)
        problems = list(planned.invalid)
        if more := planned.invalid_count - len(planned.invalid):
            problems.append(Problem(None, f"and {count_noun(more, 'more recipient')} with an error"))
        return planned, problems + preflight(ledger, edition, compiled, observer).problems


class _Preflight:
    def __init__(
        self,
        ledger: Ledger,
        edition: Edition,
        compiled: CompiledCampaign,
        observer: Observer,
        only: str | None,
    ) -> None:
        self._ledger, self._edition, self._compiled, self._observer = ledger, edition, compiled, observer
        self._only = only
        # Each problem once, with the number of the recipients that have it; and the number of unlisted ones.
        self._problems: dict[tuple[Place | None, str], tuple[Problem, int]] = {}
        self._unlisted_count = 0
        self._failed_count = 0
        self._is_ended = False  # by a message that needed too much
        self._is_worth_compiling = True  # so many messages that their templates are compiled
        self._left_to_compare = COMPARED
        self._repeats = QuickRepeats(compiled)
        self._to_learn: deque[tuple[Recipient, float]] = deque(maxlen=COMPARED)  # and their seconds
        self._done = self._total = 0

    def run(self, again: Sequence[MessageGroup]) -> PreflightResult:
        """Check the messages that are to be sent, and those of `again`, which are to be reopened."""
        mark = self._compiled.fingerprint
        is_known = find_planned_list(self._ledger, self._edition).preflight == mark
        groups = [
            MessageGroup("failed", "render"),
            *(MessageGroup(status, only_new=is_known) for status in ("doubtful", "pending")),
            *again,
        ]
        count = self._check_all(groups)
        if self._only is None and not self._is_ended and (count or not is_known):
            set_preflight(self._ledger, self._edition, mark)
        listed = [_describe_shared(problem, count) for problem, count in self._problems.values()]
        problems = append_remainder(listed, len(listed) + self._unlisted_count)
        if self._is_ended:
            problems.append(Problem(None, "the other recipients were not checked: each could take as long"))
        return PreflightResult(problems, self._failed_count, not self._is_ended)

    def _check_all(self, groups: Sequence[MessageGroup]) -> int:
        """Check the messages of `groups`. Returns how many."""
        self._total = sum(
            count_unchecked(self._ledger, self._edition, group, only=self._only) for group in groups
        )
        self._is_worth_compiling = self._total > COMPILED_AFTER
        self._left_to_compare = COMPARED if self._is_worth_compiling else 0
        with CheckingPool(self._compiled) as pool:
            for group in groups:
                self._check_group(group, pool)
                if self._is_ended:
                    break
        return self._done

    def _check_group(self, group: MessageGroup, pool: CheckingPool) -> None:
        pages = read_unchecked(self._ledger, self._edition, group, only=self._only)
        rows = chain.from_iterable(pages)
        first = list(islice(rows, self._left_to_compare))
        self._left_to_compare -= len(first)
        self._render(group, pool, first, is_compared=True)
        while not self._is_ended and (unsure := self._find_unsure(group, pool, rows)):
            self._render(group, pool, unsure, is_compared=False)

    def _advance(self, count: int) -> None:
        self._done += count
        self._observer.on_preflight(self._done, max(self._total, self._done))

    def _find_unsure(
        self, group: MessageGroup, pool: CheckingPool, rows: Iterator[UncheckedRow]
    ) -> list[UncheckedRow]:
        """Return the next messages that have to be rendered, some PAGE of them. The others are recorded."""
        if not self._is_worth_compiling:
            return list(islice(rows, PAGE))
        unsure: list[UncheckedRow] = []

        def list_parts() -> Iterator[list[UncheckedRow]]:
            while len(unsure) < PAGE and (part := list(islice(rows, PART))):
                yield part

        with closing(pool.find_unsure(list_parts())) as results:
            for part, found in results:
                unsure += found
                self._record_sure(group, part, found)
                self._learn_one()  # while the processes work
        return unsure

    def _record_sure(
        self, group: MessageGroup, part: Sequence[UncheckedRow], unsure: Sequence[UncheckedRow]
    ) -> None:
        """Record the messages of a part that are sure to render."""
        if not (count := len(part) - len(unsure)):
            return
        if group not in (_REFUSED, _HELD) and group.status == "failed":
            others = {row.id for row in unsure}
            record_checked(self._ledger, [], [row.id for row in part if row.id not in others])
        self._repeats.hits += count
        self._advance(count)

    def _render(
        self, group: MessageGroup, pool: CheckingPool, rows: Sequence[UncheckedRow], *, is_compared: bool
    ) -> None:
        """Render messages, and record which ones cannot be made."""
        works = [RenderWork(parse_unchecked(self._ledger, row), is_compared) for row in rows]
        is_same = True
        with closing(pool.render(works)) as rendered:
            for page in _take_pages(rendered):
                values = [(work, result.value) for work, result in page if result.value is not None]
                is_same = is_same and all(value.is_same for _, value in values)
                self._to_learn += [(work.message.recipient, value.seconds) for work, value in values]
                self._record(group, page)
                self._advance(len(page))
                if self._is_ended:
                    return
        if not is_same:
            self._compiled.use_jinja2_alone()
            pool.close()  # for processes that do so too

    def _learn_one(self) -> None:
        """Render a message in this process too, if a child rendered it quickly."""
        if self._to_learn:
            self._repeats.repeat(*self._to_learn.popleft())

    def _record(self, group: MessageGroup, page: list[RenderResult]) -> None:
        failed: list[tuple[int, str]] = []
        passed: list[int] = []
        for (message, _), outcome in page:
            if outcome.error is None:
                passed.append(message.id)
                continue
            error = make_render_error(message.recipient, outcome.error)
            failed.append((message.id, error.summary))
            self._failed_count += 1
            for problem in error.problems:
                self._add_problem(problem, message.recipient.email)
            self._is_ended = self._is_ended or outcome.is_limit_exceeded
        if group not in (_REFUSED, _HELD):
            record_checked(self._ledger, failed, passed if group.status == "failed" else [])

    def _add_problem(self, problem: Problem, email: str) -> None:
        shared = (problem.place, problem.text.partition(f", for {email}")[0])
        if shared in self._problems:
            first, count = self._problems[shared]
            self._problems[shared] = (first, count + 1)
        elif len(self._problems) < MAX_SHOWN:
            self._problems[shared] = (problem, 1)
        else:
            self._unlisted_count += 1


def _describe_shared(problem: Problem, count: int) -> Problem:
    """Return the problem of the first of `count` recipients that have it, with the number of the others."""
    if count == 1:
        return problem
    return Problem(problem.place, f"{problem.text} and {count_noun(count - 1, 'more recipient')}")


def _take_pages(checked: Iterator[RenderResult]) -> Iterator[list[RenderResult]]:
    """Groups of PAGE results; one that exceeded a limit is the last of its group."""
    page: list[RenderResult] = []
    for item in checked:
        page.append(item)
        if len(page) >= PAGE or item[1].is_limit_exceeded:
            yield page
            page = []
    if page:
        yield page
