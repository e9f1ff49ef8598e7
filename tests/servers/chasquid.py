"""chasquid: PIPELINING without CHUNKING. It forgets commands that come with the end of a message, and ends a session
at the third error. Every mailbox that is not refused is an alias of the one that each message is delivered to.
"""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import trustme

from tests.servers.mailserver import (
    PASSWORD,
    MailServer,
    binary,
    free_ports,
    private_folder,
    process,
    wait_for_ports,
    write_certificate,
)

USERS = 200  # p0 to p199

CONFIGURATION = """
hostname: "localhost"
submission_over_tls_address: "127.0.0.1:{port}"
data_dir: "{folder}/data"
mail_log_path: "{folder}/mail.log"
mail_delivery_agent_bin: "{folder}/deliver.sh"
mail_delivery_agent_args: "%from%"
"""

DELIVER = """\
#!/bin/sh
set -eu
file=$(mktemp {folder}/tmp/XXXXXXXXXX)
{{ echo "Return-Path: <$1>"; cat; }} >"$file"
mv "$file" {folder}/mail/new/
"""


@contextmanager
def run_chasquid(ca: trustme.CA, ca_file: Path) -> Iterator[MailServer]:
    chasquid = binary("chasquid", "usr/bin/chasquid")
    with private_folder("chasquid") as folder:
        ports = free_ports("smtps")
        for name in ("certs/localhost", "domains/example.com", "data", "tmp", "mail/new"):
            (folder / name).mkdir(parents=True)
        chain, key = write_certificate(ca, folder, "root")
        chain.rename(folder / "certs/localhost/fullchain.pem")
        key.rename(folder / "certs/localhost/privkey.pem")
        (folder / "domains/example.com/aliases").write_text(
            "".join(f"p{number}: news\n" for number in range(USERS))
        )
        (folder / "deliver.sh").write_text(DELIVER.format(folder=folder))
        (folder / "deliver.sh").chmod(0o755)
        (folder / "chasquid.conf").write_text(CONFIGURATION.format(folder=folder, port=ports["smtps"]))
        add_user = ["user-add", "news@example.com", f"--password={PASSWORD}"]
        subprocess.run(
            [chasquid.with_name("chasquid-util"), f"--configdir={folder}", *add_user],
            check=True,
            capture_output=True,
        )
        output = folder / "output"
        with process([chasquid, "-config_dir", folder], output) as running:
            wait_for_ports(running, ports, output)
            logs = [output, folder / "mail.log"]
            yield MailServer("chasquid", folder, ports, ca_file, folder / "mail", logs=logs)
