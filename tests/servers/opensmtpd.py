"""OpenSMTPD: no PIPELINING, no CHUNKING, and 100 messages a session, then 452. A server for the slow way.

Its paths are compiled in, so it runs in a mount namespace of its own. Without TLS and login: TLS does not work in
Debian 12's build (6.8.0p2 with OpenSSL 3: "EVP lib" at each handshake), and AUTH it offers behind TLS only.
"""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.servers.mailserver import (
    CannotRun,
    MailServer,
    binary,
    free_ports,
    own,
    private_folder,
    process,
    wait_for_ports,
)

CONFIGURATION = """
listen on 127.0.0.1 port {port} hostname opensmtpd.example.test
action "deliver" maildir "{folder}/mail" virtual {{ "@" = nobody }}
match from any for any rcpt-to regex "^refused" reject
match from any for any action "deliver"
"""

# Empty folders of the namespace's own over those that OpenSMTPD insists on.
START = """
set -eu
mount -t tmpfs none /var/spool
mkdir -m 711 /var/spool/smtpd
mount -t tmpfs none /run
mount -t tmpfs none /var/lib
mkdir -p -m 711 /var/lib/opensmtpd/empty
mount -t tmpfs none /usr/libexec
mkdir /usr/libexec/opensmtpd
mount --bind {package}/usr/libexec/opensmtpd /usr/libexec/opensmtpd
exec {package}/usr/sbin/smtpd -d -f {folder}/smtpd.conf
"""


def _may_have_a_namespace() -> bool:
    unshare = shutil.which("unshare")
    trial = "mount -t tmpfs none /run && test -d /usr/libexec"
    if unshare is None:
        return False
    return (
        subprocess.run([unshare, "-m", "sh", "-c", trial], capture_output=True, check=False).returncode == 0
    )


@contextmanager
def run_opensmtpd(ca_file: Path) -> Iterator[MailServer]:
    smtpd = binary("opensmtpd", "usr/sbin/smtpd")
    if not _may_have_a_namespace():
        raise CannotRun("OpenSMTPD needs a mount namespace of its own, which this machine does not allow")
    with private_folder("opensmtpd") as folder:
        ports = free_ports("smtp")
        own(folder / "mail", "nobody")
        (folder / "smtpd.conf").write_text(CONFIGURATION.format(folder=folder, port=ports["smtp"]))
        (folder / "start.sh").write_text(START.format(folder=folder, package=smtpd.parents[2]))
        output = folder / "output"
        with process(["unshare", "-m", "sh", folder / "start.sh"], output) as running:
            wait_for_ports(running, ports, output)
            yield MailServer("opensmtpd", folder, ports, ca_file, folder / "mail", username="", logs=[output])
