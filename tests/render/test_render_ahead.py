"""Messages that a child renders before they are claimed: a cache that is never the reason for another message."""

from __future__ import annotations

import json
import os
import signal
import time
from collections.abc import Iterator, Sequence

import pytest

from mailer.campaign.stored import StoredRecipient
from mailer.render import render_ahead
from mailer.render.compiled import CompiledCampaign
from mailer.render.message import Message
from mailer.render.pieces import ConstantPieces, FilledPieces
from mailer.render.render_ahead import MAX_AHEAD, PiecePacker, PieceUnpacker, RenderAhead
from tests.render.projects import Project, list_children


def stored(address: str, line: int = 2, **columns: object) -> StoredRecipient:
    return StoredRecipient(address, json.dumps({"email": address, **columns}), line, 0, "people.csv")


PEOPLE = [stored(f"r{n}@example.com", n + 2, name=f"Zoë {n}" if n % 3 else f"Ada {n}") for n in range(40)]
PAGES = [PEOPLE[start : start + 8] for start in range(0, 40, 8)]


@pytest.fixture
def compiled(project: Project) -> CompiledCampaign:
    project.put("logo.png", os.urandom(3000))
    html = "<p>Hi {{ name }}<img src='logo.png'>" + "constant words " * 40
    return project.compile(template=html, text="Hi {{ name }}", subject="For {{ name }}")


def without_date(message: Message) -> bytes:
    return b"".join(line for line in message.content.splitlines(True) if not line.startswith(b"Date: "))


def assert_same(message: Message | None, compiled: CompiledCampaign, recipient: StoredRecipient) -> None:
    assert message is not None
    expected = compiled.render(recipient.parse(), eight_bit=True)
    assert without_date(message) == without_date(expected)
    assert (message.sender, message.recipients, message.message_id) == (
        expected.sender,
        expected.recipients,
        expected.message_id,
    )
    assert (message.eight_bit, message.utf8) == (expected.eight_bit, expected.utf8)


def start(compiled: CompiledCampaign, pages: Sequence[Sequence[StoredRecipient]] = PAGES) -> RenderAhead:
    ahead = RenderAhead(compiled, iter(pages))
    ahead.start_next(eight_bit=True)
    return ahead


def test_each_message_is_what_the_campaign_renders(compiled: CompiledCampaign) -> None:
    with start(compiled) as ahead:
        for recipient in PEOPLE:
            assert_same(ahead.take(recipient, eight_bit=True), compiled, recipient)
        assert ahead.take(PEOPLE[0], eight_bit=True) is None


def test_a_recipient_whose_values_are_others_is_not_there(compiled: CompiledCampaign) -> None:
    with start(compiled) as ahead:
        changed = stored("r0@example.com", 2, name="Somebody else")
        assert ahead.take(changed, eight_bit=True) is None
        assert_same(ahead.take(PEOPLE[0], eight_bit=True), compiled, PEOPLE[0])


def test_recipients_that_are_left_out_do_not_hold_back_the_others(compiled: CompiledCampaign) -> None:
    with start(compiled) as ahead:
        for recipient in PEOPLE[5:8]:
            assert_same(ahead.take(recipient, eight_bit=True), compiled, recipient)
        assert ahead.take(PEOPLE[2], eight_bit=True) is None
        assert_same(ahead.take(PEOPLE[8], eight_bit=True), compiled, PEOPLE[8])


def test_after_many_misses_what_is_ready_is_given_up(
    compiled: CompiledCampaign, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(render_ahead, "MAX_MISSES", 3)
    monkeypatch.setattr(render_ahead, "GROUP", 8)
    with start(compiled) as ahead:
        assert [ahead.take(PEOPLE[8], eight_bit=True) for _ in range(3)] == [
            None
        ] * 3  # the first page is ready
        assert_same(ahead.take(PEOPLE[8], eight_bit=True), compiled, PEOPLE[8])


def test_a_message_with_an_old_date_is_not_used(
    compiled: CompiledCampaign, monkeypatch: pytest.MonkeyPatch
) -> None:
    with start(compiled) as ahead:
        assert ahead.take(PEOPLE[0], eight_bit=True) is not None
        now = time.monotonic()
        monkeypatch.setattr(time, "monotonic", lambda: now + render_ahead.MAX_AGE + 1)
        assert ahead.take(PEOPLE[1], eight_bit=True) is None


def test_messages_for_a_server_without_8bitmime_are_not_those_with_it(compiled: CompiledCampaign) -> None:
    with start(compiled) as ahead:
        assert ahead.take(PEOPLE[0], eight_bit=False) is None
        assert_same(ahead.take(PEOPLE[0], eight_bit=True), compiled, PEOPLE[0])


def test_an_error_is_left_to_the_caller(project: Project) -> None:
    compiled = project.compile(text="Hi {{ name.upper() }}")
    pages = [[stored("a@example.com", name=7), stored("b@example.com", name="Bo")]]
    with start(compiled, pages) as ahead:
        assert ahead.take(pages[0][0], eight_bit=True) is None
        assert_same(ahead.take(pages[0][1], eight_bit=True), compiled, pages[0][1])


def test_a_row_that_cannot_be_read_is_left_to_the_caller(compiled: CompiledCampaign) -> None:
    damaged = StoredRecipient("r@example.com", '{"name', 2, 0, "people.csv")
    with start(compiled, [[damaged, PEOPLE[0]]]) as ahead:
        assert ahead.take(damaged, eight_bit=True) is None
        assert_same(ahead.take(PEOPLE[0], eight_bit=True), compiled, PEOPLE[0])


def test_if_the_child_is_killed_nothing_is_ready_any_more(compiled: CompiledCampaign) -> None:
    before = list_children()
    with start(compiled) as ahead:
        (child,) = list_children() - before
        os.kill(child, signal.SIGKILL)
        results = [ahead.take(recipient, eight_bit=True) for recipient in PEOPLE]
        assert results[-1] is None
        ahead.start_next(eight_bit=True)
        assert ahead.take(PEOPLE[0], eight_bit=True) is None


def test_the_list_is_read_no_further_than_needed(
    compiled: CompiledCampaign, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(render_ahead, "MAX_AHEAD", 16)
    read: list[int] = []

    def upcoming() -> Iterator[Sequence[StoredRecipient]]:
        for number, page in enumerate(PAGES):
            read.append(number)
            yield page

    with RenderAhead(compiled, upcoming()) as ahead:
        ahead.start_next(eight_bit=True)
        ahead.start_next(eight_bit=True)
        assert read == [0, 1]


def test_pages_that_fill_both_pipes_do_not_stop_either_process(project: Project) -> None:
    compiled = project.compile(text="{{ words }}")
    people = [stored(f"r{n}@example.com", words=f"{n} words in a line " * 700) for n in range(160)]
    with start(compiled, [people[start : start + 1] for start in range(160)]) as ahead:
        assert all(ahead.take(recipient, eight_bit=True) for recipient in people)


def test_as_many_messages_are_ahead_as_a_sender_claims_at_once(project: Project) -> None:
    compiled = project.compile(text="Hi {{ name }}")
    people = [stored(f"r{n}@example.com", name=f"Ada {n}") for n in range(2 * MAX_AHEAD)]
    with start(compiled, [people[start : start + 48] for start in range(0, len(people), 48)]) as ahead:
        for claimed in (people[:MAX_AHEAD], people[MAX_AHEAD:]):
            ahead.start_next(eight_bit=True)
            for recipient in claimed:
                assert_same(ahead.take(recipient, eight_bit=True), compiled, recipient)


def test_two_recipients_with_one_address_get_their_own_messages(compiled: CompiledCampaign) -> None:
    pages = [[stored("r@example.com", n, name=f"Ada {n}") for n in range(4)]]
    with start(compiled, pages) as ahead:
        for recipient in pages[0]:
            message = ahead.take(recipient, eight_bit=True)
            if message is not None:
                assert_same(message, compiled, recipient)


def test_constant_pieces_of_a_text_travel_once() -> None:
    constant, packer, unpacker = ConstantPieces([b"a", b"b", b"c"]), PiecePacker(), PieceUnpacker()
    values = [[b"%d" % n, b"x"] for n in range(3)]
    packed = [packer.pack([b"head", FilledPieces(constant, each)]) for each in values]
    assert [each[1] for each in packed] == [([b"a", b"b", b"c"], values[0]), (0, values[1]), (0, values[2])]
    assert [b"".join(unpacker.unpack(each)) for each in packed] == [
        b"heada0bxc",
        b"heada1bxc",
        b"heada2bxc",
    ]


def test_what_exceeds_the_memory_for_constants_travels_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(render_ahead, "MAX_CONSTANT_SIZE", 2)
    filled = FilledPieces(ConstantPieces([b"a", b"b", b"c"]), [b"1", b"2"])
    assert PiecePacker().pack([filled, b"end"]) == [b"a1b2cend"]


def test_a_constant_piece_travels_once() -> None:
    constant, packer, unpacker = b"c" * 1000, PiecePacker(), PieceUnpacker()
    messages = [[b"%d" % n, constant, b"v" * 999 + b"%d" % n] for n in range(5)]
    packed = [packer.pack(pieces) for pieces in messages]
    assert [each[1:-1] for each in packed] == [[], [(constant,)], [0], [0], [0]]
    assert [b"".join(unpacker.unpack(each)) for each in packed] == [b"".join(pieces) for pieces in messages]


def test_equal_pieces_that_are_not_the_same_object_are_no_constants() -> None:
    packer = PiecePacker()
    for _ in range(4):
        piece = bytes(bytearray(b"e" * 1000))
        assert packer.pack([piece]) == [piece]
