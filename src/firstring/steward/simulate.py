"""`firstring simulate`: policies side by side on a world, or how many agents a promise takes."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import msgspec
import typer
from rich import box
from rich.console import Console
from rich.table import Table

from firstring.errors import BadInput

if TYPE_CHECKING:
    from firstring.routing.simulate.compare import Comparison, Mean
    from firstring.routing.simulate.staffing import Staffing
    from firstring.routing.simulate.world import World

out = Console(width=None if Console().is_terminal else 110)
_FILE_BYTES = 1_000_000


def register(app: typer.Typer) -> None:
    """Adds the command to the program."""
    app.command("simulate")(simulate)


def simulate(
    world: Annotated[
        Path | None, typer.Argument(help="The world, as TOML; --schema prints one.", metavar="WORLD.toml")
    ] = None,
    schema: Annotated[bool, typer.Option("--schema", help="Prints a world with every field and its default.")] = False,
    calls: Annotated[
        Path | None, typer.Option(help="Makes the world from a call log in the Anonymous Bank's format (.txt or .txt.gz).")
    ] = None,
    days: Annotated[str | None, typer.Option(help="Days of the call log, as 990104 or 990104-990129.")] = None,
    seeds: Annotated[int, typer.Option(help="Runs; intervals come from their spread.", min=1, max=1_000)] = 5,
    seed: Annotated[int, typer.Option(help="Seed of the first run.", min=0)] = 1,
    policy: Annotated[list[str] | None, typer.Option(help="A policy; several times for several. Otherwise all.")] = None,
    staff: Annotated[str | None, typer.Option(help="How many agents does a promise take? 80/20: 80 % within 20 s.")] = None,
    processes: Annotated[int, typer.Option(help="Runs at the same time; 0: as many as there are processors.", min=0)] = 0,
    html: Annotated[Path | None, typer.Option(help="Writes a report with charts, one file that needs nothing else.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Prints the figures of every run as JSON.")] = False,
) -> None:
    """Tries routing policies on a simulated contact centre: first come, static skills, greedy, batches, prices."""
    # One run is one process; threads inside the matrix library would only get into each other's way.
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    from firstring.routing.simulate.compare import FIRST_COME, OURS, POLICIES, compare
    from firstring.routing.simulate.report import page
    from firstring.routing.simulate.staffing import promise
    from firstring.routing.simulate.staffing import staff as staffed
    from firstring.routing.simulate.world import SCHEMA

    if schema:
        typer.echo(SCHEMA, nl=False)
        return
    simulated = _world(world, calls, days)
    if html is not None:
        _writable(html)  # said before the runs, which may take an hour
    numbers = list(range(seed, seed + seeds))
    at_once = processes or os.cpu_count() or 1
    if staff is not None:
        share, within_s = promise(staff)
        wanted = policy or [FIRST_COME, OURS]
        answer = staffed(simulated, share=share, within_s=within_s, seeds=numbers, names=wanted, processes=at_once)
        typer.echo(msgspec.json.encode(answer).decode()) if as_json else _show_staffing(answer)
        return
    result = compare(simulated, seeds=numbers, names=policy or list(POLICIES), processes=at_once)
    if html is not None:
        try:
            html.write_text(page(result), encoding="utf-8")
        except OSError as error:
            raise _not_written(html, error) from error
    if as_json:
        typer.echo(msgspec.json.encode(result).decode())
    else:
        _show(result)


def _world(path: Path | None, calls: Path | None, days: str | None) -> World:
    from firstring.routing.simulate.calllog import world_of_calls
    from firstring.routing.simulate.world import world_from_toml

    if (path is None) == (calls is None):
        raise BadInput(
            "world_missing",
            "A world is needed: a TOML file or a call log",
            hint="firstring simulate --schema > world.toml, then firstring simulate world.toml",
        )
    if calls is not None:
        return world_of_calls(_lines(calls), file=str(calls), days=days)
    assert path is not None
    try:
        if path.stat().st_size > _FILE_BYTES:
            raise BadInput("file_too_large", "A world is at most 1 MB", where={"file": str(path)})
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise BadInput("file_unreadable", "The file cannot be read", where={"file": str(path)}) from error
    return world_from_toml(text, file=str(path))


def _writable(path: Path) -> None:
    """Raises BadInput file_not_written."""
    try:
        path.open("a", encoding="utf-8").close()
    except OSError as error:
        raise _not_written(path, error) from error


def _not_written(path: Path, error: OSError) -> BadInput:
    return BadInput("file_not_written", f"The file cannot be written ({type(error).__name__}).", where={"file": str(path)})


def _lines(path: Path) -> list[str]:
    import gzip
    import zlib

    try:
        raw = path.read_bytes()
        return (gzip.decompress(raw) if raw[:2] == b"\x1f\x8b" else raw).decode("latin-1").splitlines()
    except (OSError, EOFError, zlib.error) as error:
        raise BadInput("file_unreadable", "The file cannot be read", where={"file": str(path)}) from error


def _show(result: Comparison) -> None:
    world = result.world
    out.print(
        f"{world.name}: {world.agent_count} agents, {world.per_hour:,.0f} contacts an hour, load {world.load:.2f}, "
        f"{world.hours:g} h of which {world.warm_up_hours:g} are not counted, {len(result.seeds)} runs",
        highlight=False,
    )
    table = Table(
        box=box.SIMPLE_HEAD,
        padding=(0, 1, 0, 0),
        pad_edge=False,
        caption="±: half of the 95 % interval over the runs; gap: share of the way from first come to the bound;\n"
        f"gone: hung up; SL: answered within {world.target_s:g} s; busy: least and most occupied agent",
    )
    for column in ("policy", "success", "uplift %", "gap %", "gone %", "ASA s", "max s", "SL %", "busy"):
        table.add_column(column, justify="left" if column == "policy" else "right", no_wrap=True)
    for one in result.policies:
        most, least = one.mean("occupancy_max").mean, one.mean("occupancy_min").mean
        table.add_row(
            one.policy,
            f"{one.mean('success').mean:.4f}",
            _number(one.uplift, 100.0, 1),
            _number(one.gap, 100.0, 1),
            f"{100 * one.mean('abandoned').mean:.2f}",
            f"{one.mean('answer_s').mean:.1f}",
            f"{max(run.wait_max_s for run in one.runs):.0f}",
            f"{100 * one.mean('in_time').mean:.1f}",
            f"{least:.2f}-{most:.2f}",
        )
    table.add_row("bound", f"{result.bound.mean:.4f}", *[""] * 7)
    out.print(table)


def _show_staffing(answer: Staffing) -> None:
    out.print(f"{100 * answer.share:g} % answered within {answer.within_s:g} s takes", highlight=False)
    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), pad_edge=False)
    for column in ("policy", "agents", "groups", "in time %", "one fewer %", "hang up %"):
        table.add_column(column, justify="right" if column in ("agents",) or "%" in column else "left")
    if answer.erlang_a is not None:
        table.add_row("Erlang-A, all alike", str(answer.erlang_a), "", "", "", "")
    for one in answer.found:
        table.add_row(
            one.policy,
            str(one.agents),
            ", ".join(f"{name} {count}" for name, count in one.groups.items()),
            _number(one.in_time, 100.0, 1),
            "" if one.fewer_in_time is None else _number(one.fewer_in_time, 100.0, 1),
            _number(one.abandoned, 100.0, 2),
        )
    out.print(table)


def _number(value: Mean | Any, factor: float, digits: int) -> str:
    half = "" if value.half != value.half else f" ±{factor * value.half:.{digits}f}"
    return f"{factor * value.mean:.{digits}f}{half}"
