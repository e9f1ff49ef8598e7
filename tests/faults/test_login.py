"""Logins of a run: a wrong password, too many logins, tokens that expire."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest

from mailer.campaign.model import Backoff
from mailer.delivery.options import Ending
from mailer.errors import InputError
from mailer.ledger.outcome import Status
from mailer.secret import Secret
from mailer.smtp.connection import connect
from mailer.smtp.protocol.values import Strategy
from tests.faults.harness import QUICK, Bench, FakeClock
from tests.faults.server import PASSWORD, Fault, FaultServer, Step


def test_a_wrong_password_is_tried_once(tmp_path):
    bench = Bench(tmp_path, 3)
    with FaultServer(password="another") as server:
        result = bench.send(server)
    assert result.ending is Ending.UNREACHABLE
    assert server.refused_logins == 1
    assert bench.statuses() == {Status.PENDING: 3}


def test_a_login_refused_in_mid_run_ends_it(tmp_path):
    bench = Bench(tmp_path, 30)
    server = FaultServer("sequential", (Fault("mail", "drop", nth=10),))

    def script(step: Step) -> str | None:
        if step.name == "mail" and step.count == 9:
            server.password = "changed"
        return None

    server.script = script
    with server:
        result = bench.send(server)
        bench.compare_with(server)
    assert result.ending is Ending.UNREACHABLE
    assert server.refused_logins == 1
    assert bench.statuses()[Status.PENDING] >= 20


def test_too_many_logins_make_the_next_one_wait(tmp_path):
    bench, clock = Bench(tmp_path, 5), FakeClock()
    with FaultServer(
        script=lambda step: (
            "454 4.7.0 Too many login attempts" if step.name == "auth" and step.count < 3 else None
        )
    ) as server:
        result = bench.send(server, replace(QUICK, backoff=Backoff()), clock=clock)
    assert result.ending is Ending.COMPLETE
    assert sum(clock.slept) >= 30


def test_a_certificate_of_another_authority_ends_the_run_before_the_login(tmp_path):
    bench = Bench(tmp_path, 3)
    with FaultServer() as server, FaultServer() as other:
        mine, server.ca_file = server.ca_file, other.ca_file
        result = bench.send(server)
        server.ca_file = mine
    assert result.ending is Ending.UNREACHABLE
    assert result.hint
    assert server.logins == 0


def test_a_wrong_password_is_tried_once_by_all_connections_together(tmp_path):
    bench = Bench(tmp_path, 20)
    with FaultServer(password="another") as server:
        result = bench.send(server, replace(QUICK, connections=4))
    assert result.ending is Ending.UNREACHABLE
    assert server.refused_logins == 1


@pytest.mark.parametrize(("password", "refused", "logins"), [("another", 1, 1), (PASSWORD, 0, 4)])
def test_sessions_get_as_far_as_their_login_while_another_logs_in(
    tmp_path, monkeypatch, password, refused, logins
):
    arrived, everyone = [], asyncio.Event()

    async def connect_together(*given, before_login, **more):
        async def meet(hello):
            arrived.append(hello.strategy)
            if len(arrived) == 4:
                everyone.set()
            await everyone.wait()
            await before_login(hello)

        return await connect(*given, before_login=meet, **more)

    monkeypatch.setattr("mailer.delivery.session_runner.connect", connect_together)
    bench = Bench(tmp_path, 40)
    with FaultServer("pipelined", delay=0.01, password=password) as server:
        bench.send(server, replace(QUICK, connections=4))
    assert (server.refused_logins, server.logins) == (refused, logins)
    assert arrived == [Strategy.PIPELINED] * 4


class Tokens:
    """A source that gives another token each time."""

    def __init__(self, *tokens):
        self.tokens, self.read_count = tokens, 0

    def read(self):
        self.read_count += 1
        return Secret(self.tokens[min(self.read_count, len(self.tokens)) - 1])


def send_with_tokens(bench, server, tokens):
    options = bench.options(server)
    where = replace(options.server, auth=("xoauth2",), password=tokens)
    return bench.send(server, server=where)


def test_a_token_is_asked_for_anew_at_each_login(tmp_path):
    bench, tokens = Bench(tmp_path, 20), Tokens("one", "two")
    server = FaultServer("sequential", (Fault("mail", "drop", nth=10),), mechanism="XOAUTH2", password="one")

    def script(step: Step) -> None:
        if step.name == "mail" and step.count == 9:
            server.password = "two"

    server.script = script
    with server:
        assert send_with_tokens(bench, server, tokens).ending is Ending.COMPLETE
        bench.compare_with(server)
    assert server.refused_logins == 0
    assert tokens.read_count == server.logins


def test_an_expired_token_is_asked_for_once_more(tmp_path):
    bench, tokens = Bench(tmp_path, 5), Tokens("expired", "fresh")
    with FaultServer(mechanism="XOAUTH2", password="fresh") as server:
        assert send_with_tokens(bench, server, tokens).ending is Ending.COMPLETE
    assert (tokens.read_count, server.refused_logins) == (2, 1)


def test_a_token_that_is_refused_twice_ends_the_run(tmp_path):
    bench, tokens = Bench(tmp_path, 5), Tokens("expired")
    with FaultServer(mechanism="XOAUTH2", password="fresh") as server:
        assert send_with_tokens(bench, server, tokens).ending is Ending.UNREACHABLE
    assert (tokens.read_count, server.refused_logins) == (2, 2)
    assert bench.statuses() == {Status.PENDING: 5}


def test_a_token_that_cannot_be_read_ends_the_run(tmp_path):
    bench = Bench(tmp_path, 5)

    class Broken(Tokens):
        def read(self):
            raise InputError("the password command failed with status 1")

    with FaultServer(mechanism="XOAUTH2") as server:
        result = send_with_tokens(bench, server, Broken())
    assert result.ending is Ending.UNREACHABLE
    assert "failed with status 1" in result.reason


@pytest.mark.parametrize(
    "line", ["530 5.7.0 Authentication required", "530 5.7.0 Must issue a STARTTLS command first"]
)
def test_a_server_that_wants_a_login_or_tls_first_cannot_be_used(tmp_path, line):
    bench = Bench(tmp_path, 5)
    with FaultServer(script=lambda step: line if step.name == "mail" else None) as server:
        result = bench.send(server)
    assert result.ending is Ending.UNREACHABLE
    assert line.partition(" ")[2] in result.reason
    assert result.hint
    assert bench.statuses() == {Status.PENDING: 5}
