"""Records that arrive one by one from many callers: what waits while a transaction runs shares the next one.

Each caller's answer comes after the commit of its own records. A batch that fails as a whole is tried caller by caller,
so that nobody fails for what another one sent.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Sequence
from datetime import datetime
from typing import Final, NamedTuple

import msgspec

from firstring.errors import FirstringError, Retryable
from firstring.store.database import Database, Tenant
from firstring.store.identity.models import was_linked
from firstring.store.identity.records import Applied, Prepared, SourceRecord, apply_prepared, external_key, prepare

_TOGETHER_RECORDS: Final = 256
"""Records of several callers in one transaction: more would make the first one wait for the last one's work."""


class _Waiting(NamedTuple):
    source: str
    prepared: list[Prepared]
    names: frozenset[bytes]
    now: datetime
    answer: asyncio.Future[Applied]


class Arrivals:
    """One for each process and database. A tenant's arrivals go through one transaction at a time, in their order."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._waiting: dict[int, deque[_Waiting]] = {}
        self._running: dict[int, asyncio.Task[None]] = {}

    async def apply(self, tenant: Tenant, source: str, records: Sequence[SourceRecord], *, now: datetime) -> Applied:
        """As records.apply_records; the counts of merged and split persons are those of the whole transaction."""
        prepared = (
            await asyncio.to_thread(_prepared, tenant, source, records)
            if len(records) > _TOGETHER_RECORDS
            else _prepared(tenant, source, records)
        )
        names = frozenset(external_key(tenant.keys, source, record.record_id) for record in records)
        answer: asyncio.Future[Applied] = asyncio.get_running_loop().create_future()
        self._waiting.setdefault(tenant.tenant_id, deque()).append(_Waiting(source, prepared, names, now, answer))
        if tenant.tenant_id not in self._running:
            self._running[tenant.tenant_id] = asyncio.create_task(self._run(tenant))
        return await answer

    async def close(self) -> None:
        """Waits for what is under way."""
        await asyncio.gather(*self._running.values(), return_exceptions=True)

    async def _run(self, tenant: Tenant) -> None:
        waiting = self._waiting[tenant.tenant_id]
        try:
            while waiting:
                together = self._next(waiting)
                if together:
                    await self._apply(tenant, together)
        finally:
            del self._running[tenant.tenant_id]
            while waiting:  # only where the task was cancelled
                one = waiting.popleft()
                if not one.answer.done():
                    one.answer.set_exception(
                        Retryable("stopping", "The server is stopping; nothing of this call was stored.")
                    )

    @staticmethod
    def _next(waiting: deque[_Waiting]) -> list[_Waiting]:
        """The first that waits, and those behind it of the same source; no record twice, whose versions have an order.

        Those of other sources keep their places: records of two sources are never versions of one another.
        """
        together: list[_Waiting] = []
        others: list[_Waiting] = []
        names: set[bytes] = set()
        size = 0
        while waiting:
            one = waiting[0]
            if one.answer.done():  # its caller went away before anything was done
                waiting.popleft()
                continue
            if together and one.source != together[0].source:
                others.append(waiting.popleft())
                continue
            if together and (one.names & names or size + len(one.prepared) > _TOGETHER_RECORDS):
                break
            together.append(waiting.popleft())
            names |= one.names
            size += len(one.prepared)
        waiting.extendleft(reversed(others))
        return together

    async def _apply(self, tenant: Tenant, together: list[_Waiting]) -> None:
        prepared = [record for one in together for record in one.prepared]
        now = max(one.now for one in together)
        try:
            applied = await apply_prepared(self._database, tenant, together[0].source, prepared, now=now)
        except FirstringError as error:
            if len(together) == 1 or isinstance(error, Retryable):
                for one in together:
                    _fail(one.answer, error)
                return
            for one in together:
                await self._apply(tenant, [one])
        except BaseException as error:
            for one in together:
                _fail(one.answer, error)
            if not isinstance(error, Exception):
                raise
        else:
            place = 0
            for one in together:
                end = place + len(one.prepared)
                if not one.answer.done():
                    one.answer.set_result(_share(applied, place, end))
                place = end


def _prepared(tenant: Tenant, source: str, records: Sequence[SourceRecord]) -> list[Prepared]:
    linked = was_linked(tenant)
    return [prepare(tenant.keys, source, record, linked=linked) for record in records]


def _share(applied: Applied, start: int, end: int) -> Applied:
    """What one caller is told of a transaction of several."""
    outcomes = applied.outcomes[start:end]
    return msgspec.structs.replace(
        applied,
        inserted=outcomes.count("inserted"),
        updated=outcomes.count("updated"),
        unchanged=outcomes.count("unchanged"),
        record_ids=applied.record_ids[start:end],
        outcomes=outcomes,
    )


def _fail(answer: asyncio.Future[Applied], error: BaseException) -> None:
    if not answer.done():
        answer.set_exception(error)
