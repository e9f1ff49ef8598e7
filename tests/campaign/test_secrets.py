"""Passwords from variables, commands and files; and that errors never hold one."""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path
from types import ModuleType

import pytest

from mailer.campaign.model import SecretSource
from mailer.campaign.named_file import NamedFile
from mailer.campaign.secrets import (
    CommandSecret,
    EnvironmentSecret,
    FileSecret,
    GivenSecret,
    KeyringSecret,
    check_command,
)
from mailer.errors import InputError, MissingExtra, Place
from mailer.secret import Secret

HERE = Place("x.yaml", 3, 7)


def refusal(source: SecretSource) -> str:
    with pytest.raises(InputError) as caught:
        source.read()
    return str(caught.value)


def command(code: str, folder: Path, seconds: float = 20.0) -> CommandSecret:
    return CommandSecret(f'"{sys.executable}" -c "{code}"', HERE, folder, seconds)


def test_an_environment_variable_gives_the_secret_or_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SMTP_PASSWORD", "p ä$$")
    assert EnvironmentSecret("SMTP_PASSWORD", HERE).read().reveal() == "p ä$$"
    monkeypatch.delenv("SMTP_PASSWORD")
    expected = "x.yaml:3:7: the environment variable SMTP_PASSWORD is not set"
    assert refusal(EnvironmentSecret("SMTP_PASSWORD", HERE)) == expected
    monkeypatch.setenv("SMTP_PASSWORD", "")
    assert refusal(
        EnvironmentSecret("SMTP_PASSWORD", HERE)
    ) == "x.yaml:3:7: the environment variable SMTP_PASSWORD is empty; " + ("expected the password")
    monkeypatch.setenv("SMTP_PASSWORD", "two\nlines")
    assert "second line" in refusal(EnvironmentSecret("SMTP_PASSWORD", HERE))
    assert "two" not in refusal(EnvironmentSecret("SMTP_PASSWORD", HERE))


def test_a_password_command_prints_the_password_on_one_line(folder: Path) -> None:
    assert command("print('s3cret')", folder).read().reveal() == "s3cret"
    assert command("print('s3cret', end='')", folder).read().reveal() == "s3cret"
    text = refusal(command("print('s3cret'); print('user: ada')", folder))
    assert "printed more than one line" in text
    assert "s3cret" not in text


def test_a_password_command_is_run_by_the_shell_in_the_campaigns_folder(folder: Path) -> None:
    (folder / "password").write_text("s3cret\nuser: ada\n")
    assert CommandSecret("cat password | head -1", HERE, folder).read().reveal() == "s3cret"


def test_a_password_command_gets_a_small_environment(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("MAILER_PASSWORD", "GITHUB_TOKEN", "LD_PRELOAD", "PYTHONPATH"):
        monkeypatch.setenv(name, "x")
    monkeypatch.setenv("PASSWORD_STORE_DIR", "/store")
    monkeypatch.setenv("LC_ALL", "C")
    found = set(CommandSecret("env | cut -d= -f1 | tr '\\n' ' '", HERE, folder).read().reveal().split())
    assert {"PATH", "PASSWORD_STORE_DIR", "LC_ALL"} <= found
    assert not found & {"MAILER_PASSWORD", "GITHUB_TOKEN", "LD_PRELOAD", "PYTHONPATH"}


def test_a_password_command_that_is_too_slow_ends_with_its_whole_pipe(folder: Path) -> None:
    started = time.monotonic()
    slow = CommandSecret("sleep 60 | cat", HERE, folder, 0.3)
    assert "did not end within 0.3 s" in refusal(slow)
    assert time.monotonic() - started < 20


def test_a_password_command_that_fails_shows_nothing_that_it_printed(
    folder: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    code = "import sys; print('s3cret'); print('s3cret', file=sys.stderr); sys.exit(3)"
    text = refusal(command(code, folder))
    assert "failed with status 3" in text
    assert "s3cret" not in text
    assert "s3cret" not in "".join(capfd.readouterr())


def test_a_password_command_that_cannot_start_is_an_error(folder: Path) -> None:
    assert "the password command was not found" in refusal(
        CommandSecret("no-such-tool show smtp", HERE, folder)
    )
    assert "did not start: No such file or directory" in refusal(CommandSecret("true", HERE, folder / "gone"))


def test_a_password_command_that_is_too_slow_is_stopped(folder: Path) -> None:
    started = time.monotonic()
    assert "did not end within 0.3 s" in refusal(command("import time; time.sleep(60)", folder, 0.3))
    closes_and_stays = "import os, time; os.close(1); time.sleep(60)"
    assert "did not end within 0.5 s" in refusal(command(closes_and_stays, folder, 0.5))
    assert time.monotonic() - started < 20


def test_a_password_command_that_prints_too_much_is_stopped(folder: Path) -> None:
    assert "wrote more than 65,536 octets" in refusal(command("while True: print('x' * 1000)", folder))


def test_a_password_command_has_no_standard_input(folder: Path) -> None:
    assert "is empty" in refusal(command("import sys; print(sys.stdin.read())", folder))


def test_a_password_command_that_prints_no_text_is_refused(folder: Path) -> None:
    assert "did not give UTF-8 text" in refusal(command("import os; os.write(1, bytes([255]))", folder))


@pytest.mark.parametrize("text", ["", "  ", "a\0b"])
def test_a_blank_password_command_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="expected a command"):
        check_command(text)


@pytest.mark.parametrize(
    ("content", "expected"),
    [(b"s3cret\n", "s3cret"), (b"s3cret\r\n", "s3cret"), (b" s ", " s "), (b"\xef\xbb\xbfs", "s")],
)
def test_a_password_file_gives_its_line_without_the_line_end(
    folder: Path, content: bytes, expected: str
) -> None:
    (folder / "p").write_bytes(content)
    assert FileSecret(NamedFile(folder / "p", "p", HERE)).read().reveal() == expected


def test_a_file_without_a_password_is_refused(folder: Path) -> None:
    secret = FileSecret(NamedFile(folder / "p", "p", HERE))
    assert refusal(secret) == "x.yaml:3:7: p: there is no such file"
    for content, expected in {
        b"": "is empty",
        b"\n": "is empty",
        b"s3cret\nmore\n": "second line",
        b"\xff\xfe": "did not give UTF-8",
        b"x" * 70_000: "more than 65,536 octets",
    }.items():
        (folder / "p").write_bytes(content)
        assert expected in refusal(secret)
        assert "s3cret" not in refusal(secret)
    (folder / "p").unlink()
    os.mkfifo(folder / "p")
    assert "it is a FIFO" in refusal(secret)


def test_a_given_secret_does_not_show_itself() -> None:
    source = GivenSecret(Secret("s3cret"))
    assert source.read().reveal() == "s3cret"
    assert "s3cret" not in repr(source)


class _Keyring(ModuleType):
    """Stands in for the package keyring, which talks to the desktop."""

    class errors:
        class KeyringError(Exception):
            pass

    def get_password(self, service: str, username: str) -> str | None:
        if service == "locked":
            raise self.errors.KeyringError("s3cret is in my words")
        return "s3cret" if (service, username) == ("smtp.example.com", "news@example.com") else None


def test_a_password_is_read_from_the_keyring(load, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "keyring", _Keyring("keyring"))

    def password(service: str, user: str) -> KeyringSecret:
        source = load(
            server=f"{{host: a.example, username: {user}, password: {{keyring: {service}}}}}"
        ).server.password
        assert isinstance(source, KeyringSecret)
        return source

    assert password("smtp.example.com", "news@example.com").read().reveal() == "s3cret"
    assert "has no password of me for smtp.example.com" in refusal(password("smtp.example.com", "me"))
    assert "is it locked?" in refusal(password("locked", "me"))
    assert "s3cret" not in refusal(password("locked", "me"))
    monkeypatch.setitem(sys.modules, "keyring", None)
    with pytest.raises(MissingExtra, match="needs keyring"):
        password("locked", "me").read()
