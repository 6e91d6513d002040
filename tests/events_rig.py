"""What tests of events look at: the events of a source as they are stored, opened."""

from __future__ import annotations

from datetime import datetime
from typing import Any, NamedTuple

from tests.server_rig import Home

from firstring.ports import SystemClock
from firstring.store.access import Access, TokenRole, signing_secret
from firstring.store.database import Database, Tenant


class Key(NamedTuple):
    """A token for events, its source, its number, and the secret that signs user ids for it."""

    text: str
    source: str
    number: int
    secret: str


class Stored(NamedTuple):
    """A stored event. record: the source's own id of the record that it went to."""

    name: str
    type: str
    user: str | None
    record: str
    standing: int
    channel: str
    occurred_at: datetime
    properties: dict[str, Any]
    fields: dict[str, Any]
    context: dict[str, Any]


async def make_key(database: Database, tenant: Tenant, role: TokenRole, source: str) -> Key:
    text, made = await Access(database, SystemClock()).create_token(tenant, role, source, source)
    return Key(text, source, made.token_id, signing_secret(tenant.keys, made.token_id))


def keys(home: Home, role: TokenRole, *sources: str) -> list[Key]:
    """A new token of this role for each of the sources."""

    async def make(database: Database, tenant: Tenant) -> list[Key]:
        return [await make_key(database, tenant, role, source) for source in sources]

    return home.within(make)


async def read_events(database: Database, tenant: Tenant, source: str) -> list[Stored]:
    """The events of records of a source, in the order in which they were stored."""
    async with database.transaction(tenant.tenant_id) as connection:
        rows = await connection.fetch(
            "select e.*, r.wrapped_key as record_wrapped, r.sealed as record_sealed from event e"
            " join record r using (tenant_id, record_id) join source s using (tenant_id, source_id)"
            " where s.name = $1 order by e.event_id",
            source,
        )
    found = []
    for row in rows:
        said = tenant.keys.open(row["wrapped_key"], row["sealed"])
        record = tenant.keys.open(row["record_wrapped"], row["record_sealed"])["record_id"]
        found.append(
            Stored(
                said["name"],
                said["type"],
                said.get("user"),
                record,
                row["standing"],
                row["channel"],
                row["occurred_at"],
                said["properties"],
                said.get("fields", {}),
                said.get("context", {}),
            )
        )
    return found


def stored(home: Home, source: str) -> list[Stored]:
    return home.within(lambda database, tenant: read_events(database, tenant, source))
