"""What a contact brings along: its channel, what was said and shown, what people of the house said."""

from __future__ import annotations

import uuid
from datetime import datetime
from typing import Literal

from firstring.contact.value import Channel, Value


class Identifier(Value, frozen=True, order=True):
    """One canonical identifier: kind is a field of the vocabulary (phone, email, account, device, cookie, ip, ...)."""

    kind: str
    value: str


class Reason(Value, frozen=True):
    """Why something is believed. `code` is stable and for machines, `text` is for people and may hold personal data."""

    code: str
    text: str
    weight: float | None = None
    field: str | None = None


class SignatureCheck(Value, frozen=True):
    """Result of STIR/SHAKEN verification (RFC 8224, 8225, 8588).

    verstat: TN-Validation-Passed, TN-Validation-Failed or No-TN-Validation. attestation: A, B, C or None.
    sip_code: the code of RFC 8224 for a failure (403, 428, 436, 437, 438) or None.
    """

    verstat: Literal["TN-Validation-Passed", "TN-Validation-Failed", "No-TN-Validation"]
    attestation: Literal["A", "B", "C"] | None = None
    reason: str | None = None
    sip_code: int | None = None
    service_provider: str | None = None
    origid: str | None = None


class Directions(Value, frozen=True):
    """What supervisors and agents said should be done with a contact.

    points: of priority, on top of its own (they may be negative). to_agent: who is to get it, since `to_agent_at`. skills:
    what the next agent must bring, with levels. notes: whispered to whoever gets it, the newest last: (login, text).
    """

    points: int = 0
    to_agent: int | None = None
    to_agent_at: datetime | None = None
    skills: dict[str, int] = {}
    notes: tuple[tuple[str, str], ...] = ()


class Overflowed(Value, frozen=True):
    """A bound that a contact's wait has passed (RoutingNeed.beyond): of which rule, which of its steps, and when.

    wait_s: what was estimated then; None: nobody who is signed in may serve it. why: what stands in the way of most of
    them.
    """

    name: str
    step: int
    at: datetime
    wait_s: float | None = None
    why: str = ""


class Evidence(Value, frozen=True):
    """Canonical identifiers and claims out of the raw fields of a contact.

    `identifiers` were carried by the channel itself; `claims` are fields of the vocabulary that somebody said
    (given_name, family_name, birth_date, postcode, ...), canonical. `caller_number` says what the channel showed.
    `confirmed_person` is the person an agent picked; `ruled_out` are persons somebody ruled out.
    `rejected` are raw fields that could not be used, with the reason.
    """

    identifiers: tuple[Identifier, ...] = ()
    claims: dict[str, str] = {}
    caller_number: Literal["shown", "absent", "unusable"] = "absent"
    signature: SignatureCheck | None = None
    intent: str | None = None
    words: str | None = None
    """What they said or wrote, as it was: at most limits.WORDS_CHARS, the newest counts."""
    directions: Directions | None = None
    """What people of the house said should be done with the contact."""
    overflowed: tuple[Overflowed, ...] = ()
    """The bounds that its wait has passed."""
    at_place: str = ""
    """The place in the policy (self-service, another site) where the contact is while this is decided."""
    tried: tuple[str, ...] = ()
    """Places that it came back from."""
    wants_person: bool = False
    """The customer left self-service for a person."""
    confirmed_person: int | None = None
    ruled_out: tuple[int, ...] = ()
    rejected: tuple[Reason, ...] = ()
    told: bool = False
    """They said who they are: it is not withheld from the agent any more (Derived.recognition)."""


class Contact(Value, frozen=True):
    """One contact as its channel offered it. `call_key` is the channel's own id (SIP Call-ID), unique while it is open.

    `adapter` and `adapter_ref` say whom to answer; `called` is what was called, `deadline_ms` how long the channel waits.
    """

    contact_id: uuid.UUID
    channel: Channel
    offered_at: datetime
    call_key: str
    adapter: str = "http"
    adapter_ref: str = ""
    called: str = ""
    language: str | None = None
    deadline_ms: int = 700
    dials: str = ""
    """Whom we call, of a caller who hung up and keeps the place: what they had called stays in `called`."""
