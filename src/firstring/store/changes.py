"""The feed of changes: what became of persons, in the order in which it became visible, without gaps, from any position on.

Changes are noted by triggers, in the transactions that make them. Their numbers of writing are no order to read by: a
transaction that wrote earlier may commit later, and a reader who is past its number would miss it. So a change gets its
position when it is first read, from whoever holds the feed's one row: what is not visible yet comes after what is. Persons
and records change under one lock, so that for them this is the order of commit.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Final, Literal, NamedTuple, get_args

import msgspec

from firstring import limits
from firstring.errors import BadInput
from firstring.store.database import Connection, Database, Tenant
from firstring.store.queries import sql

Kind = Literal["created", "changed", "merged", "split", "deleted", "entered", "left", "pattern", "pattern_retracted"]
KINDS: Final[tuple[Kind, ...]] = get_args(Kind)


class PersonChange(msgspec.Struct, frozen=True, omit_defaults=True):
    """One change. merged: other_id was merged into person_id; split: other_id was split off. what: the pattern's name."""

    position: int
    kind: Kind
    person_id: int
    at: datetime
    other_id: int | None = None
    what: str | None = None


class Changes(msgspec.Struct, frozen=True):
    """A part of the feed. next: to go on after; last: the newest position there is."""

    changes: list[PersonChange]
    next: int
    last: int


class Feed(NamedTuple):
    """Somebody who is told of changes by webhook. url: None once it was ended."""

    feed_id: int
    name: str
    kinds: tuple[Kind, ...]
    profiles: bool
    position: int
    failures: int
    url: str
    last_code: str | None = None
    next_at: datetime | None = None
    sent_at: datetime | None = None


async def begin(database: Database, tenant: Tenant, now: datetime) -> None:
    """Changes are noted from now on. What is being changed just now is waited for, so that none of it is missed."""
    async with database.transaction(tenant.tenant_id) as connection:
        await connection.execute(sql("records", "lock_applier"), tenant.tenant_id)
        await connection.execute(sql("changes", "begin_feed"), tenant.tenant_id, now)


async def read(
    connection: Connection, tenant: Tenant, after: int | None, at_most: int, kinds: Sequence[Kind] | None = None
) -> Changes | None:
    """What came after a position (None: from now on). None where no feed was begun.

    Raises BadInput changes_gone (410) where the position is too old, or of another feed.
    """
    row = await connection.fetchrow(sql("changes", "feed_locked"), tenant.tenant_id)
    if row is None:
        return None
    last: int = await connection.fetchval(
        sql("changes", "place"), tenant.tenant_id, row["last"], limits.CHANGES_PLACED
    )  # fmt: skip
    if after is None:
        return Changes([], last, last)
    if not row["forgotten"] <= after <= last:
        raise BadInput(
            "changes_gone",
            "The changes after this position are not there any more, or not yet.",
            where={"after": after, "oldest": row["forgotten"], "last": last},
            hint="Read the persons anew, and go on after `last`.",
            http_status=410,
        )
    wanted = list(kinds) if kinds is not None else None
    rows = await connection.fetch(sql("changes", "after"), tenant.tenant_id, after, at_most, wanted)
    found = [msgspec.convert(dict(one), PersonChange) for one in rows]
    # A part that is not full holds all there is: what is not of the wanted kinds is passed over, too.
    ends_at = found[-1].position if len(found) == at_most else last
    return Changes(found, ends_at, last)


async def forget(connection: Connection, tenant: Tenant, now: datetime) -> None:
    """Changes older than limits.CHANGE_DAYS."""
    row = await connection.fetchrow(sql("changes", "feed_locked"), tenant.tenant_id)
    if row is not None:
        await connection.fetchval(sql("changes", "place"), tenant.tenant_id, row["last"], limits.CHANGES_PLACED)
        await connection.execute(sql("changes", "forget"), tenant.tenant_id, now - timedelta(days=limits.CHANGE_DAYS))


# --- by webhook --------------------------------------------------------------------------------------------------


async def add_feed(
    connection: Connection,
    tenant: Tenant,
    name: str,
    url: str,
    kinds: Sequence[Kind],
    *,
    profiles: bool,
    position: int,
    now: datetime,
) -> int:
    """The feed's number. Raises BadInput feed_name_invalid, feed_exists (409)."""
    if not (0 < len(name) <= 63 and all(one.isascii() and (one.isalnum() or one in "-_") for one in name)):
        raise BadInput("feed_name_invalid", "A feed has a name of 1 to 63 letters, digits, hyphens and underscores.")
    wrapped, sealed = tenant.keys.seal(url)
    feed_id: int | None = await connection.fetchval(
        sql("changes", "add_feed"), tenant.tenant_id, name, list(kinds), profiles, position, now, wrapped, sealed
    )
    if feed_id is None:
        raise BadInput("feed_exists", "There is a feed of this name.", where={"feed": name}, http_status=409)
    return feed_id


async def feeds(connection: Connection, tenant: Tenant) -> list[Feed]:
    """All that are told, by name."""
    rows = await connection.fetch(sql("changes", "feeds"), tenant.tenant_id)
    return [
        Feed(
            row["feed_id"], row["name"], tuple(row["kinds"]), row["profiles"], row["position"], row["failures"],
            tenant.keys.open(row["wrapped_key"], row["sealed"]), row["last_code"], row["next_at"], row["sent_at"],
        )
        for row in rows
    ]  # fmt: skip


async def end_feed(connection: Connection, tenant: Tenant, name: str) -> bool:
    """False where there was none of this name."""
    return await connection.fetchval(sql("changes", "end_feed"), tenant.tenant_id, name) is not None


async def take_feed(connection: Connection, tenant: Tenant, now: datetime, turn_s: float) -> Feed | None:
    """One whose turn it is, for `turn_s`."""
    row = await connection.fetchrow(sql("changes", "take_feed"), tenant.tenant_id, now, now + timedelta(seconds=turn_s))
    if row is None:
        return None
    url = tenant.keys.open(row["wrapped_key"], row["sealed"])
    return Feed(row["feed_id"], row["name"], tuple(row["kinds"]), row["profiles"], row["position"], row["failures"], url)


async def fed(
    connection: Connection, tenant: Tenant, feed: Feed, position: int, next_at: datetime, sent_at: datetime | None
) -> None:
    """It was told up to `position`. sent_at: None where there was nothing to tell."""
    await connection.execute(
        sql("changes", "fed"), tenant.tenant_id, feed.feed_id, feed.position, position, next_at, sent_at
    )


async def not_fed(connection: Connection, tenant: Tenant, feed: Feed, code: str, next_at: datetime) -> None:
    """It could not be told; it stays where it is."""
    await connection.execute(sql("changes", "not_fed"), tenant.tenant_id, feed.feed_id, code, next_at)
