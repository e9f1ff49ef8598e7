"""Postfix in a private folder: login through Dovecot, every recipient into one maildir, limits as they come."""

from __future__ import annotations

import pwd
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import trustme

from tests.servers.dovecot import Dovecot
from tests.servers.mailserver import (
    MailServer,
    binary,
    free_ports,
    own,
    private_folder,
    process,
    wait_for_ports,
    write_certificate,
)

QUEUES = (
    "active",
    "bounce",
    "corrupt",
    "defer",
    "deferred",
    "flush",
    "hold",
    "incoming",
    "private",
    "saved",
    "trace",
)

MAIN = """
compatibility_level = 3.6
queue_directory = {folder}/queue
data_directory = {folder}/data
command_directory = {package}/usr/sbin
daemon_directory = {package}/usr/lib/postfix/sbin
shlib_directory = {package}/usr/lib/postfix
meta_directory = {package}/etc/postfix
sendmail_path = {package}/usr/sbin/sendmail
newaliases_path = {package}/usr/sbin/sendmail
mailq_path = {package}/usr/sbin/sendmail
import_environment = MAIL_CONFIG MAIL_LOGTAG TZ LANG=C LD_LIBRARY_PATH={package}/usr/lib/postfix
maillog_file = {folder}/log
maillog_file_prefixes = {folder}
mail_owner = postfix
setgid_group = postdrop
myhostname = postfix.example.test
inet_interfaces = 127.0.0.1
inet_protocols = ipv4
# No client is trusted for being on loopback: every sender has to log in.
mynetworks = 192.0.2.1
mydestination =
alias_maps =
smtpd_relay_restrictions = permit_sasl_authenticated, reject
smtpd_recipient_restrictions = check_recipient_access regexp:{folder}/etc/recipients
smtpd_tls_chain_files = {key}, {chain}
smtpd_tls_auth_only = yes
smtpd_sasl_auth_enable = yes
smtpd_sasl_type = dovecot
smtpd_sasl_path = {dovecot}
smtpd_sasl_security_options = noanonymous
virtual_mailbox_domains = static:all
virtual_mailbox_maps = static:all/
virtual_mailbox_base = {folder}/mail
virtual_mailbox_limit = 0
virtual_uid_maps = static:{uid}
virtual_gid_maps = static:{gid}
"""

# To a port: what makes it differ. Postfix hides extensions when told to, so every strategy meets the same server.
SERVICES = {
    "smtps": "-o smtpd_tls_wrappermode=yes",
    "smtps-groups": "-o smtpd_tls_wrappermode=yes -o smtpd_discard_ehlo_keywords=chunking,silent-discard",
    "smtps-plain": "-o smtpd_tls_wrappermode=yes -o smtpd_discard_ehlo_keywords=chunking,pipelining,silent-discard",
    "smtps-discard": "-o smtpd_tls_wrappermode=yes -o content_filter=discard:",
    "submission": "-o smtpd_tls_security_level=encrypt",
    # Some recipients are refused after the content, which leaves their transaction open:
    **{
        f"smtps-{name}": "-o smtpd_tls_wrappermode=yes"
        " -o smtpd_end_of_data_restrictions=check_recipient_access,regexp:{folder}/etc/unwanted" + hidden
        for name, hidden in (
            ("late", ""),
            ("late-groups", " -o smtpd_discard_ehlo_keywords=chunking,silent-discard"),
            ("late-plain", " -o smtpd_discard_ehlo_keywords=chunking,pipelining,silent-discard"),
        )
    },
    # For Dovecot's submission proxy, which has done the login:
    "smtp-relay": "-o smtpd_sasl_auth_enable=no -o mynetworks=127.0.0.0/8"
    " -o smtpd_relay_restrictions=permit_mynetworks,reject",
    # What is to be refused:
    "submission-without": "-o smtpd_tls_security_level=none",
    "smtps-not": "-o smtpd_tls_security_level=none",
    **{
        f"{port}-{kind}": f"{options} -o smtpd_tls_chain_files={{folder}}/etc/{kind}.pem"
        for port, options in (
            ("smtps", "-o smtpd_tls_wrappermode=yes"),
            ("submission", "-o smtpd_tls_security_level=encrypt"),
        )
        for kind in ("expired", "early", "other-name", "unknown", "self-signed")
    },
}

MASTER = """
pickup    unix  n  -  n  60   1  pickup
cleanup   unix  n  -  n  -    0  cleanup
qmgr      unix  n  -  n  300  1  qmgr
tlsmgr    unix  -  -  n  1000 1  tlsmgr
rewrite   unix  -  -  n  -    -  trivial-rewrite
bounce    unix  -  -  n  -    0  bounce
defer     unix  -  -  n  -    0  bounce
trace     unix  -  -  n  -    0  bounce
verify    unix  -  -  n  -    1  verify
flush     unix  n  -  n  1000 0  flush
proxymap  unix  -  -  n  -    -  proxymap
error     unix  -  -  n  -    -  error
retry     unix  -  -  n  -    -  error
discard   unix  -  -  n  -    -  discard
virtual   unix  -  n  n  -    -  virtual
anvil     unix  -  -  n  -    1  anvil
scache    unix  -  -  n  -    1  scache
postlog   unix-dgram n - n -  1  postlogd
"""

RECIPIENTS = """
/^refused/    550 5.1.1 no such user here
/^later/      450 4.2.1 the mailbox is busy
"""


def write_bad_certificates(ca: trustme.CA, etc: Path) -> None:
    """One file with key and chain for each kind that a client must refuse."""
    now, day = datetime.now(UTC), timedelta(days=1)
    names = ("localhost", "127.0.0.1")
    kinds = {
        "expired": ca.issue_cert(*names, not_before=now - 90 * day, not_after=now - day),
        "early": ca.issue_cert(*names, not_before=now + day, not_after=now + 90 * day),
        "other-name": ca.issue_cert("mail.example.net"),
        "unknown": trustme.CA().issue_cert(*names),
    }
    for kind, certificate in kinds.items():
        (etc / f"{kind}.pem").write_bytes(certificate.private_key_and_cert_chain_pem.bytes())
    own_ca = trustme.CA()  # a CA's own certificate signs itself
    (etc / "self-signed.pem").write_bytes(own_ca.private_key_pem.bytes() + own_ca.cert_pem.bytes())


@contextmanager
def run_postfix(ca: trustme.CA, ca_file: Path, dovecot: Dovecot) -> Iterator[MailServer]:
    master = binary("postfix", "usr/lib/postfix/sbin/master")
    package = master.parents[4]
    with private_folder("postfix") as folder:
        ports = free_ports(*SERVICES)
        mail = own(folder / "mail", "nobody")
        own(folder / "data", "postfix")
        own(folder / "queue", "root", 0o755)
        for queue in QUEUES:
            own(folder / "queue" / queue, "postfix")
        own(folder / "queue/pid", "root", 0o755)
        own(folder / "queue/public", "postfix", 0o755)
        own(folder / "queue/maildrop", "postfix", 0o730)
        etc = own(folder / "etc", "root", 0o755)
        chain, key = write_certificate(ca, etc, "root")
        account = pwd.getpwnam("nobody")
        values = {"folder": folder, "package": package, "chain": chain, "key": key, "dovecot": dovecot.socket}
        (etc / "main.cf").write_text(MAIN.format(**values, uid=account.pw_uid, gid=account.pw_gid))
        write_bad_certificates(ca, etc)
        lines = [
            f"127.0.0.1:{ports[name]} inet n - n - - smtpd {options}" for name, options in SERVICES.items()
        ]
        (etc / "master.cf").write_text("\n".join(lines).format(folder=folder) + MASTER)
        (etc / "recipients").write_text(RECIPIENTS)
        (etc / "unwanted").write_text("/^unwanted/    554 5.7.1 not this one\n")
        shutil.copy(package / "etc/postfix/postfix-files", etc)
        environment = {"LD_LIBRARY_PATH": str(package / "usr/lib/postfix")}
        with process([master, "-c", etc, "-s"], folder / "output", environment=environment) as running:
            wait_for_ports(running, ports, folder / "output")
            logs = [folder / "output", folder / "log"]
            yield MailServer("postfix", folder, ports, ca_file, mail / "all", logs=logs)
