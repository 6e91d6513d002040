"""Loading a file of customer records: in batches, each durable with the place up to which the file is done."""

from __future__ import annotations

import asyncio
import os
from collections import deque
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterator
from contextlib import aclosing
from datetime import datetime
from itertools import islice
from pathlib import Path
from typing import Any, Final, NamedTuple, TypeVar

import msgspec

from firstring.bulk.files.formats import SourceFile, examine
from firstring.bulk.files.mapping import FieldMap, guess_map, load_map, mapped
from firstring.bulk.files.progress import Reporter, Silent
from firstring.bulk.files.read import BadRow, Row, parquet_rows, read_rows, sample
from firstring.bulk.files.rejects import Reject, RejectsFile
from firstring.bulk.importing.workers import Job, Ready, Workers
from firstring.errors import BadInput, Retryable
from firstring.identity.canonical.record import canonical
from firstring.ports import Clock
from firstring.settings import Settings
from firstring.store.database import Connection, Database, Tenant
from firstring.store.identity.models import active_model
from firstring.store.identity.records import Applied, apply_prepared, external_key, source_id
from firstring.store.queries import sql

_PROCESSES_FROM_BYTES: Final = 2_000_000
"""A smaller file is prepared in a thread: processes would take longer to start than to work."""
_ATTEMPTS: Final = 6
_RETRY_AFTER_S: Final = 0.5
_RUNNING: Final = "import_running"
T = TypeVar("T")


class ImportReport(msgspec.Struct):
    """What an import came to. Counts are of this run; rows counts rejected rows too; resumed_rows were done before."""

    file: str
    source: str
    fields: FieldMap
    rows: int = 0
    inserted: int = 0
    updated: int = 0
    unchanged: int = 0
    rejected: int = 0
    dropped_values: int = 0
    merged: int = 0
    split: int = 0
    resumed_rows: int = 0
    seconds: float = 0.0
    rejects_file: str | None = None
    dry_run: bool = False


class Run(NamedTuple):
    """The row of import_run: one file, with one map, into one source."""

    source_id: int
    file_key: bytes
    rows_done: int
    started_at: datetime


async def import_file(
    path: Path,
    source: str,
    map_path: Path | None,
    *,
    database: Database,
    tenant: Tenant,
    settings: Settings,
    clock: Clock,
    progress: Reporter | None = None,
    rejects_path: Path | None = None,
    show: Callable[[SourceFile, FieldMap], None] = lambda _file, _fields: None,
    dry_run: bool = False,
) -> ImportReport:
    """Loads a file; `show` is called with the map before anything is loaded.

    Durable batch by batch: interrupted at any moment and called again it goes on, and a file that was loaded before
    changes nothing. Bad rows go to `rejects_path` (default: FILE.rejects.jsonl) and never end the import.

    Raises BadInput (see files.examine, mapping.load_map, mapping.guess_map) before anything is loaded, and Retryable
    when the database stays away.
    """
    file = await asyncio.to_thread(examine, path)
    columns, rows = await asyncio.to_thread(sample, file)
    if file.format == "parquet":
        file = msgspec.structs.replace(file, lines=await asyncio.to_thread(parquet_rows, file))
    known = file.format != "jsonl"
    fields = guess_map(columns, rows) if map_path is None else load_map(map_path, columns, all_columns_known=known)
    show(file, fields)
    report = ImportReport(str(path), source, fields, dry_run=dry_run)
    if dry_run:
        return report
    async with database.transaction(tenant.tenant_id) as connection:
        linked = await active_model(connection, tenant) is not None
    job = Job(tenant.keys, source, fields, fields.country or settings.country, linked)
    key = tenant.keys.blind("import", f"{file.digest.hex()}:{job.country}:{fields.key().decode()}")
    run = await begin(database, tenant, source, key, clock.now())
    report.resumed_rows = run.rows_done
    started_s = clock.monotonic_s()
    reporter = progress or Silent()
    reporter.start(file.lines)
    try:
        await _load(database, tenant, job, file, run, report, settings.import_batch, rejects_path, reporter, clock)
    finally:
        reporter.stop()
        report.seconds = clock.monotonic_s() - started_s
    return report


async def begin(
    database: Database, tenant: Tenant, source: str, key: bytes, now: datetime, *, keep_start: bool = False
) -> Run:
    """The run of a file: a new one, an interrupted one that goes on, or a finished one that begins again."""
    if not source or len(source) > 100 or not source.isprintable():
        raise BadInput(
            "source_invalid", "A source has a name of 1 to 100 printable characters.", where={"argument": "source"}
        )
    async with database.transaction(tenant.tenant_id) as connection:
        in_source = await source_id(connection, tenant, source, now)
        name = (tenant.tenant_id, in_source, key)
        await connection.execute(sql("records", "start_import"), *name, now)
        row = await connection.fetchrow(sql("records", "import_run"), *name)
        assert row is not None
        if row["finished_at"] is None:
            return Run(in_source, key, row["rows_done"], row["started_at"])
        started_at = row["started_at"] if keep_start else now
        await connection.execute(sql("records", "restart_import"), *name, started_at)
        return Run(in_source, key, 0, started_at)


async def _load(
    database: Database,
    tenant: Tenant,
    job: Job,
    file: SourceFile,
    run: Run,
    report: ImportReport,
    batch_rows: int,
    rejects_path: Path | None,
    reporter: Reporter,
    clock: Clock,
) -> None:
    rows = read_rows(file)
    skipped = await asyncio.to_thread(lambda: list(_identified(islice(rows, run.rows_done), job)))
    resume_line = max((line for line, _ in skipped), default=-1) + 1
    rejects = RejectsFile(rejects_path or file.path.with_name(file.path.name + ".rejects.jsonl"), resume_line)
    seen = {key for line, key in skipped if key is not None and line not in rejects.rejected_lines}
    del skipped
    processes = min(os.cpu_count() or 1, 2) if file.size_bytes >= _PROCESSES_FROM_BYTES else 0
    done = run.rows_done
    with rejects, Workers(job, processes) as workers:
        async with aclosing(_prepared(rows, workers, batch_rows, processes)) as batches:
            async for count, line, ready in batches:
                unique, duplicates = _without_duplicates(ready, seen if job.fields.has_record_id else None)
                ready.rejects.extend(duplicates)
                rejects.write(sorted(ready.rejects, key=lambda reject: reject.line))
                bad = sum(not reject.kept for reject in ready.rejects)
                applied = await apply_batch(
                    database, tenant, job.source, [record for _, record in unique], run, done, done + count, bad, clock
                )
                done += count
                _add(report, count, bad, len(ready.rejects) - bad, applied)
                reporter.advance(line, report.rows, report.rejected)
        await finish(database, tenant, run, done, clock.now())
        if rejects.rejected_lines or report.rejected or report.dropped_values:
            report.rejects_file = str(rejects.path)


def _identified(rows: Iterator[Row | BadRow], job: Job) -> Iterator[tuple[int, int | None]]:
    """(line, short form of the record's key) of rows that were done before, so that later duplicates are seen."""
    for row in rows:
        raw = mapped(row.cells, job.fields) if isinstance(row, Row) else {}
        try:
            record_id = canonical("record_id", raw.get("record_id"), country=job.country)
        except BadInput:
            yield row.line, None
        else:
            yield row.line, _short(external_key(job.keys, job.source, record_id))


def _short(key: bytes) -> int:
    """Eight bytes of a keyed hash: a chance meeting among ten million records has a probability of 3e-6."""
    return int.from_bytes(key[:8], "big")


def _without_duplicates(ready: Ready, seen: set[int] | None) -> tuple[list[tuple[int, Any]], list[Reject]]:
    """Records whose id did not come earlier in the file, and the rest as rejects. `seen` is added to; None: no ids."""
    if seen is None:
        return ready.records, []
    unique: list[tuple[int, Any]] = []
    duplicates: list[Reject] = []
    for line, record in ready.records:
        key = _short(record.external_key)
        if key in seen:
            duplicates.append(
                Reject(line, "record_id", "duplicate_record_id", "an earlier row of the file has this record_id")
            )
        else:
            seen.add(key)
            unique.append((line, record))
    return unique, duplicates


async def _prepared(
    rows: Iterator[Row | BadRow], workers: Workers, batch_rows: int, processes: int
) -> AsyncGenerator[tuple[int, int, Ready], None]:
    """(rows, last line, batch ready) in the order of the file; the next batches are prepared while one is applied."""
    waiting: deque[tuple[int, int, asyncio.Task[Ready]]] = deque()
    try:
        while True:
            chunk: list[Row | BadRow] = await asyncio.to_thread(lambda: list(islice(rows, batch_rows)))
            if chunk:
                waiting.append((len(chunk), chunk[-1].line, asyncio.create_task(workers.ready(chunk))))
            if not waiting:
                return
            if not chunk or len(waiting) > max(processes, 1):
                count, line, task = waiting.popleft()
                yield count, line, await task
    finally:
        for _, _, task in waiting:
            task.cancel()
        await asyncio.gather(*(task for _, _, task in waiting), return_exceptions=True)


class _DoneElsewhere(Exception):
    """The run is not where this batch begins."""


async def persistently(call: Callable[[int], Awaitable[T]]) -> T:
    """What `call(attempt)` returns, tried again while the database is away or busy. The call must be safe to repeat."""
    for attempt in range(_ATTEMPTS - 1):
        try:
            return await call(attempt)
        except Retryable as error:
            if error.code == _RUNNING:
                raise
            await asyncio.sleep(_RETRY_AFTER_S * 2**attempt)
    return await call(_ATTEMPTS - 1)


async def apply_batch(
    database: Database,
    tenant: Tenant,
    source: str,
    records: list[Any],
    run: Run,
    before: int,
    after: int,
    bad: int,
    clock: Clock,
) -> Applied:
    """Applies a batch and moves the run on, in one transaction; repeated while the database is away.

    The commit is written behind: should the server crash, rows and the run's place go back together, and the end of the
    run (`finish`) waits until all of it is on the disk.
    """

    async def advance(connection: Connection, _source: int, applied: Applied) -> None:
        name = (tenant.tenant_id, run.source_id, run.file_key)
        new = applied.inserted + applied.updated
        moved = await connection.fetchval(
            sql("records", "advance_import"), *name, before, after, new, applied.unchanged, bad, None
        )
        if moved is None:
            raise _DoneElsewhere

    async def apply(attempt: int) -> Applied:
        try:
            return await apply_prepared(database, tenant, source, records, now=clock.now(), also=advance, write_behind=True)
        except _DoneElsewhere:
            if attempt and await _rows_done(database, tenant, run) == after:
                return Applied()  # the lost answer was a yes
            raise Retryable(
                _RUNNING,
                "Another program is importing this file.",
                where={"source": source},
                hint="Wait for it; run this again to see that everything is there.",
            ) from None

    return await persistently(apply)


async def _rows_done(database: Database, tenant: Tenant, run: Run) -> int:
    async with database.transaction(tenant.tenant_id) as connection:
        row = await connection.fetchrow(sql("records", "import_run"), tenant.tenant_id, run.source_id, run.file_key)
    return int(row["rows_done"]) if row is not None else -1


async def finish(database: Database, tenant: Tenant, run: Run, done: int, now: datetime) -> None:
    """Marks a run as finished."""
    async with database.transaction(tenant.tenant_id) as connection:
        name = (tenant.tenant_id, run.source_id, run.file_key)
        await connection.execute(sql("records", "advance_import"), *name, done, done, 0, 0, 0, now)


def _add(report: ImportReport, rows: int, rejected: int, dropped: int, applied: Applied) -> None:
    report.rows += rows
    report.rejected += rejected
    report.dropped_values += dropped
    report.inserted += applied.inserted
    report.updated += applied.updated
    report.unchanged += applied.unchanged
    report.merged += applied.merged
    report.split += applied.split
