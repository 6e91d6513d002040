"""A version rolled in beside arrivals: afterwards the persons are those of the definition under it, whatever came between."""

from __future__ import annotations

import asyncio
import random
import secrets
from typing import Any

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.integration.test_linking_store import HOT, steps
from tests.linked_store import NOW, SOURCE, THRESHOLD, by_definition, stored, version_of
from tests.linking_rig import model_by_hand
from tests.store_people import people

from firstring.bulk.rollin import retire, roll_in
from firstring.bulk.storelink import FROZEN
from firstring.errors import BadInput, Retryable
from firstring.identity.canonical import CanonicalRecord, canonical_record
from firstring.identity.columns import compared, table_of
from firstring.identity.spec import PERSON
from firstring.ports import SystemClock
from firstring.store.database import Database, Tenant
from firstring.store.models import add_model, statistics_key
from firstring.store.records import apply_records, delete_records

pytestmark = pytest.mark.asyncio(loop_scope="session")
CLOCK = SystemClock()
OTHER_KEYS = ("root+born", "email", "names+city", "phone")


async def candidate(
    database: Database, tenant: Tenant, *, block_records: int = 50, link_keys: tuple[str, ...] = PERSON.link_keys,
    sample: tuple[CanonicalRecord, ...] = (), records: int = 10_000,
) -> int:  # fmt: skip
    spec = msgspec.structs.replace(PERSON, block_records=block_records, link_keys=link_keys)
    model = model_by_hand(spec, records=records)
    rows = [compared(one.fields) for one in sample] or [{"given": ("nobody",)}]
    statistics = table_of(rows).frozen(FROZEN, statistics_key(tenant.keys, model.version))
    async with database.transaction(tenant.tenant_id) as connection:
        return await add_model(connection, tenant, model, statistics, THRESHOLD, trained_at=NOW)


async def rolled(database: Database, tenant: Tenant, number: int, *, yes: bool, **more: Any) -> Any:
    return await roll_in(
        database, tenant, str(number), yes=yes, threshold=None, memory_mb=100, clock=CLOCK, told=lambda *_: None, **more
    )


class World:
    """A tenant and what it should hold."""

    def __init__(self, database: Database, tenant: Tenant) -> None:
        self.database, self.tenant = database, tenant
        self.held: dict[str, CanonicalRecord] = {}

    async def step(self, step: Any) -> None:
        if isinstance(step, dict):
            batch = [canonical_record({"record_id": str(n), **fields}, country="GB") for n, fields in step.items()]
            await apply_records(self.database, self.tenant, SOURCE, batch, now=NOW)
            self.held.update((one.record_id, one) for one in batch)
        else:
            gone = [str(number) for number in step]
            await delete_records(self.database, self.tenant, SOURCE, gone, now=NOW)
            for one in gone:
                self.held.pop(one, None)

    async def check(self, decisions: tuple[tuple[str, str, str], ...] = ()) -> None:
        active = await version_of(self.database, self.tenant)
        expected = by_definition(self.tenant, active, self.held, decisions)
        assert await stored(self.database, self.tenant, self.held) == expected
        async with self.database.transaction(self.tenant.tenant_id) as connection:
            for table in ("rolled_record", "rolled_key", "rolled_held", "rolled_touched"):
                assert await connection.fetchval(f"select count(*) from {table}") == 0


@settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))
@given(before=steps, between=steps, after=steps, first=st.booleans(), other=st.booleans())
async def test_whatever_comes_between_the_persons_are_those_of_the_definition(
    database: Database, before: list[Any], between: list[Any], after: list[Any], first: bool, other: bool
) -> None:
    tenant = await database.add_tenant(f"t-{secrets.token_hex(6)}", NOW)
    assert tenant is not None
    world = World(database, tenant)
    if not first:
        await rolled(database, tenant, await candidate(database, tenant, block_records=HOT), yes=True)
    for step in before:
        await world.step(step)
    keys = OTHER_KEYS if other else PERSON.link_keys
    number = await candidate(database, tenant, block_records=HOT + 1, link_keys=keys)
    found = await rolled(database, tenant, number, yes=False)
    assert not found.in_force
    assert found.report.records == len(world.held)
    for step in between:
        await world.step(step)
    if not first:
        assert (await version_of(database, tenant)).model_id != number
    done = await rolled(database, tenant, number, yes=True)
    assert done.in_force
    assert (await version_of(database, tenant)).model_id == number
    await world.check()
    for step in after:
        await world.step(step)
    await world.check()
