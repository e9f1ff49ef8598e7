"""Preflight's processes: they render messages within limits, and find those that need not be rendered.

A process learns the ways through the compiled templates from the messages that it renders. By then it can
tell of most others that they are sure to render (`CompiledCampaign.is_sure_to_render`), and the rest are
rendered, too.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Generator, Iterable, Iterator, Sequence
from contextlib import closing
from typing import NamedTuple, Self

from mailer.bounded_process import BoundedResult, ProcessLimits, ProcessPool, count_cores
from mailer.campaign.model import Recipient
from mailer.campaign.stored import parse_mapping
from mailer.errors import Place
from mailer.ledger.planning import UncheckedMessage, UncheckedRow
from mailer.render.compiled import CompiledCampaign

BATCH = 25  # messages to render that a process gets at once
MIN_BATCH = 16  # fewer are not worth the start of a process
_NOWHERE = Place("")  # of a recipient about whom nothing is to be said


class RenderWork(NamedTuple):
    """A message to render. `is_compared`: what Jinja2 alone makes of it is compared with what is compiled."""

    message: UncheckedMessage
    is_compared: bool


class Rendered(NamedTuple):
    """`is_same`: what is compiled gives what Jinja2 alone gives. `seconds` is processor time."""

    is_same: bool
    seconds: float


RenderResult = tuple[RenderWork, BoundedResult[Rendered]]
_Part = list[tuple[str, str]]  # an address and the columns as JSON, for each message


class CheckingPool:
    """To be used as a context manager: its end ends the processes."""

    def __init__(self, compiled: CompiledCampaign) -> None:
        """The processes are forks, each made when there is work for it.

        They know what `compiled` knows then.
        """
        self._compiled = compiled
        self._processes = count_cores()
        limits = ProcessLimits(compiled.limits.seconds)
        self._pool: ProcessPool[RenderWork | _Part, Rendered | list[int]] = ProcessPool(
            self._work, limits=limits, processes=self._processes
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """End the processes. The pool can be used again."""
        self._pool.close()

    def render(self, works: Sequence[RenderWork]) -> Generator[RenderResult, None, None]:
        """Yield each work with its result, in order.

        After one that exceeded a limit, there is a new process.
        """
        batch = min(BATCH, max(MIN_BATCH, -(-len(works) // self._processes)))
        with closing(self._pool.map(works, batch=batch)) as results:
            yield from results  # type: ignore[misc]  # `_work` gives each kind of work its kind of result

    def find_unsure(
        self, parts: Iterable[Sequence[UncheckedRow]]
    ) -> Generator[tuple[Sequence[UncheckedRow], list[UncheckedRow]], None, None]:
        """Yield each part, in order, and those of its messages that are not known to render.

        None is known of a part that a process cannot read, or cannot end.
        """
        waiting = deque[Sequence[UncheckedRow]]()  # rows are larger than what a process needs of them

        def list_parts() -> Iterator[_Part]:
            for rows in parts:
                waiting.append(rows)
                yield [(row.email, row.columns) for row in rows]

        with closing(self._pool.map(list_parts(), batch=1)) as results:
            for _, result in results:
                rows = waiting.popleft()
                numbers = result.value
                yield rows, [rows[n] for n in numbers] if isinstance(numbers, list) else list(rows)

    def _work(self, work: RenderWork | _Part) -> Rendered | list[int]:
        """In a process of the pool."""
        return self._render(work) if isinstance(work, RenderWork) else self._list_unsure(work)

    def _render(self, work: RenderWork) -> Rendered:
        recipient = work.message.recipient
        started = time.process_time()
        self._compiled.render(recipient)  # first, because it says all that is wrong
        seconds = time.process_time() - started
        is_same = not work.is_compared or self._compiled.compare_with_jinja2(recipient)
        return Rendered(is_same, seconds)

    def _list_unsure(self, part: _Part) -> list[int]:
        """The numbers of messages that are not known to render."""
        is_sure = self._compiled.is_sure_to_render
        return [
            number
            for number, (email, columns) in enumerate(part)
            if not is_sure(Recipient(email, parse_mapping(columns), _NOWHERE))
        ]
