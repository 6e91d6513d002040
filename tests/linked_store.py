"""A tenant linked by a model made by hand, and what its persons should be: the definition over all records at once."""

from __future__ import annotations

import secrets
from collections import Counter
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import Any, NamedTuple

import msgspec
from tests.linking_rig import model_by_hand

from firstring.identity.canonical.record import CanonicalRecord, canonical_record
from firstring.identity.comparison.columns import COLUMNS, compared, table_of
from firstring.identity.comparison.spec import PERSON
from firstring.identity.persons.linking import COPIES, Entry, content_of, link
from firstring.identity.persons.linkkeys import link_keys_of, tags
from firstring.store.database import Database, Tenant
from firstring.store.identity.models import ActiveModel, active_model, add_model, set_state, statistics_key
from firstring.store.identity.records import external_key

NOW = datetime(2026, 11, 1, tzinfo=UTC)
SOURCE = "crm"
THRESHOLD = 0.9


def record(record_id: str, **fields: Any) -> CanonicalRecord:
    return canonical_record({"record_id": record_id, **fields}, country="GB")


async def linked_tenant(
    database: Database, *, block_records: int = 50, records: int = 10_000, sample: Iterable[CanonicalRecord] = ()
) -> Tenant:
    """A new tenant with an active model. sample: records whose values its statistics know."""
    tenant = await database.add_tenant(f"t-{secrets.token_hex(6)}", NOW)
    assert tenant is not None
    fewer = max(2, block_records // 2)  # a bound of its own, lower than the others', for one key
    keys = tuple(
        msgspec.structs.replace(key, block_records=fewer if key.name == "name_sound+city" else 0) for key in PERSON.keys
    )
    model = model_by_hand(msgspec.structs.replace(PERSON, keys=keys, block_records=block_records), records=records)
    rows = [compared(one.fields) for one in sample] or [{"city": ("nowhere",)}]
    statistics = table_of(rows).frozen(COLUMNS, statistics_key(tenant.keys, model.version))
    async with database.transaction(tenant.tenant_id) as connection:
        model_id = await add_model(connection, tenant, model, statistics, THRESHOLD, trained_at=NOW)
        await set_state(connection, tenant, model_id, "active", now=NOW)
    return tenant


async def version_of(database: Database, tenant: Tenant) -> ActiveModel:
    async with database.transaction(tenant.tenant_id) as connection:
        found = await active_model(connection, tenant)
    assert found is not None
    return found


class Expected(NamedTuple):
    """Persons and components as sets of names (source, record id), and pairs of names of persons that are held apart."""

    persons: set[frozenset[str]]
    components: set[frozenset[str]]
    held: set[frozenset[frozenset[str]]]


def by_definition(
    tenant: Tenant,
    active: ActiveModel,
    held: Mapping[str, CanonicalRecord],
    decisions: Iterable[tuple[str, str, str]] = (),
) -> Expected:
    """Everything at once: no store, no locality. decisions: (kind, name, name)."""
    decisions = list(decisions)
    names = sorted(held)
    number = {name: place for place, name in enumerate(names)}
    outer = {name: external_key(tenant.keys, SOURCE, name) for name in names}
    values = {name: compared(held[name].fields) for name in names}
    content = {name: content_of(values[name]) for name in names}
    decided = {name for _, *pair in decisions for name in pair}
    spec = active.model.spec
    keys = {
        name: [bytes([key.tag]) + key.text.encode() for key in link_keys_of(spec, values[name], active.statistics)]
        for name in names
    }
    groups: dict[bytes, list[str]] = {}
    for name in sorted(names, key=lambda one: outer[one]):
        groups.setdefault(content[name], []).append(name)
    taking_part = {
        name for group in groups.values() for place, name in enumerate(group)
        if place < COPIES or name in decided or not keys[name]
    }  # fmt: skip
    counts = Counter(key for name in taking_part for key in keys[name])
    most = {tag: spec.most(key) for key, tag in zip(spec.linking, tags(spec).values(), strict=True)}
    hot = {key for key, count in counts.items() if count > most[key[0]]}
    entries = {number[name]: Entry(content[name], outer[name], values[name], keys[name]) for name in taking_part}
    must, cannot = (
        [(number[one], number[other]) for kind, one, other in decisions if kind == wanted and {one, other} <= held.keys()]
        for wanted in ("must", "cannot")
    )
    linked = link(entries, hot, active, must=must, cannot=cannot)
    persons = [{names[row] for row in person} for person in linked.persons]
    person_of = {name: person for person in persons for name in person}
    for group in groups.values():
        for name in group:
            if name not in taking_part:
                if group[1] in person_of[group[0]]:
                    person_of[group[0]].add(name)
                else:
                    persons.append({name})
    frozen = set(map(frozenset, persons))
    return Expected(
        frozen,
        {frozenset(names[row] for row in component) for component in linked.components},
        {frozenset(person for person in frozen if {names[one], names[other]} & person) for one, other, _, _ in linked.held},
    )


async def stored(database: Database, tenant: Tenant, names: Iterable[str], *, whole: bool = True) -> Expected:
    """What the database holds, and that its persons, keys and copies hang together.

    whole: not while records come to the persons of another version: their keys follow later.
    """
    name = {external_key(tenant.keys, SOURCE, one): one for one in names}
    async with database.transaction(tenant.tenant_id) as connection:
        rows = await connection.fetch("select *, keys || link_keys as all from record")
        persons = await connection.fetch("select person_id, merged_into, component_id from person")
        keys = await connection.fetch("select key, record_id from record_key")
        held = await connection.fetch("select left_person, right_person from held_merge")
    redirects = {row["person_id"]: row["merged_into"] for row in persons}
    living = {person for person, target in redirects.items() if target is None}
    assert {row["person_id"] for row in rows} <= living
    assert all(target in living for target in redirects.values() if target is not None), "chains are compressed"
    if whole:
        assert {(row["key"], row["record_id"]) for row in keys} == {
            (key, row["record_id"]) for row in rows for key in row["all"]
        }
    groups: dict[int, set[str]] = {}
    inside: dict[int, set[str]] = {}
    component_of = {row["person_id"]: row["component_id"] for row in persons}
    for row in rows:
        person = row["person_id"]
        groups.setdefault(person, set()).add(name[row["external_key"]])
        if not row["is_copy"]:
            inside.setdefault(component_of[person] or person, set()).add(name[row["external_key"]])
    return Expected(
        set(map(frozenset, groups.values())),
        set(map(frozenset, inside.values())),
        {frozenset((frozenset(groups[row["left_person"]]), frozenset(groups[row["right_person"]]))) for row in held},
    )
