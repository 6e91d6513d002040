"""The records of a store in the form in which they are compared: read in bounded batches, opened, put in canonical order.

The memory that it takes is that of a bulk run: distinct values, codes, and a few numbers for each record.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from typing import Any, Final, NamedTuple, TypeAlias

import msgspec
import numpy as np
from numpy.typing import NDArray

from firstring.bulk.gathering import COPIES
from firstring.identity.columns import COLUMNS, Encoder, Table, compared
from firstring.identity.statistics import Statistics
from firstring.store.database import Connection, Database, Tenant
from firstring.store.queries import sql

Values: TypeAlias = dict[str, tuple[str, ...]]

BATCH_RECORDS: Final = 2_000
FROZEN: Final = (*COLUMNS, "home", "email_local", "email_host")
"""Columns whose values' rarity a version keeps: all that a comparison may band, and those whose drift is watched."""
_DIGEST_BYTES: Final = 24
_CONTENT_WORDS: Final = 2
"""Of the three 64-bit words of a digest, those that are of the content; the third tells equal records apart."""


class Opened(NamedTuple):
    """A record as it is compared. order: 24 bytes, what is compared first, then the source's own id."""

    record_id: int
    source_id: int
    content_key: bytes
    values: Values
    order: bytes


class Stored(NamedTuple):
    """Records of a tenant in canonical order.

    record_ids and sources (places in `names`) are of all records. The table holds those `kept`; of records that come more
    than COPIES times, the others are left out, and `first` says for every one the place in the table of its first copy.
    """

    table: Table
    kept: NDArray[np.int64]
    first: NDArray[np.int64]
    record_ids: NDArray[np.int64]
    sources: NDArray[np.int32]
    names: tuple[str, ...]


Batch: TypeAlias = Callable[[Connection, Sequence[Opened]], Awaitable[Collection[int]]]
"""Told of each batch in a transaction of its own; returns the records to take (their ids)."""


async def read_store(
    database: Database,
    tenant: Tenant,
    *,
    statistics: Statistics | None = None,
    last_id: int | None = None,
    batch: Batch | None = None,
    told: Callable[[int, int], None] = lambda _done, _whole: None,
) -> Stored:
    """Reads all records, or those up to `last_id`. What changes meanwhile is read as it was or as it is.

    told: (records read, about how many there are).
    """
    async with database.transaction(tenant.tenant_id) as connection:
        whole, newest = await connection.fetchrow(sql("models", "extent"), tenant.tenant_id)
        names = await source_names(connection, tenant)
    gathering = Gathering(names)
    after, read = 0, 0
    bound = newest if last_id is None else last_id
    while True:
        async with database.transaction(tenant.tenant_id) as connection:
            rows = await connection.fetch(sql("models", "records_after"), tenant.tenant_id, after, bound, BATCH_RECORDS)
            if len(names) != len(gathering.names) or any(row["source_id"] not in names for row in rows):
                names = await source_names(connection, tenant)
                gathering.rename(names)
        if not rows:
            break
        opened = await asyncio.to_thread(open_all, tenant, rows, names)
        wanted: Collection[int] | None = None
        if batch is not None:
            async with database.transaction(tenant.tenant_id) as connection:
                wanted = await batch(connection, opened)
        for record in opened:
            if wanted is None or record.record_id in wanted:
                gathering.add(record)
        after, read = rows[-1]["record_id"], read + len(rows)
        told(read, max(whole, read))
    return await asyncio.to_thread(gathering.stored, statistics)


async def source_names(connection: Connection, tenant: Tenant) -> dict[int, str]:
    """The tenant's sources by id, in the order of their names."""
    return {row["source_id"]: row["name"] for row in await connection.fetch(sql("models", "sources"), tenant.tenant_id)}


def open_all(tenant: Tenant, rows: Sequence[Any], names: Mapping[int, str]) -> list[Opened]:
    """Opens rows of `record`; those that were erased hold nothing to compare."""
    found = []
    for row in rows:
        fields = tenant.keys.open(row["wrapped_key"], row["sealed"]) or {}
        values = compared(fields)
        order = order_of(fields.get("record_id", ""), names[row["source_id"]], values)
        found.append(Opened(row["record_id"], row["source_id"], row["content_key"], values, order))
    return found


def order_of(own_id: str, source: str, values: Mapping[str, Sequence[str]]) -> bytes:
    """What orders records, whoever reads them: what is compared first, then the source's own id; 24 bytes."""
    content = msgspec.json.encode(sorted(values.items()))
    return (
        hashlib.blake2b(content, digest_size=16).digest()
        + hashlib.blake2b(f"{own_id}\x1f{source}".encode(), digest_size=8).digest()
    )


class Gathering:
    """Takes records as they come."""

    def __init__(self, names: Mapping[int, str]) -> None:
        self.names = dict(names)
        self._encoder = Encoder()
        self._ids: list[int] = []
        self._sources: list[int] = []
        self._orders = bytearray()

    def rename(self, names: Mapping[int, str]) -> None:
        """A source is new."""
        self.names = dict(names)

    def add(self, record: Opened) -> None:
        self._encoder.add(record.values)
        self._ids.append(record.record_id)
        self._sources.append(record.source_id)
        self._orders += record.order

    def stored(self, statistics: Statistics | None = None) -> Stored:
        """All of them, in order. Nothing is left here afterwards."""
        words = np.frombuffer(bytes(self._orders), ">u8").reshape(-1, _DIGEST_BYTES // 8).astype(np.uint64)
        order = np.lexsort((words[:, 2], words[:, 1], words[:, 0]))
        content = words[order, :_CONTENT_WORDS]
        begins = np.flatnonzero(np.append(True, (content[1:] != content[:-1]).any(axis=1))) if len(order) else order
        copies = np.diff(np.append(begins, len(order)))
        begin = np.repeat(begins, copies)
        kept = np.flatnonzero(np.arange(len(order)) - begin < COPIES)
        names = tuple(sorted(self.names.values()))
        place = {source: names.index(name) for source, name in self.names.items()}
        sources = np.array([place[source] for source in self._sources], np.int32)
        return Stored(
            self._encoder.table(order[kept], statistics),
            kept,
            np.searchsorted(kept, begin),
            np.array(self._ids, np.int64)[order],
            sources[order],
            names,
        )
