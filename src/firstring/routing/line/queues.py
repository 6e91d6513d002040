"""The queue: who is next, when a requirement relaxes, and who takes whom when capacity frees.

Priority ages: one point is worth a number of seconds of waiting. The order of two contacts therefore never changes
while both wait, and nobody is overtaken by a contact that came more than (highest - lowest priority) points later.
"""

from __future__ import annotations

import heapq
import uuid
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta

import msgspec

from firstring import limits
from firstring.contact import AgentFree, Requirement, RoutingNeed
from firstring.routing.may.eligibility import requirement_at
from firstring.routing.may.memo import EligibilityMemo, Profiles, Signature, signature_of, verdicts
from firstring.routing.may.places import kept_back, spared


class Waiting(msgspec.Struct, frozen=True):
    """A contact that waits: what it needs, and since when (aware UTC). turn_at: its place in the line, as a time."""

    contact_id: uuid.UUID
    need: RoutingNeed
    since: datetime
    turn_at: datetime | None = None
    is_told: bool = False
    """Whether the wait was told."""
    revision: int = 0


class Match(msgspec.Struct, frozen=True):
    """A waiting contact and the agents to try for it, best first. The first is spoken for, the others are in reserve."""

    contact_id: uuid.UUID
    agents: tuple[int, ...]


Places = Mapping[tuple[int, str], int]
"""(agent_id, channel) to the number of contacts that the agent can still take on it."""


def effective_priority(waiting: Waiting, now: datetime, *, ageing_s_per_point: float) -> float:
    """Points of priority with the waiting time added, for people to look at. `order` sorts by it."""
    return waiting.need.priority + waited_s(waiting, now) / ageing_s_per_point


def waited_s(waiting: Waiting, now: datetime) -> float:
    """Seconds waited; 0 where the clock went back."""
    return max(0.0, (now - waiting.since).total_seconds())


def order(waiting: Sequence[Waiting], *, ageing_s_per_point: float) -> list[Waiting]:
    """Next first: by effective priority, then by arrival, then by id.

    The time now does not matter: all effective priorities grow alike, so the order is that of
    `since - priority * ageing_s_per_point`, and a clock that jumps does not disturb it.
    """
    point = timedelta(seconds=ageing_s_per_point)
    return sorted(waiting, key=lambda w: (w.since - w.need.priority * point, w.since, w.contact_id.int))


def next_step_in_s(need: RoutingNeed, waited_s: float) -> float | None:
    """Seconds until the next relaxing step is due (> 0), or None where nothing relaxes any more."""
    reached_s = max(waited_s, 0.0)
    return min((step.after_s - waited_s for step in need.steps if step.after_s > reached_s), default=None)


def next_due_in_s(waiting: Sequence[Waiting], now: datetime) -> float | None:
    """Seconds until a requirement of any waiting contact relaxes: when to re-evaluate although nobody became free."""
    due = [next_step_in_s(contact.need, waited_s(contact, now)) for contact in waiting]
    due += [(one.need.hold.until - now).total_seconds() for one in waiting if one.need.hold and one.need.hold.until > now]
    return min((seconds for seconds in due if seconds is not None), default=None)


def reevaluate(
    waiting: Sequence[Waiting],
    agents: Sequence[AgentFree],
    profiles: Profiles,
    places: Places,
    *,
    now: datetime,
    ageing_s_per_point: float,
    limit: int = limits.ALTERNATIVES_KEPT,
    memo: EligibilityMemo | None = None,
) -> list[Match]:
    """Who takes whom now: contacts in `order`, each takes the best agent by the order of `assign.rank`.

    An agent takes as many contacts as `places` says, channel by channel; one who has just taken a contact goes behind
    the others of the same class. What is not matched has no eligible agent with a place left. Each distinct
    requirement looks at all agents once; after that a contact costs O(limit log agents).
    """
    left = {key: count for key, count in places.items() if count > 0}
    taken: dict[int, int] = {}
    lines: dict[Signature, _Line] = {}
    matches: list[Match] = []
    for contact in order(waiting, ageing_s_per_point=ageing_s_per_point):
        if not left:
            break
        need = contact.need
        requirement = requirement_at(need, waited_s(contact, now))
        signature = signature_of(need, requirement, now)
        line = lines.get(signature)
        if line is None:
            line = lines[signature] = _Line(need, requirement, agents, profiles, memo, now)
        best = line.best(need, left, taken, limit, spared(need, requirement, waited_s(contact, now)))
        if not best:
            continue
        agent_id = best[0]
        taken[agent_id] = taken.get(agent_id, 0) + 1
        left[agent_id, need.channel] -= 1
        if left[agent_id, need.channel] == 0:
            del left[agent_id, need.channel]
        matches.append(Match(contact.contact_id, best))
    return matches


class _Line:
    """The eligible agents of one requirement as a heap of (class, contacts taken in this round, idle since, agent).

    Taking a contact only ever moves an agent back, so an entry with an old count is pushed anew when it surfaces.
    """

    def __init__(
        self,
        need: RoutingNeed,
        requirement: Requirement,
        agents: Sequence[AgentFree],
        profiles: Profiles,
        memo: EligibilityMemo | None,
        now: datetime,
    ) -> None:
        self._channel = need.channel
        self._kept_back: dict[int, frozenset[int]] = {}
        self._all: list[tuple[int, int]] = []
        self._heap: list[tuple[int, int, datetime, int]] = []
        self._in_line: set[int] = set()
        for agent, verdict in zip(agents, verdicts(need, requirement, agents, profiles, memo, now=now), strict=True):
            if isinstance(verdict, int):
                self._heap.append((verdict, 0, agent.idle_since, agent.agent_id))
                self._in_line.add(agent.agent_id)
                self._all.append((verdict, agent.agent_id))
        heapq.heapify(self._heap)

    def best(
        self, need: RoutingNeed, left: Mapping[tuple[int, str], int], taken: Mapping[int, int], limit: int, spare: int = 0
    ) -> tuple[int, ...]:
        """Up to `limit` agents with a place left, best first; agents without one leave the line for good. spare: how many of
        them the contact leaves free (routing.places)."""
        back = self._back(need, spare) if spare else frozenset()
        wanted = [
            agent_id
            for agent_id in dict.fromkeys(need.preferred)
            if agent_id in self._in_line
            and agent_id not in need.excluded
            and agent_id not in need.barred
            and agent_id not in back
            and (agent_id, self._channel) in left
        ][:limit]
        kept: list[tuple[int, int, datetime, int]] = []
        passed_over = frozenset(need.excluded) | frozenset(need.barred) | set(wanted) | back
        while self._heap and len(wanted) < limit:
            in_class, count, idle_since, agent_id = heapq.heappop(self._heap)
            if (agent_id, self._channel) not in left:
                continue
            entry = (in_class, taken.get(agent_id, 0), idle_since, agent_id)
            if entry[1] != count:
                heapq.heappush(self._heap, entry)
                continue
            kept.append(entry)
            if agent_id not in passed_over:
                wanted.append(agent_id)
        for entry in kept:
            heapq.heappush(self._heap, entry)
        return tuple(wanted)

    def _back(self, need: RoutingNeed, spare: int) -> frozenset[int]:
        if need.excluded or need.barred:
            out = {*need.excluded, *need.barred}
            mine = [(verdict, one) for verdict, one in self._all if one not in out]
            return frozenset(kept_back([verdict for verdict, _ in mine], [one for _, one in mine], spare))
        if spare not in self._kept_back:
            found = kept_back([verdict for verdict, _ in self._all], [one for _, one in self._all], spare)
            self._kept_back[spare] = frozenset(found)
        return self._kept_back[spare]
