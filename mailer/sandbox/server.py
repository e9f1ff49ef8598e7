"""The sandbox server: SMTPS on loopback in a thread with an event loop of its own.

A thread, so that `send --sandbox` rehearses what a real server would do to the sender's event loop: nothing.
"""

from __future__ import annotations

import asyncio
import contextlib
import secrets
import shutil
import socket
import ssl
import tempfile
import threading
from pathlib import Path

from mailer.sandbox.certificates import create_server_context
from mailer.sandbox.maildir import CaughtMessage, Maildir
from mailer.sandbox.protocol import CommandHandler, RefuseRecipient, SandboxProtocol

GOODBYE = 0.3  # seconds that a client has, after QUIT, to close its side of TLS too
GOODBYE_TRIES, GOODBYE_PAUSE = 100, 0.01  # looks whether the closing sessions have ended, and seconds between them


class Sandbox:
    """An SMTPS server with a login, a throw-away CA and a maildir; it delivers to nobody.

    `maildir` is where caught messages stay; without one it is a private temporary folder, which outlives the
    sandbox, so that its messages can be read afterwards. `refuse` answers a recipient's address with a reply that
    refuses it ("550 5.1.1 No such user"), or None. The addresses below are known after `start()`.
    """

    url: str  # smtps://sandbox:PASSWORD@127.0.0.1:PORT
    ca_file: Path
    port: int
    username: str
    password: str
    maildir: Path

    def __init__(self, *, maildir: Path | None = None, port: int = 0, refuse: RefuseRecipient | None = None) -> None:
        self.username = "sandbox"
        self.password = secrets.token_urlsafe(12)
        self._given_maildir = maildir
        self._given_port = port
        self._refuse = refuse
        self._thread: threading.Thread | None = None
        self._folder: Path | None = None

    def start(self) -> None:
        """Bind to a free loopback port, or the given one. OSError: it is taken, or the maildir cannot be made."""
        listener = socket.create_server(("127.0.0.1", self._given_port))
        try:
            context = self._prepare()
        except BaseException:
            listener.close()
            self.stop()
            raise
        self.port = listener.getsockname()[1]
        self.url = f"smtps://{self.username}:{self.password}@127.0.0.1:{self.port}"
        self._loop = asyncio.new_event_loop()
        self._stopping = asyncio.Event()
        self._thread = threading.Thread(target=self._run, args=(listener, context), name="sandbox", daemon=True)
        self._thread.start()  # the listener queues whoever comes before the loop turns

    def _prepare(self) -> ssl.SSLContext:
        self._folder = Path(tempfile.mkdtemp(prefix="mailer-sandbox-"))  # mode 0700
        self.maildir = (self._given_maildir or Path(tempfile.mkdtemp(prefix="mailer-caught-"))).absolute()
        self._store = Maildir(self.maildir)
        self._store.create()
        context, self.ca_file = create_server_context(self._folder)
        return context

    def stop(self) -> None:
        """End the server and remove the CA. The maildir stays. A second call does nothing."""
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

    def _run(self, listener: socket.socket, context: ssl.SSLContext) -> None:
        with contextlib.closing(self._loop):
            self._loop.run_until_complete(self._serve(listener, context))
            self._loop.run_until_complete(self._loop.shutdown_asyncgens())

    async def _serve(self, listener: socket.socket, context: ssl.SSLContext) -> None:
        handler = CommandHandler(self._store.store, self._refuse)
        sessions: set[SandboxProtocol] = set()

        def session() -> SandboxProtocol:
            return SandboxProtocol(handler, self.username, self.password, sessions, self._loop)

        server = await self._loop.create_server(session, sock=listener, ssl=context, ssl_shutdown_timeout=GOODBYE)
        await self._stopping.wait()
        server.close()
        for protocol in list(sessions):
            if not protocol.transport.is_closing():  # one that is cannot be aborted in Python 3.11.2
                protocol.transport.abort()
        for _ in range(GOODBYE_TRIES):
            if not sessions:
                break
            await asyncio.sleep(GOODBYE_PAUSE)
        tasks = asyncio.all_tasks() - {asyncio.current_task()}
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
