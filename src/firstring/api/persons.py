"""Persons over HTTP: the golden record now and at any past moment, conflicts of values, the report of the hygiene job."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Final

import msgspec
from litestar import Controller, Response, get, post
from litestar.di import NamedDependency
from litestar.openapi.datastructures import ResponseSpec
from litestar.params import JSONBody, Parameter
from msgspec import Meta

from firstring.api.access import Caller, allow
from firstring.api.people import PersonId
from firstring.api.services import Services
from firstring.contact import Journey, RecordRead
from firstring.identity.golden.record import Golden, GoldenField, GoldenValue
from firstring.journey.timeline import journey
from firstring.store.identity import persons as store
from firstring.store.identity.conflicts import Choice, Conflict, Decided, choices_of, conflicts_of, open_conflicts, resolve
from firstring.store.identity.conflicts import Open as OpenConflict
from firstring.store.identity.hygiene import Stale, Sweep, last_finished, stale_persons, under_way

LISTED: Final = 100
_ALL_IDS: Final = 2**63 - 1
ConflictId = Annotated[int, Parameter(ge=1, le=_ALL_IDS)]
After = Annotated[int, Parameter(ge=0, le=_ALL_IDS, description="Lists those after this number.")]
At = Annotated[
    str | None,
    Parameter(description="A past moment, RFC 3339, or a date.", pattern=r"^[0-9TtZz:.+ -]{10,40}$"),
]


class MemberView(msgspec.Struct, frozen=True):
    """A source record of a person. own_id: the source's own id of it, for administrators only."""

    record_id: int
    source: str
    last_seen: datetime | None
    verified_at: datetime | None
    enriched: bool = False
    own_id: str | None = None


class PersonView(msgspec.Struct, frozen=True):
    """A person: the winning values (profile) and all of them (golden), the records behind them, and what they have been
    through. household: others who carry one of their identifiers. choices: what stewards chose, with who, when and why.
    records_cut: not every record was read."""

    person_id: int
    profile: dict[str, Any]
    golden: Golden
    records: list[MemberView]
    household: list[store.Sharing]
    conflicts: list[OpenConflict]
    choices: list[Choice]
    changes: list[store.Change]
    journey: Journey
    records_cut: bool


class PastView(msgspec.Struct, frozen=True):
    """A person as of a past moment. person_id is who `asked` was then; gone: records that were there and were deleted
    since, of which nothing else is kept."""

    asked: int
    person_id: int
    at: datetime
    profile: dict[str, Any]
    golden: Golden
    records: list[MemberView]
    gone: list[int]
    records_cut: bool


class Merged(msgspec.Struct, frozen=True):
    """A person that was merged into another one."""

    person_id: int
    merged_into: int


_SHORT: Final = r"^[^\x00-\x1f\x7f-\x9f]{1,100}$(?!\n)"


class DecideConflict(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A steward's choice: one of the listed values, exactly; who chose, and why."""

    value: Annotated[str, Meta(min_length=1, max_length=1_000)]
    by: Annotated[str, Meta(pattern=_SHORT, description="Who says so.")]
    because: Annotated[str, Meta(min_length=1, max_length=1_000, description="Why; kept with the decision.")]


class HygieneView(msgspec.Struct, frozen=True):
    """The last sweep that was finished, the one under way, and persons of whom something should be asked again."""

    last: Sweep | None
    under_way: Sweep | None
    ask_again: list[Stale]


class PersonsController(Controller):
    path = "/v1"
    tags = ("persons",)

    @get(
        "/persons/{person_id:int}",
        guards=[allow("read", "steward")],
        summary="A person: golden record, members, household, conflicts, journey",
        responses={308: ResponseSpec(Merged, generate_examples=False, description="Merged into another person.")},
    )
    async def person(
        self,
        person_id: PersonId,
        services: NamedDependency[Services],
        caller: NamedDependency[Caller],
        at: At = None,
    ) -> Response[PersonView | PastView | Merged]:
        """308 with the living person's address where this one was merged; with `at`, who it was then."""
        database, tenant, now = services.database, caller.tenant, services.clock.now()
        rules = services.models.survivorship
        sees_ids = caller.role == "administrator"
        if at is not None:
            past = await store.person_at(database, tenant, person_id, store.moment(at))
            return Response(_past(past, past.golden(now, rules), sees_ids))
        found = await store.person(database, tenant, person_id)
        living = found.person_id
        if living != person_id:
            return Response(Merged(person_id, living), status_code=308, headers={"Location": f"/v1/persons/{living}"})
        made = found.golden(now, rules)
        read = await services.ring.read(tenant, (), None, persons=(living,))
        return Response(
            PersonView(
                person_id=living,
                profile=made.profile(),
                golden=shown(made, sees_ids),
                records=_members(found, sees_ids),
                household=await store.household(database, tenant, found),
                conflicts=await conflicts_of(database, tenant, living),
                choices=await choices_of(database, tenant, found),
                changes=await store.changes(database, tenant, living),
                journey=journey(living, read.touches, now=now, issues_cut=living in read.issues_cut),
                records_cut=found.records_cut,
            )
        )

    @get("/conflicts", guards=[allow("read", "steward")], summary="Values that contradict each other, the oldest first")
    async def conflicts(
        self, services: NamedDependency[Services], caller: NamedDependency[Caller], after: After = 0
    ) -> list[Conflict]:
        """At most 100; more from the last one's number on."""
        found = await open_conflicts(
            services.database, caller.tenant, services.models.survivorship, services.clock.now(), after=after, at_most=LISTED
        )
        sees_ids = caller.role == "administrator"
        return [msgspec.structs.replace(one, values=tuple(_value(value, sees_ids) for value in one.values)) for one in found]

    @post(
        "/conflicts/{conflict_id:int}",
        status_code=200,
        guards=[allow("steward")],
        summary="Which of the values is right",
    )
    async def decide(
        self,
        conflict_id: ConflictId,
        data: JSONBody[DecideConflict],
        services: NamedDependency[Services],
        caller: NamedDependency[Caller],
    ) -> Decided:
        """It wins by the rule 'steward', with every source and model, until its record changes it or goes."""
        return await resolve(
            services.database,
            caller.tenant,
            conflict_id,
            data.value,
            made_by=data.by,
            reason=data.because,
            rules=services.models.survivorship,
            now=services.clock.now(),
        )

    @get("/hygiene", guards=[allow("read", "steward")], summary="What the last look at all persons found")
    async def hygiene(
        self, services: NamedDependency[Services], caller: NamedDependency[Caller], after: After = 0
    ) -> HygieneView:
        """Counts by field, and at most 100 persons to ask again, from the one after `after` on."""
        database, tenant = services.database, caller.tenant
        return HygieneView(
            await last_finished(database, tenant),
            await under_way(database, tenant),
            await stale_persons(database, tenant, after=after, at_most=LISTED),
        )


def _past(past: store.Person, made: Golden, sees_ids: bool) -> PastView:
    assert past.at is not None
    return PastView(
        asked=past.asked,
        person_id=past.person_id,
        at=past.at,
        profile=made.profile(),
        golden=shown(made, sees_ids),
        records=_members(past, sees_ids),
        gone=list(past.gone),
        records_cut=past.records_cut,
    )


def _members(found: store.Person, sees_ids: bool) -> list[MemberView]:
    def view(record: RecordRead) -> MemberView:
        own_id = str(record.fields.get("record_id", "")) if sees_ids else None
        return MemberView(
            record.record_id, record.source, record.last_seen, record.verified_at, record.enriched, own_id or None
        )

    return [view(record) for record in (*found.records, *found.enrichments)]


def shown(made: Golden, sees_ids: bool) -> Golden:
    """Without the sources' own ids, unless the caller may see them."""
    if sees_ids:
        return made

    def hidden(fields: dict[str, GoldenField]) -> dict[str, GoldenField]:
        return {
            name: msgspec.structs.replace(
                field,
                values=tuple(_value(value, False) for value in field.values),
                losers=tuple(_value(value, False) for value in field.losers),
            )
            for name, field in fields.items()
        }

    return Golden(made.rules, hidden(made.fields), hidden(made.attributes))


def _value(value: GoldenValue, sees_ids: bool) -> GoldenValue:
    if sees_ids:
        return value
    return msgspec.structs.replace(value, said_by=tuple(msgspec.structs.replace(one, own_id="") for one in value.said_by))
