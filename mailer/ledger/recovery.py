"""What former runs left: messages in flight when they died, in doubt, deferred, failed or never begun."""

from __future__ import annotations

from contextlib import suppress

from mailer.dataclass import dataclass
from mailer.ledger import rows, sql
from mailer.ledger.ledger import Ledger
from mailer.ledger.outcome import Status
from mailer.ledger.records import Edition, Policy, Recovered, format_time
from mailer.ledger.store import Store


def recover_claims(
    ledger: Ledger,
    edition: Edition,
    policy: Policy,
    *,
    now: float,
    with_held: bool = False,
    only: str | None = None,
    but: str | None = None,
) -> Recovered:
    """Decide on what former runs left of `edition`. To be called by the campaign's holder, before the
    planning.

    Messages in flight when their run died: `resend` makes them pending, `hold` leaves them in doubt, `sent`
    takes them as sent. `hold` and `sent` also concern messages that a former run was to send again. With
    `with_held` (a person decided), messages in doubt since earlier are treated the same. Deferred messages
    get all attempts again. `only` is the address or key of the one recipient whose doubts are decided, `but`
    that of the one whose doubts are not. `now` is in seconds since the epoch.
    """
    with ledger.transaction() as store:
        doubtful = _settle_doubts(store, edition, policy, now=now, with_held=with_held, only=only, but=but)
        deferred = _reopen_deferred(store, edition)
    return Recovered(doubtful, deferred)


def reopen_deferred(ledger: Ledger, edition: Edition) -> int:
    """Give deferred messages of `edition` all attempts again, unless others send it. Returns their number."""
    with ledger.transaction() as store:
        return _reopen_deferred(store, edition)


def recover_in_flight(ledger: Ledger, edition: Edition, policy: Policy, *, now: float) -> int:
    """Decide by `policy` on messages of `edition` in flight in runs that died, as `recover_claims` does.

    `now` is in seconds since the epoch. Returns their number.
    """
    given: dict[str, object] = {
        "edition": edition.id,
        "at": format_time(now),
        "but": None,
        "but_key": None,
    }
    given |= rows.recipient_filter(None)
    if not ledger.fetch_all(sql.RUNS_IN_FLIGHT, edition=edition.id):
        return 0
    with ledger.transaction() as store:
        return _recover_in_flight(store, policy, given, set(store.list_live_runs()))


def reopen_failed(ledger: Ledger, edition: Edition, *, only: str | None = None) -> int:
    """Make failed messages of `edition` pending again, unless their address is invalid. Returns their number.

    `only` is the address or key of the one recipient that is meant.
    """
    with ledger.transaction() as store:
        return _reopen_failed(store, edition, only)


@dataclass(frozen=True, slots=True)
class Decisions:
    """What a person decides about messages of former runs: of one recipient (`only`, an address or a key), or
    all.

    `doubts` is the fate of the messages in doubt; None leaves it to the campaign. With `retries_failed`,
    failed messages are tried again.
    """

    doubts: Policy | None = None
    retries_failed: bool = False
    only: str | None = None


class _Undone(Exception):
    """Rolls a transaction back."""


def apply_decisions(ledger: Ledger, edition: Edition, decisions: Decisions, *, now: float) -> int:
    """Write `decisions` into the ledger; `now` is in seconds since the epoch.

    Returns the number of messages in doubt that were decided on.
    """
    with ledger.transaction() as store:
        return _write_decisions(store, edition, decisions, now)


def count_as_decided(
    ledger: Ledger, edition: Edition, decisions: Decisions, *, now: float, only: str | None = None
) -> tuple[int, dict[Status, int]]:
    """Return what `apply_decisions` would return for `edition`, and the number of its messages by status
    after it.

    `decisions` and `now` are the same as there.

    `only` is the address or key of the one recipient to be counted. The ledger is not changed: what is
    written to be counted is rolled back.
    """
    decided, counts = 0, dict[Status, int]()
    with suppress(_Undone), ledger.transaction() as store:
        decided = _write_decisions(store, edition, decisions, now)
        counts = ledger.count_by_status(edition, only=only)
        raise _Undone
    return decided, counts


def abandon_rest(ledger: Ledger, edition: Edition) -> int:
    """Give up what the edition has not sent (`--again --abandon`). Returns the number of messages.

    They become failed, or in doubt if a reply never came; no run sends them any more.
    """
    with ledger.transaction() as store:
        return store.execute(sql.ABANDON_REST, {"edition": edition.id})


def _recover_in_flight(store: Store, policy: Policy, given: dict[str, object], live: set[int]) -> int:
    query = sql.RESEND_IN_FLIGHT if policy == "resend" else sql.HOLD_IN_FLIGHT
    found = {run for (run,) in store.fetch_all(sql.RUNS_IN_FLIGHT, given)}
    return sum(store.execute(query, {**given, "run": run}) for run in sorted(found - live))


def _write_decisions(store: Store, edition: Edition, decisions: Decisions, now: float) -> int:
    decided = 0
    if decisions.doubts is not None:
        decided = _settle_doubts(
            store, edition, decisions.doubts, now=now, with_held=True, only=decisions.only
        )
    if decisions.retries_failed:
        _reopen_failed(store, edition, decisions.only)
    return decided


def _settle_doubts(
    store: Store,
    edition: Edition,
    policy: Policy,
    *,
    now: float,
    with_held: bool = False,
    only: str | None = None,
    but: str | None = None,
) -> int:
    """Decide on messages in flight and in doubt, as `recover_claims` says. Returns their number."""
    others = rows.recipient_filter(but)
    given = {
        "edition": edition.id,
        "at": format_time(now),
        "but": others["only"],
        "but_key": others["key"],
    }
    given |= rows.recipient_filter(only)
    count = _recover_in_flight(store, policy, given, set(store.list_live_runs(of_others=True)))
    if policy != "resend" and not store.has_other_senders(edition.campaign):
        count += store.execute(sql.HOLD_DOUBTFUL, given)
    elif policy == "resend" and with_held:
        count += store.execute(sql.RESEND_HELD, given)
    return store.execute(sql.TAKE_HELD_AS_SENT, given) if policy == "sent" else count


def _reopen_deferred(store: Store, edition: Edition) -> int:
    if store.has_other_senders(edition.campaign):  # what waits is theirs
        return 0
    return store.execute(sql.REOPEN_DEFERRED, {"edition": edition.id})


def _reopen_failed(store: Store, edition: Edition, only: str | None) -> int:
    return store.execute(sql.RETRY_FAILED, {"edition": edition.id, **rows.recipient_filter(only)})
