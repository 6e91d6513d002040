"""Commands about segments: `firstring segments load`, `list`, `off`, `members`."""

from __future__ import annotations

import getpass
from pathlib import Path
from typing import Annotated

import msgspec
import typer
from rich.console import Console
from rich.table import Table

from firstring import limits
from firstring.errors import BadInput
from firstring.ports import SystemClock
from firstring.steward.opened import run, store

segments_app = typer.Typer(no_args_is_help=True, help="Groups of persons by a condition over their profile.")

_out = Console()
_err = Console(stderr=True)
_Json = Annotated[bool, typer.Option("--json", help="Prints them as JSON.")]


def register(app: typer.Typer) -> None:
    """Adds the commands to the program."""
    app.add_typer(segments_app, name="segments")


@segments_app.command("load")
def load_segments(
    files: Annotated[list[Path], typer.Argument(help="YAML files of segments.")],
    as_json: Annotated[bool, typer.Option("--json", help="Prints what was done as JSON.")] = False,
) -> None:
    """Loads segments and switches them on: all of them, or none where one is refused. A running server does the rest."""
    from firstring.store.nextbest.segments import SegmentsLoaded, load

    texts = [(str(file), _text(file)) for file in files]

    async def work() -> SegmentsLoaded:
        async with store() as (database, tenant, _):
            return await load(database, tenant, texts, by=getpass.getuser(), now=SystemClock().now())

    done: SegmentsLoaded = run(work())
    if as_json:
        typer.echo(msgspec.json.encode(done).decode())
        return
    said = ((done.added, "new"), (done.changed, "changed"), (done.unchanged, "as before"))
    _out.print(", ".join(f"{len(ids)} {what}" for ids, what in said if ids), highlight=False)
    for warning in done.warnings:
        _err.print(f"warning: {warning}", style="yellow", highlight=False, markup=False)


def _text(file: Path) -> str:
    try:
        return file.read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise BadInput(
            "segments_unreadable",
            "The file of segments cannot be read.",
            where={"file": str(file)},
            hint="Name a file of UTF-8 text.",
        ) from error


@segments_app.command("list")
def list_segments(as_json: _Json = False) -> None:
    """Lists the segments that are loaded, and how many persons are in each."""
    from firstring.store.nextbest.segments import SegmentsView, listed

    async def work() -> SegmentsView:
        async with store() as (database, tenant, _):
            return await listed(database, tenant)

    found: SegmentsView = run(work())
    if as_json:
        typer.echo(msgspec.json.encode(found).decode())
        return
    table = Table()
    for name in ("segment", ""):
        table.add_column(name, no_wrap=True)
    table.add_column("persons", justify="right")
    table.add_column("where")
    for one in found.segments:
        table.add_row(one.id, "on" if one.is_on else "off", f"{one.members:,}", one.where.strip())
    _out.print(table)
    if found.evaluating:
        _out.print("not everybody has been looked at yet", highlight=False)


@segments_app.command("off")
def switch_segment_off(segment: Annotated[str, typer.Argument(help="The segment's id.")]) -> None:
    """Switches a segment off: everybody leaves it. Loading it again switches it on."""
    from firstring.store.nextbest.segments import switch_off

    async def work() -> bool:
        async with store() as (database, tenant, _):
            return await switch_off(database, tenant, segment, now=SystemClock().now())

    switched: bool = run(work())
    _out.print(f"{segment} is off" if switched else "nothing was changed", highlight=False, markup=False)


@segments_app.command("members")
def list_members(
    segment: Annotated[str, typer.Argument(help="The segment's id.")],
    after: Annotated[int, typer.Option(help="Persons after this one.", min=0)] = 0,
    limit: Annotated[int, typer.Option(help="How many.", min=1, max=limits.SEGMENT_MEMBERS)] = 100,
    as_json: _Json = False,
) -> None:
    """Lists who is in a segment, by person id."""
    from firstring.store.nextbest.segments import Members, members

    async def work() -> Members:
        async with store() as (database, tenant, _):
            return await members(database, tenant, segment, after=after, at_most=limit)

    found: Members = run(work())
    if as_json:
        typer.echo(msgspec.json.encode(found).decode())
        return
    for one in found.members:
        _out.print(f"{one.person_id} since {one.entered_at:%Y-%m-%d %H:%M:%S}", highlight=False)
    if found.next is not None:
        _out.print(f"more: --after {found.next}", highlight=False)
