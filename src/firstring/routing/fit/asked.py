"""What a contact asks of the model of who fits: who it may be and why, each with a probability.

A person counts by the probability that it is them and no impostor; what is left over is the population. So an uncertain
caller is matched by expectation, and nobody is guessed.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

import msgspec

from firstring.contact import Assurance, Contact, Journey, Resolution, Value
from firstring.errors import BadInput
from firstring.routing.declared.fields import language_of, slug

UNKNOWN: Final = ""
"""The level of whatever is not known: a level like others."""
BANDS: Final = ((40.0, "low"), (70.0, "middle"), (101.0, "high"))
"""Experience below the bound is of the band."""
CODE_CHARS: Final = 64


class Person(Value, frozen=True):
    """One whom it may be. probability: that it is them and no impostor. segment: of `segment_of`. intents: (why they are
    in contact, probability), summing to at most 1. last_agent served them last; `met` served them before. facts: further
    fields that the policy names."""

    probability: float
    tier: str = UNKNOWN
    band: str = UNKNOWN
    intents: tuple[tuple[str, float], ...] = ()
    last_agent: int | None = None
    met: tuple[int, ...] = ()
    facts: dict[str, str] = msgspec.field(default_factory=dict)


class Asked(Value, frozen=True):
    """channel, the contact's language (primary subtag), whom it may be, and why whoever it is is in contact."""

    channel: str
    language: str = UNKNOWN
    persons: tuple[Person, ...] = ()
    intents: tuple[tuple[str, float], ...] = ()


def band_of(experience: float | None) -> str:
    """The band of an experience score of 0-100."""
    if experience is None:
        return UNKNOWN
    return next((name for bound, name in BANDS if experience < bound), BANDS[-1][1])


def segment_of(tier: str, band: str) -> str:
    """The segment of customers that agents' effects are told apart by."""
    return f"{tier}:{band}" if tier or band else UNKNOWN


def code_of(value: object) -> str:
    """A code as levels are named: lower case, at most CODE_CHARS; UNKNOWN for what is none."""
    try:
        return slug(value, "")
    except BadInput:
        return UNKNOWN


def asked_of(
    contact: Contact,
    resolution: Resolution,
    assurances: Sequence[Assurance],
    journeys: Sequence[Journey],
    *,
    intent: str | None = None,
    served: Mapping[int, Sequence[int]] | None = None,
    fields: Sequence[str] = (),
) -> Asked:
    """What a contact asks. intent: stated by the caller; without it that of each person's journey counts. served: person ->
    agents who served them, the latest first. fields: further fields of profiles that enter."""
    impostor = {one.person_id: one.impostor for one in assurances}
    journey_of = {journey.person_id: journey for journey in journeys}
    stated = code_of(intent) if intent else UNKNOWN
    told: tuple[tuple[str, float], ...] = ((stated, 1.0),) if stated else ()
    persons = []
    language = language_of(contact.language or "") or UNKNOWN
    for candidate in resolution.candidates:
        trusted = candidate.probability * (1.0 - impostor.get(candidate.person_id, 0.0))
        if trusted <= 0.0:
            continue
        journey = journey_of.get(candidate.person_id)
        agents = () if served is None else tuple(served.get(candidate.person_id, ()))
        language = language or language_of(str(candidate.profile.get("language") or "")) or UNKNOWN
        persons.append(
            Person(
                probability=trusted,
                tier=code_of(candidate.profile.get("tier")),
                band=band_of(None if journey is None else journey.experience),
                intents=told or _intents(journey),
                last_agent=agents[0] if agents else None,
                met=agents,
                facts={name: code_of(candidate.profile.get(name)) for name in fields},
            )
        )
    return Asked(contact.channel, language, tuple(persons), told)


def _intents(journey: Journey | None) -> tuple[tuple[str, float], ...]:
    """Why they are in contact, by their journey, at most 1 in all."""
    if journey is None:
        return ()
    found: dict[str, float] = {}
    for reason in journey.likely_reasons:
        name = code_of(reason.intent)
        if name:
            found[name] = found.get(name, 0.0) + reason.probability
    total = max(1.0, sum(found.values()))
    return tuple((name, probability / total) for name, probability in found.items())
