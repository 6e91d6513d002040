"""Who takes whom while contacts wait, by who fits: within the window of the line, under the age guard, and all at once where
several agents and several contacts come together.

One agent who becomes free, and one contact that is tried again, go by the very steps that the simulator measures
(`routing.pick.step`); what the line remembers of who was passed over is in `routing.line.guard`.
"""

from __future__ import annotations

import uuid
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from firstring.contact import AgentFree, RoutingNeed
from firstring.routing.line.guard import Guard, turn_s
from firstring.routing.line.queues import Match, Waiting, waited_s
from firstring.routing.may.eligibility import requirement_at
from firstring.routing.may.memo import EligibilityMemo, Profiles, Signature, column_of, signature_of, verdicts
from firstring.routing.may.packed import VERSION_BITS, Integers
from firstring.routing.may.places import is_kept_back, spared
from firstring.routing.pick.beside import is_held, tags
from firstring.routing.pick.choose import batch, pair_index, unfairness
from firstring.routing.pick.firstcome import lateness, must_serve, whose_turn
from firstring.routing.pick.live import SPARED_POINTS, Live, Matching, Means, believed
from firstring.routing.pick.step import freed, line_size, stands

POINTS: Final = 0.005
"""Points of success that one point of priority is worth in the choice of the next contact."""
ROWS: Final = 64
"""Contacts at the head of the line that are looked at together."""

Flags = NDArray[np.bool_]
Floats = NDArray[np.float64]


class There(NamedTuple):
    """Everybody who is there for a channel (n,), free or not, with how many contacts each has."""

    agents: Sequence[AgentFree]
    taken: Integers

    @property
    def ids(self) -> Integers:
        return np.array([agent.agent_id for agent in self.agents], np.int64)


class Known(NamedTuple):
    """What the pick needs of a contact that waits. means: over those who may serve it; stands: what it may count on."""

    matching: Matching
    means: Means
    stands: float


def may_serve(
    waiting: Sequence[Waiting],
    agents: Sequence[AgentFree],
    profiles: Profiles,
    *,
    now: datetime,
    memo: EligibilityMemo | None = None,
) -> NDArray[np.int8]:
    """m contacts x n agents: the class in which the agent is tried (0 first), or -1 where the agent may not serve."""
    classes = np.full((len(waiting), len(agents)), -1, np.int8)
    known: dict[Signature, NDArray[np.int8]] = {}
    place_of = {agent.agent_id: place for place, agent in enumerate(agents)}
    for row, contact in enumerate(waiting):
        need = contact.need
        requirement = requirement_at(need, waited_s(contact, now))
        signature = signature_of(need, requirement, now)
        if signature not in known:
            found = verdicts(need, requirement, agents, profiles, memo, now=now)
            known[signature] = np.array([one if isinstance(one, int) else -1 for one in found], np.int8)
        classes[row] = known[signature]
        for agent_id in (*need.excluded, *need.barred):
            if agent_id in place_of:
                classes[row, place_of[agent_id]] = -1
        spare = spared(need, requirement, waited_s(contact, now))
        if spare:
            may = np.flatnonzero(classes[row] >= 0)
            ids = np.array([agents[place].agent_id for place in may.tolist()], np.int64)
            classes[row, may[is_kept_back(classes[row, may].astype(np.int64), ids, spare)]] = -1
    return classes


def known_of(
    contact: Waiting,
    matching: Matching,
    may: Flags,
    there: There,
    profiles: Profiles,
    memo: EligibilityMemo | None,
    now: datetime,
) -> Known:
    """Out of all who are there; may (n,): who may serve the contact."""
    agents = [agent for agent, can in zip(there.agents, may.tolist(), strict=True) if can]
    ids, level, wish = _columns(contact, matching, agents, profiles, memo, now)
    _, means, p, h, _ = believed(matching, ids, level, wish)
    price, _ = matching.live.of(ids, matching.asked.channel)
    return Known(matching, means, stands(p, h, np.ones(len(ids), np.bool_), price, matching.weight))


def may_now(waiting: Sequence[Waiting], agents: Sequence[AgentFree], classes: NDArray[np.int8], now: datetime) -> Flags:
    """m contacts x n agents: who may take whom now. Whoever was idle when a contact was held was looked at then: only those
    who became free since come into question, and only if they are as good as what it waits for (`pairs`)."""
    may = classes >= 0
    for row, contact in enumerate(waiting):
        hold = contact.need.hold
        if hold is not None and is_held(hold, now):
            may[row] &= np.array([agent.idle_since > hold.since for agent in agents], np.bool_)
    return np.asarray(may)


def free_every(may: Flags, there: There, live: Live) -> Floats:
    """Mean time (m,) between two agents becoming free who may serve each contact. may (m, n): of all who are there."""
    rate = there.taken / live.usual_s(there.ids)
    return np.asarray(1.0 / np.maximum(may @ rate, 1e-9))


def pairs(
    guard: Guard,
    waiting: Sequence[Waiting],
    agents: Sequence[AgentFree],
    classes: NDArray[np.int8],
    known: Mapping[uuid.UUID, Known],
    profiles: Profiles,
    *,
    free_every_s: Floats,
    now: datetime,
    memo: EligibilityMemo | None = None,
) -> list[Match]:
    """Who takes whom now; each agent takes one contact. A match without an agent is one that the contact's own pick makes:
    it is the only one that somebody may take.

    waiting: in the order of the line, all of them. classes: of `may_serve`. known: of the contacts near the head; the others
    wait. free_every_s (m,): of `free_every`.
    """
    may = may_now(waiting, agents, classes, now)
    may &= np.array([contact.contact_id in known for contact in waiting], np.bool_)[:, None]
    usable, served = np.flatnonzero(may.any(axis=0)), np.flatnonzero(may.any(axis=1))
    if not len(usable):
        return []
    line = _Line(guard, waiting, agents, classes, may, known, profiles, free_every_s, now, memo)
    if len(served) == 1 and not is_held(waiting[served[0]].need.hold, now):
        return [Match(waiting[served[0]].contact_id, ())]
    if len(usable) == 1:
        return line.of_agent(int(usable[0]))
    return line.of_all(usable, served)


class _Line(NamedTuple):
    """All that a round looks at."""

    guard: Guard
    waiting: Sequence[Waiting]
    agents: Sequence[AgentFree]
    classes: NDArray[np.int8]
    may: Flags
    known: Mapping[uuid.UUID, Known]
    profiles: Profiles
    free_every_s: Floats
    now: datetime
    memo: EligibilityMemo | None

    def of_agent(self, column: int) -> list[Match]:
        """The contact for one agent who became free."""
        agent, now_s = self.agents[column], self.now.timestamp()
        mine = np.flatnonzero(self.may[:, column])
        size = line_size(float(self.free_every_s[mine].min()), self._matching(mine[0]).settings)
        near = mine[:size]
        contacts = [self.waiting[row] for row in near.tolist()]
        p, h, price, weight = self._expected(near, [column])
        since = np.array([turn_s(contact) for contact in contacts])
        due_at = self.guard.due(contacts)
        _, ghosts = self.guard.ghosts(agent, self.profiles, self.memo, self.now)
        made = freed(
            p[:, 0],
            h[:, 0],
            price=float(price[0]),
            contact_price=self._stands(near),
            waited_s=now_s - since,
            weight=weight,
            due_at=due_at,
            reserve=self._reserves(near),
            now=now_s,
            free_every_s=self.free_every_s[near],
            turn=whose_turn(since, due_at, ghosts),
            other=self._points(near, [column])[:, 0],
            settings=self._matching(mine[0]).settings,
        )
        if made.chosen >= 0:
            return [Match(contacts[made.chosen].contact_id, (agent.agent_id,))]
        # All near the head are held: the next who is not gets the agent, who must not idle beside it.
        left = (self.waiting[row] for row in mine.tolist() if not is_held(self.waiting[row].need.hold, self.now))
        return [Match(contact.contact_id, (agent.agent_id,)) for contact in left][:1]

    def of_all(self, usable: NDArray[np.intp], served: NDArray[np.intp]) -> list[Match]:
        """Several agents and several contacts at once: as many pairs as possible, and of those the best sum; before them
        whom the guard demands."""
        now_s = self.now.timestamp()
        near = self._near(usable, served)
        contacts = [self.waiting[row] for row in near.tolist()]
        columns = usable.tolist()
        p, h, price, weight = self._expected(near, columns)
        settings = self._matching(near[0]).settings
        index = pair_index(p, h, price=price, contact_price=self._stands(near), weight=weight) + self._points(near, columns)
        index[weight[:, None] * p - price * h < self._reserves(near)[:, None]] = -np.inf
        ids = np.array([self.agents[column].agent_id for column in columns], np.int64)
        _, occupancy = self._matching(near[0]).live.of(ids)
        index -= unfairness(occupancy, float(occupancy.mean()), settings)
        # Of equal indexes the contact that waits longest goes first, then the agent who is idle longest.
        since = np.array([turn_s(contact) for contact in contacts])
        idles = np.array([max(0.0, (self.now - self.agents[column].idle_since).total_seconds()) for column in columns])
        index += 1e-9 * (now_s - since)[:, None] + 1e-12 * idles
        late = lateness(self.guard.due(contacts), now_s, free_every_s=self.free_every_s[near], guard_s=settings.guard_s)
        index -= settings.late * (late - late.min(initial=np.inf))[:, None]
        taken: list[tuple[int, int]] = []
        can = (index > -np.inf).any(axis=1)
        must = must_serve(
            np.where(can, self.guard.due(contacts), np.nan), now_s, free_every_s=self.free_every_s[near],
            guard_s=settings.guard_s, caution=settings.guard_caution,
        )  # fmt: skip
        if must >= 0:
            column = int(np.argmax(index[must]))
            taken.append((must, column))
            index[must, :] = -np.inf
            index[:, column] = -np.inf
        taken += batch(index)
        return [Match(contacts[row].contact_id, (self.agents[columns[column]].agent_id,)) for row, column in taken]

    def _near(self, usable: NDArray[np.intp], served: NDArray[np.intp]) -> NDArray[np.intp]:
        """The contacts near enough to the head of some agent's line."""
        size = line_size(float(self.free_every_s[served].min()), self._matching(served[0]).settings)
        near = np.zeros(len(self.waiting), np.bool_)
        for column in usable.tolist():
            near[np.flatnonzero(self.may[:, column])[:size]] = True
        return np.flatnonzero(near)

    def _matching(self, row: int | np.intp) -> Matching:
        return self.known[self.waiting[int(row)].contact_id].matching

    def _stands(self, rows: NDArray[np.intp]) -> Floats:
        return np.array([self.known[self.waiting[row].contact_id].stands for row in rows.tolist()])

    def _reserves(self, rows: NDArray[np.intp]) -> Floats:
        holds = [self.waiting[row].need.hold for row in rows.tolist()]
        return np.array([hold.reserve if hold is not None and is_held(hold, self.now) else -np.inf for hold in holds])

    def _points(self, rows: NDArray[np.intp], columns: list[int]) -> Floats:
        """Points by rules: priority, and whose class comes first."""
        priority = np.array([self.waiting[row].need.priority for row in rows.tolist()], np.float64)
        classes = self.classes[rows][:, columns]
        return np.asarray(POINTS * priority[:, None] - SPARED_POINTS * np.maximum(classes, 0), np.float64)

    def _expected(self, rows: NDArray[np.intp], columns: list[int]) -> tuple[Floats, Floats, Floats, Floats]:
        """(p, h (m, n), price (n,), weight (m,)): of contacts with agents, -inf where they may not take each other."""
        agents = [self.agents[column] for column in columns]
        p, h = np.full((len(rows), len(columns)), -np.inf), np.ones((len(rows), len(columns)))
        price, weight = np.zeros(len(columns)), np.ones(len(rows))
        for place, row in enumerate(rows.tolist()):
            contact = self.waiting[row]
            matching, means, _ = self.known[contact.contact_id]
            ids, level, wish = _columns(contact, matching, agents, self.profiles, self.memo, self.now)
            _, _, success, seconds, _ = believed(matching, ids, level, wish, means=means)
            p[place] = np.where(self.may[row, columns], success, -np.inf)
            h[place], weight[place] = seconds, matching.weight
            price, _ = matching.live.of(ids, matching.asked.channel)
        return p, h, price, weight


def _columns(
    contact: Waiting,
    matching: Matching,
    agents: Sequence[AgentFree],
    profiles: Profiles,
    memo: EligibilityMemo | None,
    now: datetime,
) -> tuple[Integers, NDArray[np.int8] | None, NDArray[np.int8] | None]:
    """(ids, level in the contact's language, who wants it) of agents."""
    need: RoutingNeed = contact.need
    ids = np.array([agent.agent_id for agent in agents], np.int64)
    keys = np.array([agent.agent_id << VERSION_BITS | agent.version for agent in agents], np.int64)
    wanted = tags(need, requirement_at(need, waited_s(contact, now)), matching)
    level, wish = (None if tag is None else column_of(tag, keys, profiles, memo) for tag in wanted)
    return ids, level, wish
