"""Every failure case that linking must survive, by name, through both doors (files, store) where both apply.

Here, and where else a case is tested (module::test):

switchboard number, 000-000-0000, noemail@, birth date 1900-01-01, recycled mobile, couple with one inbox, twins, Jr and
Sr, married name
    test_who_is_one_person; test_identity_hotvalues (they are found and listed)
a record between Jr and Sr that says neither
    test_jr_and_sr_stay_apart_over_a_record_that_says_neither; test_deciding::test_a_held_merge_is_settled
a bridge record that comes and goes
    test_a_bridge_comes_and_goes; test_decisions_store::test_a_source_withdraws_and_what_it_held_together_comes_apart;
    test_rollin::test_a_bridge_that_goes_or_changes_meanwhile_holds_nobody
every order of arrival, every batch, at the same time
    test_every_order_of_arrival; test_linking_store::test_persons_are_those_of_the_definition_after_every_step;
    test_arrivals::test_connections_at_the_same_time_leave_the_persons_of_the_definition
a hot key 10,000 times
    test_a_hot_key_ten_thousand_times, test_a_hot_key_in_a_file
two models' versions at once during a retrain
    test_rollin::test_whatever_comes_between_the_persons_are_those_of_the_definition;
    test_rollin::test_arrivals_while_it_is_rolled_in_lose_nothing;
    test_weighing::test_decisions_of_every_version_derive_again
a model that does not know a field
    test_a_model_that_does_not_know_a_field; test_link::test_a_model_of_other_fields_links_by_those_it_knows;
    test_training_robust::test_a_model_that_does_not_know_a_field
a column of constants
    test_a_column_of_constants; test_training_robust::test_a_column_of_constants_says_nothing
one record very many times
    test_one_record_very_many_times; test_link::test_one_record_fifty_thousand_times_is_one_person
empty records
    test_empty_records_are_nobody_in_particular; test_link::test_every_row_is_there_whatever_it_holds
contradictory decisions of stewards
    test_decisions_store::test_a_contradiction_over_several_records_names_the_decision;
    test_decisions_store::test_decisions_hold_through_everything
a crash (kill -9) in the middle of a re-clustering
    test_arrivals::test_killed_in_the_middle_a_batch_is_whole_or_absent; test_rollin_killed::test_killed_at_every_step
a cancelled bulk run
    test_link::test_a_run_that_is_interrupted_leaves_no_output_and_says_so
un-merging gives exactly what never merging would have given: persons, events, golden record
    test_unmerge_leaves_what_never_merging_would_have; test_decisions_store::test_unmerge_gives_what_never_merging_would_have
ids redirect for ever
    test_ids_redirect_for_ever
must and cannot hold through a new model version
    test_decisions_hold_through_a_new_version; test_rollin::test_decisions_made_and_revoked_meanwhile_hold
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable
from itertools import permutations
from pathlib import Path
from typing import Any

import asyncpg
import msgspec
import pytest
from rich.console import Console
from tests.failure_rig import (
    CASES,
    HOME,
    LANDLINE,
    NOW,
    SOURCE,
    SWITCHBOARD,
    THRESHOLD,
    Row,
    World,
    canonical,
    crowd,
    in_files,
    in_store,
    linked_files,
    made_world,
    partition,
    persons_in,
    row,
    with_model,
    written,
)
from tests.integration.test_events import event

from firstring.bulk.linking.console import run_link, run_train
from firstring.bulk.versions.rollin import roll_in
from firstring.bulk.versions.storelink import FROZEN
from firstring.identity.comparison.columns import compared, table_of
from firstring.identity.golden.record import DEFAULT
from firstring.ports import SystemClock
from firstring.store.database import Database, Tenant
from firstring.store.identity.decisions import decide_link, unmerge
from firstring.store.identity.models import add_model, statistics_key
from firstring.store.identity.persons import person
from firstring.store.identity.records import apply_records, delete_records
from firstring.store.journey.events import ingest

MakeTenant = Callable[[], Any]
SAID: dict[str, Any] = {"by": "ann", "reason": "called them", "now": NOW}


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    return made_world(tmp_path_factory.mktemp("world"))


# --- who is one person ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("case", CASES)
async def test_who_is_one_person(case: str, world: World, database: Database, tenant: Tenant, tmp_path: Path) -> None:
    rows, persons = CASES[case]
    assert in_files(world, rows, tmp_path) == partition(persons)
    await with_model(database, tenant, world, rows)
    assert await in_store(database, tenant, rows) == partition(persons)


async def test_jr_and_sr_stay_apart_over_a_record_that_says_neither(
    world: World, database: Database, tenant: Tenant, tmp_path: Path
) -> None:
    rows = [
        row("s", "Walter", "Okafor", suffix="Sr", **LANDLINE, **HOME),
        row("j", "Walter", "Okafor", suffix="Jr", **LANDLINE, **HOME),
        row("x", "Walter", "Okafor", **LANDLINE, **HOME),
    ]
    await with_model(database, tenant, world, rows)
    for found in (in_files(world, rows, tmp_path), await in_store(database, tenant, rows)):
        assert not [one for one in found if {"s", "j"} <= one]
    async with database.transaction(tenant.tenant_id) as connection:
        assert await connection.fetchval("select guard from held_merge") == "suffix_contradicts"


# --- what comes and goes -------------------------------------------------------------------------------------------

BRIDGE = [
    row("1", "Walter", "Okafor", "1951-04-03", mobile_phone="+12125550178", city="Boston"),
    row("2", "Wally", "Okafor", email="wally.o@mail.net", city="Denver"),
    row("b", "Walter", "Okafor", "1951-04-03", mobile_phone="+12125550178", email="wally.o@mail.net"),
]


async def test_a_bridge_comes_and_goes(world: World, database: Database, tenant: Tenant, tmp_path: Path) -> None:
    await with_model(database, tenant, world, BRIDGE)
    two = BRIDGE[:2]
    assert in_files(world, two, tmp_path) == await in_store(database, tenant, two) == partition("1 2")
    before = await _ids(database, tenant)
    assert in_files(world, BRIDGE, tmp_path) == await in_store(database, tenant, BRIDGE) == partition("1+2+b")
    for _ in range(2):
        await delete_records(database, tenant, SOURCE, ["b"], now=NOW)
        after = await _ids(database, tenant)
        assert len(set(after.values())) == 2, "as before it came"
        assert after.keys() == before.keys()
        await in_store(database, tenant, BRIDGE)


async def test_every_order_of_arrival(world: World, database: Database, tenant: Tenant, tmp_path: Path) -> None:
    """All orders of a small set, one at a time and in threes; the store is never emptied in between but by deleting."""
    one = row("m1", "Greta", "Lindqvist", "1990-10-30", **HOME)
    rows = [*BRIDGE, one, {**one, "record_id": "m2", "family_name": "Castell"}]
    await with_model(database, tenant, world, rows)
    expected = partition("1+2+b m1+m2")
    for place, order in enumerate(permutations(rows)):
        if place % 3 == 0:  # 40 orders out of 120, every record first, second, ... and last
            assert await in_store(database, tenant, order, batch=1 + place % 2 * 2) == expected
            gone = [one["record_id"] for one in order[:: 1 + place % 2]]
            await delete_records(database, tenant, SOURCE, gone, now=NOW)
    for order in list(permutations(rows))[::40]:
        assert in_files(world, order, tmp_path) == expected


async def _ids(database: Database, tenant: Tenant) -> dict[int, int]:
    async with database.transaction(tenant.tenant_id) as connection:
        return dict(await connection.fetch("select record_id, person_id from record"))


# --- hot keys and copies -------------------------------------------------------------------------------------------


def _on_a_switchboard(count: int) -> list[Row]:
    return [
        row(f"p{number}", f"G{number:05d}x", f"F{number * 7919 % 10_007:05d}y", **SWITCHBOARD) for number in range(count)
    ]


async def test_a_hot_key_ten_thousand_times(
    world: World, database: Database, tenant: Tenant, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What one more record on a switchboard's number makes the store say and read, the 2,000th time and the 10,000th."""
    await with_model(database, tenant, world, crowd(SWITCHBOARD))
    people = _on_a_switchboard(10_003)
    said: Counter[str] = Counter()
    for name in ("fetch", "fetchrow", "fetchval", "execute"):
        _count(monkeypatch, name, said)

    async def cost(one: Row) -> tuple[int, int]:
        said.clear()
        await apply_records(database, tenant, SOURCE, canonical([one]), now=NOW)
        return said["statements"], said["rows"]

    await in_store(database, tenant, people[:2_000])
    early = [await cost(one) for one in people[2_000:2_003]]
    persons = await in_store(database, tenant, people[2_003:10_000])
    late = [await cost(one) for one in people[10_000:]]
    assert len(persons) == 7_997, "a number that everybody has joins nobody"
    for place in (0, 1):
        assert max(one[place] for one in late) <= max(one[place] for one in early) + world.model.spec.block_records
    assert max(rows for _, rows in late) < 1_500, "whatever the number of records: store/identity/linking.carriers"


def _count(monkeypatch: pytest.MonkeyPatch, name: str, said: Counter[str]) -> None:
    real = getattr(asyncpg.Connection, name)

    async def counted(self: asyncpg.Connection, *given: Any, **named: Any) -> Any:
        found = await real(self, *given, **named)
        said["statements"] += 1
        said["rows"] += len(found) if isinstance(found, list) else 1
        return found

    monkeypatch.setattr(asyncpg.Connection, name, counted)


def test_a_hot_key_in_a_file(world: World, tmp_path: Path) -> None:
    rows = _on_a_switchboard(10_000)
    report = linked_files(world, rows, tmp_path)
    assert report.persons > 10_000
    assert report.candidate_pairs < 20 * report.records


async def test_one_record_very_many_times(world: World, database: Database, tenant: Tenant, tmp_path: Path) -> None:
    one = CASES["recycled mobile"][0][0]
    copies = [{**one, "record_id": f"c{number}"} for number in range(20_000)]
    assert len(in_files(world, copies, tmp_path)) == 1
    await with_model(database, tenant, world, [one])
    assert len(await in_store(database, tenant, copies[:2_000], batch=500)) == 1
    async with database.transaction(tenant.tenant_id) as connection:
        keys = await connection.fetchval("select count(*) from record_key k join record r using (record_id) where r.is_copy")
        copied = await connection.fetchval("select count(*) from record where is_copy")
    assert copied == 1_996
    assert keys <= 5 * copied, "one key for linking, and the identifiers by which a call finds them"


# --- what says nothing ---------------------------------------------------------------------------------------------


async def test_empty_records_are_nobody_in_particular(
    world: World, database: Database, tenant: Tenant, tmp_path: Path
) -> None:
    """Nothing, a placeholder, a name alone: nobody is anybody else, and no row is lost."""
    nothing = [row(f"e{number}") for number in range(8)]
    placeholders = [row(f"p{number}", "unknown", "n/a", "1900-01-01", email="none@none.com") for number in range(8)]
    rows = [*nothing, *placeholders]
    assert in_files(world, rows, tmp_path) == {frozenset((one["record_id"],)) for one in rows}
    with_city = [row(f"c{number}", city="Boston") for number in range(8)]
    alone = {frozenset((one["record_id"],)) for one in with_city}
    assert in_files(world, with_city, tmp_path) == alone
    await with_model(database, tenant, world, with_city)
    assert canonical(rows) == [], "the import refuses them, with a reason each"
    usable = {one.record_id for one in canonical(with_city)}
    assert await in_store(database, tenant, with_city) == {frozenset((name,)) for name in usable}


def test_a_column_of_constants(world: World, tmp_path: Path) -> None:
    """Everybody is of one city, one gender and one inbox: that joins nobody, and does no harm to what tells people apart."""
    constant = {"city": "Boston", "gender": "female", "email": "all@shop.example.net"}
    rows = [{**one, **constant} for one in world.rows[:1_000]]
    report = run_link(
        [written(tmp_path / "constant.csv", rows)], world.folder / "map.toml", country="US", threshold=THRESHOLD,
        out=tmp_path / "out.csv", pairs_path=None, model_path=None, plan_only=False, memory_mb=200,
        console=Console(quiet=True),
    )  # fmt: skip
    assert report is not None
    assert 400 < report.persons < 950
    assert report.largest_person <= 8


async def test_a_model_that_does_not_know_a_field(world: World, database: Database, tenant: Tenant, tmp_path: Path) -> None:
    """Trained where nobody stated a phone number; then records come that do: they are linked by what the model knows."""
    lines = (world.folder / "map.toml").read_text().splitlines()
    fewer = tmp_path / "map.toml"
    fewer.write_text("\n".join(line for line in lines if "phone" not in line))
    model = run_train(
        [world.folder / "people.csv"],
        fewer,
        tmp_path / "fewer.json",
        country="US",
        memory_mb=200,
        console=Console(quiet=True),
    )
    assert "phone" not in model.shares
    rows, persons = CASES["couple with one inbox"]
    poorer = world._replace(model=model)
    assert in_files(poorer, rows, tmp_path, tmp_path / "fewer.json") == partition(persons)
    await with_model(database, tenant, poorer, rows)
    assert await in_store(database, tenant, rows) == partition(persons)


# --- decisions and ids ---------------------------------------------------------------------------------------------


async def test_unmerge_leaves_what_never_merging_would_have(
    world: World, database: Database, tenant: Tenant, make_tenant: MakeTenant
) -> None:
    """Persons, what happened to them, golden records: as in a store where each half came alone."""
    some = [BRIDGE[0], {**BRIDGE[0], "record_id": "1b", "street": "Elm Street", "house_number": "9", "postcode": "02108"}]
    others = [BRIDGE[2], {**BRIDGE[2], "record_id": "b2", "mobile_phone": "", "account": "K-5501"}]
    rows = [*some, *others]
    await with_model(database, tenant, world, rows)
    assert await in_store(database, tenant, rows) == partition("1+1b+b+b2")
    await _happen(database, tenant, rows)
    number = {
        one.record_id: record for one, record in zip(canonical(rows), sorted(await _ids(database, tenant)), strict=True)
    }
    ids = await _ids(database, tenant)
    done = await unmerge(database, tenant, ids[number["1"]], [number["1"], number["1b"]], **SAID)
    assert done.split == 1
    for half in (some, others):
        alone = await make_tenant()
        await with_model(database, alone, world, rows)
        await in_store(database, alone, half)
        await _happen(database, alone, half)
        assert await _known(database, tenant, half[0]["record_id"]) == await _known(database, alone, half[0]["record_id"])


async def _happen(database: Database, tenant: Tenant, rows: list[Row]) -> None:
    told = [event(f"Order {one['record_id']}", f"m{one['record_id']}", userId=one["record_id"]) for one in rows]
    assert (await ingest(database, tenant, SOURCE, told, now=NOW)).stored == len(rows)


async def _known(database: Database, tenant: Tenant, name: str) -> tuple[list[str], list[str], dict[str, Any]]:
    """Of the person of a record: its records, its events, its golden record, without ids of the store."""
    async with database.transaction(tenant.tenant_id) as connection:
        rows = await connection.fetch("select record_id, person_id, wrapped_key, sealed from record")
        events = await connection.fetch(
            "select r.person_id, e.wrapped_key, e.sealed from event e join record r using (tenant_id, record_id)"
        )
    opened = tenant.keys.open
    person_of = {opened(one["wrapped_key"], one["sealed"])["record_id"]: one["person_id"] for one in rows}
    found = await person(database, tenant, person_of[name])
    happened = [opened(one["wrapped_key"], one["sealed"])["name"] for one in events if one["person_id"] == person_of[name]]
    profile = found.golden(NOW, DEFAULT).profile()
    return (
        sorted(one.fields["record_id"] for one in found.records),
        sorted(happened),
        json.loads(msgspec.json.encode(profile)),
    )


async def test_ids_redirect_for_ever(world: World, database: Database, tenant: Tenant) -> None:
    """Whatever merges into what: an id that was given once leads to a living person, in one step, also after splits."""
    await with_model(database, tenant, world, BRIDGE)
    given: set[int] = set()
    for _ in range(3):
        await in_store(database, tenant, BRIDGE[:2])
        given |= set((await _ids(database, tenant)).values())
        await in_store(database, tenant, BRIDGE)
        given |= set((await _ids(database, tenant)).values())
        (living,) = set((await _ids(database, tenant)).values())
        for one in given:
            assert (await person(database, tenant, one)).person_id == living
        await delete_records(database, tenant, SOURCE, ["b"], now=NOW)
        now = set((await _ids(database, tenant)).values())
        for one in given:
            assert (await person(database, tenant, one)).person_id in now


async def test_decisions_hold_through_a_new_version(world: World, database: Database, tenant: Tenant) -> None:
    """Strangers that must be one and copies that must not, under the version in force and under the next one."""
    rows = [BRIDGE[0], {**BRIDGE[0], "record_id": "1b"}, row("a", "Irma", "Farrow"), row("b", "Hugo", "Ibarra")]
    await with_model(database, tenant, world, rows)
    assert await in_store(database, tenant, rows) == partition("1+1b a b")
    await decide_link(database, tenant, "cannot", (SOURCE, "1"), (SOURCE, "1b"), **SAID)
    await decide_link(database, tenant, "must", (SOURCE, "a"), (SOURCE, "b"), **SAID)
    name = dict(zip(sorted(await _ids(database, tenant)), ("1", "1b", "a", "b"), strict=True))
    assert await persons_in(database, tenant, name) == partition("1 1b a+b")
    newer = msgspec.structs.replace(world.model, spec=msgspec.structs.replace(world.model.spec, block_records=40))
    table = table_of([compared(one.fields) for one in (*world.records, *canonical(rows))])
    statistics = table.frozen(FROZEN, statistics_key(tenant.keys, newer.version))
    async with database.transaction(tenant.tenant_id) as connection:
        number = await add_model(connection, tenant, newer, statistics, THRESHOLD, trained_at=NOW)
    done = await roll_in(
        database, tenant, str(number), yes=True, threshold=None, memory_mb=100, clock=SystemClock(), told=lambda *_: None
    )
    assert done.in_force
    assert await persons_in(database, tenant, name) == partition("1 1b a+b")
