"""A socket, in TLS or not, that reads and writes at once as the event loop finds it ready.

Beside asyncio's transports it costs half the CPU time a message (in 3.11 their TLS is Python, with a layer of buffers),
it says exactly how much has left this machine, and it reads what came before a reset: a transport whose write
fails drops replies that are already here.
"""

from __future__ import annotations

import asyncio
import socket
import ssl
from contextlib import suppress
from typing import Protocol

READ = 64 * 1024


class User(Protocol):
    """Who speaks through a channel."""

    def received(self, data: bytes) -> None: ...

    def ended(self, error: OSError | None) -> None:
        """Nothing more can be read: the peer closed (None), or the connection broke."""

    def next_output(self) -> bytes:
        """What is to be written now; b"" when there is nothing."""

    def left(self, octets: int) -> None:
        """At most so many octets of all the output have left this machine by now."""


class Channel:
    """Every method is called in the event loop's thread."""

    def __init__(self, sock: socket.socket, user: User) -> None:
        self.tls: ssl.SSLObject | None = None
        self._loop = asyncio.get_running_loop()
        self._sock = sock
        self._user = user
        self._from_peer = ssl.MemoryBIO()
        self._to_peer = ssl.MemoryBIO()
        self._buffer = memoryview(bytearray(READ))
        self._out = memoryview(b"")  # what the socket did not take yet
        self._output = 0  # octets of output that are in _out or gone
        self._last_output = 0  # of these, those of the last piece
        self._gone = 0  # octets of the last piece that the socket took, encrypted
        self._watching = False  # for the socket to take more
        self._broken = False  # it takes nothing any more

    def start(self) -> None:
        self._loop.add_reader(self._sock, self._readable)

    async def handshake(self, context: ssl.SSLContext, host: str) -> ssl.SSLObject:
        """From plaintext to TLS. OSError (ssl.SSLError among them) when it fails; the caller bounds the time."""
        self._loop.remove_reader(self._sock)
        tls = context.wrap_bio(self._from_peer, self._to_peer, server_hostname=host)
        while True:
            try:
                tls.do_handshake()
                break
            except ssl.SSLWantReadError:
                await self._flush()
            except ssl.SSLError:
                await self._flush()  # the alert that says why
                raise
            if data := await self._loop.sock_recv(self._sock, READ):
                self._from_peer.write(data)
            else:
                self._from_peer.write_eof()
        await self._flush()
        self.tls = tls
        self.start()
        self._loop.call_soon(self._read_tls)  # what came with the end of the handshake
        return tls

    async def _flush(self) -> None:
        if self._to_peer.pending:
            await self._loop.sock_sendall(self._sock, self._to_peer.read())

    def close(self) -> None:
        """At once. In TLS the peer is told so, if the socket takes it (RFC 8446 6.1)."""
        if self._sock.fileno() < 0:
            return
        self._loop.remove_reader(self._sock)
        self._loop.remove_writer(self._sock)
        if self.tls is not None and not self._out:
            with suppress(OSError):  # the peer was faster
                self._say_goodbye(self.tls)
        self._sock.close()

    def _say_goodbye(self, tls: ssl.SSLObject) -> None:
        with suppress(ssl.SSLError):  # its own goodbye has not come, and is not waited for
            tls.unwrap()
        if self._to_peer.pending:
            self._sock.send(self._to_peer.read())

    # -- reading --

    def _readable(self) -> None:
        try:
            count = self._sock.recv_into(self._buffer)
        except (BlockingIOError, InterruptedError):
            return
        except OSError as error:
            self._end(error)
            return
        if not count:
            self._end(None)
        elif self.tls is None:
            self._user.received(bytes(self._buffer[:count]))
        else:
            self._from_peer.write(self._buffer[:count])
            self._read_tls()

    def _read_tls(self) -> None:
        while self.tls is not None and self._sock.fileno() >= 0:
            try:
                data = self.tls.read(READ)
            except ssl.SSLWantReadError:
                return
            except (ssl.SSLZeroReturnError, ssl.SSLEOFError):
                self._end(None)
                return
            except ssl.SSLError as error:
                self._end(error)
                return
            if not data:
                self._end(None)
                return
            self._user.received(data)

    def _end(self, error: OSError | None) -> None:
        self._loop.remove_reader(self._sock)
        self._user.ended(error)

    # -- writing --

    @property
    def is_full(self) -> bool:
        """The socket takes nothing at present; when it does again, output is taken from the user by itself."""
        return self._watching

    def write(self) -> None:
        """Take output from the user as long as the socket takes it; called whenever there may be some."""
        if self._sock.fileno() < 0 or self._broken:
            return
        while self._out or self._refill():
            try:
                count = self._sock.send(self._out)
            except (BlockingIOError, InterruptedError):
                self._watch(True)
                return
            except OSError:
                # The peer has closed. What it said before is still to be read, and reading will meet the end too.
                self._broken = True
                break
            self._out = self._out[count:]
            self._gone += count
            # Encrypted octets are never fewer than plain ones, so this is an upper bound.
            self._user.left(self._output - self._last_output + min(self._gone, self._last_output))
        self._watch(False)

    def _refill(self) -> bool:
        data = self._user.next_output()
        if data:
            self._output += len(data)
            self._last_output = len(data)
            self._gone = 0
        if self.tls is None:
            self._out = memoryview(data)
            return bool(data)
        rest = memoryview(data)
        while rest:
            rest = rest[self.tls.write(rest) :]
        if self._to_peer.pending:  # TLS may have something of its own to say (RFC 8446 4.6.3)
            self._out = memoryview(self._to_peer.read())
        return bool(self._out)

    def _watch(self, watching: bool) -> None:
        if watching != self._watching:
            self._watching = watching
            if watching:
                self._loop.add_writer(self._sock, self.write)
            else:
                self._loop.remove_writer(self._sock)
