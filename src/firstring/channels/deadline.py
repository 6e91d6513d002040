"""An answer by its deadline, whatever the work behind it does."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from typing import Any, TypeVar

T = TypeVar("T")


async def by_deadline(work: Awaitable[T], deadline_s: float) -> T:
    """What `work` returns or raises; TimeoutError once the deadline is over. The work is then cancelled, not awaited.

    asyncio.timeout waits until what it cancelled lets go: a database driver lets go only when the server confirmed the
    cancellation, and a server that is frozen never does.
    """
    task = asyncio.ensure_future(work)
    try:
        done, _ = await asyncio.wait({task}, timeout=max(0.0, deadline_s))
    except asyncio.CancelledError:
        _give_up(task)
        raise
    if not done:
        _give_up(task)
        raise TimeoutError
    return task.result()


_given_up: set[asyncio.Future[Any]] = set()
"""asyncio keeps weak references only: what was given up is held until it has ended."""


def _give_up(task: asyncio.Future[Any]) -> None:
    _given_up.add(task)
    task.add_done_callback(_forget)
    task.cancel()


def _forget(task: asyncio.Future[Any]) -> None:
    _given_up.discard(task)
    if not task.cancelled():
        task.exception()  # nobody waits for it any more: seen, so that asyncio does not complain
