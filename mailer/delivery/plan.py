"""Planning: the list becomes rows of the ledger, one a recipient and key.

A list that did not change since the last planning is not read again: a resume starts at once.
"""

from __future__ import annotations

import hashlib
import json
from contextlib import closing
from functools import partial
from itertools import islice

from mailer.bounded_process import is_limit_error
from mailer.campaign.addresses import normalize_address
from mailer.campaign.model import Campaign, Recipient
from mailer.campaign.sources import convert_recipients
from mailer.dataclass import dataclass
from mailer.delivery.observer import Observer
from mailer.errors import InputError, Place, Problem, RenderError, append_remainder
from mailer.ledger import Edition, Ledger, rows
from mailer.ledger.planning import (
    NOTHING_MERGED,
    Merged,
    Stage,
    StagedRow,
    apply_suppressions,
    count_messages,
    find_planned_list,
    read_invalid,
    stage_list,
)
from mailer.render.compiled import CompiledCampaign

MAX_SHOWN = 20  # problems of a list: the first ones, and how many more
BATCH = 1000
FORMAT = "1"  # of what planning makes of a list; another number plans every list again


@dataclass(frozen=True, slots=True)
class PlanResult:
    """What planning found.

    `total` is the number of recipients in the edition. `new` rows were added, `changed` ones got other
    columns or another place, `removed` ones are no longer in the list. `invalid` and `duplicates` are the
    first 20; `invalid_count` and `duplicate_count` count all. `unchanged` says that the list was not read,
    because it is the one that is planned.
    """

    total: int
    new: int = 0
    changed: int = 0
    removed: int = 0
    key_changed: int = 0
    duplicates: tuple[Problem, ...] = ()
    duplicate_count: int = 0
    invalid: tuple[Problem, ...] = ()
    invalid_count: int = 0
    unchanged: bool = False


def plan(
    ledger: Ledger,
    campaign: Campaign,
    compiled: CompiledCampaign,
    edition: Edition,
    *,
    observer: Observer | None = None,
) -> PlanResult:
    """Write the recipients of the campaign's list into the edition, one row for each key.

    `compiled` makes the keys. To be called by the sender that holds the campaign, after claims of former runs
    were recovered. Invalid rows are recorded as failed; whether that stops the run is for the caller to say.
    `observer` is told how many rows were read. Returns what was found. Raises InputError if the list cannot
    be read, and then `ledger` and `edition` are unchanged.
    """
    known = find_planned_list(ledger, edition).digest
    fingerprint = _digest(campaign, campaign.recipients.fingerprint())
    if known is not None and known == fingerprint:
        apply_suppressions(ledger, edition)
        return _result(ledger, edition, unchanged=True)
    with stage_list(ledger, edition) as stage:
        staged = _Staging(
            stage, campaign, compiled, observer or Observer(), needs_digest=fingerprint is None
        ).read()
        duplicates, count = _drop_repeated(stage, staged.file)
        fingerprint = fingerprint or _digest(campaign, staged.digest())
        merged = stage.merge(edition, digest=fingerprint, file=staged.file)
    return _result(ledger, edition, merged, duplicates=duplicates, duplicate_count=count)


def _digest(campaign: Campaign, fingerprint: str | None) -> str | None:
    """Return a digest of all that decides what rows a list gives: its `fingerprint`, keys and `vars`."""
    if fingerprint is None:
        return None
    parts = [FORMAT, fingerprint, campaign.key.source if campaign.key else "", dict(campaign.vars)]
    return hashlib.blake2b(
        json.dumps(parts, default=str, sort_keys=True).encode(), digest_size=16
    ).hexdigest()


# A recipient as the ledger stores it, made in the process that reads the list: the list's name, and what
# StagedRow has. A tuple goes through a pipe in half the time of a named one.
_ReadRow = tuple[str, str, str, str, str, int, int, str | None]


class _Staging:
    """Reads a list into the stage: one `read`, then `digest` and `file`."""

    def __init__(
        self,
        stage: Stage,
        campaign: Campaign,
        compiled: CompiledCampaign,
        observer: Observer,
        *,
        needs_digest: bool,
    ) -> None:
        """`needs_digest` says that `digest` will be asked for: the list has no fingerprint of its own."""
        self._stage, self._campaign, self._observer = stage, campaign, observer
        self._convert = partial(_make_row, compiled)
        self._digest = hashlib.blake2b(digest_size=16)
        self._needs_digest = needs_digest
        self._invalid: list[Problem] = []
        self._invalid_count = 0
        self.file: str | None = None

    def read(self) -> _Staging:
        """Put the whole list into the stage, and return self.

        The list is read, and its keys are made, in a process with limits.
        """
        try:
            with closing(convert_recipients(self._campaign.recipients, self._convert)) as converted:
                numbered = enumerate(map(self._note_problem, converted), 1)
                while batch := [StagedRow(position, *row[1:]) for position, row in islice(numbered, BATCH)]:
                    if self._needs_digest:
                        self._digest.update("".join([row.columns for row in batch]).encode())
                    self._stage.add(batch)
                    self._observer.on_planning(batch[-1].position)
        except InputError as error:
            if type(error) is InputError and self._invalid:
                raise self._with_rows(error) from error
            raise
        return self

    def _with_rows(self, error: InputError) -> InputError:
        """Return an error for a list that ends in `error`, with the problems of the rows before it."""
        before = append_remainder(self._invalid, self._invalid_count, "more before this")
        return InputError([*before, *error.problems], hint=error.hint)

    def _note_problem(self, row: _ReadRow) -> _ReadRow:
        if self.file is None:
            self.file = row[0]
        if row[-1] is not None:
            file, *_, line, column_no, problem = row
            self._invalid_count += 1
            if len(self._invalid) < MAX_SHOWN:
                self._invalid.append(Problem(Place(file, line, column_no), problem or ""))
        return row

    def digest(self) -> str:
        """Return a digest of the rows, for a list that has none of its own."""
        return self._digest.hexdigest()


def _make_row(compiled: CompiledCampaign, recipient: Recipient) -> _ReadRow:
    """Return the row of a recipient.

    Raises InputError for a value that the ledger cannot store, or a key that takes too much time or memory.
    """
    place = recipient.place
    key, problem = _make_key(compiled, recipient)
    try:
        columns = rows.encode_columns(recipient.columns)
    except ValueError as error:
        raise InputError(Problem(place, str(error))) from None
    email = rows.escape_surrogates(recipient.email)
    address = normalize_address(email)
    return place.file, key, email, address, columns, place.line, place.column, problem


def _make_key(compiled: CompiledCampaign, recipient: Recipient) -> tuple[str, str | None]:
    """Return the key and the problem of a recipient, or None.

    An invalid row has a key too, so that the report shows it as one that failed.
    """
    if recipient.problem is None:
        try:
            return rows.escape_surrogates(compiled.make_key(recipient)), None
        except RenderError as error:
            if is_limit_error(error):  # the other recipients would take as long
                raise
            problem = "; ".join(_at_key(problem, recipient) for problem in error.problems)
    else:
        problem = recipient.problem.text
    return rows.escape_surrogates(_invalid_key(recipient)), rows.escape_surrogates(problem)


def _at_key(problem: Problem, recipient: Recipient) -> str:
    """Return the text of a problem with a key, with the place of the pattern if it is not the row's."""
    if problem.place is None or problem.place == recipient.place:
        return problem.text
    return f"key at {problem.place}: {problem.text}"


def _invalid_key(recipient: Recipient) -> str:
    """Return a key for a row without one: its place, because two wrong rows are two problems.

    The column is in it if a line has several rows (JSON, YAML).
    """
    place = recipient.place
    where = f"line {place.line}:{place.column}" if place.column else f"line {place.line}"
    return f"{recipient.email.casefold()} ({where})".lstrip()


def _drop_repeated(stage: Stage, file: str | None) -> tuple[tuple[Problem, ...], int]:
    """Remove rows with a key that an earlier row has; return the first problems and the number of all."""
    repeated, count = stage.drop_repeated(limit=MAX_SHOWN)
    problems = (
        Problem(
            Place(file or "", row.line, row.column),
            f"{row.key} is there already, at {Place(file or '', row.first_line, row.first_column)}; "
            "the first one counts",
        )
        for row in repeated
    )
    return tuple(problems), count


def _result(
    ledger: Ledger,
    edition: Edition,
    merged: Merged = NOTHING_MERGED,
    *,
    duplicates: tuple[Problem, ...] = (),
    duplicate_count: int = 0,
    unchanged: bool = False,
) -> PlanResult:
    file = find_planned_list(ledger, edition).file or ""
    invalid, invalid_count = read_invalid(ledger, edition, limit=MAX_SHOWN)
    return PlanResult(
        total=count_messages(ledger, edition),
        new=merged.new,
        changed=merged.changed,
        removed=merged.removed,
        key_changed=merged.key_changed,
        duplicates=duplicates,
        duplicate_count=duplicate_count,
        invalid=tuple(Problem(Place(file, row.line, row.column), row.error) for row in invalid),
        invalid_count=invalid_count,
        unchanged=unchanged,
    )
