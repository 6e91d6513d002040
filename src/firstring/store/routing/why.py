"""Why this agent, and why not that one: a stored decision asked about one agent, as it was then."""

from __future__ import annotations

import msgspec

from firstring.contact import AgentFree, Decision, Reason
from firstring.decide import JOINED
from firstring.errors import BadInput
from firstring.routing.fit.asked import asked_of
from firstring.routing.fit.predict import explained
from firstring.routing.may.history import served_by
from firstring.routing.may.packed import free_agents
from firstring.routing.pick.assign import explain
from firstring.routing.trial.recognise import shown
from firstring.store.database import Database, Tenant
from firstring.store.queries import sql
from firstring.store.ring import RingStore
from firstring.store.routing.models import fit_named


class Part(msgspec.Struct, frozen=True):
    """What one thing adds to what was expected of the pair: log odds of success, log seconds of handle time."""

    name: str
    level: str
    success: float
    handle: float


class Why(msgspec.Struct, frozen=True):
    """One agent in one decision. got_it: they were claimed. place: in the order in which agents were tried (1 first), of
    those that are kept with a decision. score: the index, or seconds of idle time where no model was in force. reasons: why
    they stand there, or what stood in the way; `would_be_first` is the least change that would have put them first."""

    agent_id: int
    got_it: bool
    eligible: bool
    place: int | None
    score: float | None
    reasons: tuple[Reason, ...]
    parts: tuple[Part, ...] = ()


async def why(database: Database, ring: RingStore, tenant: Tenant, decision: Decision, agent_id: int) -> Why:
    """Raises BadInput unknown_agent (404)."""
    routing = decision.derived.routing
    free = next((one for one in free_agents(decision.read.agents) if one.agent_id == agent_id), None)
    asked_about = free or await _as_they_are(database, tenant, agent_id)
    profiles = await ring.profiles(tenant, [asked_about])
    profile = profiles.get((asked_about.agent_id, asked_about.version))
    if profile is None:
        raise _unknown(agent_id)
    place = next((number for number, one in enumerate(routing.ranked, 1) if one.agent_id == agent_id), None)
    if place is not None:
        verdict = routing.ranked[place - 1]
    else:
        verdict = explain(routing.need, asked_about, profile, now=decision.decided_at, waited_s=decision.waited_s)
    reasons = verdict.reasons
    kept_free = next((reason for reason in routing.reasons if reason.code == "kept_free"), None)
    if decision.outcome == "elsewhere" and routing.elsewhere is not None:
        reasons = (Reason("elsewhere", f"It went to {routing.elsewhere.name}", field=routing.elsewhere.name), *reasons)
    if free is None:
        reasons = (Reason("not_free", "Had no free place then, or was not there"), *reasons)
    elif place is None and verdict.eligible and kept_free and routing.eligible <= len(routing.ranked):
        reasons = (kept_free, *reasons)
    elif place is None and verdict.eligible:
        reasons = (Reason("further_back", f"Behind the first {len(routing.ranked)} in the order"), *reasons)
    return Why(
        agent_id=agent_id,
        got_it=decision.agent_id == agent_id,
        eligible=verdict.eligible and free is not None,
        place=place,
        score=verdict.score if place is not None else None,
        reasons=reasons,
        parts=await _parts(database, tenant, decision, agent_id, profile.languages),
    )


async def _as_they_are(database: Database, tenant: Tenant, agent_id: int) -> AgentFree:
    async with database.transaction(tenant.tenant_id) as connection:
        row = await connection.fetchrow(sql("agents", "agent"), tenant.tenant_id, agent_id)
    if row is None:
        raise _unknown(agent_id)
    return AgentFree(agent_id, row["version"], row["presence_at"])


async def _parts(
    database: Database, tenant: Tenant, decision: Decision, agent_id: int, languages: dict[str, int]
) -> tuple[Part, ...]:
    """What the model that the decision names says of this pair; nothing where none was in force, or it is gone."""
    derived = shown(decision).derived
    version = next((part for part in derived.versions.routing.split(JOINED) if part.startswith("fit-")), None)
    if version is None:
        return ()
    async with database.transaction(tenant.tenant_id) as connection:
        model = await fit_named(connection, tenant, version)
    if model is None:
        return ()
    asked = asked_of(
        decision.contact,
        derived.resolution,
        derived.assurances,
        derived.journeys,
        intent=decision.evidence.intent,
        served={} if derived.recognition == "withheld" else served_by(decision.read.touches),
        fields=model.content.fields,
    )
    terms = explained(model, asked, agent_id, language_level=languages.get(asked.language, 0))
    return tuple(Part(term.name, term.level, term.success, term.handle) for term in terms)


def _unknown(agent_id: int) -> BadInput:
    return BadInput("unknown_agent", "There is no such agent.", where={"agent": agent_id}, http_status=404)
