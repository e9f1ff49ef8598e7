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
import threading
import time
import warnings
from collections.abc import Callable, Coroutine
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import urlsplit

from mailer.dataclass import dataclass
from mailer.delivery.kept_sessions import SessionKeeper
from mailer.delivery.observer import Observer
from mailer.delivery.options import Ending, RunResult
from mailer.delivery.run import run_share
from mailer.delivery.signals import StopSignal
from mailer.errors import InputError, LedgerError, MailerError, MissingExtra
from mailer.ledger import Edition, Ledger
from mailer.ledger.files import read_settings
from mailer.ledger.sharing import EditionMonitor
from mailer.render.render_process import RenderProcess
from mailer.workers.travel import TravelledCampaign, unpack_campaign

try:
    import celery
    from celery import signals
except ImportError:  # said by `create_app`
    celery = None

T = TypeVar("T")

QUEUE = "mailer"
TASK = "mailer.send_share"
SHARE_SECONDS = 60.0
SHARE_MESSAGES = 1_000
MAX_CAMPAIGNS = 8  # that are kept loaded
STOP_SECONDS = 10.0  # for QUIT in the sessions that are kept, when the worker ends
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
    broker: str,
    ledger_url: str,
    *,
    name: str | None,
    cache: Path | None,
    processes: int,
    make_observer: Callable[[str], Observer],
) -> int:
    """Run a worker until it is told to stop, and return the exit code.

    `name` is the worker's name in reports, by default host and process. `cache` is a folder for the
    campaigns' files. `processes` send at a time, each with its own sessions. `make_observer` makes what
    watches the shares of a campaign; the processes do not share it.
    """
    # Celery warns root, in capitals. A container's only user is root, and a worker opens what it is given
    # alone.
    warnings.filterwarnings("ignore", message=".*superuser privileges", module="celery")
    app = create_app(broker)
    runner = ShareRunner(ledger_url, name=name, cache=cache, make_observer=make_observer)

    def send_share(campaign: str, edition: int) -> None:
        try:
            if runner.send_share(campaign, edition):
                hand_on(app, campaign, edition)
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


@dataclass(frozen=True, slots=True)
class _LoadedCampaign:
    """What a worker keeps of a campaign from one share to the next."""

    travelled: TravelledCampaign
    process: RenderProcess
    keeper: SessionKeeper


class ShareRunner:
    """Sends shares of campaigns, one after the other.

    `name` is the worker's name in reports, `cache` a folder for the files of campaigns. The connection to the
    ledger, the loaded campaigns and the sessions with their servers stay from one share to the next. They
    live in an event loop in a thread of its own, which also ends what is idle.
    """

    def __init__(
        self,
        ledger_url: str,
        *,
        name: str | None = None,
        cache: Path | None = None,
        make_observer: Callable[[str], Observer] = lambda _campaign: Observer(),
    ) -> None:
        self._url = ledger_url
        self.name = name or f"{socket.gethostname()}:{os.getpid()}"
        self._cache = cache or Path(tempfile.gettempdir()) / f"mailer-worker-{os.geteuid()}"
        self._ledger: Ledger | None = None
        self._campaigns: dict[int, _LoadedCampaign] = {}
        self._loop: asyncio.AbstractEventLoop
        self._thread: threading.Thread | None = None  # that runs the loop
        self.stop = StopSignal()
        self._make_observer = make_observer

    def send_share(self, campaign: str, number: int) -> bool:
        """Send a share of edition `number` of `campaign`. Returns whether another share is to be sent.

        Raises MailerError; what was claimed is then taken over by another sender.
        """
        return self._run(self._send_share(campaign, number))

    def report_failure(self, campaign: str, number: int, error: MailerError) -> None:
        """End edition `number` of `campaign` with the `error` of this worker, unless another worker is
        sending it.
        """
        if not isinstance(error, LedgerError):
            self._run(self._report_failure(campaign, number, error))

    def close(self) -> None:
        """Give up the sessions, the loaded campaigns and the connection to the ledger."""
        if self._thread is not None:
            thread, self._thread = self._thread, None
            with suppress(TimeoutError):
                asyncio.run_coroutine_threadsafe(self._close(), self._loop).result(STOP_SECONDS)
            self._loop.call_soon_threadsafe(self._loop.stop)
            thread.join()
            self._loop.close()

    def _run(self, work: Coroutine[object, object, T]) -> T:
        if self._thread is None:  # made here, since a worker's processes are forks
            self._loop = asyncio.new_event_loop()
            self._thread = threading.Thread(target=self._loop.run_forever, name="shares", daemon=True)
            self._thread.start()
        return asyncio.run_coroutine_threadsafe(work, self._loop).result()

    async def _send_share(self, campaign: str, number: int) -> bool:
        try:
            ledger = self._open_ledger()
            edition = ledger.find_edition(campaign, number)
            if edition is None or edition.complete or self.stop.requested:
                return False
            result = await self._send(ledger, await self._load(ledger, edition))
            is_fruitful = result.run is not None and result.run.messages > 0
            is_share_over = result.ending in (Ending.COMPLETE, Ending.INCOMPLETE) and is_fruitful
            return is_share_over and EditionMonitor(ledger, edition).is_command_alive()
        except LedgerError:
            await self._close()
            raise

    async def _report_failure(self, campaign: str, number: int, error: MailerError) -> None:
        try:
            ledger = self._open_ledger()
            edition = ledger.find_edition(campaign, number)
            if edition is not None and not (monitor := EditionMonitor(ledger, edition)).has_live_runs():
                monitor.end(Ending.UNREACHABLE.value, f"worker {self.name}: {error}", error.hint)
        except LedgerError:
            await self._close()

    async def _close(self) -> None:
        await self._forget_campaigns()
        ledger, self._ledger = self._ledger, None
        if ledger is not None:
            with suppress(MailerError):
                ledger.close()

    async def _forget_campaigns(self) -> None:
        loaded = list(self._campaigns.values())
        self._campaigns.clear()
        for campaign in loaded:
            await campaign.keeper.close()
            campaign.process.close()

    def _open_ledger(self) -> Ledger:
        if self._ledger is None:
            self._ledger = Ledger.open(self._url, create=False)
        return self._ledger

    async def _load(self, ledger: Ledger, edition: Edition) -> _LoadedCampaign:
        key = hash((edition.id, repr(read_settings(ledger, edition))))
        if key not in self._campaigns:
            if len(self._campaigns) >= MAX_CAMPAIGNS:
                await self._forget_campaigns()
            travelled = unpack_campaign(ledger, edition, self._cache)
            process = RenderProcess(travelled.compiled)
            self._campaigns[key] = _LoadedCampaign(travelled, process, SessionKeeper())
        return self._campaigns[key]

    async def _send(self, ledger: Ledger, loaded: _LoadedCampaign) -> RunResult:
        edition = loaded.travelled.edition
        options = replace(loaded.travelled.options, limit=SHARE_MESSAGES, worker=self.name)
        result = await run_share(
            loaded.process,
            ledger,
            edition,
            options,
            self._make_observer(edition.campaign),
            stop=self.stop,
            seconds=SHARE_SECONDS,
            template=loaded.travelled.template,
            keeper=loaded.keeper,
        )
        extra = {"campaign": edition.campaign, "worker": self.name, "ending": result.ending.value}
        if result.run is not None:
            extra |= {"run": result.run.run, "messages": str(result.run.messages)}
        _log.info("share ended: %s", result.reason or result.ending.value, extra=extra)
        if result.ending is Ending.LEDGER_FAILED:
            raise LedgerError(result.reason or "the ledger can no longer be written", hint=result.hint)
        return result


def hand_on(app: Any, campaign: str, edition: int) -> None:
    """Put the task for the next share of `edition` (from 1) of `campaign` into the queue of the broker of
    `app`.

    If the broker is away, the command that distributes the work does it later.
    """
    try:
        app.send_task(TASK, (campaign, edition), retry=False, serializer="json")
    except Exception as error:  # kombu's transports raise what they like
        _log.warning("the next share could not be started: %s", type(error).__name__)


class TaskQueue:
    """The queue of the broker, as the command that distributes the work sees it. Its methods raise nothing.

    A broker that is away for a while is looked for again by each call.
    """

    def __init__(self, broker: str) -> None:
        self._app = create_app(broker)
        self.error: str | None = None  # why the broker could not be reached, last time

    def put(self, campaign: str, edition: int, count: int) -> int:
        """Put `count` tasks into the queue, whatever is in it. Returns how many were put.

        `campaign` and `edition` (from 1) say what the workers are to send.
        """
        return self._put(campaign, edition, count, is_whole=True)

    def top_up(self, campaign: str, edition: int, wanted: int) -> int:
        """Put as many tasks into the queue as it lacks for `wanted`. Returns how many were put.

        Tasks of other campaigns count: a queue that is not empty is worked off, and each task is followed by
        the next one of its campaign.
        """
        return self._put(campaign, edition, wanted, is_whole=False)

    def _put(self, campaign: str, edition: int, count: int, *, is_whole: bool) -> int:
        try:
            with self._app.connection_for_write(connect_timeout=3) as connection:
                connection.ensure_connection(max_retries=1, timeout=3)
                declared = self._app.amqp.queues[QUEUE](connection.default_channel).queue_declare()
                missing = count if is_whole else max(0, count - int(declared.message_count))
                for _ in range(missing):
                    self._app.send_task(
                        TASK, (campaign, edition), connection=connection, retry=False, serializer="json"
                    )
            self.error = None
            return missing
        except Exception as error:  # kombu's transports raise what they like
            self.error = " ".join(str(error).split())[:200] or type(error).__name__
            return 0
