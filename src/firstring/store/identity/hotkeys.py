"""Identifiers in the store that point at nobody: the busiest keys, judged by what their holders agree in.

The store holds keyed hashes: what kind an identifier is, and what it says, is seen only by opening records that carry it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import msgspec

from firstring import limits
from firstring.identity.comparison.columns import table_of
from firstring.identity.persons.blocking import identifier_keys
from firstring.identity.persons.hotvalues import Kind, agreement_of, chances, judge
from firstring.ports import Random
from firstring.store.database import Connection, Tenant
from firstring.store.identity.looking import Looked, records_by_id
from firstring.store.queries import sql


class HotKey(msgspec.Struct, frozen=True):
    """An identifier that many records carry. looked_at: how many of them were opened; people: how many of these there are
    at least. value: shown to administrators only, else "". points_at_nobody: more people share it than may."""

    key: str
    identifier: str
    records: int
    looked_at: int
    people: int
    kind: Kind
    reason: str
    points_at_nobody: bool
    value: str = ""


async def hot_keys(
    connection: Connection,
    tenant: Tenant,
    *,
    random: Random,
    at_most: int = 100,
    show_values: bool = False,
    persons_limit: Mapping[str, int] = limits.PERSONS_PER_IDENTIFIER,
) -> list[HotKey]:
    """The identifiers of the most records that many people share, or that are hot for linking; the busiest first.

    Walks through all keys once: seconds at a million records. In a transaction of the tenant.
    """
    least = min(most for most in persons_limit.values() if most > 1)
    rows = await connection.fetch(
        sql("review", "busiest_keys"), tenant.tenant_id, least, 4 * at_most, timeout=limits.REVIEW_SCAN_S
    )
    strangers = await _strangers(connection, tenant, random)
    chance = chances(table_of([record.values for record in strangers]))
    found: list[HotKey] = []
    for row in rows:
        named = _identifier(tenant, row["key"], await _carriers(connection, tenant, row["key"], 1))
        if named is None:
            continue  # a composite key: it is judged by the identifier in it
        identifier, value = named
        if row["records"] <= min(persons_limit.get(identifier, 1), limits.HOT_KEY_RECORDS):
            continue
        carriers = await _carriers(connection, tenant, row["key"], limits.CARRIERS_OPENED)
        holders = table_of([{**record.values, identifier: (value,)} for record in carriers])
        agreement, people = agreement_of(holders, identifier, value)
        most = persons_limit.get(identifier, 1)
        judged = judge(identifier, row["records"], people, agreement, chance, most, limits.HOT_KEY_RECORDS)
        if judged is not None:
            found.append(
                HotKey(row["key"].hex(), identifier, row["records"], len(carriers), people, judged[0], judged[1],
                       people > most or row["records"] > limits.HOT_KEY_RECORDS, value if show_values else "")
            )  # fmt: skip
        if len(found) == at_most:
            break
    return found


async def _strangers(connection: Connection, tenant: Tenant, random: Random) -> list[Looked]:
    ats = [random.random() for _ in range(limits.REVIEW_SEEDS)]
    rows = await connection.fetch(sql("review", "some_records"), tenant.tenant_id, ats)
    return await records_by_id(connection, tenant, [row["record_id"] for row in rows])


async def _carriers(connection: Connection, tenant: Tenant, key: bytes, at_most: int) -> list[Looked]:
    rows = await connection.fetch(sql("review", "members"), tenant.tenant_id, [key], at_most)
    return await records_by_id(connection, tenant, rows[0]["records"]) if rows else []


def _identifier(tenant: Tenant, key: bytes, carriers: Sequence[Looked]) -> tuple[str, str] | None:
    """(kind, value) of the identifier that a key is the blind index of, out of the first of its records that holds it."""
    for record in carriers[:1]:
        for one in identifier_keys(record.fields):
            if tenant.keys.blind(one.kind, one.value) == key:
                return one.kind, one.value
    return None
