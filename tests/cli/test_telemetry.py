import json
import logging
from pathlib import Path

import pytest

from mailer.cli import console
from mailer.cli.telemetry import JsonFormatter, LogObserver, Metrics, MetricsObserver, watch_run
from mailer.delivery.observer import Observer
from mailer.ledger import RunRecord
from mailer.ledger.outcome import Outcome, Status
from mailer.ledger.sharing import EditionState, WorkerProgress


@pytest.fixture(autouse=True)
def _text_again():
    yield
    console.set_log_format("text")


def test_metrics_are_in_prometheus_format(tmp_path):
    path = tmp_path / "mailer.prom"
    observer = MetricsObserver(Metrics(path), 'a "b"', Observer())
    observer.on_start(3, 1)
    for status in (Status.SENT, Status.SENT, Status.FAILED):
        observer.on_outcome(Outcome("a@example.com", "a", status))
    workers = (WorkerProgress("one", 5, 2, True), WorkerProgress("two", 7, 0, False))
    observer.on_progress(EditionState(workers, 12, 12, None, None, None))
    observer.on_finish(None)
    lines = path.read_text().splitlines()
    assert 'mailer_messages_total{campaign="a \\"b\\"",status="sent"} 2' in lines
    assert 'mailer_messages_total{campaign="a \\"b\\"",status="failed"} 1' in lines
    assert 'mailer_worker_in_flight{campaign="a \\"b\\"",worker="one"} 2' in lines
    assert 'mailer_worker_up{campaign="a \\"b\\"",worker="two"} 0' in lines
    assert lines.count("# TYPE mailer_messages_total counter") == 1
    names = [line.split("{")[0].split(" ")[0] for line in lines if not line.startswith("#")]
    assert all(f"# HELP {name} " in path.read_text() for name in names)


def test_metrics_to_standard_output_are_printed_once(capsys):
    observer = MetricsObserver(Metrics(Path("-")), "spring", Observer())
    for _ in range(3):
        observer.on_outcome(Outcome("a@example.com", "a", Status.SENT))
    assert capsys.readouterr().out == ""
    observer.on_finish(None)
    assert 'mailer_messages_total{campaign="spring",status="sent"} 3\n' in capsys.readouterr().out
    assert not Path("-").exists()


def test_a_metrics_file_that_cannot_be_written_is_a_warning_once(tmp_path, capsys):
    (tmp_path / "file").touch()
    metrics = Metrics(tmp_path / "file" / "mailer.prom")
    metrics.write()
    metrics.write()
    assert capsys.readouterr().err.count("the metrics cannot be written") == 1


def test_messages_as_json(capsys):
    console.set_log_format("json", campaign="spring")
    console.print_warning("two\nlines")
    console.print_error("no", hint="yes")
    warning, error, hint = [json.loads(line) for line in capsys.readouterr().err.splitlines()]
    assert (warning["level"], warning["message"], warning["campaign"]) == ("warning", "two\nlines", "spring")
    assert (error["level"], hint["level"], hint["message"]) == ("error", "hint", "yes")
    assert not console.may_draw()


def test_a_log_record_as_json_has_campaign_run_and_worker():
    record = logging.makeLogRecord(
        {"msg": "share %s", "args": ("ended",), "campaign": "c", "run": "r", "worker": "w"}
    )
    made = json.loads(JsonFormatter().format(record))
    assert (made["message"], made["campaign"], made["run"], made["worker"]) == ("share ended", "c", "r", "w")


RUN = RunRecord(1, "01J", "spring", 1, "t", "2026-11-23T09:00:00Z", worker="paris")


def test_after_a_run_has_begun_messages_as_json_have_its_id(capsys):
    observer = watch_run(Observer(), None, "json", "spring")
    observer.on_run(RUN)
    console.print_warning("slow")
    found = json.loads(capsys.readouterr().err)
    assert (found["campaign"], found["run"], found["message"]) == ("spring", "01J", "slow")


def test_what_a_worker_is_told_is_in_its_log_with_campaign_run_and_worker(caplog, monkeypatch):
    monkeypatch.setattr(logging.getLogger("mailer"), "propagate", True)
    observer = LogObserver()
    with caplog.at_level(logging.INFO, logger="mailer.worker"):
        observer.on_run(RUN)
        observer.on_warning("the server allows fewer connections")
        observer.on_waiting(30.0, "too many messages")
    lines = [json.loads(JsonFormatter().format(record)) for record in caplog.records]
    assert [line["message"] for line in lines] == [
        "share started",
        "the server allows fewer connections",
        "waiting for 30 s: too many messages",
    ]
    assert {(line["campaign"], line["run"], line["worker"]) for line in lines} == {("spring", "01J", "paris")}


def test_a_worker_counts_each_campaign_by_its_name(tmp_path):
    metrics = Metrics(tmp_path / "mailer.prom")
    for campaign in ("spring", "autumn"):
        MetricsObserver(metrics, campaign, LogObserver()).on_outcome(
            Outcome("a@example.com", "a", Status.SENT)
        )
    assert 'mailer_messages_total{campaign="autumn",status="sent"} 1\n' in metrics.format()
    assert 'mailer_messages_total{campaign="spring",status="sent"} 1\n' in metrics.format()
