"""The dead letters: events that were refused, kept sealed with their reason until somebody has mended the cause.

The same event refused again is counted, not kept twice. They are forgotten after limits.REJECTED_DAYS, and the oldest when
there are more than limits.REJECTED_KEPT: anybody may send rubbish with a public write key.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, Final, NamedTuple

import msgspec

from firstring import limits
from firstring.errors import BadInput
from firstring.journey.events import Standing
from firstring.store.database import Connection, Database, Tenant
from firstring.store.journey.planned import STANDINGS
from firstring.store.queries import sql

_FORGOTTEN_EVERY_S: Final = 60.0
_content = msgspec.json.Encoder(order="deterministic").encode


class Letter(NamedTuple):
    """An event as it came: its format, the item, what its batch said of all, and the number of its token."""

    format: str
    item: Any
    common: Mapping[str, Any]
    standing: Standing
    token_id: int = 0


class Refused(NamedTuple):
    """A letter and why it was refused. place: among the events of the call."""

    place: int
    letter: Letter
    cause: BadInput


class RejectedEvent(msgspec.Struct, frozen=True):
    """A refused event, opened. times: how often it was sent. event: as it came; None where it was too large to keep."""

    rejected_id: int
    source: str
    format: str
    standing: Standing
    code: str
    message: str
    field: str | None
    times: int
    received_at: datetime
    last_at: datetime
    event: Any
    common: dict[str, Any]
    token_id: int = 0


class RejectedCode(msgspec.Struct, frozen=True):
    """How many different events were refused with a code, how often they were sent, and when last."""

    code: str
    events: int
    times: int
    last_at: datetime


async def keep(connection: Connection, tenant: Tenant, source: str, refused: Sequence[Refused], now: datetime) -> None:
    """Keeps refused events, in the transaction of the call that brought them."""
    rows = {}
    for one in refused:
        letter, cause = one.letter, one.cause
        try:
            content = _content([letter.format, letter.item, letter.common])
        except (TypeError, ValueError, RecursionError):
            content = b"?"
        event: Any = letter.item if len(content) <= limits.REJECTED_BYTES else None
        said = {"event": event, "common": dict(letter.common), "message": cause.message, "field": cause.where.get("field")}
        said["token"] = letter.token_id
        try:
            sealed = tenant.keys.seal(said)
        except (OverflowError, ValueError, TypeError, RecursionError):
            sealed = tenant.keys.seal({**said, "event": None, "common": {}})
        key = tenant.keys.blind(f"rejected:{source}", content.decode())
        standing = STANDINGS.index(letter.standing)
        rows[key] = (key, source, letter.format, standing, cause.code, sealed[0], sealed[1])
    if rows:
        columns = [list(column) for column in zip(*rows.values(), strict=True)]
        await connection.execute(sql("events", "reject"), tenant.tenant_id, *columns[:6], now, columns[6])
        await _forget(connection, tenant, now)


async def _forget(connection: Connection, tenant: Tenant, now: datetime) -> None:
    last = tenant.kept.get("rejected_forgotten_at")
    if last is not None and (now - last).total_seconds() < _FORGOTTEN_EVERY_S:
        return
    tenant.kept["rejected_forgotten_at"] = now
    oldest = now - timedelta(days=limits.REJECTED_DAYS)
    await connection.execute(sql("events", "forget_rejected"), tenant.tenant_id, oldest, limits.REJECTED_KEPT)


async def rejected_events(
    database: Database, tenant: Tenant, *, after: int = 0, code: str | None = None, at_most: int = 100
) -> list[RejectedEvent]:
    """Refused events in the order in which they first came, from the one after `after`; of one code, if given."""
    async with database.transaction(tenant.tenant_id) as connection:
        rows = await connection.fetch(sql("events", "rejected"), tenant.tenant_id, after, code, at_most)
    return [_opened(tenant, row) for row in rows]


async def rejected_named(database: Database, tenant: Tenant, ids: Sequence[int]) -> list[RejectedEvent]:
    """Refused events by their numbers; those that are there no more are left out."""
    async with database.transaction(tenant.tenant_id) as connection:
        rows = await connection.fetch(sql("events", "rejected_of"), tenant.tenant_id, list(ids))
    return [_opened(tenant, row) for row in rows]


async def rejected_codes(database: Database, tenant: Tenant) -> list[RejectedCode]:
    """What was refused, by code."""
    async with database.transaction(tenant.tenant_id) as connection:
        rows = await connection.fetch(sql("events", "rejected_by_code"), tenant.tenant_id)
    return [RejectedCode(row["code"], row["events"], row["times"], row["last_at"]) for row in rows]


async def settle(database: Database, tenant: Tenant, ids: Sequence[int]) -> None:
    """Forgets refused events that were taken now, or are given up."""
    async with database.transaction(tenant.tenant_id) as connection:
        await connection.execute(sql("events", "settle_rejected"), tenant.tenant_id, list(ids))


def _opened(tenant: Tenant, row: Any) -> RejectedEvent:
    said = tenant.keys.open(row["wrapped_key"], row["sealed"]) or {}
    return RejectedEvent(
        row["rejected_id"],
        row["source"],
        row["format"],
        STANDINGS[row["standing"]],
        row["code"],
        said.get("message", ""),
        said.get("field"),
        row["times"],
        row["received_at"],
        row["last_at"],
        said.get("event"),
        said.get("common") or {},
        said.get("token", 0),
    )
