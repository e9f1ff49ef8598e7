"""What a real Postfix takes: Debian's, with its own settings, no delay; one session, unless the row says "auto".

    sh tests/servers/install.sh          unpacks it, once
    .venv/bin/python -m benchmarks.postfix [--count 5000] [--rounds 3]

Postfix writes each message into its queue, with an fsync, before it answers. Its queue then gives the message to
`discard`, so that no delivery takes the disk's time. The senders take turns within a round; medians of the rounds.
"""

from __future__ import annotations

import argparse
import base64
import os
import smtplib
import socket
import ssl
import statistics
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from pathlib import Path

import trustme

from benchmarks import workload
from benchmarks.contenders.common import Newsletter, Work, shorten_campaign
from tests.servers.dovecot import run_dovecot
from tests.servers.mailserver import MailServer
from tests.servers.postfix import run_postfix

PORT = "smtps-discard"
# The options of `mailer send` for each of its rows. Those that wait for replies send a tenth of the messages.
MAILER = {
    "mailer send, whole command": (),
    "mailer send, no CHUNKING": ("--strategy", "pipelined"),
    "mailer send, no CHUNKING, auto": ("--strategy", "pipelined", "--connections", "auto"),
    "mailer send, one message at a time": ("--strategy", "sequential"),
}
SLOW = ("mailer send, one message at a time", "smtplib")


def send_by_mailer(server: MailServer, job: Work, *options: str) -> float:
    """Run `mailer send` for the job's recipients; return the seconds that it took."""
    path, ledger = shorten_campaign(job, "bench"), job.folder / "postfix.sqlite3"
    command = [sys.executable, "-m", "mailer", "send", str(path), "--yes", "--ledger", str(ledger)]
    command += ["--server", server.url(PORT), "--ca-file", str(server.ca_file), *options]
    started = time.perf_counter()
    environment = {**os.environ, "MAILER_PASSWORD": server.password}
    subprocess.run(command, env=environment, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    seconds = time.perf_counter() - started
    for leftover in job.folder.glob("postfix.sqlite3*"):
        leftover.unlink()
    return seconds


def send_by_smtplib(server: MailServer, job: Work) -> float:
    """Send to the job's recipients with the standard library; return the seconds that it took."""
    newsletter = Newsletter(job.folder)
    context = ssl.create_default_context(cafile=str(server.ca_file))
    started = time.perf_counter()
    with smtplib.SMTP_SSL(server.host, server.ports[PORT], context=context) as session:
        # Without this, Nagle's algorithm and delayed acknowledgements would hold it at 20 messages a second.
        session.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        session.ehlo()
        login = f"\0{server.username}\0{server.password}".encode()  # smtplib's own login knows ASCII alone
        code, reply = session.docmd("AUTH", f"PLAIN {base64.b64encode(login).decode()}")
        if code != 235:
            raise SystemExit(f"the login failed: {reply!r}")
        for row in job.rows():
            session.send_message(newsletter.message(row))
    return time.perf_counter() - started


def measure(server: MailServer, folder: Path, count: int, sender: str) -> float:
    """Return messages a second."""
    number = count // 10 if sender in SLOW else count
    job = Work(folder, server.ports[PORT], server.ca_file, number, 1)
    if sender == "smtplib":
        return number / send_by_smtplib(server, job)
    return number / send_by_mailer(server, job, *MAILER[sender])


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.postfix", description=__doc__.splitlines()[0])
    parser.add_argument(
        "--count", type=int, default=5000, help="messages; a tenth of them for the slow senders"
    )
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    figures: dict[str, list[float]] = defaultdict(list)
    with tempfile.TemporaryDirectory(prefix="mailer-bench-") as name:
        folder = Path(name)
        workload.write(folder, options.count)
        ca = trustme.CA()
        ca.cert_pem.write_to_path(str(folder / "ca.pem"))
        with run_dovecot() as dovecot, run_postfix(ca, folder / "ca.pem", dovecot) as server:
            for _ in range(options.rounds):
                for sender in (*MAILER, "smtplib"):
                    figures[sender].append(measure(server, folder, options.count, sender))
    print("| to Postfix | messages/s |\n| --- | ---: |")
    for sender, measured in figures.items():
        print(f"| {sender} | {statistics.median(measured):,.0f} |")


if __name__ == "__main__":
    main()
