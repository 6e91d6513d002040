"""Contacts over HTTP: digital contacts are offered here; every contact can be read, told of events, given evidence."""

from __future__ import annotations

import uuid
from datetime import datetime
from typing import Annotated, Final, Literal

import msgspec
from litestar import Controller, get, post
from litestar.di import NamedDependency
from litestar.params import FromPath, JSONBody, Parameter
from msgspec import Meta

from firstring import limits
from firstring.api.access import Caller, allow
from firstring.api.services import Services, contact_uuid
from firstring.contact import (
    Assurance,
    Cause,
    Contact,
    Decision,
    Evidence,
    InTrial,
    Journey,
    NextAction,
    Resolution,
    Routing,
)
from firstring.errors import BadInput
from firstring.identity.caller.evidence import REJECTED_MAX, gather
from firstring.routing.trial.recognise import shown
from firstring.store.contacts import ContactLine, Happening

RECENT_MAX: Final = 500
RULED_OUT_MAX: Final = 4 * limits.CANDIDATES
"""Persons ruled out for one contact; the latest count."""
Revision = Annotated[int, Parameter(ge=1, le=2**31 - 1)]


Fields = dict[str, str | list[str]]
"""Raw fields of the vocabulary (phone, email, cookie, full_name, ...); several values as a list."""
PersonId = Annotated[int, Meta(ge=1, le=2**63 - 1)]
Said = Annotated[
    str, Meta(min_length=1, max_length=limits.WORDS_CHARS, description="What they said or wrote, in their own words.")
]
Intent = Annotated[str, Meta(min_length=1, max_length=limits.FIELD_CHARS, description="What the customer says they want.")]


class OfferedContact(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A contact from a digital channel. `id` is the channel's own id, unique while the contact is open.

    fields: raw fields of the vocabulary (phone, email, cookie, full_name, ...); several values as a list. called: what
    the customer addressed (a queue, a mailbox). language: a tag of RFC 5646.
    """

    id: Annotated[str, Meta(min_length=1, max_length=256)]
    channel: Literal["chat", "email", "web", "messaging", "social", "mobile", "voice"]
    fields: Fields = {}
    language: Annotated[str, Meta(pattern=r"^[A-Za-z]{2,3}([-_][A-Za-z0-9]{1,8}){0,4}$(?!\n)")] | None = None
    intent: Intent | None = None
    said: Said | None = None
    called: Annotated[str, Meta(max_length=64)] = ""


class ContactHappened(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Something happened to a contact. outcome: the code of what the agent noted, with `finished` (no free text: it is
    stored in the open and counted)."""

    what: Literal["ringing", "answered", "ended", "cancelled", "finished", "rejected", "busy", "no_answer"]
    outcome: Annotated[str, Meta(pattern=r"^[a-z0-9_]{1,40}$(?!\n)")] | None = None


class ContactChanged(msgspec.Struct, frozen=True):
    """The contact's state before and after."""

    before: str
    after: str


class MoreEvidence(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Evidence that came later: the person an agent picked, persons ruled out, the intent, further fields."""

    confirmed_person: PersonId | None = None
    ruled_out: Annotated[tuple[PersonId, ...], Meta(max_length=limits.CANDIDATES)] = ()
    intent: Intent | None = None
    said: Said | None = None
    fields: Fields = {}


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
    recognition: Literal["", "shown", "withheld"] = ""
    """withheld: by chance nobody is told who it is, until they have said it (a trial): resolution names nobody."""
    trial: InTrial | None = None
    """The arm of the trial that ran, and with what probability chance chose it."""


class ContactView(msgspec.Struct, frozen=True):
    """A contact as it stands, with its newest decision."""

    contact_id: uuid.UUID
    channel: str
    state: str
    revision: int
    agent_id: int | None
    decision: DecisionView


class ContactList(msgspec.Struct, frozen=True):
    """Contacts without personal data, newest first."""

    contacts: list[ContactLine]


class ContactsController(Controller):
    path = "/v1/contacts"
    tags = ("contacts",)

    @get("/", guards=[allow("adapter", "read")], summary="The newest contacts, without personal data")
    async def recent(
        self,
        services: NamedDependency[Services],
        caller: NamedDependency[Caller],
        limit: Annotated[int, Parameter(ge=1, le=RECENT_MAX, description="How many.")] = 100,
    ) -> ContactList:
        return ContactList(await services.contacts.recent(caller.tenant, limit))

    @post(
        "/", status_code=201, guards=[allow("adapter")], summary="A digital contact: who is it, and who should serve them?"
    )
    async def offer(
        self, data: JSONBody[OfferedContact], services: NamedDependency[Services], caller: NamedDependency[Caller]
    ) -> DecisionView:
        contact = Contact(
            contact_id=services.ids.new(),
            channel=data.channel,
            offered_at=services.clock.now(),
            call_key=data.id,
            adapter="api",
            called=data.called,
            language=data.language,
        )
        evidence = gather(data.fields, country=services.settings.country)
        evidence = msgspec.structs.replace(
            evidence, intent=data.intent or evidence.intent, words=with_words(evidence.words, data.said)
        )
        decision = await services.decider.offered(caller.tenant, contact, evidence)
        if decision.outcome == "route":
            await services.routed(caller.tenant, decision)
        return decision_view(decision)

    @get("/{contact_id:str}", guards=[allow("adapter")], summary="A contact as it stands")
    async def read(
        self, contact_id: FromPath[str], services: NamedDependency[Services], caller: NamedDependency[Caller]
    ) -> ContactView:
        identity = contact_uuid(contact_id)
        state = await services.ring.contact(caller.tenant, identity)
        decision = await services.ring.decision(caller.tenant, identity)
        if state is None or decision is None:
            raise _unknown(identity)
        return ContactView(
            identity, state.contact.channel, state.state, state.revision, state.agent_id, decision_view(decision)
        )

    @get("/{contact_id:str}/decisions/{revision:int}", guards=[allow("adapter")], summary="One decision of a contact")
    async def decision(
        self,
        contact_id: FromPath[str],
        revision: Revision,
        services: NamedDependency[Services],
        caller: NamedDependency[Caller],
    ) -> DecisionView:
        identity = contact_uuid(contact_id)
        found = await services.ring.decision(caller.tenant, identity, revision)
        if found is None:
            raise _unknown(identity)
        return decision_view(found)

    @post("/{contact_id:str}/events", status_code=200, guards=[allow("adapter")], summary="Something happened to a contact")
    async def happened(
        self,
        contact_id: FromPath[str],
        data: JSONBody[ContactHappened],
        services: NamedDependency[Services],
        caller: NamedDependency[Caller],
    ) -> ContactChanged:
        identity = contact_uuid(contact_id)
        what: Happening = data.what
        change = await services.contacts.event(caller.tenant, identity, what, outcome=data.outcome)
        if change.before is None or change.after is None:
            raise _unknown(identity)
        if what in ("busy", "no_answer", "rejected") and change.after in ("offered", "elsewhere"):
            decision = await services.decider.again(caller.tenant, identity, what)
            if decision is not None and decision.outcome == "route":
                await services.routed(caller.tenant, decision)
        return ContactChanged(change.before, change.after)

    @post(
        "/{contact_id:str}/evidence",
        status_code=200,
        guards=[allow("adapter")],
        summary="Evidence that came later makes a new decision",
    )
    async def evidence(
        self,
        contact_id: FromPath[str],
        data: JSONBody[MoreEvidence],
        services: NamedDependency[Services],
        caller: NamedDependency[Caller],
    ) -> DecisionView:
        identity = contact_uuid(contact_id)
        more = gather(data.fields, country=services.settings.country)
        cause: Cause = "confirmed" if data.confirmed_person else "said"
        if await services.ring.contact(caller.tenant, identity) is None:
            raise _unknown(identity)
        decision = await services.decider.again(
            caller.tenant, identity, cause, change=lambda known: with_more(known, more, data)
        )
        if decision is None:
            raise BadInput("contact_over", "The contact is over, or is decided anew all the time.", http_status=409)
        await services.routed(caller.tenant, decision)
        return decision_view(decision)


def with_more(known: Evidence, more: Evidence, data: MoreEvidence) -> Evidence:
    """What is known, and what came later; bounded as evidence always is."""
    identifiers = tuple(dict.fromkeys((*known.identifiers, *more.identifiers)))
    ruled_out = tuple(dict.fromkeys((*known.ruled_out, *data.ruled_out)))
    return msgspec.structs.replace(
        known,
        identifiers=identifiers[: limits.IDENTIFIERS_PER_CONTACT],
        claims={**known.claims, **more.claims},
        rejected=(*known.rejected, *more.rejected)[:REJECTED_MAX],
        intent=data.intent or more.intent or known.intent,
        words=with_words(with_words(known.words, more.words), data.said),
        confirmed_person=data.confirmed_person or known.confirmed_person,
        ruled_out=ruled_out[-RULED_OUT_MAX:],
        told=known.told or bool(more.identifiers or more.claims),
    )


def with_words(known: str | None, more: str | None) -> str | None:
    """What was said so far and what came now, a line each; the end of what is too long. Said again it counts once."""
    if not more or (known is not None and more in known.split("\n")):
        return known
    return f"{known}\n{more}"[-limits.WORDS_CHARS :] if known else more[-limits.WORDS_CHARS :]


def decision_view(decision: Decision) -> DecisionView:
    """A decision as programs get it, who show it to agents: without who it is, where that is withheld."""
    derived = shown(decision).derived
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
        recognition=derived.recognition,
        trial=decision.trial,
    )


def _unknown(contact_id: uuid.UUID) -> BadInput:
    return BadInput("unknown_contact", "There is no such contact.", where={"contact": str(contact_id)}, http_status=404)
