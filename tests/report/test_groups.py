from __future__ import annotations

from collections.abc import Callable

from mailer.ledger.outcome import Outcome, Status
from mailer.report import groups
from mailer.report.groups import FailureGroups

Row = Callable[..., Outcome]


def test_replies_are_compared_without_what_differs_from_message_to_message(failed: Row) -> None:
    found = FailureGroups(
        failed(n, reply=f"5.1.1 <person{n}@example.com>: User unknown, id 4F1A{n:06d}") for n in range(50)
    )
    (group,) = found.list_largest()
    assert (group.count, group.label, group.text) == (50, "550 5.1.1", "<…>: User unknown, id …")


def test_a_url_in_a_reply_stays_whole(failed: Row) -> None:
    url = "https://service.mail.qq.com/cgi-bin/help?subtype=1&&id=20022&&no=1000723"
    (group,) = FailureGroups([failed(0, reply=f"Mail content denied. {url}")]).list_largest()
    assert group.text == f"Mail content denied. {url}"


def test_codes_and_statuses_stay_apart(failed: Row) -> None:
    rows = [failed(0), failed(1, code=551), failed(2, status=Status.DEFERRED)]
    assert len(FailureGroups(rows)) == 3


def test_the_largest_group_is_first_and_sent_messages_are_in_none(sent: Row, failed: Row) -> None:
    rows = [failed(0, reply="full"), failed(1, reply="unknown"), failed(2, reply="unknown"), sent(3)]
    assert [(g.text, g.count) for g in FailureGroups(rows).list_largest()] == [("unknown", 2), ("full", 1)]


def test_memory_is_bounded(failed: Row) -> None:
    words = ("".join(chr(97 + (n // 26**p) % 26) for p in range(4)) for n in range(5000))
    found = FailureGroups(failed(n, reply=f"no {word}") for n, word in enumerate(words))
    assert len(found) <= groups.MAX_GROUPS + 1
    assert sum(group.count for group in found.list_largest()) == 5000
    assert found.list_largest(1)[0].is_rest


def test_an_error_of_our_own_is_shown_if_there_is_no_reply(failed: Row) -> None:
    (group,) = FailureGroups(
        [failed(code=None, enhanced=None, reply=None, error="'name' is undefined")]
    ).list_largest()
    assert (group.label, group.text) == ("", "'name' is undefined")


def test_errors_of_our_own_are_compared_without_the_recipient_and_the_line(failed: Row) -> None:
    def error(number: int, text: str) -> Outcome:
        return failed(number, code=None, enhanced=None, reply=None, error=text)

    undefined = "news.html:3: 'nme' is undefined; did you mean 'name'?"
    rows = [error(n, f"{undefined}, for person{n}@example.com (people.csv:{n + 2})") for n in range(90, 110)]
    rows += [error(n, f"people.csv:{n}: the row has 1 cell; the header has 2") for n in range(30, 40)]
    assert [(group.text, group.count) for group in FailureGroups(rows).list_largest()] == [
        (undefined, 20),
        ("people.csv:30: the row has 1 cell; the header has 2", 10),
    ]
