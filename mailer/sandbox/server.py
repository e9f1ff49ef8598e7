"""The sandbox server: SMTP with TLS on loopback, in a thread with an event loop of its own.

A thread, so that `send --sandbox` rehearses what a real server does to the sender's event loop: nothing.
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
from urllib.parse import quote

from aiosmtpd.smtp import LoginPassword

from mailer.sandbox.behavior import Behavior, FailurePlan
from mailer.sandbox.certificates import create_server_context
from mailer.sandbox.dialogue import DialogueLog
from mailer.sandbox.maildir import CaughtMessage, Maildir
from mailer.sandbox.protocol import CommandHandler, RefuseRecipient, SandboxProtocol, SessionSettings

GOODBYE = 0.3  # seconds that a client has, after QUIT, to close its side of TLS too
GOODBYE_TRIES, GOODBYE_PAUSE = (
    100,
    0.01,
)  # looks whether the closing sessions have ended, and seconds between them
SESSIONS_FOLDER = "sessions"  # in the maildir: the dialogues


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
        """Bind to a free loopback port, or the given one.

        OSError: it is taken, or a folder cannot be made.
        """
        listener = socket.create_server(("127.0.0.1", self._given_port))
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
                start_session, sock=listener, ssl=context, ssl_shutdown_timeout=GOODBYE
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
        for _ in range(GOODBYE_TRIES):
            if not sessions:
                break
            await asyncio.sleep(GOODBYE_PAUSE)
        tasks = asyncio.all_tasks() - {asyncio.current_task()}
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
