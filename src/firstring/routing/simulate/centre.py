"""The event loop: contacts come, wait, are served or hang up; agents sign in, ring, serve, sign out. Seeded, no clock."""

from __future__ import annotations

import heapq
from collections.abc import Iterable
from typing import Final, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from firstring.routing.simulate.drawn import Drawn, Pairs
from firstring.routing.simulate.shadow import Shadow
from firstring.routing.simulate.world import World

Floats = NDArray[np.float64]
NOBODY: Final = -1

_END, _LEAVE, _ANSWERED, _UNANSWERED, _SIGN_IN, _SIGN_OUT, _BACK, _TICK, _LOOK = range(9)


class Policy(Protocol):
    """Who serves whom. The centre asks, and checks what is answered."""

    name: str

    def begin(self, centre: Centre) -> None:
        """A run begins."""

    def arrived(self, contact: int) -> int:
        """The agent for a contact that came (or whose hold is over), or NOBODY: it waits."""

    def freed(self, agent: int) -> int:
        """The waiting contact for an agent who has a place free, or NOBODY."""

    def taken(self, contact: int, agent: int, waited: bool) -> None:
        """A contact was given to an agent."""

    def gone(self, contact: int) -> None:
        """A waiting contact hung up."""

    def ended(self, contact: int, agent: int, success: bool) -> None:
        """A service is over."""

    def tick(self) -> Iterable[tuple[int, int]]:
        """(contact, agent) pairs to be made now; asked for every `every_s` seconds where that is above 0."""

    every_s: float


class Run(NamedTuple):
    """What happened, by contact (m,) and by agent (n,)."""

    agent: NDArray[np.int64]
    """Who served it, -1: hung up, or everybody had signed out for good."""
    wait_s: Floats
    """Until it was answered or hung up, or the world's end."""
    expected: Floats
    """Probability of success of the pair that was made, times the type's value; 0 where it hung up."""
    handle_s: Floats
    busy_s: Floats
    """Seconds of agents' places that were taken, after the warm-up."""
    signed_in_s: Floats
    rings: int
    held: int
    """Contacts that waited although an eligible agent was idle, because the policy held them."""
    late_s: Floats
    """By contact: how much later than first come would have, with the same agents becoming free at the same moments."""


class Centre:
    """The state that policies look at. Times in seconds since the world's beginning."""

    def __init__(self, world: World, pairs: Pairs, drawn: Drawn, policy: Policy) -> None:
        count = world.agent_count
        self.world, self.pairs, self.drawn, self.policy = world, pairs, drawn, policy
        self.now = 0.0
        self.waiting: dict[int, None] = {}
        """Contacts in the queue, by arrival."""
        self.on = np.zeros(count, np.bool_)
        self.taken = np.zeros(count, np.int64)
        """Places taken, those that ring included."""
        self.free = np.zeros(count, np.bool_)
        """Signed in, with a place free, and answering."""
        self.idle_since = np.zeros(count)
        self.busy_done_s = np.zeros(count)
        """Seconds of taken places, those of services that go on up to their beginning subtracted: `busy_s` adds now."""
        self.on_done_s = np.zeros(count)
        self.served = np.full(drawn.count, NOBODY)
        self.wait_s = np.zeros(drawn.count)
        self.expected = np.zeros(drawn.count)
        self.success_p = np.zeros(drawn.count)
        self.handle_s = np.zeros(drawn.count)
        self._shadow = Shadow(pairs.eligible, drawn.kind, drawn.at_s, drawn.patience_s)
        self._attempts: dict[int, int] = {}
        self._away = np.zeros(count, np.bool_)
        self._live = np.full(drawn.count, NOBODY)
        self._rings = 0
        self._held: set[int] = set()
        self._events: list[tuple[float, int, int, int, int]] = []
        self._number = 0
        self._warm_s = world.warm_up_hours * 3600.0
        self._at_warm: tuple[Floats, Floats] = (np.zeros(count), np.zeros(count))
        self._end_s = world.hours * 3600.0
        self._at_end: tuple[Floats, Floats] | None = None

    def busy_s(self) -> Floats:
        """Seconds of places taken so far, by agent (n,)."""
        return self.busy_done_s + self.now * self.taken

    def signed_in_s(self) -> Floats:
        """Seconds signed in so far times places, by agent (n,); an agent who signed out finishes what was begun."""
        return np.asarray((self.on_done_s + self.now * self.on) * self.pairs.places)

    def later(self, at_s: float, kind: int, contact: int = NOBODY, agent: int = NOBODY) -> None:
        self._number += 1
        heapq.heappush(self._events, (at_s, self._number, kind, contact, agent))

    def look_again(self, contact: int, at_s: float) -> None:
        """The policy holds a waiting contact and wants to be asked for it again."""
        self._held.add(contact)
        self.later(at_s, _LOOK, contact)

    def run(self) -> Run:
        """Everything that happens until the last contact has been served or hung up."""
        drawn = self.drawn
        for agent, shifts in enumerate(self.pairs.shifts):
            for since, to in shifts:
                self.later(since * 3600.0, _SIGN_IN, agent=agent)
                if to < self.world.hours:
                    self.later(to * 3600.0, _SIGN_OUT, agent=agent)
        self._start()
        arrivals = drawn.at_s.tolist()
        place, count, events = 0, drawn.count, self._events
        is_warm = is_over = False
        while True:
            at_s = arrivals[place] if place < count else np.inf
            if events and events[0][0] <= at_s:
                at_s, _, kind, contact, agent = heapq.heappop(events)
            elif place < count:
                kind, contact, agent = -1, place, NOBODY
                place += 1
            else:
                break
            if not is_warm and at_s >= self._warm_s:
                is_warm, self.now = True, self._warm_s
                self._at_warm = (self.busy_s(), self.signed_in_s())
            if not is_over and at_s >= self._end_s:
                is_over, self.now = True, self._end_s
                self._at_end = (self.busy_s(), self.signed_in_s())
            self.now = at_s
            if kind < 0:
                self._arrives(contact)
            else:
                self._happens(kind, contact, agent)
            if place == count and not self.waiting and not self.taken.any():
                break
        for contact in self.waiting:
            # Nobody is there for it any more: it waited in vain, and not for no time.
            self.wait_s[contact] = max(self._end_s, self.now) - self.drawn.at_s[contact]
        if self._at_end is None:
            self.now = self._end_s
            self._at_end = (self.busy_s(), self.signed_in_s())
        busy, signed_in = (end - warm for end, warm in zip(self._at_end, self._at_warm, strict=True))
        late_s = self._shadow.late_s(drawn.at_s + self.wait_s)
        held = len(self._held)
        return Run(self.served, self.wait_s, self.expected, self.handle_s, busy, signed_in, self._rings, held, late_s)

    def _start(self) -> None:
        while self._events and self._events[0][0] <= 0.0:
            _, _, kind, contact, agent = heapq.heappop(self._events)
            self._happens(kind, contact, agent)
        self.policy.begin(self)
        if self.policy.every_s > 0.0:
            self.later(self.policy.every_s, _TICK)

    def _happens(self, kind: int, contact: int, agent: int) -> None:
        if kind == _END:
            self._ends(contact, agent)
        elif kind == _LEAVE:
            if contact in self.waiting:
                self._leaves(contact)
        elif kind == _LOOK:
            if contact in self.waiting:
                chosen = self.policy.arrived(contact)
                if chosen != NOBODY:
                    self._give(contact, chosen)
        elif kind == _TICK:
            made = list(self.policy.tick())
            for one, chosen in made:
                self._give(one, chosen)
            # Where nothing else is to happen nothing will change for those who still wait: all have signed out.
            if self.now < self._end_s or (self.waiting and (made or self._events)):
                self.later(self.now + self.policy.every_s, _TICK)
        elif kind == _ANSWERED:
            self._answers(contact, agent)
        elif kind == _UNANSWERED:
            self._unanswered(contact, agent)
        elif kind == _SIGN_IN:
            self.on[agent] = True
            self.on_done_s[agent] -= self.now
            self._frees(agent)
        elif kind == _SIGN_OUT:
            self.on[agent] = self.free[agent] = False
            self.on_done_s[agent] += self.now
        elif kind == _BACK:
            self._away[agent] = False
            self._frees(agent)

    def _arrives(self, contact: int) -> None:
        self._shadow.came(contact)
        chosen = self.policy.arrived(contact)
        if chosen == NOBODY:
            idle = np.flatnonzero(self.free & self.pairs.eligible[self.drawn.kind[contact]])
            if len(idle):
                self._shadow.held(contact, idle[np.argsort(self.idle_since[idle], kind="stable")], self.now)
            self.waiting[contact] = None
            patience_s = self.drawn.patience_s[contact]
            if patience_s < np.inf:
                self.later(self.now + patience_s, _LEAVE, contact)
        else:
            self._give(contact, chosen)

    def _leaves(self, contact: int) -> None:
        del self.waiting[contact]
        self.wait_s[contact] = self.now - self.drawn.at_s[contact]
        self.policy.gone(contact)

    def _give(self, contact: int, agent: int) -> None:
        waited = contact in self.waiting
        if waited:
            del self.waiting[contact]
        # What must never happen, whatever a policy answers.
        assert self.free[agent], "an agent without a free place was chosen"
        assert self.pairs.eligible[self.drawn.kind[contact], agent], "an agent was chosen who may not serve the contact"
        assert self._live[contact] == NOBODY, "a contact was given to two agents"
        self._live[contact] = agent
        self._shadow.gave(contact, agent, self.now)
        self.taken[agent] += 1
        self.busy_done_s[agent] -= self.now
        if self.taken[agent] >= self.pairs.places[agent]:
            self.free[agent] = False
        self.policy.taken(contact, agent, waited)
        ringing = self.world.ringing
        if ringing.no_answer > 0.0 or ringing.seconds > 0.0:
            self._rings += 1
            attempt = self._attempts.get(contact, 0)
            self._attempts[contact] = attempt + 1
            luck = self.drawn.ring_luck[contact, attempt % self.drawn.ring_luck.shape[1]]
            if luck < ringing.no_answer:
                self.later(self.now + ringing.no_answer_s, _UNANSWERED, contact, agent)
            else:
                self.later(self.now + ringing.seconds, _ANSWERED, contact, agent)
        else:
            self._answers(contact, agent)

    def _answers(self, contact: int, agent: int) -> None:
        drawn = self.drawn
        if self.now - drawn.at_s[contact] > drawn.patience_s[contact]:
            # It hung up while the telephone rang.
            self.wait_s[contact] = drawn.patience_s[contact]
            self._live[contact] = NOBODY
            self.policy.gone(contact)
            self._release(agent)
            return
        kind = drawn.kind[contact]
        row = drawn.rows(contact)
        handle_s = float(row.h[agent] * drawn.effort[contact])
        self.served[contact] = agent
        self.wait_s[contact] = self.now - drawn.at_s[contact]
        self.handle_s[contact] = handle_s
        self.success_p[contact] = row.p[agent]
        self.expected[contact] = row.p[agent] * drawn.value[kind]
        self.later(self.now + handle_s, _END, contact, agent)

    def _unanswered(self, contact: int, agent: int) -> None:
        self._live[contact] = NOBODY
        self._shadow.returned(contact)
        drawn = self.drawn
        self._away[agent] = True
        self.later(self.now + self.world.ringing.away_s, _BACK, agent=agent)
        self._release(agent)
        left_s = drawn.at_s[contact] + drawn.patience_s[contact] - self.now
        if left_s <= 0.0:
            self.wait_s[contact] = drawn.patience_s[contact]
            self.policy.gone(contact)
            return
        chosen = self.policy.arrived(contact)
        if chosen != NOBODY:
            self._give(contact, chosen)
            return
        # Its place is by arrival: whoever came later stands behind it again.
        later = [one for one in self.waiting if one > contact]
        self.waiting[contact] = None
        for one in later:
            self.waiting[one] = self.waiting.pop(one)
        if left_s < np.inf:
            self.later(self.now + left_s, _LEAVE, contact)

    def _ends(self, contact: int, agent: int) -> None:
        self._live[contact] = NOBODY
        self.policy.ended(contact, agent, bool(self.drawn.luck[contact] < self.success_p[contact]))
        self._release(agent)

    def _release(self, agent: int) -> None:
        self.taken[agent] -= 1
        self.busy_done_s[agent] += self.now
        self._frees(agent)

    def _frees(self, agent: int) -> None:
        if not self.on[agent] or self._away[agent] or self.taken[agent] >= self.pairs.places[agent]:
            return
        self.free[agent] = True
        self.idle_since[agent] = self.now
        while self.waiting and self.free[agent]:
            contact = self.policy.freed(agent)
            if contact == NOBODY:
                break
            self._give(contact, agent)
