"""How linking keys stand in the store, and what a process remembers of records that it opened.

A linking key is 12 bytes: its tag and 11 bytes of its blind index. A copy key is 21: a tag of its own, 11 bytes of the
blind index of what the record holds, and 9 of its external key, which orders records of one content. Both are functions
of the record alone, whatever came before it.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any, Final, NamedTuple

from firstring.identity.comparison.columns import compared
from firstring.identity.persons.linking import Entry, content_of
from firstring.identity.persons.linkkeys import COPY_TAG, Values
from firstring.store.database import Connection, Tenant
from firstring.store.identity.models import ActiveModel
from firstring.store.queries import sql
from firstring.store.seal import TenantKeys

LINK_KEY_BYTES: Final = 12
COPY_KEY_BYTES: Final = 21
_INDEX_BYTES: Final = LINK_KEY_BYTES - 1
_KEPT_RECORDS: Final = 20_000
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
        return next((key for key in self.link_keys if len(key) == COPY_KEY_BYTES), b"")


def keys_in(link_keys: Iterable[bytes]) -> list[bytes]:
    """Of a record's stored keys those by which it is linked under a model."""
    return [key for key in link_keys if len(key) == LINK_KEY_BYTES]


def link_state(keys: TenantKeys, active: ActiveModel, values: Values, external_key: bytes) -> LinkState:
    """The linking keys of a record under a version."""
    blind, heads = keys.blind, active.heads
    found = tuple(
        [heads[place][0] + blind(heads[place][1], text)[:_INDEX_BYTES] for place, text in active.keys.texts_of(values)]
    )
    content = content_of(values)
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
    """The values of records by id, as long as their content is the same; the oldest go first."""

    def __init__(self) -> None:
        self._kept: OrderedDict[int, tuple[bytes, Values, bytes]] = OrderedDict()

    @classmethod
    def of(cls, tenant: Tenant) -> Opened:
        """What this process keeps of a tenant."""
        kept: Opened = tenant.kept.setdefault("opened", cls())
        return kept

    def get(self, record_id: int, content_key: bytes) -> tuple[Values, bytes] | None:
        """(values, content) of a record; None where it is not known, or was something else."""
        found = self._kept.get(record_id)
        if found is None or found[0] != content_key:
            return None
        self._kept.move_to_end(record_id)
        return found[1:]

    def put(self, record_id: int, content_key: bytes, values: Values, content: bytes) -> None:
        self._kept[record_id] = (content_key, values, content)
        self._kept.move_to_end(record_id)
        if len(self._kept) > _KEPT_RECORDS:
            self._kept.popitem(last=False)


async def entries_of(connection: Connection, tenant: Tenant, parts: Iterable[Part]) -> dict[int, Entry]:
    """Records as they take part in linking; opens those that this process has not seen lately."""
    opened = Opened.of(tenant)
    found: dict[int, Entry] = {}
    closed: dict[int, Part] = {}
    for part in parts:
        known = opened.get(part.record_id, part.content_key)
        if known is None:
            closed[part.record_id] = part
        else:
            found[part.record_id] = Entry(known[1], part.external_key, known[0], part.keys)
    if closed:
        for row in await connection.fetch(sql("linking", "sealed"), tenant.tenant_id, list(closed)):
            part = closed[row["record_id"]]
            values = compared(_fields(tenant.keys, row))
            content = content_of(values)
            opened.put(part.record_id, part.content_key, values, content)
            found[part.record_id] = Entry(content, part.external_key, values, part.keys)
    return found


async def candidates_of(connection: Connection, tenant: Tenant, records: Collection[int]) -> dict[int, Entry]:
    """Records as they are compared with others, without their keys; those that are not there are left out."""
    if not records:
        return {}
    opened = Opened.of(tenant)
    found: dict[int, Entry] = {}
    for row in await connection.fetch(sql("linking", "candidates"), tenant.tenant_id, list(records)):
        record_id, external_key, content_key, wrapped_key, sealed = row
        known = opened.get(record_id, content_key)
        if known is None:
            values = compared(tenant.keys.open(wrapped_key, sealed) or {})
            known = values, content_of(values)
            opened.put(record_id, content_key, *known)
        found[record_id] = Entry(known[1], external_key, known[0], ())
    return found


def _fields(keys: TenantKeys, row: Mapping[str, Any]) -> Mapping[str, Any]:
    """The fields of a sealed record; nothing of one whose data key was destroyed."""
    return keys.open(row["wrapped_key"], row["sealed"]) or {}
