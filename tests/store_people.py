"""Generated people as records of a store, for tests of training and of rolling a version in."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from functools import cache

from firstring.bench.people import SOURCES, population
from firstring.errors import BadInput
from firstring.identity.canonical.record import CanonicalRecord, canonical_record
from firstring.store.database import Database, Tenant
from firstring.store.identity.records import apply_records

NOW = datetime(2026, 11, 22, tzinfo=UTC)
_COLUMNS = (
    "record_id", "given_name", "family_name", "suffix", "birth_date", "mobile", "home", "work", "email", "street",
    "house_number", "city", "postcode",
)  # fmt: skip


@cache
def people(seed: int, count: int) -> tuple[tuple[str, CanonicalRecord, int], ...]:
    """(source, record, true person)."""
    found = []
    for record in population(seed, count):
        raw: dict[str, object] = dict(zip(_COLUMNS, record.row, strict=False))
        raw["phone"] = [number for kind in ("mobile", "home", "work") if (number := raw.pop(kind))]
        try:
            found.append(
                (
                    SOURCES[record.source],
                    canonical_record({name: value for name, value in raw.items() if value}, country="US"),
                    record.person,
                )
            )
        except BadInput:
            continue
    return tuple(found)


async def store(
    database: Database, tenant: Tenant, rows: Sequence[tuple[str, CanonicalRecord, int]], *, batch: int = 500
) -> list[int]:
    """Applies the records in their order, source by source in batches; their ids."""
    ids: list[int] = []
    start = 0
    while start < len(rows):
        source = rows[start][0]
        end = start
        while end < min(start + batch, len(rows)) and rows[end][0] == source:
            end += 1
        applied = await apply_records(database, tenant, source, [record for _, record, _ in rows[start:end]], now=NOW)
        ids += applied.record_ids
        start = end
    return ids
