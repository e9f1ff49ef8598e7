"""A fast SMTP sink that is not the bottleneck: TLS, AUTH, PIPELINING, CHUNKING; it counts what it takes.

`python -m benchmarks.sink --cert C --key K [--without EXTENSION] [--max-sessions N]` prints its port, serves
until its standard input ends, and answers each line on it with its counts as JSON. Blocking sockets and a
thread a connection: the least work a byte that Python allows.
"""

from __future__ import annotations

import argparse
import json
import socket
import ssl
import sys
import threading
from collections.abc import Sequence
from dataclasses import dataclass, field

SEGMENT = 1448  # loopback's 64 KB segments make Nagle and delayed acknowledgements hold naive clients at 20 messages/s


@dataclass
class Counts:
    sessions: int = 0
    open: int = 0
    messages: int = 0
    bytes: int = 0
    recipients: set[bytes] = field(default_factory=set)
    lock: threading.Lock = field(default_factory=threading.Lock)


def listen(port: int = 0) -> socket.socket:
    """A loopback listener whose connections announce a segment size of 1448."""
    listener = socket.socket()
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_MAXSEG, SEGMENT)
    listener.bind(("127.0.0.1", port))
    listener.listen(128)
    return listener


class TlsSocket:
    """A TLS connection that reads as much at once as has come, and not a record's head and body in turn."""

    def __init__(self, sock: socket.socket, context: ssl.SSLContext) -> None:
        self.sock = sock
        self.from_peer, self.to_peer = ssl.MemoryBIO(), ssl.MemoryBIO()
        self.tls = context.wrap_bio(self.from_peer, self.to_peer, server_side=True)
        self.encrypted = memoryview(bytearray(256 * 1024))
        while True:
            try:
                self.tls.do_handshake()
                self.flush()
                return
            except ssl.SSLWantReadError:
                self.flush()
                if not self.receive():
                    raise ConnectionError("ended in the handshake") from None

    def receive(self) -> int:
        count = self.sock.recv_into(self.encrypted)
        self.from_peer.write(self.encrypted[:count])
        return count

    def flush(self) -> None:
        if self.to_peer.pending:
            self.sock.sendall(self.to_peer.read())

    def read_into(self, view: memoryview) -> int | None:
        """The octets read, 0 at the end; None if more have to be received first."""
        try:
            return self.tls.read(len(view), view)  # type: ignore[return-value, call-overload]
        except ssl.SSLWantReadError:
            return None
        except ssl.SSLError:
            return 0

    def sendall(self, data: bytes) -> None:
        self.tls.write(data)
        self.flush()


class Session:
    """One connection. Replies are collected while input is at hand and written when it runs out."""

    def __init__(self, sock: TlsSocket, counts: Counts, *, without: Sequence[str] = ()) -> None:
        self.sock, self.counts = sock, counts
        self.buffer = bytearray()
        self.view = memoryview(bytearray(64 * 1024))
        self.replies: list[bytes] = []
        self.recipients: list[bytes] = []
        keywords = ["PIPELINING", "CHUNKING", "8BITMIME", "SMTPUTF8", "SIZE 52428800", "AUTH PLAIN LOGIN"]
        lines = ["sink", *(keyword for keyword in keywords if keyword not in without)]
        self.ehlo = "".join(f"250-{line}\r\n" for line in lines).encode() + b"250 ENHANCEDSTATUSCODES\r\n"

    def run(self) -> None:
        self.replies.append(b"220 sink ESMTP\r\n")
        while (line := self.line()) is not None:
            verb = line[:4].upper()
            if verb == b"MAIL":
                self.recipients.clear()
                self.replies.append(b"250 2.1.0 Ok\r\n")
            elif verb == b"RCPT":
                self.recipients.append(line[8 : line.index(b">")].lstrip(b"<"))
                self.replies.append(b"250 2.1.5 Ok\r\n")
            elif verb == b"BDAT":
                size = int(line.split()[1])
                self.skip(size)
                self.took(size) if line.upper().endswith(b"LAST") else self.replies.append(
                    b"250 2.0.0 Ok\r\n"
                )
            elif verb == b"DATA":
                self.replies.append(b"354 Go ahead\r\n")
                self.took(self.until_dot())
            elif verb in (b"EHLO", b"HELO"):
                self.replies.append(self.ehlo)
            elif verb == b"AUTH":
                self.authenticate(line)
            elif verb == b"QUIT":
                self.replies.append(b"221 2.0.0 Bye\r\n")
                return self.flush()
            else:
                self.replies.append(b"250 2.0.0 Ok\r\n")
        return None

    def authenticate(self, line: bytes) -> None:
        prompts = [] if len(line.split()) > 2 else [b"334 \r\n"]
        if line.upper().startswith(b"AUTH LOGIN"):
            prompts = [b"334 VXNlcm5hbWU6\r\n"] * (len(line.split()) < 3) + [b"334 UGFzc3dvcmQ6\r\n"]
        for prompt in prompts:
            self.replies.append(prompt)
            self.line()
        self.replies.append(b"235 2.7.0 Authentication successful\r\n")

    def took(self, size: int) -> None:
        self.replies.append(b"250 2.0.0 Ok: queued\r\n")
        with self.counts.lock:
            self.counts.messages += 1
            self.counts.bytes += size
            self.counts.recipients.update(self.recipients)
        self.recipients.clear()

    def flush(self) -> None:
        if self.replies:
            self.sock.sendall(b"".join(self.replies))
            self.replies.clear()

    def receive(self) -> memoryview:
        """Wait for input; empty at its end. It is valid until the next call."""
        while (count := self.sock.read_into(self.view)) is None:
            self.flush()
            if not self.sock.receive():
                return self.view[:0]
        return self.view[:count]

    def more(self) -> bool:
        data = self.receive()
        self.buffer += data
        return bool(data)

    def line(self) -> bytes | None:
        while (end := self.buffer.find(b"\r\n")) < 0:
            if not self.more():
                return None
        line = bytes(self.buffer[:end])
        del self.buffer[: end + 2]
        return line

    def skip(self, size: int) -> None:
        size -= len(self.buffer)
        if size < 0:
            del self.buffer[:size]
            return
        self.buffer.clear()
        while size > 0:  # what is skipped is not copied
            data = self.receive()
            if not data:
                raise ConnectionError("ended in a chunk")
            self.buffer += data[size:]
            size -= len(data)

    def until_dot(self) -> int:
        start = 0
        while (end := self.buffer.find(b"\r\n.\r\n", start)) < 0:
            start = max(0, len(self.buffer) - 4)
            if not self.more():
                raise ConnectionError("ended in the data")
        del self.buffer[: end + 5]
        return end


def serve(
    listener: socket.socket,
    context: ssl.SSLContext,
    counts: Counts,
    *,
    without: Sequence[str],
    max_sessions: int,
) -> None:
    def one(raw: socket.socket) -> None:
        raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        with counts.lock:
            counts.open += 1
            is_refused = counts.open > max_sessions
        try:
            with raw:
                sock = TlsSocket(raw, context)
                if is_refused:
                    sock.sendall(b"421 4.7.0 Too many concurrent SMTP connections\r\n")
                else:
                    Session(sock, counts, without=without).run()
        except OSError:
            pass  # a client that went away; what it had delivered is counted
        finally:
            with counts.lock:
                counts.open -= 1

    while True:
        raw, _ = listener.accept()
        counts.sessions += 1
        threading.Thread(target=one, args=(raw,), daemon=True).start()


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--cert", required=True)
    parser.add_argument("--key", required=True)
    parser.add_argument("--without", action="append", default=[], help="an extension that is not offered")
    parser.add_argument(
        "--max-sessions", type=int, default=1000, help="at once; one more is answered with 421"
    )
    options = parser.parse_args()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(options.cert, options.key)
    listener, counts = listen(), Counts()
    threading.Thread(
        target=serve,
        args=(listener, context, counts),
        kwargs={"without": options.without, "max_sessions": options.max_sessions},
        daemon=True,
    ).start()
    print(listener.getsockname()[1], flush=True)
    for command in sys.stdin:  # any line: the counts so far, then from zero
        with counts.lock:
            print(
                json.dumps(
                    {
                        "sessions": counts.sessions,
                        "messages": counts.messages,
                        "bytes": counts.bytes,
                        "recipients": len(counts.recipients),
                        "command": command.strip(),
                    }
                ),
                flush=True,
            )
            counts.sessions = counts.messages = counts.bytes = 0
            counts.recipients.clear()


if __name__ == "__main__":
    main()
