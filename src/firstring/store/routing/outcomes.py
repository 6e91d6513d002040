"""What came of contacts by agent: written once a contact is over, past its wrap-up; completed as time goes by.

Whoever it was counts as the contact's person where they were known well enough (KNOWN, impostors taken out); whether they
came again is known after a week, for those alone. What is learned of a contact is learned by expectation over all whom it
may have been with, and why (`cases`).
"""

from __future__ import annotations

import math
import uuid
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, Final, NamedTuple

import msgspec
import structlog

from firstring.contact import Assurance, Contact, Evidence, Journey, Resolution, TouchRead, Value
from firstring.errors import FirstringError
from firstring.identity.caller.resolver import standing
from firstring.nextbest.situation import IDENTIFY_THRESHOLD
from firstring.routing.declared.fields import language_of
from firstring.routing.declared.policy import RoutingPolicy
from firstring.routing.fit.asked import BANDS, Asked, asked_of, band_of, code_of
from firstring.routing.fit.cases import Possible, possibilities
from firstring.routing.fit.model import FitModel
from firstring.routing.fit.train import Outcome
from firstring.routing.may.history import served_by as served_in
from firstring.store.database import Connection, Tenant
from firstring.store.queries import sql

_log = structlog.get_logger("firstring.fit")
KNOWN: Final = 0.5
"""From this probability on, a contact counts as that person's."""
REPEAT_S: Final = 7 * 86_400.0
REMEMBERED: Final = timedelta(days=180)
"""How long an agent who served somebody counts as one they know, and how long outcomes are learned of."""
HARD_TIMES: Final = 3.0
"""A contact that takes so many times what is usual was a hard one."""
AT_ONCE: Final = 100
PIECE: Final = 500
_FOLLOWED: Final = 1_000
_SYSTEM: Final = frozenset(
    {"ended", "cancelled", "defaulted", "finished", "busy", "no_answer", "rejected", "expired", "transferred", "moved"}
)
"""Codes of what happened, which nobody noted."""


class _Derived(Value, frozen=True):
    resolution: Resolution
    assurances: tuple[Assurance, ...]
    journeys: tuple[Journey, ...]
    recognition: str = ""


class _FirstDerived(Value, frozen=True):
    recognition: str = ""


class _First(Value, frozen=True):
    """Of the first decision: whether it could be withheld who it is."""

    derived: _FirstDerived


class _SeenRead(Value, frozen=True):
    touches: tuple[TouchRead, ...] = ()


class _Seen(Value, frozen=True):
    """Of a decision what tells who it was and why."""

    contact: Contact
    evidence: Evidence
    derived: _Derived
    read: _SeenRead = _SeenRead()


class _Who(NamedTuple):
    """Of a decision: the likeliest person, with what is learned of them; and all whom it may have been, with why."""

    person_id: int | None
    known: float
    recognised: bool
    intent: str
    language: str
    tier: str
    experience: float | None
    facts: dict[str, str]
    asked: Asked | None = None


class Settled(NamedTuple):
    """contacts that were settled, and what is new for the model: outcomes, and whether earlier customers came again."""

    contacts: int
    outcomes: list[Outcome]
    until: datetime | None
    ids: list[uuid.UUID]


_decoder: Final = msgspec.msgpack.Decoder(_Seen)
_first_decoder: Final = msgspec.msgpack.Decoder(_First)
_NOBODY: Final = _Who(None, 0.0, False, "", "", "", None, {})


async def settle(
    connection: Connection, tenant: Tenant, policy: RoutingPolicy, now: datetime, *, threshold: float = IDENTIFY_THRESHOLD
) -> Settled:
    """Writes down what came of some contacts that are over; the oldest first, each exactly once. threshold: from this
    probability on somebody is identified, and named to the agent."""
    rows = await connection.fetch(sql("fit", "to_learn"), tenant.tenant_id, AT_ONCE)
    ids = [row["contact_id"] for row in rows]
    served: dict[uuid.UUID, list[Any]] = {}
    for row in await connection.fetch(sql("fit", "served_by_assignments"), tenant.tenant_id, ids):
        served.setdefault(row["contact_id"], []).append(row)
    who = {row["contact_id"]: _who(tenant, row, policy, threshold) for row in rows}
    persons = sorted({one.person_id for one in who.values() if one.person_id is not None})
    living = {
        row["person_id"]: row["now_id"] for row in await connection.fetch(sql("fit", "living"), tenant.tenant_id, persons)
    }
    made: list[dict[str, Any]] = []
    met: dict[int, list[int]] = {}
    for row in rows:
        known = who[row["contact_id"]]
        person = None if known.person_id is None else living.get(known.person_id)
        before: list[int] = []
        if person is not None:
            if person not in met:
                found = await served_by(connection, tenant, [person], row["offered_at"])
                met[person] = list(found.get(person, ()))
            before = met[person]
        new = _outcomes_of(tenant, row, served.get(row["contact_id"], []), known, person, before, policy, threshold)
        made += new
        if person is not None:
            met[person] = [*(one["agent_id"] for one in reversed(new) if one["agent_id"] is not None), *before]
    await connection.execute(sql("fit", "add_outcomes"), tenant.tenant_id, msgspec.json.encode(made).decode())
    await connection.execute(sql("fit", "learned"), tenant.tenant_id, ids, now)
    had = await _had(connection, tenant, sorted(set(living.values())))
    again = [
        (person, row["offered_at"], row["contact_id"])
        for row in rows
        for person in had.get(living.get(who[row["contact_id"]].person_id, 0), ())
    ]
    repeated = await connection.fetch(
        sql("fit", "repeated"), tenant.tenant_id, [one[0] for one in again], [one[1] for one in again],
        [one[2] for one in again], REPEAT_S,
    )  # fmt: skip
    outcomes = [outcome_of(one) for one in made if one["agent_id"] is not None]
    outcomes += [_only_repeat(row) for row in repeated]
    return Settled(len(rows), outcomes, rows[-1]["ended_at"] if rows else None, ids)


async def follow(connection: Connection, tenant: Tenant, now: datetime) -> list[Outcome]:
    """Customers who did not come again within a week."""
    rows = await connection.fetch(sql("fit", "not_repeated"), tenant.tenant_id, now - timedelta(seconds=REPEAT_S), _FOLLOWED)
    return [_only_repeat(row) for row in rows]


async def complaints(connection: Connection, tenant: Tenant, since: int, until: int) -> None:
    """Marks the contacts after which somebody complained, by the events with ids in (since, until]. Safe to repeat."""
    await connection.execute(sql("fit", "complained"), tenant.tenant_id, since, until, timeout=60.0)


async def served_by(
    connection: Connection, tenant: Tenant, persons: Sequence[int], before: datetime
) -> dict[int, tuple[int, ...]]:
    """Person -> agents who served them within REMEMBERED before a moment, the latest first. persons: living ones."""
    had = await _had(connection, tenant, persons)
    pairs = [(person, one) for person, ids in had.items() for one in ids]
    rows = await connection.fetch(
        sql("fit", "served_by"), tenant.tenant_id, [one[0] for one in pairs], before, before - REMEMBERED,
        [one[1] for one in pairs],
    )  # fmt: skip
    found: dict[int, tuple[int, ...]] = {}
    for row in rows:
        found[row["person_id"]] = (*found.get(row["person_id"], ()), row["agent_id"])
    return found


async def _had(connection: Connection, tenant: Tenant, persons: Sequence[int]) -> dict[int, list[int]]:
    """Person -> the ids that they have or had, by merges."""
    found = {person: [person] for person in persons}
    for row in await connection.fetch(sql("fit", "merged"), tenant.tenant_id, list(persons)):
        found[row["merged_into"]].append(row["person_id"])
    return found


async def hard_contacts(connection: Connection, tenant: Tenant, model: FitModel, now: datetime) -> dict[int, int]:
    """Agent -> hard contacts of the last hour: no success, a complaint, a customer who has been through much, or HARD_TIMES
    as long as is usual."""
    handle = model.part("handle")
    usual_s = math.exp(handle.intercept) * handle.smear
    rows = await connection.fetch(
        sql("fit", "hard"), tenant.tenant_id, now - timedelta(hours=1), BANDS[0][0], HARD_TIMES * usual_s
    )
    return {row["agent_id"]: row["contacts"] for row in rows}


async def outcomes_since(connection: Connection, tenant: Tenant, since: datetime, at_most: int) -> tuple[list[Outcome], Any]:
    """The newest outcomes, the oldest of them first, and when the newest ended. In pieces, for whoever else is served."""
    found: list[Outcome] = []
    until = None
    cursor = await connection.cursor(sql("fit", "outcomes"), tenant.tenant_id, since, at_most, timeout=60.0)
    while rows := await cursor.fetch(PIECE, timeout=60.0):
        found += [outcome_of(row) for row in rows]
        until = rows[-1]["ended_at"]
    return found, until


def outcome_of(row: Mapping[str, Any]) -> Outcome:
    """An outcome out of its row."""
    facts, cases = row["facts"], row["cases"]
    if isinstance(facts, str):
        facts = msgspec.json.decode(facts)
    if isinstance(cases, str):
        cases = msgspec.json.decode(cases, type=tuple[Possible, ...])
    return Outcome(
        agent_id=row["agent_id"],
        channel=row["channel"],
        intent=row["intent"] or "",
        language=row["language"] or "",
        tier=row["tier"] or "",
        band=band_of(row["experience"]),
        language_level=row["language_level"],
        last_agent=row["last_agent"],
        met=row["met"],
        facts=facts or {},
        handle_s=row["handle_s"],
        success=row["success"],
        repeated=row.get("repeated"),
        cases=cases or (),
    )


def judged(code: str | None, policy: RoutingPolicy) -> bool | None:
    """Whether an outcome code counts as success; None: it says nothing about it."""
    if code is None or code in policy.not_judged or (code in _SYSTEM and code not in policy.success):
        return None
    return code in policy.success


def _only_repeat(row: Mapping[str, Any]) -> Outcome:
    return msgspec.structs.replace(outcome_of(row), handle_s=None, success=None)


def _who(tenant: Tenant, row: Any, policy: RoutingPolicy, threshold: float) -> _Who:
    """Who it was and why, by a decision's row; nobody where it is gone or damaged."""
    if row["sealed"] is None:
        return _NOBODY
    try:
        seen = _decoder.decode(tenant.keys.open_bytes(row["wrapped_key"], row["sealed"]))
    except (FirstringError, msgspec.DecodeError) as error:
        code = error.code if isinstance(error, FirstringError) else type(error).__name__
        _log.info("decision_not_learned_of", code=code, contact=str(row["contact_id"]))
        return _NOBODY
    stated = code_of(seen.evidence.intent) if seen.evidence.intent else ""
    language = language_of(seen.contact.language or "") or ""
    best = seen.derived.resolution.best
    impostor = {one.person_id: one.impostor for one in seen.derived.assurances}
    if best is None:
        return _NOBODY._replace(intent=stated, language=language)
    known = best.probability * (1.0 - impostor.get(best.person_id, 0.0))
    if seen.evidence.confirmed_person == best.person_id:
        known = 1.0
    asked = _asked(seen, policy)
    resolution = seen.derived.resolution
    recognised = seen.derived.recognition != "withheld" and standing(resolution, threshold) == "identified"
    if known < KNOWN:
        return _NOBODY._replace(known=known, recognised=recognised, intent=stated, language=language, asked=asked)
    journey = next((one for one in seen.derived.journeys if one.person_id == best.person_id), None)
    if not stated and journey is not None and journey.likely_reasons:
        first = max(journey.likely_reasons, key=lambda one: one.probability)
        stated = code_of(first.intent) if first.probability >= policy.intent_probability else ""
    return _Who(
        best.person_id,
        known,
        recognised,
        stated,
        language or language_of(str(best.profile.get("language") or "")) or "",
        code_of(best.profile.get("tier")),
        None if journey is None else journey.experience,
        {name: code_of(best.profile.get(name)) for name in policy.fit_fields},
        asked,
    )


def _asked(seen: _Seen, policy: RoutingPolicy) -> Asked:
    """Whom it may have been and why, as it was matched by. Whom an agent confirmed it was."""
    resolution, assurances = seen.derived.resolution, seen.derived.assurances
    best = resolution.best
    if best is not None and seen.evidence.confirmed_person == best.person_id:
        resolution = msgspec.structs.replace(resolution, candidates=(msgspec.structs.replace(best, probability=1.0),))
        assurances = ()
    return asked_of(
        seen.contact,
        resolution,
        assurances,
        seen.derived.journeys,
        intent=seen.evidence.intent,
        served=served_in(seen.read.touches),
        fields=policy.fit_fields,
    )


def _cases(known: _Who, served: Sequence[int] | None, agent_id: int) -> tuple[Possible, ...]:
    """The cases of a contact that this agent had; none where it is certain. served: by whom the likeliest person was served
    before, where it is known who that is."""
    if known.asked is None:
        return ()
    asked = known.asked
    if served is not None and asked.persons:
        own = msgspec.structs.replace(asked.persons[0], last_agent=served[0] if served else None, met=tuple(served))
        asked = msgspec.structs.replace(asked, persons=(own, *asked.persons[1:]))
    found = possibilities(asked, agent_id)
    return found if len(found) > 1 else ()


def _recognition(tenant: Tenant, row: Any) -> dict[str, bool]:
    """Whether it could have been withheld who it is, and was, by the contact's first decision: what chance found."""
    found = ""
    if row["first_wrapped_key"] is not None:
        try:
            opened = tenant.keys.open_bytes(row["first_wrapped_key"], row["first_sealed"])
            found = _first_decoder.decode(opened).derived.recognition
        except (FirstringError, msgspec.DecodeError):
            found = ""  # damaged: it counts for neither arm
    return {"withholdable": found != "", "withheld": found == "withheld"}


def _outcomes_of(
    tenant: Tenant,
    row: Any,
    assignments: Sequence[Any],
    known: _Who,
    person: int | None,
    before: Sequence[int],
    policy: RoutingPolicy,
    threshold: float,
) -> list[dict[str, Any]]:
    """The rows of one contact: one for each agent who had it, or one without an agent."""
    common = {
        "contact_id": row["contact_id"],
        "person_id": person,
        "known": known.known,
        "recognised": known.recognised,
        "channel": row["channel"],
        "intent": known.intent or None,
        "language": known.language or None,
        "tier": known.tier or None,
        "experience": known.experience,
        "facts": known.facts,
        "offered_at": row["offered_at"],
        **_recognition(tenant, row),
    }
    if not assignments:
        waited_s = max(0.0, (row["ended_at"] - row["offered_at"]).total_seconds())
        nobody = dict.fromkeys(("agent_id", "agent_version", "language_level", "answered_at", "handle_s", "success"))
        return [
            {
                **common, **nobody, "cases": (), "assignment_id": row["contact_id"], "last": True, "last_agent": False,
                "met": False,
                "waited_s": waited_s, "ended_at": row["ended_at"], "outcome": row["end_reason"],
                "policy": row["policy"] or "", "propensity": row["propensity"] or 1.0,
            }
        ]  # fmt: skip
    made = []
    served = list(before)
    is_somebody = person is not None
    first = assignments[0]["answered_at"] or assignments[0]["offered_at"]
    for place, one in enumerate(assignments):
        is_last = place == len(assignments) - 1
        answered = one["answered_at"] or one["offered_at"]
        code = row["outcome"] if is_last else one["outcome"]
        languages = msgspec.json.decode(one["languages"]) if one["languages"] else {}
        rung = (
            known
            if one["sealed"] is None
            else _who(tenant, {**dict(one), "contact_id": row["contact_id"]}, policy, threshold)
        )
        made.append(
            {
                **common,
                "assignment_id": one["assignment_id"],
                "agent_id": one["agent_id"],
                "agent_version": one["agent_version"],
                "last": is_last,
                "recognised": rung.recognised,
                "language_level": languages.get(known.language, 0) if known.language else None,
                "last_agent": bool(served) and served[0] == one["agent_id"],
                "met": one["agent_id"] in served,
                "waited_s": max(0.0, (first - row["offered_at"]).total_seconds()),
                "answered_at": answered,
                "ended_at": one["ended_at"],
                "handle_s": max(0.0, (one["ended_at"] - answered).total_seconds()),
                "cases": _cases(known, served if is_somebody else None, one["agent_id"]),
                "outcome": code,
                "success": judged(code, policy),
                "policy": one["policy"] or "",
                "propensity": one["propensity"] if one["propensity"] is not None else 1.0,
            }
        )
        served.insert(0, one["agent_id"])
    return made
