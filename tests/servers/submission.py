"""Dovecot 2.3's submission proxy: it fails at the second message in flight without RSET between.

It does the login, and passes what it gets to Postfix. It offers BURL, by which it is recognized.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import trustme

from tests.servers.dovecot import BINARY
from tests.servers.mailserver import (
    PASSWORD,
    USERNAME,
    MailServer,
    NotInstalled,
    binary,
    free_ports,
    private_folder,
    process,
    wait_for_ports,
    write_certificate,
)

CONFIGURATION = """
protocols = submission
base_dir = {folder}/run
state_dir = {folder}/run
instance_name = {name}
log_path = {folder}/log
ssl = required
ssl_cert = <{chain}
ssl_key = <{key}
auth_mechanisms = plain login
auth_failure_delay = 0
hostname = dovecot.example.test
submission_relay_host = 127.0.0.1
submission_relay_port = {relay}
submission_relay_ssl = no
mail_location = maildir:{folder}/mail
first_valid_uid = 0
passdb {{
  driver = passwd-file
  args = scheme=PLAIN-TRUNC username_format=%u {folder}/passwd
}}
userdb {{
  driver = static
  args = uid=65534 gid=65534 home={folder}/home
}}
service submission-login {{
  executable = {package}/usr/lib/dovecot/submission-login
  chroot =
  inet_listener submission {{
    port = 0
  }}
  inet_listener submissions {{
    address = 127.0.0.1
    port = {port}
    ssl = yes
  }}
}}
service submission {{
  executable = {package}/usr/lib/dovecot/submission
}}
"""


@contextmanager
def run_submission(ca: trustme.CA, postfix: MailServer) -> Iterator[MailServer]:
    if not BINARY.exists():
        raise NotInstalled("dovecot-core is not installed: run tests/servers/install.sh")
    package = binary("dovecot-submissiond", "usr/lib/dovecot/submission").parents[3]
    with private_folder("submission") as folder:
        ports = free_ports("smtps")
        chain, key = write_certificate(ca, folder, "root")
        (folder / "home").mkdir(mode=0o777)
        (folder / "home").chmod(0o777)
        (folder / "mail").mkdir()
        (folder / "mail").chmod(0o777)
        (folder / "passwd").write_text(f"{USERNAME}:{{PLAIN}}{PASSWORD}\n")
        values = {"folder": folder, "name": folder.name, "package": package, "chain": chain, "key": key}
        configuration = CONFIGURATION.format(**values, port=ports["smtps"], relay=postfix.ports["smtp-relay"])
        (folder / "dovecot.conf").write_text(configuration)
        output = folder / "output"
        with process([BINARY, "-F", "-c", folder / "dovecot.conf"], output) as running:
            wait_for_ports(running, ports, output)
            logs = [output, folder / "log", *postfix.logs]
            yield MailServer("submission", folder, ports, postfix.ca_file, postfix.maildir, logs=logs)
