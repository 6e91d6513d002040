"""Commands about persons: a person now or at a past moment, conflicts of their values, the hygiene job."""

from __future__ import annotations

import getpass
import os
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Annotated, Any

import msgspec
import typer
from rich.console import Console
from rich.table import Table

from firstring import limits
from firstring.errors import BadInput
from firstring.identity.golden.record import GoldenField, GoldenValue
from firstring.identity.golden.rules import CRITERIA, RULES_FILE, Rules, rules_from_file
from firstring.ports import SystemClock
from firstring.settings import Settings, load

if TYPE_CHECKING:
    from firstring.store.database import Database, Tenant
    from firstring.store.identity.hygiene import Sweep

AsJson = Annotated[bool, typer.Option("--json", help="Prints the result as JSON.")]
_out = Console()
_err = Console(stderr=True)


def register(app: typer.Typer) -> None:
    """Adds the commands to the program."""
    app.command("person")(show_person)
    app.command("conflicts")(conflicts)
    app.command("hygiene")(hygiene)


def run(work: Coroutine[Any, Any, Any]) -> Any:
    import uvloop

    return uvloop.run(work)


@asynccontextmanager
async def opened() -> AsyncIterator[tuple[Database, Tenant, Rules, Settings]]:
    from firstring.store.opening import database_only

    settings = load()
    rules = rules_from_file(settings.home / RULES_FILE)
    async with database_only(settings, lambda text: _err.print(text, style="dim", highlight=False)) as database:
        yield database, await database.tenant_named(settings.tenant), rules, settings


def show_json(value: Any) -> None:
    typer.echo(msgspec.json.format(msgspec.json.encode(value)).decode())


def show_person(
    person_id: Annotated[int, typer.Argument(metavar="ID", help="The person's number.", min=1)],
    at: Annotated[str, typer.Option(help="As of this moment: 2026-03-01T12:00:00Z, or a date.")] = "",
    as_json: AsJson = False,
) -> None:
    """A person, now or as of a past moment: each field with its source, age, rule and confidence, and what lost."""
    from firstring.store.identity.conflicts import choices_of
    from firstring.store.identity.persons import changes, moment, person, person_at

    then = moment(at) if at else None

    async def work() -> tuple[Any, ...]:
        async with opened() as (database, tenant, rules, _):
            found = await (
                person(database, tenant, person_id) if then is None else person_at(database, tenant, person_id, then)
            )
            made = found.golden(SystemClock().now(), rules)
            chosen = await choices_of(database, tenant, found)
            return found, made, await changes(database, tenant, found.person_id), chosen

    found, made, history, chosen = run(work())
    if as_json:
        show_json(
            {
                "asked": found.asked,
                "person_id": found.person_id,
                "at": found.at,
                "golden": made,
                "changes": history,
                "choices": chosen,
            }
        )
        return
    if found.person_id != found.asked:
        _out.print(f"{found.asked} was merged into {found.person_id}")
    when = "" if found.at is None else f" as of {found.at:%Y-%m-%d %H:%M:%S} UTC"
    table = Table("field", "value", "source", "age", "rule", "confidence", title=f"person {found.person_id}{when}")
    for name, field in [*made.fields.items(), *made.attributes.items()]:
        _rows(table, name, field)
    _out.print(table)
    _out.print(f"{len(found.records)} records" + (f", {len(found.gone)} deleted since" if found.gone else ""))
    for one in chosen[:5]:
        over = "" if one.revoked_at is None else " (revoked)"
        _out.print(f"{one.made_at:%Y-%m-%d %H:%M:%S} {one.made_by} chose {one.field}: {one.reason}{over}", markup=False)
    for change in history[:5]:
        _out.print(f"{change.changed_at:%Y-%m-%d %H:%M:%S} {change.kind} {change.other_id}: {change.cause}", markup=False)


def _rows(table: Table, name: str, field: GoldenField) -> None:
    mark = " (conflict)" if field.conflict else " (ask again)" if field.ask_again else ""
    for place, value in enumerate(field.values):
        table.add_row(name + mark if place == 0 else "", *cells(value), f"{value.confidence:.2f}")
    for value in field.losers:
        table.add_row("", *cells(value), f"[dim]{value.confidence:.2f}[/dim]", style="dim")


def cells(value: GoldenValue) -> tuple[str, str, str, str]:
    age = "" if value.age_days is None else f"{value.age_days:,.0f} d"
    sources = ", ".join(dict.fromkeys(one.source for one in value.said_by))
    return str(value.value).replace("[", "\\["), sources, age + (" expired" if value.expired else ""), value.rule


def conflicts(
    resolve: Annotated[int | None, typer.Option(help="Decides the conflict of this number.")] = None,
    value: Annotated[str, typer.Option(help="The value that is right, as it is listed.")] = "",
    because: Annotated[str, typer.Option("--because", help="Why; kept with the decision.")] = "",
    by: Annotated[str, typer.Option("--by", help="Who decides (default: the account).")] = "",
    after: Annotated[int, typer.Option(help="Lists those after this number.", min=0)] = 0,
    as_json: AsJson = False,
) -> None:
    """Values that contradict each other: lists them, the oldest first, or decides one."""
    from firstring.store.identity.conflicts import open_conflicts
    from firstring.store.identity.conflicts import resolve as decide

    if resolve is not None and not (value and because):
        raise BadInput(
            "argument_missing", "A decision needs a value and a reason.", where={"argument": "--value, --because"}
        )

    async def work() -> None:
        async with opened() as (database, tenant, rules, _):
            now = SystemClock().now()
            if resolve is not None:
                made = await decide(
                    database, tenant, resolve, value, made_by=by or getpass.getuser(), reason=because, rules=rules, now=now
                )
                _out.print(f"{made.field} of person {made.person_id}: decided, with the record of {made.source}")
                return
            found = await open_conflicts(database, tenant, rules, now, after=after)
            if as_json:
                show_json(found)
                return
            table = Table("conflict", "person", "field", "value", "sources", "because")
            for one in found:
                for place, option in enumerate(one.values):
                    head = (str(one.conflict_id), str(one.person_id), one.field) if place == 0 else ("", "", "")
                    text, sources, _, rule = cells(option)
                    table.add_row(*head, text, sources, CRITERIA[rule] if place == 0 else "")
            _out.print(table)
            _out.print(f"{len(found)} conflicts" if found else "no conflicts")

    run(work())


def hygiene(
    once: Annotated[bool, typer.Option("--once", help="Looks at every person now.")] = False,
    stale: Annotated[bool, typer.Option("--stale", help="Lists persons of whom something should be asked again.")] = False,
    after: Annotated[int, typer.Option(help="Lists those after this person.", min=0)] = 0,
    as_json: AsJson = False,
) -> None:
    """What the last look at all persons found: by field how many have it, and of how many it expired or faded."""
    from firstring.store.identity.hygiene import Hygiene, last_finished, stale_persons, under_way

    async def work() -> None:
        async with opened() as (database, tenant, rules, settings):
            if once:
                os.nice(limits.NICENESS)
                job = Hygiene(database, SystemClock(), rules, country=settings.country)
                await job.once(tenant)
            if stale:
                found = await stale_persons(database, tenant, after=after)
                if as_json:
                    show_json(found)
                    return
                for one in found:
                    _out.print(f"person {one.person_id}: {', '.join(one.fields)}", highlight=False)
                _out.print(f"{len(found)} persons")
                return
            done, running = await last_finished(database, tenant), await under_way(database, tenant)
            if as_json:
                show_json({"last": done, "under_way": running})
                return
            if running is not None:
                _out.print(f"a sweep is under way: {running.report.persons:,} persons so far")
            if done is None:
                _out.print("no sweep has been finished yet")
            else:
                _show(done)

    run(work())


def _show(done: Sweep) -> None:
    report = done.report
    table = Table("field", "persons", "values", "expired", "faded", "conflicts", "stale")
    for name, count in report.fields.items():
        numbers = (count.persons, count.values, count.expired, count.faded, count.conflicts)
        table.add_row(name, *(f"{number:,}" for number in numbers), f"{report.stale_share(name):.1%}")
    _out.print(table)
    _out.print(
        f"{report.persons:,} persons, {report.records:,} records; {report.normalised:,} records brought into today's form; "
        f"{report.ask_again:,} persons to ask again; {report.conflicts_found:,} conflicts found, "
        f"{report.conflicts_closed:,} closed",
        highlight=False,
    )
