"""Writing what linking came to: records that moved, redirects, history, components, held merges."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from typing import NamedTuple

from firstring.identity.comparison.rows import Row
from firstring.identity.persons.linkkeys import Values
from firstring.store.database import Connection, Tenant
from firstring.store.identity.linkindex import LinkState, Opened, Part
from firstring.store.identity.models import ActiveModel
from firstring.store.queries import sql


class Arrival(NamedTuple):
    """A record as it will be: new, or changed. row: of its values, where they are a row whatever the version knows."""

    external_key: bytes
    content_key: bytes
    values: Values
    state: LinkState
    row: Row | None = None


class Relinked(NamedTuple):
    """What a change comes to; nothing of it is written yet, but for the new persons.

    person_of: of arrivals and of all records reached; current: of those that were there, before. link_keys: of arrivals,
    with whether they follow as copies. rekeyed: records in the store that gain or lose their keys. components: person ->
    component, where that changes. held: (left, right, guard, log-odds). persons: whose held merges are told anew.
    """

    person_of: dict[int, int]
    current: dict[int, int]
    redirects: dict[int, int]
    splits: list[tuple[int, int]]
    link_keys: dict[int, tuple[list[bytes], bool]]
    rekeyed: dict[int, tuple[Part, list[bytes], bool]]
    components: dict[int, int | None]
    held: list[tuple[int, int, str, float]]
    persons: list[int]


async def write_relinked(
    connection: Connection, tenant: Tenant, relinked: Relinked, written: Collection[int], cause: str, now: datetime
) -> tuple[int, int]:
    """Writes the persons after a change. written: records that are stored with theirs; (persons merged, persons split)."""
    if relinked.rekeyed:
        await _rekey(connection, tenant, relinked.rekeyed)
    current = relinked.current
    moved = {
        record: person
        for record, person in relinked.person_of.items()
        if record not in written and current.get(record) != person
    }
    await note_persons(connection, tenant, moved, relinked.redirects, relinked.splits, cause, now)
    if relinked.components:
        persons, components = zip(*sorted(relinked.components.items()), strict=True)
        await connection.execute(sql("linking", "set_components"), tenant.tenant_id, persons, components)
    if relinked.persons:
        await _hold(connection, tenant, relinked, now)
    return len(relinked.redirects), len(relinked.splits)


async def note_persons(
    connection: Connection,
    tenant: Tenant,
    moved: Mapping[int, int],
    redirects: Mapping[int, int],
    splits: Sequence[tuple[int, int]],
    cause: str,
    now: datetime,
) -> None:
    """Moves records (record -> person), redirects persons that are no more, keeps the history. splits: (kept, person)."""
    if moved:
        await connection.execute(sql("records", "move_records"), tenant.tenant_id, list(moved), list(moved.values()))
    if redirects:
        await connection.execute(sql("records", "redirect"), tenant.tenant_id, list(redirects), list(redirects.values()))
    history = [("merged", person, gone) for gone, person in redirects.items()]
    history += [("split", kept, person) for kept, person in splits]
    if history:
        kinds, stays, others = zip(*history, strict=True)
        await connection.execute(sql("records", "note_change"), tenant.tenant_id, kinds, stays, others, cause, now)


def remember(tenant: Tenant, active: ActiveModel, arrivals: Mapping[int, Arrival]) -> None:
    """Keeps what records hold that were just written: their neighbours may come next. Wrong ones are never found."""
    note = Opened.of(tenant, active).note
    for record, one in arrivals.items():
        note(record, one.content_key, one.external_key, one.state.content)


def stand(active: ActiveModel, arrivals: Collection[Arrival]) -> None:
    """Puts up what records hold that come."""
    active.shelf.put_rows([(one.state.content, one.row) for one in arrivals if one.row is not None])
    for one in arrivals:
        if one.row is None:
            active.shelf.put(one.state.content, one.values)


async def _rekey(connection: Connection, tenant: Tenant, rekeyed: Mapping[int, tuple[Part, list[bytes], bool]]) -> None:
    """Gives records that are there their other linking keys."""
    drop = [(record, key) for record, (part, keys, _) in rekeyed.items() for key in set(part.link_keys) - set(keys)]
    add = [(record, key) for record, (part, keys, _) in rekeyed.items() for key in set(keys) - set(part.link_keys)]
    for name, pairs in (("drop_keys", drop), ("add_keys", add)):
        if pairs:
            records, keys = zip(*pairs, strict=True)
            await connection.execute(sql("linking", name), tenant.tenant_id, records, keys)
    whole = [(record, key) for record, (_, keys, _) in rekeyed.items() for key in keys]
    records, keys = zip(*whole, strict=True)
    copies = [follows for _, _, follows in rekeyed.values()]
    await connection.execute(sql("linking", "rekey"), tenant.tenant_id, list(rekeyed), records, keys, copies)


async def _hold(connection: Connection, tenant: Tenant, relinked: Relinked, now: datetime) -> None:
    """Replaces the held merges of the persons that were linked anew."""
    await connection.execute(sql("linking", "drop_held"), tenant.tenant_id, relinked.persons)
    best: dict[tuple[int, int], tuple[float, str]] = {}
    for one, other, code, odds in relinked.held:
        pair = (min(one, other), max(one, other))
        best[pair] = max(best.get(pair, (-math.inf, "")), (odds, code))
    if best:
        left, right = zip(*best, strict=True)
        probabilities = [1.0 / (1.0 + math.exp(-min(max(one, -700.0), 700.0))) for one, _ in best.values()]
        codes = [code for _, code in best.values()]
        statement = sql("linking", "add_held")
        await connection.execute(statement, tenant.tenant_id, left, right, codes, probabilities, now)
