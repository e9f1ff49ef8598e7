"""The program that reads, compiles and renders a campaign for the preview:
`python -m mailer.preview.campaign_service DESCRIPTOR`.

DESCRIPTOR is a socket to the parent. Requests and answers are pickled, because both ends are this package.
One request is answered after the other. A request may use CPU_SECONDS of processor time: after that the
kernel ends the process, and the parent starts another.
"""

from __future__ import annotations

import resource
import signal
import sys
from collections.abc import Callable
from contextlib import suppress
from multiprocessing.connection import Connection
from pathlib import Path
from time import monotonic
from typing import Any

from mailer.campaign import Campaign, Recipient, load_campaign
from mailer.campaign.sources.source import FileSource
from mailer.errors import InputError, MailerError, Problem
from mailer.lint import lint_campaign
from mailer.lint.finding import RULES
from mailer.preview.campaign_process import CampaignState, Rendering, SearchedRows, ShownFinding
from mailer.preview.recipient_index import write_index
from mailer.render.compile import compile_campaign
from mailer.render.compiled import CompiledCampaign

CPU_SECONDS = 20  # for one request; a template has half of that, so that its own error comes first
INDEX_CPU_SECONDS = 3600  # for reading a list of millions
MAX_MEMORY = 4 << 30  # octets of address space

_NOT_LOADED = Problem(None, "the campaign is not loaded")


class CampaignService:
    """Holds the campaign as it was last loaded. Each public method is a request."""

    def __init__(self) -> None:
        self._campaign: Campaign | None = None
        self._compiled: CompiledCampaign | None = None
        self._problems: list[Problem] = [_NOT_LOADED]

    def load(self, path: Path, variables: dict[str, str]) -> CampaignState:
        """Read and compile the campaign, and return its state. Its problems are in the state, not raised."""
        self._compiled, self._problems = None, []
        try:
            self._campaign = load_campaign(path, variables=variables)
        except MailerError as error:
            self._problems = _list_problems(error)
            return CampaignState(problems=self._problems)
        campaign = self._campaign
        try:
            self._compiled = compile_campaign(campaign, is_isolated=True)
        except MailerError as error:
            self._problems = _list_problems(error)
        source = campaign.recipients
        file = getattr(source.file, "path", None) if isinstance(source, FileSource) else None
        return CampaignState(
            problems=self._problems,
            name=campaign.name,
            root=campaign.root,
            list_file=file,
            list_fingerprint=_fingerprint_list(campaign),
            server=f"{campaign.server.host}:{campaign.server.port}" if campaign.server else None,
        )

    def write_index(self, path: Path, variables: dict[str, str], database: Path) -> list[Problem]:
        """Read the whole list into `database`, which the parent reads meanwhile.

        Return the problems that ended it; none if the list was read to its end.
        """
        with suppress(ValueError, OSError):
            _limit_cpu(INDEX_CPU_SECONDS)
        try:
            write_index(database, load_campaign(path, variables=variables).recipients)
        except MailerError as error:
            return _list_problems(error)
        return []

    def render(self, recipient: Recipient) -> Rendering:
        """Return the recipient's message, or the problems that keep it from being made."""
        if self._compiled is None:
            return Rendering(problems=self._problems)
        try:
            message = self._compiled.render(recipient)
        except MailerError as error:
            return Rendering(problems=_list_problems(error))
        return Rendering(message.content, message.sender, message.recipients)

    def find_failing(self, recipients: list[Recipient], seconds: float) -> SearchedRows:
        """Render `recipients` in turn for at most `seconds`, up to the first whose message cannot be made."""
        ends = monotonic() + seconds
        for count, recipient in enumerate(recipients):
            if self.render(recipient).problems:
                return SearchedRows(count, True)
            if monotonic() > ends:
                return SearchedRows(count + 1, False)
        return SearchedRows(len(recipients), False)

    def lint(self, recipient: Recipient) -> list[ShownFinding]:
        """Return what `mailer check` says about the recipient's message. Empty if it cannot be made."""
        if self._compiled is None or self._campaign is None:
            return []
        try:
            findings = lint_campaign(self._campaign, self._compiled, [recipient])
        except MailerError:
            return []
        return [ShownFinding(found.place, found.rule, found.text, RULES[found.rule]) for found in findings]


def _fingerprint_list(campaign: Campaign) -> str | None:
    """Return a digest of the list and of how it is read; None for a query or an unreadable list."""
    try:
        return campaign.recipients.fingerprint()
    except MailerError:
        return None


def _list_problems(error: MailerError) -> list[Problem]:
    return list(error.problems) if isinstance(error, InputError) else [Problem(None, str(error))]


def _limit_cpu(seconds: int) -> None:
    used = resource.getrusage(resource.RUSAGE_SELF)
    hard = resource.getrlimit(resource.RLIMIT_CPU)[1]
    resource.setrlimit(resource.RLIMIT_CPU, (int(used.ru_utime + used.ru_stime) + seconds, hard))


def main(descriptor: int) -> None:
    """Answer requests, `(method, arguments)`, until the parent closes the socket."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the parent, which closes the socket
    with suppress(ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_AS, (MAX_MEMORY, resource.getrlimit(resource.RLIMIT_AS)[1]))
    service = CampaignService()
    with suppress(EOFError, ConnectionError), Connection(descriptor) as connection:
        while True:
            name, arguments = connection.recv()
            with suppress(ValueError, OSError):
                _limit_cpu(CPU_SECONDS)
            method: Callable[..., Any] = getattr(service, name)
            try:
                connection.send((True, method(*arguments)))
            except (MemoryError, RecursionError) as error:
                connection.send((False, f"stopped: {type(error).__name__}"))


if __name__ == "__main__":
    main(int(sys.argv[1]))
