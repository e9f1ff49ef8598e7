"""After a run: how it ended, the summary, the reports, and what the user can do next."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Iterator, Sequence
from contextlib import suppress

from mailer.campaign import Campaign
from mailer.cli import console
from mailer.cli.exit_codes import ExitCode, code_for_signal
from mailer.cli.progress import ProgressDisplay
from mailer.delivery.run import Ending, RunResult, StopSignal
from mailer.errors import MailerError
from mailer.ledger import Ledger
from mailer.report.summary import Counts, Report, make_proof_report, read_report
from mailer.report.write import ReportTarget, write_report
from mailer.text import count_noun

EXIT_CODES = {
    Ending.COMPLETE: ExitCode.DONE,
    Ending.INCOMPLETE: ExitCode.INCOMPLETE,
    Ending.GIVEN_UP: ExitCode.GIVEN_UP,
    Ending.UNREACHABLE: ExitCode.SERVER,
    Ending.LEDGER_FAILED: ExitCode.SERVER,
}


def conclude(
    result: RunResult,
    ledger: Ledger,
    campaign: Campaign,
    reports: Sequence[ReportTarget],
    display: ProgressDisplay,
    *,
    proof: str | None,
    quiet: bool,
    stop: StopSignal,
) -> int:
    """Print how the run ended, write the reports, print hints, and return the exit code.

    `proof` is the address of a proof, `display` the display that
    observed the run, `stop` the signal that interrupted it. With `quiet`, only errors are printed.
    """
    is_interrupted = result.ending is Ending.INTERRUPTED
    code: int = code_for_signal(stop.number) if is_interrupted else EXIT_CODES[result.ending]
    is_proof_done = result.proof is not None  # its line is printed below
    if not is_proof_done and (not quiet or result.ending not in (Ending.COMPLETE, Ending.INCOMPLETE)):
        _print_ending(result)
    try:
        if result.proof is not None and result.run is not None:
            report = make_proof_report(result.run, result.proof)
        elif proof or (is_interrupted and ledger.find_edition(campaign.name) is None):
            return code  # there is nothing to report
        else:
            report = read_report(ledger, campaign.name)
        is_written = _write_reports(report, reports, quiet=quiet)
    except (
        MailerError
    ) as error:  # the ledger cannot be read any more; the exit code still says how the run ended
        console.print_error(str(error), hint=error.hint)
        return code or ExitCode.IO
    if result.proof is not None and not quiet:
        outcome = result.proof
        answer = " ".join(str(part) for part in (outcome.code, outcome.reply or outcome.error) if part)
        console.print_note(
            f"proof to {proof}: {outcome.status.value}{answer and f' ({answer})'}; it is not recorded"
        )
    if quiet or proof:
        return code if is_written else (code or ExitCode.IO)
    # The program that reads the output may have ended; the reports and the exit code do not depend on it.
    with suppress(OSError):
        _print_summary(report, is_output_taken=any(target.path is None for target in reports))
    for hint in suggest_next_steps(result, report.counts, display.unknown, display.unknown_count):
        console.print_hint(hint)
    return code if is_written else (code or ExitCode.IO)


def suggest_next_steps(
    result: RunResult, counts: Counts, unknown: Sequence[str], unknown_count: int
) -> Iterator[str]:
    """Yield hints that fit the run's result.

    `unknown` has the first of the addresses whose mailbox does not exist, `unknown_count` says how many there
    are.
    """
    if result.hint:
        yield result.hint
    ended_early = result.ending not in (Ending.COMPLETE, Ending.INCOMPLETE)
    if ended_early:
        if counts.pending:
            yield f"the same command continues with the {count_noun(counts.pending, 'pending recipient')}"
    elif counts.deferred or counts.pending:
        yield f"the next run continues with {count_noun(counts.deferred + counts.pending, 'recipient')}"
    if counts.in_doubt:
        yield f"{counts.in_doubt:,} in doubt: --in-doubt resend sends them again, --in-doubt sent records them as sent"
    if ended_early:  # what was refused before may have the same cause
        return
    if unknown:
        more = (
            f" (and {unknown_count - len(unknown):,} more, see the report)"
            if unknown_count > len(unknown)
            else ""
        )
        yield f"unknown mailboxes; to stop sending to them: mailer suppress add {shlex.join(unknown)}{more}"
    if counts.failed > unknown_count:
        yield "when the cause is removed, --retry-failed tries the failed recipients again"


def _print_ending(result: RunResult) -> None:
    if result.nothing_to_do:
        console.print_note("nothing to do: " + (result.reason or "the campaign is complete"))
    elif result.reason and result.ending in (Ending.COMPLETE, Ending.INCOMPLETE):
        console.print_note(result.reason)
    elif result.reason:
        console.print_error(result.reason)
    elif result.ending is Ending.INTERRUPTED:
        console.print_error("interrupted; the messages in flight were completed, the others are pending")


def _print_summary(report: Report, *, is_output_taken: bool) -> None:
    """To standard output, or to standard error if a report was written to standard output."""
    from mailer.report.formats import terminal

    stream = sys.stderr if is_output_taken else sys.stdout
    terminal.print_summary(report, stream, rich=stream.isatty())
    stream.flush()


def _write_reports(report: Report, targets: Sequence[ReportTarget], *, quiet: bool) -> bool:
    """Write each report and return whether all of them were written; an error does not stop the others."""
    is_written = True
    for target in targets:
        try:
            write_report(report, target)
            if target.path is not None and not quiet:
                console.print_note(f"report: {target}")
        except MailerError as error:
            console.print_error(str(error))
            is_written = False
    return is_written
