"""Contacts over HTTP: digital contacts are offered here; every contact can be read, told of events, given evidence."""

from __future__ import annotations

import uuid
from datetime import datetime
from typing import Any, Literal

import msgspec
from litestar import Controller, get, post

from firstring.api.access import Caller, allow
from firstring.api.services import Services, contact_uuid
from firstring.contact import Assurance, Contact, Decision, Journey, NextAction, Resolution, Routing
from firstring.errors import BadInput
from firstring.identity.evidence import gather
from firstring.store.contacts import Happening


class OfferedContact(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A contact from a digital channel. `id` is the channel's own id, unique while the contact is open.

    fields: raw fields of the vocabulary (phone, email, cookie, full_name, ...); several values as a list.
    """

    id: str
    channel: Literal["chat", "email", "web", "messaging", "social", "mobile", "voice"]
    fields: dict[str, str | list[str]] = {}
    language: str | None = None
    intent: str | None = None
    called: str = ""


class ContactHappened(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Something happened to a contact. outcome: what the agent noted, with `finished`."""

    what: Literal["ringing", "answered", "ended", "cancelled", "finished", "rejected", "busy", "no_answer"]
    outcome: str | None = None


class MoreEvidence(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Evidence that came later: the person an agent picked, persons ruled out, the intent, further fields."""

    confirmed_person: int | None = None
    ruled_out: tuple[int, ...] = ()
    intent: str | None = None
    fields: dict[str, str | list[str]] = {}


class DecisionView(msgspec.Struct, frozen=True):
    """A decision for machines: everything but what was read."""

    contact_id: uuid.UUID
    revision: int
    cause: str
    outcome: str
    decided_at: datetime
    decide_ms: float
    agent_id: int | None
    agent_address: str | None
    resolution: Resolution
    assurances: tuple[Assurance, ...]
    journeys: tuple[Journey, ...]
    action: NextAction
    routing: Routing


class ContactView(msgspec.Struct, frozen=True):
    """A contact as it stands, with its newest decision."""

    contact_id: uuid.UUID
    channel: str
    state: str
    revision: int
    agent_id: int | None
    decision: DecisionView


class ContactsController(Controller):
    path = "/v1/contacts"
    tags = ("contacts",)
    guards = (allow("adapter"),)

    @post("/", status_code=201, summary="A digital contact: who is it, and who should serve them?")
    async def offer(self, data: OfferedContact, services: Services, caller: Caller) -> DecisionView:
        if not data.id or len(data.id) > 256:
            raise BadInput("out_of_range", "id has 1 to 256 characters.", where={"field": "id"})
        contact = Contact(
            contact_id=services.ids.new(),
            channel=data.channel,
            offered_at=services.clock.now(),
            call_key=data.id,
            adapter="api",
            called=data.called[:64],
            language=data.language,
        )
        evidence = gather(data.fields, country=services.settings.country)
        evidence = msgspec.structs.replace(evidence, intent=data.intent)
        decision = await services.decider.offered(caller.tenant, contact, evidence)
        if decision.outcome == "route":
            await services.routed(caller.tenant, decision)
        return decision_view(decision)

    @get("/{contact_id:str}", summary="A contact as it stands")
    async def read(self, contact_id: str, services: Services, caller: Caller) -> ContactView:
        identity = contact_uuid(contact_id)
        state = await services.ring.contact(caller.tenant, identity)
        decision = await services.ring.decision(caller.tenant, identity)
        if state is None or decision is None:
            raise _unknown(identity)
        return ContactView(
            identity, state.contact.channel, state.state, state.revision, state.agent_id, decision_view(decision)
        )

    @get("/{contact_id:str}/decisions/{revision:int}", summary="One decision of a contact")
    async def decision(self, contact_id: str, revision: int, services: Services, caller: Caller) -> DecisionView:
        identity = contact_uuid(contact_id)
        found = await services.ring.decision(caller.tenant, identity, revision)
        if found is None:
            raise _unknown(identity)
        return decision_view(found)

    @post("/{contact_id:str}/events", status_code=200, summary="Something happened to a contact")
    async def happened(self, contact_id: str, data: ContactHappened, services: Services, caller: Caller) -> dict[str, Any]:
        identity = contact_uuid(contact_id)
        what: Happening = data.what
        change = await services.contacts.event(caller.tenant, identity, what, outcome=data.outcome)
        if change.before is None:
            raise _unknown(identity)
        if what in ("busy", "no_answer", "rejected") and change.after == "offered":
            decision = await services.decider.again(caller.tenant, identity, what)
            if decision is not None and decision.outcome == "route":
                await services.routed(caller.tenant, decision)
        return {"before": change.before, "after": change.after}

    @post("/{contact_id:str}/evidence", status_code=200, summary="Evidence that came later makes a new decision")
    async def evidence(self, contact_id: str, data: MoreEvidence, services: Services, caller: Caller) -> DecisionView:
        identity = contact_uuid(contact_id)
        state = await services.ring.contact(caller.tenant, identity)
        if state is None:
            raise _unknown(identity)
        more = gather(data.fields, country=services.settings.country)
        evidence = msgspec.structs.replace(
            state.evidence,
            identifiers=tuple(dict.fromkeys((*state.evidence.identifiers, *more.identifiers))),
            claims={**state.evidence.claims, **more.claims},
            rejected=(*state.evidence.rejected, *more.rejected),
            intent=data.intent or state.evidence.intent,
            confirmed_person=data.confirmed_person or state.evidence.confirmed_person,
            ruled_out=tuple(dict.fromkeys((*state.evidence.ruled_out, *data.ruled_out))),
        )
        cause: Any = "confirmed" if data.confirmed_person else "said"
        decision = await services.decider.again(caller.tenant, identity, cause, evidence=evidence)
        if decision is None:
            raise BadInput("contact_over", "The contact is over, or somebody else decided meanwhile.", http_status=409)
        await services.routed(caller.tenant, decision)
        return decision_view(decision)


def decision_view(decision: Decision) -> DecisionView:
    derived = decision.derived
    return DecisionView(
        contact_id=decision.contact.contact_id,
        revision=decision.revision,
        cause=decision.cause,
        outcome=decision.outcome,
        decided_at=decision.decided_at,
        decide_ms=round(decision.decide_ms, 3),
        agent_id=decision.agent_id,
        agent_address=decision.agent_address,
        resolution=derived.resolution,
        assurances=derived.assurances,
        journeys=derived.journeys,
        action=derived.action,
        routing=derived.routing,
    )


def _unknown(contact_id: uuid.UUID) -> BadInput:
    return BadInput("unknown_contact", "There is no such contact.", where={"contact": str(contact_id)}, http_status=404)
