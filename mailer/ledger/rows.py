"""Rows to values and back."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import lru_cache
from json.encoder import encode_basestring_ascii

from mailer.campaign.addresses import normalize_address
from mailer.campaign.stored import StoredRecipient, parse_mapping
from mailer.errors import LedgerError
from mailer.ledger.outcome import CopyRefused, Outcome, Status
from mailer.ledger.records import Claim, Edition, Retry, RunRecord
from mailer.ledger.store import Row, Store

_IN_RUN = {"claimed": None, "waiting": Status.PENDING, "doubtful": Status.PENDING}
encode = json.JSONEncoder(
    separators=(",", ":")
).encode  # ASCII only: a lone surrogate in a column is no obstacle
MAX_TEXT = 1024  # octets of a reply or an error that are kept: a server decides how long its replies are


def recipient_filter(only: str | None) -> dict[str, object]:
    """The parameters of a query for one address or key, or for all if `only` is None.

    A key is compared as it is, an address in its normalized form.
    """
    return {
        "only": only and normalize_address(escape_surrogates(only)),
        "key": only and escape_surrogates(only),
    }


def escape_surrogates(text: str) -> str:
    """`text` as every database can hold it: a lone surrogate becomes its escape, and so does NUL."""
    if "\0" in text:
        text = text.replace("\0", "\\x00")
    return text if text.isascii() else text.encode("utf-8", "backslashreplace").decode("utf-8")


def encode_columns(columns: Mapping[str, object]) -> str:
    """A recipient's columns as JSON.

    Raises ValueError, which names the column, if a value cannot be stored.
    """
    try:
        return _write_object(tuple(columns)) % tuple(map(encode_basestring_ascii, columns.values()))  # type: ignore[arg-type]
    except TypeError:  # a value that is not text
        pass
    try:
        return encode(columns)
    except (TypeError, ValueError, RecursionError):
        for name, value in columns.items():
            try:
                json.loads(encode({name: value}))
            except (TypeError, ValueError, RecursionError):
                kind = type(value).__name__
                raise ValueError(f"the column {name!r} has a value that cannot be stored ({kind})") from None
        raise ValueError("the columns cannot be stored as JSON") from None


@lru_cache(maxsize=64)
def _write_object(names: tuple[str, ...]) -> str:
    """A format that makes JSON of encoded texts. It takes half the time of a JSONEncoder."""
    encoded = [encode_basestring_ascii(name).replace("%", "%%") for name in names]
    return "{" + ",".join([f"{name}:%s" for name in encoded]) + "}"


@contextmanager
def reading_rows(store: Store) -> Iterator[None]:
    """In this block, raise LedgerError if a row of `store` cannot be read: then it was not written by us."""
    try:
        yield
    except (ValueError, TypeError, AttributeError, IndexError) as error:
        raise LedgerError(f"{store.name}: the ledger is damaged (a row cannot be read: {error})") from error


def parse_claims(
    found: list[Row], edition: Edition, run: RunRecord, store: Store, *, first: bool
) -> tuple[list[Claim], list[int]]:
    """Return the claims, and the ids of the suppressed messages, of `found`: rows of sql.DUE, sql.DOUBTFUL or
    sql.FRESH.

    They are claims of `run`, which sends `edition`. `first` says that it has not claimed these messages
    before. Raises LedgerError if a row of `store` is damaged.
    """
    fresh: list[Claim] = []
    suppressed: list[int] = []
    with reading_rows(store):
        for row in found:
            id_, key, attempts, tries, doubts, copies, hit = row[:7]
            if hit is not None:
                suppressed.append(id_)
                continue
            stored, taken = StoredRecipient._make(row[7:12]), _copies(copies)[1]
            if stored.columns[0] != "{" or stored.columns[-1] != "}":  # parsed only by what renders it
                raise ValueError("no object")
            fresh.append(
                Claim(id_, stored, key, attempts, tries, first, doubts > 0, taken, edition.id, run.id)
            )
    return fresh, suppressed


_NO_COPIES: tuple[tuple[CopyRefused, ...], tuple[str, ...]] = ((), ())


def _copies(text: str | None) -> tuple[tuple[CopyRefused, ...], tuple[str, ...]]:
    """Refused and taken."""
    if text is None:
        return _NO_COPIES
    refused, taken = json.loads(text)
    return tuple(CopyRefused(*copy) for copy in refused), tuple(taken)


def _copies_text(claim: Claim, refused: tuple[CopyRefused, ...], taken: tuple[str, ...]) -> str | None:
    if not (refused or taken or claim.copies_taken):
        return None
    taken = tuple(dict.fromkeys((*claim.copies_taken, *taken)))
    return encode([[(copy.email, copy.code, shorten_text(copy.reply)) for copy in refused], taken])


def parse_status(text: str, in_flight: Status, store: Store) -> Status:
    """The report's status for a row's. `in_flight` is that of a message that a run has claimed."""
    if text in _IN_RUN:
        return _IN_RUN[text] or in_flight
    with reading_rows(store):
        return Status(text)


def parse_outcome(row: Row, in_flight: Status, store: Store) -> Outcome:
    """The outcome of a row of sql.OUTCOMES. `in_flight` is the status of a message that a run has claimed."""
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
    """Return the parameters of sql.RECORD_OUTCOME for the `outcome` of `claim`.

    `unrendered` says that no message could be made.
    """
    cause = "render" if unrendered else "refused"
    return {
        "id": claim.id,
        "status": outcome.status.value,
        "cause": cause if outcome.status is Status.FAILED else None,
        "attempts": outcome.attempts,
        "doubts": int(outcome.status is Status.IN_DOUBT),
        "code": outcome.code,
        "enhanced": outcome.enhanced,
        "reply": shorten_text(outcome.reply),
        "message_id": outcome.message_id,
        "size": outcome.size,
        "at": outcome.at,
        "error": shorten_text(outcome.error),
        "copies": _copies_text(claim, outcome.copies_refused, outcome.copies_taken),
    }


def is_plainly_sent(given: Mapping[str, object]) -> bool:
    """Return whether sql.RECORD_SENT records an outcome with these parameters of sql.RECORD_OUTCOME."""
    return given["status"] == "sent" and given["error"] is None and given["copies"] is None


def retry_parameters(claim: Claim, retry: Retry) -> dict[str, object]:
    """Return the parameters of sql.REQUEUE_LATER for the `retry` of `claim`."""
    return {
        "id": claim.id,
        "at": retry.at,
        "attempted": int(retry.attempted),
        "doubts": int(retry.in_doubt),
        "code": retry.code,
        "enhanced": retry.enhanced,
        "reply": shorten_text(retry.reply),
        "error": shorten_text(retry.error),
        "copies": _copies_text(claim, (), retry.copies_taken),
    }


def shorten_text(text: str | None) -> str | None:
    """`text` as it is kept: in at most MAX_TEXT octets of UTF-8, with `…` at the end if something was cut
    off.
    """
    if text is None:
        return None
    text = escape_surrogates(text)
    if len(text) * 4 <= MAX_TEXT or len(octets := text.encode()) <= MAX_TEXT:
        return text
    return octets[: MAX_TEXT - 3].decode("utf-8", "ignore") + "…"


def parse_server(text: str, store: Store) -> dict[str, object]:
    """Return the server that a run recorded as `text`. Raises LedgerError if a row of `store` is damaged."""
    with reading_rows(store):
        return parse_mapping(text)


def parse_run(row: Row, store: Store) -> RunRecord:
    """The record of a row of sql.LAST_RUN."""
    with reading_rows(store):
        server: Mapping[str, object] | None = parse_mapping(row[8]) if row[8] is not None else None
    id_, run_, campaign, edition, template, started, finished, seconds, _, *figures = row
    return RunRecord(id_, run_, campaign, edition, template, started, finished, seconds, server, *figures)


def run_parameters(record: RunRecord) -> dict[str, object]:
    """Return the parameters of sql.FINISH_RUN for `record`."""
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
        "reason": shorten_text(record.reason),
    }
