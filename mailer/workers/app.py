"""The Celery application: one short task, "send a share of this campaign".

A task may be delivered twice, late or never: the ledger's claims alone decide who gets mail. Nothing secret
is in a task. RabbitMQ (amqp://) and Redis (redis://) are the brokers that are tested.
"""

from __future__ import annotations

import asyncio
import logging
import os
import socket
import tempfile
import time
import warnings
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from mailer.delivery.observer import Observer
from mailer.delivery.options import Ending, RunResult
from mailer.delivery.run import run_share
from mailer.delivery.signals import StopSignal
from mailer.errors import InputError, LedgerError, MailerError, MissingExtra
from mailer.ledger import Ledger
from mailer.ledger.sharing import EditionMonitor
from mailer.workers.travel import TravelledCampaign, unpack_campaign

try:
    import celery
    from celery import signals
except ImportError:  # said by `create_app`
    celery = None

QUEUE = "mailer"
TASK = "mailer.send_share"
SHARE_SECONDS = 60.0
SHARE_MESSAGES = 10_000
MAX_CAMPAIGNS = 8  # that are kept loaded
_log = logging.getLogger("mailer.worker")


def create_app(broker: str) -> Any:
    """The Celery application for the broker at a URL.

    Raises MissingExtra without Celery, InputError if the URL is not a broker's.
    """
    if celery is None:
        raise MissingExtra("sending with workers needs Celery", hint="pip install 'mailer[workers]'")
    try:
        scheme = urlsplit(broker).scheme
    except ValueError:
        scheme = ""
    if scheme not in ("amqp", "amqps", "pyamqp", "redis", "rediss"):
        raise InputError("the broker's URL is not one: expected amqp://… or redis://…")
    app = celery.Celery("mailer", broker=broker, set_as_current=False)
    app.conf.update(
        task_default_queue=QUEUE,
        task_serializer="json",
        accept_content=["json"],
        task_ignore_result=True,
        task_acks_late=True,  # a worker that dies gives its task back; a share that runs twice does no harm
        task_reject_on_worker_lost=True,
        worker_prefetch_multiplier=1,
        worker_send_task_events=False,
        worker_hijack_root_logger=False,
        worker_cancel_long_running_tasks_on_connection_loss=False,  # the share continues without the broker
        broker_connection_retry_on_startup=True,
        broker_connection_max_retries=None,
        broker_heartbeat=0,  # a share is longer than a heartbeat, in the same thread
        broker_transport_options={"visibility_timeout": SHARE_SECONDS * 5, "socket_connect_timeout": 5},
    )
    return app


def run_worker(
    broker: str, ledger_url: str, *, name: str | None, cache: Path | None, processes: int, observer: Observer
) -> int:
    """Run a worker until it is told to stop, and return the exit code.

    `name` is the worker's name in reports, by default host and process. `cache` is a folder for the
    campaigns' files. `processes` send at a time, each with its own sessions. `observer` watches them; the
    processes do not share it.
    """
    # Celery warns root, in capitals. A container's only user is root, and a worker opens what it is given
    # alone.
    warnings.filterwarnings("ignore", message=".*superuser privileges", module="celery")
    app = create_app(broker)
    runner = ShareRunner(ledger_url, name=name, cache=cache, observer=observer)

    def send_share(campaign: str, edition: int) -> None:
        try:
            runner.send_share(campaign, edition)
        except MailerError as error:
            _log.error("share failed: %s", error, extra={"campaign": campaign, "worker": runner.name})
            runner.report_failure(campaign, edition, error)
            time.sleep(1.0)  # the next share would fail as fast

    app.task(name=TASK)(send_share)

    def stop_in_order(**_: Any) -> None:
        runner.stop.request()

    signals.worker_shutting_down.connect(stop_in_order, weak=False)
    worker = app.Worker(
        hostname=f"{runner.name.replace('@', '-')}@mailer",
        pool="solo" if processes == 1 else "prefork",
        concurrency=processes,
        without_gossip=True,
        without_mingle=True,
        without_heartbeat=True,
        queues=[QUEUE],
        loglevel="WARNING",
        quiet=True,
    )
    try:
        worker.start()
    finally:
        runner.close()
    return int(worker.exitcode or 0)


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


class TaskQueue:
    """The queue of the broker, as the command that distributes the work sees it. Its methods raise nothing.

    A broker that is away for a while is looked for again by each call.
    """

    def __init__(self, broker: str) -> None:
        self._app = create_app(broker)
        self.error: str | None = None  # why the broker could not be reached, last time

    def top_up(self, campaign: str, edition: int, wanted: int) -> int:
        """Send as many tasks as the queue lacks for `wanted`. Returns how many were sent."""
        try:
            with self._app.connection_for_write(connect_timeout=3) as connection:
                connection.ensure_connection(max_retries=1, timeout=3)
                declared = self._app.amqp.queues[QUEUE](connection.default_channel).queue_declare()
                missing = max(0, wanted - int(declared.message_count))
                for _ in range(missing):
                    self._app.send_task(
                        TASK, (campaign, edition), connection=connection, retry=False, serializer="json"
                    )
            self.error = None
            return missing
        except Exception as error:  # kombu's transports raise what they like
            self.error = " ".join(str(error).split())[:200] or type(error).__name__
            return 0
