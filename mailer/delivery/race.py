"""Waiting for whichever of several things happens first."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Coroutine
from typing import TypeVar

T = TypeVar("T")


async def race(work: Awaitable[T], *others: Coroutine[object, object, object]) -> T | None:
    """Run `work` until it or one of `others` finishes, and cancel the rest.

    Returns what `work` returned, or None if another one finished first. Raises what `work` raised.
    """
    working = asyncio.ensure_future(work)
    tasks = [working, *map(asyncio.ensure_future, others)]
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)
    return None if working.cancelled() else working.result()
