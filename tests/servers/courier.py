"""Courier from Debian's packages: it drops the commands that are in one segment with the end of a message.

Courier's programs know their files by absolute paths. So they run in a mount namespace of their own, in which
the unpacked packages lie over this machine's /usr, /etc and /var/lib; nothing outside of it changes. The
listener is Python's: it starts Courier's `courieresmtpd` for each connection, as `couriertcpd` does. Messages
stay in Courier's queue, since no `courierd` runs.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.servers.mailserver import (
    CannotRun,
    MailServer,
    binary,
    free_ports,
    private_folder,
    process,
    wait_for_ports,
)

PACKAGE = "courier-mta"
USER = 9871  # exists inside of the namespace only

NAMESPACE = """\
set -e
mount --make-rprivate /
mount -t overlay overlay -o lowerdir={package}/usr:/usr /usr
mount -t overlay overlay -o lowerdir={folder}/etc:/etc /etc
mount -t overlay overlay -o lowerdir={folder}/lib:/var/lib /var/lib
mount --bind {folder}/queue /var/lib/courier
"""

LISTENER = """\
import os, socket, subprocess, sys
port, user = sys.argv[1], int(sys.argv[2])
server = socket.create_server(("127.0.0.1", int(port)))
os.environ.update(TCPLOCALIP="127.0.0.1", TCPREMOTEIP="127.0.0.1", TCPLOCALPORT=port, TCPREMOTEPORT="1")
while True:
    peer, _ = server.accept()
    subprocess.Popen(
        ["/usr/sbin/courieresmtpd"], stdin=peer, stdout=peer, user=user, group=user, extra_groups=[]
    )
    peer.close()
"""


@dataclass
class Courier(MailServer):
    """Its queue has a file D… for each message."""

    def files(self) -> list[Path]:
        return sorted(self.maildir.rglob("D*"))


@contextmanager
def run_courier(ca_file: Path) -> Iterator[MailServer]:
    package = binary(PACKAGE, "usr/sbin/courieresmtpd").parents[2]
    with private_folder("courier") as folder:
        _configure(package, folder)
        mounts = NAMESPACE.format(package=package, folder=folder)
        tried = subprocess.run(
            ["unshare", "-m", "sh", "-c", mounts], capture_output=True, text=True, check=False
        )
        if tried.returncode:
            raise CannotRun(f"no mount namespace with overlays for Courier: {tried.stderr.strip()}")
        ports = free_ports("smtp")
        libraries = [package / "usr/lib", *(package / "usr/lib").glob("*-linux-gnu")]
        start = (
            mounts + "set -a; prefix=/usr; exec_prefix=/usr; sysconfdir=/etc/courier; sbindir=/usr/sbin\n"
            ". /etc/courier/esmtpd\n"
            f"LD_LIBRARY_PATH={':'.join(map(str, libraries))}\n"
            f'exec "$1" -c "$2" {ports["smtp"]} {USER}\n'
        )
        command = ["unshare", "-m", "sh", "-c", start, "sh", Path(sys.executable).resolve(), LISTENER]
        output = folder / "output"
        with process(command, output) as running:
            wait_for_ports(running, ports, output)
            yield Courier("courier", folder, ports, ca_file, folder / "queue", username="", logs=[output])


def _configure(package: Path, folder: Path) -> None:
    """Mail for example.com is accepted and queued, that for other domains is refused."""
    (folder / "lib/courier").mkdir(parents=True)
    shutil.copytree(package / "etc", folder / "etc")
    shutil.copytree(package / "var/lib/courier", folder / "queue")
    for name, line in (("passwd", f"courier:x:{USER}:{USER}::/:/bin/sh"), ("group", f"courier:x:{USER}:")):
        (folder / "etc" / name).write_text(f"{Path('/etc', name).read_text()}{line}\n")
    config = folder / "etc/courier"
    (config / "me").write_text("courier.example.test\n")
    (config / "locals").write_text("courier.example.test\n")
    (config / "esmtpacceptmailfor").write_text("example.com\n")
    with (config / "esmtpd").open("a") as file:
        file.write("BOFHCHECKDNS=0\nTARPIT=0\n")  # or the first refusal takes 8 s, the next one 16 s, ...
    for top in (config, folder / "queue"):
        for path in (top, *top.rglob("*")):
            shutil.chown(path, USER, USER)
