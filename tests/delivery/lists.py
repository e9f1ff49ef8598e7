"""Lists and a compiled campaign as planning needs them, without files and templates."""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
import weakref
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

from mailer.campaign.model import Campaign, Pattern, Recipient
from mailer.errors import Place, Problem, RenderError
from mailer.render.message import Message

NOW = 1_800_000_000.0


class People:
    """A source of recipients from (email, columns) pairs; `problem` in the columns makes a row invalid."""

    def __init__(self, *people, digest=True):
        self.people, self.digest, self.reads = people, digest, 0

    def __iter__(self) -> Iterator[Recipient]:
        self.reads += 1
        for line, person in enumerate(self.people, 2):
            email, columns = person if isinstance(person, tuple) else (person, {})
            place = Place("people.csv", line, 1)
            problem = Problem(place, columns["problem"]) if "problem" in columns else None
            yield Recipient(email, {"email": email, **columns}, place, problem)

    def fingerprint(self):
        return hashlib.sha256(json.dumps(self.people).encode()).hexdigest() if self.digest else None


class Many:
    """`count` people, made as they are read."""

    def __init__(self, count: int, *, mark: str = "many") -> None:
        self.count, self.mark = count, mark

    def __iter__(self) -> Iterator[Recipient]:
        for n in range(self.count):
            email = f"{n * 2_654_435_761 % 2**32:08x}.person{n}@example.com"  # keys in no order, as in a real list
            columns = {
                "email": email,
                "name": f"Person {n}",
                "city": "Paris",
                "plan": "pro",
                "token": f"{n:016x}",
            }
            yield Recipient(email, columns, Place("people.csv", n + 2, 1))

    def fingerprint(self):
        return f"{self.mark} {self.count}"


def _remove_in_process(process: int, path: str) -> None:
    if os.getpid() == process:
        os.unlink(path)


class Compiled:
    """Renders every recipient but those whose column `bad` says why not."""

    def __init__(self, fingerprint: str = "template", key: str | None = None) -> None:
        self.fingerprint, self._key = fingerprint, key
        self.limits = SimpleNamespace(seconds=10.0)
        descriptor, self._log = tempfile.mkstemp(prefix="rendered-")
        os.close(descriptor)
        # A child process that preflight forks has this object too, and may collect it first.
        weakref.finalize(self, _remove_in_process, os.getpid(), self._log)

    @property
    def rendered(self) -> list[str]:
        """The addresses, in order. Preflight renders in child processes, so that they are noted in a file."""
        return sorted(Path(self._log).read_text().split())

    def note(self, recipient) -> None:
        with open(self._log, "a") as log:
            log.write(f"{recipient.email}\n")

    def learn(self, recipient, **options):
        pass

    def is_sure_to_render(self, recipient):
        return False

    def make_key(self, recipient):
        if self._key is None:
            return recipient.email.casefold()
        try:
            return self._key.format(**recipient.columns)
        except KeyError as error:
            raise RenderError(f"no {error}") from None

    def compare_with_jinja2(self, recipient):
        return True

    def render(self, recipient, *, eight_bit=False):
        self.note(recipient)
        if "bad" in recipient.columns:
            raise RenderError(Problem(recipient.place, recipient.columns["bad"]))
        return Message("a@example.com", (recipient.email,), b"x\r\n", "<m@example.com>")


def campaign(recipients, *, key=None, variables=None) -> Campaign:
    place = Place("autumn.yaml", 1, 1)
    return Campaign(
        path=Path("autumn.yaml"),
        root=Path(),
        name="autumn",
        sender=Pattern("a@example.com", place),
        subject=Pattern("x", place),
        text=Pattern("text.txt.j2", place),
        recipients=recipients,
        key=Pattern(key, place) if key else None,
        vars=variables or {},
    )


def progress():
    """An observer that keeps what it is told."""
    seen = SimpleNamespace(planned=[], checked=[])
    seen.on_planning = seen.planned.append
    seen.on_preflight = lambda done, total: seen.checked.append((done, total))
    return seen
