from __future__ import annotations

import datetime
import socket
import ssl
import stat
from pathlib import Path

import pytest
from cryptography import x509

from mailer.sandbox import Sandbox
from mailer.sandbox.server import create_server_context


@pytest.mark.parametrize("name", ["127.0.0.1", "localhost", "::1"])
def test_the_server_is_verified_by_each_of_its_names(sandbox: Sandbox, name: str) -> None:
    context = ssl.create_default_context(cafile=str(sandbox.ca_file))
    with (
        socket.create_connection(("127.0.0.1", sandbox.port), timeout=10) as raw,
        context.wrap_socket(raw, server_hostname=name) as tls,
    ):
        assert tls.version() == "TLSv1.3"


def test_another_name_is_not_verified(sandbox: Sandbox) -> None:
    context = ssl.create_default_context(cafile=str(sandbox.ca_file))
    with (
        socket.create_connection(("127.0.0.1", sandbox.port), timeout=10) as raw,
        pytest.raises(ssl.SSLCertVerificationError, match="mismatch"),
    ):
        context.wrap_socket(raw, server_hostname="mail.example.com")


def test_no_key_stays_on_disk(tmp_path: Path) -> None:
    _, ca_file = create_server_context(tmp_path)
    assert list(tmp_path.iterdir()) == [ca_file]
    assert b"PRIVATE" not in ca_file.read_bytes()


def test_the_authority_is_for_loopback_and_for_a_week(tmp_path: Path) -> None:
    _, ca_file = create_server_context(tmp_path)
    ca = x509.load_pem_x509_certificate(ca_file.read_bytes())
    assert ca.extensions.get_extension_for_class(x509.NameConstraints).value.permitted_subtrees
    assert ca.not_valid_after_utc - ca.not_valid_before_utc < datetime.timedelta(days=8)


def test_two_sandboxes_do_not_trust_each_other(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    _, first = create_server_context(tmp_path / "a")
    _, second = create_server_context(tmp_path / "b")
    assert first.read_bytes() != second.read_bytes()


def test_a_kept_authority_is_used_again(tmp_path: Path) -> None:
    folder = tmp_path / "ca"
    with Sandbox(maildir=tmp_path / "m", ca_dir=folder) as first:
        content = first.ca_file.read_bytes()
    assert first.ca_file.exists()
    assert stat.S_IMODE((folder / "ca-key.pem").stat().st_mode) == 0o600
    with Sandbox(maildir=tmp_path / "m", ca_dir=folder) as second:
        assert second.ca_file.read_bytes() == content
        context = ssl.create_default_context(cafile=str(first.ca_file))
        with (
            socket.create_connection(("127.0.0.1", second.port), timeout=10) as raw,
            context.wrap_socket(raw, server_hostname="localhost") as connection,
        ):
            assert connection.version()
    assert sorted(path.name for path in folder.iterdir()) == ["ca-key.pem", "ca.pem"]


def test_files_that_do_not_belong_together_are_an_error(tmp_path: Path) -> None:
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        create_server_context(tmp_path / name, is_kept=True)
    (tmp_path / "one" / "ca.pem").write_bytes((tmp_path / "two" / "ca.pem").read_bytes())
    with pytest.raises(ValueError, match="do not belong together"):
        create_server_context(tmp_path / "one", is_kept=True)
