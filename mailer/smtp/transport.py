"""A socket, in TLS or not, that reads and writes at once as the event loop finds it ready.

It costs half the CPU time a message of asyncio's transports (in 3.11 their TLS is Python, with a layer of
buffers). It says exactly how much has left this machine. And it reads what came before a reset: a transport
of asyncio whose write fails drops replies that are already here.
"""

from __future__ import annotations

import asyncio
import re
import socket
import ssl
from contextlib import suppress
from typing import Protocol

from mailer.errors import ProtocolViolation
from mailer.smtp.protocol.reply import Reply, ReplyParser

READ_SIZE = 64 * 1024  # octets
NOT_TLS = frozenset({"WRONG_VERSION_NUMBER", "UNKNOWN_PROTOCOL", "HTTP_REQUEST", "PACKET_LENGTH_TOO_LONG"})


def find_refusal_before_tls(error: BaseException, octets: bytes) -> Reply | None:
    """Return the reply with which a server refuses a session for now, in place of TLS; None if there is none.

    `error` is that of the handshake, and `octets` are the first that came. Exim says 421 in plaintext, also at a
    port for TLS.
    """
    if getattr(error, "reason", None) not in NOT_TLS:
        return None
    parser = ReplyParser()
    parser.feed(octets)
    try:
        reply = parser.next_reply()
    except ProtocolViolation:
        return None
    return reply if reply is not None and reply.is_transient else None


def find_last_words(error: BaseException, octets: bytes) -> str | None:
    """Return what a server said in plaintext at the end of a session in TLS; None if it said nothing.

    `error` is what reading TLS met, and `octets` are the last that came. Exim says 554 and 421 so. Anybody on the
    line could have said it: it is for a person to read, and means nothing for the messages in flight.
    """
    if getattr(error, "reason", None) not in NOT_TLS:
        return None
    match = re.search(rb"[45][0-9][0-9][ -][\x20-\x7e]{1,500}\r?\n\Z", octets)
    return match[0].decode("ascii").rstrip() if match else None


def _decrypt_available(tls: ssl.SSLObject) -> tuple[bytes, bool, ssl.SSLError | None]:
    """Return the octets of all complete records, whether nothing more can be read, and the error that ended it."""
    pieces: list[bytes] = []
    is_end, error = True, None
    try:
        while data := tls.read(READ_SIZE):
            pieces.append(data)
    except ssl.SSLWantReadError:
        is_end = False
    except (ssl.SSLZeroReturnError, ssl.SSLEOFError):
        pass
    except ssl.SSLError as broken:
        error = broken
    return b"".join(pieces), is_end, error


class TransportListener(Protocol):
    """Gets the input of a transport, and gives it the output."""

    def receive_data(self, data: bytes) -> None:
        """Take `data`, octets that came from the peer."""

    def end_input(self, error: OSError | None) -> None:
        """Nothing more can be read: the peer closed (`error` is None), or the connection broke by `error`."""

    def data_to_send(self) -> bytes:
        """Return what is to be written now; b"" if there is nothing."""

    def note_sent(self, offset: int) -> None:
        """Note that at most `offset` octets, counted over all the output, have left this machine by now."""


class Transport:
    """Every method is called in the event loop's thread.

    `sock` is the socket, `tls` what encrypts its octets (None without TLS). `is_broken` says that the peer
    has closed or reset the connection: nothing more is written, and what came before can still be read.
    """

    def __init__(self, sock: socket.socket, listener: TransportListener) -> None:
        """`sock` is connected and does not block."""
        self.tls: ssl.SSLObject | None = None
        self.first_octets = b""  # of the peer, in a TLS handshake
        self.last_octets = b""  # of the peer, in which TLS ended
        self._loop = asyncio.get_running_loop()
        self.sock = sock
        self._listener = listener
        self._from_peer = ssl.MemoryBIO()
        self._to_peer = ssl.MemoryBIO()
        self._buffer = memoryview(bytearray(READ_SIZE))
        self._read_count = 0  # octets of the last input, in the buffer
        self._pending = memoryview(b"")  # what the socket did not take yet
        self._output = 0  # octets of output that are pending or sent
        self._last_piece = 0  # octets of the last piece of output
        self._last_piece_sent = 0  # octets of the last piece that the socket took, encrypted
        self._waits_to_write = False
        self.is_broken = False

    def start(self) -> None:
        """Read from now on."""
        self._loop.add_reader(self.sock, self.read_available)

    async def start_tls(self, context: ssl.SSLContext, host: str) -> ssl.SSLObject:
        """Do the TLS handshake, and read from then on. The caller bounds the time.

        `host` is the name that the certificate must have. Raises OSError (ssl.SSLError is one) if the
        handshake fails.
        """
        self._loop.remove_reader(self.sock)
        tls = context.wrap_bio(self._from_peer, self._to_peer, server_hostname=host)
        self.first_octets = b""
        while True:
            try:
                tls.do_handshake()
                break
            except ssl.SSLWantReadError:
                await self._flush_handshake()
            except ssl.SSLError:
                await self._flush_handshake()  # the alert that says why
                raise
            if data := await self._loop.sock_recv(self.sock, READ_SIZE):
                self.first_octets = self.first_octets or data
                self._from_peer.write(data)
            else:
                self._from_peer.write_eof()
        await self._flush_handshake()
        self._acknowledge_at_once()
        self.tls = tls
        self.start()
        self._loop.call_soon(self._read_tls)  # what came with the end of the handshake
        return tls

    def _acknowledge_at_once(self) -> None:
        """Acknowledge the next segments without the usual delay of 40 ms (Linux only).

        A server in TLS 1.3 sends session tickets and then its greeting. If it has not turned Nagle's
        algorithm off, the greeting waits until the tickets are acknowledged.
        """
        if (quick := getattr(socket, "TCP_QUICKACK", None)) is not None:
            with suppress(OSError):
                self.sock.setsockopt(socket.IPPROTO_TCP, quick, 1)

    async def _flush_handshake(self) -> None:
        if self._to_peer.pending:
            await self._loop.sock_sendall(self.sock, self._to_peer.read())

    def close(self) -> None:
        """Close at once. The peer of a TLS connection is told so, if the socket takes it (RFC 8446 6.1)."""
        if self.sock.fileno() < 0:
            return
        self._loop.remove_reader(self.sock)
        self._loop.remove_writer(self.sock)
        if self.tls is not None and not self._pending:
            with suppress(OSError):  # the peer was faster
                self._send_close_notify(self.tls)
        self.sock.close()

    def _send_close_notify(self, tls: ssl.SSLObject) -> None:
        with suppress(ssl.SSLError):  # the peer's own has not come, and is not waited for
            tls.unwrap()
        if self._to_peer.pending:
            self.sock.send(self._to_peer.read())

    # -- reading --

    def read_available(self) -> None:
        """Read once what the socket has, and give it to the listener. The event loop calls this."""
        try:
            count = self.sock.recv_into(self._buffer)
        except (BlockingIOError, InterruptedError):
            return
        except OSError as error:
            self._end_input(error)
            return
        if not count:
            self._end_input(None)
        elif self.tls is None:
            self._listener.receive_data(bytes(self._buffer[:count]))
        else:
            self._read_count = count
            self._from_peer.write(self._buffer[:count])
            self._read_tls()

    def _read_tls(self) -> None:
        """Give the listener all that was decrypted at once: each reply may have a TLS record of its own."""
        if self.tls is None or self.sock.fileno() < 0:
            return
        data, is_end, error = _decrypt_available(self.tls)
        if data:
            self._listener.receive_data(data)
        if is_end and self.sock.fileno() >= 0:
            if error is not None:
                self.last_octets = bytes(self._buffer[: self._read_count])
            self._end_input(error)

    def _end_input(self, error: OSError | None) -> None:
        self._loop.remove_reader(self.sock)
        self._listener.end_input(error)

    # -- writing --

    @property
    def is_full(self) -> bool:
        """The socket takes nothing at present.

        When it does again, the transport asks for output by itself.
        """
        return self._waits_to_write

    def write(self) -> None:
        """Send output as long as the socket takes it; called whenever there may be some."""
        if self.sock.fileno() < 0 or self.is_broken:
            return
        while self._pending or self._refill():
            try:
                count = self.sock.send(self._pending)
            except (BlockingIOError, InterruptedError):
                self._wait_to_write(True)
                return
            except OSError:
                # The peer has closed. What it said before is still to be read, and reading will meet the end
                # too.
                self.is_broken = True
                break
            self._pending = self._pending[count:]
            self._last_piece_sent += count
            # Encrypted octets are never fewer than plain ones, so this is an upper bound.
            self._listener.note_sent(
                self._output - self._last_piece + min(self._last_piece_sent, self._last_piece)
            )
        self._wait_to_write(False)

    def _refill(self) -> bool:
        """Take the next piece of output. Return False if there is none."""
        data = self._listener.data_to_send()
        if data:
            self._output += len(data)
            self._last_piece = len(data)
            self._last_piece_sent = 0
        if self.tls is None:
            self._pending = memoryview(data)
            return bool(data)
        rest = memoryview(data)
        while rest:
            rest = rest[self.tls.write(rest) :]
        if self._to_peer.pending:  # TLS may have something of its own to say (RFC 8446 4.6.3)
            self._pending = memoryview(self._to_peer.read())
        return bool(self._pending)

    def _wait_to_write(self, waits: bool) -> None:
        if waits != self._waits_to_write:
            self._waits_to_write = waits
            if waits:
                self._loop.add_writer(self.sock, self.write)
            else:
                self._loop.remove_writer(self.sock)
