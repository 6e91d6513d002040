"""What people of the house do about contacts, over HTTP; lines and the waits that were told."""

from __future__ import annotations

import uuid
from typing import Annotated, Final

import msgspec
from litestar import Controller, get, post
from litestar.di import NamedDependency
from litestar.params import FromPath, JSONBody, Parameter
from msgspec import Meta

from firstring.api.access import Caller, allow
from firstring.api.contacts import DecisionView, Revision, decision_view
from firstring.api.services import Services, contact_uuid
from firstring.channels.announcing import Said, said_of
from firstring.channels.house import BECAUSE_CHARS, NOTE_CHARS, POINTS_MAX
from firstring.errors import BadInput
from firstring.store.interventions import Intervention, listed
from firstring.store.queries import sql
from firstring.store.routing.why import Why, why

Because = Annotated[str, Meta(min_length=1, max_length=BECAUSE_CHARS, description="Why: it is kept with what was done.")]
Note = Annotated[str, Meta(max_length=NOTE_CHARS, description="For whoever gets the contact; the customer never sees it.")]
Agent = Annotated[int, Meta(ge=1, le=2**63 - 1)]
Skills = dict[str, Annotated[int, Meta(ge=1, le=5)]]
LISTED_MAX: Final = 500


class Direction(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What is to be done with a contact that waits. points: of priority. to_agent: it waits for this agent alone, for a
    while. skills: what the next agent must bring. note: also for whoever has the contact now."""

    because: Because
    points: Annotated[int, Meta(ge=-POINTS_MAX, le=POINTS_MAX)] = 0
    to_agent: Agent | None = None
    skills: Skills = {}
    note: Note = ""


class Transfer(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """To whom a contact is handed on: an agent, whoever has the skills, or whoever serves what it turned out to be about."""

    because: Because
    to_agent: Agent | None = None
    skills: Skills = {}
    intent: Annotated[str, Meta(max_length=64)] = ""
    note: Note = ""


class CallBackWanted(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """phone: where to call; without it the number that called."""

    phone: Annotated[str, Meta(max_length=64)] = ""


class PlaceView(msgspec.Struct, frozen=True):
    """Where a contact stands in its line: place (1 is next, 1000 that far or further), and the wait that was told when it
    came (seconds; four of five waits lie between low and high). Nothing was told where nobody who is signed in may serve
    it, and in the first moment.

    said: what is to be announced now, and since when; it changes where the estimate or the place does. elsewhere: the place
    (self-service, another site) where the contact is.
    """

    contact_id: uuid.UUID
    state: str
    place: int | None = None
    told_wait_s: float | None = None
    told_low_s: float | None = None
    told_high_s: float | None = None
    said: Said | None = None
    elsewhere: str | None = None


class InterventionList(msgspec.Struct, frozen=True):
    """The newest, newest first."""

    interventions: list[Intervention]


class HouseController(Controller):
    path = "/v1"
    tags = ("contacts",)

    @get("/contacts/{contact_id:str}/place", guards=[allow("adapter")], summary="A contact's place in its line")
    async def place(
        self, contact_id: FromPath[str], services: NamedDependency[Services], caller: NamedDependency[Caller]
    ) -> PlaceView:
        """For announcements: ask again when a wait was told, and now and then."""
        identity = contact_uuid(contact_id)
        async with services.database.transaction(caller.tenant.tenant_id) as connection:
            row = await connection.fetchrow(sql("board", "line_of"), caller.tenant.tenant_id, identity)
        if row is None:
            raise BadInput("unknown_contact", "There is no such contact.", where={"contact": str(identity)}, http_status=404)
        waits = row["state"] in ("offered", "waiting")
        return PlaceView(
            identity,
            row["state"],
            row["place"] if waits else None,
            row["told_wait_s"],
            row["told_low_s"],
            row["told_high_s"],
            said_of(row),
            row["elsewhere"],
        )

    @get(
        "/contacts/{contact_id:str}/decisions/{revision:int}/agents/{agent_id:int}",
        guards=[allow("read")],
        summary="Why this agent, or why not, in one decision",
    )
    async def why(
        self,
        contact_id: FromPath[str],
        revision: Revision,
        agent_id: Annotated[int, Parameter(ge=1, le=2**63 - 1)],
        services: NamedDependency[Services],
        caller: NamedDependency[Caller],
    ) -> Why:
        identity = contact_uuid(contact_id)
        decision = await services.ring.decision(caller.tenant, identity, revision)
        if decision is None:
            raise BadInput("unknown_contact", "There is no such contact.", where={"contact": str(identity)}, http_status=404)
        return await why(services.database, services.ring, caller.tenant, decision, agent_id)

    @post(
        "/contacts/{contact_id:str}/direct",
        status_code=200,
        guards=[allow()],
        summary="Bring a contact forward, send it to somebody, whisper a note",
    )
    async def direct(
        self,
        contact_id: FromPath[str],
        data: JSONBody[Direction],
        services: NamedDependency[Services],
        caller: NamedDependency[Caller],
    ) -> DecisionView:
        decision = await services.house.direct(
            caller.tenant, contact_uuid(contact_id), by=_by(caller), because=data.because, points=data.points,
            to_agent=data.to_agent, skills=data.skills, note=data.note,
        )  # fmt: skip
        return decision_view(decision)

    @post("/contacts/{contact_id:str}/transfer", status_code=200, guards=[allow("adapter")], summary="Hand a contact on")
    async def transfer(
        self,
        contact_id: FromPath[str],
        data: JSONBody[Transfer],
        services: NamedDependency[Services],
        caller: NamedDependency[Caller],
    ) -> DecisionView:
        """With all that is known of it. Of a call the telephone system carries it out, to agent_address."""
        decision = await services.house.transfer(
            caller.tenant, contact_uuid(contact_id), by=_by(caller), because=data.because, to_agent=data.to_agent,
            skills=data.skills, intent=data.intent, note=data.note,
        )  # fmt: skip
        return decision_view(decision)

    @post(
        "/contacts/{contact_id:str}/callback",
        status_code=200,
        guards=[allow("adapter")],
        summary="A caller hangs up, keeps the place and is called back",
    )
    async def call_back(
        self,
        contact_id: FromPath[str],
        data: JSONBody[CallBackWanted],
        services: NamedDependency[Services],
        caller: NamedDependency[Caller],
    ) -> DecisionView:
        identity = contact_uuid(contact_id)
        decision = await services.house.call_back(caller.tenant, identity, by=_by(caller), phone=data.phone)
        return decision_view(decision)

    @post(
        "/contacts/{contact_id:str}/person",
        status_code=200,
        guards=[allow("adapter")],
        summary="A customer leaves self-service for a person",
    )
    async def person(
        self, contact_id: FromPath[str], services: NamedDependency[Services], caller: NamedDependency[Caller]
    ) -> DecisionView:
        """To an agent, or into the line as of their arrival. Of a call the telephone system carries it out."""
        return decision_view(await services.house.person(caller.tenant, contact_uuid(contact_id), by=_by(caller)))

    @get("/interventions", guards=[allow("read")], summary="What people of the house did about contacts and agents")
    async def interventions(
        self,
        services: NamedDependency[Services],
        caller: NamedDependency[Caller],
        limit: Annotated[int, Parameter(ge=1, le=LISTED_MAX, description="How many.")] = 100,
    ) -> InterventionList:
        return InterventionList(await listed(services.database, caller.tenant, limit))


def _by(caller: Caller) -> str:
    """A token's name stands for whoever it was given to."""
    return f"token:{caller.name or caller.token_id}"
