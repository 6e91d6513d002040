"""Where events come in: the record of their user, else that of the single person behind their strongest identifier."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any, NamedTuple

from firstring import limits
from firstring.contact import Identifier
from firstring.store.database import Connection, Tenant
from firstring.store.identity.records import external_key
from firstring.store.journey.planned import OF_THE_VISITOR, Planned
from firstring.store.queries import sql


class Placed(NamedTuple):
    """Where events come in: the record id, or the external key of a record that has to be made, and of which event.

    named: events without a user's id that were placed by an identifier of a person, not of a visitor."""

    record_of: dict[bytes, int | bytes]
    missing: dict[bytes, tuple[Planned, Identifier | None]]
    named: set[bytes]


async def place(
    connection: Connection, tenant: Tenant, source: str, plans: Sequence[Planned], known_records: Mapping[bytes, int]
) -> Placed:
    unplaced = [one for one in plans if one.message_key not in known_records]
    keys = list({key for one in unplaced if one.user is None for key, _ in one.identifiers})
    behind = {}
    if keys:
        rows = await connection.fetch(sql("events", "behind"), tenant.tenant_id, keys, limits.HOT_KEY_RECORDS)
        behind = {row["key"]: row for row in rows}
    record_of_message: dict[bytes, int | bytes] = dict(known_records)
    wanted: dict[bytes, tuple[Planned, Identifier | None]] = {}
    own: dict[bytes, bytes] = {}
    named: set[bytes] = set()
    for one in unplaced:
        if one.user is not None:
            external = one.user
            wanted.setdefault(external, (one, None))
        else:
            key, identifier = _strongest(one, behind)
            if identifier.kind not in OF_THE_VISITOR:
                named.add(one.message_key)
            held = behind.get(key)
            if held is not None and held["persons"] == 1 and held["records"] <= limits.HOT_KEY_RECORDS:
                record_of_message[one.message_key] = held["record_id"]
                continue
            if key not in own:
                own[key] = external_key(tenant.keys, source, own_name(identifier))
            external = own[key]
            wanted.setdefault(external, (one, identifier))
        record_of_message[one.message_key] = external
    if wanted:
        rows = await connection.fetch(sql("events", "records_of_users"), tenant.tenant_id, source, list(wanted))
        known = {row["external_key"]: row["record_id"] for row in rows}
        leads = await _leads(connection, tenant, wanted.keys() - known.keys(), wanted)
        for message, target in record_of_message.items():
            if isinstance(target, bytes):
                record_of_message[message] = leads.get(target, target)
        wanted = {external: one for external, one in wanted.items() if external not in leads}
        for message, target in record_of_message.items():
            if isinstance(target, bytes) and target in known:
                record_of_message[message] = known[target]
        wanted = {external: one for external, one in wanted.items() if external not in known}
    return Placed(record_of_message, wanted, named)


async def _leads(
    connection: Connection, tenant: Tenant, missing: Collection[bytes], wanted: Collection[bytes]
) -> dict[bytes, bytes]:
    """Of users without a record those who are other names of a user whose record is about to be made."""
    if not missing:
        return {}
    rows = await connection.fetch(sql("events", "aliases"), tenant.tenant_id, list(missing))
    return {row["from_key"]: row["to_key"] for row in rows if row["to_key"] in wanted}


def _strongest(one: Planned, behind: dict[bytes, Any]) -> tuple[bytes, Identifier]:
    """The strongest identifier that is not hot; the strongest of all when every one is."""
    for key, identifier in one.identifiers:
        if key not in behind or behind[key]["records"] <= limits.HOT_KEY_RECORDS:
            return key, identifier
    return one.identifiers[0]


def own_name(identifier: Identifier) -> str:
    return f"{identifier.kind}:{identifier.value}"
