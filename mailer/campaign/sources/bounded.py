"""Reading a list in a child process with limits: what a list holds, and so what its reading costs, is a
stranger's.

A list that the caller of the Python API gives is an iterable of the caller's own program. It is read here,
and only what is computed from its rows is computed in a child.
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from typing import TypeVar

from mailer.bounded_process import LimitExceeded, ProcessLimits, ProcessPool, iterate_bounded
from mailer.campaign.model import Recipient, RecipientSource
from mailer.campaign.sources.inline import InlineSource
from mailer.campaign.sources.source import FileSource, StandardInput
from mailer.campaign.sources.sql import SqlSource
from mailer.errors import InputError, Place, Problem

Converted = TypeVar("Converted")

ROW_LIMITS = ProcessLimits(seconds=10.0)
FIRST_ROW_LIMITS = ProcessLimits(seconds=60.0)  # a workbook's texts are all read before its first row


def read_recipients(source: RecipientSource) -> Generator[Recipient, None, None]:
    """Yield the recipients of a list.

    Raises InputError, also if a row takes more time or memory than its limit.
    """
    return convert_recipients(source, _keep)


def convert_recipients(
    source: RecipientSource, convert: Callable[[Recipient], Converted]
) -> Generator[Converted, None, None]:
    """As `read_recipients`, but yield `convert(recipient)`, which is computed in the child process too."""
    try:
        if isinstance(source, (FileSource, InlineSource, SqlSource)):
            yield from iterate_bounded(
                lambda: map(convert, source),
                ROW_LIMITS,
                first=FIRST_ROW_LIMITS,
                keep_open=_descriptors(source),
            )
            return
        pool: ProcessPool[Recipient, Converted] = ProcessPool(convert, limits=ROW_LIMITS)
        with pool:
            for _, outcome in pool.map(source):
                yield outcome.get()
    except LimitExceeded as error:
        place = Place(source.file.shown) if isinstance(source, FileSource) else None
        raise InputError(Problem(place, f"the list of recipients cannot be read: {error}")) from None


def _keep(recipient: Recipient) -> Recipient:
    return recipient


def _descriptors(source: RecipientSource) -> list[int]:
    """Standard input, which is read here: there is only one."""
    if isinstance(source, FileSource) and isinstance(source.file, StandardInput):
        return [source.file.descriptor()]
    return []
