"""What routing reached, out of the store: regret of a time, time saved by recognising callers, the audit's contacts."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from datetime import datetime
from typing import Any, Final

import numpy as np

from firstring.errors import FirstringError
from firstring.routing.declared.policy import RoutingPolicy
from firstring.routing.fit.asked import Asked, Person, band_of
from firstring.routing.fit.model import FitModel
from firstring.routing.fit.predict import fits
from firstring.routing.may.eligibility import eligible
from firstring.routing.may.needs import relaxing_steps
from firstring.routing.trial.audit import UNKNOWN, Audited, age_band
from firstring.routing.trial.regret import Regret, regret
from firstring.routing.trial.saved import Handled, Saved, saved
from firstring.store.database import Connection, Database, Tenant
from firstring.store.freeagents import agent_profile_of
from firstring.store.queries import sql
from firstring.store.routing.models import fit_in_force
from firstring.store.routing.outcomes import PIECE

KINDS: Final = 300
"""Kinds of contact that regret tells apart, the most frequent."""
BREAK_S: Final = 3_600.0
"""An agent without a contact for longer was not at work."""
CONTACTS: Final = 200_000
PERSONS_AT_ONCE: Final = 2_000
PROTECTED: Final = ("gender", "age", "country")
"""What the audit reads of records, where it is in them."""


async def regret_between(
    database: Database, tenant: Tenant, policy: RoutingPolicy, since: datetime, until: datetime
) -> Regret:
    """The regret meter of a time, by the model in force in this process."""
    async with database.transaction(tenant.tenant_id) as connection:
        kinds = await connection.fetch(sql("meters", "kinds"), tenant.tenant_id, since, until)
        work = await connection.fetch(sql("meters", "stretches"), tenant.tenant_id, since, until, BREAK_S)
        agents = await connection.fetch(sql("agents", "agents"), tenant.tenant_id)
    return await asyncio.to_thread(_regret, fit_in_force(tenant), policy, kinds, work, agents)


def _regret(
    model: FitModel, policy: RoutingPolicy, kinds: Sequence[Any], work: Sequence[Any], agents: Sequence[Any]
) -> Regret:
    time_s = {row["agent_id"]: float(row["at_work_s"]) for row in work}
    profiles = [
        agent_profile_of(row["agent_id"], row["version"], row["profile"]) for row in agents if row["agent_id"] in time_s
    ]
    ids = np.array([profile.agent_id for profile in profiles], np.int64)
    place_of = {profile.agent_id: place for place, profile in enumerate(profiles)}
    counts: dict[tuple[str, str, str, str], int] = {}
    for row in kinds:
        key = (row["channel"], row["intent"], row["tier"], row["band"])
        counts[key] = counts.get(key, 0) + row["contacts"]
    first = sorted(counts, key=lambda key: (-counts[key], key))[:KINDS]
    row_of = {key: place for place, key in enumerate(first)}
    served, lost = np.zeros((len(first), len(profiles))), np.zeros(len(first))
    for row in kinds:
        kind = row_of.get((row["channel"], row["intent"], row["tier"], row["band"]))
        place = place_of.get(row["agent_id"])
        if kind is not None and place is not None:
            served[kind, place] += row["contacts"]
        elif kind is not None:
            lost[kind] += row["contacts"]
    p, h = np.full(served.shape, -np.inf), np.ones(served.shape)
    for kind, (channel, intent, tier, band) in enumerate(first):
        wanted = policy.intents.get(intent) or policy.intents.get(intent.partition(".")[0], {})
        step = relaxing_steps(None, wanted, None, policy)[0].requirement
        may = np.array([eligible(one, step, channel, intent=intent or None)[0] for one in profiles], bool)
        why = ((intent, 1.0),) if intent else ()
        persons = (Person(1.0, tier, band, why),) if tier or band else ()
        expected = fits(model, Asked(channel, persons=persons, intents=why), ids)
        places = np.array([max(1, one.capacity.get(channel, 1)) for one in profiles])
        p[kind] = np.where(may | (served[kind] > 0.0), expected.success, -np.inf)
        h[kind] = expected.handle_s / places
    seconds = np.array([time_s[profile.agent_id] for profile in profiles])
    return regret(p, h, served, lost, seconds, basis=model.basis, model=model.version)


async def saved_between(database: Database, tenant: Tenant, since: datetime, until: datetime) -> Saved:
    """Handle time that recognising callers saved."""
    async with database.transaction(tenant.tenant_id) as connection:
        rows = await _in_pieces(connection, "handled", tenant.tenant_id, since, until, CONTACTS)
    return await asyncio.to_thread(saved, [Handled(*row.values()) for row in rows])


async def audited_between(
    database: Database, tenant: Tenant, since: datetime, until: datetime, *, protected: bool = True
) -> list[Audited]:
    """The contacts of a time with the groups they are of. protected: with those attributes that never enter the matching."""
    async with database.transaction(tenant.tenant_id) as connection:
        rows = await _in_pieces(connection, "audited", tenant.tenant_id, since, until, CONTACTS)
        known: dict[int, dict[str, str]] = {}
        if protected:
            persons = sorted({row["person_id"] for row in rows if row["person_id"] is not None})
            for begin in range(0, len(persons), PERSONS_AT_ONCE):
                known |= await _attributes(connection, tenant, persons[begin : begin + PERSONS_AT_ONCE], until)
    nobody = dict.fromkeys(PROTECTED, UNKNOWN) if protected else {}
    return [
        Audited(
            row["agent_id"],
            row["channel"],
            row["intent"],
            row["waited_s"],
            row["success"],
            row["repeated"],
            row["handle_s"],
            {
                "tier": row["tier"] or UNKNOWN,
                "language": row["language"] or UNKNOWN,
                "experience": band_of(row["experience"]) or UNKNOWN,
                "channel": row["channel"],
                **known.get(row["person_id"], nobody),
            },
        )
        for row in rows
    ]


async def _in_pieces(connection: Connection, name: str, *values: Any) -> list[Any]:
    """Many rows, a piece at a time: whoever reads them has calls to answer too."""
    found: list[Any] = []
    cursor = await connection.cursor(sql("meters", name), *values, timeout=60.0)
    while rows := await cursor.fetch(PIECE, timeout=60.0):
        found += rows
    return found


async def _attributes(
    connection: Connection, tenant: Tenant, persons: Sequence[int], now: datetime
) -> dict[int, dict[str, str]]:
    """Person -> gender, band of age, country, by the newest record that has each."""
    rows = await connection.fetch(sql("meters", "records_of"), tenant.tenant_id, list(persons), timeout=60.0)
    found: dict[int, dict[str, str]] = {}
    for row in rows:
        own = found.setdefault(row["person_id"], dict.fromkeys(PROTECTED, UNKNOWN))
        try:
            fields = tenant.keys.open(row["wrapped_key"], row["sealed"]) or {}
        except FirstringError:  # damaged: that record tells nothing
            continue
        told = {
            "gender": str(fields.get("gender") or UNKNOWN)[:40],
            "age": _age(fields.get("birth_date"), now),
            "country": str(fields.get("country") or UNKNOWN)[:40],
        }
        for name, value in told.items():
            if own[name] == UNKNOWN:
                own[name] = value
    return found


def _age(born: object, now: datetime) -> str:
    try:
        date = datetime.fromisoformat(str(born))
    except ValueError:
        return UNKNOWN
    return age_band(now.year - date.year - ((now.month, now.day) < (date.month, date.day)))
