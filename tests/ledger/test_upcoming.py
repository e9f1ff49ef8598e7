"""The recipients that come next, as they are read for rendering ahead."""

from mailer.campaign.stored import StoredRecipient
from mailer.ledger import Ledger, rows
from mailer.ledger.planning import (
    MAX_UPCOMING_SIZE,
    UPCOMING_PAGE,
    StagedRow,
    iterate_upcoming,
    stage_list,
)


def plan(ledger: Ledger, columns: list[dict[str, object]]):
    edition = ledger.ensure_edition("news")
    with stage_list(ledger, edition) as stage:
        stage.add(
            [
                StagedRow(
                    n, f"r{n}", f"r{n}@example.com", f"r{n}@example.com", rows.encode(one), n + 1, 0, None
                )
                for n, one in enumerate(columns, 1)
            ]
        )
        stage.drop_repeated(limit=1)
        stage.merge(edition, digest="d", file="people.csv")
    return edition


def read_number(recipient: StoredRecipient) -> object:
    return recipient.parse().columns["n"]


def test_the_pages_have_every_recipient_in_the_order_of_the_list(where):
    with Ledger.open(where) as ledger:
        edition = plan(ledger, [{"n": n} for n in range(UPCOMING_PAGE * 2 + 3)])
        pages = list(iterate_upcoming(ledger, edition))
    assert [len(page) for page in pages] == [UPCOMING_PAGE, UPCOMING_PAGE, 3]
    assert [read_number(one) for page in pages for one in page] == list(range(UPCOMING_PAGE * 2 + 3))
    assert str(pages[0][0].parse().place) == "people.csv:2"


def test_they_are_the_recipients_that_are_claimed_later(where):
    with Ledger.open(where) as ledger:
        edition = plan(ledger, [{"n": n} for n in range(3)])
        (page,) = iterate_upcoming(ledger, edition)
        run = ledger.start_run(edition, template="t", now=1.0)
        claims = ledger.claim(edition, 3, 1.0, run=run)
        ledger.commit()
        assert [claim.stored for claim in claims] == page


def test_what_is_claimed_meanwhile_is_left_out(where):
    with Ledger.open(where) as ledger:
        edition = plan(ledger, [{"n": n} for n in range(UPCOMING_PAGE + 5)])
        pages = iterate_upcoming(ledger, edition)
        next(pages)
        run = ledger.start_run(edition, template="t", now=1.0)
        ledger.claim(edition, UPCOMING_PAGE + 3, 1.0, run=run)
        ledger.commit()
        assert [read_number(one) for page in pages for one in page] == [UPCOMING_PAGE + 3, UPCOMING_PAGE + 4]


def test_a_page_is_small_and_a_recipient_that_is_too_large_is_left_out(where):
    words = "w" * (MAX_UPCOMING_SIZE // 2)
    with Ledger.open(where) as ledger:
        edition = plan(
            ledger, [{"n": 0, "w": words}, {"n": 1, "w": words * 3}, {"n": 2, "w": words}, {"n": 3}]
        )
        pages = list(iterate_upcoming(ledger, edition))
    assert [[read_number(one) for one in page] for page in pages] == [[0], [2, 3]]
