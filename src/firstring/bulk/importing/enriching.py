"""Loading a provider's file: its values are appended to records that are there already (store.enrichment).

In batches, each durable. Run again it changes nothing that is as it was. Rows that belong to no record, or to several
persons, are rejected with code not_matched.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

import msgspec
from rich.console import Console

from firstring import limits
from firstring.bulk.files.formats import examine
from firstring.bulk.files.mapping import FieldMap, guess_map, load_map, mapped
from firstring.bulk.files.read import BadRow, Row, read_rows, sample
from firstring.bulk.files.rejects import Reject, RejectsFile, shown
from firstring.bulk.importing.load import show_map
from firstring.bulk.importing.records import persistently
from firstring.errors import BadInput
from firstring.identity.canonical.record import CanonicalRecord, canonical_record
from firstring.ports import Clock, SystemClock
from firstring.settings import Settings
from firstring.store.database import Database, Tenant
from firstring.store.identity.enrichment import Enriched, enrich

BY_IDENTIFIERS = "-"
"""In the place of a source's name: rows are matched by their identifiers."""


class EnrichReport(msgspec.Struct):
    """What a file came to; rows counts the rejected ones too."""

    rows: int = 0
    added: int = 0
    changed: int = 0
    unchanged: int = 0
    rejected: int = 0
    dropped_values: int = 0
    rejects_file: str | None = None


async def enrich_file(
    path: Path,
    provider: str,
    of: str,
    map_path: Path | None,
    *,
    database: Database,
    tenant: Tenant,
    settings: Settings,
    console: Console,
    rejects_path: Path | None = None,
    dry_run: bool = False,
    clock: Clock | None = None,
) -> EnrichReport:
    """Appends a file. of: the source whose record ids the file has, or BY_IDENTIFIERS. Raises as importing.import_file."""
    os.nice(limits.NICENESS)
    clock = clock or SystemClock()
    file = await asyncio.to_thread(examine, path)
    columns, rows = await asyncio.to_thread(sample, file)
    known = file.format != "jsonl"
    fields = guess_map(columns, rows) if map_path is None else load_map(map_path, columns, all_columns_known=known)
    show_map(console, file, fields)
    report = EnrichReport()
    if dry_run:
        return report
    if not fields.has_record_id:
        raise BadInput(
            "record_id_missing",
            "The file of a provider needs a record_id.",
            where={"file": str(path)},
            hint="Map the column that holds it: with --enrich SOURCE that source's own id, with - the provider's.",
        )
    country = fields.country or settings.country
    lines = read_rows(file)
    with RejectsFile(rejects_path or path.with_name(path.name + ".rejects.jsonl")) as rejects:
        while chunk := await asyncio.to_thread(lambda: list(islice(lines, limits.IMPORT_BATCH_RECORDS))):
            ready, bad = await asyncio.to_thread(_ready, chunk, fields, country)
            result = await _apply(database, tenant, provider, of, [record for _, record in ready], clock)
            bad += [
                Reject(ready[place][0], "record_id", "not_matched", "it belongs to no record, or to several persons")
                for place in result.unmatched
            ]
            rejects.write(sorted(bad, key=lambda reject: reject.line))
            report.rows += len(chunk)
            report.added += result.added
            report.changed += result.changed
            report.unchanged += result.unchanged
            report.rejected += sum(not reject.kept for reject in bad)
            report.dropped_values += sum(reject.kept for reject in bad)
    if report.rejected or report.dropped_values:
        report.rejects_file = str(rejects.path)
    say(console, provider, report)
    return report


async def _apply(
    database: Database, tenant: Tenant, provider: str, of: str, records: list[CanonicalRecord], clock: Clock
) -> Enriched:
    async def once(_attempt: int) -> Enriched:
        target = None if of == BY_IDENTIFIERS else of
        return await enrich(database, tenant, provider, records, now=clock.now(), of=target)

    return await persistently(once)


def _ready(
    rows: list[Row | BadRow], fields: FieldMap, country: str
) -> tuple[list[tuple[int, CanonicalRecord]], list[Reject]]:
    ready: list[tuple[int, CanonicalRecord]] = []
    rejects: list[Reject] = []
    for line, record in _records(rows, fields, country, rejects):
        ready.append((line, record))
    return ready, rejects


def _records(
    rows: list[Row | BadRow], fields: FieldMap, country: str, rejects: list[Reject]
) -> Iterator[tuple[int, CanonicalRecord]]:
    for row in rows:
        if isinstance(row, BadRow):
            rejects.append(Reject(row.line, row.field, row.code, row.reason, shown(row.value)))
            continue
        raw = mapped(row.cells, fields)
        try:
            record = canonical_record(raw, country=country, findable=False)
        except BadInput as error:
            field = error.where.get("field")
            rejects.append(Reject(row.line, field, error.code, error.message, shown(raw.get(field or ""))))
            continue
        for reason in record.dropped:
            value = shown(raw.get(reason.field)) if reason.field else ""
            rejects.append(Reject(row.line, reason.field, reason.code, reason.text, value, kept=True))
        yield row.line, record


def say(console: Console, provider: str, report: EnrichReport) -> None:
    """What a file came to."""
    lines = [
        f"{report.rows:,} rows from provider {provider}: {report.added:,} appended, {report.changed:,} changed, "
        f"{report.unchanged:,} as they were."
    ]
    if report.rejects_file:
        lines.append(
            f"{report.rejected:,} rows rejected, {report.dropped_values:,} values left out: see {report.rejects_file}"
        )
    for line in lines:
        console.print(line, markup=False, highlight=False)
