"""Commands about the patterns of a store: `firstring patterns load`, `list`, `on`, `off`, `fired`."""

from __future__ import annotations

import getpass
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import msgspec
import typer
from rich.console import Console
from rich.table import Table

from firstring.errors import BadInput
from firstring.ports import SystemClock
from firstring.steward.opened import run, store

if TYPE_CHECKING:
    from firstring.store.journey.declared import PatternReport

_out = Console()
_err = Console(stderr=True)


def register(app: typer.Typer) -> None:
    """Adds the commands to `firstring patterns`."""
    app.command("load")(load_patterns)
    app.command("list")(list_patterns)
    app.command("on")(switch_on)
    app.command("off")(switch_off)
    app.command("fired")(fired)


def load_patterns(
    files: Annotated[list[Path] | None, typer.Argument(help="YAML files of patterns (default: the library).")] = None,
    on: Annotated[
        bool | None,
        typer.Option(
            "--on/--off", help="Switches them on, or off (default: changed ones stay what they were, new ones are off)."
        ),
    ] = None,
    dry: Annotated[bool, typer.Option("--dry", help="Checks and reports only.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Prints what was done as JSON.")] = False,
) -> None:
    """Loads patterns: all of them, or none where one is refused. Tells whom each would have caught in the last 30 days."""
    from firstring.bulk.patterns.trial import patterns_of_files
    from firstring.journey.patterns.library import library, sources
    from firstring.store.journey.declared import Loaded, load, report

    patterns = patterns_of_files(files) if files else library()
    texts = [(str(file), file.read_text("utf-8")) for file in files] if files else sources()

    async def work() -> Loaded:
        async with store() as (database, tenant, _):
            now = SystemClock().now()
            reports = await report(database, tenant, patterns, now, told=_progress)
            done = Loaded()
            if not dry:
                done = await load(database, tenant, texts, by=getpass.getuser(), now=now, switch_on=on)
            return msgspec.structs.replace(done, reports=tuple(reports))

    done: Loaded = run(work())
    if as_json:
        typer.echo(msgspec.json.encode(done).decode())
        return
    _show_reports(done.reports)
    said = ((done.added, "new"), (done.changed, "changed"), (done.unchanged, "as before"), (done.on, "on"))
    summary = ", ".join(f"{len(ids)} {what}" for ids, what in said if ids)
    _out.print(summary or "nothing was changed", highlight=False)


def _progress(done: int, of: int) -> None:
    if of >= 1_000:
        _err.print(f"{done:,} of {of:,} persons looked at", style="dim", highlight=False)


def _show_reports(reports: Sequence[PatternReport]) -> None:
    for one in reports:
        _out.print(f"{one.pattern}: {one.says}", highlight=False, markup=False, soft_wrap=True)
        for warning in one.warnings:
            _out.print(f"  {warning}", style="yellow", highlight=False, markup=False, soft_wrap=True)


def list_patterns(as_json: Annotated[bool, typer.Option("--json", help="Prints them as JSON.")] = False) -> None:
    """Lists the patterns that are loaded, which are on, and how often each fired in the last 30 days."""
    from firstring.store.journey.declared import PatternShown, listed

    async def work() -> list[PatternShown]:
        async with store() as (database, tenant, _):
            return await listed(database, tenant, SystemClock().now())

    found: list[PatternShown] = run(work())
    if as_json:
        typer.echo(msgspec.json.encode(found).decode())
        return
    table = Table()
    for name in ("pattern", "", "valence", "by"):
        table.add_column(name, no_wrap=True)
    for name in ("fired", "persons"):
        table.add_column(name, justify="right")
    for one in found:
        table.add_row(one.id, "on" if one.is_on else "off", one.valence, one.by, f"{one.firings:,}", f"{one.persons:,}")
    _out.print(table)


_Names = Annotated[list[str] | None, typer.Argument(help="Ids of patterns.")]
_All = Annotated[bool, typer.Option("--all", help="All that are loaded.")]


def switch_on(patterns: _Names = None, every: _All = False) -> None:
    """Switches patterns on. Their states are made out of the log in the background; nothing is done about the past."""
    _switch(patterns, every=every, on=True)


def switch_off(patterns: _Names = None, every: _All = False) -> None:
    """Switches patterns off. What they fired stays noted."""
    _switch(patterns, every=every, on=False)


def _switch(patterns: list[str] | None, *, every: bool, on: bool) -> None:
    from firstring.store.journey.declared import listed, switch

    if bool(patterns) == every:
        raise BadInput("patterns_not_named", "Which patterns?", hint="Name some, or give --all.")

    async def work() -> list[str]:
        async with store() as (database, tenant, _):
            now = SystemClock().now()
            names = [one.id for one in await listed(database, tenant, now)] if every else patterns or []
            return await switch(database, tenant, names, on=on, now=now)

    switched: list[str] = run(work())
    _out.print(", ".join(switched) or "nothing was changed", highlight=False, markup=False, soft_wrap=True)


def fired(
    pattern: Annotated[str | None, typer.Argument(help="Only those of this pattern.")] = None,
    person: Annotated[int | None, typer.Option(help="Of a person: with their events, and what is under way.")] = None,
    at_most: Annotated[int, typer.Option(help="How many.", min=1, max=10_000)] = 50,
    as_json: Annotated[bool, typer.Option("--json", help="Prints them as JSON.")] = False,
) -> None:
    """Lists what fired, newest first; of one person with the events that made it."""
    from firstring.store.journey.underway import PersonPatterns, patterns_of
    from firstring.store.queries import sql

    async def of_person(number: int) -> PersonPatterns:
        async with store() as (database, tenant, _), database.transaction(tenant.tenant_id) as connection:
            return await patterns_of(connection, tenant, number, SystemClock().now())

    async def of_all() -> list[dict[str, Any]]:
        async with store() as (database, tenant, _), database.transaction(tenant.tenant_id) as connection:
            rows = await connection.fetch(sql("patterns", "fired_list"), tenant.tenant_id, pattern, 2**63 - 1, at_most)
            return [dict(row) for row in rows]

    if person is not None:
        shown: PersonPatterns = run(of_person(person))
        if as_json:
            typer.echo(msgspec.json.encode(shown).decode())
        else:
            _show_person(shown, pattern)
        return
    rows: list[dict[str, Any]] = run(of_all())
    if as_json:
        typer.echo(msgspec.json.encode(rows).decode())
        return
    for row in rows:
        line = f"{row['at']:%Y-%m-%d %H:%M:%S} {row['pattern']} ({row['valence']}): person {row['person_id']}"
        _out.print(line, highlight=False, markup=False, soft_wrap=True)


def _show_person(shown: Any, pattern: str | None) -> None:
    for one in shown.fired:
        if pattern in (None, one.pattern):
            _line(f"{one.at:%Y-%m-%d %H:%M:%S} {one.pattern} ({one.valence})", one.events)
    for one in shown.under_way:
        if pattern in (None, one.pattern):
            then = (
                f"comes true {one.comes_true_at:%Y-%m-%d %H:%M}"
                if one.comes_true_at
                else f"until {one.until:%Y-%m-%d %H:%M}"
            )
            _line(f"under way: {one.pattern} ({one.valence}), {then}", one.events)


def _line(text: str, events: Sequence[Any]) -> None:
    by = ", ".join(f"{event.name} {event.at:%m-%d %H:%M}" for event in events)
    _out.print(f"{text}{': ' + by if by else ''}", highlight=False, markup=False, soft_wrap=True)
