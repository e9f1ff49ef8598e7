"""Where a password comes from.

Nothing is read until `read()` is called, and no error repeats what was read.
"""

from __future__ import annotations

import os
import selectors
import signal
import subprocess
import time
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import IO

from mailer.campaign.named_file import NamedFile
from mailer.dataclass import dataclass
from mailer.errors import InputError, MissingExtra, Place, Problem
from mailer.secret import Secret

MAX_SECRET = 65_536  # octets; the longest OAuth tokens are a few thousand
COMMAND_SECONDS = 120.0  # a person may have to unlock a key ring
_NOT_FOUND = 127  # the shell's status for a command that does not exist


# What the password command gets of the mailer's own environment: what programs need to find their files, a
# key agent, a terminal, and a person's settings. The mailer's own secrets (MAILER_PASSWORD, a CI job's
# tokens) stay out.
_KEPT_VARIABLES = [
    "PATH",
    "HOME",
    "USER",
    "LOGNAME",
    "SHELL",
    "TMPDIR",
    "LANG",
    "LANGUAGE",
    "TZ",
    "TERM",
    "DISPLAY",
    "WAYLAND_DISPLAY",
    "XAUTHORITY",
    "XDG_RUNTIME_DIR",
    "XDG_CONFIG_HOME",
    "XDG_DATA_HOME",
    "XDG_CACHE_HOME",
    "DBUS_SESSION_BUS_ADDRESS",
    "GNUPGHOME",
    "GPG_AGENT_INFO",
    "GPG_TTY",
    "SSH_AUTH_SOCK",
    "PASSWORD_STORE_DIR",
    "OP_SESSION",
    "BW_SESSION",
    "VAULT_ADDR",
    "AWS_PROFILE",
    "AWS_CONFIG_FILE",
]


@dataclass(frozen=True, slots=True)
class EnvironmentSecret:
    """`{env: NAME}`"""

    name: str
    place: Place

    def read(self) -> Secret:
        """Return the variable's value. InputError if it is not set or not a password."""
        value = os.environ.get(self.name)
        if value is None:
            raise _input_error(self.place, f"the environment variable {self.name} is not set")
        return _check_secret(value, self.place, f"the environment variable {self.name}")


@dataclass(frozen=True, slots=True)
class CommandSecret:
    """`{command: "pass show smtp | head -1"}`: the one line that it prints.

    It is run by `sh -c` in the campaign's folder, with a small environment, for at most `seconds`.
    """

    command: str
    place: Place
    folder: Path
    seconds: float = COMMAND_SECONDS

    def read(self) -> Secret:
        """Return the line.

        InputError if the command fails, prints more than a line, or does not end in time.
        """
        what = "the password command"
        try:
            # Its standard error is not shown: what a failing tool prints may hold the secret.
            process = subprocess.Popen(  # noqa: S603 - the user's own command; its pipe needs a shell
                ["/bin/sh", "-c", self.command],
                cwd=self.folder,
                env=_small_environment(),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                start_new_session=True,  # so that a pipe's other commands end with it
            )
        except OSError as error:
            reason = os.strerror(error.errno) if error.errno else "it cannot be run"
            raise _input_error(self.place, f"{what} did not start: {reason}") from None
        with process:
            output = self._collect_output(process, what)
        if process.returncode == _NOT_FOUND:
            raise _input_error(self.place, f"{what} was not found; run it by hand to see why")
        if process.returncode != 0:
            status = (
                f"status {process.returncode}" if process.returncode > 0 else f"signal {-process.returncode}"
            )
            raise _input_error(self.place, f"{what} failed with {status}; run it by hand to see why")
        text = _decode_utf8(output, self.place, what).removesuffix("\n").removesuffix("\r")
        if "\n" in text:
            raise _input_error(self.place, f"{what} printed more than one line; expected the password alone")
        return _check_secret(text, self.place, what)

    def _collect_output(self, process: subprocess.Popen[bytes], what: str) -> bytes:
        """Return its output, limited in time and size. Whatever happens, the command has ended afterwards."""
        assert process.stdout is not None  # noqa: S101 - asked for above
        ends = time.monotonic() + self.seconds
        try:
            output = _read_until(process.stdout, ends)
            if len(output) > MAX_SECRET:
                raise _input_error(self.place, f"{what} wrote more than {MAX_SECRET:,} octets")
            process.wait(max(0.1, ends - time.monotonic()))
        except (TimeoutError, subprocess.TimeoutExpired):
            raise _input_error(self.place, f"{what} did not end within {self.seconds:g} s") from None
        finally:
            with suppress(ProcessLookupError, PermissionError):
                os.killpg(process.pid, signal.SIGKILL)
        return output


@dataclass(frozen=True, slots=True)
class FileSecret:
    """`{file: /run/secrets/smtp}`: its content without the line end that editors add."""

    file: NamedFile

    def read(self) -> Secret:
        """Return the file's content. InputError if it cannot be read or is not a password."""
        place = self.file.named_at or Place(self.file.shown)
        with self.file.open() as stream:
            content = stream.read(MAX_SECRET + 1)
        if len(content) > MAX_SECRET:
            raise _input_error(
                place, f"{self.file.shown}: more than {MAX_SECRET:,} octets are not a password"
            )
        text = _decode_utf8(content, place, self.file.shown)
        return _check_secret(text.removesuffix("\n").removesuffix("\r"), place, self.file.shown)


@dataclass(frozen=True, slots=True)
class KeyringSecret:
    """`{keyring: SERVICE}`: the password that the system's keyring has for a user of a service (extra
    `keyring`).
    """

    service: str
    username: str | None
    place: Place

    def for_user(self, username: str) -> KeyringSecret:
        """Return the same for the login `username`."""
        return replace(self, username=username)

    def read(self) -> Secret:
        """Return the password. InputError if the keyring has none, or cannot be used."""
        try:
            import keyring
        except ImportError:
            raise MissingExtra("{keyring: …} needs keyring", hint="pip install 'mailer[keyring]'") from None
        what = f"the keyring's password of {self.username} for {self.service}"
        try:
            text = keyring.get_password(self.service, self.username or "")
        except keyring.errors.KeyringError:  # its words may hold what it read
            raise _input_error(self.place, "the system's keyring cannot be used; is it locked?") from None
        if text is None:
            raise _input_error(
                self.place, f"the keyring has no password of {self.username} for {self.service}"
            )
        return _check_secret(text, self.place, what)


@dataclass(frozen=True, slots=True)
class GivenSecret:
    """A password that is already known (from a server's URL, or from a caller of the Python API)."""

    secret: Secret

    def read(self) -> Secret:
        """Return it."""
        return self.secret


@dataclass(frozen=True, slots=True)
class WithheldSecret:
    """The password of a campaign that may read no secrets."""

    place: Place

    def read(self) -> Secret:
        """Raise InputError."""
        raise _input_error(self.place, "no secret is read here")


def check_command(command: str) -> None:
    """ValueError if `command` is blank, or nothing that a shell can be given."""
    if not command.strip() or "\0" in command:
        raise ValueError("expected a command such as 'pass show smtp | head -1'")


def _small_environment() -> dict[str, str]:
    kept = {name: value for name in _KEPT_VARIABLES if (value := os.environ.get(name)) is not None}
    return kept | {name: value for name, value in os.environ.items() if name.startswith("LC_")}


def _read_until(stream: IO[bytes], ends: float) -> bytes:
    chunks: list[bytes] = []
    with selectors.DefaultSelector() as selector:
        selector.register(stream, selectors.EVENT_READ)
        while sum(map(len, chunks)) <= MAX_SECRET:
            if not selector.select(max(0.0, ends - time.monotonic())):
                raise TimeoutError
            chunk = os.read(stream.fileno(), MAX_SECRET)
            if not chunk:
                break
            chunks.append(chunk)
    return b"".join(chunks)


def _decode_utf8(content: bytes, place: Place, what: str) -> str:
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise _input_error(place, f"{what} did not give UTF-8 text") from None


def _check_secret(text: str, place: Place, what: str) -> Secret:
    if not text:
        raise _input_error(place, f"{what} is empty; expected the password")
    if any(character < " " or character == "\x7f" or "\ud800" <= character <= "\udfff" for character in text):
        raise _input_error(
            place, f"{what} holds a control character or a second line; expected the password alone"
        )
    return Secret(text)


def _input_error(place: Place, text: str) -> InputError:
    return InputError(Problem(place, text))
