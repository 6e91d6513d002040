"""Records come to the persons of the version that came into force last, region by region.

Rolling in (bulk/versions/rollin) links all records and keeps what comes of it. From the switch on the version decides, but a
record whose region is not settled still has the person, the keys and the place among its copies of before. Whoever
changes records settles first what the change may reach; the rest is settled in the background (bulk/versions/switch).
A region holds whole components and all copies of a content; regions that share a person are settled together.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import datetime
from itertools import count
from typing import Any

from firstring.identity.persons.clusters import assign
from firstring.identity.persons.linking import COPIES
from firstring.store.database import Connection, Tenant
from firstring.store.identity.linkindex import COPY_KEY_BYTES, LINK_KEY_BYTES, after, parts_of
from firstring.store.identity.linkwrite import note_persons
from firstring.store.queries import sql

_STATEMENT_S = 300.0


async def settle(connection: Connection, tenant: Tenant, version: str, records: Collection[int], now: datetime) -> int:
    """Settles the regions of these records; how many records these are. Under the applier's lock."""
    regions: set[int] = set()
    seeds: Collection[int] = records
    whole: set[int] = set()
    while seeds:
        rows = await connection.fetch(sql("models", "regions_of"), tenant.tenant_id, list(seeds))
        new = {row[0] for row in rows} - regions
        regions |= new
        seeds = []
        if new:
            seeds = [row[0] for row in await connection.fetch(sql("models", "region_records"), tenant.tenant_id, list(new))]
            whole.update(seeds)
    if regions:
        await _set_keys(connection, tenant, whole)
        await _set_persons(connection, tenant, version, whole, now)
        await connection.execute(sql("models", "set_settled"), tenant.tenant_id, list(regions), timeout=_STATEMENT_S)
    return len(whole)


async def settle_around(
    connection: Connection,
    tenant: Tenant,
    version: str,
    keys: Iterable[bytes],
    external_keys: Iterable[bytes],
    records: Collection[int],
    most: Sequence[int],
    now: datetime,
) -> None:
    """Settles what a change may reach.

    keys: linking keys and copy keys under the version, of what comes; external_keys: of what comes; records: those that
    change, go, or are decided about; most: by tag, how many records carry a key that is not hot.
    """
    await settle(connection, tenant, version, records, now)
    parts = await parts_of(connection, tenant, records)
    carried = {*keys, *(key for part in parts.values() for key in part.link_keys)}
    near = await _same_content(connection, tenant, carried, len(records))
    await settle(connection, tenant, version, near, now)
    parts |= await parts_of(connection, tenant, near - parts.keys())
    carried.update(key for part in parts.values() for key in part.link_keys)
    linking = [key for key in carried if len(key) == LINK_KEY_BYTES]
    rows = await connection.fetch(sql("linking", "met"), tenant.tenant_id, linking, list(most), 1 + len(parts))
    reached = {record for row in rows for record in row["records"] or ()}
    named = [*external_keys, *(part.external_key for part in parts.values())]
    for row in await connection.fetch(sql("linking", "decisions_among"), tenant.tenant_id, named):
        reached |= {row["left_record"], row["right_record"]} - {None}
    await settle(connection, tenant, version, reached - parts.keys(), now)


async def _same_content(connection: Connection, tenant: Tenant, keys: Collection[bytes], changing: int) -> set[int]:
    """Of the contents of these copy keys, the records that come first: their regions hold all others."""
    contents = list({key[:LINK_KEY_BYTES] for key in keys if len(key) == COPY_KEY_BYTES})
    if not contents:
        return set()
    places = list(range(len(contents)))
    bounds = [COPIES + 1 + changing] * len(contents)
    ends = [*map(after, contents)]
    rows = await connection.fetch(sql("linking", "copies"), tenant.tenant_id, places, contents, ends, bounds)
    return {row["record_id"] for row in rows}


async def _set_keys(connection: Connection, tenant: Tenant, records: Collection[int]) -> None:
    """Gives records their keys under the version, and takes those of before. Looked up they have been since the switch."""
    rows = await connection.fetch(sql("models", "rolled_keys_among"), tenant.tenant_id, list(records))
    if rows:
        await set_keys(connection, tenant, [row[0] for row in rows])


async def set_keys(connection: Connection, tenant: Tenant, records: Collection[int]) -> None:
    """Gives records the keys that were kept for them when all were linked."""
    for name in ("drop_other_keys", "add_new_keys", "set_new_keys", "drop_rolled_keys"):
        await connection.execute(sql("models", name), tenant.tenant_id, list(records), timeout=_STATEMENT_S)


async def _set_persons(
    connection: Connection, tenant: Tenant, version: str, records: Collection[int], now: datetime
) -> None:
    """Moves all records of the persons of these to the persons that the version makes; with components, held merges."""
    rows = await connection.fetch(sql("models", "unsettled"), tenant.tenant_id, list(records), timeout=_STATEMENT_S)
    seen = [row for row in rows if row["first_id"] is not None]
    current = {row["record_id"]: row["person_id"] for row in seen}
    parts: dict[int, list[int]] = {}
    for row in seen:
        parts.setdefault(row["first_id"], []).append(row["record_id"])
    placeholders = count(-1, -1)
    assignment = assign([frozenset(part) for part in parts.values()], current, lambda: next(placeholders))
    name = await _made(connection, tenant, -next(placeholders) - 1, now)
    person_of = {record: name.get(person, person) for record, person in assignment.person_of.items()}
    redirects = {gone: name.get(person, person) for gone, person in assignment.redirects.items()}
    splits = [(split.kept, name.get(split.person, split.person)) for split in assignment.splits]
    moved = {record: person for record, person in person_of.items() if current[record] != person}
    unseen = {row["record_id"]: row["person_id"] for row in rows if row["first_id"] is None}
    if unseen:
        followers = {row["record_id"] for row in seen if row["is_copy"]}
        for record, kept in (await _unseen(connection, tenant, unseen, redirects, person_of, followers, now)).items():
            moved[record] = kept
            if unseen[record] not in redirects:
                splits.append((unseen[record], kept))
    await note_persons(connection, tenant, moved, redirects, splits, f"model {version}", now)
    persons = {*current.values(), *unseen.values(), *person_of.values(), *moved.values()}
    await _set_components(connection, tenant, seen, person_of, persons)
    await connection.execute(sql("linking", "drop_held"), tenant.tenant_id, list(persons), timeout=_STATEMENT_S)
    await connection.execute(sql("models", "keep_held"), tenant.tenant_id, list(current), now, timeout=_STATEMENT_S)


async def _made(connection: Connection, tenant: Tenant, persons: int, now: datetime) -> dict[int, int]:
    """So many new persons: -1, -2 and so on -> id."""
    if not persons:
        return {}
    rows = await connection.fetch(sql("records", "new_persons"), tenant.tenant_id, persons, now)
    return dict(zip(range(-1, -persons - 1, -1), sorted(row[0] for row in rows), strict=True))


async def _unseen(
    connection: Connection,
    tenant: Tenant,
    unseen: Mapping[int, int],
    redirects: Mapping[int, int],
    person_of: Mapping[int, int],
    followers: Collection[int],
    now: datetime,
) -> dict[int, int]:
    """Records that the version has not seen and that change their person: record -> person.

    They stay with what most of their person becomes, until they are linked; but not with a record that follows as a copy
    and is a person of its own, which nothing but its first copies can move.
    """
    alone = {person_of[record] for record in followers} - {
        person for record, person in person_of.items() if record not in followers
    }
    kept = {record: redirects.get(before, before) for record, before in unseen.items()}
    homeless = [record for record, person in kept.items() if person in alone]
    made = await _made(connection, tenant, len(homeless), now)
    kept |= {record: made[-place] for place, record in enumerate(homeless, 1)}
    return {record: person for record, person in kept.items() if unseen[record] != person}


async def _set_components(
    connection: Connection, tenant: Tenant, seen: Sequence[Any], person_of: Mapping[int, int], persons: Collection[int]
) -> None:
    """Gives persons their components: the smallest of several persons, none of one alone, or of records that only follow."""
    inside: dict[int, set[int]] = {}
    for row in seen:
        if not row["is_copy"]:
            inside.setdefault(row["component_id"], set()).add(person_of[row["record_id"]])
    wanted: dict[int, int | None] = dict.fromkeys(persons)
    for several in inside.values():
        if len(several) > 1:
            wanted |= dict.fromkeys(several, min(several))
    rows = await connection.fetch(sql("models", "components_of"), tenant.tenant_id, list(persons))
    stale = ({row["component_id"] for row in rows} | {*wanted.values()}) - {None}
    if stale:
        await connection.execute(sql("models", "clear_components"), tenant.tenant_id, list(stale), list(persons))
    change = {row["person_id"]: wanted[row["person_id"]] for row in rows if row["component_id"] != wanted[row["person_id"]]}
    if change:
        await connection.execute(sql("linking", "set_components"), tenant.tenant_id, list(change), list(change.values()))
