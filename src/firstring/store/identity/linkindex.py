"""How linking keys stand in the store, and what a process remembers of records that it opened.

A linking key is 12 bytes: its tag and 11 bytes of its blind index. A copy key is 21: a tag of its own, 11 bytes of the
blind index of what the record holds, and 9 of its external key, which orders records of one content. Both are functions
of the record alone, whatever came before it.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from contextlib import aclosing
from typing import Any, Final, NamedTuple

from firstring.identity.comparison.columns import compared
from firstring.identity.comparison.rows import Row, unpack
from firstring.identity.comparison.shelf import Shelf
from firstring.identity.persons.linking import Entry, content_of, put_up
from firstring.identity.persons.linkkeys import COPY_TAG, Values
from firstring.identity.persons.meeting import unless
from firstring.store.ahead import fetched_ahead
from firstring.store.database import Connection, Tenant
from firstring.store.identity.models import ActiveModel
from firstring.store.queries import sql
from firstring.store.seal import TenantKeys

LINK_KEY_BYTES: Final = 12
COPY_KEY_BYTES: Final = 21
_INDEX_BYTES: Final = LINK_KEY_BYTES - 1
_AT_ONCE: Final = 1_000
"""Records that are read at once; while they are opened the next are read."""
_KEPT_RECORDS: Final = 60_000
"""Opened records that a process keeps of a tenant: about 1 kB each."""


class LinkState(NamedTuple):
    """What linking stores of a record. keys: its linking keys; copy_key: empty where it has none."""

    content: bytes
    keys: tuple[bytes, ...]
    copy_key: bytes


class Part(NamedTuple):
    """A record in the store, as linking sees it without opening it."""

    record_id: int
    person_id: int
    external_key: bytes
    content_key: bytes
    link_keys: Sequence[bytes]
    is_copy: bool

    @property
    def keys(self) -> list[bytes]:
        return keys_in(self.link_keys)

    @property
    def copy_key(self) -> bytes:
        keys = self.link_keys
        if keys and len(keys[-1]) == COPY_KEY_BYTES:  # where it is written
            return keys[-1]
        return next((key for key in keys if len(key) == COPY_KEY_BYTES), b"")


def keys_in(link_keys: Iterable[bytes]) -> list[bytes]:
    """Of a record's stored keys those by which it is linked under a model."""
    return [key for key in link_keys if len(key) == LINK_KEY_BYTES]


def link_state(
    keys: TenantKeys, active: ActiveModel, values: Values, external_key: bytes, content: bytes = b""
) -> LinkState:
    """The linking keys of a record under a version. content: of the values, where it is known."""
    blind, heads = keys.blind, active.heads
    found = tuple(
        [heads[place][0] + blind(heads[place][1], text)[:_INDEX_BYTES] for place, text in active.keys.texts_of(values)]
    )
    content = content or content_of(values)
    if not found:
        return LinkState(content, (), b"")
    return LinkState(content, found, copy_prefix(keys, content) + external_key[: COPY_KEY_BYTES - LINK_KEY_BYTES])


def copy_prefix(keys: TenantKeys, content: bytes) -> bytes:
    """What the copy keys of all records of one content begin with."""
    return bytes((COPY_TAG,)) + keys.blind("copy", content.hex())[:_INDEX_BYTES]


def after(prefix: bytes) -> bytes:
    """The end of the range of keys that begin with a prefix and go on."""
    return prefix + b"\xff" * (COPY_KEY_BYTES - LINK_KEY_BYTES + 1)


async def carriers(connection: Connection, tenant: Tenant, keys: list[bytes], bound: list[int]) -> list[Any]:
    """(key, record) of these keys, for each key at least as many as there are or as `bound` says."""
    few = 4 * len(keys) + 1_000
    rows: list[Any] = await connection.fetch(sql("records", "few_members"), tenant.tenant_id, keys, few)
    if len(rows) == few:  # a hot value is among them
        rows = await connection.fetch(sql("records", "members"), tenant.tenant_id, keys, bound)
    return rows


async def parts_of(connection: Connection, tenant: Tenant, records: Iterable[int]) -> dict[int, Part]:
    """Records of the store by id; those that are not there are left out."""
    wanted = list(records)
    if not wanted:
        return {}
    rows = await connection.fetch(sql("linking", "parts"), tenant.tenant_id, wanted)
    return {row["record_id"]: Part(*row) for row in rows}


class Opened:
    """What records of a tenant hold, by id, as long as it stands on the shelf of a version."""

    def __init__(self, shelf: Shelf) -> None:
        self._shelf = shelf
        self._kept: dict[int, tuple[bytes, bytes, bytes]] = {}

    @classmethod
    def of(cls, tenant: Tenant, active: ActiveModel) -> Opened:
        """What this process keeps of a tenant."""
        kept: Opened | None = tenant.kept.get("opened")
        if kept is None or kept._shelf is not active.shelf:
            kept = tenant.kept["opened"] = cls(active.shelf)
        return kept

    def make_room(self) -> None:
        """Forgets everything where it has become much. Not in the midst of a change, which rests on it."""
        if len(self._shelf) > _KEPT_RECORDS or len(self._kept) > 2 * _KEPT_RECORDS:
            self._shelf.clear()
            self._kept.clear()

    def content(self, record_id: int, content_key: bytes) -> bytes | None:
        """What a record holds; None where that is not known, or was something else."""
        found = self._kept.get(record_id)
        return found[1] if found is not None and found[0] == content_key and found[1] in self._shelf else None

    def entry(self, record_id: int, content_key: bytes) -> Entry | None:
        """A record as it is compared with others, without keys; None where it is not known, or was something else."""
        found = self._kept.get(record_id)
        if found is None or found[0] != content_key or found[1] not in self._shelf:
            return None
        return Entry(found[1], found[2], None, ())

    def __contains__(self, record_id: int) -> bool:
        return record_id in self._kept

    def note(self, record_id: int, content_key: bytes, external_key: bytes, content: bytes) -> None:
        """A record holds what stands on the shelf."""
        self._kept[record_id] = (content_key, content, external_key)

    def put(self, record_id: int, content_key: bytes, external_key: bytes, values: Values) -> bytes:
        """Puts up what a record holds; its digest."""
        content = content_of(values)
        self._shelf.put(content, values)
        self._kept[record_id] = (content_key, content, external_key)
        return content

    def put_sealed(self, keys: TenantKeys, rows: Sequence[Any]) -> tuple[dict[int, Entry], list[int]]:
        """Puts up records as they are read (linking.sql candidates); those that cannot be put up as they are kept."""
        found: dict[int, Entry] = {}
        unread: list[int] = []
        ready: list[tuple[bytes, Row]] = []
        unseal = keys.open_bytes
        for record, external_key, content_key, wrapped_key, sealed, in_form in rows:
            if not in_form:
                content = self.put(record, content_key, external_key, compared(keys.open(wrapped_key, sealed) or {}))
            else:
                known = unpack(unseal(wrapped_key, sealed))
                if known is None:
                    unread.append(record)
                    continue
                ready.append(known)
                content = known[0]
                self._kept[record] = (content_key, content, external_key)
            found[record] = Entry(content, external_key, None, ())
        self._shelf.put_rows(ready)
        return found, unread


async def entries_of(connection: Connection, tenant: Tenant, active: ActiveModel, parts: Iterable[Part]) -> dict[int, Entry]:
    """Records as they take part in linking; opens those that this process has not seen lately."""
    opened = Opened.of(tenant, active)
    found: dict[int, Entry] = {}
    closed: dict[int, Part] = {}
    for part in parts:
        content = opened.content(part.record_id, part.content_key)
        if content is None:
            closed[part.record_id] = part
        else:
            found[part.record_id] = Entry(content, part.external_key, None, part.keys)
    for record, entry in (await opened_of(connection, tenant, active, closed)).items():
        found[record] = entry._replace(keys=closed[record].keys)
    return found


async def values_of(connection: Connection, tenant: Tenant, records: Collection[int]) -> dict[int, Values]:
    """What is compared of records; nothing of one whose data key was destroyed."""
    if not records:
        return {}
    rows = await connection.fetch(sql("linking", "sealed"), tenant.tenant_id, list(records))
    return {record: compared(tenant.keys.open(wrapped, sealed) or {}) for record, wrapped, sealed in rows}


async def kept_of(connection: Connection, tenant: Tenant, active: ActiveModel, records: Collection[int]) -> dict[int, Entry]:
    """Of records those that this process has seen lately and that are as they were, to be compared; without their keys."""
    opened = Opened.of(tenant, active)
    found: dict[int, Entry] = {}
    seen = [record for record in records if record in opened]
    if seen:
        for record, content_key in await connection.fetch(sql("linking", "as_they_are"), tenant.tenant_id, seen):
            entry = opened.entry(record, content_key)
            if entry is not None:
                found[record] = entry
    return found


async def opened_of(
    connection: Connection, tenant: Tenant, active: ActiveModel, records: Collection[int]
) -> dict[int, Entry]:
    """Records to be compared, opened; those that are not there are left out."""
    opened = Opened.of(tenant, active)
    found: dict[int, Entry] = {}
    wanted = list(records)
    parts = (wanted[start : start + _AT_ONCE] for start in range(0, len(wanted), _AT_ONCE))
    statement = sql("linking", "candidates")
    unread: list[int] = []
    async with aclosing(fetched_ahead(connection, statement, tenant.tenant_id, parts)) as batches:
        async for rows in batches:
            entries, others = opened.put_sealed(tenant.keys, rows)
            found |= entries
            unread += others
    if unread:  # kept in the form of another release
        values = await values_of(connection, tenant, unread)
        for record, part in (await parts_of(connection, tenant, unread)).items():
            content = opened.put(record, part.content_key, part.external_key, values[record])
            found[record] = Entry(content, part.external_key, None, ())
    return found


async def stating_of(
    connection: Connection, tenant: Tenant, active: ActiveModel, known: Mapping[int, Entry], closed: Collection[int]
) -> dict[str, set[int]]:
    """Which records state the columns that keys ask about (`BlockingKey.unless`).

    Of closed ones the column's own linking key tells, without opening them.
    """
    columns = {column for asked in unless(active.model).values() for column in asked}
    tag_of = {key.parts[0]: tag for key, tag in zip(active.keys.keys, active.keys.tags, strict=True) if len(key.parts) == 1}
    contents = put_up(list(known.values()), active.shelf)
    found: dict[str, set[int]] = {}
    for column in columns:
        stated = active.shelf.states(contents, column)
        found[column] = {record for record, one in zip(known, stated.tolist(), strict=True) if one}
    told = {tag_of[column]: column for column in columns}
    if closed and told:
        for record, tag in await connection.fetch(sql("linking", "tags"), tenant.tenant_id, list(closed), list(told)):
            found[told[tag]].add(record)
    return found
