"""Where a password comes from. Nothing is read until `read()` is called, and no error repeats what was read."""

from __future__ import annotations

import os
import selectors
import shlex
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from mailer.campaign.files import NamedFile
from mailer.errors import InputError, Place, Problem
from mailer.secret import Secret

MAX_SECRET = 65_536  # octets; the longest OAuth tokens are a few thousand
COMMAND_SECONDS = 120.0  # a person may have to unlock a key ring


@dataclass(frozen=True, slots=True)
class EnvSecret:
    """`{env: NAME}`"""

    name: str
    place: Place

    def read(self) -> Secret:
        value = os.environ.get(self.name)
        if value is None:
            raise _input_error(self.place, f"the environment variable {self.name} is not set")
        return _check_secret(value, self.place, f"the environment variable {self.name}")


@dataclass(frozen=True, slots=True)
class CommandSecret:
    """`{command: "pass show smtp"}`: the first line that it prints. Run without a shell, in the campaign's folder."""

    command: str
    place: Place
    folder: Path
    seconds: float = COMMAND_SECONDS

    def read(self) -> Secret:
        arguments = split_command(self.command)
        what = f"the password command ({arguments[0]})"
        try:
            # Its standard error is not shown: what a failing tool prints may hold the secret.
            process = subprocess.Popen(  # noqa: S603 - the user's own command, without a shell
                arguments, cwd=self.folder, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
            )
        except (OSError, ValueError) as error:
            reason = os.strerror(error.errno) if isinstance(error, OSError) and error.errno else "it cannot be run"
            raise _input_error(self.place, f"{what} did not start: {reason}") from None
        with process:
            output = self._collect_output(process, what)
        if process.returncode != 0:
            raise _input_error(self.place, f"{what} failed with status {process.returncode}; run it by hand to see why")
        return _check_secret(_decode_utf8(output, self.place, what).partition("\n")[0].rstrip("\r"), self.place, what)

    def _collect_output(self, process: subprocess.Popen[bytes], what: str) -> bytes:
        """Its output, bounded in time and size; whatever happens, it has ended afterwards."""
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
            process.kill()
        return output


@dataclass(frozen=True, slots=True)
class FileSecret:
    """`{file: /run/secrets/smtp}`: its content without the line end that editors add."""

    file: NamedFile

    def read(self) -> Secret:
        place = self.file.named_at or Place(self.file.shown)
        with self.file.open() as stream:
            content = stream.read(MAX_SECRET + 1)
        if len(content) > MAX_SECRET:
            raise _input_error(place, f"{self.file.shown}: more than {MAX_SECRET:,} octets are no password")
        text = _decode_utf8(content, place, self.file.shown)
        return _check_secret(text.removesuffix("\n").removesuffix("\r"), place, self.file.shown)


@dataclass(frozen=True, slots=True)
class GivenSecret:
    """A password that is already in hand (from a server's URL, or a caller of the Python API)."""

    secret: Secret

    def read(self) -> Secret:
        return self.secret


def split_command(command: str) -> list[str]:
    """The words of a command, as a POSIX shell splits them; ValueError where there are none or a quote is open."""
    try:
        words = shlex.split(command)
    except ValueError as error:
        raise ValueError(f"expected a command: {str(error).lower()}") from None
    if not words or "\0" in command:
        raise ValueError("expected a command such as 'pass show smtp'")
    return words


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
        raise _input_error(place, f"{what} holds a control character or a second line; expected the password alone")
    return Secret(text)


def _input_error(place: Place, text: str) -> InputError:
    return InputError(Problem(place, text))
