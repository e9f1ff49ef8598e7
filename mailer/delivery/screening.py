"""Finds the messages that are sure to render, on all cores (`CompiledCampaign.is_sure_to_render`).

The processes are forks: they know the ways through the templates that this process knows by then. They are
replaced when this process has learned ways that they often miss.
"""

from __future__ import annotations

from collections.abc import Generator, Iterator, Sequence
from contextlib import closing
from itertools import chain, islice, repeat
from typing import Self

from mailer.bounded_process import ProcessLimits, ProcessPool, count_cores
from mailer.ledger.planning import UncheckedRow
from mailer.render.compiled import CompiledCampaign

PART = 125  # messages that a process gets at once
PARTS_IN_ROUND = 32  # after which the processes may be replaced
MIN_FOUND = 200  # messages that this process found to be sure: then it knows the templates, and is forked
MAX_MISSED = 200  # messages of a round that this process found to be sure, and no other
MIN_MESSAGES = 2000  # for fewer, starting processes takes longer than they save


class Screening:
    """To be used as a context manager: its end ends the processes."""

    def __init__(self, compiled: CompiledCampaign, count: int) -> None:
        """`count` is the number of messages; for few of them there are no processes."""
        self._compiled = compiled
        self._is_worth_processes = count >= MIN_MESSAGES and count_cores() > 1
        self._pool: ProcessPool[Sequence[UncheckedRow], list[bool]] = ProcessPool(
            self._find_sure, limits=ProcessLimits(compiled.limits.seconds), processes=count_cores()
        )
        self._found_count = 0  # by this process

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._pool.close()

    def screen(
        self, pages: Iterator[Sequence[UncheckedRow]]
    ) -> Generator[tuple[UncheckedRow, bool], None, None]:
        """Yield each row of `pages`, and whether its message is known to render."""
        parts = (page[start : start + PART] for page in pages for start in range(0, len(page), PART))
        for part in parts:
            if not self._is_worth_processes or self._found_count < MIN_FOUND:
                yield from zip(part, repeat(False), strict=False)
                continue
            round_ = chain([part], islice(parts, PARTS_IN_ROUND - 1))
            with closing(self._pool.map(round_, batch=1)) as results:
                for rows, result in results:
                    yield from zip(rows, result.value or repeat(False), strict=False)
            if self._found_count > MIN_FOUND + MAX_MISSED:
                self._pool.close()
            self._found_count = MIN_FOUND

    def note_sure(self) -> None:
        """Count a message that was not known to render, and is by what this process knows now."""
        self._found_count += 1

    def _find_sure(self, rows: Sequence[UncheckedRow]) -> list[bool]:
        """In a process of the pool. If a row cannot be read, nothing is known of these rows."""
        return [self._compiled.is_sure_to_render(row.parse().recipient) for row in rows]
