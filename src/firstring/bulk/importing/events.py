"""Loading a file of events (JSONL, CSV, Parquet), each through the same parser as events over HTTP."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence
from datetime import datetime
from itertools import islice
from pathlib import Path
from typing import Any

import msgspec

from firstring import limits
from firstring.bulk.files.formats import SourceFile, examine
from firstring.bulk.files.progress import Reporter, Silent
from firstring.bulk.files.read import BadRow, read_objects, read_rows
from firstring.bulk.files.rejects import Reject, RejectsFile, shown
from firstring.bulk.importing.records import begin, finish, persistently
from firstring.errors import BadInput
from firstring.journey.events import Event, parse_event
from firstring.ports import Clock
from firstring.settings import Settings
from firstring.store.database import Database, Tenant
from firstring.store.journey.events import IngestResult, ingest
from firstring.store.queries import sql


class EventsReport(msgspec.Struct):
    """What an import of events came to. Counts are of this run; resumed_rows were done before."""

    file: str
    source: str
    rows: int = 0
    stored: int = 0
    duplicates: int = 0
    rejected: int = 0
    resumed_rows: int = 0
    seconds: float = 0.0
    rejects_file: str | None = None


async def import_events_file(
    path: Path,
    source: str,
    *,
    database: Database,
    tenant: Tenant,
    settings: Settings,
    clock: Clock,
    progress: Reporter | None = None,
    rejects_path: Path | None = None,
) -> EventsReport:
    """Loads the events of a file. Interrupted and called again it goes on; the same event never counts twice.

    Columns are named as in the Segment Spec or in snake case (message_id, user_id, event, timestamp, properties.x).
    An event without a time counts as of the moment when the file was first loaded.
    Raises BadInput as files.examine, and Retryable when the database is away.
    """
    file = await asyncio.to_thread(examine, path)
    key = tenant.keys.blind("import-events", file.digest.hex())
    run = await begin(database, tenant, source, key, clock.now(), keep_start=True)
    report = EventsReport(str(path), source, resumed_rows=run.rows_done)
    reporter = progress or Silent()
    started_s = clock.monotonic_s()
    rows = _events(file)
    line = await asyncio.to_thread(lambda: max((line for line, _ in islice(rows, run.rows_done)), default=-1))
    name = (tenant.tenant_id, run.source_id, run.file_key)
    done = run.rows_done
    reporter.start(file.lines)
    try:
        with RejectsFile(rejects_path or path.with_name(path.name + ".rejects.jsonl"), line + 1) as rejects:
            while chunk := await asyncio.to_thread(lambda: list(islice(rows, limits.IMPORT_BATCH_RECORDS))):
                events, lines, refused = _parsed(chunk, run.started_at)

                async def store(_attempt: int, batch: Sequence[Event] = tuple(events)) -> IngestResult:
                    return await ingest(database, tenant, source, batch, now=clock.now(), country=settings.country)

                result = await persistently(store)
                refused += [Reject(lines[index], None, code, message) for index, code, message in result.rejected]
                rejects.write(sorted(refused, key=lambda reject: reject.line))
                async with database.transaction(tenant.tenant_id) as connection:
                    after = done + len(chunk)
                    counts = (result.stored, result.duplicates, len(refused))
                    await connection.execute(sql("records", "advance_import"), *name, done, after, *counts, None)
                done = after
                report.rows += len(chunk)
                report.stored += result.stored
                report.duplicates += result.duplicates
                report.rejected += len(refused)
                reporter.advance(chunk[-1][0], report.rows, report.rejected)
            if not done:
                raise BadInput("file_empty", "The file holds no rows.", where={"file": str(path)}, hint="Export it again.")
            await finish(database, tenant, run, done, clock.now())
            if rejects.rejected_lines or report.rejected:
                report.rejects_file = str(rejects.path)
    finally:
        reporter.stop()
        report.seconds = clock.monotonic_s() - started_s
    return report


def events_in(file: SourceFile, *, received_at: datetime) -> Iterator[Event | Reject]:
    """The events of a file, one after the other, read as the import reads them."""
    for line, raw in _events(file):
        events, _, refused = _parsed([(line, raw)], received_at)
        yield from events
        yield from refused


def _events(file: SourceFile) -> Iterator[tuple[int, dict[str, Any] | BadRow]]:
    if file.format == "jsonl":
        yield from read_objects(file)
        return
    for row in read_rows(file):
        yield row.line, row if isinstance(row, BadRow) else dict(row.cells)


def _parsed(
    chunk: list[tuple[int, dict[str, Any] | BadRow]], received_at: Any
) -> tuple[list[Event], list[int], list[Reject]]:
    """(events, their lines, what could not be read)."""
    events: list[Event] = []
    lines: list[int] = []
    refused: list[Reject] = []
    for line, raw in chunk:
        if isinstance(raw, BadRow):
            refused.append(Reject(line, raw.field, raw.code, raw.reason, shown(raw.value)))
            continue
        try:
            events.append(parse_event(raw, received_at=received_at, correct_skew=False))
            lines.append(line)
        except BadInput as error:
            field = error.where.get("field")
            refused.append(Reject(line, field, error.code, error.message, shown(raw.get(field or ""))))
    return events, lines, refused
