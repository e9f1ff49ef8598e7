"""Opening a session over real sockets and real TLS: what the endpoint says, and why there is no session."""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest
import trustme

from mailer.errors import (
    AuthenticationError,
    ConnectionLost,
    InputError,
    TlsError,
    Unreachable,
)
from mailer.smtp import connection as shell
from mailer.smtp.connection import connect
from mailer.smtp.endpoint import ClientCertificateFiles, Endpoint, Proxy, Security
from tests.smtp import model_server
from tests.smtp.servers import Authority, Smtp, SocksServer, serve
from tests.smtp.sessions import LOGIN, Talk, message, run, send
from tests.smtp.test_tls import Server


def unused_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as sock:
        return sock.getsockname()[1]


def test_a_port_that_nothing_listens_on_is_refused_at_once(authority: Authority) -> None:
    async def test() -> None:
        with pytest.raises(Unreachable, match="nothing listens") as caught:
            await connect(authority.endpoint(unused_port()), LOGIN)
        assert "465" in (caught.value.hint or "")

    run(test)


@pytest.mark.parametrize(
    ("security", "names", "text"),
    [
        ("tls", (), "unknown|private|not trusted|issuer"),
        ("tls", ("mail.example.net",), "another name: it is for mail.example.net"),
    ],
)
def test_a_certificate_that_does_not_fit(
    authority: Authority, tmp_path: Path, security: str, names: tuple[str, ...], text: str
) -> None:
    other = Authority.make(tmp_path, *names)

    async def test() -> None:
        async with serve(Smtp(), other.context) as port:
            trusted = other if names else authority
            with pytest.raises(TlsError, match=text) as caught:
                await connect(trusted.endpoint(port), LOGIN)
            assert caught.value.hint

    run(test)


async def stay_silent(_reader: asyncio.StreamReader, _writer: asyncio.StreamWriter) -> None:
    await asyncio.sleep(60)


@pytest.mark.parametrize(
    ("security", "server"), [("tls", stay_silent), ("starttls", Smtp(instead_of_tls=b""))]
)
def test_a_handshake_that_does_not_come_to_an_end(
    authority: Authority, security: Security, server: Talk
) -> None:
    async def test() -> None:
        async with serve(server) as port:
            with pytest.raises(ConnectionLost, match="in time"):
                await connect(authority.endpoint(port, security), LOGIN, timeout=0.2)

    run(test)


def test_a_handshake_that_is_cut_off(authority: Authority) -> None:
    async def closes(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(10)

    async def test() -> None:
        async with serve(closes) as port:
            with pytest.raises(ConnectionLost, match="closed the connection"):
                await connect(authority.endpoint(port), LOGIN)

    run(test)


def test_plaintext_in_place_of_tls_is_said(authority: Authority) -> None:
    async def test() -> None:
        async with serve(Smtp()) as port:
            with pytest.raises(TlsError, match="does not speak TLS"):
                await connect(authority.endpoint(port), LOGIN)

    run(test)


@pytest.mark.parametrize(
    ("line", "code"), [("421 Too many concurrent SMTP connections", 421), ("450 later", 450)]
)
def test_a_refusal_in_place_of_tls_is_one_for_now(authority: Authority, line: str, code: int) -> None:
    """Exim says 421 in plaintext, also at a port for TLS."""

    async def refuses(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(line.encode() + b"\r\n")
        await writer.drain()
        await asyncio.sleep(0)

    async def test() -> None:
        async with serve(refuses) as port:
            with pytest.raises(ConnectionLost, match=f"before TLS: {line}") as caught:
                await connect(authority.endpoint(port), LOGIN)
            assert caught.value.reply is not None
            assert caught.value.reply.code == code

    run(test)


@pytest.mark.parametrize(
    "line", ["554 no mail here", "220 mail.example.com", "HTTP/1.1 400 Bad Request", "421-"]
)
def test_what_is_no_refusal_for_now_is_not_tls(authority: Authority, line: str) -> None:
    async def answers(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(line.encode() + b"\r\n")
        await writer.drain()

    async def test() -> None:
        async with serve(answers) as port:
            with pytest.raises(TlsError, match="does not speak TLS"):
                await connect(authority.endpoint(port), LOGIN)

    run(test)


def test_an_unusable_ca_file(tmp_path: Path) -> None:
    async def test() -> None:
        with pytest.raises(InputError):
            await connect(Endpoint("localhost", 1, "tls", tmp_path / "none.pem"), LOGIN)

    run(test)


def test_octets_behind_the_reply_to_starttls_are_never_read(authority: Authority) -> None:
    async def test() -> None:
        async with serve(Smtp(instead_of_tls=b"250-hi\r\n250 AUTH PLAIN\r\n")) as port:
            with pytest.raises(TlsError, match="before TLS began"):
                await connect(authority.endpoint(port, "starttls"), LOGIN)

    run(test)


def test_a_login_that_is_refused(authority: Authority) -> None:
    server = Smtp(login=model_server.Login("PLAIN", "ada", "another", "5.7.8 pass word is wrong"))

    async def test() -> None:
        async with serve(server, authority.context) as port:
            with pytest.raises(AuthenticationError, match="535") as caught:
                await connect(authority.endpoint(port), LOGIN)
            assert not caught.value.temporary
            assert "pass word" not in str(caught.value)

    run(test)


def wanting_certificate(
    authority: Authority, version: ssl.TLSVersion = ssl.TLSVersion.TLSv1_3
) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.ca.issue_cert("localhost").configure_cert(context)
    authority.ca.configure_trust(context)
    context.verify_mode, context.maximum_version = ssl.CERT_REQUIRED, version
    return context


@contextmanager
def tls_server(context: ssl.SSLContext) -> Iterator[int]:
    """In a thread: asyncio's TLS closes without the alert that says why."""
    server = Server(context)
    try:
        yield server.port
    finally:
        server.stop()


@pytest.mark.parametrize(
    ("version", "text"),
    [
        (ssl.TLSVersion.TLSv1_2, "refuses the TLS handshake"),
        (ssl.TLSVersion.TLSv1_3, "wants a certificate from the client"),
    ],
)
def test_a_client_certificate_that_is_wanted_is_said(
    authority: Authority, version: ssl.TLSVersion, text: str
) -> None:
    """In TLS 1.3 the alert comes after the handshake."""

    async def test() -> None:
        with (
            tls_server(wanting_certificate(authority, version)) as port,
            pytest.raises(TlsError, match=text) as caught,
        ):
            await connect(authority.endpoint(port), None)
        assert "client_cert" in (caught.value.hint or "")

    run(test)


def test_a_client_certificate_of_another_authority_is_refused(authority: Authority, tmp_path: Path) -> None:
    trustme.CA().issue_cert("x@y.example").private_key_and_cert_chain_pem.write_to_path(
        str(tmp_path / "me.pem")
    )

    async def test() -> None:
        with tls_server(wanting_certificate(authority)) as port:
            endpoint = replace(
                authority.endpoint(port), client_cert=ClientCertificateFiles(tmp_path / "me.pem")
            )
            with pytest.raises(TlsError, match="refuses our certificate"):
                await connect(endpoint, None)

    run(test)


def test_a_client_certificate_is_given(authority: Authority, tmp_path: Path) -> None:
    own = authority.ca.issue_cert("client@example.com")
    own.private_key_and_cert_chain_pem.write_to_path(str(tmp_path / "me.pem"))

    async def test() -> None:
        async with serve(Smtp(), wanting_certificate(authority)) as port:
            endpoint = replace(
                authority.endpoint(port), client_cert=ClientCertificateFiles(tmp_path / "me.pem")
            )
            session = await connect(endpoint, None)
            assert await send(session, [message(1)]) == {1: 250}
            await session.quit()

    run(test)


def test_silence_is_explained_while_it_lasts(authority: Authority, monkeypatch: pytest.MonkeyPatch) -> None:
    """STARTTLS at a port that speaks TLS from the first byte: both sides wait for the other."""
    monkeypatch.setattr(shell, "SILENCE", 0.02)
    notices: list[str] = []

    async def test() -> None:
        async with serve(Smtp(), authority.context) as port:
            with pytest.raises(ConnectionLost, match="did not answer") as caught:
                await connect(
                    authority.endpoint(port, "starttls"), LOGIN, timeout=0.2, on_notice=notices.append
                )
            assert "from the first byte" in (caught.value.hint or "")
        assert len(notices) == 1
        assert "has not greeted within 0.02 seconds: the port may speak TLS from the first byte" in notices[0]

    run(test)


def test_no_notice_for_a_server_that_greets(authority: Authority, monkeypatch: pytest.MonkeyPatch) -> None:
    notices: list[str] = []

    async def test() -> None:
        async with serve(Smtp(), authority.context) as port:
            await (await connect(authority.endpoint(port), LOGIN, on_notice=notices.append)).quit()
        assert notices == []

    run(test)


def test_the_address_that_worked_is_known_to_the_next_session(authority: Authority) -> None:
    async def test() -> None:
        async with serve(Smtp(), authority.context) as port:
            session = await connect(authority.endpoint(port), LOGIN)
            assert session.traits.address == ("127.0.0.1", port)
            await session.quit()
            again = await connect(authority.endpoint(port), LOGIN, traits=session.traits)
            await again.quit()

    run(test)


def test_the_ehlo_name_is_said(authority: Authority) -> None:
    async def test() -> None:
        server = Smtp()
        async with serve(server, authority.context) as port:
            await (
                await connect(replace(authority.endpoint(port), ehlo_name="mail.example.net"), LOGIN)
            ).quit()
            await (await connect(replace(authority.endpoint(port), ehlo_name=None), LOGIN)).quit()
        assert [line for line in server.commands if line.startswith("EHLO")] == [
            "EHLO mail.example.net",
            "EHLO [127.0.0.1]",
        ]

    run(test)


def test_a_session_through_a_proxy(authority: Authority) -> None:
    async def test() -> None:
        server = Smtp()
        async with (
            serve(server, authority.context) as port,
            serve(SocksServer({"localhost": "127.0.0.1"})) as proxy,
        ):
            endpoint = replace(authority.endpoint(port), proxy=Proxy("127.0.0.1", proxy))
            session = await connect(endpoint, LOGIN)
            assert await send(session, [message(1, 100_000)]) == {1: 250}
            assert session.traits.address is None
            await session.quit()

    run(test)
