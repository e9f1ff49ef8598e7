from __future__ import annotations

from collections.abc import Callable

from mailer.ledger.outcome import Outcome, Status
from mailer.report import groups
from mailer.report.groups import Groups

Row = Callable[..., Outcome]


def test_what_differs_from_message_to_message_does_not_count(failed: Row) -> None:
    found = Groups.of(
        failed(n, reply=f"5.1.1 <person{n}@example.com>: User unknown, id 4F1A{n:06d}") for n in range(50)
    )
    (group,) = found.most_common()
    assert (group.count, group.label, group.text) == (50, "550 5.1.1", "<…>: User unknown, id …")


def test_codes_and_statuses_stay_apart(failed: Row) -> None:
    rows = [failed(0), failed(1, code=551), failed(2, status=Status.DEFERRED)]
    assert len(Groups.of(rows)) == 3


def test_the_largest_first_and_sent_are_not_failures(sent: Row, failed: Row) -> None:
    rows = [failed(0, reply="full"), failed(1, reply="unknown"), failed(2, reply="unknown"), sent(3)]
    assert [(g.text, g.count) for g in Groups.of(rows).most_common()] == [("unknown", 2), ("full", 1)]


def test_memory_is_bounded(failed: Row) -> None:
    words = ("".join(chr(97 + (n // 26**p) % 26) for p in range(4)) for n in range(5000))
    found = Groups.of(failed(n, reply=f"no {word}") for n, word in enumerate(words))
    assert len(found) <= groups.MOST + 1
    assert sum(group.count for group in found.most_common()) == 5000
    assert found.most_common(1)[0].is_rest


def test_our_own_error_stands_in_for_a_reply(failed: Row) -> None:
    (group,) = Groups.of([failed(code=None, enhanced=None, reply=None, error="'name' is undefined")]).most_common()
    assert (group.label, group.text) == ("", "'name' is undefined")
