"""What is known at the moment of a choice apart from who it is and what they have been through: values, sealed with it."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Literal

import msgspec

from firstring.contact import Value

Cause = Literal["contact", "pattern", "timer", "hand"]
"""Why an action is looked for: somebody is in contact, a pattern fired, an action's time has come, somebody asks for it."""


class Before(Value, frozen=True):
    """An action that was decided for this person before, and went out."""

    action: str
    route: str
    kind: str
    at: datetime


class Shown(Value, frozen=True):
    """An offer of the catalogue, ranked for this person: the first suits best. why: a code."""

    offer_id: str
    title: str
    price: float | None = None
    currency: str = ""
    url: str = ""
    image: str = ""
    category: str = ""
    score: float = 0.0
    why: str = "popular"


class Moment(Value, frozen=True):
    """What else is known.

    fired: the pattern whose firing this is about, at `fired_at`; after_ms: of the actions that come so long after it.
    asked: the one action that somebody asks for. patterns: those that fired for the person lately. traits: computed of the
    person. consents: "purpose/route" (or the purpose alone, for all routes) -> given or withdrawn; what is not in it is not
    known. before: newest first. everyone: action -> how often it went out to anybody, one count for each of its caps of
    everyone. agents: channel -> how many could answer. routes: over which this person can be reached now. zones: in which
    they may be; country: theirs, or "". held_out: of the people to whom no offer is made. draws: chance, uniform in [0, 1),
    used in turn.
    """

    cause: Cause = "contact"
    fired: str = ""
    fired_at: datetime | None = None
    after_ms: int = 0
    asked: str = ""
    patterns: tuple[str, ...] = ()
    traits: dict[str, Any] = msgspec.field(default_factory=dict)
    consents: dict[str, bool] = msgspec.field(default_factory=dict)
    experience: float | None = None
    before: tuple[Before, ...] = ()
    everyone: dict[str, tuple[int, ...]] = msgspec.field(default_factory=dict)
    agents: dict[str, int] = msgspec.field(default_factory=dict)
    routes: tuple[str, ...] = ("desk",)
    zones: tuple[str, ...] = ()
    country: str = ""
    language: str | None = None
    held_out: bool = False
    offers: tuple[Shown, ...] = ()
    draws: tuple[float, ...] = ()


IN_CONTACT = Moment()
"""Nothing is known but the contact itself."""
