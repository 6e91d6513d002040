"""A version rolled in beside arrivals: afterwards the persons are those of the definition, whatever came between."""

from __future__ import annotations

import asyncio
import random
import secrets
from collections.abc import Callable
from contextlib import suppress
from itertools import count
from typing import Any

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.integration.test_linking_store import HOT, steps
from tests.linked_store import NOW, SOURCE, THRESHOLD, by_definition, stored, version_of
from tests.linking_rig import model_by_hand
from tests.store_people import people

from firstring.bulk.versions import rollin, switch
from firstring.bulk.versions.rollin import retire, roll_in
from firstring.bulk.versions.settlewatch import SettleWatch
from firstring.bulk.versions.storelink import FROZEN
from firstring.errors import BadInput, Retryable
from firstring.identity.canonical.record import CanonicalRecord, canonical_record
from firstring.identity.comparison.columns import compared, table_of
from firstring.identity.comparison.spec import PERSON
from firstring.ports import SystemClock
from firstring.store.database import Database, Tenant
from firstring.store.identity.decisions import decide_link
from firstring.store.identity.models import add_model, statistics_key
from firstring.store.identity.records import apply_records, delete_records, external_key

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


@settings(max_examples=20, deadline=None, suppress_health_check=list(HealthCheck))
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


_ANN = {"given_name": "Ann", "family_name": "Lee", "birth_date": "1970-05-06", "phone": ["+447911123401"]}
_BRIDGE = {**_ANN, "email": "ann@lee.org", "account": "K-100"}
_BY_ACCOUNT = {"given_name": "Ann", "family_name": "Lee", "account": "K-100"}
_BY_DATE = {"given_name": "Ann", "family_name": "Lee", "birth_date": "1970-05-06"}
_BOB = {"given_name": "Bob", "family_name": "Ray", "birth_date": "1999-05-06", "email": "bob.ray@mail.org"}


class _Ended(Exception):
    """The program was ended."""


def _ending(calls: int) -> Callable[[str, int, int], None]:
    """Progress that ends the program: calls counts what changes the store, batch by batch."""
    left = count(calls, -1)

    def told(what: str, _done: int, _whole: int) -> None:
        if what in ("keys", "linking changes", "settling", "old keys") and next(left) == 0:
            raise _Ended

    return told


async def _ended(database: Database, tenant: Tenant, number: int, calls: int) -> None:
    with suppress(_Ended):
        await roll_in(
            database, tenant, str(number), yes=True, threshold=None, memory_mb=100, clock=CLOCK, told=_ending(calls)
        )


@settings(max_examples=12, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    before=steps,
    ended=st.lists(st.tuples(st.integers(0, 6), steps), min_size=1, max_size=3),
    first=st.booleans(),
    other=st.booleans(),
)
async def test_it_may_be_ended_at_any_moment_and_records_come_before_it_goes_on(
    database: Database, before: list[Any], ended: list[tuple[int, list[Any]]], first: bool, other: bool
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
    with pytest.MonkeyPatch.context() as patch:
        for name, records in (("BATCH_RECORDS", 3), ("LINKED_RECORDS", 2), ("SETTLED_RECORDS", 1)):
            patch.setattr(switch, name, records)
        for calls, some in ended:
            await _ended(database, tenant, number, calls)
            for step in some:
                await world.step(step)
        await rolled(database, tenant, number, yes=True)
    await world.check()


async def test_what_comes_before_all_records_are_settled_meets_the_persons_of_the_version(
    database: Database, tenant: Tenant, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(switch, "SETTLED_RECORDS", 1)
    rows = tuple(record for _, record, _ in people(34, 120))
    world = World(database, tenant)
    await apply_records(database, tenant, SOURCE, rows, now=NOW)
    world.held = {record.record_id: record for record in rows}
    number = await candidate(database, tenant, sample=rows, records=120)
    await rolled(database, tenant, number, yes=False)
    await _ended(database, tenant, number, 1 + -(-120 // switch.BATCH_RECORDS))
    active = await version_of(database, tenant)
    assert active.model_id == number
    assert await _unsettled(database, tenant) > 60
    persons = by_definition(tenant, active, world.held).persons
    several = sorted((person for person in persons if len(person) > 1), key=min)[:12]
    for place, person in enumerate(several[:6]):
        again = msgspec.structs.replace(world.held[min(person)], record_id=f"again-{place}")
        await apply_records(database, tenant, SOURCE, [again], now=NOW)
        world.held[again.record_id] = again
        [wanted] = [one for one in by_definition(tenant, active, world.held).persons if again.record_id in one]
        assert wanted in (await stored(database, tenant, world.held, whole=False)).persons
    for person in several[6:]:
        await decide_link(
            database, tenant, "cannot", (SOURCE, min(person)), (SOURCE, max(person)), by="tess", reason="knows them", now=NOW
        )
        found = (await stored(database, tenant, world.held, whole=False)).persons
        assert not [one for one in found if {min(person), max(person)} <= one]
    assert await _unsettled(database, tenant) > 0
    await rolled(database, tenant, number, yes=True)
    assert await _unsettled(database, tenant) == 0
    await world.check(tuple(("cannot", min(person), max(person)) for person in several[6:]))


async def test_a_server_finishes_what_an_ended_program_has_left(
    database: Database, tenant: Tenant, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(switch, "SETTLED_RECORDS", 1)
    world = World(database, tenant)
    await world.step({number: {**_ANN, "email": f"ann{number // 2}@lee.org"} for number in range(6)})
    await world.step({10: _BOB, 11: _BOB})
    number = await candidate(database, tenant)
    await _ended(database, tenant, number, 1)
    assert await _unsettled(database, tenant) > 0
    watch = SettleWatch(database, CLOCK)
    async with rollin._alone(database, tenant):
        await watch.look(tenant)
        assert await _unsettled(database, tenant) > 0, "somebody is at it"
    await watch.look(tenant)
    assert await _unsettled(database, tenant) > 0, "it has just looked"
    await SettleWatch(database, CLOCK).look(tenant)
    await world.check()


async def _unsettled(database: Database, tenant: Tenant) -> int:
    async with database.transaction(tenant.tenant_id) as connection:
        return int(await connection.fetchval("select count(*) from rolled_record where region_id is not null"))


async def test_a_roll_in_that_is_given_up_leaves_no_key_behind(database: Database, tenant: Tenant) -> None:
    world = World(database, tenant)
    await rolled(database, tenant, await candidate(database, tenant), yes=True)
    await world.step({1: _ANN, 2: _BRIDGE, 3: _BY_ACCOUNT, 4: _BOB})
    number = await candidate(database, tenant, link_keys=OTHER_KEYS)
    await _ended(database, tenant, number, 0)
    await world.step([4])
    await retire(database, tenant, str(number), clock=CLOCK)
    await world.check()


async def test_decisions_made_and_revoked_meanwhile_hold(database: Database, tenant: Tenant) -> None:
    world = World(database, tenant)
    await rolled(database, tenant, await candidate(database, tenant), yes=True)
    await world.step({1: _ANN, 2: _ANN, 3: _BOB, 4: _BOB, 5: {**_ANN, "phone": ["+447911123402"]}})
    revoked = await _decide(database, tenant, "must", "5", "4")
    number = await candidate(database, tenant, block_records=49)
    await rolled(database, tenant, number, yes=False)
    await _decide(database, tenant, "cannot", "1", "2")
    await _decide(database, tenant, "must", "1", "3")
    async with database.transaction(tenant.tenant_id) as connection:
        await connection.execute(
            "update link_decision set revoked_at = now(), revoked_by = 'tess' where decision_id = $1", revoked
        )
    await rolled(database, tenant, number, yes=True)
    await world.check((("cannot", "1", "2"), ("must", "1", "3")))


async def test_copies_without_a_key_under_the_version_follow_nobody(database: Database, tenant: Tenant) -> None:
    """Without a linking key a record is a person of its own, which a decision can join: however many are like it."""
    world = World(database, tenant)
    await rolled(database, tenant, await candidate(database, tenant), yes=True)
    await world.step({number: {"given_name": "Bob", "family_name": "Lee"} for number in range(9)})
    await rolled(database, tenant, await candidate(database, tenant, link_keys=OTHER_KEYS), yes=True)
    await world.check()
    decisions = tuple(("must", "0", str(number)) for number in range(1, 9))
    for _, left, right in decisions:
        await decide_link(database, tenant, "must", (SOURCE, left), (SOURCE, right), by="tess", reason="knows them", now=NOW)
    await world.check(decisions)
    assert len((await stored(database, tenant, world.held)).persons) == 1


async def test_who_only_follows_is_of_no_component(database: Database, tenant: Tenant) -> None:
    """Copies that are likely pairs, and yet persons of their own: one that follows and changes leaves nothing behind."""
    world = World(database, tenant)
    await world.step({number: {"given_name": "Bob", "family_name": "Leigh", "suffix": "Jr"} for number in range(8)})
    await rolled(database, tenant, await candidate(database, tenant), yes=True)
    found = await stored(database, tenant, world.held)
    assert len(found.persons) == 8
    assert max(map(len, found.components)) > 1
    for number, name in enumerate(("Ann", "Zoe", "Eve", "Ida", "Mia", "Liv", "Kim")):
        await world.step({number: {"given_name": name, "family_name": f"{name}son"}})
        await world.check()


async def test_a_copy_named_by_a_decision_takes_part_though_the_other_record_is_gone(
    database: Database, tenant: Tenant
) -> None:
    world = World(database, tenant)
    await rolled(database, tenant, await candidate(database, tenant), yes=True)
    await world.step({**dict.fromkeys(range(9), _ANN), 9: _BOB})
    decisions = tuple(("cannot", str(number), "9") for number in range(9))
    for _, left, right in decisions:
        await decide_link(
            database, tenant, "cannot", (SOURCE, left), (SOURCE, right), by="tess", reason="knows them", now=NOW
        )
    await world.step([9])
    await rolled(database, tenant, await candidate(database, tenant, link_keys=OTHER_KEYS), yes=True)
    await world.check(decisions)


async def _decide(database: Database, tenant: Tenant, kind: str, left: str, right: str) -> int:
    """Writes a decision and nothing else: what it changes, changes when the version comes into force."""
    async with database.transaction(tenant.tenant_id) as connection:
        source = await connection.fetchval("select source_id from source where name = $1", SOURCE)
        keys = [external_key(tenant.keys, SOURCE, one) for one in (left, right)]
        return await connection.fetchval(
            "insert into link_decision (tenant_id, kind, left_source, left_key, right_source, right_key, made_by, reason,"
            " made_at) values ($1, $2, $3, $4, $3, $5, 'tess', 'knows them', now()) returning decision_id",
            tenant.tenant_id, kind, source, *keys,
        )  # fmt: skip


@pytest.mark.parametrize("change", [[2], {2: _BOB}, {2: {"given_name": "Zoe", "phone": ["+447911123409"]}}])
async def test_a_bridge_that_goes_or_changes_meanwhile_holds_nobody(database: Database, tenant: Tenant, change: Any) -> None:
    world = World(database, tenant)
    await rolled(database, tenant, await candidate(database, tenant), yes=True)
    await world.step({1: _BY_DATE, 2: _BRIDGE, 3: _BY_ACCOUNT})
    assert len((await stored(database, tenant, world.held)).persons) == 1
    number = await candidate(database, tenant, block_records=49)
    await rolled(database, tenant, number, yes=False)
    # It goes under the version in force; what the other one saw of it must not stay.
    await world.step(change)
    await rolled(database, tenant, number, yes=True)
    await world.check()
    persons = (await stored(database, tenant, world.held)).persons
    assert not [person for person in persons if {"1", "3"} <= person]


async def test_arrivals_while_it_is_rolled_in_lose_nothing(database: Database, tenant: Tenant) -> None:
    rows = [msgspec.structs.replace(record) for _, record, _ in people(31, 900)]
    world = World(database, tenant)
    await apply_records(database, tenant, SOURCE, rows[:500], now=NOW)
    world.held = {record.record_id: record for record in rows[:500]}
    number = await candidate(database, tenant, sample=tuple(rows), records=900)
    done = asyncio.Event()

    async def arrive() -> None:
        draw = random.Random(5)
        left = rows[500:]
        while not done.is_set():
            batch = [left.pop() for _ in range(min(7, len(left)))]
            changed = draw.sample(sorted(world.held), 3)
            batch += [
                msgspec.structs.replace(record, record_id=name)
                for name, record in zip(changed, draw.sample(rows, 3), strict=True)
            ]
            gone = draw.sample(sorted(world.held.keys() - set(changed)), 2)
            await apply_records(database, tenant, SOURCE, batch, now=NOW)
            world.held.update((one.record_id, one) for one in batch)
            await delete_records(database, tenant, SOURCE, gone, now=NOW)
            for name in gone:
                world.held.pop(name, None)
            await asyncio.sleep(0)

    arriving = asyncio.create_task(arrive())
    found = await rolled(database, tenant, number, yes=True)
    done.set()
    await arriving
    assert found.report.merged > 0
    await world.check()


async def test_the_same_again_changes_nothing_and_an_earlier_one_comes_back(database: Database, tenant: Tenant) -> None:
    rows = tuple(record for _, record, _ in people(32, 400))
    world = World(database, tenant)
    await apply_records(database, tenant, SOURCE, rows, now=NOW)
    world.held = {record.record_id: record for record in rows}
    first = await candidate(database, tenant, sample=rows, records=400)
    await rolled(database, tenant, first, yes=True)
    before = await _everything(database, tenant)
    assert (await rolled(database, tenant, first, yes=True)).report is None
    again = await rolled(database, tenant, first, yes=True, again=True)
    assert (again.report.merged, again.report.split, again.report.touched_share) == (0, 0, 0.0)
    assert await _everything(database, tenant) == before
    second = await candidate(database, tenant, block_records=3, link_keys=OTHER_KEYS, sample=rows, records=400)
    await rolled(database, tenant, second, yes=True)
    await world.check()
    back = await rolled(database, tenant, first, yes=True)
    assert back.report.merged + back.report.split > 0
    await world.check()
    async with database.transaction(tenant.tenant_id) as connection:
        states = dict(await connection.fetch("select model_id, state from identity_model"))
    assert (states[first], states[second]) == ("active", "retired")


async def _everything(database: Database, tenant: Tenant) -> Any:
    """Records with their versions and keys, persons, the history."""
    async with database.transaction(tenant.tenant_id) as connection:
        return [
            sorted(tuple(map(str, row)) for row in await connection.fetch(query))
            for query in (
                "select record_id, person_id, version, link_keys, is_copy from record",
                "select person_id, merged_into, component_id from person",
                "select change_id from person_change",
            )
        ]


async def test_persons_keep_their_ids_and_the_history_says_why(database: Database, tenant: Tenant) -> None:
    world = World(database, tenant)
    await world.step({1: _ANN, 2: {**_ANN, "phone": [], "family_name": "Leigh", "email": "ann@lee.org"}, 3: _BOB})
    async with database.transaction(tenant.tenant_id) as connection:
        before = dict(await connection.fetch("select record_id, person_id from record"))
    number = await candidate(database, tenant)
    found = await rolled(database, tenant, number, yes=True)
    async with database.transaction(tenant.tenant_id) as connection:
        after = dict(await connection.fetch("select record_id, person_id from record"))
        changes = await connection.fetch("select kind, person_id, other_id, cause from person_change")
        redirect = await connection.fetchval("select merged_into from person where person_id = $1", max(before.values()))
    assert set(after.values()) <= set(before.values())
    assert found.report.merged == len(changes) == len(set(before.values())) - len(set(after.values()))
    assert all(row["cause"].startswith("model model-") for row in changes)
    assert redirect is None or redirect in after.values()


async def test_what_cannot_be_done_is_said(database: Database, tenant: Tenant) -> None:
    with pytest.raises(BadInput, match="no such model"):
        await rolled(database, tenant, 987_654, yes=True)
    first, second = await candidate(database, tenant), await candidate(database, tenant, block_records=9)
    await rolled(database, tenant, first, yes=False)
    with pytest.raises(BadInput, match="is being rolled in"):
        await rolled(database, tenant, second, yes=False)
    assert (await retire(database, tenant, str(first), clock=CLOCK)).state == "retired"
    await rolled(database, tenant, second, yes=True)
    with pytest.raises(BadInput, match="decides who is one person"):
        await retire(database, tenant, str(second), clock=CLOCK)
    with pytest.raises(BadInput, match="between 0 and 1"):
        await roll_in(
            database, tenant, str(first), yes=True, threshold=1.5, memory_mb=100, clock=CLOCK, told=lambda *_: None
        )


async def test_two_programs_do_not_roll_in_at_once(database: Database, tenant: Tenant) -> None:
    rows = tuple(record for _, record, _ in people(33, 300))
    await apply_records(database, tenant, SOURCE, rows, now=NOW)
    number = await candidate(database, tenant, sample=rows)
    both = await asyncio.gather(*(rolled(database, tenant, number, yes=True) for _ in range(2)), return_exceptions=True)
    assert sorted(type(one).__name__ for one in both) in (["Retryable", "RolledIn"], ["RolledIn", "RolledIn"])
    assert any(isinstance(one, Retryable) or one.report is None for one in both)


async def test_another_threshold_is_another_version(database: Database, tenant: Tenant) -> None:
    world = World(database, tenant)
    await world.step({1: _ANN, 2: {**_ANN, "phone": []}, 3: _BOB})
    number = await candidate(database, tenant)
    found = await roll_in(
        database, tenant, str(number), yes=True, threshold=0.999999, memory_mb=100, clock=CLOCK, told=lambda *_: None
    )
    assert found.version.number != number
    assert (await version_of(database, tenant)).threshold == 0.999999
    await world.check()
