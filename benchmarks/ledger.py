"""The ledger on its own: planning, resuming, the queue's cost a message, reading it for a report.

    python -m benchmarks.ledger [--recipients 1000000] [--batch 64]

Memory is the process's peak after planning; a queue row is claimed, committed, recorded and committed with
the next.
"""

from __future__ import annotations

import argparse
import resource
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar, cast

from mailer.delivery.plan import plan
from mailer.ledger import Claim, Edition, Ledger, RunRecord
from mailer.ledger.outcome import Outcome, Status
from mailer.ledger.recovery import recover_claims
from mailer.render.compiled import CompiledCampaign
from tests.delivery.lists import NOW, Compiled, Many, campaign

T = TypeVar("T")
COMPILED = cast(CompiledCampaign, Compiled())
QUEUED = 20_000  # rows through the queue at the start and at the end


def timed(what: str, run: Callable[[], T], count: int = 0) -> T:
    started = time.perf_counter()
    result = run()
    seconds = time.perf_counter() - started
    print(
        f"{what:<44} {seconds:8.2f} s" + (f" {count / seconds:12,.0f} a second" if count else ""), flush=True
    )
    return result


def through_the_queue(ledger: Ledger, edition: Edition, run: RunRecord, count: int, batch: int) -> None:
    """As a connection does it: outcomes of the last batch and claims of the next in one commit."""
    claims: list[Claim] = []
    for _ in range(count // batch):
        for claim in claims:
            email = claim.email
            reply = f"2.0.0 Ok: queued as {claim.id:X}"
            at = "2026-11-23T09:00:01Z"
            outcome = Outcome(
                email, claim.key, Status.SENT, 1, 250, "2.0.0", reply, f"<{claim.id}@example.com>", 30_000, at
            )
            ledger.record(claim, outcome)
        claims = ledger.claim(edition, batch, NOW, run=run)
        ledger.commit()


def settle_most(ledger: Ledger, edition: Edition, count: int) -> None:
    """99% done, without the hours."""
    with ledger.transaction() as store:
        store.execute(
            "UPDATE messages SET status = 'sent', columns = NULL, attempts = 1, code = 250, reply = '2.0.0 Ok: queued' "
            "WHERE edition_id = :edition AND position <= :last",
            {"edition": edition.id, "last": count * 99 // 100},
        )


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--recipients", type=int, default=1_000_000)
    parser.add_argument("--batch", type=int, default=64)
    asked = parser.parse_args()
    count, people = asked.recipients, campaign(Many(asked.recipients))
    with tempfile.TemporaryDirectory(dir=Path.cwd()) as folder:
        path = Path(folder) / "ledger.sqlite3"
        timed("making the list alone", lambda: sum(1 for _ in people.recipients), count)
        with Ledger.open(path) as ledger, ledger.hold_campaign("autumn"):
            edition = ledger.ensure_edition("autumn")
            timed(
                "planning, the list's making included", lambda: plan(ledger, people, COMPILED, edition), count
            )
            peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
            print(f"{'':<44} {peak:8.0f} MB peak, {path.stat().st_size / 1e6:,.0f} MB ledger")
            run = ledger.start_run(edition, template="t", now=NOW)
            queue = lambda: through_the_queue(ledger, edition, run, QUEUED, asked.batch)  # noqa: E731
            timed(f"claim, commit, record; {asked.batch} a commit", queue, QUEUED)
            timed("(settling 99%)", lambda: settle_most(ledger, edition, count))
        resume(path, people, count, asked.batch)


def first_claim(ledger: Ledger, edition: Edition, run: RunRecord, batch: int) -> None:
    ledger.claim(edition, batch, NOW, run=run)
    ledger.commit()


def resume(path: Path, people: object, count: int, batch: int) -> None:
    with (
        timed("opening, with the check", lambda: Ledger.open(path)) as ledger,
        ledger.hold_campaign("autumn"),
    ):
        edition = timed("finding the edition", lambda: ledger.ensure_edition("autumn"))
        timed("recovering", lambda: recover_claims(ledger, edition, "resend", now=NOW))
        timed("planning an unchanged list", lambda: plan(ledger, people, COMPILED, edition))  # type: ignore[arg-type]
        timed("counting by status", lambda: ledger.count_by_status(edition))
        run = ledger.start_run(edition, template="t", now=NOW)
        timed("the first claim and commit", lambda: first_claim(ledger, edition, run, batch))
        rest = min(QUEUED, count // 200)
        timed(
            "claim, commit, record; 99% done",
            lambda: through_the_queue(ledger, edition, run, rest, batch),
            rest,
        )
        timed("reading all outcomes in order", lambda: sum(1 for _ in ledger.read_outcomes(edition)), count)
        changed = campaign(Many(count + 1))
        timed("planning a list with one more", lambda: plan(ledger, changed, COMPILED, edition), count)


if __name__ == "__main__":
    main()
