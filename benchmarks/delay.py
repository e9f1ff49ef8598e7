"""A delay line in user space: every byte waits half the round trip each way; bandwidth is not limited.

`python -m benchmarks.delay --to PORT --rtt-ms 20` prints its port and serves until its standard input ends.
"""

from __future__ import annotations

import argparse
import socket
import sys
import threading
import time
from collections import deque

from benchmarks.sink import listen


class Pipe:
    """One direction of one connection: a reader that stamps what it reads, a writer that waits until it is
    due.
    """

    def __init__(self, source: socket.socket, target: socket.socket, delay: float) -> None:
        self.source, self.target, self.delay = source, target, delay
        self.line: deque[tuple[float, bytes]] = deque()
        self.arrived = threading.Semaphore(0)

    def start(self) -> None:
        threading.Thread(target=self.read, daemon=True).start()
        threading.Thread(target=self.write, daemon=True).start()

    def read(self) -> None:
        data = b"start"
        while data:
            try:
                data = self.source.recv(1 << 20)
            except OSError:
                data = b""
            self.line.append((time.monotonic() + self.delay, data))
            self.arrived.release()

    def write(self) -> None:
        while True:
            self.arrived.acquire()
            due, data = self.line.popleft()
            if (wait := due - time.monotonic()) > 0:
                time.sleep(wait)
            try:
                if not data:
                    return self.target.shutdown(socket.SHUT_WR)
                self.target.sendall(data)
            except OSError:
                return None


def serve(listener: socket.socket, port: int, delay: float) -> None:
    while True:
        near, _ = listener.accept()
        far = socket.socket()
        far.setsockopt(socket.IPPROTO_TCP, socket.TCP_MAXSEG, 1448)
        far.connect(("127.0.0.1", port))
        for sock in (near, far):
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        Pipe(near, far, delay).start()
        Pipe(far, near, delay).start()


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--to", type=int, required=True)
    parser.add_argument("--rtt-ms", type=float, required=True)
    options = parser.parse_args()
    sys.setswitchinterval(
        0.0005
    )  # four threads take turns a connection; the default of 5 ms would add to the delay
    listener = listen()
    threading.Thread(target=serve, args=(listener, options.to, options.rtt_ms / 2000), daemon=True).start()
    print(listener.getsockname()[1], flush=True)
    sys.stdin.read()


if __name__ == "__main__":
    main()
