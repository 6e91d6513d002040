"""May this agent serve this contact now? A yes or the reasons why not."""

from __future__ import annotations

from collections.abc import Callable, Container
from datetime import datetime

from firstring.contact import AgentProfile, Reason, Requirement, RoutingNeed
from firstring.routing.may.conditions import agent_condition, agent_values, holds
from firstring.routing.may.hours import at_work

Obstacle = tuple[str, str | None]
"""The first thing in an agent's way: a code of `eligible`, and the skill, language, team or channel it is about."""

_ANYBODY = Requirement()


def requirement_at(need: RoutingNeed, waited_s: float) -> Requirement:
    """What an agent must bring after `waited_s` seconds of waiting: the latest step that has been reached.

    Before the first step (also when the clock went back and `waited_s` is negative) the first step holds.
    """
    current = need.steps[0].requirement if need.steps else _ANYBODY
    for step in need.steps:
        if step.after_s > waited_s:
            break
        current = step.requirement
    return current


def team_of(need: RoutingNeed) -> str | None:
    """The team that serves this contact first. It stays the first choice after the requirement has relaxed."""
    return need.steps[0].requirement.tier if need.steps else None


def obstacle_check(
    requirement: Requirement, channel: str, *, intent: str | None = None, day: str = ""
) -> Callable[[AgentProfile], Obstacle | None]:
    """A function from a profile to the first obstacle, or None: the quick form of `eligible`, for many agents.

    It knows nothing of who is excluded and of working hours, which change. day: ISO date on which licences are to be valid.
    """
    skills = tuple(requirement.skills.items())
    language, language_level, tier = requirement.language, requirement.language_level, requirement.tier
    licences, agents, teams = requirement.licences, frozenset(requirement.agents), frozenset(requirement.teams)
    conditions = [agent_condition(source) for source in requirement.rules]

    def first_obstacle(profile: AgentProfile) -> Obstacle | None:
        if agents and profile.agent_id not in agents:
            return ("agent_other", None)
        if channel not in profile.channels:
            return ("channel_missing", channel)
        if profile.capacity.get(channel, 0) < 1:
            return ("capacity_none", channel)
        spared = bool(teams) and not teams.isdisjoint(profile.tiers)
        if not spared:
            if language is not None and profile.languages.get(language, 0) < language_level:
                return ("language_level" if language in profile.languages else "language_missing", language)
            for skill, level in skills:
                if profile.skills.get(skill, 0) < level:
                    return ("skill_level" if skill in profile.skills else "skill_missing", skill)
            if tier is not None and tier not in profile.tiers:
                return ("tier_missing", tier)
        if intent is not None and profile.refuses and _refused(profile, intent):
            return ("intent_refused", intent)
        for licence in licences:
            if not has_licence(profile, licence, day):
                return ("licence_missing", licence)
        if conditions and not spared:
            values = agent_values(profile, day)
            for condition in conditions:
                if not holds(condition, values):
                    return ("rule_unmet", condition.source)
        return None

    return first_obstacle


def has_licence(profile: AgentProfile, licence: str, day: str) -> bool:
    """Whether the agent has it, and it is valid on that day (ISO)."""
    until = profile.licences.get(licence)
    return until is not None and (not until or until >= day)


def _refused(profile: AgentProfile, intent: str) -> bool:
    """A refusal of `billing` is one of `billing.dispute` too."""
    return intent in profile.refuses or intent.partition(".")[0] in profile.refuses


def day_of(now: datetime) -> str:
    """The day on which licences are looked at: that of UTC."""
    return now.date().isoformat()


def eligible(
    profile: AgentProfile,
    requirement: Requirement,
    channel: str,
    *,
    excluded: Container[int] = (),
    barred: Container[int] = (),
    intent: str | None = None,
    now: datetime | None = None,
) -> tuple[bool, tuple[Reason, ...]]:
    """Whether the agent may serve, and every reason why not (none where they may).

    Codes: agent_excluded, agent_barred, agent_other, off_hours, channel_missing, capacity_none, language_missing,
    language_level, skill_missing, skill_level, tier_missing, intent_refused, licence_missing, rule_unmet. now: without it
    working hours and the ends of licences are not looked at.
    """
    reasons: list[Reason] = []
    if profile.agent_id in barred:
        reasons.append(Reason("agent_barred", "The customer complained about them"))
    if requirement.agents and profile.agent_id not in requirement.agents:
        reasons.append(Reason("agent_other", "The contact was sent to somebody else"))
    if now is not None and not at_work(profile.hours, now):
        reasons.append(Reason("off_hours", "Outside their working hours"))
    if profile.agent_id in excluded:
        reasons.append(Reason("agent_excluded", "Excluded for this contact"))
    if channel not in profile.channels:
        reasons.append(Reason("channel_missing", f"Does not serve {channel}", field=channel))
    elif profile.capacity.get(channel, 0) < 1:
        reasons.append(Reason("capacity_none", f"Takes no contact on {channel}", field=channel))
    spared = not set(requirement.teams).isdisjoint(profile.tiers)
    if requirement.language is not None and not spared:
        spoken = profile.languages.get(requirement.language)
        if spoken is None:
            reasons.append(Reason("language_missing", f"Does not speak {requirement.language}", field=requirement.language))
        elif spoken < requirement.language_level:
            text = f"Speaks {requirement.language} at {spoken}, {requirement.language_level} is asked for"
            reasons.append(Reason("language_level", text, field=requirement.language))
    for skill, level in requirement.skills.items() if not spared else ():
        has = profile.skills.get(skill)
        if has is None:
            reasons.append(Reason("skill_missing", f"Lacks {skill}", field=skill))
        elif has < level:
            reasons.append(Reason("skill_level", f"Has {skill} at {has}, {level} is asked for", field=skill))
    if requirement.tier is not None and requirement.tier not in profile.tiers and not spared:
        reasons.append(Reason("tier_missing", f"Not in the team {requirement.tier}", field=requirement.tier))
    if intent is not None and _refused(profile, intent):
        reasons.append(Reason("intent_refused", f"Does not take {intent}", field=intent))
    day = day_of(now) if now is not None else ""
    for licence in requirement.licences:
        if not has_licence(profile, licence, day):
            reasons.append(Reason("licence_missing", f"Has no valid licence {licence}", field=licence))
    for source in requirement.rules if not spared else ():
        if not holds(agent_condition(source), agent_values(profile, day)):
            reasons.append(Reason("rule_unmet", f"Does not meet {source}", field=source))
    return not reasons, tuple(reasons)
