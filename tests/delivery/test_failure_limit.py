from mailer.campaign.model import StopAfter
from mailer.delivery.failure_limit import GiveUp


def test_in_a_row():
    give_up = GiveUp(StopAfter(in_a_row=3))
    assert give_up.failed() is None
    assert give_up.failed() is None
    give_up.accepted()
    assert give_up.failed() is None
    assert give_up.failed() is None
    assert "3 recipients in a row" in give_up.failed()


def test_a_share_counts_from_the_fiftieth_on():
    give_up = GiveUp(StopAfter(share=0.1))
    assert [give_up.failed() for _ in range(5)] == [None] * 5
    for _ in range(44):
        give_up.accepted()
    assert give_up.failed() == "6 of 50 recipients failed for good"


def test_a_small_share_goes_on():
    give_up = GiveUp(StopAfter(share=0.1))
    for _ in range(95):
        give_up.accepted()
    assert [give_up.failed() for _ in range(5)] == [None] * 5


def test_null_never_stops():
    give_up = GiveUp(None)
    assert all(give_up.failed() is None for _ in range(1000))
