"""What providers say of people who are known already: appended to a record, with its provenance.

It is no evidence of who somebody is: it glues no records together and finds nobody. It goes where its record goes, and
goes when that is deleted. By the default rules it never wins over what a source of one's own says.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any, NamedTuple

import msgspec

from firstring import limits
from firstring.errors import BadInput
from firstring.identity.canonical.record import CanonicalRecord
from firstring.identity.persons.blocking import identifier_keys
from firstring.store.database import Connection, Database, Tenant
from firstring.store.identity.records import external_key, source_id
from firstring.store.queries import sql

_content = msgspec.json.Encoder(order="deterministic").encode


class Enriched(msgspec.Struct, frozen=True):
    """What a batch came to. unmatched: places in the batch of rows that belong to no record, or to several persons."""

    added: int = 0
    changed: int = 0
    unchanged: int = 0
    unmatched: tuple[int, ...] = ()


class _Row(NamedTuple):
    external: bytes
    content: bytes
    record: CanonicalRecord


async def enrich(
    database: Database,
    tenant: Tenant,
    provider: str,
    rows: Sequence[CanonicalRecord],
    *,
    now: datetime,
    of: str | None = None,
) -> Enriched:
    """Appends rows of a provider, in one transaction. Safe to repeat; of two rows of one id the last counts.

    of: the source whose record ids the rows have. Without it a row belongs to the most recent record behind the first of
    its identifiers that exactly one person carries. Raises BadInput source_is_first_party, unknown_source.
    """
    assert len(rows) <= limits.IMPORT_BATCH_RECORDS, "batches are bounded"
    keys = tenant.keys
    async with database.transaction(tenant.tenant_id) as connection:
        await connection.execute(sql("records", "lock_applier"), tenant.tenant_id)
        in_source = await source_id(connection, tenant, provider, now)
        if await connection.fetchval(sql("persons", "mark_enrichment"), tenant.tenant_id, in_source) is None:
            raise BadInput(
                "source_is_first_party",
                "A source of that name holds records of one's own.",
                where={"source": provider},
                hint="Give the provider another name.",
            )
        targets = await _targets(connection, tenant, of, rows)
        unmatched = tuple(place for place, target in enumerate(targets) if target is None)
        latest: dict[bytes, tuple[int, _Row]] = {}
        for record, target in zip(rows, targets, strict=True):
            if target is not None:
                external = external_key(keys, provider, record.record_id)
                content = keys.blind(f"content:{provider}", _content([record.record_id, record.fields]).decode())
                latest[external] = (target, _Row(external, content, record))
        known = {
            row["external_key"]: (row["record_id"], row["content_key"])
            for row in await connection.fetch(sql("persons", "known_enrichments"), tenant.tenant_id, in_source, list(latest))
        }
        new = {key: (target, row) for key, (target, row) in latest.items() if known.get(key) != (target, row.content)}
        await _write(connection, tenant, in_source, new, now)
    changed = sum(key in known for key in new)
    return Enriched(len(new) - changed, changed, len(rows) - len(unmatched) - len(new), unmatched)


async def _targets(
    connection: Connection, tenant: Tenant, of: str | None, rows: Sequence[CanonicalRecord]
) -> list[int | None]:
    """The record of each row, or None."""
    if of is None:
        return await _by_identifiers(connection, tenant, rows)
    source = await connection.fetchrow(sql("persons", "source_named"), tenant.tenant_id, of)
    if source is None or source["kind"] != "first_party":
        raise BadInput(
            "unknown_source", "There is no source of one's own of that name.", where={"source": of}, http_status=404
        )
    externals = [external_key(tenant.keys, of, row.record_id) for row in rows]
    found = await connection.fetch(sql("persons", "targets"), tenant.tenant_id, source["source_id"], externals)
    record_of = {row["external_key"]: row["record_id"] for row in found}
    return [record_of.get(external) for external in externals]


async def _by_identifiers(connection: Connection, tenant: Tenant, rows: Sequence[CanonicalRecord]) -> list[int | None]:
    keys = [
        [tenant.keys.blind(identifier.kind, identifier.value) for identifier in identifier_keys(row.fields)] for row in rows
    ]
    every = list({key for of_row in keys for key in of_row})
    found = await connection.fetch(sql("events", "behind"), tenant.tenant_id, every, limits.HOT_KEY_RECORDS) if every else []
    single = {
        row["key"]: row["record_id"] for row in found if row["persons"] == 1 and row["records"] <= limits.HOT_KEY_RECORDS
    }
    return [next((single[key] for key in of_row if key in single), None) for of_row in keys]


async def _write(
    connection: Connection, tenant: Tenant, in_source: int, new: dict[bytes, tuple[int, _Row]], now: datetime
) -> None:
    if not new:
        return
    columns: list[list[Any]] = [[] for _ in range(6)]
    for target, row in new.values():
        wrapped, sealed = tenant.keys.seal({**row.record.fields, "record_id": row.record.record_id})
        values = (target, row.external, row.content, wrapped, sealed, row.record.time("last_seen"))
        for column, value in zip(columns, values, strict=True):
            column.append(value)
    await connection.execute(sql("persons", "drop_enrichments"), tenant.tenant_id, in_source, list(new))
    await connection.execute(sql("persons", "put_enrichments"), tenant.tenant_id, in_source, *columns, now)
