from mailer.campaign.model import StopAfter
from mailer.delivery.failure_limit import FailureLimit


def test_so_many_in_a_row_reach_the_limit():
    limit = FailureLimit(StopAfter(in_a_row=3))
    assert limit.count_failed() is None
    assert limit.count_failed() is None
    limit.count_sent()
    assert limit.count_failed() is None
    assert limit.count_failed() is None
    assert "3 recipients in a row" in limit.count_failed()


def test_a_share_counts_from_the_fiftieth_on():
    limit = FailureLimit(StopAfter(share=0.1))
    assert [limit.count_failed() for _ in range(5)] == [None] * 5
    for _ in range(44):
        limit.count_sent()
    assert limit.count_failed() == "6 of 50 recipients failed permanently"


def test_a_share_below_the_limit_does_not_reach_it():
    limit = FailureLimit(StopAfter(share=0.1))
    for _ in range(95):
        limit.count_sent()
    assert [limit.count_failed() for _ in range(5)] == [None] * 5


def test_without_a_limit_none_is_reached():
    limit = FailureLimit(None)
    assert all(limit.count_failed() is None for _ in range(1000))
