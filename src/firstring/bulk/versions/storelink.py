"""The records of a store in the form in which they are compared: read in bounded batches, opened, put in canonical order.

The memory that it takes is that of a bulk run: distinct values, codes, and a few numbers for each record.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from typing import Any, Final, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

from firstring.identity.comparison.columns import COLUMNS, Encoder, Table, compared
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
    """A record as it is compared; link_keys: as they stand in the store."""

    record_id: int
    source_id: int
    external_key: bytes
    content_key: bytes
    link_keys: Sequence[bytes]
    values: Values

    @property
    def order(self) -> bytes:
        """What orders records, online and in bulk: what is compared first, then the source's own id; 32 bytes."""
        return content_of(self.values) + self.external_key


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
    gathering = Gathering()
    after, read = 0, 0
    bound = newest if last_id is None else last_id
    while True:
        async with database.transaction(tenant.tenant_id) as connection:
            rows = await connection.fetch(sql("models", "records_after"), tenant.tenant_id, after, bound, BATCH_RECORDS)
        if not rows:
            break
        opened = await asyncio.to_thread(open_all, tenant, rows)
        wanted: Mapping[int, bool] = {record.record_id: True for record in opened}
        if batch is not None:
            async with database.transaction(tenant.tenant_id) as connection:
                wanted = await batch(connection, opened)
        for record in opened:
            if record.record_id in wanted:
                gathering.add(record, wanted[record.record_id])
        after, read = rows[-1]["record_id"], read + len(rows)
        told(read, max(whole, read))
    async with database.transaction(tenant.tenant_id) as connection:
        names = await source_names(connection, tenant)
    return await asyncio.to_thread(gathering.stored, names, statistics, decided)


async def source_names(connection: Connection, tenant: Tenant) -> dict[int, str]:
    """The tenant's sources by id, in the order of their names."""
    return {row["source_id"]: row["name"] for row in await connection.fetch(sql("models", "sources"), tenant.tenant_id)}


def open_all(tenant: Tenant, rows: Sequence[Any]) -> list[Opened]:
    """Opens rows of `record`; those that were erased hold nothing to compare."""
    found = []
    for row in rows:
        fields = tenant.keys.open(row["wrapped_key"], row["sealed"]) or {}
        record_id, source_id, external_key, content_key, link_keys = (row[name] for name in _OF_ROW)
        found.append(Opened(record_id, source_id, external_key, content_key, link_keys, compared(fields)))
    return found


class Gathering:
    """Takes records as they come."""

    def __init__(self) -> None:
        self._encoder = Encoder()
        self._ids: list[int] = []
        self._sources: list[int] = []
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
