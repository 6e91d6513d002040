"""Which segments a tenant has, and who is in them: loaded from YAML, switched off, listed.

Who is in them is worked out beside (segmentwork). Whatever is loaded gives the set a new version, which every process sees
with the next persons it looks at.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Final

import msgspec

from firstring import limits
from firstring.errors import BadInput
from firstring.identity.golden.survivorship import ATTRIBUTES
from firstring.nextbest.segments import Segment, together
from firstring.store.database import Connection, Database, Tenant
from firstring.store.queries import sql

RECORDS_LOOKED_AT: Final = 1_000
"""The newest records, among which an attribute that a condition asks for is looked for."""


class SegmentsLoaded(msgspec.Struct, frozen=True):
    """What a file came to: ids of segments by what was done. added: also those that were off. warnings: what looks like a
    mistake and may be none."""

    added: tuple[str, ...] = ()
    changed: tuple[str, ...] = ()
    unchanged: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()


class SegmentShown(msgspec.Struct, frozen=True):
    """A segment of a tenant, and how many persons are in it."""

    id: str
    title: str
    where: str
    is_on: bool
    members: int
    loaded_at: datetime
    loaded_by: str


class SegmentsView(msgspec.Struct, frozen=True):
    """evaluating: not everybody has been looked at since segments were loaded; waiting: notes of persons to be looked at."""

    segments: list[SegmentShown]
    evaluating: bool
    waiting: int


class Member(msgspec.Struct, frozen=True):
    """A person in a segment, since when."""

    person_id: int
    entered_at: datetime


class Members(msgspec.Struct, frozen=True):
    """A page of members, by person id. next: to go on after; None on the last page."""

    segment: str
    members: list[Member]
    next: int | None = None


async def load(
    database: Database, tenant: Tenant, texts: Sequence[tuple[str, str]], *, by: str, now: datetime
) -> SegmentsLoaded:
    """Loads segments out of texts (name of the file, YAML) and switches them on; all of them, or none where one is refused.

    Segments that they do not name stay as they are. Raises BadInput segment_invalid, expression_invalid, too_many_segments.
    """
    declared = together(texts)
    added: list[str] = []
    changed: list[str] = []
    unchanged: list[str] = []
    afresh = False
    async with database.transaction(tenant.tenant_id) as connection:
        await connection.execute(sql("segments", "lock"), tenant.tenant_id)
        rows = await connection.fetch(sql("segments", "declared"), tenant.tenant_id)
        on = {row["segment"]: (row["title"], row["condition"]) for row in rows if row["is_on"]}
        if len(on.keys() | {one.id for one in declared}) > limits.SEGMENTS:
            raise BadInput("too_many_segments", f"At most {limits.SEGMENTS} segments are on.", hint="Switch some off.")
        for one in declared:
            before = on.get(one.id)
            if before == (one.title, one.condition):
                unchanged.append(one.id)
                continue
            (added if before is None else changed).append(one.id)
            afresh = afresh or before is None or before[1] != one.condition
            statement = sql("segments", "put_segment")
            await connection.execute(statement, tenant.tenant_id, one.id, one.title, one.condition, now, by)
        if added or changed:
            await connection.execute(sql("segments", "new_version"), tenant.tenant_id, now, afresh)
        warnings = await _of_nobody(connection, tenant, declared)
    return SegmentsLoaded(tuple(added), tuple(changed), tuple(unchanged), warnings)


async def _of_nobody(connection: Connection, tenant: Tenant, declared: Sequence[Segment]) -> tuple[str, ...]:
    """Warnings of attributes that a condition asks for and no record has, as far as records are looked at."""
    asked = {name for one in declared for name in one.attributes}
    if not asked:
        return ()
    rows = await connection.fetch(sql("segments", "newest_records"), tenant.tenant_id, RECORDS_LOOKED_AT)
    for row in rows:
        if not asked:
            break
        fields = tenant.keys.open(row["wrapped_key"], row["sealed"]) or {}
        asked -= set(fields.get(ATTRIBUTES) or ())
    return tuple(
        f"{one.id}: none of the newest {len(rows):,} records has the attribute {name}."
        for one in declared
        for name in sorted(one.attributes & asked)
    )


async def switch_off(database: Database, tenant: Tenant, segment_id: str, *, now: datetime) -> bool:
    """Switches a segment off: everybody leaves it, in the background. False where it was off already.

    Raises BadInput unknown_segment (404).
    """
    async with database.transaction(tenant.tenant_id) as connection:
        await connection.execute(sql("segments", "lock"), tenant.tenant_id)
        if await connection.fetchval(sql("segments", "is_there"), tenant.tenant_id, segment_id) is None:
            raise unknown_segment(segment_id)
        if await connection.fetchval(sql("segments", "switch_off"), tenant.tenant_id, segment_id) is None:
            return False
        await connection.execute(sql("segments", "new_version"), tenant.tenant_id, now, False)
    return True


async def listed(database: Database, tenant: Tenant) -> SegmentsView:
    """All segments of a tenant, by id."""
    async with database.transaction(tenant.tenant_id) as connection:
        rows = await connection.fetch(sql("segments", "listed"), tenant.tenant_id)
        how_far = await connection.fetchrow(sql("segments", "how_far"), tenant.tenant_id)
    shown = [
        SegmentShown(
            row["segment"], row["title"], row["condition"], row["is_on"], row["members"], row["loaded_at"], row["loaded_by"]
        )
        for row in rows
    ]
    return SegmentsView(shown, how_far["evaluating"], how_far["waiting"])


async def members(database: Database, tenant: Tenant, segment_id: str, *, after: int = 0, at_most: int = 100) -> Members:
    """Who is in a segment, by person id. at_most: limits.SEGMENT_MEMBERS at most. Raises BadInput unknown_segment (404)."""
    assert 0 < at_most <= limits.SEGMENT_MEMBERS, "pages are bounded"
    async with database.transaction(tenant.tenant_id) as connection:
        if await connection.fetchval(sql("segments", "is_there"), tenant.tenant_id, segment_id) is None:
            raise unknown_segment(segment_id)
        rows = await connection.fetch(sql("segments", "members"), tenant.tenant_id, segment_id, after, at_most + 1)
    found = [Member(row["person_id"], row["entered_at"]) for row in rows[:at_most]]
    return Members(segment_id, found, found[-1].person_id if len(rows) > at_most else None)


def unknown_segment(segment_id: str) -> BadInput:
    return BadInput(
        "unknown_segment",
        "There is no such segment.",
        where={"segment": segment_id[:64]},
        hint="`firstring segments list` shows those that are loaded.",
        http_status=404,
    )
