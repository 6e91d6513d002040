"""The decision, and what became of the contact."""

from __future__ import annotations

import uuid
from datetime import datetime
from typing import Literal

from firstring.contact.evidence import Contact, Evidence
from firstring.contact.now import NextAction
from firstring.contact.read import Read
from firstring.contact.sure import Assurance
from firstring.contact.value import Value
from firstring.contact.who import Resolution
from firstring.contact.whom import Hold, Routing
from firstring.contact.why import Journey

Cause = Literal[
    "offered", "busy", "no_answer", "rejected", "capacity", "confirmed", "said", "verified", "requeued", "provider",
    "callback", "transferred", "directed", "left", "overflow",
]  # fmt: skip
"""Why a decision was made: the contact was offered, an agent did not take it, capacity became free, an agent
confirmed who it is, and so on. The first decision of a contact has the cause "offered"; that of a promised
call, which we make, "callback". transferred: whoever had it handed it on; directed: a supervisor said something; left: the
customer left self-service for a person; overflow: the wait passed a bound of the policy."""

Outcome = Literal["route", "wait", "default", "keep", "elsewhere"]
"""route: an agent was claimed; wait: in the queue; default: the switch's default queue; keep: the agent stays, or the place
where the contact is; elsewhere: self-service, or where overflow goes (derived.routing.elsewhere)."""


class Versions(Value, frozen=True):
    """The versions that a decision rests on; with them and what was read it is re-derived."""

    code: str
    identity: str
    trust: str
    journey: str
    actions: str
    routing: str


class Derived(Value, frozen=True):
    """What follows purely from contact, evidence, read, agents' profiles and versions."""

    resolution: Resolution
    assurances: tuple[Assurance, ...]
    journeys: tuple[Journey, ...]
    action: NextAction
    routing: Routing
    versions: Versions
    recognition: Literal["", "shown", "withheld"] = ""
    """Of a contact whose caller is recognised and from whom that may be withheld, by chance, to measure what it is worth:
    which of the two was done. Where it was withheld, action and routing are those of somebody unknown, and resolution,
    assurances and journeys, which are what was found out, are shown to nobody."""


class InTrial(Value, frozen=True):
    """The arm of the trial (its name) that a contact was decided in, and with what probability chance chose that arm."""

    name: str
    arm: Literal["control", "treatment"]
    probability: float


class Decision(Value, frozen=True):
    """One immutable decision of a contact. `revision` counts from 1. `agent_id` is whom the claim got; `agent_address` is
    their phone, while the claim holds."""

    contact: Contact
    revision: int
    cause: Cause
    decided_at: datetime
    evidence: Evidence
    read: Read
    derived: Derived
    outcome: Outcome
    waited_s: float = 0.0
    agent_id: int | None = None
    agent_address: str | None = None
    assignment_id: uuid.UUID | None = None
    decide_ms: float = 0.0
    trial: InTrial | None = None


class Committed(Value, frozen=True):
    """What a claim came to. status: committed; duplicate (the call is the open contact `contact_id` already); stale
    (a newer decision exists or the lease is over); ended (the contact is over)."""

    status: Literal["committed", "duplicate", "stale", "ended"]
    contact_id: uuid.UUID
    outcome: Outcome | None = None
    agent_id: int | None = None
    agent_version: int | None = None
    assignment_id: uuid.UUID | None = None


class ContactState(Value, frozen=True):
    """A contact as the store knows it. state: offered, waiting, assigned, answered, elsewhere (at the place `elsewhere`) or
    ended; `agent_id` has it now, by `assignment_id`. `excluded` did not take it, and are left out until `excluded_until`.
    hold: of the newest decision."""

    contact: Contact
    evidence: Evidence
    state: str
    revision: int
    excluded: tuple[int, ...] = ()
    excluded_until: datetime | None = None
    waiting_since: datetime | None = None
    agent_id: int | None = None
    assignment_id: uuid.UUID | None = None
    person_id: int | None = None
    elsewhere: str | None = None
    hold: Hold | None = None
