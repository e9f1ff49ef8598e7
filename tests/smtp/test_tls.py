"""TLS against a server in this process: what is accepted, and what each refusal says."""

from __future__ import annotations

import asyncio
import os
import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import trustme
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from mailer.errors import InputError, TlsError
from mailer.smtp.certificate import summarize_certificate
from mailer.smtp.endpoint import ClientCertificateFiles, Endpoint
from mailer.smtp.tls import (
    fetch_certificate_names,
    get_client_context,
    make_client_context,
    make_security_hint,
    make_tls_error,
)
from tests.smtp.servers import Smtp
from tests.smtp.servers import serve as serve_sessions

NOW = datetime.now(UTC)
Serve = Callable[[ssl.SSLContext | bytes], int]


class Server:
    """Accepts on loopback; does TLS with a context, or writes some octets and closes. It speaks no SMTP."""

    def __init__(self, behaviour: ssl.SSLContext | bytes) -> None:
        self.behaviour = behaviour
        self.socket = socket.create_server(("127.0.0.1", 0))
        self.port: int = self.socket.getsockname()[1]
        self.thread = threading.Thread(target=self._run, daemon=True)
        self.thread.start()

    def _run(self) -> None:
        with suppress(OSError):
            while True:
                peer, _ = self.socket.accept()
                with suppress(OSError), closing(peer):
                    peer.settimeout(5)
                    self._serve(peer)

    def _serve(self, peer: socket.socket) -> None:
        if isinstance(self.behaviour, bytes):
            peer.sendall(self.behaviour)
            peer.recv(4096)
            return
        with self.behaviour.wrap_socket(peer, server_side=True) as tls:
            tls.recv(1)

    def stop(self) -> None:
        with suppress(OSError):
            self.socket.shutdown(socket.SHUT_RDWR)
        self.socket.close()
        self.thread.join(5)


@pytest.fixture(scope="module")
def ca() -> trustme.CA:
    return trustme.CA()


@pytest.fixture
def serve() -> Iterator[Serve]:
    servers: list[Server] = []

    def start(behaviour: ssl.SSLContext | bytes) -> int:
        servers.append(Server(behaviour))
        return servers[-1].port

    yield start
    for server in servers:
        server.stop()


def with_certificate(certificate: trustme.LeafCert) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    certificate.configure_cert(context)
    return context


@pytest.fixture
def ca_file(ca: trustme.CA, tmp_path: Path) -> Path:
    ca.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    return tmp_path / "ca.pem"


def handshake(port: int, ca_file: Path | None, host: str = "localhost") -> ssl.SSLSocket:
    plain = socket.create_connection(("127.0.0.1", port), timeout=5)
    try:
        return make_client_context(ca_file).wrap_socket(plain, server_hostname=host)
    except BaseException:
        plain.close()
        raise


def failure(port: int, ca_file: Path | None, host: str = "localhost", **details: object) -> TlsError:
    with pytest.raises(OSError) as caught:
        handshake(port, ca_file, host).close()
    return make_tls_error(caught.value, host, port=port, **details)  # type: ignore[arg-type]  # whichever the test names


def test_a_good_certificate(ca: trustme.CA, ca_file: Path, serve: Serve) -> None:
    port = serve(with_certificate(ca.issue_cert("localhost", "127.0.0.1", common_name="localhost")))
    with handshake(port, ca_file) as tls:
        assert tls.version() in {"TLSv1.2", "TLSv1.3"}
        summary = summarize_certificate(tls)
    assert summary is not None
    assert summary.names == ("localhost", "127.0.0.1")
    assert "CN=localhost" in summary.subject
    assert "trustme" in summary.issuer
    assert datetime.fromisoformat(summary.valid_from) < NOW < datetime.fromisoformat(summary.valid_until)
    with handshake(port, ca_file, "127.0.0.1"):
        pass


def test_an_expired_certificate_is_said_to_be(ca: trustme.CA, ca_file: Path, serve: Serve) -> None:
    old = ca.issue_cert("localhost", not_before=NOW - timedelta(days=90), not_after=NOW - timedelta(days=1))
    error = failure(serve(with_certificate(old)), ca_file)
    assert "has expired" in str(error)
    assert "renew" in (error.hint or "")


def test_a_certificate_that_is_not_valid_yet_hints_at_the_clock(
    ca: trustme.CA, ca_file: Path, serve: Serve
) -> None:
    early = ca.issue_cert("localhost", not_before=NOW + timedelta(days=1), not_after=NOW + timedelta(days=90))
    error = failure(serve(with_certificate(early)), ca_file)
    assert "not valid yet" in str(error)
    assert "clock" in (error.hint or "")


def test_an_unknown_issuer_is_said_to_be(ca_file: Path, serve: Serve) -> None:
    port = serve(with_certificate(trustme.CA().issue_cert("localhost")))
    for trusted in (ca_file, None):
        error = failure(port, trusted)
        assert "issuer that is not trusted" in str(error)
        assert "--ca-file" in (error.hint or "")


def self_signed() -> tuple[trustme.CA, ssl.SSLContext]:
    """A CA's own certificate signs itself and serves."""
    own = trustme.CA()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    with own.private_key_pem.tempfile() as key, own.cert_pem.tempfile() as certificate:
        context.load_cert_chain(certificate, key)
    return own, context


def test_a_self_signed_certificate_is_said_to_be(ca_file: Path, serve: Serve, tmp_path: Path) -> None:
    own, context = self_signed()
    port = serve(context)
    error = failure(port, ca_file)
    assert "is self-signed" in str(error)
    assert "no switch" in (error.hint or "")
    own.cert_pem.write_to_path(
        str(tmp_path / "own.pem")
    )  # the way out that the hint names; it bears no name, though
    assert "another name" in str(failure(port, tmp_path / "own.pem"))


def test_private_ca_in_the_chain(ca_file: Path, serve: Serve) -> None:
    private = trustme.CA()
    context = with_certificate(private.issue_cert("localhost"))
    certificate = private.issue_cert("localhost")
    chain = b"".join([*(pem.bytes() for pem in certificate.cert_chain_pems), private.cert_pem.bytes()])
    with trustme.Blob(chain).tempfile() as chain_file, certificate.private_key_pem.tempfile() as key:
        context.load_cert_chain(chain_file, key)
    assert "private CA" in str(failure(serve(context), ca_file))


def test_ca_file_may_hold_the_servers_own_certificate(ca: trustme.CA, serve: Serve, tmp_path: Path) -> None:
    certificate = ca.issue_cert("localhost")
    certificate.cert_chain_pems[0].write_to_path(str(tmp_path / "leaf.pem"))
    with handshake(serve(with_certificate(certificate)), tmp_path / "leaf.pem"):
        pass


def test_a_certificate_for_another_name_says_which(ca: trustme.CA, ca_file: Path, serve: Serve) -> None:
    port = serve(with_certificate(ca.issue_cert("mail.example.com", "*.example.net")))
    assert "for another name" in str(failure(port, ca_file))
    names = asyncio.run(fetch_certificate_names(Endpoint("127.0.0.1", port, ca_file=ca_file)))
    assert names == ("mail.example.com", "*.example.net")
    error = failure(port, ca_file, names=names)
    assert "it is for mail.example.com, *.example.net, not for localhost" in str(error)
    assert "another name" in str(failure(port, ca_file, host="127.0.0.1"))  # an address has a code of its own


def test_names_are_read_of_a_trusted_chain_only(serve: Serve, ca_file: Path) -> None:
    port = serve(with_certificate(trustme.CA().issue_cert("mail.example.com")))
    assert asyncio.run(fetch_certificate_names(Endpoint("127.0.0.1", port, ca_file=ca_file))) is None


@pytest.mark.slow
@pytest.mark.parametrize("behaviour", [b"", b"220 ready\r\n", b"500 no\r\n" * 3, b"x" * 70_000])
def test_what_does_not_speak_tls_has_no_names(serve: Serve, ca_file: Path, behaviour: bytes) -> None:
    port = serve(behaviour)
    assert (
        asyncio.run(fetch_certificate_names(Endpoint("127.0.0.1", port, "starttls", ca_file), seconds=2))
        is None
    )
    assert (
        asyncio.run(fetch_certificate_names(Endpoint("127.0.0.1", port, ca_file=ca_file), seconds=2)) is None
    )


def test_names_behind_starttls(ca: trustme.CA, ca_file: Path) -> None:
    async def main() -> tuple[str, ...] | None:
        server = Smtp(starttls=with_certificate(ca.issue_cert("mail.example.com")))
        async with serve_sessions(server) as port:
            return await fetch_certificate_names(Endpoint("127.0.0.1", port, "starttls", ca_file))

    assert asyncio.run(main()) == ("mail.example.com",)


def test_plaintext_on_a_tls_port(serve: Serve, ca_file: Path) -> None:
    port = serve(b"220 mail.example.com ESMTP\r\n")
    error = failure(port, ca_file)
    assert "does not speak TLS" in str(error)
    assert "starttls (port 587)" in (error.hint or "")
    assert "in the way" in (failure(port, ca_file, security="starttls").hint or "")


@pytest.mark.filterwarnings("ignore:ssl.TLSVersion.TLSv1:DeprecationWarning")
def test_tls_before_1_2_is_refused(ca: trustme.CA, ca_file: Path, serve: Serve) -> None:
    context = with_certificate(ca.issue_cert("localhost"))
    context.set_ciphers("ALL:@SECLEVEL=0")
    context.minimum_version = ssl.TLSVersion.TLSv1
    context.maximum_version = ssl.TLSVersion.TLSv1_1
    error = failure(serve(context), ca_file)
    assert "older than 1.2" in str(error)


def test_closed_during_the_handshake(serve: Serve, ca_file: Path) -> None:
    assert "closed the connection" in str(failure(serve(b""), ca_file))


@pytest.mark.parametrize(
    ("error", "text"),
    [
        (TimeoutError(), "in time"),
        (ConnectionAbortedError("SSL handshake is taking longer than 60.0 seconds"), "in time"),
        (ConnectionResetError(104, "reset"), "closed the connection"),
        (ssl.SSLError(1, "[SSL: NO_SHARED_CIPHER] no shared cipher"), "NO_SHARED_CIPHER"),
        (OSError("odd\x1b[31m\nthing"), "odd\\x1b[31m thing"),
        (ValueError(), "ValueError"),
    ],
)
def test_other_failures_are_one_line(error: Exception, text: str) -> None:
    explained = make_tls_error(error, "mail.example.com", port=465)
    assert text in str(explained)
    assert "mail.example.com:465" in str(explained)
    assert str(explained).isprintable()


def test_ports_for_the_other_security() -> None:
    assert "starttls" in (make_security_hint(587, "tls") or "")
    assert "smtps://" in (make_security_hint(465, "starttls") or "")
    assert make_security_hint(465, "tls") is None
    assert make_security_hint(587, "starttls") is None
    assert "starttls" in (make_tls_error(TimeoutError(), "h", port=587).hint or "")


def test_the_context_has_no_way_out(ca_file: Path) -> None:
    for trusted in (ca_file, None):
        context = make_client_context(trusted)
        assert context.verify_mode is ssl.CERT_REQUIRED
        assert context.check_hostname
        assert context.minimum_version is ssl.TLSVersion.TLSv1_2


def test_ca_file_alone_is_trusted(ca_file: Path) -> None:
    assert make_client_context(ca_file).cert_store_stats()["x509_ca"] == 1


def test_ca_file_may_hold_comments(ca: trustme.CA, tmp_path: Path) -> None:
    path = tmp_path / "ca.pem"
    path.write_bytes("# Firma Müller\n".encode("latin-1") + ca.cert_pem.bytes())
    assert make_client_context(path).cert_store_stats()["x509"] == 1


def test_a_malformed_ca_file_is_refused(tmp_path: Path, ca: trustme.CA) -> None:
    (tmp_path / "empty").write_bytes(b"")
    (tmp_path / "der").write_bytes(ssl.PEM_cert_to_DER_cert(ca.cert_pem.bytes().decode()))
    (tmp_path / "key").write_bytes(ca.private_key_pem.bytes())
    (tmp_path / "cut").write_bytes(ca.cert_pem.bytes()[:300])
    (tmp_path / "damaged").write_bytes(ca.cert_pem.bytes().replace(b"M", b"?", 5))
    os.mkfifo(tmp_path / "fifo")
    with (tmp_path / "huge").open("wb") as huge:
        huge.truncate(1 << 30)
    expected = {
        "missing": "No such file",
        "": "not a regular file",
        "fifo": "not a regular file",
        "huge": "are accepted",
        "empty": "holds no certificate",
        "der": "holds no certificate",
        "key": "holds no certificate",
        "cut": "damaged certificate",
        "damaged": "damaged certificate",
    }
    for name, text in expected.items():
        with pytest.raises(InputError, match=text):
            make_client_context(tmp_path / name)


def test_a_ca_file_that_cannot_be_read_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(self: Path) -> bytes:
        raise PermissionError(13, "Permission denied")

    (tmp_path / "ca.pem").write_bytes(b"x")
    monkeypatch.setattr(Path, "read_bytes", refuse)
    with pytest.raises(InputError, match="cannot be read: Permission denied"):
        make_client_context(tmp_path / "ca.pem")


def test_no_summary_before_the_handshake() -> None:
    tls = make_client_context(None).wrap_bio(ssl.MemoryBIO(), ssl.MemoryBIO(), server_hostname="localhost")
    with suppress(ValueError):  # Python's way to say: not yet
        assert summarize_certificate(tls) is None


def test_a_common_name_does_not_count(tmp_path: Path, serve: Serve) -> None:
    """RFC 9525: only subjectAltName has names."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "localhost")])
    builder = x509.CertificateBuilder(name, name, key.public_key(), 1, NOW - timedelta(1), NOW + timedelta(1))
    encoding = serialization.Encoding.PEM
    ca_file = tmp_path / "own.pem"
    ca_file.write_bytes(builder.sign(key, hashes.SHA256()).public_bytes(encoding))
    key_format, no_password = serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    (tmp_path / "key.pem").write_bytes(key.private_bytes(encoding, key_format, no_password))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(ca_file, tmp_path / "key.pem")
    port = serve(context)
    assert asyncio.run(fetch_certificate_names(Endpoint("127.0.0.1", port, ca_file=ca_file))) == ()
    error = failure(port, ca_file, names=())
    assert "has no subjectAltName" in str(error)


def test_client_certificates_that_cannot_be_used(tmp_path: Path, ca: trustme.CA) -> None:
    one, other = ca.issue_cert("a@example.com"), ca.issue_cert("b@example.com")
    one.cert_chain_pems[0].write_to_path(str(tmp_path / "cert.pem"))
    other.private_key_pem.write_to_path(str(tmp_path / "key.pem"))
    for files, text in (
        (
            ClientCertificateFiles(tmp_path / "missing.pem"),
            "client_cert cannot be read: .*missing.pem: No such file",
        ),
        (ClientCertificateFiles(tmp_path / "cert.pem"), "client_cert cannot be used"),
        (ClientCertificateFiles(tmp_path / "cert.pem", tmp_path / "key.pem"), "key values mismatch"),
    ):
        with pytest.raises(InputError, match=text):
            make_client_context(None, files)


def test_an_encrypted_key_asks_nothing_at_the_terminal(tmp_path: Path, ca: trustme.CA) -> None:
    own = ca.issue_cert("a@example.com")
    key = serialization.load_pem_private_key(own.private_key_pem.bytes(), None)
    encrypted = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.BestAvailableEncryption(b"secret"),
    )
    (tmp_path / "me.pem").write_bytes(own.cert_chain_pems[0].bytes() + encrypted)
    with pytest.raises(InputError, match="client_cert cannot be used") as caught:
        make_client_context(None, ClientCertificateFiles(tmp_path / "me.pem"))
    assert "without a password" in (caught.value.hint or "")


def test_chains_to_the_systems_store_are_checked_strictly(ca_file: Path) -> None:
    assert make_client_context(None).verify_flags & ssl.VERIFY_X509_STRICT
    assert not make_client_context(ca_file).verify_flags & ssl.VERIFY_X509_STRICT
    assert not make_client_context(None).hostname_checks_common_name


def test_sessions_share_a_context_until_its_file_changes(tmp_path: Path, ca: trustme.CA) -> None:
    ca_file = tmp_path / "ca.pem"
    ca_file.write_bytes(ca.cert_pem.bytes())
    endpoint = Endpoint("localhost", 465, "tls", ca_file)
    context = get_client_context(endpoint)
    assert get_client_context(replace(endpoint, host="127.0.0.1")) is context
    ca_file.write_bytes(b"# the same certificate\n" + ca.cert_pem.bytes())
    assert get_client_context(endpoint) is not context
    ca_file.write_text("no certificate")
    with pytest.raises(InputError):
        get_client_context(endpoint)
