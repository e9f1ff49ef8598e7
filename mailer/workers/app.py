"""The Celery application: one short task, "send a share of this campaign".

A task may be delivered twice, late or never: the ledger's claims alone decide who gets mail. Nothing secret
is in a task. RabbitMQ (amqp://) and Redis (redis://) are the brokers that are tested.
"""

from __future__ import annotations

import logging
import time
import warnings
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from mailer.delivery.observer import Observer
from mailer.errors import InputError, MailerError, MissingExtra
from mailer.workers.shares import SHARE_SECONDS, ShareRunner

try:
    import celery
    from celery import signals
except ImportError:  # said by `create_app`
    celery = None

QUEUE = "mailer"
TASK = "mailer.send_share"
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
