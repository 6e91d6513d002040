"""Records that arrive at the same time: from many callers of one process, from several connections, over a crash."""

from __future__ import annotations

import asyncio
import json
import random
import signal
import sys

import pytest
from tests.linked_store import NOW, SOURCE, by_definition, linked_tenant, record, stored, version_of

from firstring.identity.canonical.record import CanonicalRecord
from firstring.store.database import Database
from firstring.store.identity.arrivals import Arrivals
from firstring.store.identity.records import apply_records, delete_records
from firstring.store.server.embedded import APP, EmbeddedServer

WORKER = "tests.integration.killed_linker"
FIRST = 20
"""Records that are there before the program that is killed comes with as many more."""
NAMES = [("Ann", "Lee"), ("Anne", "Lee"), ("Bob", "Lee"), ("Bob", "Ray")]


def crowd(count: int, seed: int) -> list[CanonicalRecord]:
    """Records that have much to do with one another."""
    drawn = random.Random(seed)
    found = []
    for number in range(count):
        given, family = drawn.choice(NAMES)
        fields = {"given_name": given, "family_name": family, "birth_date": f"19{drawn.randint(60, 69)}-05-06"}
        if drawn.random() < 0.6:
            fields["phone"] = f"+4479111234{drawn.randint(10, 29)}"
        if drawn.random() < 0.3:
            fields["email"] = f"{given}{drawn.randint(1, 4)}@lee.org".lower()
        found.append(record(str(number), **fields))
    return found


async def test_callers_share_transactions_and_each_hears_of_its_own(database: Database) -> None:
    tenant = await linked_tenant(database)
    records = crowd(60, 1)
    arrivals = Arrivals(database)
    answers = await asyncio.gather(*(arrivals.apply(tenant, SOURCE, [one], now=NOW) for one in records))
    assert [one.inserted for one in answers] == [1] * 60
    assert len({one.record_ids for one in answers}) == 60
    again = await asyncio.gather(*(arrivals.apply(tenant, SOURCE, [one, one], now=NOW) for one in records[:5]))
    assert [(one.unchanged, one.record_ids) for one in again] == [(2, one.record_ids * 2) for one in answers[:5]]
    versions = [record("0", given_name="Ann", city=f"Town {number}") for number in range(9)]
    changed = await asyncio.gather(*(arrivals.apply(tenant, SOURCE, [one], now=NOW) for one in versions))
    assert [one.updated for one in changed] == [1] * 9
    held = {one.record_id: one for one in [*records, versions[-1]]}
    assert await stored(database, tenant, held) == by_definition(tenant, await version_of(database, tenant), held)
    await arrivals.close()


async def test_a_caller_that_goes_away_takes_nobody_along(database: Database) -> None:
    tenant = await linked_tenant(database)
    arrivals = Arrivals(database)
    waiting = [asyncio.create_task(arrivals.apply(tenant, SOURCE, [one], now=NOW)) for one in crowd(20, 2)]
    await asyncio.sleep(0)
    waiting[7].cancel()
    answers = await asyncio.gather(*waiting, return_exceptions=True)
    assert isinstance(answers[7], asyncio.CancelledError)
    assert all(one.inserted == 1 for place, one in enumerate(answers) if place != 7)  # type: ignore[union-attr]


async def test_connections_at_the_same_time_leave_the_persons_of_the_definition(database: Database) -> None:
    tenant = await linked_tenant(database, block_records=6)
    active = await version_of(database, tenant)
    records = crowd(120, 3)

    async def caller(part: list[CanonicalRecord]) -> None:
        for start in range(0, len(part), 4):
            await apply_records(database, tenant, SOURCE, part[start : start + 4], now=NOW)
        await delete_records(database, tenant, SOURCE, [one.record_id for one in part[::9]], now=NOW)

    await asyncio.gather(*(caller(records[place::6]) for place in range(6)))
    gone = {one.record_id for place in range(6) for one in records[place::6][::9]}
    held = {one.record_id: one for one in records if one.record_id not in gone}
    assert await stored(database, tenant, held) == by_definition(tenant, active, held)


@pytest.mark.parametrize("nth", [6, 9, 12])
async def test_killed_in_the_middle_a_batch_is_whole_or_absent(
    database: Database, server: EmbeddedServer, master_key: bytes, nth: int
) -> None:
    tenant = await linked_tenant(database)
    active = await version_of(database, tenant)
    records = crowd(2 * FIRST, 4)
    await apply_records(database, tenant, SOURCE, records[:FIRST], now=NOW)
    names = [one.record_id for one in records]
    before = await stored(database, tenant, names)
    plan = {"connect": server.dsn(APP), "master_key": master_key.hex(), "tenant": tenant.tenant_id, "nth": nth}
    program = await asyncio.create_subprocess_exec(sys.executable, "-m", WORKER, json.dumps(plan))
    assert await program.wait() == -signal.SIGKILL
    whole = {one.record_id: one for one in records}
    expected = by_definition(tenant, active, whole)
    assert await stored(database, tenant, names) in (before, expected)
    await apply_records(database, tenant, SOURCE, records, now=NOW)
    assert await stored(database, tenant, names) == expected
