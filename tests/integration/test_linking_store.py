"""Persons under a model, online: whatever the order, batches, changes and deletions, they are those of the definition."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.linked_store import NOW, SOURCE, by_definition, linked_tenant, record, stored, version_of

from firstring.identity.canonical.record import CanonicalRecord
from firstring.identity.comparison import rows
from firstring.identity.persons import linking
from firstring.store.database import Database
from firstring.store.identity import linkindex, preparing
from firstring.store.identity.records import apply_records, delete_records

HOT = 4
PHONES = ["+447911123401", "+447911123402", "+447911123403"]
fields_of_one = st.fixed_dictionaries(
    {"given_name": st.sampled_from(["Ann", "Anne", "Bob"]), "family_name": st.sampled_from(["Lee", "Leigh", "Ray"])},
    optional={
        "phone": st.lists(st.sampled_from(PHONES), min_size=1, max_size=2, unique=True),
        "email": st.sampled_from(["ann@lee.org", "both@lee.org", "bob.ray@mail.org"]),
        "birth_date": st.sampled_from(["1970-05-06", "1970-05-07", "1999-05-06"]),
        "postcode": st.sampled_from(["SW1A 1AA", "M1 1AE"]),
        "suffix": st.sampled_from(["Jr", "Sr"]),
    },
)
numbers = st.integers(0, 13)
steps = st.lists(
    st.one_of(
        st.dictionaries(numbers, fields_of_one, min_size=1, max_size=8),
        # The same again and again: more copies than take part.
        st.tuples(st.lists(numbers, min_size=1, max_size=9, unique=True), fields_of_one).map(
            lambda drawn: dict.fromkeys(*drawn)
        ),
        st.lists(numbers, min_size=1, max_size=4, unique=True),
    ),
    min_size=1,
    max_size=6,
)


@settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))
@given(steps=steps, at_once=st.sampled_from([0, 1, 3]))
async def test_persons_are_those_of_the_definition_after_every_step(
    database: Database, steps: list[Any], at_once: int
) -> None:
    """at_once: as if a few records were many: read ahead in parts, forgotten soon, their patterns kept; two batches are in
    flight, and what was kept of records is often in the form of another release."""
    with pytest.MonkeyPatch.context() as patch:
        if at_once:
            for module, name in ((preparing, "_AHEAD_RECORDS"), (linkindex, "_AT_ONCE"), (linking, "_MANY_PAIRS")):
                patch.setattr(module, name, at_once)
            patch.setattr(linking, "_PAIRS_OF_A_ROW", 0)
            patch.setattr(linkindex, "_KEPT_RECORDS", 4 * at_once)
        await _persons_are_those_of_the_definition(database, steps, patch if at_once else None)


async def _persons_are_those_of_the_definition(
    database: Database, steps: list[Any], patch: pytest.MonkeyPatch | None
) -> None:
    tenant = await linked_tenant(database, block_records=HOT)
    active = await version_of(database, tenant)
    held: dict[str, CanonicalRecord] = {}
    for place, step in enumerate(steps):
        if patch is not None:
            patch.setattr(rows, "FORM", place % 2)
        if isinstance(step, dict):
            batch = [record(str(number), **fields) for number, fields in step.items()]
            halves = [batch] if patch is None else [batch[::2], batch[1::2]]
            await asyncio.gather(*(apply_records(database, tenant, SOURCE, half, now=NOW) for half in halves))
            held.update((one.record_id, one) for one in batch)
        else:
            gone = [str(number) for number in step]
            await delete_records(database, tenant, SOURCE, gone, now=NOW)
            for one in gone:
                held.pop(one, None)
        assert await stored(database, tenant, held) == by_definition(tenant, active, held)


async def test_a_person_whose_records_all_become_copies_of_others_is_not_lost(database: Database) -> None:
    """Two records of one person turn into copies that are persons of their own: one of them keeps the id."""
    own = {"given_name": "Anne", "family_name": "Lee", "birth_date": "1970-05-07", "email": "ann@lee.org"}
    copied = {"given_name": "Bob", "family_name": "Lee", "suffix": "Jr"}
    for _ in range(8):  # which of equal records come first is each tenant's own
        tenant = await linked_tenant(database, block_records=HOT)
        active = await version_of(database, tenant)
        held = {name: record(name, **own) for name in ("1", "2")}
        await apply_records(database, tenant, SOURCE, list(held.values()), now=NOW)
        copies = {str(name): record(str(name), **copied) for name in range(1, 10)}
        await apply_records(database, tenant, SOURCE, list(copies.values()), now=NOW)
        assert await stored(database, tenant, copies) == by_definition(tenant, active, copies)
