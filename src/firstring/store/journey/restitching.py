"""Logs of visitors of whom events were deleted: whose the rest is, is told anew, a few at a time."""

from __future__ import annotations

from typing import Final

from firstring.store.database import Database, Tenant
from firstring.store.journey import stitching
from firstring.store.journey.stitching import Stretch
from firstring.store.queries import sql

_AT_ONCE: Final = 100


async def restitch(database: Database, tenant: Tenant) -> int:
    """Derives the next stretches anew that deletions left; returns how many. A chore, to be called again while there are."""
    async with database.transaction(tenant.tenant_id) as connection:
        rows = await connection.fetch(sql("stitching", "stale_visitors"), tenant.tenant_id, _AT_ONCE)
        visitors = [row["visitor"] for row in rows]
        if not visitors:
            return 0
        await stitching.lock_visitors(connection, tenant, visitors)
        taken = await connection.fetch(sql("stitching", "take_stale"), tenant.tenant_id, visitors)
        stretches = [Stretch(row["visitor"], row["from_at"], row["to_at"]) for row in taken]
        await stitching.derive_again(connection, tenant, stretches)
    return len(taken)
