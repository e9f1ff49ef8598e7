"""Rendering within limits, for recipients whose messages no preflight has rendered.

A message is rendered in this process if its work is known to be little
(`CompiledCampaign.render_if_bounded`), and in a child process with limits if it is not. A message that the
child rendered quickly may be rendered here too: that teaches the compiled templates in this process one more
way, and the next recipients who go that way need no child.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Generator, Iterator, Sequence
from contextlib import closing
from typing import Any, NamedTuple, Self

from mailer.bounded_process import BoundedResult, ProcessLimits, ProcessPool
from mailer.campaign.model import Recipient
from mailer.errors import Problem, RenderError
from mailer.render.compiled import CompiledCampaign
from mailer.render.message import Message

BATCH = 16  # messages that the child gets at once: it renders the next ones while these are sent
QUICK_SECONDS = 0.1  # of the child's processor time, for a message that is rendered here again
FREE_REPEATS = 64  # messages rendered twice, before they have to be paid for by those rendered only here
HITS_PER_REPEAT = 8


class _RenderCall(NamedTuple):
    method: str
    recipient: Recipient
    options: dict[str, Any]


class _TimedResult(NamedTuple):
    value: Any
    seconds: float  # of processor time


class QuickRepeats:
    """Renders here what a child process rendered quickly, which teaches the compiled templates its way.

    Repeats have to be paid for: FREE_REPEATS are free, then one for each HITS_PER_REPEAT messages (`hits`)
    that needed no child.
    """

    def __init__(self, compiled: CompiledCampaign) -> None:
        self._compiled = compiled
        self._repeats = 0
        self.hits = 0

    def repeat(self, recipient: Recipient, seconds: float, *, eight_bit: bool = False) -> None:
        """Render a message again, if the child needed little time and the repeat is paid for.

        :param seconds: the child's processor time.
        :param eight_bit: as of `CompiledCampaign.render`.
        """
        if seconds <= QUICK_SECONDS and self._repeats < FREE_REPEATS + self.hits // HITS_PER_REPEAT:
            self._repeats += 1
            self._compiled.learn(recipient, eight_bit=eight_bit)


class RenderProcess:
    """Renders as the compiled campaign does, but a message that exceeds its limits is an error.

    The child process starts with the first message that needs it, and stays for the next ones. To be used as
    a context manager, or closed. It is not safe to use from several threads.
    """

    def __init__(self, compiled: CompiledCampaign) -> None:
        self._compiled = compiled
        limits = ProcessLimits(compiled.limits.seconds)
        self._pool: ProcessPool[_RenderCall, _TimedResult] = ProcessPool(self._call, limits=limits)
        self._repeats = QuickRepeats(compiled)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """End the process. The next message that needs one starts a new one."""
        self._pool.close()

    def render(self, recipient: Recipient, *, eight_bit: bool = False) -> Message:
        """As `CompiledCampaign.render`. Raises RenderError, also when the message exceeds the limits."""
        (message,) = self.render_each([recipient], eight_bit=eight_bit)
        if isinstance(message, RenderError):
            raise message
        return message

    def render_each(
        self, recipients: Sequence[Recipient], *, eight_bit: bool = False
    ) -> Generator[Message | RenderError, None, None]:
        """Yield each recipient's message in order, or the RenderError in place of it.

        The child renders ahead of what is taken, by some messages or as much as a pipe holds. A generator
        that is not taken to its end must be closed.
        """
        for number, recipient in enumerate(recipients):
            if (result := self._render_here(recipient, eight_bit)) is None:
                yield from self._render_in_both(recipients[number:], eight_bit)
                return
            yield result

    def render_html(self, recipient: Recipient) -> str | None:
        """As `CompiledCampaign.render_html`."""
        html: str | None = self._run("render_html", recipient)
        return html

    def render_text(self, recipient: Recipient) -> str:
        """As `CompiledCampaign.render_text`."""
        text: str = self._run("render_text", recipient)
        return text

    def _render_here(self, recipient: Recipient, eight_bit: bool) -> Message | RenderError | None:
        """None if the work may be much."""
        try:
            message = self._compiled.render_if_bounded(recipient, eight_bit=eight_bit)
        except RenderError as error:
            return error
        self._repeats.hits += message is not None
        return message

    def _render_in_both(
        self, recipients: Sequence[Recipient], eight_bit: bool
    ) -> Iterator[Message | RenderError]:
        """As `render_each`: those that cannot be rendered here are given to the child in batches."""
        results = deque[Message | RenderError | None]()  # in order; None for those that the child renders

        def list_work() -> Iterator[_RenderCall]:
            for recipient in recipients:
                results.append(self._render_here(recipient, eight_bit))
                if results[-1] is None:
                    yield _RenderCall("render", recipient, {"eight_bit": eight_bit})

        with closing(self._pool.map(list_work(), batch=BATCH)) as outcomes:
            for work, outcome in outcomes:
                while (result := results.popleft()) is not None:
                    yield result
                yield self._convert_outcome(work, outcome)
        yield from (result for result in results if result is not None)

    def _convert_outcome(
        self, work: _RenderCall, outcome: BoundedResult[_TimedResult]
    ) -> Message | RenderError:
        if outcome.error is not None or outcome.value is None:
            return make_render_error(work.recipient, outcome.error or TypeError("no message was made"))
        message: Message = outcome.value.value
        self._repeats.repeat(work.recipient, outcome.value.seconds, **work.options)
        return message

    def _run(self, method: str, recipient: Recipient) -> Any:
        try:
            return self._pool.call(_RenderCall(method, recipient, {})).value
        except Exception as error:
            raise make_render_error(recipient, error) from error

    def _call(self, work: _RenderCall) -> _TimedResult:
        started = time.process_time()
        value = getattr(self._compiled, work.method)(work.recipient, **work.options)
        return _TimedResult(value, time.process_time() - started)


def make_render_error(recipient: Recipient, error: Exception) -> RenderError:
    """Return `error` as a RenderError that names the recipient; a process that was ended could not name it."""
    if isinstance(error, RenderError):
        return error
    return RenderError(Problem(recipient.place, f"{error}, for {recipient.email}"))
