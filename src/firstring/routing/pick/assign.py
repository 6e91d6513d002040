"""Whom: the eligible agents in the order in which they are tried.

Longest idle first, in three classes: the contact's own team, agents without a team, agents of other teams. Agents of
a team are thereby kept for the contacts of that team as long as somebody else is free, but never withheld: an
eligible idle agent does not stay beside a waiting contact.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Final, NamedTuple

import msgspec
import numpy as np
import numpy.typing as npt

from firstring import limits
from firstring.contact import AgentFree, AgentProfile, AgentVerdict, Reason, Requirement, Routing, RoutingNeed
from firstring.routing.may.eligibility import Obstacle, eligible, requirement_at, team_of
from firstring.routing.may.memo import (
    FIRST_OBSTACLE,
    OFF_HOURS,
    OTHER_TEAM,
    OWN_TEAM,
    PROFILE_UNKNOWN,
    UNKNOWN,
    EligibilityMemo,
    Profiles,
    codes,
    column_of,
    team_class,
    value_of,
    verdicts,
)
from firstring.routing.may.packed import EPOCH, Columns, Integers, columns, moment, pair
from firstring.routing.may.places import is_kept_back, kept_back, spared
from firstring.routing.pick.beside import NOTHING, Beside, around_of, hold_of, reason_of, seconds_to_hold, tags
from firstring.routing.pick.live import Matched, Matching, matched

POLICY: Final = "longest-idle"

_EXCLUDED: Final[Obstacle] = ("agent_excluded", None)
_BARRED: Final[Obstacle] = ("agent_barred", None)
_OBSTACLES: Final = {
    "agent_excluded": "excluded for this contact",
    "profile_unknown": "without a known profile",
    "channel_missing": "not serving {}",
    "capacity_none": "taking no contact on {}",
    "language_missing": "not speaking {}",
    "language_level": "speaking {} below the level asked for",
    "skill_missing": "lacking {}",
    "skill_level": "having {} below the level asked for",
    "tier_missing": "not in the team {}",
    "agent_barred": "about whom the customer complained",
    "agent_other": "to whom the contact was not sent",
    "off_hours": "outside their working hours",
    "intent_refused": "not taking {}",
    "licence_missing": "without a valid licence {}",
    "rule_unmet": "not meeting {}",
    "kept_free": "kept free for customers of {}",
}


def rank(
    need: RoutingNeed,
    agents: Sequence[AgentFree] | bytes,
    profiles: Profiles,
    *,
    now: datetime,
    waited_s: float,
    limit: int = limits.ALTERNATIVES_KEPT,
    policy: str = POLICY,
    reasons: Sequence[Reason] = (),
    memo: EligibilityMemo | None = None,
    matching: Matching | None = None,
    beside: Beside = NOTHING,
) -> Routing:
    """The first `limit` eligible agents in the order in which the claim tries them.

    `agents` have a free place on the contact's channel; beyond limits.AGENTS_CONSIDERED only the longest idle are
    considered, with a reason. Order: preferred agents as listed, then class (see above), then longest idle, then
    agent id; whoever had the customer last counts as idle for longer. `ranked` holds eligible agents only; score is their
    idle time in seconds (0 where the clock went back), with what continuity adds.
    `reasons` are put before those of the routing itself. Deterministic (propensity 1.0), and independent of the order
    of `agents`. `memo` makes it quicker and changes nothing.

    matching: within a class the pick orders (pick.live), and idle time decides between equals; score is the index then.
    beside: who is busy, and whether the contact may be held for one of them. It is where the need says so (`hold`); the
    order is then that in which the others would have been tried.
    """
    requirement = requirement_at(need, waited_s)
    all_reasons = list(reasons)
    if isinstance(agents, bytes):
        line = _line_of_packed(need, requirement, columns(agents), profiles, memo, limit, now, matching, waited_s, beside)
    else:
        line = _line(need, requirement, agents, profiles, memo, limit, now, matching, waited_s, beside)
    cut = line.free - line.considered
    if cut:
        all_reasons.append(Reason("agents_cut", f"{cut} agents with the shortest idle time were not considered"))
    order = () if line.matched is None else line.matched.order
    ranked = tuple(
        _verdict(profiles[agent_id, version], need, requirement, idle_since, now, place, line.matched, order)
        for place, (idle_since, agent_id, version) in enumerate(line.first)
    )
    all_reasons.extend(_summary(line.fit, line.free, line.obstacles))
    hold = hold_of(line.matched, beside, now)
    if hold is not None and line.matched is not None:
        all_reasons.append(reason_of(hold, line.matched))
        need = msgspec.structs.replace(need, hold=hold)
    return Routing(
        need=need,
        ranked=ranked,
        eligible=line.fit,
        considered=line.considered,
        policy=policy,
        propensity=1.0 if line.matched is None else line.matched.made.propensity,
        reasons=tuple(all_reasons),
        means=None if line.matched is None else line.matched.means,
    )


def explain(need: RoutingNeed, agent: AgentFree, profile: AgentProfile, *, now: datetime, waited_s: float) -> AgentVerdict:
    """Why this agent, or why not: every reason, not only the first obstacle."""
    requirement = requirement_at(need, waited_s)
    fits, reasons = eligible(
        profile,
        requirement,
        need.channel,
        excluded=need.excluded,
        barred=need.barred,
        intent=need.intent,
        now=now,
    )
    if not fits:
        return AgentVerdict(agent.agent_id, agent.version, eligible=False, reasons=reasons)
    return _verdict(profile, need, requirement, agent.idle_since, now, place=None)


Entry = tuple[int, datetime, int, int]
"""(class, idle_since, agent_id, version): sorts in the order in which agents are tried."""


class _Line(NamedTuple):
    """The first in the order in which they are tried (idle_since, agent_id, version); how many fit, are free, were
    considered; how many others there are by their first obstacle."""

    first: list[tuple[datetime, int, int]]
    fit: int
    free: int
    considered: int
    obstacles: dict[Obstacle, int]
    matched: Matched | None = None


def _line(
    need: RoutingNeed,
    requirement: Requirement,
    agents: Sequence[AgentFree],
    profiles: Profiles,
    memo: EligibilityMemo | None,
    limit: int,
    now: datetime,
    matching: Matching | None,
    waited_s: float,
    beside: Beside,
) -> _Line:
    considered = agents
    if len(agents) > limits.AGENTS_CONSIDERED:
        considered = heapq.nsmallest(limits.AGENTS_CONSIDERED, agents, key=_longest_idle)
    fit, obstacles = _sift(need, requirement, considered, profiles, memo, now)
    spare = spared(need, requirement, waited_s)
    if spare and fit:
        back = kept_back([entry[0] for entry in fit], [entry[2] for entry in fit], spare)
        fit = [entry for entry in fit if entry[2] not in back]
        obstacles[_kept(need)] = len(back)
    preference = _preference(need.preferred)
    if preference:
        key_of = preference.get
        fit = [(key_of(entry[2], len(preference)) * 4 + entry[0], *entry[1:]) for entry in fit]
    if matching is not None and fit:
        ids = np.array([entry[2] for entry in fit], np.int64)
        idle_s = np.array([(now - entry[1]).total_seconds() for entry in fit])
        in_class = np.array([entry[0] for entry in fit], np.int64)
        level, wish = _columns_of([(entry[2], entry[3]) for entry in fit], need, requirement, profiles, matching)
        made = matched(
            matching, ids, idle_s=idle_s, in_class=in_class, level=level, wish=wish, keep=limit,
            around=around_of(need, requirement, beside, profiles, memo, matching, now),
            hold_s=seconds_to_hold(need, requirement, beside, now),
        )  # fmt: skip
        first = [fit[place][1:] for place in made.order]
        return _Line(first, len(fit), len(agents), len(considered), obstacles, made)
    if need.last_agent is not None and need.continuity_s:
        ahead = timedelta(seconds=need.continuity_s)
        weighed = [(one[0], one[1] - ahead * (one[2] == need.last_agent), *one[2:], one[1]) for one in fit]
        first = [(entry[4], *entry[2:4]) for entry in heapq.nsmallest(limit, weighed)]
    else:
        first = [entry[1:] for entry in heapq.nsmallest(limit, fit)]
    return _Line(first, len(fit), len(agents), len(considered), obstacles)


def _line_of_packed(
    need: RoutingNeed,
    requirement: Requirement,
    agents: Columns,
    profiles: Profiles,
    memo: EligibilityMemo | None,
    limit: int,
    now: datetime,
    matching: Matching | None,
    waited_s: float,
    beside: Beside,
) -> _Line:
    """The same, column by column."""
    keys, idle_us = agents
    free = len(keys)
    if free > limits.AGENTS_CONSIDERED:
        longest = np.lexsort((keys, idle_us))[: limits.AGENTS_CONSIDERED]
        keys, idle_us = keys[longest], idle_us[longest]
    agents = Columns(keys, idle_us)
    classes, known_obstacles, off = codes(need, requirement, keys, profiles, memo, now=now)
    obstacles: dict[Obstacle, int] = {}
    is_fit = (classes >= 0) & (classes < FIRST_OBSTACLE)
    counted = classes
    out: npt.NDArray[np.bool_] | None = None
    for who, obstacle in ((need.barred, _BARRED), (need.excluded, _EXCLUDED)):
        if who:
            left_out = np.isin(agents.agent_ids, who)
            if out is not None:
                left_out &= ~out
            if left_out.any():
                obstacles[obstacle] = int(left_out.sum())
                out = left_out if out is None else out | left_out
    if out is not None:
        is_fit &= ~out
        counted = classes[~out]
    if off is not None and (off & is_fit).any():
        obstacles[OFF_HOURS] = int((off & is_fit).sum())
        is_fit &= ~off
    for code, count in enumerate(np.bincount(counted - UNKNOWN).tolist(), UNKNOWN):
        if count and not 0 <= code < FIRST_OBSTACLE:
            obstacles[PROFILE_UNKNOWN if code == UNKNOWN else known_obstacles[code - FIRST_OBSTACLE]] = count
    fit = np.flatnonzero(is_fit)
    spare = spared(need, requirement, waited_s)
    if spare and len(fit):
        back = is_kept_back(classes[fit].astype(np.int64), agents.agent_ids[fit], spare)
        obstacles[_kept(need)] = int(back.sum())
        fit = fit[~back]
    in_class = classes[fit].astype(np.int64)
    preference = _preference(need.preferred)
    if preference:
        in_class += 4 * _places_of(preference, agents.agent_ids[fit])
    if matching is not None and len(fit):
        fit = fit[np.argsort(keys[fit])]  # of equals the first agent goes first, as everywhere
        in_class = classes[fit].astype(np.int64) + (4 * _places_of(preference, agents.agent_ids[fit]) if preference else 0)
        idle_s = (_microseconds(now) - idle_us[fit]) / 1e6
        wanted = tags(need, requirement, matching)
        level, wish = (None if tag is None else column_of(tag, keys[fit], profiles, memo) for tag in wanted)
        made = matched(
            matching, agents.agent_ids[fit], idle_s=idle_s, in_class=in_class, level=level, wish=wish, keep=limit,
            around=around_of(need, requirement, beside, profiles, memo, matching, now),
            hold_s=seconds_to_hold(need, requirement, beside, now),
        )  # fmt: skip
        tried = fit[made.order]
        first = [
            (moment(since), *pair(key)) for key, since in zip(keys[tried].tolist(), idle_us[tried].tolist(), strict=True)
        ]
        return _Line(first, len(fit), free, len(keys), obstacles, made)
    idle_from = idle_us[fit]
    if need.last_agent is not None and need.continuity_s:
        idle_from = idle_from - (agents.agent_ids[fit] == need.last_agent) * round(need.continuity_s * 1e6)
    order = fit[np.lexsort((keys[fit], idle_from, in_class))[:limit]]
    first = [(moment(since), *pair(key)) for key, since in zip(keys[order].tolist(), idle_us[order].tolist(), strict=True)]
    return _Line(first, len(fit), free, len(keys), obstacles)


def _kept(need: RoutingNeed) -> Obstacle:
    return ("kept_free", ", ".join(kept.tier for kept in need.kept))


def _places_of(preference: Mapping[int, int], ids: Integers) -> Integers:
    """Where each agent stands among those preferred; behind all of them where they are not."""
    places = np.full(len(ids), len(preference), np.int64)
    for agent_id, place in preference.items():
        places[ids == agent_id] = place
    return places


def _microseconds(now: datetime) -> int:
    return (now - EPOCH) // timedelta(microseconds=1)


def _columns_of(
    pairs: Sequence[tuple[int, int]],
    need: RoutingNeed,
    requirement: Requirement,
    profiles: Profiles,
    matching: Matching,
) -> list[npt.NDArray[np.int8] | None]:
    return [
        None if tag is None else np.array([value_of(tag, profiles[one]) for one in pairs], np.int8)
        for tag in tags(need, requirement, matching)
    ]


def _sift(
    need: RoutingNeed,
    requirement: Requirement,
    agents: Sequence[AgentFree],
    profiles: Profiles,
    memo: EligibilityMemo | None,
    now: datetime,
) -> tuple[list[Entry], dict[Obstacle, int]]:
    """The eligible agents, and how many others there are by their first obstacle."""
    excluded, barred = frozenset(need.excluded), frozenset(need.barred)
    fit: list[Entry] = []
    obstacles: dict[Obstacle, int] = {}
    for agent, verdict in zip(agents, verdicts(need, requirement, agents, profiles, memo, now=now), strict=True):
        agent_id = agent.agent_id
        if agent_id in barred:
            verdict = _BARRED
        elif agent_id in excluded:
            verdict = _EXCLUDED
        if isinstance(verdict, int):
            fit.append((verdict, agent.idle_since, agent_id, agent.version))
        else:
            obstacles[verdict] = obstacles.get(verdict, 0) + 1
    return fit, obstacles


def _preference(preferred: Iterable[int]) -> dict[int, int]:
    places: dict[int, int] = {}
    for agent_id in preferred:
        places.setdefault(agent_id, len(places))
    return places


def _longest_idle(agent: AgentFree) -> tuple[datetime, int]:
    return agent.idle_since, agent.agent_id


def _verdict(
    profile: AgentProfile,
    need: RoutingNeed,
    requirement: Requirement,
    idle_since: datetime,
    now: datetime,
    place: int | None,
    match: Matched | None = None,
    order: Sequence[int] = (),
) -> AgentVerdict:
    idle_s = max(0.0, (now - idle_since).total_seconds())
    reasons: list[Reason] = []
    if profile.agent_id in need.preferred:
        reasons.append(Reason("preferred", "Preferred for this contact"))
    in_class = team_class(profile, team_of(need))
    if in_class == OWN_TEAM:
        reasons.append(Reason("team", f"In the team {team_of(need)}"))
    elif in_class == OTHER_TEAM:
        reasons.append(Reason("team_spared", "In a team for other customers: tried after the others"))
    for skill, level in requirement.skills.items():
        if profile.skills.get(skill, 0) >= level:
            reasons.append(Reason("skill", f"{skill} at {profile.skills[skill]}, {level} is asked for", field=skill))
    team = next((one for one in requirement.teams if one in profile.tiers), None)
    if team is not None:
        reasons.append(Reason("overflow_team", f"In the team {team}, which may serve it too", field=team))
    spoken = requirement.language
    if spoken is not None and profile.languages.get(spoken, 0) >= requirement.language_level:
        text = f"Speaks {spoken} at {profile.languages[spoken]}, {requirement.language_level} is asked for"
        reasons.append(Reason("language", text, field=spoken))
    for licence in requirement.licences:
        reasons.append(Reason("licence", f"Has the licence {licence}", field=licence))
    for rule in requirement.rules if team is None else ():
        reasons.append(Reason("rule", f"Meets {rule}", field=rule))
    score = idle_s
    expected = None
    if match is not None and place is not None:
        position = order[place]
        expected = (float(match.fits.success[position]), float(match.fits.handle_s[position]))
        score = float(match.made.scores[position])
        reasons.extend(match.reasons(position, order[0]))
    elif profile.agent_id == need.last_agent and need.continuity_s:
        score += need.continuity_s
        text = f"Had this customer last: counts as {need.continuity_s:.0f} s of idle time"
        reasons.append(Reason("continuity", text, weight=need.continuity_s))
    idle_text = f"Idle for {idle_s:.0f} s"
    if place is not None:
        idle_text += f", number {place + 1} in order"
    reasons.append(Reason("idle", idle_text, weight=idle_s))
    return AgentVerdict(
        profile.agent_id, profile.version, eligible=True, score=score, reasons=tuple(reasons), expected=expected
    )


def _summary(fit: int, free: int, obstacles: Mapping[Obstacle, int]) -> list[Reason]:
    """How many agents fell out for what, most frequent first, and the state that follows from it."""
    reasons: list[Reason] = []
    if free == 0:
        reasons.append(Reason("no_agent_free", "No agent is free on this channel"))
    elif fit == 0:
        reasons.append(Reason("no_agent_eligible", f"None of {free} free agents may serve this contact now"))
    for (code, about), count in sorted(obstacles.items(), key=lambda item: (-item[1], item[0][0], item[0][1] or "")):
        reasons.append(
            Reason(code, f"{count} free agents {_OBSTACLES[code].format(about)}", weight=float(count), field=about)
        )
    return reasons
