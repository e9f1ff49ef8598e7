"""Preflight: everyone who is to be sent to is rendered before the first connection is opened.

Whose message cannot be made is recorded as failed, and looked at again by the next preflight; whether that stops the
run is for the caller to say. That the others passed is remembered for this list and these templates: a resume renders
nobody twice.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

from mailer.campaign.model import Recipient
from mailer.delivery.observer import Observer
from mailer.delivery.plan import SHOWN
from mailer.errors import Problem, RenderError, with_count
from mailer.ledger import Edition, Ledger, rows, sql
from mailer.ledger.outcome import Status
from mailer.render.compiled import CompiledCampaign
from mailer.templating import ran_out_of_time

PAGE = 500
MOST_SLOW = 3  # recipients whose message takes too long; a template that never ends does not for the others either


class _Row(NamedTuple):
    id: int
    recipient: Recipient
    failed: bool


def preflight(
    ledger: Ledger,
    edition: Edition,
    compiled: CompiledCampaign,
    observer: Observer | None = None,
    *,
    only: str | None = None,
) -> list[Problem]:
    """Renders all, or `only` an address or key; the problems: the first 20, and a last one with how many more.

    Empty where everybody's message can be made. To be called by the campaign's holder, after the planning.
    """
    return _Preflight(ledger, edition, compiled, observer or Observer(), only).run()


class _Preflight:
    def __init__(
        self, ledger: Ledger, edition: Edition, compiled: CompiledCampaign, observer: Observer, only: str | None
    ) -> None:
        self._ledger, self._edition, self._compiled, self._observer = ledger, edition, compiled, observer
        self._only = only
        self._problems: list[Problem] = []
        self._count = self._slow = 0

    def run(self) -> list[Problem]:
        list_, file, passed = self._ledger.fetch_one(sql.EDITION_LIST, edition=self._edition.id) or (None, None, None)
        mark = f"{list_} {self._compiled.fingerprint}"
        statuses = ["failed"] if passed == mark else ["failed", "doubtful", "pending"]
        self._check(statuses, file)
        if self._only is None and passed != mark and self._slow < MOST_SLOW:
            with self._ledger.transaction() as connection:
                connection.execute(sql.SET_PREFLIGHT, {"edition": self._edition.id, "preflight": mark})
        problems = with_count(self._problems, self._count)
        if self._slow >= MOST_SLOW:
            problems.append(Problem(None, "nobody else was looked at: it would take as long again for each"))
        return problems

    def _check(self, statuses: list[str], file: str | None) -> None:
        counts = self._ledger.count_by_status(self._edition)
        total = counts[Status.PENDING] if "pending" in statuses else 0
        done = 0
        for status in statuses:
            for page in self._pages(status, file):
                failed, passed = self._render(page)
                if failed or passed:
                    with self._ledger.transaction() as connection:
                        connection.executemany(sql.FAIL_UNRENDERED, failed)
                        connection.executemany(sql.REOPEN_RENDERED, passed)
                done += len(page)
                self._observer.preflight(done, max(total, done))
                if self._slow >= MOST_SLOW:
                    return

    def _pages(self, status: str, file: str | None) -> Iterator[list[_Row]]:
        """In the list's order. Pages, not a cursor: their rows change."""
        given: dict[str, Any] = {"edition": self._edition.id, "status": status, "limit": PAGE}
        given |= rows.recipient_filter(self._only)
        given |= {"cause": "render" if status == "failed" else None, "position": 0, "id": 0}
        while found := self._ledger.fetch_all(sql.TO_CHECK, **given):
            with rows.reading_rows(self._ledger.store):
                yield [
                    _Row(id_, rows.parse_recipient(email, columns, line, column, file), status == "failed")
                    for id_, _position, email, columns, line, column in found
                ]
            given |= {"id": found[-1][0], "position": found[-1][1]}

    def _render(self, page: list[_Row]) -> tuple[list[dict[str, object]], list[dict[str, object]]]:
        """Those that fail, as parameters of sql.FAIL_UNRENDERED, and those that failed before and do no longer."""
        failed: list[dict[str, object]] = []
        passed: list[dict[str, object]] = []
        for row in page:
            try:
                self._compiled.render(row.recipient)
            except RenderError as error:
                self._found(error)
                failed.append({"id": row.id, "error": rows.escape_surrogates(str(error))})
                self._slow += ran_out_of_time(error)
                if self._slow >= MOST_SLOW:
                    break
            else:
                if row.failed:
                    passed.append({"id": row.id})
        return failed, passed

    def _found(self, error: RenderError) -> None:
        self._count += 1
        if self._count <= SHOWN:
            self._problems += error.problems
