"""What makes a run's messages: in this process, ahead of it in a second one, or within limits.

A message that preflight has rendered, or found to be sure to render, needs no limits any more.
"""

from __future__ import annotations

from collections.abc import Generator, Sequence
from contextlib import closing
from typing import Protocol

from mailer.bounded_process import count_cores
from mailer.delivery.options import SendOptions
from mailer.delivery.signals import StopSignal
from mailer.errors import RenderError
from mailer.ledger import Claim
from mailer.render.compiled import CompiledCampaign
from mailer.render.message import Message
from mailer.render.render_ahead import RenderAhead
from mailer.render.render_process import RenderProcess

MIN_MESSAGES_AHEAD = 2000  # for fewer, the start of a process takes longer than what it saves


class Renderer(Protocol):
    """What makes the messages, in order.

    If the run is to stop, the generator may raise Interrupted; it has ended then.
    """

    def render_each(
        self, claims: Sequence[Claim], *, eight_bit: bool
    ) -> Generator[Message | RenderError, None, None]:
        """Yield the message of each of `claims`, or a RenderError. `eight_bit` allows 8BITMIME.

        Raises LedgerError if a recipient's row is damaged.
        """
        ...


class DirectRenderer:
    """Renders in this process: messages that were rendered before, or found sure to render."""

    def __init__(self, compiled: CompiledCampaign) -> None:
        """Render messages of `compiled`."""
        self._compiled = compiled

    def render_each(
        self, claims: Sequence[Claim], *, eight_bit: bool
    ) -> Generator[Message | RenderError, None, None]:
        """Yield the messages of `claims` (see Renderer), made when asked for.

        `eight_bit` allows 8BITMIME.
        """
        for claim in claims:
            yield _render(self._compiled, claim, eight_bit=eight_bit)


class BoundedRenderer:
    """Renders within limits, ahead of what is asked for.

    A signal that comes meanwhile raises Interrupted: the loop cannot see it there.
    """

    def __init__(self, process: RenderProcess, stop: StopSignal) -> None:
        """Render in `process`, and stop when `stop` asks for it."""
        self._process, self._stop = process, stop

    def render_each(
        self, claims: Sequence[Claim], *, eight_bit: bool
    ) -> Generator[Message | RenderError, None, None]:
        """Yield the messages of `claims` (see Renderer). `eight_bit` allows 8BITMIME.

        Raises Interrupted at the next message if the run is to stop.
        """
        recipients = [claim.parse_recipient() for claim in claims]
        with closing(self._process.render_each(recipients, eight_bit=eight_bit)) as results:
            while True:
                with self._stop.raise_on_request():
                    result = next(results, None)
                if result is None:
                    return
                yield result


class AheadRenderer:
    """Takes messages that are rendered ahead, and renders the others in this process.

    As with DirectRenderer, the messages were rendered before, or found sure to render.
    """

    def __init__(self, compiled: CompiledCampaign, ahead: RenderAhead) -> None:
        """Take messages from `ahead`, and render the others of `compiled`."""
        self._compiled, self._ahead = compiled, ahead

    def render_each(
        self, claims: Sequence[Claim], *, eight_bit: bool
    ) -> Generator[Message | RenderError, None, None]:
        """Yield the messages of `claims` (see Renderer). `eight_bit` allows 8BITMIME."""
        self._ahead.start_next(eight_bit=eight_bit)
        for claim in claims:
            message = self._ahead.take(claim.stored, eight_bit=eight_bit)
            yield message or _render(self._compiled, claim, eight_bit=eight_bit)


def _render(compiled: CompiledCampaign, claim: Claim, *, eight_bit: bool) -> Message | RenderError:
    """The claim's message, or why it cannot be made."""
    try:
        return compiled.render(claim.parse_recipient(), eight_bit=eight_bit)
    except RenderError as error:
        return error


def is_worth_a_process(count: int, options: SendOptions) -> bool:
    """Whether messages should be rendered ahead in a process of its own.

    `count` is the number of messages. With a rate, rendering is not what a run waits for. Otherwise it is if
    the server is quick, and then the processor that sends has enough to do.
    """
    return (
        count_cores() > 1
        and count >= MIN_MESSAGES_AHEAD
        and options.only is None
        and options.delivery.rate is None
    )
