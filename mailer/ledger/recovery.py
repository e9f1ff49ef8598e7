"""What former runs left: messages in flight when they died, in doubt, deferred, failed or never begun."""

from __future__ import annotations

from mailer.ledger import rows, sql
from mailer.ledger.ledger import Ledger
from mailer.ledger.records import Edition, Policy, Recovered, format_time
from mailer.ledger.store import Store


def recover_claims(
    ledger: Ledger,
    edition: Edition,
    policy: Policy,
    *,
    now: float,
    held: bool = False,
    only: str | None = None,
    but: str | None = None,
) -> Recovered:
    """Decide on what former runs left. To be called by the campaign's holder, before the planning.

    Messages in flight when their run died: `resend` makes them pending, `hold` leaves them in doubt,
    `sent` takes them as sent. `hold` and `sent` also concern messages that a former run was to send
    again. With `held` (a person decided), messages in doubt since earlier are treated the same. Deferred
    messages get all attempts again. `only` is the address or key of the one recipient whose doubts are
    decided, `but` that of the one whose doubts are not. `now` is in seconds since the epoch.
    """
    others = rows.recipient_filter(but)
    given = {
        "edition": edition.id,
        "at": format_time(now),
        "but": others["only"],
        "but_key": others["key"],
    }
    given |= rows.recipient_filter(only)
    with ledger.transaction() as store:
        # What waits belongs to other senders if there are any.
        is_alone = not store.has_other_senders(edition.campaign)
        doubtful = _recover_in_flight(store, policy, given, set(store.list_live_runs(of_others=True)))
        if policy != "resend" and is_alone:
            doubtful += store.execute(sql.HOLD_DOUBTFUL, given)
        elif policy == "resend" and held:
            doubtful += store.execute(sql.RESEND_HELD, given)
        if policy == "sent":
            doubtful = store.execute(sql.TAKE_HELD_AS_SENT, given)
        deferred = store.execute(sql.REOPEN_DEFERRED, given) if is_alone else 0
    return Recovered(doubtful, deferred)


def recover_in_flight(ledger: Ledger, edition: Edition, policy: Policy, *, now: float) -> int:
    """Decide on the messages in flight in runs that died, as `recover_claims` does.

    Returns their number.
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
    """Make failed messages pending again, unless their address is invalid. Returns their number."""
    given = {"edition": edition.id, **rows.recipient_filter(only)}
    with ledger.transaction() as store:
        return store.execute(sql.RETRY_FAILED, given)


def count_retryable(ledger: Ledger, edition: Edition, *, only: str | None = None) -> int:
    """The number of messages that `reopen_failed` would make pending."""
    count: int = ledger.fetch_value(sql.COUNT_RETRYABLE, edition=edition.id, **rows.recipient_filter(only))
    return count


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
