"""Campaigns made directly from the model, so that these tests need no campaign file."""

from __future__ import annotations

import email
import email.policy
import gc
import threading
import tracemalloc
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from email.message import EmailMessage
from pathlib import Path
from typing import Any, cast

from mailer.campaign.model import Campaign, Pattern, Recipient
from mailer.errors import Place
from mailer.render.compile import compile_campaign
from mailer.render.compiled import CompiledCampaign

# The smallest PNG: one transparent pixel.
PIXEL = bytes.fromhex(
    "89504e470d0a1a0a0000000d49484452000000010000000108060000001f15c4890000000d49444154789c6360606060000000050001a5f64540"
    "0000000049454e44ae426082"
)


class People:
    """A list of recipients that tests do not read."""

    def __iter__(self) -> Iterator[Recipient]:
        return iter(())

    def fingerprint(self) -> str | None:
        return None


def pattern(source: str, line: int = 1) -> Pattern:
    return Pattern(source, Place("campaign.yaml", line))


def person(address: str = "ada@example.com", line: int = 2, **columns: object) -> Recipient:
    return Recipient(address, {"email": address, **columns}, Place("people.csv", line))


def parsed(content: bytes) -> EmailMessage:
    """By the standard library, without any defect."""
    message = cast(EmailMessage, email.message_from_bytes(content, policy=email.policy.default))
    for part in message.walk():
        assert not part.defects
    return message


def content_of(part: Any) -> str:
    """A text part's text with the line ends of Python."""
    return str(part.get_content()).replace("\r\n", "\n")


class Project:
    """A project's folder and a campaign in it."""

    def __init__(self, root: Path) -> None:
        self.root = root.resolve()

    def write(self, **files: str | bytes) -> None:
        """Files by name; `__` is a slash and `_` before the suffix a dot, as keywords have neither."""
        for name, content in files.items():
            self.put(name.replace("__", "/").replace("_", "."), content)

    def put(self, name: str, content: str | bytes) -> Path:
        path = self.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content if isinstance(content, bytes) else content.encode("utf-8"))
        return path

    def _has(self, name: str) -> bool:
        return len(name) < 99 and any(
            (folder / name).is_file() for folder in (self.root, self.root / "templates")
        )

    def campaign(self, **fields: Any) -> Campaign:
        """`text="..."` and `template="..."` are the templates themselves unless they name a file that is there."""
        made: dict[str, Any] = {
            "path": self.root / "campaign.yaml",
            "root": self.root,
            "name": "spring",
            "sender": "Example News <news@example.com>",
            "subject": "Hello",
            "recipients": People(),
        }
        made.update(fields)
        for key, name in (("text", "body.txt"), ("template", "body.html")):
            if isinstance(source := made.get(key), str) and not self._has(source):
                self.put(name, source)
                made[key] = name
        for key in ("sender", "to", "subject", "text", "template", "envelope_from", "key"):
            if isinstance(made.get(key), str):
                made[key] = pattern(made[key])
        for key in ("images", "headers"):
            made[key] = {name: pattern(value) for name, value in made.get(key, {}).items()}
        for key in ("cc", "bcc", "reply_to"):
            made[key] = tuple(pattern(value) for value in made.get(key, ()))
        return Campaign(**made)

    def compile(self, **fields: Any) -> CompiledCampaign:
        limits = {
            key: fields.pop(key)
            for key in ("seconds", "max_bytes", "max_message", "edition")
            if key in fields
        }
        return compile_campaign(self.campaign(**fields), **limits)


def render_one(project: Project, recipient: Recipient | None = None, **fields: Any) -> EmailMessage:
    """The message of one recipient, as the standard library reads it."""
    return parsed(project.compile(**fields).render(recipient or person()).content)


def list_children() -> set[int]:
    """The process ids of the children of this thread. Other tests may have left servers running."""
    children = Path(f"/proc/self/task/{threading.get_native_id()}/children").read_text(encoding="ascii")
    return set(map(int, children.split()))


@contextmanager
def measure_growth() -> Iterator[Callable[[], int]]:
    """Give a function that returns, after the block, how many bytes of memory the block kept."""
    gc.collect()
    tracemalloc.start()
    kept = 0
    try:
        yield lambda: kept
        gc.collect()
        kept = tracemalloc.get_traced_memory()[0]
    finally:
        tracemalloc.stop()
