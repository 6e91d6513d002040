"""Events that arrive from many callers: what waits while a transaction runs shares the next one (group commit).

Each caller is answered after the commit of its own events. A transaction that fails as a whole is tried caller by caller,
so that nobody fails for what another one sent. Calls are made ready while others are stored.

Transactions that read the logs of visitors would wait for each other in the database, for who is busy is in all of them:
here one begins when the one before has ended, with all that came meanwhile. So a visit is mostly in one transaction.
"""

from __future__ import annotations

import asyncio
from collections import deque
from typing import Final, NamedTuple, cast

from firstring import limits
from firstring.errors import FirstringError, Retryable
from firstring.ports import Clock
from firstring.store.database import Database, Tenant
from firstring.store.journey.events import Incoming, IngestResult, Ready, ingest_ready, made_ready
from firstring.store.journey.firings import Told

_AT_ONCE: Final = 3
"""Transactions of one tenant at a time: while one is being made durable the next is prepared, and there is always one that
has work for this process."""
_READY_AT_ONCE: Final = 2
"""Large calls made ready at a time, in threads: more would only keep the event loop waiting for its turn."""
_LARGE: Final = 64


class _Waiting(NamedTuple):
    ready: Ready
    of_visitors: bool
    size: int
    answer: asyncio.Future[IngestResult]


class _Line:
    """What waits of one tenant. size: of all that waits or is made ready. visitors: held by the transaction that reads
    visitors' logs."""

    def __init__(self) -> None:
        self.waiting: deque[_Waiting] = deque()
        self.size = 0
        self.visitors = asyncio.Lock()
        self.making = asyncio.Semaphore(_READY_AT_ONCE)
        self.running: set[asyncio.Task[None]] = set()


class EventIntake:
    """One for each process and database."""

    def __init__(self, database: Database, clock: Clock, *, country: str, told: Told | None = None) -> None:
        """told: of patterns that came true, after the commit."""
        self._database = database
        self._clock = clock
        self._country = country
        self._told = told
        self._lines: dict[int, _Line] = {}
        self._is_closing = False

    async def store(self, tenant: Tenant, incoming: Incoming) -> IngestResult:
        """As events.ingest_all for one call; durable when it returns. Raises Retryable events_waiting (too much waits)."""
        if self._is_closing:
            raise _stopping()
        line = self._lines.setdefault(tenant.tenant_id, _Line())
        size = len(incoming.events) + len(incoming.refused)
        if line.size + size > limits.EVENTS_WAITING:
            raise Retryable("events_waiting", "More events wait than can be stored in time.", hint="Retry after a moment.")
        line.size += size
        try:
            ready = await self._made_ready(tenant, line, incoming)
            if self._is_closing:
                raise _stopping()
        except BaseException:
            line.size -= size
            raise
        one = _Waiting(ready, ready.of_visitors, size, asyncio.get_running_loop().create_future())
        line.waiting.append(one)
        if len(line.running) < _AT_ONCE:
            line.running.add(asyncio.create_task(self._run(tenant, line)))
        return await one.answer

    async def _made_ready(self, tenant: Tenant, line: _Line, incoming: Incoming) -> Ready:
        if len(incoming.events) < _LARGE:
            [ready] = await made_ready(tenant, [incoming], self._country)
            return ready
        async with line.making:
            [ready] = await made_ready(tenant, [incoming], self._country)
            return ready

    async def close(self) -> None:
        """Takes nothing more and waits for what is under way."""
        self._is_closing = True
        running = [task for line in self._lines.values() for task in line.running]
        await asyncio.gather(*running, return_exceptions=True)

    async def _run(self, tenant: Tenant, line: _Line) -> None:
        await asyncio.sleep(0)  # what arrives in this turn of the loop goes along
        together: list[_Waiting] = []
        try:
            while line.waiting:
                if line.waiting[0].of_visitors:
                    async with line.visitors:
                        if together := self._next(line, of_visitors=True):
                            await self._store(tenant, together)
                elif together := self._next(line, of_visitors=False):
                    await self._store(tenant, together)
        except BaseException:
            for one in together:
                _fail(one.answer, _stopping())
            if line.running == {asyncio.current_task()}:
                while line.waiting:
                    one = line.waiting.popleft()
                    line.size -= one.size
                    _fail(one.answer, _stopping())
            raise
        finally:  # not when the loop gets round to it: what comes before would count on a task that has ended
            line.running.discard(cast(asyncio.Task[None], asyncio.current_task()))

    @staticmethod
    def _next(line: _Line, *, of_visitors: bool) -> list[_Waiting]:
        """The first that waits, and those behind it as far as they go into one transaction."""
        together: list[_Waiting] = []
        size = 0
        while line.waiting:
            one = line.waiting[0]
            if one.of_visitors and not of_visitors:
                break
            if together and size + one.size > limits.EVENTS_TOGETHER:
                break
            line.waiting.popleft()
            line.size -= one.size
            if not one.answer.done():  # else its caller went away before anything was done
                together.append(one)
                size += one.size
        return together

    async def _store(self, tenant: Tenant, together: list[_Waiting]) -> None:
        try:
            results = await ingest_ready(
                self._database,
                tenant,
                [one.ready for one in together],
                now=self._clock.now(),
                country=self._country,
                told=self._told,
            )
        except FirstringError as error:
            if len(together) == 1 or isinstance(error, Retryable):
                for one in together:
                    _fail(one.answer, error)
                return
            for one in together:
                await self._store(tenant, [one])
        except BaseException as error:  # a fault of ours is told to those whom it met, and the line goes on
            for one in together:
                _fail(one.answer, error)
            if not isinstance(error, Exception):
                raise
        else:
            for one, result in zip(together, results, strict=True):
                if not one.answer.done():
                    one.answer.set_result(result)


def _stopping() -> Retryable:
    return Retryable("stopping", "The server is stopping; nothing of this call was stored.")


def _fail(answer: asyncio.Future[IngestResult], error: BaseException) -> None:
    if not answer.done():
        answer.set_exception(error)
