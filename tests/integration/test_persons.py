"""Persons whole: now and at any past moment, with conflicts that stewards decide, and what providers append."""

from __future__ import annotations

import asyncio
import random
import secrets
from datetime import UTC, datetime, timedelta
from typing import Any

import asyncpg
import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from firstring.contact import Identifier
from firstring.errors import BadInput
from firstring.identity.canonical.record import CanonicalRecord, canonical_record
from firstring.identity.golden.record import Golden
from firstring.identity.golden.rules import DEFAULT, rules_of
from firstring.identity.golden.survivorship import profile
from firstring.store.database import Database, Tenant
from firstring.store.identity.conflicts import choices_of, note, open_conflicts, renew_choices, resolve
from firstring.store.identity.enrichment import enrich
from firstring.store.identity.persons import Person, changes, household, moment, people, person, person_at
from firstring.store.identity.records import apply_records, delete_records
from firstring.store.ring import RingStore

ANN = {"given_name": "Ann", "family_name": "Lee"}


def row(record_id: str, **fields: Any) -> CanonicalRecord:
    return canonical_record({"record_id": record_id, **fields}, country="US", findable=False)


class Store:
    """Records in, persons out; every step a moment later than the one before."""

    def __init__(self, database: Database, tenant: Tenant) -> None:
        self.database = database
        self.tenant = tenant

    async def put(self, *records: CanonicalRecord, source: str = "crm") -> datetime:
        await apply_records(self.database, self.tenant, source, records, now=datetime.now(UTC))
        return await self.later()

    async def delete(self, *ids: str, source: str = "crm") -> datetime:
        await delete_records(self.database, self.tenant, source, ids, now=datetime.now(UTC))
        return await self.later()

    async def later(self) -> datetime:
        """A moment after what was done: the database's clock and this program's are the same machine's."""
        async with self.database.transaction(self.tenant.tenant_id) as connection:
            await connection.execute("select pg_sleep(.002)")
            found: datetime = await connection.fetchval("select clock_timestamp()")
            await connection.execute("select pg_sleep(.002)")
        return found

    async def people(self) -> dict[str, int]:
        """The person of each record, by the sources' own ids."""
        async with self.database.transaction(self.tenant.tenant_id) as connection:
            rows = await connection.fetch("select person_id, wrapped_key, sealed from record")
        return {self.tenant.keys.open(one["wrapped_key"], one["sealed"])["record_id"]: one["person_id"] for one in rows}

    async def now(self, record_id: str) -> Person:
        return await person(self.database, self.tenant, (await self.people())[record_id])

    async def at(self, person_id: int, moment: datetime) -> Person:
        return await person_at(self.database, self.tenant, person_id, moment)

    async def queue(self, *record_ids: str, now: datetime | None = None) -> tuple[int, int]:
        found = {one.person_id: one for one in [await self.now(record_id) for record_id in record_ids]}
        moment = now or datetime.now(UTC)
        goldens = {person_id: one.golden(moment, DEFAULT) for person_id, one in found.items()}
        async with self.database.transaction(self.tenant.tenant_id) as connection:
            return await note(connection, self.tenant, goldens, list(found), moment)


@pytest.fixture
def store(database: Database, tenant: Tenant) -> Store:
    return Store(database, tenant)


def shown(found: Person) -> tuple[list[str], dict[str, Any]]:
    """The sources' own ids of the records, and the golden record's winners."""
    values = found.golden(datetime.now(UTC), DEFAULT).profile()
    values.pop("sources", None)
    return sorted(record.fields["record_id"] for record in found.records), values


# --- history -----------------------------------------------------------------------------------------------------


async def test_a_person_as_of_any_past_moment(store: Store) -> None:
    before = await store.later()
    first = await store.put(row("1", **ANN, email="a@lee.org", tier="gold"))
    second = await store.put(row("2", **ANN, email="b@lee.org", city="Delft"))
    one, two = [(await store.people())[record_id] for record_id in "12"]
    assert one != two
    third = await store.put(row("1", **ANN, email="a@lee.org", account="A-77", tier="vip"))
    merged = await store.put(row("2", **ANN, email="b@lee.org", account="A-77", city="Delft"))
    living = (await store.people())["1"]
    assert (await store.people())["2"] == living
    deleted = await store.delete("1")

    with pytest.raises(BadInput) as refused:
        await store.at(one, before)
    assert refused.value.code == "person_not_yet"
    with pytest.raises(BadInput) as refused:
        await store.at(10**9, second)
    assert refused.value.code == "unknown_person"
    then = await store.at(two, second)
    assert (then.person_id, shown(then)[0]) == (two, ["2"])
    assert "account" not in shown(then)[1]
    for asked in (one, two):
        then = await store.at(asked, merged)
        assert (then.asked, then.person_id) == (asked, living)
        assert len(then.gone) == 1, "that a record was there is kept, nothing of what it held"
        assert shown(then)[0] == ["2"]
    then = await store.at(living, deleted)
    assert (shown(then)[0], then.gone) == (["2"], ())
    for earlier in (first, second, third):
        then = await store.at(one, earlier)
        assert (then.person_id, then.records, len(then.gone)) == (one, (), 1)


async def test_a_changed_record_is_what_it_was(store: Store) -> None:
    moments = []
    for tier in ("bronze", "silver", "gold"):
        moments.append(await store.put(row("1", **ANN, email="a@lee.org", tier=tier)))
    moments.append(await store.put(row("1", **ANN, email="a@lee.org", tier="gold")))
    one = (await store.people())["1"]
    tiers = [shown(await store.at(one, moment))[1]["tier"] for moment in moments]
    assert tiers == ["bronze", "silver", "gold", "gold"]
    assert shown(await store.at(one, datetime.now(UTC))) == shown(await store.now("1"))


async def test_a_split_shows_who_was_together(store: Store) -> None:
    await store.put(row("1", **ANN, email="a@lee.org", account="A-1"), row("2", **ANN, email="b@lee.org", account="A-1"))
    bridged = await store.later()
    together = (await store.people())["1"]
    apart = await store.put(row("2", **ANN, email="b@lee.org"))
    people = await store.people()
    assert people["1"] != people["2"]
    assert shown(await store.at(together, bridged))[0] == ["1", "2"]
    assert shown(await store.at(people["1"], apart))[0] == ["1"]
    assert shown(await store.at(people["2"], apart))[0] == ["2"]
    [other] = {people["1"], people["2"]} - {together}
    with pytest.raises(BadInput) as refused:
        await store.at(other, bridged)
    assert refused.value.code == "person_not_yet"
    [change] = await changes(store.database, store.tenant, together)
    assert (change.kind, change.person_id, change.other_id) == ("split", together, other)


async def test_a_deleted_record_leaves_no_content_behind(store: Store, superuser: asyncpg.Connection) -> None:
    await store.put(row("1", **ANN, email="a@lee.org", birth_date="1970-05-06"))
    await store.put(row("2", **ANN, email="a@lee.org", birth_date="1970-06-05"))
    await store.put(row("1", **ANN, email="a@lee.org", birth_date="1970-05-06", tier="vip"))
    await store.queue("1")
    [found] = await open_conflicts(store.database, store.tenant, DEFAULT, datetime.now(UTC))
    await resolve(
        store.database, store.tenant, found.conflict_id, "1970-05-06", made_by="ann", reason="asked", rules=DEFAULT,
        now=datetime.now(UTC),
    )  # fmt: skip
    await enrich(store.database, store.tenant, "broker", [row("1", tier="gold")], of="crm", now=datetime.now(UTC))
    await store.delete("1")
    rows = await superuser.fetch(
        "select sealed, wrapped_key, was from firstring.record_history where tenant_id = $1 order by 3",
        store.tenant.tenant_id,
    )
    assert {one["was"] for one in rows} >= {"changed", "deleted"}
    assert all(one["sealed"] is None and one["wrapped_key"] is None for one in rows if one["was"] == "deleted")
    held = [one for one in rows if one["sealed"] is not None]
    assert all(store.tenant.keys.open(one["wrapped_key"], one["sealed"])["record_id"] == "2" for one in held)
    [decision] = await superuser.fetch(
        "select sealed, made_by from firstring.field_decision where tenant_id = $1", store.tenant.tenant_id
    )
    assert (decision["sealed"], decision["made_by"]) == (None, "ann")
    assert not await superuser.fetch("select from firstring.enrichment where tenant_id = $1", store.tenant.tenant_id)


async def test_who_shares_an_identifier(store: Store) -> None:
    await store.put(
        row("1", given_name="Ann", family_name="Lee", phone=["+12025550111"], email="home@lee.org"),
        row("2", given_name="Bob", family_name="Lee", phone=["+12025550111"], email="home@lee.org"),
        row("3", given_name="Cid", family_name="Ray", phone=["+12025550112"]),
    )
    people = await store.people()
    [other] = await household(store.database, store.tenant, await store.now("1"))
    assert (other.person_id, other.shared) == (people["2"], ("email", "phone"))
    assert await household(store.database, store.tenant, await store.now("3")) == []


# --- conflicts ---------------------------------------------------------------------------------------------------


async def test_a_steward_decides_a_conflict(store: Store, ring: RingStore) -> None:
    now = datetime.now(UTC)
    email = "a@lee.org"
    await store.put(row("1", **ANN, email=email, birth_date="1970-05-06", last_seen="2026-01-02T00:00:00Z"))
    undecided = await store.put(row("2", **ANN, email=email, birth_date="1970-06-05", last_seen="2026-01-01T00:00:00Z"))
    assert await store.queue("1", "2") == (1, 0)
    assert await store.queue("1", "2") == (0, 0), "it is queued once"
    [conflict] = await open_conflicts(store.database, store.tenant, DEFAULT, now)
    assert (conflict.field, [one.value for one in conflict.values]) == ("birth_date", ["1970-05-06", "1970-06-05"])
    assert await open_conflicts(store.database, store.tenant, DEFAULT, now, after=conflict.conflict_id) == []

    async def decide(value: str, number: int = conflict.conflict_id) -> Any:
        return await resolve(
            store.database, store.tenant, number, value, made_by="Eve", reason="passport", rules=DEFAULT,
            now=datetime.now(UTC),
        )  # fmt: skip

    for value, number, code in (("1999-01-01", conflict.conflict_id, "conflict_value_unknown"),
                                ("1970-06-05", 10**9, "unknown_conflict")):  # fmt: skip
        with pytest.raises(BadInput) as refused:
            await decide(value, number)
        assert refused.value.code == code
    decided = await decide("1970-06-05")
    assert (decided.field, decided.source) == ("birth_date", "crm")
    with pytest.raises(BadInput) as refused:
        await decide("1970-06-05")
    assert (refused.value.code, refused.value.status) == ("conflict_closed", 409)
    assert await open_conflicts(store.database, store.tenant, DEFAULT, now) == []
    [chosen] = await choices_of(store.database, store.tenant, await store.now("1"))
    assert (chosen.made_by, chosen.reason, chosen.field, chosen.revoked_at) == ("Eve", "passport", "birth_date", None)
    field = (await store.now("1")).golden(now, DEFAULT).fields["birth_date"]
    assert (field.values[0].value, field.values[0].rule, field.conflict) == ("1970-06-05", "steward", False)

    read = await ring.read(store.tenant, [Identifier("email", email)], None)
    assert profile(read.records, now=now)["birth_date"] == "1970-06-05", "who answers the call sees it"
    people = await store.people()
    past = (await store.at(people["1"], undecided)).golden(now, DEFAULT).fields["birth_date"]
    assert (past.values[0].value, past.conflict) == ("1970-05-06", True), "nobody had chosen yet"

    await store.put(row("2", **ANN, email=email, birth_date="1970-06-05", tier="vip"))
    assert (await store.now("1")).golden(now, DEFAULT).fields["birth_date"].values[0].rule == "steward"
    await store.put(row("2", **ANN, email=email, birth_date="1970-05-06"))
    changed = (await store.now("1")).golden(now, DEFAULT).fields["birth_date"]
    assert changed.values[0].rule == "only", "the choice fell with the value it was made of"
    await store.delete("2")
    await store.put(row("2", **ANN, email=email, birth_date="1970-06-05"))
    record_ids = [one.record_id for one in (await store.now("1")).records]
    async with store.database.transaction(store.tenant.tenant_id) as connection:
        assert await renew_choices(connection, store.tenant, record_ids) == 1
        assert await renew_choices(connection, store.tenant, record_ids) == 0
    assert (await store.now("1")).golden(now, DEFAULT).fields["birth_date"].values[0].rule == "steward"


async def test_a_conflict_that_is_no_more_is_closed(store: Store) -> None:
    await store.put(row("1", **ANN, email="a@lee.org", birth_date="1970-05-06"))
    await store.put(row("2", **ANN, email="a@lee.org", birth_date="1970-06-05"))
    assert await store.queue("1") == (1, 0)
    await store.put(row("2", **ANN, email="a@lee.org", birth_date="1970-05-06"))
    assert await open_conflicts(store.database, store.tenant, DEFAULT, datetime.now(UTC)) == []
    assert await store.queue("1") == (0, 1)


# --- enrichment --------------------------------------------------------------------------------------------------


async def test_a_provider_appends_and_never_wins(store: Store, ring: RingStore) -> None:
    now = datetime.now(UTC)
    seen = (now - timedelta(days=100)).isoformat()
    await store.put(row("1", **ANN, phone=["+12025550121"], tier="gold", last_seen=seen))
    bought = row("1", tier="platinum", language="en", phone=["+12025550199"], income="high", last_seen=now.isoformat())
    result = await enrich(store.database, store.tenant, "broker", [bought, row("9", tier="x")], of="crm", now=now)
    assert (result.added, result.changed, result.unchanged, result.unmatched) == (1, 0, 0, (1,))
    made = (await store.now("1")).golden(now, DEFAULT)
    assert (made.fields["tier"].values[0].value, made.fields["tier"].values[0].rule) == ("gold", "first_party")
    assert made.fields["tier"].losers[0].said_by[0].source == "broker"
    language = made.fields["language"].values[0]
    assert (language.value, language.said_by[0].source, language.said_by[0].enriched) == ("en", "broker", True)
    assert language.confidence < 0.61, "a provider's word counts for less"
    assert [one.value for one in made.fields["phone"].values] == ["+12025550121", "+12025550199"]
    wins = rules_of({"fields": {"tier": {"order": ["newest"]}}})
    assert (await store.now("1")).golden(now, wins).fields["tier"].values[0].value == "platinum"

    read = await ring.read(store.tenant, [Identifier("phone", "+12025550121")], None)
    assert [one.source for one in read.enrichments] == ["broker"]
    assert [one.source for one in read.records] == ["crm"]
    together = profile([*read.records, *read.enrichments], now=now)
    assert (together["tier"], together["language"], together["attributes"]) == ("gold", "en", {"income": "high"})
    assert not (await ring.read(store.tenant, [Identifier("phone", "+12025550199")], None)).records, "it finds nobody"

    again = await enrich(store.database, store.tenant, "broker", [bought], of="crm", now=now)
    assert (again.added, again.changed, again.unchanged) == (0, 0, 1)
    other = await enrich(store.database, store.tenant, "broker", [row("1", language="nl")], of="crm", now=now)
    assert (other.added, other.changed, other.unchanged) == (0, 1, 0)
    await store.delete("1")
    await store.put(row("1", **ANN, phone=["+12025550121"]))
    assert (await store.now("1")).enrichments == (), "it went with its record"


async def test_a_provider_is_matched_by_identifiers_of_one_person(store: Store) -> None:
    now = datetime.now(UTC)
    await store.put(
        row("1", given_name="Ann", family_name="Lee", phone=["+12025550131"], email="ann@lee.org"),
        row("2", given_name="Bob", family_name="Lee", phone=["+12025550131"]),
    )
    rows = [row("x", phone=["+12025550131"], tier="a"), row("y", phone=["+12025550131"], email="ann@lee.org", tier="b")]
    result = await enrich(store.database, store.tenant, "broker", rows, now=now)
    assert (result.added, result.unmatched) == (1, (0,)), "two people carry that number"
    assert (await store.now("1")).golden(now, DEFAULT).fields["tier"].values[0].value == "b"
    assert "tier" not in (await store.now("2")).golden(now, DEFAULT).fields


async def test_a_source_is_ones_own_or_a_providers(store: Store) -> None:
    now = datetime.now(UTC)
    await store.put(row("1", **ANN, phone=["+12025550141"]))
    with pytest.raises(BadInput) as refused:
        await enrich(store.database, store.tenant, "crm", [row("1", tier="x")], of="crm", now=now)
    assert refused.value.code == "source_is_first_party"
    with pytest.raises(BadInput) as refused:
        await enrich(store.database, store.tenant, "broker", [row("1", tier="x")], of="none", now=now)
    assert refused.value.code == "unknown_source"


# --- any order ---------------------------------------------------------------------------------------------------

NOW = datetime(2026, 11, 1, tzinfo=UTC)
values = st.fixed_dictionaries(
    {"given_name": st.sampled_from(["Ann", "ANN", "Bob"]), "account": st.sampled_from(["A-1", "A-2"])},
    optional={
        "tier": st.sampled_from(["vip", "gold"]),
        "city": st.sampled_from(["Delft", "Gouda"]),
        "email": st.sampled_from(["a@lee.org", "b@lee.org"]),
        "last_seen": st.sampled_from(["2026-01-01T00:00:00Z", "2025-01-01T00:00:00Z"]),
    },
)


def comparable(made: Golden) -> Any:
    """A golden record without the store's numbers."""
    plain = msgspec.to_builtins(made)
    for field in (*plain["fields"].values(), *plain["attributes"].values()):
        for one in (*field["values"], *field.get("losers", ())):
            one["said_by"] = [(said["source"], said["own_id"]) for said in one["said_by"]]
    return plain


async def goldens(database: Database, tenant: Tenant) -> Any:
    """Every person's golden record, by the sources' own ids of their records."""
    async with database.transaction(tenant.tenant_id) as connection:
        ids = [row["person_id"] for row in await connection.fetch("select distinct person_id from record")]
        found = await people(connection, tenant, ids)
    return {
        frozenset((one.source, one.fields["record_id"]) for one in of.records): comparable(of.golden(NOW, DEFAULT))
        for of in found.values()
    }


@settings(max_examples=12, deadline=None, suppress_health_check=list(HealthCheck))
@given(said=st.lists(values, min_size=2, max_size=8), order=st.randoms(use_true_random=False), at_once=st.booleans())
async def test_golden_records_do_not_depend_on_order_batches_or_concurrency(
    database: Database, said: list[dict[str, Any]], order: random.Random, at_once: bool
) -> None:
    records = [
        ("crm" if number % 2 else "shop", row(str(number), family_name="Lee", **one)) for number, one in enumerate(said)
    ]

    async def stored(batches: list[list[tuple[str, CanonicalRecord]]], concurrently: bool) -> Any:
        tenant = await database.add_tenant(f"t-{secrets.token_hex(6)}", NOW)
        assert tenant is not None

        async def put(batch: list[tuple[str, CanonicalRecord]]) -> None:
            for source in ("crm", "shop"):
                of_source = [record for its, record in batch if its == source]
                await apply_records(database, tenant, source, of_source, now=NOW)

        if concurrently:
            await asyncio.gather(*map(put, batches))
        else:
            for batch in batches:
                await put(batch)
        return await goldens(database, tenant)

    shuffled = list(records)
    order.shuffle(shuffled)
    cut = order.randint(0, len(shuffled))
    assert await stored([[one] for one in shuffled], at_once) == await stored([shuffled[:cut], shuffled[cut:]], False)
    assert await stored([records], False) == await stored([[one] for one in shuffled], True)


@pytest.mark.parametrize(
    ("text", "iso"),
    [
        ("2026-03-01", "2026-03-01T00:00:00+00:00"),
        ("2026-03-01T12:00:00.5Z", "2026-03-01T12:00:00.500000+00:00"),
        ("2026-03-01T12:00:00+02:00", "2026-03-01T10:00:00+00:00"),
        (" 2026-03-01 12:00 UTC", "2026-03-01T12:00:00+00:00"),
        ("0001-01-01T00:00:00+14:00", None),
        ("2026-13-01", None),
        ("x" * 100, None),
    ],
)
def test_moments_as_people_write_them(text: str, iso: str | None) -> None:
    if iso is not None:
        assert moment(text).isoformat() == iso
    else:
        with pytest.raises(BadInput) as refused:
            moment(text)
        assert refused.value.code == "time_invalid"
