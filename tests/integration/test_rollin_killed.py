"""A roll-in that is killed at any step leaves the version in force and its persons; the next one finishes the work."""

from __future__ import annotations

import asyncio
import json
import sys
from pathlib import Path
from typing import Any

import pytest
from tests.integration.test_rollin import OTHER_KEYS, World, candidate, rolled
from tests.linked_store import NOW, SOURCE, version_of
from tests.store_people import people

from firstring.store.database import Database, Tenant
from firstring.store.identity.records import apply_records

pytestmark = pytest.mark.asyncio(loop_scope="session")
WORKER = Path(__file__).parent / "killed_rollin.py"
BEFORE = {
    False: [("keeping", 1), ("keys", 1), ("set_state", 1)],
    True: [("reading", 1), ("clustering", 2), ("_touched", 1), ("set_state", 1)],
}
"""Steps up to the commit of the switch, without and with a version in force: nothing that anybody sees has changed."""
AFTER = [("_link_touched", 1), ("settling", 2), ("settling", 1)]
"""Steps behind it: the version decides, and records come to its persons."""


@pytest.mark.parametrize("has_model", [False, True])
async def test_killed_at_every_step(database: Database, tenant: Tenant, master_key: bytes, has_model: bool) -> None:
    rows = tuple(record for _, record, _ in people(41, 400))
    world = World(database, tenant)
    if has_model:
        first = await candidate(database, tenant, block_records=7, sample=rows, records=400)
        await rolled(database, tenant, first, yes=True)
    await _apply(world, rows[:300])
    number = await candidate(database, tenant, sample=rows, link_keys=OTHER_KEYS, records=400)
    persons = await _persons(database, tenant)
    for place, (at, nth) in enumerate(BEFORE[has_model]):
        assert await _killed(database, tenant, master_key, number, at, nth) == -9, at
        assert await _persons(database, tenant) == persons, at
        assert await _in_force(database, tenant) == (first if has_model else None), at
        if has_model:  # arrivals go on being linked under it
            await _apply(world, rows[300 + 4 * place : 304 + 4 * place])
            persons = await _persons(database, tenant)
    for place, (at, nth) in enumerate(AFTER):
        assert await _killed(database, tenant, master_key, number, at, nth) == -9, at
        assert await _in_force(database, tenant) == number, at
        await _apply(world, rows[340 + 4 * place : 344 + 4 * place])
    await rolled(database, tenant, number, yes=True)
    await world.check()


async def _apply(world: World, rows: Any) -> None:
    await apply_records(world.database, world.tenant, SOURCE, rows, now=NOW)
    world.held.update((record.record_id, record) for record in rows)


async def _killed(database: Database, tenant: Tenant, master_key: bytes, number: int, at: str, nth: int) -> int | None:
    plan = {
        "connect": dict(database.arguments), "master_key": master_key.hex(), "tenant": tenant.tenant_id,
        "version": number, "at": at, "nth": nth,
    }  # fmt: skip
    worker = await asyncio.create_subprocess_exec(sys.executable, str(WORKER), json.dumps(plan))
    return await asyncio.wait_for(worker.wait(), 60)


async def _persons(database: Database, tenant: Tenant) -> dict[int, int]:
    async with database.transaction(tenant.tenant_id) as connection:
        return dict(await connection.fetch("select record_id, person_id from record"))


async def _in_force(database: Database, tenant: Tenant) -> int | None:
    async with database.transaction(tenant.tenant_id) as connection:
        if await connection.fetchval("select count(*) from identity_model where state = 'active'"):
            return (await version_of(database, tenant)).model_id
    return None
