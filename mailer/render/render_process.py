"""Rendering in a child process with limits, for a recipient whose message no preflight has rendered."""

from __future__ import annotations

from typing import Any, Self

from mailer.bounded_process import ProcessLimits, ProcessPool
from mailer.campaign.model import Recipient
from mailer.errors import Problem, RenderError
from mailer.render.compiled import CompiledCampaign
from mailer.render.message import Message


class RenderProcess:
    """Renders as the compiled campaign does, but in a process that is ended when a message exceeds its
    limits.

    The process starts with the first message, and stays for the next ones. To be used as a context manager,
    or closed. It is not safe to use from several threads.
    """

    def __init__(self, compiled: CompiledCampaign) -> None:
        self._compiled = compiled
        limits = ProcessLimits(compiled.limits.seconds)
        self._pool: ProcessPool[tuple[str, Recipient, dict[str, Any]], Any] = ProcessPool(
            self._call, limits=limits
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """End the process. The next message starts a new one."""
        self._pool.close()

    def render(self, recipient: Recipient, *, eight_bit: bool = False) -> Message:
        """As `CompiledCampaign.render`. Raises RenderError, also when the message exceeds the limits."""
        message: Message = self._run("render", recipient, eight_bit=eight_bit)
        return message

    def render_html(self, recipient: Recipient) -> str | None:
        """As `CompiledCampaign.render_html`."""
        html: str | None = self._run("render_html", recipient)
        return html

    def render_text(self, recipient: Recipient) -> str:
        """As `CompiledCampaign.render_text`."""
        text: str = self._run("render_text", recipient)
        return text

    def _run(self, method: str, recipient: Recipient, **options: Any) -> Any:
        ((_, outcome),) = self._pool.map([(method, recipient, options)])
        if outcome.error is None or isinstance(outcome.error, RenderError):
            return outcome.get()
        raise make_render_error(recipient, outcome.error)

    def _call(self, work: tuple[str, Recipient, dict[str, Any]]) -> Any:
        method, recipient, options = work
        return getattr(self._compiled, method)(recipient, **options)


def make_render_error(recipient: Recipient, error: Exception) -> RenderError:
    """Return `error` as a RenderError that names the recipient; a process that was ended could not name it."""
    if isinstance(error, RenderError):
        return error
    return RenderError(Problem(recipient.place, f"{error}, for {recipient.email}"))
