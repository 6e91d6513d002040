"""What a contact needs of an agent: language, skills, team and priority, and how that relaxes while it waits.

Everything about the customer enters as a probability: a tier, a language or an open issue counts by the candidates who
have it, so an uncertain caller is served by expectation and nobody is guessed. What is not known asks for nothing.
"""

from __future__ import annotations

from collections.abc import Container, Mapping, Sequence
from datetime import datetime
from typing import Final

import msgspec

from firstring.contact import (
    Around,
    Candidate,
    Contact,
    Directions,
    Journey,
    Overflowed,
    Reason,
    RelaxingStep,
    Requirement,
    Resolution,
    RoutingNeed,
    TouchRead,
)
from firstring.routing.declared.fields import language_of
from firstring.routing.declared.policy import CalledRule, RoutingPolicy, Rule, TierRule, called_key
from firstring.routing.may.conditions import any_of, contact_values, people_of, share
from firstring.routing.may.history import barred_agents, last_agent
from firstring.routing.may.places import kept_for_others, overflow_teams

_NO_DIRECTIONS: Final = Directions()


class Needed(msgspec.Struct, frozen=True):
    """A need with the reasons for each of its parts."""

    need: RoutingNeed
    reasons: tuple[Reason, ...]


def need(
    contact: Contact,
    resolution: Resolution,
    journeys: Sequence[Journey],
    *,
    policy: RoutingPolicy,
    intent: str | None = None,
    preferred: Sequence[int] = (),
    excluded: Sequence[int] = (),
) -> RoutingNeed:
    """What the contact needs; see `needed`, which also says why."""
    return needed(contact, resolution, journeys, policy=policy, intent=intent, preferred=preferred, excluded=excluded).need


def needed(
    contact: Contact,
    resolution: Resolution,
    journeys: Sequence[Journey],
    *,
    policy: RoutingPolicy,
    intent: str | None = None,
    preferred: Sequence[int] = (),
    excluded: Sequence[int] = (),
    touches: Sequence[TouchRead] = (),
    directions: Directions | None = None,
    now: datetime | None = None,
    waited_s: float = 0.0,
    overflowed: Sequence[Overflowed] = (),
    around: Around | None = None,
) -> Needed:
    """What the contact needs, and why.

    `intent` is a reason that was stated (said to the IVR, chosen in a form); without it the most probable reason out
    of the journeys counts. `preferred` and `excluded` are agents, in order and as given. touches: what was read of the
    candidates' journeys, for who served them and about whom they complained. directions: what people of the house said;
    waited_s, now: for how long a contact that was sent to somebody still waits for them. overflowed: bounds that its wait
    has passed; around: what is known of the moment.

    The first step is at 0 s and each later one asks for less; licences and rules without an end are never relaxed.
    Priority is in [0, policy.priority_max]. Raises nothing: what cannot be used asks for nothing and leaves a reason.
    """
    reasons: list[Reason] = []
    directions = directions or _NO_DIRECTIONS
    called = _called(contact, policy, reasons)
    language = _language(contact, resolution, called, policy, reasons)
    why, probable = (intent.strip().lower(), 1.0) if intent else _likely_intent(resolution, journeys)
    if probable < policy.intent_probability:
        why = None
    skills = _skills(called, policy, why, probable, is_stated=bool(intent), reasons=reasons)
    for skill, level in directions.skills.items():
        skills[skill] = max(level, skills.get(skill, 0))
        reasons.append(Reason("skill_directed", f"Somebody asked for {skill} at {level}", field=skill))
    tier_name, tier = _tier(resolution, policy, reasons)
    licences = _licences(called, policy, why, reasons)
    rules = _rules(contact, resolution, policy, language, why, reasons)
    teams = overflow_teams(overflowed, policy, reasons)
    steps = relaxing_steps(language, skills, tier, policy, licences=licences, rules=rules, teams=teams)
    priority = _priority(resolution, journeys, called, policy, directions, reasons)
    barred = barred_agents(resolution, touches, policy.complaint_probability, reasons)
    agent, shown = last_agent(resolution, touches, now, policy.continuity_days)
    return Needed(
        need=RoutingNeed(
            channel=contact.channel,
            priority=priority,
            steps=_directed(steps, directions, policy, now, waited_s, (*excluded, *barred), reasons),
            preferred=tuple(preferred),
            excluded=tuple(excluded),
            barred=barred,
            last_agent=agent,
            continuity_s=round(policy.continuity_s * shown, 3),
            intent=why,
            ahead_s=priority * policy.ageing_s_per_point,
            tier=tier_name,
            kept=kept_for_others(contact.channel, tier_name, policy, around, now),
        ),
        reasons=tuple(reasons),
    )


def relaxing_steps(
    language: str | None,
    skills: Mapping[str, int],
    tier: TierRule | None,
    policy: RoutingPolicy,
    *,
    licences: tuple[str, ...] = (),
    rules: Sequence[Rule] = (),
    teams: tuple[str, ...] = (),
) -> tuple[RelaxingStep, ...]:
    """The time-lines (language, skills, team, each rule) merged: strictly later, each asks for less than the last."""
    times = {0.0}
    for rule in rules:
        times |= set(_turns(rule))
    if language is not None:
        times |= {policy.language_relaxed_after_s, policy.language_dropped_after_s}
    if skills:
        times |= {policy.skill_relaxed_after_s, policy.skill_dropped_after_s}
    if tier is not None:
        times.add(tier.team_for_s)
    steps: list[RelaxingStep] = []
    for after_s in sorted(times):
        requirement = _requirement(after_s, language, skills, tier, policy, licences, rules, teams)
        if not steps or steps[-1].requirement != requirement:
            steps.append(RelaxingStep(after_s, requirement))
    return tuple(steps)


def _requirement(
    after_s: float,
    language: str | None,
    skills: Mapping[str, int],
    tier: TierRule | None,
    policy: RoutingPolicy,
    licences: tuple[str, ...],
    rules: Sequence[Rule],
    teams: tuple[str, ...],
) -> Requirement:
    asked_skills: dict[str, int] = {}
    if after_s < policy.skill_dropped_after_s:
        relaxed = after_s >= policy.skill_relaxed_after_s
        asked_skills = {skill: 1 if relaxed else level for skill, level in sorted(skills.items())}
    asked_level = 1
    if language is not None and after_s >= policy.language_dropped_after_s:
        language = None
    if language is not None:
        relaxed = after_s >= policy.language_relaxed_after_s
        asked_level = policy.language_level_relaxed if relaxed else policy.language_level
    return Requirement(
        skills=asked_skills,
        language=language,
        language_level=asked_level,
        tier=tier.team if tier is not None and after_s < tier.team_for_s else None,
        licences=licences,
        rules=tuple(condition for rule in rules if (condition := _asked(rule, after_s)) is not None),
        teams=teams,
    )


def _turns(rule: Rule) -> list[float]:
    """When each step of a rule is over, in seconds of waiting."""
    ends: list[float] = []
    for step in rule.steps:
        if step.for_s is not None:
            ends.append((ends[-1] if ends else 0.0) + step.for_s)
    return ends


def _asked(rule: Rule, after_s: float) -> str | None:
    """The condition of a rule after so many seconds: any of the steps reached; None where it asks for nothing any more."""
    ends = _turns(rule)
    if len(ends) == len(rule.steps) and after_s >= ends[-1]:
        return None
    reached = 1 + sum(1 for end in ends if after_s >= end)
    return any_of([step.agent for step in rule.steps[:reached]])


def _rules(
    contact: Contact,
    resolution: Resolution,
    policy: RoutingPolicy,
    language: str | None,
    intent: str | None,
    reasons: list[Reason],
) -> tuple[Rule, ...]:
    """The rules that count: each by the candidates of whom its condition holds; who is not listed is somebody unknown."""
    if not policy.rules:
        return ()
    values = contact_values(contact, called_key(contact.called), language, intent)
    people = people_of(resolution)
    found = []
    for rule in policy.rules:
        counts = share(rule.when, values, people)
        if counts > 0.0 and counts >= rule.probability:
            found.append(rule)
            reasons.append(Reason("rule", f"The rule {rule.name} counts ({counts:.0%})", field=rule.name))
    return tuple(found)


def _licences(called: CalledRule, policy: RoutingPolicy, intent: str | None, reasons: list[Reason]) -> tuple[str, ...]:
    wanted = policy.licences.get(intent) or policy.licences.get(intent.partition(".")[0], ()) if intent else ()
    licences = tuple(dict.fromkeys((*called.licences, *wanted)))
    reasons.extend(Reason("licence", f"Needs the licence {licence}", field=licence) for licence in licences)
    return licences


def _directed(
    steps: tuple[RelaxingStep, ...],
    directions: Directions,
    policy: RoutingPolicy,
    now: datetime | None,
    waited_s: float,
    left_out: Container[int],
    reasons: list[Reason],
) -> tuple[RelaxingStep, ...]:
    """A contact that was sent to an agent waits for them alone, until `directed_s` after that or until they refuse it;
    then the steps count."""
    agent_id, at = directions.to_agent, directions.to_agent_at
    if agent_id is None or at is None or now is None or agent_id in left_out:
        return steps
    left_s = policy.directed_s - (now - at).total_seconds()
    if not 0.0 < left_s <= policy.directed_s:
        return steps
    reasons.append(Reason("agent_directed", "Somebody sent it to this agent", field=str(agent_id)))
    until_s = max(0.0, waited_s) + left_s
    before = [step for step in steps if step.after_s <= until_s][-1]
    return (
        RelaxingStep(0.0, Requirement(agents=(agent_id,))),
        RelaxingStep(until_s, before.requirement),
        *[step for step in steps if step.after_s > until_s],
    )


def _called(contact: Contact, policy: RoutingPolicy, reasons: list[Reason]) -> CalledRule:
    key = called_key(contact.called)
    rule = policy.called.get(key)
    if rule is None:
        return CalledRule()
    reasons.append(Reason("called", f"They chose {key}", field="called"))
    return rule


def _language(
    contact: Contact, resolution: Resolution, called: CalledRule, policy: RoutingPolicy, reasons: list[Reason]
) -> str | None:
    """The contact's own language; else the called number's; else the customer's, where it is probable enough."""
    if contact.language:
        language = language_of(contact.language)
        if language is not None:
            reasons.append(Reason("language_contact", f"The contact is in {language}", field="language"))
            return language
        reasons.append(Reason("language_unusable", "The contact's language is not a language tag", field="language"))
    if called.language is not None:
        reasons.append(Reason("language_called", f"The number called is for {called.language}", field="language"))
        return called.language
    shares: dict[str, float] = {}
    for candidate in resolution.candidates:
        spoken = candidate.profile.get("language")
        language = language_of(spoken) if isinstance(spoken, str) else None
        if language is not None:
            shares[language] = shares.get(language, 0.0) + candidate.probability
    language, share = _most_probable(shares)
    if language is None or share < policy.language_probability:
        return None
    reasons.append(Reason("language_customer", f"The customer speaks {language} ({share:.0%})", field="language"))
    return language


def _skills(
    called: CalledRule, policy: RoutingPolicy, intent: str | None, share: float, *, is_stated: bool, reasons: list[Reason]
) -> dict[str, int]:
    """Skills of the called number and of the reason together, the higher level of each."""
    skills = dict(called.skills)
    if intent is None:
        return skills
    wanted = policy.intents.get(intent) or policy.intents.get(intent.partition(".")[0])
    if wanted is None:
        return skills
    code = "intent_stated" if is_stated else "intent_likely"
    reasons.append(Reason(code, f"Reason for the contact: {intent} ({share:.0%})", field="intent"))
    for skill, level in wanted.items():
        skills[skill] = max(level, skills.get(skill, 0))
    return skills


def _likely_intent(resolution: Resolution, journeys: Sequence[Journey]) -> tuple[str | None, float]:
    by_person = {journey.person_id: journey for journey in journeys}
    shares: dict[str, float] = {}
    for candidate in resolution.candidates:
        journey = by_person.get(candidate.person_id)
        for reason in journey.likely_reasons if journey else ():
            intent = reason.intent.strip().lower()
            shares[intent] = shares.get(intent, 0.0) + candidate.probability * reason.probability
    return _most_probable(shares)


def _tier(resolution: Resolution, policy: RoutingPolicy, reasons: list[Reason]) -> tuple[str, TierRule | None]:
    """(the most probable tier of the policy, where it is probable enough; the rule of the most probable one with a team)."""
    shares: dict[str, float] = {}
    for candidate in resolution.candidates:
        if _rule(candidate, policy) is not None:
            tier = _tier_name(candidate)
            shares[tier] = shares.get(tier, 0.0) + candidate.probability
    name, probable = _most_probable(shares)
    own = name if name is not None and probable >= policy.team_probability else ""
    with_team = {tier: found for tier, found in shares.items() if _has_team(policy.tiers[tier])}
    name, probable = _most_probable(with_team)
    if name is None or probable < policy.team_probability:
        return own, None
    reasons.append(Reason("tier_team", f"Tier {name} ({probable:.0%}): first to its team", field="tier"))
    return own, policy.tiers[name]


def _has_team(rule: TierRule) -> bool:
    return rule.team is not None and rule.team_for_s > 0


def _tier_name(candidate: Candidate) -> str:
    tier = candidate.profile.get("tier")
    return tier.strip().lower() if isinstance(tier, str) else ""


def _rule(candidate: Candidate, policy: RoutingPolicy) -> TierRule | None:
    return policy.tiers.get(_tier_name(candidate))


def _priority(
    resolution: Resolution,
    journeys: Sequence[Journey],
    called: CalledRule,
    policy: RoutingPolicy,
    directions: Directions,
    reasons: list[Reason],
) -> int:
    """Points of the called number, the expected points of tier and open issue over the candidates, and what a supervisor
    gave."""
    by_person = {journey.person_id: journey for journey in journeys}
    tier_points = issue_points = 0.0
    for candidate in resolution.candidates:
        rule = _rule(candidate, policy)
        if rule is not None:
            tier_points += candidate.probability * rule.priority
        journey = by_person.get(candidate.person_id)
        points = [policy.issues.get(issue.kind, 0) for issue in journey.open_issues] if journey else []
        issue_points += candidate.probability * max(points, default=0)
    for code, points_found, what in (
        ("priority_called", float(called.priority), "the number called"),
        ("priority_tier", tier_points, "the customer's tier"),
        ("priority_issue", issue_points, "an open issue"),
    ):
        if points_found > 0:
            reasons.append(Reason(code, f"{points_found:.1f} points for {what}", weight=points_found))
    if directions.points:
        text = f"{directions.points:+d} points by a supervisor"
        reasons.append(Reason("priority_directed", text, weight=float(directions.points)))
    total = round(called.priority + tier_points + issue_points) + directions.points
    return max(0, min(policy.priority_max, total))


def _most_probable(shares: Mapping[str, float]) -> tuple[str | None, float]:
    """The name with the largest share; the first by name where two are equal."""
    if not shares:
        return None, 0.0
    name = min(shares, key=lambda key: (-shares[key], key))
    return name, shares[name]
