"""What became of a campaign, as a reading of its ledger: for a terminal, a program, a spreadsheet, a browser, a CI job.

Formats are chosen by suffix; each has a file of its own, which is imported only when it is asked for.
"""

from mailer.report.summary import Counts, Report, Server, Throughput, read_report
from mailer.report.write import SUFFIXES, check_report_paths, write_report

__all__ = [
    "SUFFIXES",
    "Counts",
    "Report",
    "Server",
    "Throughput",
    "check_report_paths",
    "read_report",
    "write_report",
]
