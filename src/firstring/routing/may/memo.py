"""Verdicts remembered: whether a version of an agent's profile meets a requirement never changes.

Going through 10,000 profiles costs mostly memory access. Who decides many contacts keeps one memo beside the profiles
and passes it in; results are the same with and without it.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt

from firstring.contact import AgentFree, AgentProfile, Requirement, RoutingNeed, WorkingHours
from firstring.routing.may.eligibility import Obstacle, day_of, obstacle_check, team_of
from firstring.routing.may.hours import at_work
from firstring.routing.may.packed import Integers, found_in, pair

OWN_TEAM: Final = 0
NO_TEAM: Final = 1
OTHER_TEAM: Final = 2

Profiles = Mapping[tuple[int, int], AgentProfile]
"""(agent_id, version) to that version of the agent's profile."""

Verdict = int | Obstacle
"""The class of an eligible agent (OWN_TEAM, NO_TEAM, OTHER_TEAM), or what stands in the way."""


class Signature(NamedTuple):
    """All that a verdict depends on besides the profile. day: where licences or rules are asked for, the ISO date."""

    channel: str
    skills: tuple[tuple[str, int], ...]
    language: str | None
    language_level: int
    tier: str | None
    team: str | None
    intent: str | None
    licences: tuple[str, ...]
    rules: tuple[str, ...]
    agents: tuple[int, ...]
    teams: tuple[str, ...]
    day: str


OFF_HOURS: Final[Obstacle] = ("off_hours", None)
PROFILE_UNKNOWN: Final[Obstacle] = ("profile_unknown", None)

Table = dict[tuple[int, int], Verdict]

COLUMN_KEPT: Final = 100_000
"""Beyond it all are forgotten, those of profiles that are gone among them."""

UNKNOWN: Final = -1
"""The code of an agent whose profile is not known."""
FIRST_OBSTACLE: Final = OTHER_TEAM + 1
"""Codes from here on are places in a table's obstacles; below are the classes of eligible agents."""


class Codes(NamedTuple):
    """Verdicts as numbers, by the key of agent and version (routing.may.packed), sorted by it.

    shifts: places in `hours`, those of each agent; place 0 is "always".
    """

    keys: Integers
    codes: npt.NDArray[np.int16]
    obstacles: tuple[Obstacle, ...]
    shifts: npt.NDArray[np.int16]
    hours: tuple[WorkingHours | None, ...]


_NONE: Final = np.empty(0, np.int16)
NO_CODES: Final = Codes(np.empty(0, np.int64), _NONE, (), _NONE, (None,))


class Coded(NamedTuple):
    """A code for each agent asked about, the obstacles that codes from FIRST_OBSTACLE on name, and who is outside their
    working hours now (None: nobody)."""

    codes: npt.NDArray[np.int16]
    obstacles: tuple[Obstacle, ...]
    resting: npt.NDArray[np.bool_] | None


def signature_of(need: RoutingNeed, requirement: Requirement, now: datetime) -> Signature:
    """The signature of `requirement` for this need; excluded, barred and preferred agents and working hours are not part of
    it."""
    return Signature(
        need.channel,
        tuple(sorted(requirement.skills.items())),
        requirement.language,
        requirement.language_level,
        requirement.tier,
        team_of(need),
        need.intent,
        requirement.licences,
        requirement.rules,
        requirement.agents,
        requirement.teams,
        day_of(now) if requirement.licences or requirement.rules else "",
    )


def team_class(profile: AgentProfile, team: str | None) -> int:
    """OWN_TEAM, NO_TEAM or OTHER_TEAM: the class in which an agent is tried for a contact of `team`."""
    if not profile.tiers:
        return NO_TEAM
    return OWN_TEAM if team is not None and team in profile.tiers else OTHER_TEAM


class EligibilityMemo:
    """At most `entries_max` verdicts (about 170 bytes each; of packed agents 16 count as one); the requirements used longest
    ago go first.

    One memo goes with one collection of profiles: an agent whose profile was once known must not be passed in later
    without it. Not for use by several threads at once.
    """

    def __init__(self, entries_max: int = 100_000) -> None:
        if entries_max < 1:
            raise ValueError("entries_max must be at least 1")
        self._entries_max = entries_max
        self._tables: OrderedDict[Signature, Table] = OrderedDict()
        self._codes: OrderedDict[Signature, Codes] = OrderedDict()
        self.columns: OrderedDict[Tag, tuple[Integers, npt.NDArray[np.int8]]] = OrderedDict()

    def __len__(self) -> int:
        return sum(map(len, self._tables.values())) + sum(_size(known) for known in self._codes.values())

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
                entries -= _size(self._codes.popitem(last=False)[1])
            else:
                entries -= len(self._tables.popitem(last=False)[1])


def _size(known: Codes) -> int:
    return -(-len(known.keys) // 16)


def verdicts(
    need: RoutingNeed,
    requirement: Requirement,
    agents: Sequence[AgentFree],
    profiles: Profiles,
    memo: EligibilityMemo | None,
    *,
    now: datetime,
) -> list[Verdict]:
    """The verdict on each agent, in the order of `agents`, apart from who is excluded or barred."""
    signature = signature_of(need, requirement, now)
    table: Table = {} if memo is None else memo.table(signature)
    check = obstacle_check(requirement, need.channel, intent=need.intent, day=signature.day)
    is_open: dict[WorkingHours, bool] = {}
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
        if isinstance(verdict, int):
            known = profiles.get(key)
            hours = None if known is None else known.hours
            if hours is not None:
                if hours not in is_open:
                    is_open[hours] = at_work(hours, now)
                if not is_open[hours]:
                    verdict = OFF_HOURS
        found.append(verdict)
    if memo is not None and len(table) != entries:
        memo.keep(signature, table)
    return found


Tag = tuple[str, ...]
"""What of a profile is wanted as a number: ("level", language) or ("wish", skills and reasons...)."""
COLUMNS_KEPT: Final = 64


def value_of(tag: Tag, profile: AgentProfile) -> int:
    """level: 0-5 in a language. wish: 1 where the agent wants to use or learn one of these, else 0."""
    if tag[0] == "level":
        return profile.languages.get(tag[1], 0)
    return int(any(name in profile.wants or name in profile.learns for name in tag[1:]))


def column_of(tag: Tag, keys: Integers, profiles: Profiles, memo: EligibilityMemo | None) -> npt.NDArray[np.int8]:
    """`value_of` for agents by their keys, of whom the profiles are known."""
    known = None if memo is None else memo.columns.get(tag)
    table, values = (np.empty(0, np.int64), np.empty(0, np.int8)) if known is None else known
    if len(table) > COLUMN_KEPT:
        table, values = table[:0], values[:0]
    places, found = found_in(table, keys)
    if not found.all():
        new = np.unique(keys[~found])
        added = np.array([value_of(tag, profiles[pair(key)]) for key in new.tolist()], np.int8)
        table, values = np.concatenate((table, new)), np.concatenate((values, added))
        order = np.argsort(table)
        table, values = table[order], values[order]
        places, found = found_in(table, keys)
    if memo is not None:
        memo.columns[tag] = (table, values)
        memo.columns.move_to_end(tag)
        if len(memo.columns) > COLUMNS_KEPT:
            memo.columns.popitem(last=False)
    if not len(table):
        return np.zeros(len(keys), np.int8)
    column: npt.NDArray[np.int8] = values[places]
    return column


def codes(
    need: RoutingNeed,
    requirement: Requirement,
    keys: Integers,
    profiles: Profiles,
    memo: EligibilityMemo | None,
    *,
    now: datetime,
) -> Coded:
    """As `verdicts`, for agents by their keys. Working hours are told apart."""
    signature = signature_of(need, requirement, now)
    known = NO_CODES if memo is None else memo.codes(signature)
    places, found = found_in(known.keys, keys)
    if not found.all():
        known = _with_codes(known, np.unique(keys[~found]), need, requirement, profiles, signature.day)
        if memo is not None:
            memo.keep_codes(signature, known)
        places, found = found_in(known.keys, keys)
    if not len(known.keys):
        return Coded(np.full(len(keys), UNKNOWN, np.int16), known.obstacles, None)
    resting = None
    if len(known.hours) > 1:
        is_off = np.array([not at_work(hours, now) for hours in known.hours])
        resting = is_off[known.shifts[places]] & found
    return Coded(np.where(found, known.codes[places], np.int16(UNKNOWN)), known.obstacles, resting)


def _with_codes(
    known: Codes, new: Integers, need: RoutingNeed, requirement: Requirement, profiles: Profiles, day: str
) -> Codes:
    """The table with the verdicts on new keys; those whose profile is not known are left out."""
    check = obstacle_check(requirement, need.channel, intent=need.intent, day=day)
    team = team_of(need)
    obstacles = {obstacle: FIRST_OBSTACLE + place for place, obstacle in enumerate(known.obstacles)}
    hours: dict[WorkingHours | None, int] = {one: place for place, one in enumerate(known.hours)}
    added: list[tuple[int, int, int]] = []
    for key in new.tolist():
        profile = profiles.get(pair(key))
        if profile is not None:
            obstacle = check(profile)
            if obstacle is None:
                code = team_class(profile, team)
            else:
                code = obstacles.setdefault(obstacle, FIRST_OBSTACLE + len(obstacles))
            added.append((key, code, hours.setdefault(profile.hours, len(hours))))
    all_keys = np.concatenate((known.keys, np.array([key for key, _, _ in added], np.int64)))
    all_codes = np.concatenate((known.codes, np.array([code for _, code, _ in added], np.int16)))
    all_shifts = np.concatenate((known.shifts, np.array([shift for _, _, shift in added], np.int16)))
    order = np.argsort(all_keys)
    return Codes(all_keys[order], all_codes[order], tuple(obstacles), all_shifts[order], tuple(hours))
