from __future__ import annotations

import base64
import socket
import ssl
from collections.abc import Callable, Iterator

import pytest

from mailer.sandbox import Sandbox


class Client:
    """A bare SMTP client: writes what it is told, reads whole replies. Knows nothing of pipelining or states."""

    def __init__(self, sandbox: Sandbox) -> None:
        context = ssl.create_default_context(cafile=str(sandbox.ca_file))
        raw = socket.create_connection(("127.0.0.1", sandbox.port), timeout=10)
        self.socket = context.wrap_socket(raw, server_hostname="127.0.0.1")
        self._lines = self.socket.makefile("rb")
        self._sandbox = sandbox
        self.greeting = self.reply()

    def write(self, text: str | bytes) -> None:
        self.socket.sendall(text if isinstance(text, bytes) else text.replace("\n", "\r\n").encode())

    def line(self) -> str:
        return self._lines.readline().decode().rstrip("\r\n")

    def reply(self) -> str:
        """One reply; its lines are joined by newlines."""
        lines = [self.line()]
        while lines[-1][3:4] == "-":
            lines.append(self.line())
        return "\n".join(lines)

    def replies(self, count: int) -> list[str]:
        return [self.reply() for _ in range(count)]

    def say(self, text: str | bytes) -> str:
        self.write(text)
        return self.reply()

    def log_in(self) -> None:
        self.say("EHLO client.example\n")
        token = base64.b64encode(f"\0{self._sandbox.username}\0{self._sandbox.password}".encode()).decode()
        assert self.say(f"AUTH PLAIN {token}\n").startswith("235 2.7.0 ")

    def closed(self) -> bool:
        """Whether the server has ended the session."""
        return self._lines.read() == b""

    def close(self) -> None:
        self._lines.close()
        self.socket.close()


@pytest.fixture
def connect() -> Iterator[Callable[[Sandbox], Client]]:
    clients: list[Client] = []

    def connect(sandbox: Sandbox) -> Client:
        clients.append(client := Client(sandbox))
        return client

    yield connect
    for client in clients:
        client.close()


@pytest.fixture
def client(sandbox: Sandbox, connect: Callable[[Sandbox], Client]) -> Client:
    """A session that has logged in."""
    client = connect(sandbox)
    client.log_in()
    return client
