"""Batches of a tenant that are stored at the same time move patterns on in the order in which they came to this process.

Nothing depends on it but time: a batch that overtakes another one makes events of the other late, and their logs replayed.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Final

from firstring.store.database import Tenant

_LONGEST_S: Final = 0.02
"""Nobody waits longer: the one before may wait for what this one holds."""
_KEPT: Final = "turns"


class Turn:
    """A place in the line."""

    def __init__(self, line: dict[Turn, None]) -> None:
        self._line = line
        self._over = asyncio.Event()
        self._asked = asyncio.Event()
        line[self] = None

    async def come(self) -> None:
        """Waits for those before, for a moment."""
        with suppress(TimeoutError):
            async with asyncio.timeout(_LONGEST_S):
                while (first := next(iter(self._line), self)) is not self:
                    await first.over()

    async def come_to_ask(self) -> None:
        """Waits for a moment until those before have asked for the visitors they work on: who asks first is first served.
        Called when nothing is held that they may need."""
        with suppress(TimeoutError):
            async with asyncio.timeout(_LONGEST_S):
                for other in list(self._line):
                    if other is self:
                        return
                    await other.has_asked()

    def asks(self) -> None:
        """The visitors are asked for now, or there are none."""
        self._asked.set()

    async def has_asked(self) -> None:
        await self._asked.wait()

    async def over(self) -> None:
        await self._over.wait()

    def end(self) -> None:
        self._line.pop(self, None)
        self._over.set()
        self._asked.set()


@contextmanager
def turn_of(tenant: Tenant) -> Iterator[Turn]:
    """A turn until the end of the block."""
    turn = Turn(tenant.kept.setdefault(_KEPT, {}))
    try:
        yield turn
    finally:
        turn.end()
