"""Preflight: everyone who is to be sent to is rendered before the first connection is opened.

Whose message cannot be made is recorded as failed, and looked at again by the next preflight; whether that
stops the run is for the caller to say. That the others passed is remembered for this list and these
templates: a resume renders nobody twice.
"""

from __future__ import annotations

from mailer.delivery.observer import Observer
from mailer.delivery.plan import SHOWN
from mailer.errors import Problem, RenderError, append_remainder
from mailer.ledger import Edition, Ledger
from mailer.ledger.outcome import Status
from mailer.ledger.planning import (
    UncheckedMessage,
    find_planned_list,
    read_unchecked,
    record_checked,
    set_preflight,
)
from mailer.render.compiled import CompiledCampaign
from mailer.templating import is_time_limit_error

MOST_SLOW = 3  # recipients whose message takes too long; a template that never ends does not for the others either


def preflight(
    ledger: Ledger,
    edition: Edition,
    compiled: CompiledCampaign,
    observer: Observer | None = None,
    *,
    only: str | None = None,
) -> list[Problem]:
    """Renders all, or `only` an address or key; the problems: the first 20, and a last one with how many
    more.

    Empty where everybody's message can be made. To be called by the campaign's holder, after the planning.
    """
    return _Preflight(ledger, edition, compiled, observer or Observer(), only).run()


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
        self._problems: list[Problem] = []
        self._count = self._slow = 0

    def run(self) -> list[Problem]:
        planned = find_planned_list(self._ledger, self._edition)
        mark = f"{planned.digest} {self._compiled.fingerprint}"
        statuses = ["failed"] if planned.preflight == mark else ["failed", "doubtful", "pending"]
        self._check(statuses)
        if self._only is None and planned.preflight != mark and self._slow < MOST_SLOW:
            set_preflight(self._ledger, self._edition, mark)
        problems = append_remainder(self._problems, self._count)
        if self._slow >= MOST_SLOW:
            problems.append(Problem(None, "nobody else was looked at: it would take as long again for each"))
        return problems

    def _check(self, statuses: list[str]) -> None:
        counts = self._ledger.count_by_status(self._edition)
        total = counts[Status.PENDING] if "pending" in statuses else 0
        done = 0
        for status in statuses:
            for page in read_unchecked(self._ledger, self._edition, status, only=self._only):
                failed, passed = self._render(page)
                record_checked(self._ledger, failed, passed if status == "failed" else [])
                done += len(page)
                self._observer.on_preflight(done, max(total, done))
                if self._slow >= MOST_SLOW:
                    return

    def _render(self, page: list[UncheckedMessage]) -> tuple[list[tuple[int, str]], list[int]]:
        """The ids of those that cannot be rendered, with the reason, and the ids of the others."""
        failed: list[tuple[int, str]] = []
        passed: list[int] = []
        for message in page:
            try:
                self._compiled.render(message.recipient)
            except RenderError as error:
                self._found(error)
                failed.append((message.id, str(error)))
                self._slow += is_time_limit_error(error)
                if self._slow >= MOST_SLOW:
                    break
            else:
                passed.append(message.id)
        return failed, passed

    def _found(self, error: RenderError) -> None:
        self._count += 1
        if self._count <= SHOWN:
            self._problems += error.problems
