"""The policies that ours is compared with: first come, static skills, greedy, rounds of the Hungarian method."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

from firstring.routing.pick import choose as picking
from firstring.routing.simulate.centre import NOBODY, Centre

Floats = NDArray[np.float64]


class FirstCome:
    """First come, first served; the agent who is idle longest."""

    name = "first-come"
    every_s = 0.0

    def begin(self, centre: Centre) -> None:
        self.centre = centre
        pairs = centre.pairs
        self.eligible = pairs.eligible
        self.open = bool(pairs.eligible.all())

    def arrived(self, contact: int) -> int:
        return self.longest_idle(self.idle(contact))

    def freed(self, agent: int) -> int:
        if self.open:
            return next(iter(self.centre.waiting), NOBODY)
        may, kind = self.eligible[:, agent], self.centre.drawn.kind
        return next((contact for contact in self.centre.waiting if may[kind[contact]]), NOBODY)

    def taken(self, contact: int, agent: int, waited: bool) -> None:
        pass

    def gone(self, contact: int) -> None:
        pass

    def ended(self, contact: int, agent: int, success: bool) -> None:
        pass

    def tick(self) -> Iterable[tuple[int, int]]:
        return ()

    def idle(self, contact: int) -> NDArray[np.intp]:
        """Agents who could take it now."""
        free = self.centre.free
        return np.flatnonzero(free if self.open else free & self.eligible[self.centre.drawn.kind[contact]])

    def longest_idle(self, agents: NDArray[np.intp]) -> int:
        if not len(agents):
            return NOBODY
        return int(agents[self.centre.idle_since[agents].argmin()])

    def candidates(self, agent: int) -> NDArray[np.int64]:
        """Waiting contacts whom the agent may serve, by arrival."""
        waiting = np.fromiter(self.centre.waiting, np.int64, len(self.centre.waiting))
        return waiting if self.open else waiting[self.eligible[self.centre.drawn.kind[waiting], agent]]


class StaticSkills(FirstCome):
    """Each type has the third of the agents who are best at it: they first, longest idle; they take it first."""

    name = "static-skills"

    def begin(self, centre: Centre) -> None:
        super().begin(centre)
        pairs = centre.pairs
        seen = np.where(pairs.eligible, pairs.seen_logit, -np.inf)
        own = np.maximum(pairs.eligible.sum(axis=1) // 3, 1)
        rank = np.argsort(np.argsort(-seen, axis=1), axis=1)
        self.primary = rank < own[:, None]

    def arrived(self, contact: int) -> int:
        agents = self.idle(contact)
        first = agents[self.primary[self.centre.drawn.kind[contact], agents]]
        return self.longest_idle(first if len(first) else agents)

    def freed(self, agent: int) -> int:
        waiting = self.candidates(agent)
        if not len(waiting):
            return NOBODY
        own = waiting[self.primary[self.centre.drawn.kind[waiting], agent]]
        return int((own if len(own) else waiting)[0])


class Greedy(FirstCome):
    """The best predicted pair, on either side."""

    name = "greedy"

    def arrived(self, contact: int) -> int:
        agents = self.idle(contact)
        return int(agents[self.centre.drawn.rows(contact).seen_p[agents].argmax()]) if len(agents) else NOBODY

    def freed(self, agent: int) -> int:
        waiting = self.candidates(agent)
        if not len(waiting):
            return NOBODY
        rows = self.centre.drawn.rows
        return int(waiting[np.argmax([rows(contact).seen_p[agent] for contact in waiting.tolist()])])


class BatchHungarian(FirstCome):
    """Everybody waits for the next round; then the assignment with the greatest sum of predicted success."""

    name = "batch"
    every_s = 5.0

    def arrived(self, contact: int) -> int:
        return NOBODY

    def freed(self, agent: int) -> int:
        return NOBODY

    def tick(self) -> Iterable[tuple[int, int]]:
        centre = self.centre
        agents = np.flatnonzero(centre.free)
        waiting = np.fromiter(centre.waiting, np.int64, len(centre.waiting))[: picking.BATCH_CONTACTS]
        if not len(agents) or not len(waiting):
            return []
        index = np.array([centre.drawn.rows(contact).seen_p[agents] for contact in waiting.tolist()])
        index[~self.eligible[centre.drawn.kind[waiting]][:, agents]] = -np.inf
        return [(int(waiting[row]), int(agents[column])) for row, column in picking.batch(index)]
