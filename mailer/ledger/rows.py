"""Rows to values and back. What does not fit means that the file is damaged."""

from __future__ import annotations

import json
import unicodedata
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from mailer.campaign.model import Recipient
from mailer.errors import LedgerError, Place
from mailer.ledger.outcome import CopyRefused, Outcome, Status
from mailer.ledger.records import Claim, Edition, Retry, RunRecord
from mailer.ledger.store import Row, Store

_IN_RUN = {"claimed": None, "waiting": Status.PENDING, "doubtful": Status.PENDING}
encode = json.JSONEncoder(separators=(",", ":")).encode  # ASCII only: a lone surrogate in a column is no obstacle


def normalize_address(address: str) -> str:
    """How addresses are compared: case-folded, NFC, the domain as A-labels. Never an error."""
    folded = address.strip().casefold()
    if folded.isascii():
        return folded
    local, at, domain = escape_surrogates(unicodedata.normalize("NFC", folded)).rpartition("@")
    import idna

    try:
        return f"{local}{at}{idna.encode(domain, uts46=True).decode('ascii')}"
    except idna.IDNAError:
        return f"{local}{at}{domain}"


def recipient_filter(only: str | None) -> dict[str, object]:
    """The parameters of a query for one address or key. A key is as it stands in the report; addresses have no case."""
    return {"only": only and normalize_address(only), "key": only and escape_surrogates(only)}


def escape_surrogates(text: str) -> str:
    """Text that UTF-8 can hold: a lone surrogate (in a foreign reply, or a JSON list) becomes its escape."""
    return text if text.isascii() else text.encode("utf-8", "backslashreplace").decode("utf-8")


@contextmanager
def reading_rows(store: Store) -> Iterator[None]:
    """A value that cannot be read back was not written by us."""
    try:
        yield
    except (ValueError, TypeError, AttributeError) as error:
        raise LedgerError(f"{store.name}: the ledger is damaged (a row cannot be read: {error})") from error


def parse_recipient(email: str, columns: str, line: int, column: int, file: str | None) -> Recipient:
    return Recipient(email, _mapping(columns), Place(file or "", line, column))


def _mapping(text: str) -> dict[str, object]:
    value = json.loads(text)
    if not isinstance(value, dict):
        raise ValueError("no object")
    return value


def parse_claims(
    found: list[Row], edition: Edition, run: RunRecord, store: Store, *, first: bool
) -> tuple[list[Claim], list[int]]:
    """Those to send, and the ids of those suppressed, of the rows of sql.DUE, sql.DOUBTFUL or sql.FRESH."""
    fresh: list[Claim] = []
    suppressed: list[int] = []
    with reading_rows(store):
        for id_, key, email, columns, line, column, attempts, tries, doubts, copies, hit, file in found:
            if hit is None:
                person = parse_recipient(email, columns, line, column, file)
                taken = _copies(copies)[1]
                claim = Claim(id_, person, key, attempts, tries, first, doubts > 0, taken, edition.id, run.id)
                fresh.append(claim)
            else:
                suppressed.append(id_)
    return fresh, suppressed


_NO_COPIES: tuple[tuple[CopyRefused, ...], tuple[str, ...]] = ((), ())


def _copies(text: str | None) -> tuple[tuple[CopyRefused, ...], tuple[str, ...]]:
    """Refused and taken."""
    if text is None:
        return _NO_COPIES
    refused, taken = json.loads(text)
    return tuple(CopyRefused(*copy) for copy in refused), tuple(taken)


def _copies_text(claim: Claim, refused: tuple[CopyRefused, ...], taken: tuple[str, ...]) -> str | None:
    taken = tuple(dict.fromkeys((*claim.copies_taken, *taken)))
    if not refused and not taken:
        return None
    return encode([[(copy.email, copy.code, copy.reply) for copy in refused], taken])


def parse_status(text: str, in_flight: Status, store: Store) -> Status:
    """The report's word for a row's status."""
    if text in _IN_RUN:
        return _IN_RUN[text] or in_flight
    with reading_rows(store):
        return Status(text)


def parse_outcome(row: Row, in_flight: Status, store: Store) -> Outcome:
    email, key, state, attempts, code, enhanced, reply, message_id, size, at, error, copies, _position = row
    with reading_rows(store):
        refused, taken = _copies(copies)
    return Outcome(
        email,
        key,
        parse_status(state, in_flight, store),
        attempts,
        code,
        enhanced,
        reply,
        message_id,
        size,
        at,
        error,
        refused,
        taken if state != "sent" else (),
    )


def outcome_parameters(claim: Claim, outcome: Outcome, *, unrendered: bool) -> dict[str, object]:
    """The parameters of sql.RECORD_OUTCOME."""
    cause = "render" if unrendered else "refused"
    return {
        "id": claim.id,
        "status": outcome.status.value,
        "cause": cause if outcome.status is Status.FAILED else None,
        "attempts": outcome.attempts,
        "doubts": int(outcome.status is Status.IN_DOUBT),
        "code": outcome.code,
        "enhanced": outcome.enhanced,
        "reply": _escape_or_none(outcome.reply),
        "message_id": outcome.message_id,
        "size": outcome.size,
        "at": outcome.at,
        "error": _escape_or_none(outcome.error),
        "copies": _copies_text(claim, outcome.copies_refused, outcome.copies_taken),
    }


def retry_parameters(claim: Claim, retry: Retry) -> dict[str, object]:
    """The parameters of sql.REQUEUE_LATER."""
    return {
        "id": claim.id,
        "at": retry.at,
        "attempted": int(retry.attempted),
        "doubts": int(retry.in_doubt),
        "code": retry.code,
        "enhanced": retry.enhanced,
        "reply": _escape_or_none(retry.reply),
        "error": _escape_or_none(retry.error),
        "copies": _copies_text(claim, (), retry.copies_taken),
    }


def _escape_or_none(text: str | None) -> str | None:
    return None if text is None else escape_surrogates(text)


def parse_run(row: Row, store: Store) -> RunRecord:
    with reading_rows(store):
        server: Mapping[str, object] | None = _mapping(row[8]) if row[8] is not None else None
    id_, run_, campaign, edition, template, started, finished, seconds, _, *figures = row
    return RunRecord(id_, run_, campaign, edition, template, started, finished, seconds, server, *figures)


def run_parameters(record: RunRecord) -> dict[str, object]:
    """The parameters of sql.FINISH_RUN."""
    return {
        "id": record.id,
        "finished": record.finished,
        "seconds": record.seconds,
        "server": None if record.server is None else encode(dict(record.server)),
        "messages": record.messages,
        "bytes": record.bytes,
        "sessions": record.sessions,
        "reconnects": record.reconnects,
        "ending": record.ending,
        "reason": _escape_or_none(record.reason),
    }
