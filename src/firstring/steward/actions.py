"""The commands about actions and offers."""

from __future__ import annotations

import csv
import getpass
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import msgspec
import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from firstring.errors import BadInput
from firstring.ports import SystemClock
from firstring.steward.action_trial import try_policy
from firstring.steward.files import texts_of
from firstring.steward.opened import run, store

if TYPE_CHECKING:
    from firstring.contact import ActionVerdict
    from firstring.nextbest.actions import Catalogue
    from firstring.store.nextbest.decisions import Stored

actions_app = typer.Typer(no_args_is_help=True, help="The next best action: what is declared, decided, learned.")
offers_app = typer.Typer(no_args_is_help=True, help="The catalogue of offers.")
out = Console()
err = Console(stderr=True)
Json = Annotated[bool, typer.Option("--json", help="Prints the result as JSON.")]


def register(app: typer.Typer) -> None:
    """Adds the commands to the program."""
    actions_app.command("try")(try_policy)
    app.add_typer(actions_app, name="actions")
    app.add_typer(offers_app, name="offers")


def _line(text: str) -> None:
    out.print(text, markup=False, highlight=False, soft_wrap=True)


@actions_app.command("check")
def check(files: Annotated[list[Path], typer.Argument(help="YAML files of actions.")]) -> None:
    """Checks actions: fields, words, conditions, caps, hours. The first mistake is shown with its file and line."""
    from firstring.nextbest.declared import together
    from firstring.nextbest.library import BUILT_IN

    found = together(texts_of(files), BUILT_IN)
    for action in found.actions:
        if action.file and not action.file.startswith("library/"):
            _line(f"{action.name}: {action.kind} by {action.route}, {_when(action.trigger)}")
    _line(f"{len(found.actions)} actions with those that come along, version {found.version}")


@actions_app.command("library")
def library(action: Annotated[str, typer.Argument(help="One of them, to be printed as YAML.")] = "") -> None:
    """Lists the actions that come along, or prints one to be copied. Those for contacts are in force for everyone."""
    from firstring.nextbest.library import library as of_part
    from firstring.nextbest.library import sources

    if action:
        text = dict(sources("contact") + sources("journey")).get(action)
        if text is None:
            raise _unknown(action, "`firstring actions library` lists them.")
        typer.echo(text, nl=False)
        return
    for part, note in (("contact", "in force"), ("journey", "to be loaded")):
        for one in of_part(part).actions:  # type: ignore[arg-type]
            _line(f"{one.name}: {one.title} ({one.kind} by {one.route}, {note})")


@actions_app.command("load")
def load(
    files: Annotated[list[Path], typer.Argument(help="YAML files: all that is to be in force beside what comes along.")],
    by: Annotated[str, typer.Option(help="Who loads it (default: the user of this system).")] = "",
) -> None:
    """Puts declared actions in force, in the place of those loaded before. Running servers follow within a second."""
    from firstring.store.nextbest.policies import load_policy, unknown_patterns

    texts = [(Path(name).name, text) for name, text in texts_of(files)]

    async def work() -> tuple[Catalogue, list[str]]:
        async with store() as (database, tenant, _), database.transaction(tenant.tenant_id) as connection:
            loaded = await load_policy(
                connection, tenant, texts, by=by or getpass.getuser(), now=SystemClock().now(), origin="actions"
            )
            return loaded, await unknown_patterns(connection, tenant, loaded)

    found, unknown = run(work())
    _line(f"in force: {len(found.actions)} actions, version {found.version}")
    for pattern in unknown:
        waiting = ", ".join(action.name for action in found.by_pattern[pattern])
        _line(f"no pattern {pattern} is on: {waiting} will wait for it in vain (`firstring patterns load`)")


@actions_app.command("list")
def list_actions(
    versions: Annotated[bool, typer.Option("--versions", help="Lists the versions that were loaded instead.")] = False,
    back_to: Annotated[str, typer.Option(help="Puts a version that was loaded before in force again.")] = "",
    as_json: Json = False,
) -> None:
    """Lists the actions in force with what was learned of them, or the versions of the policy."""
    from firstring.store.nextbest import policies

    async def work() -> tuple[Any, Any]:
        async with store() as (database, tenant, _), database.transaction(tenant.tenant_id) as connection:
            if back_to:
                await policies.back_to(connection, tenant, back_to, origin="actions")
            return await policies.policies(connection, tenant), await policies.read_in_force(connection, tenant)

    lines, force = run(work())
    if versions:
        if as_json:
            typer.echo(msgspec.json.encode(lines).decode())
            return
        for line in lines:
            mark = "in force" if line.active else "        "
            _line(f"{line.version}  {mark}  {line.actions} actions  {line.loaded_at:%Y-%m-%d %H:%M}  {line.loaded_by}")
        return
    if as_json:
        rows = [
            {"action": one.name, "kind": one.kind, "route": one.route, "title": one.title, "when": _when(one.trigger),
             "learned": force.learned.actions.get(one.name), "held_out": force.learned.held_out.get(one.name)}
            for one in force.catalogue.actions
        ]  # fmt: skip
        typer.echo(msgspec.json.encode({"version": force.catalogue.version, "actions": rows}).decode())
        return
    _line(
        f"version {force.catalogue.version}, learned {force.learned.version}, {force.catalogue.policy.holdout:.0%} held out"
    )
    for one in force.catalogue.actions:
        tally, held = force.learned.actions.get(one.name), force.learned.held_out.get(one.name)
        learned = "" if tally is None else f"  worked {tally.worked:g} of {tally.tried:g}"
        learned += "" if held is None else f", by itself {held.worked:g} of {held.tried:g}"
        _line(f"{one.name}: {one.kind} by {one.route}, {_when(one.trigger)}{learned}")


@actions_app.command("decisions")
def list_decisions(
    person: Annotated[int | None, typer.Option(help="Only those of this person.")] = None,
    at_most: Annotated[int, typer.Option(help="How many.", min=1, max=10_000)] = 50,
    as_json: Json = False,
) -> None:
    """Lists decisions, the newest first."""
    from firstring.store.nextbest.decisions import decisions

    async def work() -> Any:
        async with store() as (database, tenant, _):
            return await decisions(database, tenant, person_id=person, at_most=at_most)

    lines = run(work())
    if as_json:
        typer.echo(msgspec.json.encode(lines).decode())
        return
    for one in lines:
        came = f", {one.result}" if one.result else ""
        _line(
            f"{one.decision_id}  {one.decided_at:%Y-%m-%d %H:%M}  person {one.person_id}  {one.outcome} {one.action}{came}"
        )


@actions_app.command("explain")
def explain(
    decision: Annotated[str, typer.Argument(help="The decision's id.")],
    as_json: Json = False,
) -> None:
    """Why this action: who was gated and why, the factors, the losers, the smallest change that flips the choice."""
    from firstring.store.nextbest.decisions import decision as stored
    from firstring.store.nextbest.decisions import decision_uuid

    async def work() -> Any:
        async with store() as (database, tenant, _):
            return await stored(database, tenant, decision_uuid(decision))

    found = run(work())
    if as_json:
        typer.echo(msgspec.json.encode(found).decode())
        return
    _explained(found)


def _explained(found: Stored) -> None:
    decided, trace = found.decided, found.trace
    why = "; ".join(reason.text for reason in decided.chosen.reasons)
    cause = decided.moment.fired or (f"asked for by {found.decided_by}" if found.decided_by else decided.moment.cause)
    _line(f"{decided.outcome} {decided.action} at {decided.at:%Y-%m-%d %H:%M} UTC, person {decided.person_id}, {cause}")
    _line(f"because: {why}; propensity {decided.propensity:.4f}; came of it: {found.result or 'open'}")
    table = Table()
    for name in ("action", "score", "P", "by itself", "C", "V", "L", "cost", "drawn", "gated by"):
        table.add_column(name, no_wrap=name == "action", justify="left" if name in ("action", "gated by") else "right")
    for one in sorted(
        decided.chosen.considered, key=lambda one: (one.action != decided.action, not one.allowed, -one.score)
    ):
        table.add_row(*_row(one))
    out.print(table)
    if trace is None:
        _line("The policy that it was decided with is gone, or is read otherwise by this version of the program.")
        return
    _line(f"what would have flipped it: {trace.flip.text if trace.flip is not None else 'no single change'}")
    _line("derived again: the same" if trace.same else "derived again: NOT the same")


def _row(one: ActionVerdict) -> list[str]:
    gated = escape(", ".join(reason.code for reason in one.gated_by))
    factors = one.factors
    if factors is None:
        return [one.action, "", "", "", "", "", "", "", "", gated]
    drawn = f"{one.propensity:.3f}" if one.propensity else ""
    return [
        one.action, f"{one.score:.2f}", f"{factors.chance:.3f}", f"{factors.base:.3f}", f"{factors.weight:g}",
        f"{factors.value:g}", f"{factors.lever:g}", f"{factors.cost:g}", drawn, gated,
    ]  # fmt: skip


@offers_app.command("load")
def load_offers(
    file: Annotated[Path, typer.Argument(help="CSV or JSONL with offer_id, title, price, category, url, products, ...")],
) -> None:
    """Puts a file's offers in the place of those before. Rows that are no offers are kept with their reasons."""
    from firstring.store.nextbest import offers

    rows = list(_rows(file))
    found, rejected = offers.read_rows(rows)

    async def work() -> offers.Loaded:
        async with store() as (database, tenant, _):
            now = SystemClock().now()
            async with database.transaction(tenant.tenant_id) as connection:
                loaded = await offers.load_offers(connection, tenant, file.name, found, rejected, now=now, origin="offers")
            await offers.rebuild(database, tenant, now=now, origin="offers")
            return loaded

    loaded = run(work())
    _line(f"{loaded.offers:,} offers, {loaded.rejected:,} rows rejected, {loaded.gone:,} offers are no more")
    for one in rejected[:5]:
        _line(f"row {one.number}: {one.message}")


@offers_app.command("list")
def list_offers(
    rejected: Annotated[bool, typer.Option("--rejected", help="Lists the rows that were refused.")] = False,
    at_most: Annotated[int, typer.Option(help="How many.", min=1, max=100_000)] = 50,
) -> None:
    """How many offers there are and what is known of their buyers; or the rows that were refused."""
    from firstring.store.queries import sql

    async def work() -> tuple[Any, Any]:
        async with store() as (database, tenant, _), database.transaction(tenant.tenant_id) as connection:
            counts = await connection.fetchrow(sql("offers", "counts"), tenant.tenant_id)
            return counts, await connection.fetch(sql("offers", "rejected"), tenant.tenant_id, at_most)

    counts, rows = run(work())
    if rejected:
        for row in rows:
            _line(f"{row['file']} row {row['row_number']}: {row['message']} {row['line']}")
        return
    learned = f"learned from {counts['people']:,} people" if counts["people"] else "nobody's interests are known"
    _line(f"{counts['offers']:,} offers, {counts['available']:,} available, {counts['rejected']:,} rows rejected; {learned}")


def _rows(file: Path) -> Iterator[Mapping[str, Any]]:
    """The rows of a CSV or JSONL file; a line that is no object is a row with its text. Raises as bulk.files.examine."""
    from firstring.bulk.files.formats import examine

    source = examine(file)
    if source.format == "parquet":
        raise BadInput(
            "unknown_format", "Offers are read from CSV or JSONL.", where={"file": str(file)}, hint="Save it as CSV."
        )
    with file.open(encoding="utf-8-sig", newline="") as lines:
        if source.format == "csv":
            reader = csv.DictReader(lines, delimiter=source.delimiter)
            try:
                for row in reader:
                    yield {("" if name is None else name.strip()): value for name, value in row.items()}
            except csv.Error as error:  # a cell of more than 131,072 characters
                where = {"file": str(file), "line": reader.line_num}
                raise BadInput("file_unreadable", f"The file cannot be read: {error}.", where=where) from error
            return
        for line in lines:
            if line.strip():
                yield _object(line)


def _object(line: str) -> Mapping[str, Any]:
    try:
        found = msgspec.json.decode(line)
    except (msgspec.DecodeError, RecursionError):
        found = None
    return found if isinstance(found, dict) else {"not an object": line.strip()[:500]}


def _when(trigger: Any) -> str:
    found = ["in contacts"] if trigger.contact else []
    if trigger.patterns:
        found.append("on " + ", ".join(sorted(trigger.patterns)))
    if trigger.after_ms:
        found.append(f"{trigger.after_ms // 60_000} min after")
    return " ".join(found)


def _unknown(action: str, hint: str) -> BadInput:
    return BadInput("unknown_action", "There is no such action.", where={"action": action[:64]}, hint=hint, http_status=404)
