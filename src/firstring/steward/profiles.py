"""`firstring profile` and `firstring timeline`: a person across all channels, in the terminal."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from firstring.ports import SystemClock
from firstring.steward.persons import AsJson, cells, opened, run, show_json

if TYPE_CHECKING:
    from firstring.store.journey.profiles import Profile

_PAGE = 200
_out = Console()
PersonNumber = Annotated[int, typer.Argument(metavar="ID", help="The person's number.", min=1)]
AtMoment = Annotated[str, typer.Option("--at", help="As of this moment: 2026-03-01T12:00:00Z, or a date.")]


def register(app: typer.Typer) -> None:
    """Adds the commands to the program."""
    app.command("profile")(show_profile)
    app.command("timeline")(show_timeline)


def show_profile(person_id: PersonNumber, at: AtMoment = "", as_json: AsJson = False) -> None:
    """A person across all channels: attributes and where they are from, traits, open issues, consents, household, score."""
    from firstring.store.identity.persons import moment
    from firstring.store.journey.profiles import read_profile

    then = moment(at) if at else None

    async def work() -> Profile:
        async with opened() as (database, tenant, rules, _):
            return await read_profile(database, tenant, person_id, now=SystemClock().now(), rules=rules, at=then)

    found = run(work())
    if as_json:
        show_json(found)
        return
    if found.person_id != person_id:
        _out.print(f"{person_id} was merged into {found.person_id}")
    when = "" if then is None else f" as of {found.at:%Y-%m-%d %H:%M:%S} UTC"
    _attributes(found, when)
    _traits(found)
    _rest(found)


def _attributes(found: Profile, when: str) -> None:
    table = Table("attribute", "value", "source", "age", "rule", title=f"person {found.person_id}{when}")
    for name, field in [*found.attributes.fields.items(), *found.attributes.attributes.items()]:
        for place, value in enumerate(field.values):
            table.add_row(name if place == 0 else "", *cells(value))
        for value in field.losers:
            table.add_row("", *cells(value), style="dim")
    _out.print(table)


def _traits(found: Profile) -> None:
    table = Table("computed", "value", "from events")
    for one in found.traits.traits:
        table.add_row(one.name, escape(_shown(one.value)), ", ".join(map(str, one.event_ids[:5])))
    if found.traits.traits:
        _out.print(table)
    by_channel = [f"{count:,} {channel}" for channel, count in found.counts.by_channel.items()]
    told = ", ".join(by_channel) or "none"
    more = " and more" if found.counts.more else ""
    claimed = f"; {found.counts.claimed:,} that anybody may have sent" if found.counts.claimed else ""
    _out.print(f"events: {told}{more}{claimed}", highlight=False)


def _rest(found: Profile) -> None:
    for issue in found.issues:
        _out.print(f"open {issue.kind} since {issue.opened_at:%Y-%m-%d}: {issue.summary}", markup=False, highlight=False)
    for word in found.consents.words:
        said = "given" if word.given else "withdrawn"
        text = f"consent {said}: {word.purpose} on {word.channel}, {word.at:%Y-%m-%d}, {word.source}"
        _out.print(text, markup=False, highlight=False)
    if found.experience is not None:
        _out.print(f"experience {found.experience.score:g} of 100", highlight=False)
        for part in found.experience.parts[:5]:
            _out.print(f"  {part.points:+.1f} {part.reason} (event {part.event_id})", markup=False, highlight=False)
    for fired in found.patterns[:5]:
        _out.print(f"pattern {fired.pattern} ({fired.valence}) {fired.at:%Y-%m-%d %H:%M}", markup=False, highlight=False)
    for other in found.household:
        _out.print(f"shares {', '.join(other.shared)} with person {other.person_id}", highlight=False)
    for doubt in found.doubts:
        _out.print(doubt.text, markup=False, highlight=False)


def _shown(value: Any) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{amount:,.2f} {name}" for name, amount in value.items())
    return f"{value:,.0f}" if isinstance(value, float) else str(value)


def show_timeline(
    person_id: PersonNumber,
    at: AtMoment = "",
    channel: Annotated[str, typer.Option(help="Of this channel only.")] = "",
    before: Annotated[str, typer.Option(help="The next page: what the page before said.")] = "",
    limit: Annotated[int, typer.Option(help="Events on a page.", min=1, max=_PAGE)] = 20,
    as_json: AsJson = False,
) -> None:
    """What a person has been through, across all channels, newest first."""
    from firstring.store.identity.persons import moment
    from firstring.store.journey.profiles import Timeline, read_timeline

    then = moment(at) if at else None

    async def work() -> Timeline:
        async with opened() as (database, tenant, _, _):
            return await read_timeline(
                database, tenant, person_id, at=then, before=before or None, limit=limit, channel=channel or None
            )

    found = run(work())
    if as_json:
        show_json(found)
        return
    table = Table("time", "channel", "what", "source", "event", title=f"person {found.person_id}")
    for one in found.happened:
        marks = [one.standing] if one.standing == "claimed" else []
        marks += ["as a visitor"] if one.stitched else []
        what = escape(one.summary) + (f" [dim]({', '.join(marks)})[/dim]" if marks else "")
        table.add_row(f"{one.at:%Y-%m-%d %H:%M:%S}", one.channel, what, one.source, str(one.event_id))
    _out.print(table)
    if found.before is not None:
        _out.print(f"more: --before {found.before}", highlight=False)
