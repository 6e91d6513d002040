"""What a contact needs of an agent: language, skills, team and priority, and how that relaxes while it waits.

Everything about the customer enters as a probability: a tier, a language or an open issue counts by the candidates who
have it, so an uncertain caller is served by expectation and nobody is guessed. What is not known asks for nothing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import msgspec

from firstring.contact import (
    Candidate,
    Contact,
    Journey,
    Reason,
    RelaxingStep,
    Requirement,
    Resolution,
    RoutingNeed,
)
from firstring.routing.fields import language_of
from firstring.routing.policy import CalledRule, RoutingPolicy, TierRule, called_key


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
) -> Needed:
    """What the contact needs, and why.

    `intent` is a reason that was stated (said to the IVR, chosen in a form); without it the most probable reason out
    of the journeys counts. `preferred` and `excluded` are agents, in order and as given. The first step is at 0 s,
    each later one asks for less, and the last one asks for nobody in particular. Priority is in
    [0, policy.priority_max]. Raises nothing: what cannot be used asks for nothing and leaves a reason.
    """
    reasons: list[Reason] = []
    called = _called(contact, policy, reasons)
    language = _language(contact, resolution, called, policy, reasons)
    skills = _skills(resolution, journeys, called, policy, intent, reasons)
    tier = _tier(resolution, policy, reasons)
    return Needed(
        need=RoutingNeed(
            channel=contact.channel,
            priority=_priority(resolution, journeys, called, policy, reasons),
            steps=relaxing_steps(language, skills, tier, policy),
            preferred=tuple(preferred),
            excluded=tuple(excluded),
        ),
        reasons=tuple(reasons),
    )


def relaxing_steps(
    language: str | None, skills: Mapping[str, int], tier: TierRule | None, policy: RoutingPolicy
) -> tuple[RelaxingStep, ...]:
    """The three time-lines (language, skills, team) merged: strictly later, each asks for less than the last."""
    times = {0.0}
    if language is not None:
        times |= {policy.language_relaxed_after_s, policy.language_dropped_after_s}
    if skills:
        times |= {policy.skill_relaxed_after_s, policy.skill_dropped_after_s}
    if tier is not None:
        times.add(tier.team_for_s)
    steps: list[RelaxingStep] = []
    for after_s in sorted(times):
        requirement = _requirement(after_s, language, skills, tier, policy)
        if not steps or steps[-1].requirement != requirement:
            steps.append(RelaxingStep(after_s, requirement))
    return tuple(steps)


def _requirement(
    after_s: float, language: str | None, skills: Mapping[str, int], tier: TierRule | None, policy: RoutingPolicy
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
    resolution: Resolution,
    journeys: Sequence[Journey],
    called: CalledRule,
    policy: RoutingPolicy,
    stated: str | None,
    reasons: list[Reason],
) -> dict[str, int]:
    """Skills of the called number and of the reason together, the higher level of each."""
    skills = dict(called.skills)
    intent, share = (stated.strip().lower(), 1.0) if stated else _likely_intent(resolution, journeys)
    if intent is None or share < policy.intent_probability:
        return skills
    wanted = policy.intents.get(intent) or policy.intents.get(intent.partition(".")[0])
    if wanted is None:
        return skills
    code = "intent_stated" if stated else "intent_likely"
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


def _tier(resolution: Resolution, policy: RoutingPolicy, reasons: list[Reason]) -> TierRule | None:
    """The rule of the most probable tier that has a team, where it is probable enough."""
    shares: dict[str, float] = {}
    for candidate in resolution.candidates:
        rule = _rule(candidate, policy)
        if rule is not None and rule.team is not None and rule.team_for_s > 0:
            tier = _tier_name(candidate)
            shares[tier] = shares.get(tier, 0.0) + candidate.probability
    tier_name, share = _most_probable(shares)
    if tier_name is None or share < policy.team_probability:
        return None
    reasons.append(Reason("tier_team", f"Tier {tier_name} ({share:.0%}): first to its team", field="tier"))
    return policy.tiers[tier_name]


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
    reasons: list[Reason],
) -> int:
    """Points of the called number, and the expected points of tier and open issue over the candidates."""
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
    return min(policy.priority_max, round(called.priority + tier_points + issue_points))


def _most_probable(shares: Mapping[str, float]) -> tuple[str | None, float]:
    """The name with the largest share; the first by name where two are equal."""
    if not shares:
        return None, 0.0
    name = min(shares, key=lambda key: (-shares[key], key))
    return name, shares[name]
