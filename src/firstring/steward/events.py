"""The commands about events that were refused."""

from __future__ import annotations

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
    from firstring.store.journey.rejected import RejectedEvent

events_app = typer.Typer(no_args_is_help=True, help="Events that were refused.")
_AT_A_TIME = 500

out = Console()
err = Console(stderr=True)


def register(app: typer.Typer) -> None:
    """Adds the commands to the program."""
    app.add_typer(events_app, name="events")


@events_app.command("rejected")
def rejected(
    code: Annotated[str | None, typer.Option(help="Only those of this code.")] = None,
    after: Annotated[int, typer.Option(help="Those after this number.", min=0)] = 0,
    at_most: Annotated[int, typer.Option(help="How many.", min=1, max=100_000)] = 50,
    as_json: Annotated[
        bool, typer.Option("--json", help="Prints them whole, one a line, for `events resend --file`.")
    ] = False,
) -> None:
    """Lists events that were refused, with their reasons."""
    from firstring.store.journey.rejected import rejected_codes, rejected_events

    async def work() -> None:
        async with store() as (database, tenant, _):
            found: list[RejectedEvent] = []
            last = after
            while len(found) < at_most:
                most = min(_AT_A_TIME, at_most - len(found))
                page = await rejected_events(database, tenant, after=last, code=code, at_most=most)
                found += page
                if len(page) < most:
                    break
                last = page[-1].rejected_id
            if as_json:
                for one in found:
                    typer.echo(msgspec.json.encode(one).decode())
                return
            table = Table("number", "code", "field", "source", "format", "times", "last", "reason")
            for one in found:
                last_at = one.last_at.isoformat(timespec="seconds")
                words = (one.code, one.field or "", one.source, one.format, str(one.times), last_at, one.message)
                table.add_row(str(one.rejected_id), *words)
            out.print(table)
            codes = await rejected_codes(database, tenant)
            out.print(", ".join(f"{one.code}: {one.events:,}" for one in codes) or "no event was refused", highlight=False)

    run(work())


@events_app.command("resend")
def resend(
    numbers: Annotated[list[int] | None, typer.Argument(help="Numbers of refused events.")] = None,
    code: Annotated[str | None, typer.Option(help="All of this code.")] = None,
    file: Annotated[
        Path | None, typer.Option(help="JSONL of `events rejected --json`, with `event` mended where it has to be.")
    ] = None,
    forget: Annotated[bool, typer.Option("--forget", help="Gives them up instead.")] = False,
) -> None:
    """Sends refused events again, once the program, its settings or the events are mended."""
    from firstring.store.journey.rejected import rejected_events
    from firstring.store.journey.resending import Resent
    from firstring.store.journey.resending import resend as send

    if not numbers and code is None and file is None:
        raise BadInput("nothing_named", "Which events?", hint="Give numbers, --code or --file.")
    mended = _mended(file) if file is not None else {}

    async def work() -> None:
        taken = forgotten = 0
        async with store() as (database, tenant, settings):
            now = SystemClock().now()

            async def some(ids: list[int]) -> Resent:
                done = await send(database, tenant, ids, mended=mended, now=now, country=settings.country, forget=forget)
                for one in done.rejected:
                    out.print(f"{one.rejected_id}: {one.code}: {one.message}", highlight=False, markup=False, soft_wrap=True)
                for number in done.unknown:
                    out.print(f"{number}: there is no such refused event", highlight=False)
                return done

            named = [*(numbers or ()), *mended]
            for start in range(0, len(named), _AT_A_TIME):
                done = await some(named[start : start + _AT_A_TIME])
                taken, forgotten = taken + done.taken, forgotten + done.forgotten
            last = 0
            while code is not None:
                page = await rejected_events(database, tenant, after=last, code=code, at_most=_AT_A_TIME)
                if not page:
                    break
                last = page[-1].rejected_id
                done = await some([one.rejected_id for one in page])
                taken, forgotten = taken + done.taken, forgotten + done.forgotten
        out.print(f"{forgotten:,} given up" if forget else f"{taken:,} taken", highlight=False)

    run(work())


def _mended(file: Path) -> dict[int, Any]:
    try:
        rows = [msgspec.json.decode(line) for line in file.read_bytes().splitlines() if line.strip()]
        return {int(row["rejected_id"]): row["event"] for row in rows}
    except (OSError, msgspec.DecodeError, KeyError, TypeError, ValueError) as error:
        raise BadInput(
            "rejected_unreadable",
            "The file cannot be read.",
            where={"file": str(file)},
            hint="Give one that `firstring events rejected --json` wrote.",
        ) from error
