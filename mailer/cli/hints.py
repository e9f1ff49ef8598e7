"""What to do next, after a run: hints, one line each."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Sequence

from mailer.delivery.run import Ending, RunResult
from mailer.report.summary import Counts
from mailer.report.words import plural


def next_steps(result: RunResult, counts: Counts, unknown: Sequence[str], unknown_count: int) -> Iterator[str]:
    """Hints for a person. `unknown` are the first of the addresses that the server says do not exist."""
    if result.hint:
        yield result.hint
    if result.ending in (Ending.GIVEN_UP, Ending.UNREACHABLE, Ending.LEDGER_FAILED, Ending.INTERRUPTED):
        if counts.pending:
            yield f"the same command goes on with the {counts.pending:,} pending"
    elif counts.deferred or counts.pending:
        yield f"left for the next run: {plural(counts.deferred + counts.pending, 'recipient')}"
    if counts.in_doubt:
        yield f"{counts.in_doubt:,} in doubt: --in-doubt resend sends them again, --in-doubt sent takes them as sent"
    if unknown:
        more = f" (and {unknown_count - len(unknown):,} more, see the report)" if unknown_count > len(unknown) else ""
        yield f"no such mailbox, so never again: mailer suppress add {shlex.join(unknown)}{more}"
    if counts.failed > unknown_count:
        yield "once the cause is gone, --retry-failed tries the failed ones again"
