"""Records as stewards look at them: opened, with what is compared of them, and the pairs in which they meet.

What is read is bounded; a person with more records than `limits.RECORDS_EXPLAINED` is explained by that many of them.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from itertools import combinations
from typing import Any, Final, NamedTuple

import msgspec
import numpy as np

from firstring import limits
from firstring.errors import BadInput
from firstring.identity.comparison.columns import Table, compared, table_of
from firstring.identity.comparison.levels import Patterns, patterns
from firstring.identity.model.model import Scores, score
from firstring.identity.persons.blocking import link_keys
from firstring.identity.persons.linkkeys import link_keys_of
from firstring.identity.persons.meeting import suffices
from firstring.store.database import Connection, Tenant
from firstring.store.identity.models import ActiveModel
from firstring.store.identity.records import external_key
from firstring.store.queries import sql

RECORD_SEPARATOR: Final = ":"


class Looked(msgspec.Struct, frozen=True):
    """A record opened. name: the source's own id of it. values: what is compared, by column."""

    record_id: int
    person_id: int
    source: str
    name: str
    source_id: int
    external_key: bytes
    last_seen: datetime | None
    fields: dict[str, Any]
    values: dict[str, tuple[str, ...]]

    def reference(self) -> str:
        return f"{self.source}{RECORD_SEPARATOR}{self.name}"


class Meeting(NamedTuple):
    """How two records meet: the names of the keys they share, and whether one of them is a profile key."""

    keys: tuple[str, ...]
    by_profile: bool


NO_MEETING: Final = Meeting((), False)


async def records_by_id(connection: Connection, tenant: Tenant, ids: Collection[int]) -> list[Looked]:
    """These records, in order of their ids; those that are not there, or were erased, are left out."""
    rows = await connection.fetch(sql("review", "records_by_id"), tenant.tenant_id, list(ids))
    found = []
    for row in rows:
        fields = tenant.keys.open(row["wrapped_key"], row["sealed"])
        if fields is None:
            continue
        name = str(fields.pop("record_id", ""))
        found.append(
            Looked(row["record_id"], row["person_id"], row["source"], name, row["source_id"], row["external_key"],
                   row["last_seen"], fields, compared(fields))
        )  # fmt: skip
    return found


async def records_of_person(connection: Connection, tenant: Tenant, person_id: int) -> list[Looked]:
    """The records of a living person, the oldest limits.RECORDS_EXPLAINED of them."""
    bound = limits.RECORDS_EXPLAINED
    rows = await connection.fetch(sql("review", "record_ids_of_person"), tenant.tenant_id, person_id, bound)
    return await records_by_id(connection, tenant, [row["record_id"] for row in rows])


async def record_named(connection: Connection, tenant: Tenant, text: str) -> int:
    """The id of the record SOURCE:RECORD_ID. Raises BadInput unknown_record (404) or argument_invalid.

    A source's name may hold colons as an id may: the longest name that fits is tried first.
    """
    parts = text.split(RECORD_SEPARATOR)
    for cut in range(len(parts) - 1, 0, -1):
        source, name = RECORD_SEPARATOR.join(parts[:cut]), RECORD_SEPARATOR.join(parts[cut:])
        key = external_key(tenant.keys, source, name)
        found = await connection.fetchval(sql("review", "record_of_source"), tenant.tenant_id, source, key)
        if found is not None:
            return int(found)
    if len(parts) < 2:
        raise BadInput("argument_invalid", "Name a record as SOURCE:RECORD_ID.", where={"argument": text[:100]})
    raise BadInput("unknown_record", "There is no such record.", where={"record": text[:100]}, http_status=404)


async def living(connection: Connection, tenant: Tenant, person_id: int) -> int:
    """The person that this one is today. Raises BadInput unknown_person (404)."""
    found = await connection.fetchval(sql("review", "living_person"), tenant.tenant_id, person_id)
    if found is None:
        raise BadInput("unknown_person", "There is no such person.", where={"person": person_id}, http_status=404)
    return int(found)


async def person_named(connection: Connection, tenant: Tenant, text: str) -> int:
    """The living person of a number, or of the record SOURCE:RECORD_ID. Raises as record_named and living do."""
    if is_number(text):
        return await living(connection, tenant, int(text))
    rows = await connection.fetch(
        sql("review", "records_by_id"), tenant.tenant_id, [await record_named(connection, tenant, text)]
    )
    return int(rows[0]["person_id"])


def is_number(text: str) -> bool:
    """Whether a text is a person's number."""
    return text.isascii() and text.isdigit() and len(text) < 19


def meetings(
    version: ActiveModel | None, records: Sequence[Looked], some: Collection[int] | None = None
) -> dict[tuple[int, int], Meeting]:
    """Which records (by their places) share a linking key that suffices. Without a version: a key that glues.

    some: only pairs with one of these places at least.
    """
    holders: dict[tuple[str, str], list[int]] = {}
    profile: set[str] = set()
    for place, record in enumerate(records):
        if version is None:
            for text in link_keys(record.fields):
                holders.setdefault((text.split("\x1f")[1], text), []).append(place)
        else:
            for key in link_keys_of(version.model.spec, record.values, version.statistics):
                holders.setdefault((key.name, key.text), []).append(place)
                if key.profile:
                    profile.add(key.name)
    shared: dict[tuple[int, int], dict[str, None]] = {}
    for (name, _), places in holders.items():
        if len(places) < 2:
            continue
        for pair in combinations(sorted(set(places)), 2):
            if some is None or pair[0] in some or pair[1] in some:
                shared.setdefault(pair, {})[name] = None
    return {
        pair: Meeting(tuple(names), not profile.isdisjoint(names))
        for pair, names in shared.items()
        if version is None or suffices(names, version.model, *(records[place].values for place in pair))
    }


def table_with(version: ActiveModel, records: Sequence[Looked]) -> Table:
    """The records as a table, values as rare as the version knows them."""
    return table_of([record.values for record in records], version.statistics)


def scored(version: ActiveModel, table: Table, pairs: Mapping[tuple[int, int], Meeting]) -> tuple[Scores, Patterns]:
    """(scores, patterns) of pairs of rows of a table, in the order of `pairs`."""
    model = version.model
    left, right = (np.array([pair[side] for pair in pairs], np.int64) for side in (0, 1))
    found = patterns(model.comparisons(), table, left, right)
    by_profile = np.array([one.by_profile for one in pairs.values()], np.bool_)
    return score(model, found, by_profile, model.records), found
