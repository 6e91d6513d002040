"""What another routing policy would have brought, out of the log: each decision derived again with it.

The log's own propensities are exact: what each arm of the trial that ran then would have chosen, by the share of the arm,
and within an arm what exploration leaves to chance. Where the log left nothing to chance it can only tell of policies
that agree with it; the rest is the model's word (DR), and is said to be.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, NamedTuple

import msgspec
import numpy as np

from firstring.contact import Decision, Routing
from firstring.decide import Models, profiles_of, rederive
from firstring.proof.offpolicy import Evaluation, Logged, evaluated
from firstring.routing.declared.policy import RoutingPolicy
from firstring.routing.fit.asked import asked_of
from firstring.routing.fit.model import PRIOR, FitModel
from firstring.routing.fit.predict import fits
from firstring.routing.trial.plan import policy_of
from firstring.routing.trial.recognise import shown
from firstring.store.database import Database, Tenant
from firstring.store.notices import Notices
from firstring.store.queries import sql
from firstring.store.ring import RingStore, opened_decision
from firstring.store.routing.models import fit_named, refresh
from firstring.store.routing.prices import live_named
from firstring.store.routing.trials import TrialLine, trials
from firstring.store.usedmodels import models_used

PAGE: Final = 200


class Tried(msgspec.Struct, frozen=True):
    """The evaluation of a policy. changed: the share of the decisions in which it would have chosen somebody else; skipped:
    decisions that cannot be derived again; not_chosen: contacts that went to an agent who was not the one chosen (others had
    been taken meanwhile), which say nothing about the choice; together: contacts that were matched with others who waited
    (one contact's decision does not tell what another policy would have made of all of them); held: contacts that the policy
    would not have given to anybody at once; by_chance: the share of
    decisions with anything left to chance."""

    policy: str
    evaluation: Evaluation
    changed: float
    skipped: int
    not_chosen: int
    by_chance: float
    together: int = 0
    held: int = 0


class _Row(NamedTuple):
    logged: Logged
    choice: dict[str, float]
    possible: dict[str, float]
    expected: dict[str, float]


def chances_of(routing: Routing, explore: float) -> dict[int, float]:
    """With what probability the policy that made this choice takes each agent. explore: its share of choices by chance."""
    ranked = routing.ranked
    if not ranked or routing.need.hold is not None:
        return {}
    chosen = ranked[0].agent_id
    if explore <= 0.0 or routing.propensity >= 1.0:
        return {chosen: 1.0}
    # The first is the choice; behind it the others stand in the pick's order, the best of them first.
    is_explored = any(reason.code == "explored" for reason in ranked[0].reasons)
    share = routing.propensity if is_explored else routing.propensity - (1.0 - explore)
    drawn = min(max(1, round(explore / share)), len(ranked)) if share > 0.0 else 1
    found = {one.agent_id: explore / drawn for one in ranked[:drawn]}
    best = ranked[1].agent_id if is_explored and len(ranked) > 1 else chosen
    found[best] = found.get(best, 0.0) + 1.0 - explore
    return found


async def tried(
    database: Database,
    tenant: Tenant,
    models: Models,
    overrides: Mapping[str, Any],
    *,
    last: int,
    progress: Callable[[str], None] = lambda _: None,
) -> Tried:
    """Values a policy on the newest `last` judged contacts. models: those of this installation; overrides: keys of
    `[routing]` in which the policy differs. Raises BadInput log_empty, and as `routing_policy`."""
    other = policy_of(models.routing, overrides)
    ring = RingStore(database, Notices(database.arguments, "try"))
    model = await refresh(database, tenant)
    by_version: dict[tuple[str, ...], Models | None] = {}
    rows: list[_Row] = []
    skipped = not_chosen = together = held = changed = by_chance = late = done = 0
    async with database.transaction(tenant.tenant_id) as connection:
        lines = await trials(connection, tenant)
    while done < last:
        async with database.transaction(tenant.tenant_id) as connection:
            found = await connection.fetch(sql("trials", "judged"), tenant.tenant_id, min(PAGE, last - done), done)
        for row in found:
            decision = opened_decision(tenant, row)
            used = await models_used(database, tenant, models, decision.derived.versions, by_version)
            if used is None or decision.derived.versions != used.versions():
                skipped += 1
                continue
            routing = decision.derived.routing
            if routing.need.preferred:
                together += 1
                continue
            if not routing.ranked or decision.agent_id != routing.ranked[0].agent_id:
                not_chosen += 1
                continue
            used, is_late = await _at_the_time(database, tenant, used, decision, model)
            late += is_late
            profiles = await profiles_of(ring, tenant, decision.read)
            possible = _possible(decision, used, profiles, lines, models.routing)
            theirs = msgspec.structs.replace(used, routing=other)
            choice = chances_of(rederive(decision, profiles, theirs).routing, other.explore)
            if decision.agent_id not in possible:
                skipped += 1  # derived with a model of another time it would have been another choice
                continue
            if not choice:
                held += 1  # it would have waited for somebody better: what came of that the log does not tell
            else:
                changed += max(choice, key=lambda agent: choice[agent]) != decision.agent_id
                by_chance += len(possible) > 1
                rows.append(_row(decision, row, choice, possible, model))
        done += len(found)
        if len(found) < PAGE:
            break
        progress(f"{len(rows)} decisions derived again")
    evaluation = evaluated(
        [row.logged for row in rows],
        [row.choice for row in rows],
        expected=[row.expected for row in rows],
        possible=[row.possible for row in rows],
    )
    if late:
        evaluation.warnings.append(
            f"{late:,} contacts are from before any model was trained: they are tried with the one in force, which has "
            "learned of them, and looks better on them than it is."
        )
    return Tried(other.version, evaluation, changed / len(rows), skipped, not_chosen, by_chance / len(rows), together, held)


async def _at_the_time(
    database: Database, tenant: Tenant, used: Models, decision: Decision, now: FitModel
) -> tuple[Models, bool]:
    """The models of a decision, with who fits and prices as they were then, where the decision did not ask them. Whether no
    model had been trained by then, and that of now stands in."""
    if used.fit is not PRIOR:
        return used, False
    async with database.transaction(tenant.tenant_id) as connection:
        row = await connection.fetchrow(sql("trials", "at_the_time"), tenant.tenant_id, decision.decided_at)
        fit = None if row["fit"] is None else await fit_named(connection, tenant, row["fit"])
        live = None if row["prices"] is None else await live_named(connection, tenant, row["prices"])
    found = msgspec.structs.replace(used, fit=fit or now, live=live or used.live)
    return found, fit is None and now is not PRIOR


def _possible(
    decision: Decision, used: Models, profiles: Any, lines: Sequence[TrialLine], base: RoutingPolicy
) -> dict[int, float]:
    """Agent -> the probability with which the log would have chosen them: over the arms of the trial that ran."""
    own = chances_of(decision.derived.routing, used.routing.explore)
    at = decision.contact.offered_at
    line = next((one for one in lines if _ran(one, at)), None)
    if line is None:
        return own
    draft = line.trial.draft
    found: dict[int, float] = {}
    for overrides, share in ((draft.treatment, draft.share), (draft.control, 1.0 - draft.share)):
        policy = policy_of(base, overrides)
        chances = own
        if policy.version != used.routing.version:
            arm = msgspec.structs.replace(used, routing=policy)
            chances = chances_of(rederive(decision, profiles, arm).routing, policy.explore)
        for agent, chance in chances.items():
            found[agent] = found.get(agent, 0.0) + share * chance
    return found


def _ran(line: TrialLine, at: Any) -> bool:
    """Whether a trial ran at a moment."""
    return line.started_at is not None and line.started_at <= at and (line.stopped_at is None or at < line.stopped_at)


def _row(decision: Decision, row: Any, choice: Mapping[int, float], possible: Mapping[int, float], model: FitModel) -> _Row:
    derived = shown(decision).derived
    asked = asked_of(
        decision.contact, derived.resolution, derived.assurances, derived.journeys, intent=decision.evidence.intent,
        fields=model.content.fields,
    )  # fmt: skip
    agents = sorted({*choice, decision.agent_id or 0})
    success = fits(model, asked, np.array(agents, np.int64)).success.tolist()
    return _Row(
        Logged(str(decision.agent_id), possible[decision.agent_id or 0], float(row["success"])),
        {str(agent): chance for agent, chance in choice.items()},
        {str(agent): chance for agent, chance in possible.items()},
        {str(agent): value for agent, value in zip(agents, success, strict=True)},
    )
