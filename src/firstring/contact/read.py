"""What one read of the store found for a decision."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from firstring.contact.evidence import Identifier
from firstring.contact.value import Value


class RecordRead(Value, frozen=True):
    """A source record behind a candidate, opened: `fields` is the canonical vocabulary (lists for phone and email).

    `matched` are the evidence's identifiers that this record carries; `composite` says that it also shares the
    composite name + birth date + postcode key. `chosen` are fields whose value a steward chose. `enriched`: what a
    provider appended to the record of this id, of which it is no evidence.
    """

    record_id: int
    version: int
    person_id: int
    source: str
    fields: dict[str, Any]
    matched: tuple[Identifier, ...] = ()
    composite: bool = False
    last_seen: datetime | None = None
    verified_at: datetime | None = None
    chosen: tuple[str, ...] = ()
    enriched: bool = False


class TouchRead(Value, frozen=True):
    """An event of a record, opened. issue_effect: +1 opens, -1 closes the issue (issue_kind, issue_ref), 0 neither.

    claimed: it came with a public write key, so that anybody may have sent it.
    """

    event_id: int
    record_id: int
    person_id: int
    channel: str
    name: str
    occurred_at: datetime
    properties: dict[str, Any] = {}
    issue_kind: str | None = None
    issue_ref: str | None = None
    issue_effect: int = 0
    claimed: bool = False


class FanOut(Value, frozen=True):
    """How many records and persons carry an identifier. A hot one (more than limits.HOT_KEY_RECORDS) lists nobody."""

    identifier: Identifier
    records: int
    persons: int
    hot: bool = False


class AgentFree(Value, frozen=True, array_like=True):
    """An agent with a free place on the contact's channel, at the moment of reading. `version` names the profile."""

    agent_id: int
    version: int
    idle_since: datetime


class WentOut(Value, frozen=True, array_like=True):
    """An action that was decided for a person before, and went out."""

    person_id: int
    action: str
    route: str
    kind: str
    at: datetime


class Around(Value, frozen=True):
    """What this server knew of the moment, beside what was read: no older than some seconds.

    contained: self-service by name, to how many contacts ended there and how many came back (to a person, or again). seen:
    customer tier to when one of it came last. lines: channel to how many wait. there:
    self-service by name, to how many are there.
    """

    contained: dict[str, tuple[int, int]] = {}
    seen: dict[str, datetime] = {}
    lines: dict[str, int] = {}
    there: dict[str, int] = {}


class Read(Value, frozen=True):
    """Everything one decision read, in one read. It is sealed with the decision, which can be re-derived from it."""

    records: tuple[RecordRead, ...] = ()
    touches: tuple[TouchRead, ...] = ()
    fan_out: tuple[FanOut, ...] = ()
    agents: tuple[AgentFree, ...] | bytes = ()
    """Every decision holds all free agents: packed (routing.may.packed), one by one where they do not fit into that."""
    busy: bytes = b""
    """The agents who are there and have no place free, packed, with how many contacts each has for since when they are idle;
    where it is asked who fits."""
    waiting: int = 0
    """How many contacts waited on the channel then (200: so many or more)."""
    candidates_cut: int = 0
    issues_cut: tuple[int, ...] = ()
    """Persons with more issue events than were read: they count as having an open issue."""
    enrichments: tuple[RecordRead, ...] = ()
    """What providers appended to `records`: shown in profiles, never compared."""
    consent_words: tuple[TouchRead, ...] = ()
    """What the candidates have said of consent, and their browsers' privacy signals."""
    went_out: tuple[WentOut, ...] = ()
    """What actions went out to candidates, as far back as caps look; newest first for each."""
    fired: dict[int, tuple[str, ...]] = {}
    """Person -> patterns that came true lately."""
    everyone: dict[str, tuple[int, ...]] = {}
    """Action -> how often it went out to anybody, for each of its caps of everyone."""
    history: tuple[TouchRead, ...] = ()
    """What the candidates' traits are computed from, where an action asks for them."""
    around: Around | None = None
    """What the policy asks of the moment, where it asks for anything."""
