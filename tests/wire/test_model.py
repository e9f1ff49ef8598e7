"""The core against a model server: any split, refusals, drops, broken promises.

At the end of every session each message has one account, and it is the true one: settled as accepted if and only if the
server has it, once, under its own sender; settled as refused, or untouched, only if the server has it not.
"""

from __future__ import annotations

from collections import Counter
from random import Random

from hypothesis import example, given, settings
from hypothesis import strategies as st

from mailer.smtp.protocol.session import Protocol, Settings
from mailer.smtp.protocol.states import State
from mailer.smtp.protocol.values import Strategy, Transaction
from tests.wire.model import Behaviour, ModelServer

CODES = st.sampled_from([450, 451, 452, 500, 503, 504, 550, 552, 554])


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


@st.composite
def behaviours(draw: st.DrawFn, count: int) -> Behaviour:
    names = [f"{kind}{n}@x".encode() for n in range(count) for kind in ("r", "s", "c", "DATA r")]
    names += [b"N: %d" % n for n in range(count)]
    chunking = draw(st.booleans())
    announces = draw(st.booleans())
    return Behaviour(
        pipelining=draw(st.sampled_from([True, True, False])),
        chunking=chunking,
        closes=(closes := draw(st.booleans())),
        holds=not closes and draw(st.booleans()),
        bdat=draw(st.sampled_from(["works", "works", "works", "refused", "unknown", "closes"])),
        goes_to_354=draw(st.booleans()),
        forgets=draw(st.booleans()),
        nonmail=draw(st.sampled_from([None, None, 2, 10])),
        refused=draw(st.dictionaries(st.sampled_from(names), CODES, max_size=count)),
        ends_after=draw(st.none() | st.integers(3, 3 + 5 * count)),
        announces=announces,
        goes_on=announces and draw(st.booleans()),
        mail_max=draw(st.sampled_from([None, None, 3])),
    )


def session(
    behaviour: Behaviour, waiting: list[Transaction], random: Random, window: int | None, cap: Strategy | None
) -> tuple[Protocol, ModelServer]:
    """One session: messages go in as there is room, octets cross in any split, until nothing moves any more."""
    server = ModelServer(behaviour)
    protocol = Protocol(Settings("model", "client", window=window, strategy_at_most=cap))
    protocol.begin(0.0)
    to_server, left, now = b"", 0, 0.0
    whole = random.random() < 0.3
    while True:
        now += random.choice([0.0, 0.001, 0.1])
        mailing = protocol.mailing
        while mailing is not None and protocol.state is State.READY and waiting and mailing.room:
            mailing.submit(waiting.pop(0))
        to_server += protocol.take(now)
        size = len(to_server) if whole else random.randint(0, len(to_server))
        if not server.closed:
            server.feed(to_server[:size])
        left += size
        protocol.wrote(left, now)
        to_server = to_server[size:]
        heard = server.take_out()
        if heard:
            split = len(heard) if whole else random.randint(0, len(heard))
            protocol.receive(heard[:split], now)
            server.out = heard[split:] + server.out
        elif server.closed:
            protocol.eof()
        if protocol.is_over:
            return protocol, server
        if mailing is not None and (mailing.is_stuck or (mailing.is_idle and not (waiting and mailing.room))):
            return protocol, server
        if not heard and not to_server and not server.closed and protocol.state is State.ENDING:
            protocol.overdue()


def check(protocol: Protocol, server: ModelServer, submitted: list[Transaction]) -> tuple[set[object], set[object]]:
    """What is still to be sent, and in doubt."""
    if protocol.mailing is None:
        assert not server.accepted
        return {t.context for t in submitted}, set()
    untouched, doubtful = protocol.mailing.unfinished()
    settled = protocol.mailing.take_settled()
    account = Counter([s.transaction.context for s in settled] + [t.context for t in (*untouched, *doubtful)])
    assert account == Counter(t.context for t in submitted), protocol.failure
    by_tag = {t.context: t for t in submitted}
    taken: dict[object, list[tuple[bytes, ...]]] = {}
    for (sender, taken_for, content), times in server.accepted.items():
        tag = int(content.split(b"\r\n")[0][3:])
        assert times == 1, f"{tag} arrived {times} times"
        assert by_tag[tag].content == content
        assert by_tag[tag].sender.encode() == sender, f"{tag} left under {sender!r}"
        assert {r.encode() for r in by_tag[tag].recipients} >= set(taken_for)
        assert tag not in taken
        taken[tag] = [taken_for]
    for outcome in settled:
        tag, recipients = outcome.transaction.context, outcome.transaction.recipients
        refused = {who for who, _ in outcome.refused}
        if outcome.is_success:
            assert taken.pop(tag) == [tuple(r.encode() for r in recipients if r not in refused)]
        elif outcome.accepted:
            assert taken.pop(tag) == [tuple(r.encode() for r in outcome.accepted)]
        else:
            assert tag not in taken, f"{tag} is settled as {outcome} and was accepted"
    for transaction in untouched:
        assert transaction.context not in taken, f"{transaction.context} is said to be untouched and was accepted"
    for transaction in doubtful:
        taken.pop(transaction.context, None)
    assert not taken
    return {t.context for t in untouched}, {t.context for t in doubtful}


@settings(max_examples=400)
@given(
    data=st.data(), seed=st.integers(0, 2**32), count=st.integers(1, 24), window=st.sampled_from([None, None, 1, 2, 5])
)
def test_every_message_has_one_outcome_and_it_is_true(
    data: st.DataObject, seed: int, count: int, window: int | None
) -> None:
    behaviour = data.draw(behaviours(count))
    messages = transactions(count, data.draw(st.booleans()), data.draw(st.booleans()))
    run(behaviour, messages, Random(seed), window)


def run(behaviour: Behaviour, messages: list[Transaction], random: Random, window: int | None) -> None:
    cap: Strategy | None = None
    pending = list(messages)
    for _ in range(len(messages) + 8):
        if not pending:
            return
        before, waiting = len(pending), list(pending)
        protocol, server = session(behaviour, waiting, random, window, cap)
        submitted = [t for t in pending if t not in waiting]
        untouched, doubtful = check(protocol, server, submitted)
        again = untouched | doubtful
        pending = [t for t in pending if t in waiting or t.context in again]
        cap = protocol.next_strategy or cap
        if len(pending) == before:
            behaviour.ends_after = None  # nothing moved: a session that is let live must bring them through
            behaviour.bdat = "works" if behaviour.bdat == "closes" and cap is None else behaviour.bdat
    assert not pending, (protocol.failure, pending)


@example(closes=True, seed=0)
@example(closes=False, seed=0)
@settings(max_examples=30)
@given(closes=st.booleans(), seed=st.integers(0, 2**32))
def test_one_in_three_refused(closes: bool, seed: int) -> None:
    """As Postfix and as Exim, at their limits, each under its own sender: one session is enough for all."""
    messages = transactions(300, False, False)
    refused = {f"r{n}@x".encode(): 550 for n in range(1, 300, 3)}
    behaviour = Behaviour(closes=closes, nonmail=None if closes else 10, refused=refused)
    protocol, server = session(behaviour, messages[:], Random(seed), None, None)
    assert protocol.failure is None
    assert check(protocol, server, messages) == (set(), set())
    assert len(server.accepted) == 200
