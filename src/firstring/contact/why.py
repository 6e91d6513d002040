"""What have they been through, and why do they come?"""

from __future__ import annotations

from datetime import datetime

from firstring.contact.value import Basis, Value


class Touch(Value, frozen=True):
    """One past touch as people see it."""

    event_id: int
    channel: str
    name: str
    occurred_at: datetime
    summary: str
    person_id: int


class OpenIssue(Value, frozen=True):
    """An issue that is open: kind is refund, complaint or outage. While one is open, nobody sells."""

    kind: str
    ref: str
    opened_at: datetime
    event_id: int
    person_id: int
    summary: str = ""


class LikelyReason(Value, frozen=True):
    """A guess why they are calling, with its basis and the events it rests on."""

    intent: str
    probability: float
    text: str
    basis: Basis = "prior"
    events: tuple[int, ...] = ()


class Journey(Value, frozen=True):
    """What one person has been through: newest touch first, at most five; experience is 0-100 or None when not scored."""

    person_id: int
    touches: tuple[Touch, ...] = ()
    open_issues: tuple[OpenIssue, ...] = ()
    likely_reasons: tuple[LikelyReason, ...] = ()
    experience: float | None = None
