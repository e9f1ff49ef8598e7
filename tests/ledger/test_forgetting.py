"""`mailer forget`: nothing of a person is left but that a message was sent, and no message is sent again."""

import pytest

from mailer.delivery.plan import plan
from mailer.errors import LedgerBusy
from mailer.ledger import Ledger
from mailer.ledger.forgetting import forget_address
from mailer.ledger.outcome import Outcome, Status
from mailer.ledger.recovery import recover_claims
from tests.delivery.lists import NOW, Compiled, People, campaign
from tests.ledger.conftest import Started


def read_all(ledger):
    """Every text of the ledger's tables."""
    tables = ("campaigns", "editions", "runs", "messages", "suppressions", "forgotten", "holders")
    return repr([ledger.fetch_all(f"SELECT * FROM {table}") for table in tables])


def plan_again(started, *people, edition=None):
    listed = campaign(People(*people))
    plan(started.ledger, listed, Compiled(), edition or started.edition)


def send_first(started):
    """The first one is sent, with the address in all texts that a server decides."""
    (claim,) = started.claim(1)
    said = f"2.0.0 <{claim.email}> ok"
    outcome = Outcome(claim.email, claim.key, Status.SENT, 1, 250, "2.0.0", said, f"<{claim.key}>")
    started.ledger.record(claim, outcome)
    started.ledger.commit()


def test_of_a_message_that_was_sent_only_that_stays(started):
    send_first(started)
    assert forget_address(started.ledger, " A@Example.com") == (1, 0, False)
    assert "a@example.com" not in read_all(started.ledger)
    assert started.ledger.count_by_status(started.edition)[Status.SENT] == 1
    (sent,) = started.ledger.read_outcomes(started.edition, Status.SENT)
    assert sent.email.startswith("forgotten:")
    assert (sent.reply, sent.message_id, sent.error) == (None, None, None)


def test_a_message_that_was_not_sent_is_deleted(started):
    assert forget_address(started.ledger, "c@example.com") == (0, 1, False)
    assert "c@example.com" not in read_all(started.ledger)
    assert started.keys() == ["a", "b", "d", "e"]


def test_no_later_run_of_the_campaign_sends_to_the_address_again(started):
    send_first(started)
    forget_address(started.ledger, "a@example.com")
    people = ["a@example.com", "b@example.com", "A@EXAMPLE.com", "new@example.com"]
    plan_again(started, *people)
    assert "a@example.com" not in read_all(started.ledger).lower()
    assert started.keys() == ["b", "n"]
    next_edition = started.ledger.add_edition("autumn")
    plan_again(started, *people, edition=next_edition)
    assert "a@example.com" not in read_all(started.ledger).lower()


def test_another_campaign_may_still_send_to_it(started):
    forget_address(started.ledger, "a@example.com")
    other = started.ledger.ensure_edition("winter")
    plan_again(started, "a@example.com", edition=other)
    assert started.ledger.count_by_status(other)[Status.PENDING] == 1


def test_a_suppressed_address_gets_no_mail_of_any_campaign(started):
    started.ledger.suppress("a@example.com", "asked")
    assert forget_address(started.ledger, "a@example.com").was_suppressed
    assert not started.ledger.is_suppressed("a@example.com")
    other = started.ledger.ensure_edition("winter")
    plan_again(started, "a@example.com", "b@example.com", edition=other)
    assert started.ledger.count_by_status(other)[Status.PENDING] == 1
    assert "a@example.com" not in read_all(started.ledger)


def test_a_message_in_doubt_stays_in_doubt_and_is_never_sent_again(started):
    started.claim(1)  # and the run dies
    assert forget_address(started.ledger, "a@example.com") == (1, 0, False)
    recover_claims(started.ledger, started.edition, "resend", now=NOW, with_held=True)
    assert started.keys() == ["b", "c", "d", "e"]
    assert started.ledger.count_by_status(started.edition)[Status.IN_DOUBT] >= 1


def test_messages_of_one_person_with_several_keys_stay_apart(ledger):
    started = Started(ledger, "a@example.com")
    with ledger.transaction() as store:
        store.execute("""INSERT INTO messages (id, edition_id, key, position, email, address, columns, line, column_no,
            status) SELECT id + 100, edition_id, key || '/2', position + 100, email, address, columns, 1, 1, 'sent'
            FROM messages""")
    send_first(started)
    assert forget_address(ledger, "a@example.com") == (2, 0, False)
    assert ledger.count_by_status(started.edition)[Status.SENT] == 2


def test_while_a_campaign_with_the_address_is_sent_it_is_refused(started, where):
    with started.ledger.hold_campaign("autumn"), Ledger.open(where) as other:
        with pytest.raises(LedgerBusy, match="is being sent"):
            forget_address(other, "a@example.com")
        assert forget_address(other, "nobody@example.com") == (0, 0, False)


def test_no_octet_of_the_address_is_left_in_the_files(path, started):
    """Rows that were changed before have left copies in free pages."""
    send_first(started)
    forget_address(started.ledger, "a@example.com")
    started.ledger.close()
    for file in path.parent.iterdir():
        assert b"a@example.com" not in file.read_bytes(), file
        assert b"A@example.com" not in file.read_bytes(), file
