"""Why records are, or are not, one person: read from a real store."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from tests.linking_rig import NOW, activated

from firstring import limits
from firstring.errors import BadInput
from firstring.identity.canonical.record import CanonicalRecord, canonical_record
from firstring.store.database import Database, Tenant
from firstring.store.identity.explaining import why_pair, why_person
from firstring.store.identity.records import apply_records

ANN = {"given_name": "Ann", "family_name": "Lee", "birth_date": "1971-06-24", "phone": "+447911123401",
       "email": "ann@lee.org", "postcode": "M1 1AE", "city": "Manchester"}  # fmt: skip


def record(name: str, **fields: Any) -> CanonicalRecord:
    return canonical_record({"record_id": name, **fields}, country="GB")


RECORDS = [
    record("1", **ANN),
    record("2", **(ANN | {"email": "ann.lee@work.org"})),
    record("3", **(ANN | {"phone": "+447911123402"})),
    record("4", **(ANN | {"given_name": "Bob", "birth_date": "1969-02-03", "email": "bob@lee.org"})),
    *(record(f"o{n}", given_name=f"Gil{chr(97 + n)}", family_name=f"Ray{chr(97 + n)}", phone=f"+4479111235{n:02d}")
      for n in range(20)),
]  # fmt: skip


async def _stored(database: Database, tenant: Tenant, *, model: bool) -> dict[str, int]:
    applied = await apply_records(database, tenant, "crm: uk", RECORDS, now=NOW)
    if model:
        await activated(database, tenant, RECORDS)
    return {one.record_id: record for one, record in zip(RECORDS, applied.record_ids, strict=True)}


async def test_two_records_under_a_model(database: Database, tenant: Tenant) -> None:
    ids = await _stored(database, tenant, model=True)
    async with database.transaction(tenant.tenant_id) as connection:
        why = await why_pair(connection, tenant, "crm: uk:1", "crm: uk:4")
        back = await why_pair(connection, tenant, "crm: uk:4", "crm: uk:1")
    assert why.pair is not None
    assert why == back, "a pair has no direction"
    assert (why.left.record_id, why.right.record_id) == tuple(sorted((ids["1"], ids["4"])))
    assert not why.together
    assert why.pair.against in ("household", "unrelated")
    assert why.pair.probability < 0.95
    assert {one.comparison for one in why.pair.fields} == {"given", "family", "birth_date", "place", "phone", "email"}
    assert "phone" in why.keys
    assert "they are two persons" in why.text
    assert msgspec.json.decode(msgspec.json.encode(why), type=type(why)) == why


async def test_a_person_under_a_model(database: Database, tenant: Tenant) -> None:
    ids = await _stored(database, tenant, model=True)
    async with database.transaction(tenant.tenant_id) as connection:
        person = await connection.fetchval("select person_id from record where record_id = $1", ids["1"])
        why = await why_person(connection, tenant, person)
        pair = await why_pair(connection, tenant, str(person), "crm: uk:4")
        with pytest.raises(BadInput) as error:
            await why_person(connection, tenant, 10**15)
    assert error.value.code == "unknown_person"
    assert error.value.status == 404
    assert {one.name for one in why.records} == {"1", "2", "3"}
    assert len(why.links) == 2
    assert why.weakest is not None
    assert why.weakest.probability == min(link.probability or 1.0 for link in why.links)
    assert why.sides is not None
    assert sorted((*why.sides[0], *why.sides[1])) == sorted(ids[name] for name in "123")
    assert any(text.startswith("the weakest link is crm: uk:") for text in why.text)
    assert {pair.left.name, pair.right.name} & {"1", "2"}, "the record that speaks most for it"


async def test_without_a_model_the_shared_keys_are_the_reason(database: Database, tenant: Tenant) -> None:
    ids = await _stored(database, tenant, model=False)
    async with database.transaction(tenant.tenant_id) as connection:
        why = await why_pair(connection, tenant, "crm: uk:1", "crm: uk:2")
        person = await why_person(connection, tenant, why.left.person_id)
    assert why.basis == person.basis == "keys"
    assert why.together
    assert why.pair is None
    assert "phone+name" in why.keys
    assert [link.probability for link in person.links] == [None] * len(person.links)
    assert why.left.record_id == ids["1"]


async def test_a_large_person_is_explained_by_a_bounded_part(
    database: Database, tenant: Tenant, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "RECORDS_EXPLAINED", 2)
    ids = await _stored(database, tenant, model=True)
    async with database.transaction(tenant.tenant_id) as connection:
        person = await connection.fetchval("select person_id from record where record_id = $1", ids["1"])
        why = await why_person(connection, tenant, person)
    assert (why.records_in_all, len(why.records)) == (3, 2)
    assert why.text[0] == "3 records, of which the first 2 are looked at"


@pytest.mark.parametrize(
    ("one", "other", "code"),
    [("crm: uk:1", "crm: uk:nobody", "unknown_record"), ("nothing", "crm: uk:1", "argument_invalid"),
     ("crm: uk:1", "crm: uk:1", "same_record"), ("999999999999", "crm: uk:1", "unknown_person")],
)  # fmt: skip
async def test_what_is_not_there_is_said(database: Database, tenant: Tenant, one: str, other: str, code: str) -> None:
    await _stored(database, tenant, model=True)
    async with database.transaction(tenant.tenant_id) as connection:
        with pytest.raises(BadInput) as error:
            await why_pair(connection, tenant, one, other)
    assert error.value.code == code


async def test_a_pair_that_shares_only_a_hot_value_says_so(database: Database, tenant: Tenant) -> None:
    crowd = [record(f"h{n}", given_name=f"Gil{n}x", family_name=f"Ray{n}y", phone="+447911123499") for n in range(55)]
    await activated(database, tenant, crowd)
    await apply_records(database, tenant, "crm", crowd, now=NOW)
    async with database.transaction(tenant.tenant_id) as connection:
        why = await why_pair(connection, tenant, "crm:h1", "crm:h2")
    assert why.keys == ("phone",)
    assert any("compared by no key" in text for text in why.text)
