"""`mailer worker`: sends shares of campaigns for `mailer send --workers`."""

from __future__ import annotations

import os
from pathlib import Path

from mailer.cli import console
from mailer.cli.telemetry import LogObserver, Metrics, MetricsObserver, set_up_logging
from mailer.delivery.observer import Observer
from mailer.errors import InputError
from mailer.ledger import Ledger
from mailer.secret import Secret
from mailer.workers.app import run_worker


def run_worker_command(
    *,
    broker: str,
    ledger: str,
    name: str | None,
    processes: int,
    cache: Path | None,
    metrics: Path | None,
    log_format: str,
) -> int:
    """Run a worker until it is told to stop, and return the exit code.

    Raises MailerError if it cannot start.
    """
    if not ledger.startswith(("postgresql://", "postgres://")):
        raise InputError(
            "a worker needs a ledger in PostgreSQL", hint="--ledger postgresql://user@host/database"
        )
    console.set_log_format(log_format)
    set_up_logging(log_format)
    if password := os.environ.get("MAILER_PASSWORD"):
        console.add_secret(Secret(password))
    Ledger.open(ledger, create=True).close()  # a wrong URL is said now, not with the first share
    values = Metrics(metrics) if metrics is not None else None

    def make_observer(campaign: str) -> Observer:
        return LogObserver() if values is None else MetricsObserver(values, campaign, LogObserver())

    return run_worker(
        broker, ledger, name=name, cache=cache, processes=processes, make_observer=make_observer
    )
