"""Metrics for Prometheus (a file for node_exporter's textfile collector) and log lines as JSON."""

from __future__ import annotations

import json
import logging
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any

from mailer.cli import console
from mailer.delivery.observer import Observer
from mailer.files import replace_text_file
from mailer.ledger import RunRecord
from mailer.ledger.outcome import Outcome
from mailer.ledger.sharing import EditionState
from mailer.smtp.connection import SessionDetails

STANDARD_OUTPUT = Path("-")
_log = logging.getLogger("mailer.worker")

WRITE_INTERVAL = 5.0  # seconds between two versions of the metrics file

_HELP = {
    "mailer_messages_total": "Messages with an outcome since this process began, by status.",
    "mailer_sessions_total": "SMTP sessions that were opened since this process began.",
    "mailer_recipients": "Recipients of the campaign.",
    "mailer_worker_messages_total": "Messages with an outcome in this run, by worker.",
    "mailer_worker_in_flight": "Messages in flight at a worker.",
    "mailer_worker_up": "Whether a worker is sending.",
    "mailer_updated_seconds": "When this file was written, in seconds since the epoch.",
}


class Metrics:
    """Values by name and labels, and the file that shows them.

    A file that cannot be written is a warning, once.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._values: Counter[tuple[str, str]] = Counter()
        self._next_write = 0.0
        self._has_failed = False

    def add(self, name: str, value: float = 1, **labels: str) -> None:
        """Add `value` to a counter, and write the file if that is due."""
        self._values[name, _format_labels(labels)] += value  # type: ignore[assignment]  # a Counter holds floats too
        self.write_if_due()

    def set(self, name: str, value: float, **labels: str) -> None:
        """Set a gauge. The file is written with the next `add` or `write`."""
        self._values[name, _format_labels(labels)] = value  # type: ignore[assignment]

    def write_if_due(self) -> None:
        """Write the file if WRITE_INTERVAL is over since the last time."""
        if time.monotonic() >= self._next_write:
            self.write()

    def write(self) -> None:
        """Write the file now. A reader sees the former version or this one, never a part."""
        self._next_write = time.monotonic() + WRITE_INTERVAL
        self.set("mailer_updated_seconds", round(time.time(), 3))
        if self._path == STANDARD_OUTPUT:
            return
        try:
            with replace_text_file(self._path) as file:
                file.write(self.format())
        except OSError as error:
            if not self._has_failed:
                self._has_failed = True
                console.print_warning(
                    f"{self._path}: the metrics cannot be written ({error.strerror or error})"
                )

    def finish(self) -> None:
        """Write the file for the last time in a run; this is the one time for standard output."""
        self.write()
        if self._path == STANDARD_OUTPUT:
            console.print_output(self.format().rstrip())

    def format(self) -> str:
        """The text in Prometheus' exposition format."""
        lines = []
        last = None
        for name, labels in sorted(self._values):
            if name != last:
                last = name
                lines.append(f"# HELP {name} {_HELP[name]}")
                lines.append(f"# TYPE {name} {'counter' if name.endswith('_total') else 'gauge'}")
            lines.append(f"{name}{labels} {self._values[name, labels]}")
        return "\n".join(lines) + "\n"


class PassingObserver(Observer):
    """Passes everything on to another observer."""

    def __init__(self, other: Observer) -> None:
        self._other = other

    def on_planning(self, done: int) -> None:
        self._other.on_planning(done)

    def on_preflight(self, done: int, total: int) -> None:
        self._other.on_preflight(done, total)

    def on_warning(self, text: str) -> None:
        self._other.on_warning(text)

    def on_start(self, total: int, already: int) -> None:
        self._other.on_start(total, already)

    def on_run(self, run: RunRecord) -> None:
        self._other.on_run(run)

    def on_session(self, details: SessionDetails) -> None:
        self._other.on_session(details)

    def on_outcome(self, outcome: Outcome) -> None:
        self._other.on_outcome(outcome)

    def on_waiting(self, seconds: float, why: str) -> None:
        self._other.on_waiting(seconds, why)

    def on_progress(self, state: EditionState) -> None:
        self._other.on_progress(state)

    def on_unknown_user(self, email: str) -> None:
        self._other.on_unknown_user(email)

    def on_finish(self, reason: str | None) -> None:
        self._other.on_finish(reason)


class MetricsObserver(PassingObserver):
    """Counts what happens in a run of `campaign`, and passes it on."""

    def __init__(self, metrics: Metrics, campaign: str, other: Observer) -> None:
        super().__init__(other)
        self._metrics, self._campaign = metrics, campaign

    def on_start(self, total: int, already: int) -> None:
        self._metrics.set("mailer_recipients", total, campaign=self._campaign)
        super().on_start(total, already)

    def on_session(self, details: SessionDetails) -> None:
        self._metrics.add("mailer_sessions_total", campaign=self._campaign)
        super().on_session(details)

    def on_outcome(self, outcome: Outcome) -> None:
        self._metrics.add("mailer_messages_total", campaign=self._campaign, status=outcome.status.value)
        super().on_outcome(outcome)

    def on_progress(self, state: EditionState) -> None:
        for worker in state.workers:
            labels = {"campaign": self._campaign, "worker": worker.name}
            self._metrics.set("mailer_worker_messages_total", worker.messages, **labels)
            self._metrics.set("mailer_worker_in_flight", worker.in_flight, **labels)
            self._metrics.set("mailer_worker_up", int(worker.is_alive), **labels)
        self._metrics.write_if_due()
        super().on_progress(state)

    def on_finish(self, reason: str | None) -> None:
        self._metrics.finish()
        super().on_finish(reason)


class RunNamingObserver(PassingObserver):
    """Adds the run's id to the messages that are JSON lines."""

    def __init__(self, log_format: str, other: Observer) -> None:
        super().__init__(other)
        self._log_format = log_format

    def on_run(self, run: RunRecord) -> None:
        console.set_log_format(self._log_format, campaign=run.campaign, run=run.run)
        super().on_run(run)


class LogObserver(Observer):
    """Writes what a worker's share does to the log, with campaign, run and worker."""

    def __init__(self) -> None:
        self._fields: dict[str, str] = {}

    def on_run(self, run: RunRecord) -> None:
        self._fields = {"campaign": run.campaign, "run": run.run, "worker": run.worker or ""}
        _log.info("share started", extra=self._fields)

    def on_warning(self, text: str) -> None:
        _log.warning("%s", text, extra=self._fields)

    def on_waiting(self, seconds: float, why: str) -> None:
        _log.info("waiting for %.0f s: %s", seconds, why, extra=self._fields)


def watch_run(display: Observer, metrics: Path | None, log_format: str, campaign: str) -> Observer:
    """Return the observer of a run: the display, with metrics and names in the log if they are asked for.

    Sets the format of messages.
    """
    console.set_log_format(log_format, campaign=campaign)
    observer = RunNamingObserver(log_format, display) if log_format == "json" else display
    return observer if metrics is None else MetricsObserver(Metrics(metrics), campaign, observer)


class JsonFormatter(logging.Formatter):
    """A log record as one JSON object on a line."""

    _FIELDS = ("campaign", "run", "worker", "ending", "messages")

    def format(self, record: logging.LogRecord) -> str:
        given: dict[str, Any] = {
            "time": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(record.created)),
            "level": record.levelname.lower(),
            "message": console.blank_foreign_text(record.getMessage()),
        }
        given |= {name: getattr(record, name) for name in self._FIELDS if hasattr(record, name)}
        return json.dumps(given)


def set_up_logging(log_format: str) -> None:
    """Send the log of the package to standard error, as text or as JSON."""
    handler = logging.StreamHandler(sys.stderr)
    if log_format == "json":
        handler.setFormatter(JsonFormatter())
    else:
        handler.setFormatter(logging.Formatter("mailer: %(levelname)s: %(message)s"))
    logger = logging.getLogger("mailer")
    logger.handlers[:] = [handler]
    logger.setLevel(logging.INFO)
    logger.propagate = False


def _format_labels(labels: dict[str, str]) -> str:
    def escape(value: str) -> str:
        return value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")

    return (
        "{" + ",".join(f'{name}="{escape(value)}"' for name, value in sorted(labels.items())) + "}"
        if labels
        else ""
    )
