import pytest

from mailer.errors import LedgerError, LedgerWriteError
from mailer.ledger import Ledger, Release, Retry, rows
from mailer.ledger import queue as queue_module
from mailer.ledger.outcome import CopyRefused, Outcome, Status
from mailer.ledger.recovery import recover_claims
from tests.delivery.lists import NOW
from tests.ledger.conftest import Started, make_schema


def outcome(claim, status=Status.SENT, **rest):
    return Outcome(claim.email, claim.key, status, claim.attempts + 1, **rest)


def test_claims_come_in_the_order_of_the_list_and_only_once(started):
    assert started.keys(2) == ["a", "b"]
    assert started.keys(2) == ["c", "d"]
    assert started.keys(2) == ["e"]
    assert started.keys(2) == []


def test_a_claim_has_all_that_rendering_needs(started):
    claim = started.claim(1)[0]
    assert claim.email == "a@example.com"
    assert claim.parse_recipient().columns == {"email": "a@example.com"}
    assert str(claim.parse_recipient().place) == "people.csv:2:1"
    assert (claim.attempts, claim.tries, claim.first, claim.in_doubt, claim.copies_taken) == (
        0,
        0,
        True,
        False,
        (),
    )


@pytest.mark.sqlite
def test_a_claim_is_durable_when_it_is_committed_and_not_before(started, where):
    started.ledger.claim(started.edition, 2, NOW, run=started.run)
    with Ledger.open(where) as other:
        in_flight = "SELECT COUNT(*) FROM messages WHERE status = 'claimed'"
        assert other.fetch_one(in_flight) == (0,)
        started.ledger.commit()
        assert other.fetch_one(in_flight) == (2,)


@pytest.mark.sqlite
def test_messages_that_are_reserved_are_not_claimed_and_not_found_again(started, where):
    ledger = started.ledger
    a, b, c = ledger.reserve(started.edition, 3, NOW, run=started.run)
    ledger.claim_reserved([b])
    ledger.commit()
    assert started.claimed_keys() == ["b"]
    assert started.keys(5) == ["d", "e"]
    assert ledger.find_next_due(started.edition) is None
    ledger.claim_reserved([c])
    ledger.record(a, outcome(a))  # as a message that is refused before its content is
    ledger.commit()
    assert started.claimed_keys() == ["b", "c", "d", "e"]
    assert started.statuses()["a"] == "sent"


@pytest.mark.sqlite
def test_what_was_reserved_when_a_commit_failed_is_found_again(started, monkeypatch):
    ledger = started.ledger
    ledger.claim_reserved(ledger.reserve(started.edition, 3, NOW, run=started.run)[:1])
    with monkeypatch.context() as patch:
        patch.setattr(ledger.store, "commit", lambda: ledger.store.execute("no SQL"))
        with pytest.raises(LedgerWriteError):
            ledger.commit()
    assert started.keys() == ["a", "b", "c", "d", "e"]


@pytest.mark.sqlite
def test_between_a_claim_and_its_commit_another_process_can_write(started, where):
    claims = started.ledger.claim(started.edition, 2, NOW, run=started.run)
    with Ledger.open(where) as other:
        other.store.execute("PRAGMA busy_timeout=0")
        other.suppress("x@example.com", "asked")
    started.ledger.commit()
    assert len(claims) == len(started.claimed_keys()) == 2


def test_outcomes_are_written_with_the_next_claims(started, where):
    claim = started.claim(1)[0]
    started.ledger.record(
        claim, outcome(claim, code=250, enhanced="2.0.0", reply="ok", message_id="<m>", size=9, at="t")
    )
    with Ledger.open(where) as other:
        sent = "SELECT COUNT(*) FROM messages WHERE status = 'sent' AND columns IS NULL"
        assert other.fetch_one(sent) == (0,)
        started.claim(1)
        assert other.fetch_one(sent) == (1,)
    first = next(started.ledger.read_outcomes(started.edition))
    assert first == Outcome(
        "a@example.com", "a@example.com", Status.SENT, 1, 250, "2.0.0", "ok", "<m>", 9, "t", None
    )


@pytest.mark.sqlite
def test_one_commit_is_one_transaction(started):
    claims = started.claim(2)
    statements = []
    started.ledger.store.connection.set_trace_callback(statements.append)
    for claim in claims:
        started.ledger.record(claim, outcome(claim))
    started.claim(2)
    started.ledger.store.connection.set_trace_callback(None)
    assert [text for text in statements if text.startswith(("BEGIN", "COMMIT"))] == [
        "BEGIN IMMEDIATE",
        "COMMIT",
    ]


def test_on_postgresql_a_batch_is_one_round_trip(postgres, monkeypatch):
    """The outcomes of the last batch and the next claims. The driver's logger sees each statement."""
    import asyncpg

    queries = []
    connect = asyncpg.connect

    async def connect_with_logger(*args, **options):
        connection = await connect(*args, **options)
        connection.add_query_logger(lambda record: queries.append(record.query))
        return connection

    monkeypatch.setattr(asyncpg, "connect", connect_with_logger)
    with Ledger.open(make_schema(postgres.url)) as ledger, ledger.hold_campaign("autumn"):
        started = Started(ledger)
        claims = started.claim(2)
        queries.clear()
        for claim in claims:
            ledger.record(claim, outcome(claim))
        assert len(started.claim(2)) == 2
        assert len(queries) == 1
        assert started.statuses() == {
            "a": "sent",
            "b": "sent",
            "c": "pending",
            "d": "pending",
            "e": "pending",
        }


@pytest.mark.sqlite
def test_commit_without_anything_to_write_writes_nothing(started):
    statements = []
    started.ledger.store.connection.set_trace_callback(statements.append)
    started.ledger.commit()
    started.ledger.store.connection.set_trace_callback(None)
    assert statements == []


def test_a_claim_without_a_row_leaves_nothing_locked(started, where):
    claims = started.claim(5)
    started.ledger.record(claims[0], outcome(claims[0]))
    assert started.ledger.claim(started.edition, 5, NOW, run=started.run) == []
    with Ledger.open(where) as other:
        if not other.store.is_shared:
            other.store.execute("PRAGMA busy_timeout=0")
        other.suppress("x@example.com", "asked")


def test_the_buffer_does_not_outgrow_a_batch(started, monkeypatch, where):
    monkeypatch.setattr(queue_module, "BATCH", 3)
    for claim in started.claim(5):
        started.ledger.record(claim, outcome(claim))
    with Ledger.open(where) as other:
        assert other.fetch_one("SELECT COUNT(*) FROM messages WHERE status = 'sent'") == (3,)


def test_a_deferred_message_waits_while_the_others_are_sent(started):
    first = started.claim(1)[0]
    started.ledger.record(first, Retry(NOW + 30, 451, "4.7.1", "later"))
    assert started.keys(2) == ["b", "c"]
    assert started.ledger.find_next_due(started.edition) == 0.0
    assert started.ledger.find_next_due(started.edition, fresh=False) == NOW + 30
    assert started.keys(5, NOW + 29) == ["d", "e"]
    assert started.ledger.find_next_due(started.edition) == NOW + 30
    again = started.claim(5, NOW + 30)
    assert [(c.key[0], c.tries, c.attempts, c.first) for c in again] == [("a", 1, 1, False)]
    assert started.ledger.find_next_due(started.edition) is None


def test_messages_whose_wait_is_over_are_claimed_first_and_the_longest_wait_before_them(started):
    a, b = started.claim(2)
    started.ledger.record(a, Retry(NOW + 2))
    started.ledger.record(b, Retry(NOW + 1))
    assert started.keys(3, NOW + 5) == ["b", "a", "c"]


def test_a_clock_that_goes_back_hides_no_row_for_longer_than_the_longest_wait(started):
    claim = started.claim(1)[0]
    started.ledger.record(claim, Retry(NOW + 30))
    day_before = NOW - 86_400
    assert "a" not in started.keys(10, day_before, longest=300)
    assert started.ledger.find_next_due(started.edition) == day_before + 300
    assert started.keys(10, day_before + 300, longest=300) == ["a"]


def test_a_released_claim_is_unchanged_and_claimed_next(started):
    a, b = started.claim(2)
    started.ledger.record(b, Release())
    started.ledger.record(a, outcome(a))
    again = started.claim(2)
    assert [(c.key[0], c.attempts, c.tries, c.first) for c in again] == [
        ("b", 0, 0, False),
        ("c", 0, 0, True),
    ]


def test_a_lost_session_is_no_attempt(started):
    claim = started.claim(1)[0]
    started.ledger.record(claim, Retry(NOW, 421, None, "closing", attempted=False))
    again = started.claim(1)[0]
    assert (again.key, again.attempts, again.tries) == (claim.key, 0, 0)


def test_fresh_bounds_only_those_claimed_for_the_first_time(started):
    a = started.claim(5, fresh=1)
    assert [claim.key[0] for claim in a] == ["a"]
    started.ledger.record(a[0], Release())
    assert started.keys(5, fresh=0) == ["a"]
    assert started.keys(5, fresh=0) == []
    assert started.ledger.find_next_due(started.edition, fresh=False) is None


def test_only_takes_an_address_or_a_key(started):
    assert started.keys(5, only="C@Example.com") == ["c"]
    assert started.keys(5, only="c@example.com") == []
    assert started.ledger.find_next_due(started.edition, only="c@example.com") is None
    assert started.ledger.find_next_due(started.edition, only="d@example.com") == 0.0
    assert started.ledger.has_recipient(started.edition, "c@example.com")
    assert not started.ledger.has_recipient(started.edition, "nobody@example.com")


def test_addresses_suppressed_since_the_planning_are_passed_over(started):
    started.ledger.suppress("A@example.com", "asked")
    started.ledger.suppress("c@example.com", "asked")
    assert started.keys(2) == ["b", "d"]
    assert started.statuses()["a"] == started.statuses()["c"] == "suppressed"


def test_copies_taken_stay_with_the_message_until_it_is_sent(started):
    claim = started.claim(1)[0]
    started.ledger.record(claim, Retry(NOW, 450, copies_taken=("boss@example.com",)))
    claim = started.claim(1)[0]
    assert claim.copies_taken == ("boss@example.com",)
    deferred = outcome(claim, Status.DEFERRED, copies_taken=("chief@example.com",))
    started.ledger.record(claim, deferred)
    started.ledger.commit()
    assert next(started.ledger.read_outcomes(started.edition)).copies_taken == (
        "boss@example.com",
        "chief@example.com",
    )
    recover_claims(started.ledger, started.edition, "resend", now=NOW)
    claim = started.claim(1)[0]
    assert claim.copies_taken == ("boss@example.com", "chief@example.com")
    refused = (CopyRefused("x@example.com", 550, "no"),)
    started.ledger.record(claim, outcome(claim, copies_refused=refused))
    started.ledger.commit()
    first = next(started.ledger.read_outcomes(started.edition))
    assert (first.copies_refused, first.copies_taken) == (refused, ())


@pytest.mark.sqlite
def test_the_statement_for_what_is_sent_leaves_the_row_that_the_one_for_any_outcome_leaves(
    started, monkeypatch
):
    claims = started.claim(2)
    for claim in claims:
        started.ledger.record(claim, Retry(NOW, 450, "4.2.0", "busy", "lost", in_doubt=True))
    for is_plain, claim in zip((True, False), started.claim(2), strict=True):
        monkeypatch.setattr(rows, "is_plainly_sent", lambda _given, is_plain=is_plain: is_plain)
        started.ledger.record(claim, outcome(claim, code=250, reply="ok", message_id="<m>", size=9))
        started.ledger.commit()
    plain, general = started.ledger.fetch_all("SELECT * FROM messages WHERE status = 'sent' ORDER BY id")
    differing = {n for n, (one, other) in enumerate(zip(plain, general, strict=True)) if one != other}
    columns = [row[1] for row in started.ledger.fetch_all("PRAGMA table_info(messages)")]
    assert {columns[n] for n in differing} == {"id", "key", "position", "email", "address", "line"}


def test_a_reply_is_recorded_whatever_its_characters(started):
    claim = started.claim(1)[0]
    started.ledger.record(claim, outcome(claim, Status.FAILED, code=550, reply="né \udce9 \x00 '--"))
    started.ledger.commit()
    assert next(started.ledger.read_outcomes(started.edition)).reply == "né \\udce9 \\x00 '--"


class TestAfterAFailedCommit:
    @pytest.fixture
    def full(self, started, monkeypatch):
        """The ledger of `started`, whose disk is full until it is given room."""
        connection = started.ledger.store.connection
        (pages,) = connection.execute("PRAGMA page_count").fetchone()
        connection.execute(f"PRAGMA max_page_count={pages}")
        return lambda: connection.execute("PRAGMA max_page_count=1000000")

    def test_what_was_recorded_is_kept_and_the_claims_are_void(self, started, full, path):
        claims = started.claim(2)
        long = "x" * 30_000
        for claim in claims:
            started.ledger.record(claim, outcome(claim, message_id=long))
        assert len(started.ledger.claim(started.edition, 2, NOW, run=started.run)) == 2
        with pytest.raises(LedgerWriteError, match="the disk is full") as caught:
            started.ledger.commit()
        assert caught.value.hint
        with pytest.raises(LedgerWriteError):
            started.ledger.commit()
        with Ledger.open(path) as other:
            assert other.count_by_status(started.edition)[Status.SENT] == 0
        full()
        started.ledger.commit()
        assert started.statuses() == {
            "a": "sent",
            "b": "sent",
            "c": "pending",
            "d": "pending",
            "e": "pending",
        }

    def test_every_database_error_while_sending_is_a_write_error(self, started):
        started.ledger.store.execute("DROP TABLE suppressions")
        with pytest.raises(LedgerWriteError):
            started.claim(1)


def test_a_row_that_cannot_be_read_is_reported_as_damage(started):
    with started.ledger.transaction() as store:
        store.execute("UPDATE messages SET columns = '[1' WHERE position = 1")
    with pytest.raises(LedgerWriteError, match="damaged"):
        started.claim(1)
    with started.ledger.transaction() as store:
        store.execute("UPDATE messages SET columns = '{\"a}'")
    (claim,) = started.claim(1)  # the columns are read only by what renders the message
    with pytest.raises(LedgerError, match="damaged"):
        claim.parse_recipient()
    with started.ledger.transaction() as store:
        store.execute("UPDATE messages SET copies = 'x'")
    with pytest.raises(LedgerError, match="damaged"):
        list(started.ledger.read_outcomes(started.edition))
