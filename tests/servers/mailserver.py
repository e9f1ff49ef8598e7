"""What the real servers have in common: a private folder, free ports on loopback, a process, and a maildir to read."""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from email.message import EmailMessage
from email.parser import BytesParser
from email.policy import SMTP
from pathlib import Path
from typing import NoReturn
from urllib.parse import quote

import pytest
import trustme

HERE = Path(__file__).parent
PACKAGES = HERE / ".packages"
USERNAME = "news@example.com"
PASSWORD = "pâss wörd/%41"  # what a URL, base64 and a config file can each get wrong


class NotInstalled(Exception):
    """The server is not there, though install.sh could have put it there; the text says which."""


class CannotRun(Exception):
    """The server is there, and this machine's limits do not let it run; the text says why."""


@dataclass
class MailServer:
    """A running server. `ports`: what to connect to, by name: "smtps" (TLS), "submission" (STARTTLS), and variants."""

    name: str
    folder: Path
    ports: Mapping[str, int]
    ca_file: Path
    maildir: Path
    flush: Callable[[], None] = lambda: None
    host: str = "127.0.0.1"
    username: str = USERNAME
    password: str = PASSWORD
    logs: Sequence[Path] = field(default_factory=list)

    def url(self, port: str = "smtps") -> str:
        """For --server; the password goes by the environment."""
        scheme = {"smtps": "smtps", "submission": "smtp+starttls", "smtp": "smtp"}[port.partition("-")[0]]
        user = f"{quote(self.username)}@" if self.username else ""
        return f"{scheme}://{user}{self.host}:{self.ports[port]}"

    def files(self) -> list[Path]:
        return sorted((self.maildir / "new").glob("*"))

    def messages(self, count: int | None = None, *, seconds: float = 30) -> list[EmailMessage]:
        """What arrived, read by the standard library's parser; waits until `count` are there."""
        deadline = time.monotonic() + seconds
        while count is not None and len(self.files()) < count and time.monotonic() < deadline:
            self.flush()
            time.sleep(0.05)
        if count is not None:  # one that came twice may still be on its way
            self.flush()
            time.sleep(0.2)
        found = [parse(path.read_bytes()) for path in self.files()]
        assert count is None or len(found) == count, f"{len(found)} of {count} arrived\n{self.log()}"
        return found

    def emptied(self) -> MailServer:
        """Forgets what arrived."""
        for path in self.files():
            path.unlink()
        return self

    def log(self) -> str:
        """The end of the server's own log, for the message of a failed test."""
        return "\n".join(path.read_text(errors="replace")[-3000:] for path in self.logs if path.exists())


def parse(octets: bytes) -> EmailMessage:
    # A maildir has the system's line ends; the sandbox keeps SMTP's. Binary parts travel in base64.
    message = BytesParser(policy=SMTP.clone(utf8=True)).parsebytes(octets.replace(b"\r\n", b"\n"))
    assert isinstance(message, EmailMessage)
    return message


def binary(package: str, path: str) -> Path:
    found = PACKAGES / package / path
    if not found.exists():
        raise NotInstalled(f"{package} is not installed: run tests/servers/install.sh")
    if os.geteuid() != 0:
        raise NotInstalled(f"{package} must be started by root")
    return found


def skip_or_fail(error: NotInstalled | CannotRun) -> NoReturn:
    """A server that is missing is a skip with its reason; in CI it should have been installed, so a failure."""
    if os.environ.get("CI") == "true" and isinstance(error, NotInstalled):
        pytest.fail(str(error))
    pytest.skip(str(error))


def free_ports(*names: str) -> dict[str, int]:
    """A free port for each name; all are held at once, so that they differ."""
    with ExitStack() as stack:
        sockets = [stack.enter_context(socket.create_server(("127.0.0.1", 0))) for _ in names]
        return {name: held.getsockname()[1] for name, held in zip(names, sockets, strict=True)}


@contextmanager
def private_folder(name: str) -> Iterator[Path]:
    """Short enough for Unix sockets (107 octets), open to the servers' users, in memory if there is room."""
    memory = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
    folder = Path(tempfile.mkdtemp(prefix=f"mailer-{name}-", dir=memory))
    folder.chmod(0o755)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def own(path: Path, user: str, mode: int = 0o700) -> Path:
    """Makes a folder that belongs to a user of the system."""
    path.mkdir(parents=True, exist_ok=True)
    account = pwd.getpwnam(user)
    os.chown(path, account.pw_uid, account.pw_gid)
    path.chmod(mode)
    return path


def write_certificate(ca: trustme.CA, folder: Path, user: str) -> tuple[Path, Path]:
    """A certificate for loopback and its key, readable by the server's user only."""
    certificate = ca.issue_cert("localhost", "127.0.0.1")
    chain, key = folder / "tls.pem", folder / "tls.key"
    chain.write_bytes(b"".join(pem.bytes() for pem in certificate.cert_chain_pems))
    key.write_bytes(certificate.private_key_pem.bytes())
    key.chmod(0o600)
    account = pwd.getpwnam(user)
    os.chown(key, account.pw_uid, account.pw_gid)
    return chain, key


@contextmanager
def process(
    command: Sequence[str | Path], output: Path, *, environment: Mapping[str, str] | None = None
) -> Iterator[subprocess.Popen[bytes]]:
    """A server in a session of its own; at the end it, and all that it started, is stopped."""
    with output.open("wb") as log:
        running = subprocess.Popen(
            [str(word) for word in command],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
            env={**os.environ, **(environment or {})},
        )
    try:
        yield running
    finally:
        running.terminate()
        with suppress(subprocess.TimeoutExpired):
            running.wait(5)
        with suppress(ProcessLookupError):
            os.killpg(running.pid, signal.SIGKILL)
        running.wait(5)


def wait_for_ports(
    running: subprocess.Popen[bytes], ports: Mapping[str, int], log: Path, *, seconds: float = 20
) -> None:
    deadline = time.monotonic() + seconds
    for port in ports.values():
        while True:
            if running.poll() is not None or time.monotonic() > deadline:
                raise AssertionError(
                    f"{running.args!r} does not listen:\n{log.read_text(errors='replace')[-3000:]}"
                )
            with suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
                break
            time.sleep(0.02)
