"""Commands about segments: `firstring segments load`, `list`, `off`, `members`."""

from __future__ import annotations

import getpass
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import msgspec
import typer
from rich.console import Console
from rich.table import Table

from firstring import limits
from firstring.errors import BadInput
from firstring.ports import SystemClock

if TYPE_CHECKING:
    from firstring.store.database import Database, Tenant

segments_app = typer.Typer(no_args_is_help=True, help="Groups of persons by a condition over their profile.")

_out = Console()
_err = Console(stderr=True)
_Json = Annotated[bool, typer.Option("--json", help="Prints them as JSON.")]


def register(app: typer.Typer) -> None:
    """Adds the commands to the program."""
    app.add_typer(segments_app, name="segments")


def _run(work: Coroutine[Any, Any, Any]) -> Any:
    import uvloop

    return uvloop.run(work)


@asynccontextmanager
async def _store() -> AsyncIterator[tuple[Database, Tenant]]:
    from firstring.bootstrap import database_only
    from firstring.settings import load

    settings = load()
    async with database_only(settings, lambda text: _err.print(text, style="dim", highlight=False)) as database:
        yield database, await database.tenant_named(settings.tenant)


@segments_app.command("load")
def load_segments(
    files: Annotated[list[Path], typer.Argument(help="YAML files of segments.")],
    as_json: Annotated[bool, typer.Option("--json", help="Prints what was done as JSON.")] = False,
) -> None:
    """Loads segments and switches them on: all of them, or none where one is refused. A running server does the rest."""
    from firstring.store.nextbest.segments import SegmentsLoaded, load

    texts = [(str(file), _text(file)) for file in files]

    async def work() -> SegmentsLoaded:
        async with _store() as (database, tenant):
            return await load(database, tenant, texts, by=getpass.getuser(), now=SystemClock().now())

    done: SegmentsLoaded = _run(work())
    if as_json:
        typer.echo(msgspec.json.encode(done).decode())
        return
    said = ((done.added, "new"), (done.changed, "changed"), (done.unchanged, "as before"))
    _out.print(", ".join(f"{len(ids)} {what}" for ids, what in said if ids), highlight=False)


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
        async with _store() as (database, tenant):
            return await listed(database, tenant)

    found: SegmentsView = _run(work())
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
        async with _store() as (database, tenant):
            return await switch_off(database, tenant, segment, now=SystemClock().now())

    switched: bool = _run(work())
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
        async with _store() as (database, tenant):
            return await members(database, tenant, segment, after=after, at_most=limit)

    found: Members = _run(work())
    if as_json:
        typer.echo(msgspec.json.encode(found).decode())
        return
    for one in found.members:
        _out.print(f"{one.person_id} since {one.entered_at:%Y-%m-%d %H:%M:%S}", highlight=False)
    if found.next is not None:
        _out.print(f"more: --after {found.next}", highlight=False)
