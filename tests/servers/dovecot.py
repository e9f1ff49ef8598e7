"""Dovecot as the others' authentication server: every password mechanism, and OAuth 2 tokens checked offline."""

from __future__ import annotations

import base64
import hmac
import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.servers.mailserver import PASSWORD, USERNAME, NotInstalled, private_folder, process

BINARY = Path("/usr/sbin/dovecot")
KEY = b"a key for signing that is used in tests only"
MECHANISMS = ("plain", "login", "cram-md5", "scram-sha-256", "xoauth2", "oauthbearer")

CONFIGURATION = """
protocols =
base_dir = {folder}/run
state_dir = {folder}/run
instance_name = {name}
log_path = {folder}/log
auth_verbose = yes
ssl = no
auth_mechanisms = {mechanisms}
# A refused login is answered at once: the tests would only wait.
auth_failure_delay = 0
service anvil {{
  unix_listener anvil-auth-penalty {{
    mode = 0
  }}
}}
passdb {{
  driver = passwd-file
  mechanisms = plain login cram-md5 scram-sha-256
  args = scheme=PLAIN-TRUNC username_format=%u {folder}/passwd
}}
passdb {{
  driver = oauth2
  mechanisms = xoauth2 oauthbearer
  args = {folder}/oauth2.conf
}}
userdb {{
  driver = static
  args = uid=65534 gid=65534 home=/nonexistent
}}
service auth {{
  unix_listener {folder}/auth {{
    mode = 0666
  }}
}}
"""

OAUTH2 = """
introspection_mode = local
local_validation_key_dict = fs:posix:prefix={folder}/keys/
username_attribute = email
"""


@dataclass(frozen=True)
class Dovecot:
    socket: Path
    log: Path

    @staticmethod
    def token(username: str = USERNAME, *, key: bytes = KEY, seconds: int = 600, filling: int = 0) -> str:
        """An access token as an identity provider would sign it (RFC 7519, HS256); `filling` makes it longer."""
        header = _b64({"alg": "HS256", "typ": "JWT"})
        now = int(time.time())
        times = {"iat": now - 10, "nbf": now - 10, "exp": now + seconds}
        claims = _b64({"sub": username, "email": username, "filling": "x" * filling, **times})
        signature = hmac.digest(key, f"{header}.{claims}".encode(), "sha256")
        return f"{header}.{claims}.{_b64url(signature)}"


def _b64(value: object) -> str:
    return _b64url(json.dumps(value).encode())


def _b64url(octets: bytes) -> str:
    return base64.urlsafe_b64encode(octets).decode().rstrip("=")


@contextmanager
def run_dovecot() -> Iterator[Dovecot]:
    if not BINARY.exists():
        raise NotInstalled("dovecot-core is not installed: run tests/servers/install.sh")
    with private_folder("dovecot") as folder:
        keys = folder / "keys/default/HS256"
        keys.mkdir(parents=True)
        (keys / "default").write_bytes(base64.b64encode(KEY))
        (folder / "passwd").write_text(f"{USERNAME}:{{PLAIN}}{PASSWORD}\n")
        (folder / "oauth2.conf").write_text(OAUTH2.format(folder=folder))
        (folder / "dovecot.conf").write_text(
            CONFIGURATION.format(folder=folder, name=folder.name, mechanisms=" ".join(MECHANISMS))
        )
        with process([BINARY, "-F", "-c", folder / "dovecot.conf"], folder / "output") as running:
            deadline = time.monotonic() + 20
            while not (folder / "auth").is_socket():
                log = "".join(p.read_text() for p in (folder / "output", folder / "log") if p.exists())
                assert running.poll() is None, log
                assert time.monotonic() < deadline, log
                time.sleep(0.02)
            yield Dovecot(folder / "auth", folder / "log")
