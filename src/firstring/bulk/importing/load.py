"""What `firstring import` does: loads a file and says on a console what it does and what came of it."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

from rich.console import Console
from rich.table import Table

from firstring import limits
from firstring.bulk.files.formats import SourceFile
from firstring.bulk.files.mapping import NOT_LOADED, FieldMap
from firstring.bulk.files.progress import ConsoleReporter
from firstring.bulk.importing.events import EventsReport, import_events_file
from firstring.bulk.importing.records import ImportReport, import_file
from firstring.identity.canonical.fields import FIELDS, is_attribute
from firstring.ports import Clock, SystemClock
from firstring.settings import Settings
from firstring.store.database import Database, Tenant


async def run_import(
    path: Path,
    source: str,
    map_path: Path | None,
    database: Database,
    tenant: Tenant,
    settings: Settings,
    *,
    console: Console,
    rejects: Path | None = None,
    dry_run: bool = False,
    clock: Clock | None = None,
) -> ImportReport:
    """Loads a file of records with lowered priority. Raises as importing.import_file."""
    os.nice(limits.NICENESS)
    clock = clock or SystemClock()

    def show(file: SourceFile, fields: FieldMap) -> None:
        show_map(console, file, fields)
        if dry_run:
            console.print("Nothing was loaded. As a map to edit and give back with --map:\n")
            console.print(fields.as_toml(), markup=False, highlight=False)

    try:
        report = await import_file(
            path, source, map_path,
            database=database, tenant=tenant, settings=settings, clock=clock,
            progress=ConsoleReporter(console, clock), rejects_path=rejects, show=show, dry_run=dry_run,
        )  # fmt: skip
    except asyncio.CancelledError:
        console.print("Interrupted. What was loaded stays; the same command goes on from there.")
        raise
    if not dry_run:
        say_records(console, report)
    return report


async def run_events_import(
    path: Path,
    source: str,
    database: Database,
    tenant: Tenant,
    settings: Settings,
    *,
    console: Console,
    rejects: Path | None = None,
    clock: Clock | None = None,
) -> EventsReport:
    """Loads a file of events with lowered priority. Raises as importing_events.import_events_file."""
    os.nice(limits.NICENESS)
    clock = clock or SystemClock()
    try:
        report = await import_events_file(
            path, source, database=database, tenant=tenant, settings=settings, clock=clock,
            progress=ConsoleReporter(console, clock), rejects_path=rejects,
        )  # fmt: skip
    except asyncio.CancelledError:
        console.print("Interrupted. What was loaded stays; the same command goes on from there.")
        raise
    say_events(console, report)
    return report


def show_map(console: Console, file: SourceFile, fields: FieldMap) -> None:
    """The map as a table, before anything is loaded."""
    how = "guessed from names and values" if fields.guessed else "as given"
    table = Table("column", "field", "why", title=f"{file.path.name}: {file.format}, map {how}", title_justify="left")
    for choice in fields.choices:
        field = choice.field
        if field == NOT_LOADED:
            field = "(not loaded)"
        elif is_attribute(field):
            field = f"{field} (attribute)"
        elif field in FIELDS and FIELDS[field].identifier:
            field = f"{field} (identifier)"
        table.add_row(*(text.replace("[", "\\[") for text in (choice.column, field, choice.why)))
    console.print(table)
    for note in fields.notes:
        console.print(f"Note: {note}", markup=False, highlight=False)


def say_records(console: Console, report: ImportReport) -> None:
    """What an import came to."""
    if report.resumed_rows:
        _say(console, f"Went on after {report.resumed_rows:,} rows that were done before.")
    rate = report.rows / report.seconds if report.seconds > 0 else 0
    _say(console, f"{report.rows:,} rows in {report.seconds:,.1f} s ({rate:,.0f} rows/s) from source {report.source}:")
    _say(
        console,
        f"{report.inserted:,} new records, {report.updated:,} changed, {report.unchanged:,} as they were; "
        f"{report.merged:,} persons merged, {report.split:,} split.",
    )
    if report.rows and not report.inserted and not report.updated:
        _say(console, "Nothing changed.")
    _say_rejects(console, report.rejected, report.dropped_values, report.rejects_file)


def say_events(console: Console, report: EventsReport) -> None:
    """What an import of events came to."""
    if report.resumed_rows:
        _say(console, f"Went on after {report.resumed_rows:,} rows that were done before.")
    _say(console, f"{report.rows:,} rows in {report.seconds:,.1f} s from source {report.source}:")
    _say(console, f"{report.stored:,} new events, {report.duplicates:,} known before.")
    if report.rows and not report.stored:
        _say(console, "Nothing changed.")
    _say_rejects(console, report.rejected, 0, report.rejects_file)


def _say_rejects(console: Console, rejected: int, dropped: int, file: str | None) -> None:
    if rejected or dropped:
        _say(console, f"{rejected:,} rows rejected, {dropped:,} values left out of rows that were loaded: see {file}")


def _say(console: Console, text: str) -> None:
    console.print(text, markup=False, highlight=False)
