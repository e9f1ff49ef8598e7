"""The core against a model server: any split, refusals, drops, broken promises.

At the end of every session each message has one account, and it is true: accepted if and only if the server has it,
once, under its own sender; refused, or unsent, only if the server does not have it.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from random import Random

from hypothesis import example, given, settings
from hypothesis import strategies as st

from mailer.smtp.protocol.events import Event
from mailer.smtp.protocol.opening import ClientSettings
from mailer.smtp.protocol.session import SmtpSession
from mailer.smtp.protocol.states import State
from mailer.smtp.protocol.values import NOTHING_LEARNED, ServerTraits, Transaction, TransactionResult
from tests.smtp.model_server import Behaviour, ModelServer

CODES = [450, 451, 452, 550, 552, 554]
SESSION_CODES = [500, 503, 504]  # refuse a message only at its content, or as one of several


def transactions(count: int, one_sender: bool, copies: bool) -> list[Transaction]:
    return [
        Transaction(
            "news@x" if one_sender else f"s{n}@x",
            (f"r{n}@x", f"c{n}@x") if copies and n % 3 == 0 else (f"r{n}@x",),
            b"N: %d\r\n\r\n.\r\n..x\r\nRSET\r\nMAIL FROM:<evil@x>\r\n" % n,
            context=n,
        )
        for n in range(count)
    ]


def codes_for(name: bytes) -> st.SearchStrategy[int]:
    return st.sampled_from(CODES + SESSION_CODES * name.startswith((b"N:", b"c")))


@st.composite
def behaviours(draw: st.DrawFn, count: int) -> Behaviour:
    names = [f"{kind}{n}@x".encode() for n in range(count) for kind in ("r", "s", "c", "DATA r")]
    names += [b"N: %d" % n for n in range(count)]
    chunking = draw(st.booleans())
    announces = draw(st.booleans())
    return Behaviour(
        pipelining=draw(st.sampled_from([True, True, False])),
        chunking=chunking,
        closes=draw(st.booleans()),
        holds=draw(st.booleans()),
        behind_content=draw(st.sampled_from(["works", "works", "refused", "dropped"])),
        panics=draw(st.sampled_from([False, False, True])),
        bdat=draw(st.sampled_from(["works", "works", "works", "refused", "unknown", "closes"])),
        goes_to_354=draw(st.booleans()),
        forgets=draw(st.booleans()),
        nonmail=draw(st.sampled_from([None, None, 2, 10])),
        refused={
            name: draw(codes_for(name)) for name in draw(st.sets(st.sampled_from(names), max_size=count))
        },
        ends_after=draw(st.none() | st.integers(3, 3 + 5 * count)),
        announces=announces,
        continues=announces and draw(st.booleans()),
        mail_max=draw(st.sampled_from([None, None, 3])),
    )


@dataclass
class Outcome:
    """A session when nothing moves any more."""

    session: SmtpSession
    server: ModelServer
    results: list[TransactionResult]


def run_session(
    behaviour: Behaviour, waiting: list[Transaction], random: Random, window: int | None, traits: ServerTraits
) -> Outcome:
    """One session: messages go in as there is room, octets cross in any split, until nothing moves any more.

    Some contents are held for a while: none of them arrives before it is permitted.
    """
    server = ModelServer(behaviour)
    session = SmtpSession(
        ClientSettings(
            "model", "client", window=window, strategy_at_most=traits.strategy_at_most, traits=traits
        )
    )
    session.start(0.0)
    events: list[Event] = []
    to_server, sent, now = b"", 0, 0.0
    whole, idle = random.random() < 0.3, 0
    held: list[Transaction] = []
    while True:
        now += random.choice([0.0, 0.001, 0.01])
        if held and random.random() < 0.3:
            session.permit_contents(held)
            held.clear()
        while session.room and waiting:
            is_held = random.random() < 0.5
            held += waiting[:is_held]
            assert session.submit(waiting.pop(0), is_held=is_held) is None
        to_server += session.data_to_send(now)
        size = len(to_server) if whole else random.randint(0, len(to_server))
        if not server.closed:
            server.feed(to_server[:size])
            assert not {content for _, _, content in server.accepted} & {each.content for each in held}
        sent += size
        session.bytes_sent(sent, now)
        to_server = to_server[size:]
        heard = server.take_out()
        if heard:
            split = len(heard) if whole else random.randint(0, len(heard))
            events += session.receive(heard[:split], now)
            server.out = heard[split:] + server.out
        elif server.closed:
            events += session.receive_eof(now)
        is_done = session.state is State.READY and session.is_idle and not (waiting and session.room)
        if session.is_closed or is_done:
            return Outcome(
                session, server, [event for event in events if isinstance(event, TransactionResult)]
            )
        idle = 0 if heard or to_server or server.closed or held else idle + 1
        if idle > 2:
            events += session.handle_timeout(now)


def check(outcome: Outcome, submitted: list[Transaction]) -> tuple[set[object], set[object]]:
    """What is still to be sent, and in doubt."""
    unsent, in_doubt = outcome.session.list_unfinished()
    account = Counter(
        [r.transaction.context for r in outcome.results] + [t.context for t in (*unsent, *in_doubt)]
    )
    assert account == Counter(t.context for t in submitted), outcome.session.end
    by_tag = {t.context: t for t in submitted}
    taken: dict[object, list[tuple[bytes, ...]]] = {}
    for (sender, taken_for, content), times in outcome.server.accepted.items():
        tag = int(content.split(b"\r\n")[0][3:])
        assert times == 1, f"{tag} arrived {times} times"
        assert by_tag[tag].content == content
        assert by_tag[tag].sender.encode() == sender, f"{tag} left under {sender!r}"
        assert {r.encode() for r in by_tag[tag].recipients} >= set(taken_for)
        assert tag not in taken
        taken[tag] = [taken_for]
    for result in outcome.results:
        tag, recipients = result.transaction.context, result.transaction.recipients
        refused = {who for who, _ in result.refused_recipients}
        if result.is_success:
            assert taken.pop(tag) == [tuple(r.encode() for r in recipients if r not in refused)]
        elif result.accepted_recipients:
            assert taken.pop(tag) == [tuple(r.encode() for r in result.accepted_recipients)]
        else:
            assert tag not in taken, f"{tag} has the result {result} and was accepted"
    for transaction in unsent:
        assert transaction.context not in taken, (
            f"{transaction.context} is said to be unsent and was accepted"
        )
    for transaction in in_doubt:
        taken.pop(transaction.context, None)
    assert not taken
    return {t.context for t in unsent}, {t.context for t in in_doubt}


@settings(max_examples=400)
@given(
    data=st.data(),
    seed=st.integers(0, 2**32),
    count=st.integers(1, 24),
    window=st.sampled_from([None, None, 1, 2, 5]),
)
def test_every_message_has_one_outcome_and_it_is_true(
    data: st.DataObject, seed: int, count: int, window: int | None
) -> None:
    behaviour = data.draw(behaviours(count))
    messages = transactions(count, data.draw(st.booleans()), data.draw(st.booleans()))
    run(behaviour, messages, Random(seed), window)


def run(behaviour: Behaviour, messages: list[Transaction], random: Random, window: int | None) -> None:
    traits = NOTHING_LEARNED
    pending = list(messages)
    for _ in range(len(messages) + 8):
        if not pending:
            return
        before, waiting = len(pending), list(pending)
        outcome = run_session(behaviour, waiting, random, window, traits)
        again = set().union(*check(outcome, [t for t in pending if t not in waiting]))
        pending = [t for t in pending if t in waiting or t.context in again]
        traits = traits.merged_with(outcome.session.traits)
        if len(pending) == before:
            behaviour.ends_after = None  # nothing moved: a session that is let live must bring them through
            if behaviour.bdat == "closes" and traits.strategy_at_most is None:
                behaviour.bdat = "works"
    assert not pending, (outcome.session.end, pending)


@example(closes=True, seed=0)
@example(closes=False, seed=0)
@settings(max_examples=30)
@given(closes=st.booleans(), seed=st.integers(0, 2**32))
def test_one_in_three_refused(closes: bool, seed: int) -> None:
    """As Postfix and as Exim, at their limits, each under its own sender: one session is enough for all."""
    messages = transactions(300, False, False)
    refused = {f"r{n}@x".encode(): 550 for n in range(1, 300, 3)}
    behaviour = Behaviour(closes=closes, nonmail=None if closes else 10, refused=refused)
    outcome = run_session(behaviour, messages[:], Random(seed), None, NOTHING_LEARNED)
    assert outcome.session.end is None
    assert check(outcome, messages) == (set(), set())
    assert len(outcome.server.accepted) == 200


@example(seed=0)
@settings(max_examples=30)
@given(seed=st.integers(0, 2**32))
def test_many_refused_before_bdat_is_tried_lose_no_session(seed: int) -> None:
    """Exim ends a session after eleven RSETs, without a word. Four sessions bring all through."""
    waiting = transactions(60, True, False)
    refused = {f"r{n}@x".encode(): 550 for n in range(40)}
    for _ in range(4):
        behaviour = Behaviour(nonmail=10, refused=refused)
        before = list(waiting)
        outcome = run_session(behaviour, waiting, Random(seed), None, NOTHING_LEARNED)
        assert outcome.session.end is None
        assert check(outcome, [t for t in before if t not in waiting]) == (set(), set())
    assert not waiting
