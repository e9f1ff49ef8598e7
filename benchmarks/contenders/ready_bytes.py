"""The wire's limit: messages made beforehand, streamed with BDAT over blocking sockets, a window in flight.

A writer thread writes groups; the main thread counts replies. `--connections` is the window here.
"""

import socket
import threading

from benchmarks.contenders.common import Newsletter, Stopwatch, work

job = work()
newsletter = Newsletter(job.folder)
row = next(iter(job.rows()))
content = newsletter.message(row).as_bytes().replace(b"\n", b"\r\n")
envelope = b"MAIL FROM:<news@example.com>\r\nRCPT TO:<%s>\r\nBDAT %d LAST\r\n"
transactions = [envelope % (r["email"].encode(), len(content)) + content for r in job.rows()]
window = threading.Semaphore(job.connections)
stopwatch = Stopwatch()
raw = socket.create_connection(("127.0.0.1", job.port))
raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
server = job.context().wrap_socket(raw, server_hostname="localhost")
replies = server.makefile("rb")
replies.readline()
server.sendall(b"EHLO bench\r\n")
while replies.readline()[3:4] == b"-":
    pass
server.sendall(b"AUTH PLAIN AHVzZXIAcGFzc3dvcmQ=\r\n")
replies.readline()


def write() -> None:
    for transaction in transactions:
        window.acquire()
        server.sendall(transaction)


writer = threading.Thread(target=write, daemon=True)
writer.start()
for _ in transactions:
    for _ in range(3):
        if not replies.readline().startswith(b"250"):
            raise SystemExit("refused")
    window.release()
stopwatch.finish(len(transactions))
server.close()
