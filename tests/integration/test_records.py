"""Records and persons: the partition is a function of the set of records, whatever the order, batches and detours."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from firstring import limits
from firstring.contact import Identifier
from firstring.identity.canonical.record import canonical_record
from firstring.identity.persons.blocking import composite_key, contested, link_guards, link_keys
from firstring.store.database import Database, Tenant
from firstring.store.identity.records import Applied, SourceRecord, apply_records, delete_records, external_key
from firstring.store.ring import RingStore

NOW = datetime(2026, 11, 1, tzinfo=UTC)
HOT = 3
SOURCE = "crm"


def record(record_id: str, **fields: Any) -> SourceRecord:
    return canonical_record({"record_id": record_id, **fields}, country="GB")


PHONES = ["+447911123401", "+447911123402", "+447911123403"]
fields_of_one = st.fixed_dictionaries(
    {
        "given_name": st.sampled_from(["Ann", "Bob"]),
        "family_name": st.sampled_from(["Lee", "Ray"]),
        "phone": st.lists(st.sampled_from(PHONES), max_size=2, unique=True),
    },
    optional={
        "email": st.sampled_from(["ann@lee.org", "both@lee.org"]),
        "birth_date": st.sampled_from(["1970-05-06", "1970-05-07", "1999-05-06"]),
        "postcode": st.sampled_from(["SW1A 1AA", "M1 1AE"]),
    },
)
numbers = st.integers(0, 11)
steps = st.lists(
    st.one_of(
        st.dictionaries(numbers, fields_of_one, min_size=1, max_size=8),
        st.lists(numbers, min_size=1, max_size=3, unique=True),
    ),
    min_size=1,
    max_size=5,
)


def brute_force(records: Iterable[SourceRecord], hot: int) -> set[frozenset[str]]:
    """Records that share a key are one person, unless the key is hot or contested: nothing clever."""
    all_records = list(records)
    keys = {one.record_id: {text.encode() for text in link_keys(one.fields)} for one in all_records}
    counts: dict[bytes, int] = {}
    for texts in keys.values():
        for text in texts:
            counts[text] = counts.get(text, 0) + 1
    guards = [
        (wide.encode(), None if narrow is None else narrow.encode())
        for one in all_records
        for wide, narrow in link_guards(one.fields).items()
    ]
    inert = {text for text, count in counts.items() if count > hot}
    inert |= {narrow for wide, narrow in guards if wide in inert and narrow is not None} | contested(guards)
    groups = [{one.record_id} for one in all_records]
    merged = True
    while merged:
        merged = False
        for left in groups:
            for right in groups:
                if left is not right and any((keys[a] & keys[b]) - inert for a in left for b in right):
                    left |= right
                    groups.remove(right)
                    merged = True
                    break
            if merged:
                break
    return {frozenset(group) for group in groups}


async def partition(database: Database, tenant: Tenant, records: Iterable[SourceRecord]) -> set[frozenset[str]]:
    """What the database holds, as sets of the sources' own ids; and the invariants of persons and keys."""
    name = {external_key(tenant.keys, SOURCE, one.record_id): one.record_id for one in records}
    async with database.transaction(tenant.tenant_id) as connection:
        rows = await connection.fetch("select record_id, external_key, person_id, keys || link_keys as all from record")
        persons = await connection.fetch("select person_id, merged_into from person")
        stored = await connection.fetch("select key, record_id from record_key")
    redirects = {row["person_id"]: row["merged_into"] for row in persons}
    living = {person for person, target in redirects.items() if target is None}
    assert {row["person_id"] for row in rows} <= living
    assert all(target in living for target in redirects.values() if target is not None), "chains are compressed"
    assert {(row["key"], row["record_id"]) for row in stored} == {
        (key, row["record_id"]) for row in rows for key in row["all"] if len(key) == 16
    }
    groups: dict[int, set[str]] = {}
    for row in rows:
        groups.setdefault(row["person_id"], set()).add(name[row["external_key"]])
    return {frozenset(group) for group in groups.values()}


async def new_tenant(database: Database) -> Tenant:
    made = await database.add_tenant(f"t-{secrets.token_hex(6)}", NOW)
    assert made is not None
    return made


@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(steps=steps)
async def test_persons_are_a_function_of_the_set_of_records(database: Database, steps: list[Any]) -> None:
    tenant = await new_tenant(database)
    held: dict[str, SourceRecord] = {}
    seen: set[int] = set()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(limits, "HOT_LINK_RECORDS", HOT)
        for step in steps:
            if isinstance(step, dict):
                batch = [record(str(number), **fields) for number, fields in step.items()]
                await apply_records(database, tenant, SOURCE, batch, now=NOW)
                held.update((one.record_id, one) for one in batch)
            else:
                gone = [str(number) for number in step]
                await delete_records(database, tenant, SOURCE, gone, now=NOW)
                for one in gone:
                    held.pop(one, None)
            assert await partition(database, tenant, held.values()) == brute_force(held.values(), HOT)
            async with database.transaction(tenant.tenant_id) as connection:
                rows = await connection.fetch("select person_id from person")
            assert seen <= {row["person_id"] for row in rows}, "a person's id holds for ever"
            seen = {row["person_id"] for row in rows}


@settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck))
@given(data=st.data(), people=st.lists(fields_of_one, min_size=2, max_size=14))
async def test_order_and_batches_do_not_matter(
    database: Database, data: st.DataObject, people: list[dict[str, Any]]
) -> None:
    records = [record(str(number), **fields) for number, fields in enumerate(people)]
    expected = brute_force(records, HOT)
    for _ in range(2):
        tenant = await new_tenant(database)
        order = data.draw(st.permutations(records))
        size = data.draw(st.integers(1, len(records)))
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(limits, "HOT_LINK_RECORDS", HOT)
            for start in range(0, len(order), size):
                await apply_records(database, tenant, SOURCE, order[start : start + size], now=NOW)
        assert await partition(database, tenant, records) == expected


async def test_the_same_record_again_changes_nothing(database: Database, tenant: Tenant) -> None:
    one = record("1", full_name="Ann Lee", phone="+447911123401")
    first = await apply_records(database, tenant, SOURCE, [one], now=NOW)
    async with database.transaction(tenant.tenant_id) as connection:
        before = await connection.fetch("select record::text, xmin::text from record")
    again = await apply_records(database, tenant, SOURCE, [one, one], now=NOW)
    async with database.transaction(tenant.tenant_id) as connection:
        after = await connection.fetch("select record::text, xmin::text from record")
    assert first == Applied(inserted=1, record_ids=first.record_ids, outcomes=("inserted",))
    assert again == Applied(unchanged=2, record_ids=first.record_ids * 2, outcomes=("unchanged",) * 2)
    assert before == after


async def test_a_bridge_that_goes_leaves_what_never_merging_would_have_left(
    database: Database, tenant: Tenant, ring: RingStore
) -> None:
    left = record("1", full_name="Ann Lee", phone="+447911123401")
    right = record("2", full_name="Ann Lee", email="ann@lee.org")
    bridge = record("3", full_name="Ann Lee", phone="+447911123401", email="ann@lee.org")
    await apply_records(database, tenant, SOURCE, [left, right], now=NOW)
    apart = await partition(database, tenant, [left, right])
    merged = await apply_records(database, tenant, SOURCE, [bridge], now=NOW)
    assert merged.merged == 1
    assert len(await partition(database, tenant, [left, right, bridge])) == 1
    gone = await delete_records(database, tenant, SOURCE, ["3"], now=NOW)
    assert (gone.deleted, gone.split) == (1, 1)
    assert await partition(database, tenant, [left, right]) == apart
    async with database.transaction(tenant.tenant_id) as connection:
        history = await connection.fetch("select kind, cause from person_change order by change_id")
    assert [row["kind"] for row in history] == ["merged", "split"]
    read = await ring.read(tenant, [Identifier("phone", "+447911123401")], None)
    assert [one.fields["record_id"] for one in read.records] == ["1"]


async def test_the_ring_path_finds_records_by_identifier_and_composite(
    database: Database, tenant: Tenant, ring: RingStore
) -> None:
    one = record(
        "7", given_name="Ann", family_name="Lee", birth_date="1970-05-06", postcode="SW1A 1AA", phone="020 7946 0991",
        last_seen="2026-10-01", loyalty="blue",
    )  # fmt: skip
    await apply_records(database, tenant, SOURCE, [one], now=NOW)
    text = composite_key(one.fields)
    assert text is not None
    read = await ring.read(tenant, [Identifier("phone", "+442079460991"), Identifier("composite", text)], None)
    (found,) = read.records
    assert found.fields == {**one.fields, "record_id": "7"}
    assert found.fields["attributes"] == {"loyalty": "blue"}
    assert found.composite
    assert found.matched == (Identifier("phone", "+442079460991"),)
    assert found.last_seen == datetime(2026, 10, 1, tzinfo=UTC)


async def test_a_hot_value_glues_nobody_and_the_partition_says_so_from_then_on(database: Database, tenant: Tenant) -> None:
    count = limits.HOT_LINK_RECORDS
    records = [record(str(number), full_name="Ann Lee", phone="+442079460000") for number in range(count + 1)]
    await apply_records(database, tenant, SOURCE, records[:count], now=NOW)
    assert len(await partition(database, tenant, records)) == 1
    applied = await apply_records(database, tenant, SOURCE, records[count:], now=NOW)
    assert applied.split == count - 1
    assert len(await partition(database, tenant, records)) == count + 1
    await delete_records(database, tenant, SOURCE, ["0"], now=NOW)
    assert len(await partition(database, tenant, records)) == 1


async def test_sources_are_apart_and_a_change_makes_a_new_version(
    database: Database, make_tenant: Callable[[], Any]
) -> None:
    tenant = await make_tenant()
    one = record("1", full_name="Ann Lee", phone="+447911123401")
    await apply_records(database, tenant, "crm", [one], now=NOW)
    other = await apply_records(database, tenant, "shop", [one], now=NOW)
    assert other.inserted == 1
    changed = await apply_records(
        database, tenant, "crm", [record("1", full_name="Ann Lee", phone="+447911123402")], now=NOW
    )
    assert (changed.updated, changed.split) == (1, 1)
    async with database.transaction(tenant.tenant_id) as connection:
        rows = await connection.fetch("select version, external_key from record order by record_id")
    assert [row["version"] for row in rows] == [2, 2], "one changed, the other is of another person now"
    assert rows[0]["external_key"] != rows[1]["external_key"]
    stranger = await make_tenant()
    async with database.transaction(stranger.tenant_id) as connection:
        assert await connection.fetch("select 1 from record") == []


async def test_what_a_bridge_held_together_comes_apart_in_spite_of_a_contested_or_hot_value(
    database: Database, make_tenant: Callable[[], Any]
) -> None:
    shared = {"full_name": "Ann Lee"}
    bridge = record("bridge", **shared, email="ann@lee.org", phone="+447911123402")
    contested_pair = [
        record("1", **shared, phone="+447911123401", email="ann@lee.org", birth_date="1970-05-06"),
        record("2", **shared, phone=["+447911123401", "+447911123402"], birth_date="1999-05-06"),
    ]
    hot_pair = [
        record("1", **shared, phone="+447911123401", email="ann@lee.org"),
        record("2", **shared, phone=["+447911123401", "+447911123402"]),
    ]
    crowd = [record(f"c{number}", **shared, phone="+447911123401") for number in range(limits.HOT_LINK_RECORDS)]
    for pair, others in ((contested_pair, []), (hot_pair, crowd)):
        tenant = await make_tenant()
        held = [*pair, *others]
        await apply_records(database, tenant, SOURCE, held, now=NOW)
        await apply_records(database, tenant, SOURCE, [bridge], now=NOW)
        joined = brute_force([*held, bridge], limits.HOT_LINK_RECORDS)
        assert frozenset(("1", "2", "bridge")) in joined
        assert await partition(database, tenant, [*held, bridge]) == joined
        await delete_records(database, tenant, SOURCE, ["bridge"], now=NOW)
        apart = await partition(database, tenant, held)
        assert {frozenset(("1",)), frozenset(("2",))} <= apart
        assert apart == brute_force(held, limits.HOT_LINK_RECORDS)


async def test_the_history_is_dated_by_the_program_s_clock(database: Database, tenant: Tenant) -> None:
    left = record("1", full_name="Ann Lee", phone="+447911123401")
    right = record("2", full_name="Ann Lee", email="ann@lee.org")
    bridge = record("3", full_name="Ann Lee", phone="+447911123401", email="ann@lee.org")
    merged, gone = NOW.replace(hour=5), NOW.replace(hour=9)
    await apply_records(database, tenant, SOURCE, [left, right], now=NOW)
    await apply_records(database, tenant, SOURCE, [bridge], now=merged)
    await delete_records(database, tenant, SOURCE, ["3"], now=gone)
    async with database.transaction(tenant.tenant_id) as connection:
        rows = await connection.fetch("select was, valid_from, valid_to from record_history order by history_id")
    assert {(row["was"], row["valid_from"], row["valid_to"]) for row in rows} == {
        ("moved", NOW, merged),
        ("moved", merged, gone),
        ("deleted", merged, gone),
    }
