"""Preflight: every message is checked before the first connection is opened.

The messages are rendered in child processes with limits (`mailer.bounded_process`), one for each core. This
process renders those that took little time again, which teaches its compiled templates the ways through their
branches: a message that is then sure to render (`CompiledCampaign.is_sure_to_render`) is not rendered at all;
which ones are, is found out on all cores (`screening.py`).
A message that cannot be rendered is recorded as failed, and the next preflight tries it again. The caller
decides whether that stops the run. When all messages were tried, the templates are remembered: as long as
they are the same, the next run renders only recipients that are new or changed.

The first message that needs too much time or memory ends preflight: the others would need as much.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import closing
from typing import NamedTuple

from mailer.bounded_process import BoundedResult, ProcessLimits, ProcessPool, count_cores
from mailer.campaign.model import Campaign
from mailer.delivery.observer import Observer
from mailer.delivery.plan import MAX_SHOWN, PlanResult, plan
from mailer.delivery.screening import Screening
from mailer.errors import Place, Problem, append_remainder
from mailer.ledger import Edition, Ledger
from mailer.ledger.planning import (
    MessageGroup,
    UncheckedMessage,
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
BATCH = 50  # messages that a process gets at once
COMPARED = 100  # messages that Jinja2 alone renders too: the compiled templates must give the same

# Messages that a person wants to be sent again: their problems are shown, and nothing of them is recorded.
_REFUSED, _HELD = MessageGroup("failed", "refused"), MessageGroup("in_doubt")


class _Work(NamedTuple):
    """A message to render. `is_compared`: what Jinja2 alone makes of it is compared with what is compiled."""

    message: UncheckedMessage
    is_compared: bool


class _Rendered(NamedTuple):
    """`is_same`: what is compiled gives what Jinja2 alone gives. `seconds` is processor time."""

    is_same: bool
    seconds: float


_Result = tuple[_Work, BoundedResult[_Rendered]]


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
        pool: ProcessPool[_Work, _Rendered] = ProcessPool(
            self._render, limits=ProcessLimits(self._compiled.limits.seconds), processes=count_cores()
        )
        with pool, Screening(self._compiled, self._total) as screening:
            for group in groups:
                with closing(pool.map(self._read(group, screening), batch=BATCH)) as checked:
                    for page in _take_pages(map(self._learn, checked)):
                        self._record(group, page)
                        self._advance(len(page))
                        if self._is_ended:
                            return self._done
        return self._done

    def _advance(self, count: int) -> None:
        self._done += count
        self._observer.on_preflight(self._done, max(self._total, self._done))

    def _read(self, group: MessageGroup, screening: Screening) -> Iterator[_Work]:
        """Yield the messages that have to be rendered."""
        sure: list[int] = []
        pages = read_unchecked(self._ledger, self._edition, group, only=self._only)
        for row, is_sure in screening.screen(pages):
            self._left_to_compare -= 1
            message = None if is_sure else parse_unchecked(self._ledger, row)
            if message is None:
                sure.append(row.id)
            elif self._left_to_compare < 0 and self._compiled.is_sure_to_render(message.recipient):
                sure.append(row.id)
                screening.note_sure()
            else:
                yield _Work(message, self._left_to_compare >= 0)
            if len(sure) >= PAGE:
                self._record_sure(group, sure)
                sure = []
        self._record_sure(group, sure)

    def _record_sure(self, group: MessageGroup, sure: list[int]) -> None:
        """Record messages that are sure to render, by their ids."""
        if not sure:
            return
        if group not in (_REFUSED, _HELD) and group.status == "failed":
            record_checked(self._ledger, [], sure)
        self._repeats.hits += len(sure)
        self._advance(len(sure))

    def _learn(self, result: _Result) -> _Result:
        """Render a message in this process too, if a child rendered it quickly."""
        work, outcome = result
        if outcome.value is not None and self._is_worth_compiling:
            if not outcome.value.is_same:
                self._compiled.use_jinja2_alone()
            self._repeats.repeat(work.message.recipient, outcome.value.seconds)
        return result

    def _render(self, work: _Work) -> _Rendered:
        """Render a message in a child process, and by Jinja2 alone too if it is compared."""
        recipient = work.message.recipient
        started = time.process_time()
        self._compiled.render(recipient)  # first, because it says all that is wrong
        seconds = time.process_time() - started
        is_same = not work.is_compared or self._compiled.compare_with_jinja2(recipient)
        return _Rendered(is_same, seconds)

    def _record(self, group: MessageGroup, page: list[_Result]) -> None:
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


def _take_pages(checked: Iterator[_Result]) -> Iterator[list[_Result]]:
    """Groups of PAGE results; one that exceeded a limit is the last of its group."""
    page: list[_Result] = []
    for item in checked:
        page.append(item)
        if len(page) >= PAGE or item[1].is_limit_exceeded:
            yield page
            page = []
    if page:
        yield page
