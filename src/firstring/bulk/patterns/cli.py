"""Commands about patterns: `firstring patterns check`, `try`, `library`. They need no store, key or server."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import msgspec
import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from firstring.errors import BadInput
from firstring.ports import SystemClock

if TYPE_CHECKING:
    from firstring.bulk.patterns.trial import PatternTrial, Trial

_BARS = "▁▂▃▄▅▆▇█"
_out = Console()
patterns_app = typer.Typer(no_args_is_help=True, help="Good and bad patterns in what customers do.")


def register(app: typer.Typer) -> None:
    """Adds the commands to the program."""
    app.add_typer(patterns_app, name="patterns")


@patterns_app.command("check")
def check(files: Annotated[list[Path], typer.Argument(help="YAML files of patterns.")]) -> None:
    """Checks patterns: fields, names, conditions, windows. The first mistake is shown with its file and line."""
    from firstring.bulk.patterns.trial import patterns_of_files

    for pattern in patterns_of_files(files):
        window = f"within {_span(pattern.within_ms)}" if pattern.within_ms else "at once"
        _out.print(
            f"{pattern.id}: {pattern.valence}, by {pattern.by}, {window}", highlight=False, markup=False, soft_wrap=True
        )


@patterns_app.command("library")
def library(
    pattern: Annotated[str, typer.Argument(help="One of them, to be printed as YAML.")] = "",
) -> None:
    """Lists the patterns that come along, or prints one to be copied."""
    from firstring.journey.patterns.library import library as all_of_them
    from firstring.journey.patterns.library import sources

    if not pattern:
        for one in all_of_them():
            _out.print(f"{one.id}: {one.title} ({one.valence})", markup=False, highlight=False, soft_wrap=True)
        return
    text = dict(sources()).get(pattern)
    if text is None:
        raise BadInput(
            "pattern_unknown", f"The library has no pattern {pattern[:64]}.", hint="`firstring patterns library` lists them."
        )
    typer.echo(text, nl=False)


@patterns_app.command("try")
def try_patterns(
    on: Annotated[Path, typer.Option("--on", help="Events: CSV, JSONL or Parquet, as for `import --events`.")],
    files: Annotated[list[Path] | None, typer.Argument(help="YAML files of patterns (default: the library).")] = None,
    examples: Annotated[int, typer.Option(help="Firings of each pattern shown with their events.", min=0)] = 3,
    as_json: Annotated[bool, typer.Option("--json", help="Prints everything as JSON, every firing included.")] = False,
) -> None:
    """Whom would they have caught, when, how often, by which events? As of the last event of the file."""
    from firstring.bulk.patterns.trial import history, patterns_of_files, tried
    from firstring.journey.patterns.library import library as all_of_them

    patterns = patterns_of_files(files) if files else all_of_them()
    trial = tried(patterns, history(on, received_at=SystemClock().now()), str(on), examples=examples)
    if as_json:
        typer.echo(msgspec.json.encode(trial).decode())
    else:
        _show(trial)


def _show(trial: Trial) -> None:
    from firstring.bulk.patterns.trial import BUCKETS

    span = f", {trial.first:%Y-%m-%d} to {trial.last:%Y-%m-%d}" if trial.first and trial.last else ""
    _out.print(f"{trial.events:,} events of {trial.people:,} people{span}", highlight=False)
    for count, what in ((trial.duplicates, "events came twice and count once"), (trial.rejected, "rows are no events")):
        if count:
            _out.print(f"{count:,} {what}{': ' + escape(trial.notes[0]) if 'rows' in what else ''}", highlight=False)
    table = Table()
    table.add_column("pattern", no_wrap=True)
    for name in ("fired", "caught", "of all"):
        table.add_column(name, justify="right")
    table.add_column("over time", no_wrap=True, min_width=BUCKETS)
    for one in trial.patterns:
        table.add_row(one.id, f"{one.fired:,}", f"{one.subjects:,}", f"{one.share:.1%}", sparkline(one.per_bucket))
    _out.print(table)
    for one in trial.patterns:
        _show_examples(one)
    for one in trial.patterns:
        for warning in one.warnings:
            _out.print(f"[yellow]{one.id}[/yellow]: {escape(warning)}", highlight=False, soft_wrap=True)


def _show_examples(one: PatternTrial) -> None:
    for catch in one.examples:
        events = ", ".join(f"{event.name} {event.at:%m-%d %H:%M}" for event in catch.events)
        line = f"{one.id}: {catch.subject} at {catch.at:%Y-%m-%d %H:%M} by {events}"
        _out.print(line, markup=False, highlight=False, soft_wrap=True)
    if one.examples and one.fired > len(one.examples):
        _out.print(f"{one.id}: and {one.fired - len(one.examples):,} more", highlight=False)


def sparkline(counts: list[int]) -> str:
    """Counts as bars; a blank where there are none."""
    most = max(counts, default=0)
    return "".join(_BARS[(count * len(_BARS) - 1) // most] if count else " " for count in counts) if most else ""


def _span(milliseconds: int) -> str:
    for unit, size in (("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1_000)):
        if milliseconds and milliseconds % size == 0:
            return f"{milliseconds // size}{unit}"
    return f"{milliseconds}ms" if milliseconds else "at once"
