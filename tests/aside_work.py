"""What test_aside has done in a process of its own: found there by its name."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

from firstring.errors import BadInput
from firstring.store.database import Database, Tenant


async def told(database: Database, tenant: Tenant, *, add: int) -> tuple[int, int, str, int]:
    """Its process, its niceness, the tenant, and a sum that PostgreSQL made."""
    async with database.transaction(tenant.tenant_id) as connection:
        return os.getpid(), os.nice(0), tenant.name, await connection.fetchval("select 1 + $1::int", add)


async def refused(_database: Database, tenant: Tenant) -> None:
    raise BadInput("no_model", "There is none.", where={"tenant": tenant.name}, hint="Make one.", http_status=409)


async def died(_database: Database, _tenant: Tenant) -> None:
    os._exit(3)


async def waited(_database: Database, _tenant: Tenant, *, path: Path) -> None:
    path.write_text(str(os.getpid()))
    await asyncio.sleep(600)
