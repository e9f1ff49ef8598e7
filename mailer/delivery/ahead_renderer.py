"""Rendering in a second process while this one sends, if the machine has another core."""

from __future__ import annotations

from collections.abc import Generator, Sequence

from mailer.bounded_process import count_cores
from mailer.campaign.model import Recipient
from mailer.delivery.options import SendOptions
from mailer.errors import RenderError
from mailer.render.compiled import CompiledCampaign
from mailer.render.message import Message
from mailer.render.render_ahead import RenderAhead

MIN_MESSAGES = 2000  # for fewer, the start of a process takes longer than what it saves


class AheadRenderer:
    """Takes messages that are rendered ahead, and renders the others in this process.

    As with DirectRenderer, the recipients' messages were rendered before, within their limits.
    """

    def __init__(self, compiled: CompiledCampaign, ahead: RenderAhead) -> None:
        self._compiled, self._ahead = compiled, ahead

    def render_each(
        self, recipients: Sequence[Recipient], *, eight_bit: bool
    ) -> Generator[Message | RenderError, None, None]:
        """Yield the messages in order; in place of one that cannot be made, a RenderError."""
        self._ahead.start_next(eight_bit=eight_bit)
        for recipient in recipients:
            message: Message | RenderError | None = self._ahead.take(recipient, eight_bit=eight_bit)
            if message is None:
                try:
                    message = self._compiled.render(recipient, eight_bit=eight_bit)
                except RenderError as error:
                    message = error
            yield message


def is_worth_a_process(count: int, options: SendOptions) -> bool:
    """Whether messages should be rendered ahead in a process of its own.

    `count` is the number of messages. With a rate, rendering is not what a run waits for. Otherwise it is if
    the server is quick, and then the processor that sends has enough to do.
    """
    return (
        count_cores() > 1 and count >= MIN_MESSAGES and options.only is None and options.delivery.rate is None
    )
