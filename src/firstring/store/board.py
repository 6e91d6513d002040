"""What a supervisor's board shows: the lines against what was told, who is there for them, the last day.

The line and the agents are read anew with every picture; the day, which looks at every call of it, at most once in
`DAY_KEPT_S` (the board keeps it).
"""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any, Final, NamedTuple, cast

import msgspec

from firstring.contact import Channel, RoutingNeed
from firstring.routing.may.agents import CHANNELS
from firstring.store.database import Database, Tenant
from firstring.store.queries import sql

DAY: Final = timedelta(hours=24)
DAY_KEPT_S: Final = 10.0
BUSY_OVER: Final = timedelta(minutes=30)
"""Occupancy is that of the last half hour."""
AGENTS: Final = 2_000


class InLine(NamedTuple):
    """A contact that waits. place: 1 is next on its channel. told_s: (expected, low, high) seconds from `told_at` on; None
    where nothing was told."""

    contact_id: uuid.UUID
    channel: Channel
    priority: int
    need: RoutingNeed
    since: datetime
    place: int
    told_s: tuple[float, float, float] | None
    told_at: datetime | None


class Length(NamedTuple):
    """How many contacts wait on a channel, since when the longest; how many agents are ready for it, how many are free."""

    contacts: int
    since: datetime | None
    ready: int
    free: int


class Day(NamedTuple):
    """Calls of the last 24 hours. in_time: answered within the promise. told: answered ones whose wait had been told; kept:
    those of them that were answered within what was told."""

    offered: int = 0
    answered: int = 0
    abandoned: int = 0
    in_time: int = 0
    wait_s: float = 0.0
    told: int = 0
    kept: int = 0


class BoardRead(NamedTuple):
    """What was read. occupancy: of the last half hour, by agent, 0-1."""

    line: tuple[InLine, ...]
    lengths: Mapping[Channel, Length]
    occupancy: Mapping[int, float]


async def read_line(database: Database, tenant: Tenant, now: datetime, *, at_most: int) -> BoardRead:
    """The lines as they stand: at most so many contacts of each channel, and everybody who is there for them."""
    async with database.transaction(tenant.tenant_id) as connection:
        waiting = await connection.fetch(sql("lines", "line"), tenant.tenant_id, at_most, CHANNELS)
        lengths = await connection.fetch(sql("lines", "lengths"), tenant.tenant_id)
        there = await connection.fetch(sql("lines", "there"), tenant.tenant_id)
        busy = await connection.fetch(sql("prices", "busy"), tenant.tenant_id, now - BUSY_OVER, now, AGENTS)
    by_channel = {row["channel"]: row for row in lengths}
    agents = {row["channel"]: row for row in there}
    return BoardRead(
        line=tuple(_in_line(row) for row in waiting),
        lengths={
            cast(Channel, channel): Length(
                by_channel[channel]["contacts"] if channel in by_channel else 0,
                by_channel[channel]["since"] if channel in by_channel else None,
                agents[channel]["ready"] if channel in agents else 0,
                agents[channel]["free"] if channel in agents else 0,
            )
            for channel in CHANNELS
            if channel in by_channel or channel in agents
        },
        occupancy={row["agent_id"]: row["occupancy"] for row in busy},
    )


async def read_day(database: Database, tenant: Tenant, now: datetime, promise_s: float) -> Day:
    """The last 24 hours. promise_s: within which calls are to be answered."""
    async with database.transaction(tenant.tenant_id) as connection:
        row = await connection.fetchrow(sql("lines", "day"), tenant.tenant_id, now - DAY, promise_s)
    assert row is not None
    return Day(**dict(row))


def _in_line(row: Any) -> InLine:
    told = None if row["told_wait_s"] is None else (row["told_wait_s"], row["told_low_s"], row["told_high_s"])
    need = msgspec.json.decode(row["need"], type=RoutingNeed)
    return InLine(row["contact_id"], row["channel"], row["priority"], need, row["since"], row["place"], told, row["told_at"])
