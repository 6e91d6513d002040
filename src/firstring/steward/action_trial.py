"""`firstring actions try`: what a policy would have brought, by decisions that were logged. Needs no store."""

from __future__ import annotations

import csv
import math
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import msgspec
import typer
from rich.console import Console
from rich.table import Table

from firstring.errors import BadInput
from firstring.steward.files import texts_of

if TYPE_CHECKING:
    from firstring.proof.offpolicy import Estimate, Evaluation, Logged

out = Console()
_KNOWN: Final = ("action", "propensity", "reward")


def try_policy(
    policy: Annotated[Path, typer.Argument(help="YAML of the actions to be tried; their conditions ask traits.COLUMN.")],
    on: Annotated[Path, typer.Option("--on", help="The log: CSV or JSONL with action, propensity, reward and facts.")],
    as_json: Annotated[bool, typer.Option("--json", help="Prints the result as JSON.")] = False,
) -> None:
    """What would it have brought? By inverse propensities (IPS), normalised (SNIPS), doubly robust (DR), with intervals."""
    from firstring.nextbest.declared import together
    from firstring.nextbest.evaluation.policy import choices_of
    from firstring.proof.offpolicy import evaluated

    actions = together(texts_of([policy]))
    log = list(logged(on))
    known: dict[bytes, dict[str, float]] = {}
    choices = []
    for row in log:
        key = msgspec.json.encode(row.facts)
        if key not in known:
            known[key] = choices_of(actions, row.facts)
        choices.append(known[key])
    found = evaluated(log, choices)
    if as_json:
        typer.echo(msgspec.json.encode(found).decode())
        return
    _show(found)


def _show(found: Evaluation) -> None:
    out.print(f"{found.rows:,} decisions; the weights leave {found.effective:,.0f}", highlight=False)
    table = Table("", "reward for each", "95 % from", "to")
    lines: tuple[tuple[str, Estimate], ...] = (
        ("logged", found.logged), ("IPS", found.ips), ("SNIPS", found.snips), ("DR", found.dr)
    )  # fmt: skip
    for name, estimate in lines:
        table.add_row(name, f"{estimate.value:.5f}", f"{estimate.low:.5f}", f"{estimate.high:.5f}")
    out.print(table)
    shares = ", ".join(f"{name} {share:.1%}" for name, share in list(found.chosen.items())[:8])
    out.print(f"it would have chosen: {shares}", highlight=False, soft_wrap=True)
    for warning in found.warnings:
        out.print(f"[yellow]{warning}[/yellow]", highlight=False, soft_wrap=True)


def logged(path: Path) -> Iterator[Logged]:
    """The decisions of a log. Raises BadInput log_invalid with file, line and field, and as bulk.files.examine."""
    from firstring.bulk.files.formats import examine
    from firstring.proof.offpolicy import Logged

    source = examine(path)
    if source.format == "parquet":
        raise BadInput("unknown_format", "A log is CSV or JSONL.", where={"file": str(path)}, hint="Save it as CSV.")
    with path.open(encoding="utf-8-sig", newline="") as lines:
        rows: Iterator[tuple[int, Mapping[str, Any]]]
        if source.format == "csv":
            reader = csv.DictReader(lines, delimiter=source.delimiter)
            rows = ((reader.line_num, row) for row in reader)
        else:
            rows = ((number, _object(path, number, line)) for number, line in enumerate(lines, 1) if line.strip())
        for number, row in rows:
            for name in _KNOWN:
                if row.get(name) in (None, ""):
                    raise _invalid(path, number, name, f"The row has no {name}.")
            facts = {name: _value(value) for name, value in row.items() if name and name not in _KNOWN and value is not None}
            yield Logged(
                str(row["action"]),
                _number(path, number, "propensity", row["propensity"]),
                _number(path, number, "reward", row["reward"]),
                facts,
            )


def _object(path: Path, number: int, line: str) -> Mapping[str, Any]:
    try:
        found = msgspec.json.decode(line)
    except msgspec.DecodeError:
        found = None
    if not isinstance(found, dict):
        raise _invalid(path, number, "", "The line is no JSON object.")
    nested = found.pop("traits", None)
    return {**found, **nested} if isinstance(nested, dict) else found


def _value(value: Any) -> Any:
    """Cells of a CSV file are text: what reads as a number is one."""
    if not isinstance(value, str):
        return value
    try:
        number = float(value)
    except ValueError:
        return value
    return number if math.isfinite(number) else value


def _number(path: Path, line: int, name: str, value: Any) -> float:
    try:
        number = float(value)
    except (TypeError, ValueError):
        number = math.nan
    if not math.isfinite(number):
        raise _invalid(path, line, name, f"{name} is no number.")
    return number


def _invalid(path: Path, line: int, name: str, message: str) -> BadInput:
    where: dict[str, Any] = {"file": str(path), "line": line}
    if name:
        where["field"] = name
    return BadInput("log_invalid", message, where=where, hint="Each row needs action, propensity (0 to 1] and reward.")
