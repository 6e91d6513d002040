"""Source records made ready: hashed, sealed, in the form in which they are compared; and their linking keys, made early.

Pure computation, for a thread or process of its own beside the database, or while the database works for others.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Mapping, Sequence
from contextlib import aclosing
from datetime import datetime
from itertools import islice
from typing import Any, Final, NamedTuple, TypeAlias

import msgspec

from firstring.identity.canonical.record import CanonicalRecord
from firstring.identity.comparison.columns import compared
from firstring.identity.comparison.rows import Row, pack, row_of
from firstring.identity.persons.blocking import composite_key, identifier_keys, link_guards, link_keys
from firstring.identity.persons.linking import content_of
from firstring.identity.persons.linkkeys import Values, bounds
from firstring.store.ahead import fetched_ahead
from firstring.store.collector import paused
from firstring.store.database import Connection, Tenant
from firstring.store.identity.linkindex import LinkState, link_state
from firstring.store.identity.linking import Context
from firstring.store.identity.linkwrite import Arrival
from firstring.store.identity.models import ActiveModel
from firstring.store.identity.partition import narrow_index
from firstring.store.queries import sql
from firstring.store.ring import COMPOSITE
from firstring.store.seal import TenantKeys

SourceRecord: TypeAlias = CanonicalRecord
_AHEAD_RECORDS: Final = 250
"""Records whose keys are looked up while the keys of the next are made."""
_content = msgspec.json.Encoder(order="deterministic").encode


class Prepared(NamedTuple):
    """A source record as it is stored: keyed hashes and sealed payload, no plain value but two times.

    link_keys: those of glue, without a model. compared: the sealed row of what is compared (`comparison.rows`); None where
    that is no row. values, content, row: what is compared, where it is linked by a model; they are not stored.
    """

    external_key: bytes
    content_key: bytes
    keys: list[bytes]
    link_keys: list[bytes]
    wrapped_key: bytes
    sealed: bytes
    compared: bytes | None
    last_seen: datetime | None
    verified_at: datetime | None
    values: Values | None = None
    content: bytes = b""
    row: Row | None = None


class Ahead(NamedTuple):
    """Linking keys of records under a version, made before it was their turn."""

    model_id: int
    states: dict[bytes, LinkState]


def external_key(keys: TenantKeys, source: str, record_id: str) -> bytes:
    """The blind index of the source's own record id."""
    return keys.blind(f"record:{source}", record_id)


def prepare(keys: TenantKeys, source: str, record: SourceRecord, *, linked: bool = False) -> Prepared:
    """Hashes and seals one record: pure computation, for a thread of its own beside the database.

    linked: there is a model, which asks for what is compared at once.
    """
    fields = record.fields
    blind = keys.blind
    found = [blind(identifier.kind, identifier.value) for identifier in identifier_keys(fields)]
    composite = composite_key(fields)
    if composite is not None:
        found.append(blind(COMPOSITE, composite))
    links = [] if linked else glued(keys, fields)
    values = compared(fields)
    content, row = content_of(values), row_of(values)
    packed = b"" if row is None else pack(content, row)
    wrapped, sealed, beside = keys.seal_both({**fields, "record_id": record.record_id}, packed)
    return Prepared(
        external_key(keys, source, record.record_id),
        blind(f"content:{source}", _content([record.record_id, fields]).decode()),
        found,
        links,
        wrapped,
        sealed,
        beside or None,
        record.time("last_seen"),
        record.time("verified_at"),
        *((values, content, row) if linked else ()),
    )


def glued(keys: TenantKeys, fields: Mapping[str, Any]) -> list[bytes]:
    """The linking keys without a model."""
    links = {text: keys.blind("link", text) for text in link_keys(fields)}
    for wide, narrow in link_guards(fields).items():
        if narrow in links and wide in links:
            links[narrow] = narrow_index(links[wide], links[narrow])
    return list(links.values())


async def made_ahead(tenant: Tenant, prepared: Sequence[Prepared]) -> Ahead | None:
    """What can be made before it is the turn of these records, by the version that linked the latest; in short pieces."""
    active: ActiveModel | None = tenant.kept.get("linked_by")
    if active is None:
        return None
    states = {}
    with paused():
        for number, one in enumerate(prepared):
            if one.values is not None:
                states[one.external_key] = link_state(tenant.keys, active, one.values, one.external_key, one.content)
            if number % _AHEAD_RECORDS == _AHEAD_RECORDS - 1:
                await asyncio.sleep(0)
    return Ahead(active.model_id, states)


async def arriving(
    connection: Connection,
    tenant: Tenant,
    context: Context,
    incoming: Mapping[int, Prepared],
    states: Mapping[bytes, LinkState],
) -> tuple[dict[int, Arrival], dict[bytes, Sequence[int] | None]]:
    """What linking knows of records that come; who carries their keys, asked for while the next keys are made."""
    arrivals: dict[int, Arrival] = {}
    known: dict[bytes, Sequence[int] | None] = {}
    if context.settling or len(incoming) < 2 * _AHEAD_RECORDS:
        return {record: _arrival(tenant, context, prepared, states) for record, prepared in incoming.items()}, known

    def parts() -> Iterator[list[bytes]]:
        records = iter(incoming.items())
        while chunk := list(islice(records, _AHEAD_RECORDS)):
            asked: list[bytes] = []
            for record, prepared in chunk:
                arrivals[record] = one = _arrival(tenant, context, prepared, states)
                for key in one.state.keys:
                    if key not in known:
                        known[key] = ()
                        asked.append(key)
            yield asked

    most = bounds(context.active.model.spec)
    found = fetched_ahead(connection, sql("linking", "met"), tenant.tenant_id, parts(), most, 1)
    async with aclosing(found) as batches:
        async for rows in batches:
            known.update(rows)
    return arrivals, known


def _arrival(tenant: Tenant, context: Context, prepared: Prepared, states: Mapping[bytes, LinkState]) -> Arrival:
    values, content, row = prepared.values, prepared.content, prepared.row
    if values is None:
        values = compared(fields_of(tenant, prepared))
        content, row = content_of(values), row_of(values)
    state = states.get(prepared.external_key)
    if state is None or state.content != content:  # another version of the record has the last word
        state = link_state(tenant.keys, context.active, values, prepared.external_key, content)
    return Arrival(prepared.external_key, prepared.content_key, values, state, row)


def fields_of(tenant: Tenant, prepared: Prepared) -> dict[str, Any]:
    fields: dict[str, Any] = tenant.keys.open(prepared.wrapped_key, prepared.sealed)
    return fields
