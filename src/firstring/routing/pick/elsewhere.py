"""Self-service beside the agents, and where contacts overflow to: one order, one index, one explanation. Pure.

Self-service takes none of an agent's time, so its index is the expected success (times what success with this customer is
worth) less its cost; an agent's is that less the price of the time taken (routing.pick). Where no agent is free, waiting for
one is worth the mean agent's index times the share of customers who have not given up by then, exp(-wait / impatience).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Final

import msgspec

from firstring.contact import (
    AgentVerdict,
    Around,
    Assurance,
    Beyond,
    Contact,
    Evidence,
    Journey,
    Overflowed,
    PlaceVerdict,
    Reason,
    Resolution,
    Routing,
)
from firstring.routing.declared.places import Overflow, SelfService
from firstring.routing.declared.policy import RoutingPolicy, called_key
from firstring.routing.fit.model import FitModel
from firstring.routing.may.conditions import contact_values, people_of, share
from firstring.routing.may.places import told
from firstring.routing.pick.live import Live

CALLED_BACK: Final = "callback"
"""Contacts of this adapter are calls that we make."""
NO_CHECK: Final = "none"
_TERMS: Final = frozenset(("success", "handle_time", "fairness"))
_EMPTY: Final = Around()


def placed(
    routing: Routing,
    contact: Contact,
    evidence: Evidence,
    resolution: Resolution,
    assurances: Sequence[Assurance],
    journeys: Sequence[Journey],
    *,
    policy: RoutingPolicy,
    fit: FitModel,
    live: Live,
    weight: float = 1.0,
    around: Around | None = None,
    keep: bool = False,
) -> Routing:
    """The routing with the places that came into question. weight: what success with this customer is worth. keep: somebody
    has the contact, or it is at a place.

    A contact that is at a place stays there. Self-service is chosen where its index beats the best agent's, or what waiting
    is worth; overflow where no agent is free and the policy's steps have been reached. The bounds on the wait past which
    that would be decided anew go along as `need.beyond`.
    """
    if not (policy.self_service or policy.overflow) or contact.adapter.partition(":")[0] == CALLED_BACK:
        return routing
    if evidence.at_place:
        return _at(routing, evidence.at_place, policy)
    if keep:
        return routing
    need = routing.need
    language = next((step.requirement.language for step in need.steps if step.requirement.language), None)
    values = contact_values(contact, called_key(contact.called), language, need.intent)
    people = people_of(resolution)
    best = next((one for one in routing.ranked if one.eligible), None)
    agent_index = _index_of(best, weight * fit.mean_success)
    if need.hold is not None and agent_index is not None:
        agent_index = max(agent_index, need.hold.reserve)  # it is held for somebody better, who is expected soon
    waiting_index = _worth_waiting(fit, live, weight)
    lock = _lock(resolution, assurances, journeys)
    past = {(one.name, one.step): one for one in evidence.overflowed}
    verdicts: list[PlaceVerdict] = []
    bounds: list[Beyond] = []
    chosen: PlaceVerdict | None = None
    for service in policy.self_service:
        if not service.is_for(contact.channel, need.intent) or not _counts(
            service.when, service.probability, values, people
        ):
            continue
        verdict, goes, bound = _self_service(
            service,
            lock,
            evidence,
            around or _EMPTY,
            weight,
            agent_index,
            waiting_index,
            past.get((service.name, 0)),
            policy,
        )
        verdicts.append(verdict)
        if bound is not None and best is None:
            bounds.append(bound)
        if goes and (chosen is None or verdict.score > chosen.score):
            chosen = verdict
    for rule in policy.overflow:
        if (rule.channels and contact.channel not in rule.channels) or not _counts(
            rule.when, rule.probability, values, people
        ):
            continue
        reached, bound = _overflow(rule, evidence, past)
        verdicts += reached
        if bound is not None:
            bounds.append(bound)
        if chosen is None and best is None:
            chosen = next((one for one in reached if one.eligible), None)
    if not verdicts and not bounds:
        return routing
    if chosen is None:
        need = msgspec.structs.replace(need, beyond=tuple(bounds))
    else:
        need = msgspec.structs.replace(need, beyond=(), elsewhere=chosen.name, hold=None)
    reasons = routing.reasons
    if chosen is not None:
        reasons = (Reason(chosen.kind, f"It goes to {chosen.name}: {_because(chosen)}", field=chosen.name), *reasons)
    order = sorted(verdicts, key=lambda one: (chosen is None or one.name != chosen.name, not one.eligible, -one.score))
    return msgspec.structs.replace(routing, need=need, places=tuple(order), reasons=reasons)


def came_back(evidence: Evidence, place: str, *, wants_person: bool) -> Evidence:
    """The evidence of a contact that is back from a place."""
    tried = evidence.tried if not place or place in evidence.tried else (*evidence.tried, place)
    return msgspec.structs.replace(evidence, at_place="", tried=tried, wants_person=evidence.wants_person or wants_person)


def passed(evidence: Evidence, more: Sequence[Overflowed]) -> Evidence:
    """The evidence with further bounds that the wait has passed; each counts once."""
    known = {(one.name, one.step) for one in evidence.overflowed}
    new = [one for one in more if (one.name, one.step) not in known]
    return msgspec.structs.replace(evidence, overflowed=(*evidence.overflowed, *new)) if new else evidence


def _at(routing: Routing, name: str, policy: RoutingPolicy) -> Routing:
    """A contact that is at a place, whatever would be chosen now."""
    for service in policy.self_service:
        if service.name == name:
            verdict = PlaceVerdict(name, "self_service", service.address, True, reasons=(Reason("there", "It is there"),))
            break
    else:
        for rule in policy.overflow:
            step = next((number for number in range(len(rule.steps)) if rule.place(number) == name), None)
            if step is not None and rule.steps[step].to is not None:
                verdict = PlaceVerdict(
                    name, "overflow", rule.steps[step].to or "", True, reasons=(Reason("there", "It is there"),)
                )
                break
        else:
            return routing
    need = msgspec.structs.replace(routing.need, elsewhere=name)
    return msgspec.structs.replace(routing, need=need, places=(verdict,))


def _self_service(
    service: SelfService,
    lock: Reason | None,
    evidence: Evidence,
    around: Around,
    weight: float,
    agent_index: float | None,
    waiting_index: float,
    past: Overflowed | None,
    policy: RoutingPolicy,
) -> tuple[PlaceVerdict, bool, Beyond | None]:
    """What it is worth, whether the contact goes there, and past which wait it would. agent_index: the best agent's; None:
    none is free."""
    contained, back = around.contained.get(service.name, (0, 0))
    success = service.expected(contained, back)
    score = weight * success - service.cost
    seen = contained + back
    reasons = [
        Reason(
            "success",
            f"Done there with {success:.0%}" + (f" ({contained} of the last {seen})" if seen else " (as declared)"),
            weight=weight * success,
        )
    ]
    if service.cost:
        reasons.append(Reason("cost", "What sending somebody there costs", weight=-service.cost))
    against = _against(service, lock, evidence)
    if against is None and service.at_once and around.there.get(service.name, 0) >= service.at_once:
        against = Reason("full", f"As many as may be are there already ({service.at_once})")
    if against is not None:
        verdict = PlaceVerdict(service.name, "self_service", service.address, False, score, success, (against, *reasons))
        return verdict, False, None
    bound: Beyond | None = None
    if agent_index is not None:
        goes = score > agent_index
        text = f"{score:.3f} against {agent_index:.3f} of the best agent who is free"
        reasons.append(Reason("beats_agents" if goes else "agent_better", text, weight=score - agent_index))
    else:
        over_s = _worth_it_after_s(score, waiting_index, policy.impatience_s)
        goes = over_s <= 0.0 or past is not None
        if past is not None:
            reasons.append(Reason("wait_long", f"{told(past)}: better done there"))
        elif goes:
            reasons.append(Reason("beats_waiting", f"{score:.3f} against {waiting_index:.3f} for an agent later"))
        else:
            bound = Beyond(service.name, 0, over_s if math.isfinite(over_s) else None)
            text = (
                f"Chosen if the wait is estimated at more than {over_s:.0f} s"
                if bound.wait_s is not None
                else "Only if nobody may"
            )
            reasons.append(Reason("wait_first", text, weight=score - waiting_index))
    verdict = PlaceVerdict(service.name, "self_service", service.address, True, score, success, tuple(reasons))
    return verdict, goes, bound


def _against(service: SelfService, lock: Reason | None, evidence: Evidence) -> Reason | None:
    """What forbids self-service for this contact."""
    if evidence.wants_person:
        return Reason("wants_person", "The customer left self-service for a person")
    if service.name in evidence.tried:
        return Reason("tried", "It came back from there")
    directed = evidence.directions is not None and (evidence.directions.to_agent is not None or evidence.directions.skills)
    if directed:
        return Reason("agent_directed", "Somebody sent it to an agent")
    return lock


def _lock(resolution: Resolution, assurances: Sequence[Assurance], journeys: Sequence[Journey]) -> Reason | None:
    """Why no self-service at all: an open complaint of anybody it could be, or a check of the likeliest that a person has to
    make."""
    could_be = {one.person_id for one in resolution.candidates if not one.probability <= 0.0}
    household = resolution.household
    if household is not None and not resolution.another_in_household <= 0.0:
        could_be.update(household.members)
    known = {journey.person_id for journey in journeys}
    for journey in journeys:
        if journey.person_id in could_be and any(issue.kind not in ("refund", "outage") for issue in journey.open_issues):
            return Reason("open_complaint", "Someone this could be has an open complaint: a person for them")
    if not could_be <= known:
        return Reason("journey_missing", "What they have been through was not read, so a complaint may be open")
    likeliest = assurances[0] if assurances else None
    if likeliest is not None and likeliest.person_id is not None and likeliest.ask.method != NO_CHECK:
        return Reason("step_up_pending", "A verification is asked for first, which a person makes")
    return None


def _overflow(
    rule: Overflow, evidence: Evidence, past: dict[tuple[str, int], Overflowed]
) -> tuple[list[PlaceVerdict], Beyond | None]:
    """The places of the steps that were reached, the latest first, and the bound of the next step."""
    reached: list[PlaceVerdict] = []
    for number, step in enumerate(rule.steps):
        found = past.get((rule.name, number))
        if found is None:
            return reached, Beyond(rule.name, number, step.wait_over_s, step.for_s)
        if step.to is None:
            continue
        place = rule.place(number)
        came = place in evidence.tried
        reasons = (Reason("tried", "It came back from there"),) if came else (_why_overflow(found),)
        reached.insert(0, PlaceVerdict(place, "overflow", step.to, not came, reasons=reasons))
    return reached, None


def _why_overflow(past: Overflowed) -> Reason:
    code = "nobody_may_serve" if past.wait_s is None or past.why else "wait_long"
    return Reason(code, told(past), weight=past.wait_s)


def _because(chosen: PlaceVerdict) -> str:
    return next((reason.text for reason in reversed(chosen.reasons)), "")


def _counts(
    when: str, probability: float, values: dict[str, object], people: Sequence[tuple[dict[str, object], float]]
) -> bool:
    counts = share(when, values, people)
    return counts > 0.0 and counts >= probability


def _index_of(best: AgentVerdict | None, without_model: float) -> float | None:
    """The index of the best agent who is free, without the classes in which agents are tried: what was expected of the pair
    where a model was asked, else the mean of all."""
    if best is None:
        return None
    terms = [reason.weight or 0.0 for reason in best.reasons if reason.code in _TERMS]
    return sum(terms) if terms else without_model


def _worth_waiting(fit: FitModel, live: Live, weight: float) -> float:
    """What an agent is worth on the mean, less the price of the time."""
    price = live.prices.price
    if not price:
        return weight * fit.mean_success
    handle = fit.part("handle")
    return weight * fit.mean_success - sum(price) / len(price) * math.exp(handle.intercept) * handle.smear


def _worth_it_after_s(score: float, waiting_index: float, impatience_s: float) -> float:
    """The wait past which `score` is worth more than an agent after it: index x exp(-wait / impatience) falls below it."""
    if score >= waiting_index:
        return 0.0
    if score <= 0.0:
        return math.inf
    return impatience_s * math.log(waiting_index / score)
