"""The workers of a campaign that several machines sent are in each format of the report."""

import io
from dataclasses import replace
from xml.etree import ElementTree

import pytest

from mailer.report.formats import csv, html, json, junit, markdown
from mailer.report.formats.terminal import print_summary
from mailer.report.summary import WorkerSummary
from mailer.report.words import describe_workers

WORKERS = (WorkerSummary("paris-1", 1200, 2, 60.0), WorkerSummary("rome<2>", 800, 1, 40.0))


@pytest.fixture
def report(make_report, sent):
    return replace(make_report([sent()]), workers=WORKERS)


@pytest.mark.parametrize("module", [csv, html, json, junit, markdown])
def test_each_format_names_the_workers(report, module):
    stream = io.StringIO()
    module.write(report, stream)
    assert "paris-1" in stream.getvalue()
    assert "<2>" not in stream.getvalue() or module in (csv, json, markdown)


def test_the_terminal_names_the_workers(report):
    stream = io.StringIO()
    print_summary(report, stream, rich=False)
    assert "workers: paris-1 (1,200), rome<2> (800)" in stream.getvalue()


def test_junit_has_a_property_for_each_worker(report):
    stream = io.StringIO()
    junit.write(report, stream)
    suite = ElementTree.fromstring(stream.getvalue()).find("testsuite")
    assert suite is not None
    found = {item.get("name"): item.get("value") for item in suite.iter("property")}
    assert found == {"worker paris-1": "1200", "worker rome<2>": "800"}


def test_without_workers_nothing_is_said(make_report, sent):
    assert describe_workers(make_report([sent()])) is None


def test_of_many_workers_the_first_are_named(report):
    many = tuple(WorkerSummary(f"w{number}", 1, 1, 1.0) for number in range(25))
    assert describe_workers(replace(report, workers=many)).endswith("w19 (1) and 5 other workers")
