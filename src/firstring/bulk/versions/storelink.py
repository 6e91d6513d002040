"""The records of a store in the form in which they are compared: read in bounded batches, opened, put in canonical order.

The memory that it takes is that of a bulk run: distinct values, codes, and a few numbers for each record.
"""

from __future__ import annotations

import asyncio
from array import array
from collections.abc import AsyncGenerator, Awaitable, Callable, Collection, Mapping, Sequence
from contextlib import aclosing
from typing import Any, Final, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

from firstring.identity.comparison.columns import COLUMNS, Encoder, Table, compared
from firstring.identity.comparison.rows import unpack, values_of
from firstring.identity.comparison.statistics import Statistics
from firstring.identity.persons.linking import COPIES, content_of
from firstring.store.database import Connection, Database, Tenant
from firstring.store.queries import sql

Values: TypeAlias = dict[str, tuple[str, ...]]

BATCH_RECORDS: Final = 2_000
FROZEN: Final = (*COLUMNS, "home", "email_local", "email_host")
"""Columns whose values' rarity a version keeps: all that a comparison may band, and those whose drift is watched."""
_ORDER_BYTES: Final = 32
_CONTENT_WORDS: Final = 2
"""Of the four 64-bit words of an order, those that are of the content; the others tell equal records apart."""


class Opened(NamedTuple):
    """A record as it is compared; link_keys: as they stand in the store. content: digest of the values."""

    record_id: int
    source_id: int
    external_key: bytes
    content_key: bytes
    link_keys: Sequence[bytes]
    values: Values
    content: bytes

    @property
    def order(self) -> bytes:
        """What orders records, online and in bulk: what is compared first, then the source's own id; 32 bytes."""
        return self.content + self.external_key


class Stored(NamedTuple):
    """Records of a tenant in canonical order.

    record_ids and sources (places in `names`) are of all records. The table holds those `kept`; of records that come more
    than COPIES times, the others are left out, and `first` says for every one the place in the table of its first copy;
    those without a linking key and those that somebody decided about are kept, however many there are.
    """

    table: Table
    kept: NDArray[np.int64]
    first: NDArray[np.int64]
    record_ids: NDArray[np.int64]
    sources: NDArray[np.int32]
    names: tuple[str, ...]


_OF_ROW: Final = ("record_id", "source_id", "external_key", "content_key", "link_keys")

Batch: TypeAlias = Callable[[Connection, Sequence[Opened]], Awaitable[Mapping[int, bool]]]
"""Told of each batch in a transaction of its own; returns the records to take (their ids), and which have linking keys."""


async def read_store(
    database: Database,
    tenant: Tenant,
    *,
    statistics: Statistics | None = None,
    last_id: int | None = None,
    decided: Collection[int] = (),
    batch: Batch | None = None,
    told: Callable[[int, int], None] = lambda _done, _whole: None,
) -> Stored:
    """Reads all records, or those up to `last_id`. What changes meanwhile is read as it was or as it is.

    decided: records that somebody decided about: they take part, however many copies there are.
    told: (records read, about how many there are).
    """
    async with database.transaction(tenant.tenant_id) as connection:
        whole, newest = await connection.fetchrow(sql("models", "extent"), tenant.tenant_id)
    gathering, read = Gathering(), 0
    bound = newest if last_id is None else last_id
    async with aclosing(_opened_ahead(database, tenant, bound, batch)) as batches:
        async for opened, wanted in batches:
            for record in opened:
                if wanted is None or record.record_id in wanted:
                    gathering.add(record, wanted is None or wanted[record.record_id])
            read += len(opened)
            told(read, max(whole, read))
    async with database.transaction(tenant.tenant_id) as connection:
        names = await source_names(connection, tenant)
    return await asyncio.to_thread(gathering.stored, names, statistics, decided)


_Told: TypeAlias = tuple[list[Opened], Mapping[int, bool] | None]


async def _opened_ahead(database: Database, tenant: Tenant, bound: int, batch: Batch | None) -> AsyncGenerator[_Told, None]:
    """All records in batches, with what the batch function returned; while one is told of, the next is read and opened."""

    async def rows_after(record: int) -> list[Any]:
        async with database.transaction(tenant.tenant_id) as connection:
            rows: list[Any] = await connection.fetch(
                sql("models", "records_after"), tenant.tenant_id, record, bound, BATCH_RECORDS
            )
        return rows

    async def told_of(opened: list[Opened]) -> _Told:
        if batch is None:
            return opened, None
        async with database.transaction(tenant.tenant_id) as connection:
            return opened, await batch(connection, opened)

    ahead: asyncio.Task[list[Any]] | None = asyncio.create_task(rows_after(0))
    telling: asyncio.Task[_Told] | None = None
    try:
        while ahead is not None:
            rows = await ahead
            ahead = asyncio.create_task(rows_after(rows[-1]["record_id"])) if rows else None
            opened = await asyncio.to_thread(open_all, tenant, rows)
            if telling is not None:
                yield await telling
            telling = asyncio.create_task(told_of(opened)) if rows else None
    finally:
        left = [task for task in (ahead, telling) if task is not None and not task.done()]
        for task in left:
            task.cancel()
        if left:
            await asyncio.wait(left)


async def source_names(connection: Connection, tenant: Tenant) -> dict[int, str]:
    """The tenant's sources by id, in the order of their names."""
    return {row["source_id"]: row["name"] for row in await connection.fetch(sql("models", "sources"), tenant.tenant_id)}


def open_all(tenant: Tenant, rows: Sequence[Any]) -> list[Opened]:
    """Opens rows of `record`; those that were erased hold nothing to compare."""
    found = []
    for row in rows:
        record_id, source_id, external_key, content_key, link_keys = (row[name] for name in _OF_ROW)
        wrapped, kept = row["wrapped_key"], row.get("compared")
        known = unpack(tenant.keys.open_bytes(wrapped, kept)) if wrapped is not None and kept is not None else None
        if known is None:
            values = compared(tenant.keys.open(wrapped, row["sealed"]) or {})
            content = content_of(values)
        else:
            content, values = known[0], values_of(known[1])
        found.append(Opened(record_id, source_id, external_key, content_key, link_keys, values, content))
    return found


class Gathering:
    """Takes records as they come."""

    def __init__(self) -> None:
        self._encoder = Encoder()
        self._ids = array("q")
        self._sources = array("q")
        self._orders = bytearray()
        self._keyed = bytearray()

    def add(self, record: Opened, keyed: bool = True) -> None:
        """keyed: whether it has a linking key; without one it follows nobody, however many copies there are."""
        self._encoder.add(record.values)
        self._ids.append(record.record_id)
        self._sources.append(record.source_id)
        self._orders += record.order
        self._keyed.append(keyed)

    def stored(
        self, source_names: Mapping[int, str], statistics: Statistics | None = None, decided: Collection[int] = ()
    ) -> Stored:
        """All of them, in order. Nothing is left here afterwards."""
        words = np.frombuffer(bytes(self._orders), ">u8").reshape(-1, _ORDER_BYTES // 8).astype(np.uint64)
        order = np.lexsort((words[:, 3], words[:, 2], words[:, 1], words[:, 0]))
        content = words[order, :_CONTENT_WORDS]
        begins = np.flatnonzero(np.append(True, (content[1:] != content[:-1]).any(axis=1))) if len(order) else order
        copies = np.diff(np.append(begins, len(order)))
        begin = np.repeat(begins, copies)
        ids = np.array(self._ids, np.int64)[order]
        named = np.isin(ids, np.fromiter(decided, np.int64, len(decided)))
        alone = np.frombuffer(bytes(self._keyed), np.uint8)[order] == 0
        kept = np.flatnonzero((np.arange(len(order)) - begin < COPIES) | named | alone)
        names = tuple(sorted(source_names.values()))
        place = {source: names.index(name) for source, name in source_names.items()}
        sources = np.array([place[source] for source in self._sources], np.int32)
        return Stored(
            self._encoder.table(order[kept], statistics),
            kept,
            np.searchsorted(kept, begin),
            ids,
            sources[order],
            names,
        )
