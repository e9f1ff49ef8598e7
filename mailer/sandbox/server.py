"""The sandbox server: SMTP with TLS on loopback, with a certificate authority of its own.

It runs in a thread with an event loop of its own: like a real server, it does not use the sender's loop.
The authority's key never touches the disk, unless the authority is to be kept.
"""

from __future__ import annotations

import asyncio
import contextlib
import datetime
import ipaddress
import os
import secrets
import shutil
import socket
import ssl
import tempfile
import threading
from pathlib import Path
from urllib.parse import quote

from aiosmtpd.smtp import LoginPassword
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from mailer.sandbox.behavior import Behavior, FailurePlan
from mailer.sandbox.dialogue import DialogueLog
from mailer.sandbox.maildir import CaughtMessage, Maildir
from mailer.sandbox.protocol import CommandHandler, RefuseRecipient, SandboxProtocol, SessionSettings

TLS_CLOSE_SECONDS = 0.3  # that a client has, after QUIT, to close its side of TLS too
END_SECONDS = 1.0  # that the sessions have to end when the server stops
END_PAUSE = 0.01  # seconds between two looks meanwhile
SESSIONS_FOLDER = "sessions"  # in the maildir: the dialogues

# A sandbox left running over a weekend still works; a leaked key does not matter long.
VALID = datetime.timedelta(days=7)
VALID_KEPT = datetime.timedelta(days=365)
CLOCK_SKEW = datetime.timedelta(minutes=10)
LOOPBACK: tuple[x509.GeneralName, ...] = (
    x509.DNSName("localhost"),
    x509.IPAddress(ipaddress.ip_address("127.0.0.1")),
    x509.IPAddress(ipaddress.ip_address("::1")),
)


class Sandbox:
    """An SMTP server with TLS, a login, a certificate authority and a maildir. It delivers no mail.

    with Sandbox() as sandbox:
        send(campaign, server=sandbox.url, ca_file=sandbox.ca_file, password=sandbox.password)
        assert len(sandbox.messages) == 3

    Arguments:
    - `maildir`: where messages are stored. By default a private temporary folder, which outlives the sandbox.
    - `port`: 0 takes a free one.
    - `password`: by default a new one.
    - `ca_dir`: a folder that keeps the certificate authority from one sandbox to the next. Default: a new one.
    - `refuse`: called with each recipient's address; returns a reply that refuses it, or None.
    - `behavior`: what the server offers and how it fails.

    The attributes below are known after `start()`.
    """

    url: str  # smtps://sandbox@127.0.0.1:PORT, with the password
    ca_file: Path
    port: int
    username: str
    password: str
    maildir: Path
    dialogues: DialogueLog

    def __init__(
        self,
        *,
        maildir: Path | None = None,
        port: int = 0,
        password: str | None = None,
        ca_dir: Path | None = None,
        refuse: RefuseRecipient | None = None,
        behavior: Behavior | None = None,
    ) -> None:
        self.username = "sandbox"
        self.password = password or secrets.token_urlsafe(12)
        self._behavior = behavior or Behavior()
        self._given_maildir = maildir
        self._given_port = port
        self._ca_dir = ca_dir
        self._refuse = refuse
        self._thread: threading.Thread | None = None
        self._folder: Path | None = None

    def start(self) -> None:
        """Listen on the given loopback port, or a free one.

        Raises OSError if it is in use or a folder cannot be created, ValueError if `ca_dir` is not usable.
        """
        listener = socket.create_server(("127.0.0.1", self._given_port))
        # Inherited by each connection. asyncio sets it only for sockets whose protocol was named.
        listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        try:
            context = self._prepare_folders()
        except BaseException:
            listener.close()
            self.stop()
            raise
        self.port = listener.getsockname()[1]
        scheme = "smtps" if self._behavior.security == "tls" else "smtp+starttls"
        login = f"{self.username}:{quote(self.password, safe='')}@" if self._behavior.has_login else ""
        self.url = f"{scheme}://{login}127.0.0.1:{self.port}"
        self._loop = asyncio.new_event_loop()
        self._stopping = asyncio.Event()
        self._thread = threading.Thread(
            target=self._run_loop, args=(listener, context), name="sandbox", daemon=True
        )
        self._thread.start()  # the listener queues clients that connect before the loop runs

    def stop(self) -> None:
        """End the server and remove the CA file. The maildir stays. A second call does nothing."""
        if self._thread:
            self._loop.call_soon_threadsafe(self._stopping.set)
            self._thread.join()
            self._thread = None
        if self._folder:
            shutil.rmtree(self._folder, ignore_errors=True)
            self._folder = None

    def __enter__(self) -> Sandbox:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    @property
    def messages(self) -> list[CaughtMessage]:
        """The messages received so far, the oldest first."""
        return list(self._store)

    def _prepare_folders(self) -> ssl.SSLContext:
        if self._ca_dir is not None:
            self._ca_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
        else:
            self._folder = Path(tempfile.mkdtemp(prefix="mailer-sandbox-"))  # mode 0700
        self.maildir = (self._given_maildir or Path(tempfile.mkdtemp(prefix="mailer-caught-"))).absolute()
        self._store = Maildir(self.maildir)
        self._store.create_folders()
        self.dialogues = DialogueLog(self.maildir / SESSIONS_FOLDER)
        folder = self._ca_dir or self._folder
        assert folder is not None  # noqa: S101 - one of the two was made above
        context, self.ca_file = create_server_context(folder, is_kept=self._ca_dir is not None)
        return context

    def _run_loop(self, listener: socket.socket, context: ssl.SSLContext) -> None:
        with contextlib.closing(self._loop):
            self._loop.run_until_complete(self._serve(listener, context))
            self._loop.run_until_complete(self._loop.shutdown_asyncgens())

    async def _serve(self, listener: socket.socket, context: ssl.SSLContext) -> None:
        has_tls = self._behavior.security == "tls"
        plan = FailurePlan(self._behavior)
        login = LoginPassword(self.username.encode(), self.password.encode())
        handler = CommandHandler(self._store.store, self._refuse, self._behavior, plan)
        settings = SessionSettings(
            handler, self._behavior, plan, login, self.dialogues, tls=None if has_tls else context
        )
        sessions: set[SandboxProtocol] = set()

        def start_session() -> SandboxProtocol:
            return SandboxProtocol(settings, sessions, self._loop)

        if has_tls:
            server = await self._loop.create_server(
                start_session, sock=listener, ssl=context, ssl_shutdown_timeout=TLS_CLOSE_SECONDS
            )
        else:
            server = await self._loop.create_server(start_session, sock=listener)
        await self._stopping.wait()
        server.close()
        await self._end_sessions(sessions)

    @staticmethod
    async def _end_sessions(sessions: set[SandboxProtocol]) -> None:
        for protocol in list(sessions):
            if not protocol.transport.is_closing():  # one that is cannot be aborted in Python 3.11.2
                protocol.transport.abort()
        for _ in range(round(END_SECONDS / END_PAUSE)):
            if not sessions:
                break
            await asyncio.sleep(END_PAUSE)
        tasks = asyncio.all_tasks() - {asyncio.current_task()}
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def create_server_context(folder: Path, *, is_kept: bool = False) -> tuple[ssl.SSLContext, Path]:
    """Return a TLS context for loopback, and the path of the CA file that verifies it.

    The file is written into `folder`. With `is_kept`, the authority's key is stored there too, readable by
    this user alone, and the next call uses it again: a client that trusts the CA file trusts every sandbox of
    that folder. Raises OSError if the folder cannot be written, ValueError if it holds something else than an
    authority of the sandbox.
    """
    ca_file = folder / "ca.pem"
    ca_key, ca = _load_authority(folder) if is_kept else (None, None)
    if ca_key is None or ca is None:
        ca_key = ec.generate_private_key(ec.SECP256R1())
        ca = _make_authority(ca_key, VALID_KEPT if is_kept else VALID)
        if is_kept:
            _write_private(folder / "ca-key.pem", _encode_private_key(ca_key))
        ca_file.write_bytes(ca.public_bytes(serialization.Encoding.PEM))
    key = ec.generate_private_key(ec.SECP256R1())
    return _make_context(folder, key, _make_server_certificate(key, ca, ca_key)), ca_file


def _load_authority(folder: Path) -> tuple[ec.EllipticCurvePrivateKey | None, x509.Certificate | None]:
    """Return the kept authority; None and None if there is none, or if it ends soon."""
    try:
        key = serialization.load_pem_private_key((folder / "ca-key.pem").read_bytes(), password=None)
        certificate = x509.load_pem_x509_certificate((folder / "ca.pem").read_bytes())
    except FileNotFoundError:
        return None, None
    if not isinstance(key, ec.EllipticCurvePrivateKey) or key.public_key() != certificate.public_key():
        raise ValueError(f"{folder}: ca-key.pem and ca.pem do not belong together; remove both")
    ends_soon = certificate.not_valid_after_utc < datetime.datetime.now(datetime.UTC) + VALID
    return (None, None) if ends_soon else (key, certificate)


def _write_private(path: Path, content: bytes) -> None:
    path.unlink(missing_ok=True)
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with open(descriptor, "wb") as file:
        file.write(content)


def _encode_private_key(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


def _make_authority(key: ec.EllipticCurvePrivateKey, valid: datetime.timedelta) -> x509.Certificate:
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "mailer sandbox CA")])
    # A CA that is trusted by mistake is trusted for loopback only (RFC 5280, 4.2.1.10).
    scope = x509.NameConstraints(
        permitted_subtrees=[
            x509.DNSName("localhost"),
            x509.IPAddress(ipaddress.ip_network("127.0.0.1/32")),
            x509.IPAddress(ipaddress.ip_network("::1/128")),
        ],
        excluded_subtrees=None,
    )
    usage = _make_key_usage(key_cert_sign=True, crl_sign=True)
    return (
        _start_certificate(name, name, key.public_key(), valid)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(usage, critical=True)
        .add_extension(scope, critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .sign(key, hashes.SHA256())
    )


def _make_server_certificate(
    key: ec.EllipticCurvePrivateKey, ca: x509.Certificate, ca_key: ec.EllipticCurvePrivateKey
) -> x509.Certificate:
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "mailer sandbox")])
    return (
        _start_certificate(name, ca.subject, key.public_key(), VALID)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_make_key_usage(digital_signature=True), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .add_extension(x509.SubjectAlternativeName(LOOPBACK), critical=False)
        .add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_public_key(ca_key.public_key()), critical=False
        )
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .sign(ca_key, hashes.SHA256())
    )


def _start_certificate(
    subject: x509.Name, issuer: x509.Name, public_key: ec.EllipticCurvePublicKey, valid: datetime.timedelta
) -> x509.CertificateBuilder:
    now = datetime.datetime.now(datetime.UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(public_key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - CLOCK_SKEW)
        .not_valid_after(now + valid)
    )


def _make_key_usage(
    *, digital_signature: bool = False, key_cert_sign: bool = False, crl_sign: bool = False
) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=digital_signature,
        key_cert_sign=key_cert_sign,
        crl_sign=crl_sign,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )


def _make_context(
    folder: Path, key: ec.EllipticCurvePrivateKey, certificate: x509.Certificate
) -> ssl.SSLContext:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    path = folder / f"server-{os.getpid()}.pem"  # the ssl module reads keys from files only
    try:
        _write_private(path, _encode_private_key(key) + certificate.public_bytes(serialization.Encoding.PEM))
        context.load_cert_chain(path)
    finally:
        path.unlink(missing_ok=True)
    return context
