"""Scripts for the fault server."""

from __future__ import annotations

from collections import Counter

from tests.faults.server import Step


def rcpt(answer):
    """A script that answers RCPT by `answer(address, how often it was asked before)`."""
    asked: Counter[str] = Counter()

    def script(step: Step) -> str | None:
        if step.name != "rcpt":
            return None
        asked[step.argument] += 1
        return answer(step.argument, asked[step.argument])

    return script


def number(address: str) -> int:
    return int(address.partition("@")[0].lstrip("r"))
