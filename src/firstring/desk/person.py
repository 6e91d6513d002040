"""A person's page at the desk: profile and timeline across all channels."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Final, NamedTuple
from urllib.parse import urlencode

from litestar import Controller, Response, get
from litestar.di import NamedDependency
from litestar.params import FromPath, Parameter
from litestar.response import Redirect

from firstring.contact import OpenIssue
from firstring.desk.rendering import SECURITY_HEADERS
from firstring.desk.signin import Room, signed_in
from firstring.desk.views import channel_name, display_name
from firstring.errors import BadInput
from firstring.identity.golden.record import Golden, GoldenValue
from firstring.journey.traits import CHANNELS, Trait
from firstring.store.access import Session
from firstring.store.identity.persons import moment, unknown
from firstring.store.journey.profiles import Profile, Timeline, read_profile, read_timeline

SHOWN: Final = 30
_Before = Annotated[str | None, Parameter(max_length=40)]
_At = Annotated[str | None, Parameter(max_length=40)]
_Channel = Annotated[str | None, Parameter(pattern=r"^[a-z]{1,20}$")]
_TRAIT_LABELS: Final = {
    "recency_s": "Last there", "first_event_at": "First event", "visits_30d": "Visits and contacts, 30 days",
    "visits_365d": "Visits and contacts, a year", "orders": "Orders", "value": "Bought, less paid back",
    "last_order_at": "Last order", "last_intent": "Last about", "preferred_channel": "Prefers",
    "preferred_hour": "Mostly there around",
}  # fmt: skip


class Fact(NamedTuple):
    """A value of a field as people read it. lost: it did not win."""

    value: str
    source: str
    age: str
    rule: str
    lost: bool


class PersonController(Controller):
    """/person/{number}: agents see who comes into question in a contact of theirs, everybody else every person."""

    @get("/person/{person_id:int}", guards=[signed_in()])
    async def page(
        self,
        person_id: FromPath[int],
        room: NamedDependency[Room],
        session: NamedDependency[Session],
        at: _At = None,
        before: _Before = None,
        channel: _Channel = None,
    ) -> Response[Any]:
        """Profile and a page of the timeline. A merged person's address leads to the living one's."""
        services, tenant = room.services, session.tenant
        if not 0 < person_id < 2**63:
            raise unknown(person_id)
        await _refuse_others(room, session, person_id)
        then = None if not at else moment(at)
        now = services.clock.now()
        rules = services.models.survivorship
        found = await read_profile(services.database, tenant, person_id, now=now, rules=rules, at=then)
        if then is None and found.person_id != person_id:
            return Redirect(f"/person/{found.person_id}", status_code=303, headers=dict(SECURITY_HEADERS))
        timeline = await read_timeline(
            services.database, tenant, person_id, at=then, before=before or None, limit=SHOWN, channel=channel or None
        )
        asked = {"at": at, "channel": channel}
        return room.rendering.page(
            "person.html",
            session=session,
            csrf=session.csrf,
            role=session.staff.role,
            stream="",
            person=found,
            title=_title(found),
            issues_open=[_issue(one) for one in found.issues],
            facts=_facts(found.attributes),
            traits=[(_TRAIT_LABELS.get(one.name, one.name), _trait(one, now)) for one in found.traits.traits],
            timeline=timeline,
            older=_older(timeline, asked),
            filters=_filters(channel, at),
            at=at or "",
            first=before is None,
            now=now,
        )


async def _refuse_others(room: Room, session: Session, person_id: int) -> None:
    """Raises BadInput not_yours (403) for whom one may not see."""
    seen = await room.pops.may_see(session)
    if seen is None or person_id in seen:
        return
    raise BadInput(
        "not_yours",
        "This person is in no contact of yours.",
        hint="Open the profile from a contact that you have; supervisors may see everybody.",
        http_status=403,
    )


def _title(found: Profile) -> str:
    return display_name(found.person_id, found.attributes.profile())


def _issue(one: OpenIssue) -> dict[str, Any]:
    return {"title": f"Open {one.kind}", "summary": one.summary, "since": one.opened_at}


def _facts(golden: Golden) -> list[tuple[str, list[Fact]]]:
    fields = [*golden.fields.items(), *golden.attributes.items()]
    return [
        (
            name.replace("_", " ").capitalize(),
            [*(_fact(value, False) for value in field.values), *(_fact(value, True) for value in field.losers)],
        )
        for name, field in fields
    ]


def _fact(value: GoldenValue, lost: bool) -> Fact:
    age = "" if value.age_days is None else f"{value.age_days:,.0f} d"
    sources = ", ".join(dict.fromkeys(one.source for one in value.said_by))
    return Fact(str(value.value), sources, age + (", expired" if value.expired else ""), value.rule, lost)


def _trait(one: Trait, now: datetime) -> str:
    value = one.value
    if one.name == "value":
        return ", ".join(f"{amount:,.2f} {currency}" for currency, amount in value.items())
    if one.name == "preferred_hour":
        return f"{value:02}:00, their time"
    if one.name == "preferred_channel":
        return channel_name(value)
    if one.name == "recency_s":
        days = value / 86_400.0
        return f"{days:,.0f} days ago" if days >= 2 else f"{value / 3_600.0:,.1f} hours ago"
    if one.name.endswith("_at"):
        return str(value)[:10]
    return str(value)


def _older(timeline: Timeline, asked: dict[str, str | None]) -> str | None:
    if timeline.before is None:
        return None
    kept = {name: value for name, value in asked.items() if value}
    return f"?{urlencode({**kept, 'before': timeline.before})}"


def _filters(chosen: str | None, at: str | None) -> list[tuple[str, str, bool]]:
    """(text, address, whether it is the one shown) of each channel."""
    found = [("All", f"?{urlencode({'at': at})}" if at else "?", not chosen)]
    for name in (*CHANNELS, "backend"):
        query = {"channel": name, **({"at": at} if at else {})}
        found.append((channel_name(name), f"?{urlencode(query)}", name == chosen))
    return found
