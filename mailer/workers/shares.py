"""A worker's side: shares of campaigns, one after the other, in one process.

A process keeps its connection to the ledger and its loaded campaigns from one share to the next.
"""

from __future__ import annotations

import asyncio
import logging
import os
import socket
import tempfile
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

from mailer.delivery.observer import Observer
from mailer.delivery.options import Ending, RunResult
from mailer.delivery.run import run_share
from mailer.delivery.signals import StopSignal
from mailer.errors import LedgerError, MailerError
from mailer.ledger import Ledger
from mailer.ledger.sharing import EditionMonitor
from mailer.workers.travel import TravelledCampaign, unpack_campaign

SHARE_SECONDS = 60.0
SHARE_MESSAGES = 10_000
MAX_CAMPAIGNS = 8  # that are kept loaded

_log = logging.getLogger("mailer.worker")


class ShareRunner:
    """Sends shares. `name` is the worker's name in reports, `cache` a folder for the files of campaigns."""

    def __init__(
        self,
        ledger_url: str,
        *,
        name: str | None = None,
        cache: Path | None = None,
        observer: Observer | None = None,
    ) -> None:
        self._url = ledger_url
        self.name = name or f"{socket.gethostname()}:{os.getpid()}"
        self._cache = cache or Path(tempfile.gettempdir()) / f"mailer-worker-{os.geteuid()}"
        self._ledger: Ledger | None = None
        self._campaigns: dict[int, TravelledCampaign] = {}
        self.stop = StopSignal()
        self.observer = observer or Observer()

    def send_share(self, campaign: str, number: int) -> RunResult | None:
        """Send a share of an edition. Returns None if nothing is left of it.

        Raises MailerError; what was claimed is then taken over by another sender.
        """
        try:
            ledger = self._open_ledger()
            edition = ledger.find_edition(campaign, number)
            if edition is None or edition.complete or self.stop.requested:
                return None
            return self._send(ledger, self._load(ledger, campaign, number))
        except LedgerError:
            self.close()
            raise

    def report_failure(self, campaign: str, number: int, error: MailerError) -> None:
        """End the edition with an error of this worker, unless another worker is sending it."""
        if isinstance(error, LedgerError):
            return
        try:
            ledger = self._open_ledger()
            edition = ledger.find_edition(campaign, number)
            if edition is not None and not EditionMonitor(ledger, edition).read().live_runs:
                reason = f"worker {self.name}: {error}"
                EditionMonitor(ledger, edition).end(Ending.UNREACHABLE.value, reason, error.hint)
        except LedgerError:
            self.close()

    def close(self) -> None:
        """Give the connection to the ledger and the loaded campaigns up."""
        ledger, self._ledger = self._ledger, None
        self._campaigns.clear()
        if ledger is not None:
            with suppress(MailerError):
                ledger.close()

    def _open_ledger(self) -> Ledger:
        if self._ledger is None:
            self._ledger = Ledger.open(self._url, create=False)
        return self._ledger

    def _load(self, ledger: Ledger, campaign: str, number: int) -> TravelledCampaign:
        edition = ledger.find_edition(campaign, number)
        assert edition is not None  # noqa: S101 - looked up by the caller
        settings = ledger.fetch_one("SELECT settings FROM editions WHERE id = :edition", edition=edition.id)
        key = hash((edition.id, settings))
        if key not in self._campaigns:
            if len(self._campaigns) >= MAX_CAMPAIGNS:
                self._campaigns.clear()
            self._campaigns[key] = unpack_campaign(ledger, edition, self._cache)
        return self._campaigns[key]

    def _send(self, ledger: Ledger, travelled: TravelledCampaign) -> RunResult:
        edition = travelled.edition
        options = replace(travelled.options, limit=SHARE_MESSAGES, worker=self.name)
        _log.info("share started", extra={"campaign": edition.campaign, "worker": self.name})
        result = asyncio.run(
            run_share(
                travelled.compiled,
                ledger,
                edition,
                options,
                self.observer,
                stop=self.stop,
                seconds=SHARE_SECONDS,
                template=travelled.template,
            )
        )
        extra = {"campaign": edition.campaign, "worker": self.name, "ending": result.ending.value}
        if result.run is not None:
            extra |= {"run": result.run.run, "messages": str(result.run.messages)}
        _log.info("share ended: %s", result.reason or result.ending.value, extra=extra)
        if result.ending is Ending.LEDGER_FAILED:
            raise LedgerError(result.reason or "the ledger can no longer be written", hint=result.hint)
        return result
