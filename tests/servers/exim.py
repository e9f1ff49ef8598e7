"""Exim in a private folder: its own authenticators and, for SCRAM, Dovecot's; every recipient into one maildir."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import trustme

from tests.servers.dovecot import Dovecot
from tests.servers.mailserver import (
    PASSWORD,
    USERNAME,
    MailServer,
    binary,
    free_ports,
    own,
    private_folder,
    process,
    wait_for_ports,
    write_certificate,
)

USER = "Debian-exim"
PORTS = ("smtps", "smtps-groups", "smtps-plain", "submission")

CONFIGURATION = r"""
exim_path = {exim}
spool_directory = {folder}/spool
log_file_path = {folder}/log/%slog
pid_file_path = {folder}/log/pid
primary_hostname = exim.example.test
local_interfaces = 127.0.0.1
daemon_smtp_ports = {all_ports}
tls_on_connect_ports = {tls_ports}
tls_advertise_hosts = *
tls_certificate = {chain}
tls_privatekey = {key}
# Debian's Exim may not become root here, and need not: all that it delivers to belongs to it.
deliver_drop_privilege
trusted_users = root
host_lookup =
dns_ipv4_lookup = *
disable_ipv6
rfc1413_query_timeout = 0s
accept_8bitmime
smtputf8_advertise_hosts = *
auth_advertise_hosts = ${{if eq{{$tls_in_cipher}}{{}}{{}}{{*}}}}
chunking_advertise_hosts = ${{if inlist{{$received_port}}{{{groups}:{plain}}}{{}}{{*}}}}
pipelining_advertise_hosts = ${{if eq{{$received_port}}{{{plain}}}{{}}{{*}}}}
acl_smtp_rcpt = check_recipient
acl_smtp_data = accept

begin acl

check_recipient:
  deny    message = no such user here
          local_parts = ^refused
  defer   message = the mailbox is busy
          local_parts = ^later
  accept  authenticated = *
  deny    message = log in first

begin routers

everyone:
  driver = accept
  transport = maildir

begin transports

maildir:
  driver = appendfile
  directory = {folder}/mail
  maildir_format
  create_directory
  return_path_add
  envelope_to_add
  user = {user}

begin retry

* * F,1m,1s

begin authenticators

plain:
  driver = plaintext
  public_name = PLAIN
  server_prompts = :
  server_condition = ${{if and{{{{eq{{$auth2}}{{{username}}}}}{{eq{{$auth3}}{{{password}}}}}}}}}
  server_set_id = $auth2

login:
  driver = plaintext
  public_name = LOGIN
  server_prompts = <| Username: | Password:
  server_condition = ${{if and{{{{eq{{$auth1}}{{{username}}}}}{{eq{{$auth2}}{{{password}}}}}}}}}
  server_set_id = $auth1

cram:
  driver = cram_md5
  public_name = CRAM-MD5
  server_secret = ${{if eq{{$auth1}}{{{username}}}{{{password}}}fail}}
  server_set_id = $auth1

scram:
  driver = dovecot
  public_name = SCRAM-SHA-256
  server_socket = {dovecot}
  server_set_id = $auth1

broken:
  driver = dovecot
  public_name = OAUTHBEARER
  server_socket = {folder}/nobody-listens
"""


@contextmanager
def run_exim(ca: trustme.CA, ca_file: Path, dovecot: Dovecot) -> Iterator[MailServer]:
    exim = binary("exim4-daemon-heavy", "usr/sbin/exim4")
    with private_folder("exim") as folder:
        ports = free_ports(*PORTS)
        for name in ("spool", "log", "mail"):
            own(folder / name, USER, 0o755)
        chain, key = write_certificate(ca, folder, USER)
        text = CONFIGURATION.format(
            exim=exim,
            folder=folder,
            user=USER,
            chain=chain,
            key=key,
            all_ports=" : ".join(str(port) for port in ports.values()),
            tls_ports=" : ".join(str(port) for name, port in ports.items() if name != "submission"),
            groups=ports["smtps-groups"],
            plain=ports["smtps-plain"],
            username=USERNAME,
            password=PASSWORD,
            dovecot=dovecot.socket,
        )
        configuration = folder / "exim.conf"
        configuration.write_text(text)

        # One Exim queues what comes after the tenth message of a session (smtp_accept_queue_per_connection): run it.
        def run_queue() -> None:
            subprocess.run([exim, "-C", configuration, "-qff"], check=True, capture_output=True)

        with process([exim, "-C", configuration, "-bdf"], folder / "output") as running:
            wait_for_ports(running, ports, folder / "output")
            yield MailServer(
                "exim",
                folder,
                ports,
                ca_file,
                folder / "mail",
                flush=run_queue,
                logs=[
                    folder / "output",
                    folder / "log/mainlog",
                    folder / "log/paniclog",
                    folder / "log/rejectlog",
                ],
            )
