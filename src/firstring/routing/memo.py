"""Verdicts remembered: whether a version of an agent's profile meets a requirement never changes.

Going through 10,000 profiles costs mostly memory access. Who decides many contacts keeps one memo beside the profiles
and passes it in; results are the same with and without it.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping, Sequence
from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt

from firstring.contact import AgentFree, AgentProfile, Requirement, RoutingNeed
from firstring.routing.eligibility import Obstacle, obstacle_check, team_of
from firstring.routing.packed import Integers, found_in, pair

OWN_TEAM: Final = 0
NO_TEAM: Final = 1
OTHER_TEAM: Final = 2

Profiles = Mapping[tuple[int, int], AgentProfile]
"""(agent_id, version) to that version of the agent's profile."""

Verdict = int | Obstacle
"""The class of an eligible agent (OWN_TEAM, NO_TEAM, OTHER_TEAM), or what stands in the way."""

Signature = tuple[str, tuple[tuple[str, int], ...], str | None, int, str | None, str | None]
"""All that a verdict depends on besides the profile: channel, skills, language, its level, team asked for, own team."""

PROFILE_UNKNOWN: Final[Obstacle] = ("profile_unknown", None)

Table = dict[tuple[int, int], Verdict]

UNKNOWN: Final = -1
"""The code of an agent whose profile is not known."""
FIRST_OBSTACLE: Final = OTHER_TEAM + 1
"""Codes from here on are places in a table's obstacles; below are the classes of eligible agents."""


class Codes(NamedTuple):
    """Verdicts as numbers, by the key of agent and version (routing.packed), sorted by it."""

    keys: Integers
    codes: npt.NDArray[np.int16]
    obstacles: tuple[Obstacle, ...]


NO_CODES: Final = Codes(np.empty(0, np.int64), np.empty(0, np.int16), ())


def signature_of(need: RoutingNeed, requirement: Requirement) -> Signature:
    """The signature of `requirement` for this need; excluded and preferred agents are not part of it."""
    skills = tuple(sorted(requirement.skills.items()))
    return (
        need.channel,
        skills,
        requirement.language,
        requirement.language_level,
        requirement.tier,
        team_of(need),
    )


def team_class(profile: AgentProfile, team: str | None) -> int:
    """OWN_TEAM, NO_TEAM or OTHER_TEAM: the class in which an agent is tried for a contact of `team`."""
    if not profile.tiers:
        return NO_TEAM
    return OWN_TEAM if team is not None and team in profile.tiers else OTHER_TEAM


class EligibilityMemo:
    """At most `entries_max` verdicts (about 170 bytes each); the requirements used longest ago go first.

    One memo goes with one collection of profiles: an agent whose profile was once known must not be passed in later
    without it. Not for use by several threads at once.
    """

    def __init__(self, entries_max: int = 100_000) -> None:
        if entries_max < 1:
            raise ValueError("entries_max must be at least 1")
        self._entries_max = entries_max
        self._tables: OrderedDict[Signature, Table] = OrderedDict()
        self._codes: OrderedDict[Signature, Codes] = OrderedDict()

    def __len__(self) -> int:
        return sum(map(len, self._tables.values())) + sum(len(known.keys) for known in self._codes.values())

    def table(self, signature: Signature) -> Table:
        """The verdicts known for a signature; to be filled by the caller, then given to `keep`."""
        table = self._tables.get(signature)
        if table is None:
            return {}
        self._tables.move_to_end(signature)
        return table

    def keep(self, signature: Signature, table: Table) -> None:
        """Remembers a table that has grown, and forgets others until all fit. One that is too large is not kept."""
        self._tables[signature] = table
        self._tables.move_to_end(signature)
        self._forget()

    def codes(self, signature: Signature) -> Codes:
        """As `table`, for agents that come packed."""
        known = self._codes.get(signature)
        if known is None:
            return NO_CODES
        self._codes.move_to_end(signature)
        return known

    def keep_codes(self, signature: Signature, known: Codes) -> None:
        """As `keep`."""
        self._codes[signature] = known
        self._codes.move_to_end(signature)
        self._forget()

    def _forget(self) -> None:
        entries = len(self)
        while entries > self._entries_max:
            if self._codes:
                entries -= len(self._codes.popitem(last=False)[1].keys)
            else:
                entries -= len(self._tables.popitem(last=False)[1])


def verdicts(
    need: RoutingNeed,
    requirement: Requirement,
    agents: Sequence[AgentFree],
    profiles: Profiles,
    memo: EligibilityMemo | None,
) -> list[Verdict]:
    """The verdict on each agent, in the order of `agents`, apart from exclusion."""
    signature = signature_of(need, requirement)
    table: Table = {} if memo is None else memo.table(signature)
    check = obstacle_check(requirement, need.channel)
    team = team_of(need)
    entries = len(table)
    found: list[Verdict] = []
    for agent in agents:
        key = (agent.agent_id, agent.version)
        verdict = table.get(key)
        if verdict is None:
            profile = profiles.get(key)
            if profile is None:
                found.append(PROFILE_UNKNOWN)
                continue
            verdict = check(profile) or team_class(profile, team)
            table[key] = verdict
        found.append(verdict)
    if memo is not None and len(table) != entries:
        memo.keep(signature, table)
    return found


def codes(
    need: RoutingNeed, requirement: Requirement, keys: Integers, profiles: Profiles, memo: EligibilityMemo | None
) -> tuple[npt.NDArray[np.int16], tuple[Obstacle, ...]]:
    """As `verdicts`, for agents by their keys: a code for each, and the obstacles that codes from FIRST_OBSTACLE on name."""
    signature = signature_of(need, requirement)
    known = NO_CODES if memo is None else memo.codes(signature)
    places, found = found_in(known.keys, keys)
    if not found.all():
        known = _with_codes(known, np.unique(keys[~found]), need, requirement, profiles)
        if memo is not None:
            memo.keep_codes(signature, known)
        places, found = found_in(known.keys, keys)
    if not len(known.keys):
        return np.full(len(keys), UNKNOWN, np.int16), known.obstacles
    return np.where(found, known.codes[places], np.int16(UNKNOWN)), known.obstacles


def _with_codes(known: Codes, new: Integers, need: RoutingNeed, requirement: Requirement, profiles: Profiles) -> Codes:
    """The table with the verdicts on new keys; those whose profile is not known are left out."""
    check, team = obstacle_check(requirement, need.channel), team_of(need)
    obstacles = {obstacle: FIRST_OBSTACLE + place for place, obstacle in enumerate(known.obstacles)}
    added: list[tuple[int, int]] = []
    for key in new.tolist():
        profile = profiles.get(pair(key))
        if profile is not None:
            obstacle = check(profile)
            if obstacle is None:
                code = team_class(profile, team)
            else:
                code = obstacles.setdefault(obstacle, FIRST_OBSTACLE + len(obstacles))
            added.append((key, code))
    all_keys = np.concatenate((known.keys, np.array([key for key, _ in added], np.int64)))
    all_codes = np.concatenate((known.codes, np.array([code for _, code in added], np.int16)))
    order = np.argsort(all_keys)
    return Codes(all_keys[order], all_codes[order], tuple(obstacles))
