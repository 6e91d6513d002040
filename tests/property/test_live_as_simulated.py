"""The live line chooses as the simulator does: simulated days, at every step of which the live line's pure functions are
asked too, with the same agents, contacts, prices and waits. What is predicted of a pair is given to both."""

from __future__ import annotations

import uuid
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import pytest

from firstring.contact import AgentFree, AgentProfile, Hold, RelaxingStep, Requirement, RoutingNeed
from firstring.routing.fit.asked import Asked
from firstring.routing.fit.model import PRIOR
from firstring.routing.fit.predict import Fits
from firstring.routing.line import guard as guard_room
from firstring.routing.line.guard import Assigned, Guard
from firstring.routing.line.matching import Known, There, free_every, known_of, may_serve, pairs
from firstring.routing.line.queues import Waiting
from firstring.routing.may.memo import EligibilityMemo
from firstring.routing.may.packed import packed
from firstring.routing.pick import live as live_room
from firstring.routing.pick import pricing as pricing_room
from firstring.routing.pick.assign import rank
from firstring.routing.pick.beside import Beside
from firstring.routing.pick.live import Live, Matching, PriceList
from firstring.routing.pick.pricing import Load, Recent, price_list
from firstring.routing.pick.step import SAMPLE, occupancies
from firstring.routing.simulate.centre import NOBODY, Centre
from firstring.routing.simulate.drawn import Drawn, Pairs
from firstring.routing.simulate.ours import PriceIndex, PriceRules
from firstring.routing.simulate.world import World, world_of

START = datetime(2026, 3, 2, 8, tzinfo=UTC)


def at(seconds: float) -> datetime:
    return START + timedelta(seconds=seconds)


class Compared(PriceIndex):
    """The simulator's policy, and the live line beside it."""

    def begin(self, centre: Centre) -> None:
        super().begin(centre)
        count = len(centre.free)
        self.profiles = {
            (agent + 1, 1): AgentProfile(
                agent + 1, 1, "A", "sip:a@x", skills={f"k{kind}": 3 for kind in np.flatnonzero(self.eligible[:, agent])}
            )
            for agent in range(count)
        }
        self.memo, self.guard = EligibilityMemo(), Guard()
        self.assigned: list[Assigned] = []
        self.held: dict[int, Hold] = {}
        self.known: dict[int, Known] = {}
        self.steps = {"arrived": 0, "held": 0, "freed": 0, "alone": 0, "priced": 0}

    def lists(self) -> Live:
        occupancy, _ = self._occupancy(0)
        count = len(self.price)
        return Live(
            PriceList(
                agents=tuple(range(1, count + 1)),
                price=tuple(self.price.tolist()),
                occupancy=tuple(occupancy.tolist()),
                usual_s=tuple(self.usual_s.tolist()),
                slopes=self.slopes,
                patience_s={"voice": float(self._patience_s())},
            )
        )

    def matching(self, contact: int, live: Live) -> Matching:
        return Matching(PRIOR, live, Asked("voice", facts_of(contact)), self._weight(contact), None, self.settings)

    def need(self, contact: int, hold: Hold | None = None) -> RoutingNeed:
        asked = Requirement(skills={f"k{int(self.centre.drawn.kind[contact])}": 1})
        return RoutingNeed("voice", 0, (RelaxingStep(0.0, asked),), hold=hold)

    def waits(self, contact: int) -> Waiting:
        came = at(float(self.centre.drawn.at_s[contact]))
        return Waiting(uuid.UUID(int=contact + 1), self.need(contact, self.held.get(contact)), came, came)

    def agent(self, agent: int) -> AgentFree:
        return AgentFree(agent + 1, 1, at(float(self.centre.idle_since[agent])))

    def know(self, contact: int) -> None:
        """As the live line, once for each list of prices."""
        on, one, now = np.flatnonzero(self.centre.on), self.waits(contact), at(self.centre.now)
        there = There([self.agent(agent) for agent in on.tolist()], self.centre.taken[on])
        [may] = may_serve([one], there.agents, self.profiles, now=now, memo=self.memo) >= 0
        matching = self.matching(contact, self.lists())
        self.known[contact] = known_of(one, matching, may, there, self.profiles, self.memo, now)

    def arrived(self, contact: int) -> int:
        centre = self.centre
        is_new = contact not in self.contacts
        idle = np.flatnonzero(centre.free & centre.on)
        # Of the simulator's state before it chooses.
        live, waiting = self.lists(), len(centre.waiting) - (contact in centre.waiting)
        busy = np.flatnonzero(centre.on & ~centre.free)
        chosen = super().arrived(contact)
        now = at(centre.now)
        beside = Beside(
            packed(busy + 1, np.ones(len(busy), np.int64), centre.taken[busy]) or b"",
            waiting if is_new else waiting + 1,
            now + timedelta(seconds=self.settings.hold_s) if is_new else None,
        )
        routing = rank(
            self.need(contact), [self.agent(one) for one in idle.tolist()], self.profiles, now=now, waited_s=0.0,
            memo=self.memo, matching=self.matching(contact, live), beside=beside,
        )  # fmt: skip
        hold = routing.need.hold
        found = NOBODY if hold is not None or not routing.ranked else routing.ranked[0].agent_id - 1
        assert found == chosen, (contact, hold, [one.agent_id - 1 for one in routing.ranked], chosen)
        assert (hold is not None) == (contact in self.holds)
        self.held.pop(contact, None)
        if hold is not None:
            assert hold.reserve == pytest.approx(self.holds[contact], rel=1e-12)
            self.held[contact] = hold
            self.steps["held"] += 1
        self.steps["arrived"] += 1
        if is_new:
            self.know(contact)
        return chosen

    def freed(self, agent: int) -> int:
        centre = self.centre
        now = at(centre.now)
        waiting = [self.waits(contact) for contact in centre.waiting]
        live = self.lists()
        on = np.flatnonzero(centre.on)
        there = There([self.agent(one) for one in on.tolist()], centre.taken[on])
        agents = [self.agent(one) for one in np.flatnonzero(centre.free & centre.on).tolist()]
        everybody = may_serve(waiting, there.agents, self.profiles, now=now, memo=self.memo) >= 0
        classes = may_serve(waiting, agents, self.profiles, now=now, memo=self.memo)
        every_s = free_every(everybody, there, live)
        known = {}
        for one in waiting:
            contact = one.contact_id.int - 1
            known[one.contact_id] = self.known[contact]._replace(matching=self.matching(contact, live))
        for one in waiting:
            assert known[one.contact_id].stands == pytest.approx(self.counts_on[one.contact_id.int - 1], abs=1e-12)
        self.guard.follow([], waiting, self.profiles, size=0, memo=self.memo, now=now)
        due = {one - 1: seconds for one, seconds in ((key.int, value) for key, value in self.guard.due_at.items())}
        matches = pairs(
            self.guard, waiting, agents, classes, known, self.profiles, free_every_s=every_s, now=now, memo=self.memo
        )
        chosen = super().freed(agent)
        line = {contact: self.due_at[contact] for contact in centre.waiting if contact in self.due_at}
        assert due.keys() == line.keys()
        found = matches[0].contact_id.int - 1 if matches else NOBODY
        assert found == chosen, (agent, found, chosen, list(centre.waiting))
        assert len(matches) <= 1
        if matches and matches[0].agents:
            assert matches[0].agents == (agent + 1,)
        self.steps["freed" if len(waiting) > 1 else "alone"] += 1
        return chosen

    def tick(self) -> Iterable[tuple[int, int]]:
        centre = self.centre
        before, recent = self.lists(), self.recent[-SAMPLE:]
        found = super().tick()
        made = price_list(
            PRIOR,
            [self.profiles[agent + 1, 1] for agent in range(len(centre.free))],
            {
                agent + 1: Load(float(busy_s), float(there_s), 0.0)
                for agent, (busy_s, there_s) in enumerate(zip(centre.busy_s(), centre.signed_in_s(), strict=True))
            },
            [
                Recent(Asked("voice", facts_of(one)), self.need(one), self._weight(one), self.waits(one).since)
                for one in recent
            ],
            before=before,
            slopes=self.slopes,
            patience_s={},
            hard={},
            now=at(centre.now),
        )
        assert made.price == pytest.approx(self.price.tolist(), rel=1e-6, abs=1e-12)
        for contact in centre.waiting:
            self.know(contact)
        occupancy = occupancies(centre.busy_s(), centre.signed_in_s())
        assert made.occupancy == pytest.approx(occupancy.tolist(), abs=0.0051)
        self.steps["priced"] += any(self.price)
        return found

    def taken(self, contact: int, agent: int, waited: bool) -> None:
        patience_s = float(self._patience_s())
        super().taken(contact, agent, waited)
        number = uuid.UUID(int=len(self.assigned) + 1)
        self.assigned.append(Assigned(number, self.waits(contact), agent + 1, 1, at(self.centre.now)))
        self.held.pop(contact, None)
        waiting = [self.waits(one) for one in self.centre.waiting]
        self.guard.follow(
            self.assigned[-20:], waiting, self.profiles, size=self._size, patience_s=patience_s, memo=self.memo,
            now=at(self.centre.now),
        )  # fmt: skip


def facts_of(contact: int) -> str:
    """A contact's number, where what is predicted looks for it."""
    return str(contact)


def a_world(agents: int, skills: tuple[str, ...], per_hour: float) -> World:
    """Two types of contact; with skills, agents for each of them and agents for both."""
    kinds = [{"name": f"t{n}", "per_hour": per_hour / 2, "handle_s": 60.0 + 40.0 * n, "success": 0.6} for n in range(2)]
    groups = [{"name": "all", "count": agents}]
    if skills:
        kinds = [{**kind, "skills": [skill]} for kind, skill in zip(kinds, skills, strict=True)]
        groups = [{"name": f"only {skill}", "count": agents // 4, "skills": [skill]} for skill in skills]
        groups.append({"name": "both", "count": agents - 2 * (agents // 4), "skills": list(skills)})
    return world_of(
        {
            "world": {"name": "compared", "hours": 0.8, "warm_up_hours": 0.1, "structure_seed": 5},
            "agents": groups,
            "types": kinds,
            "compatibility": {"type_agent_sd": 0.7, "customer_sd": 0.5},
        }
    )


@pytest.mark.parametrize(
    ("agents", "skills", "per_hour"),
    [(6, (), 260.0), (25, (), 1_100.0), (10, ("a", "b"), 430.0)],
)
def test_the_live_line_chooses_as_the_simulator(
    monkeypatch: pytest.MonkeyPatch, agents: int, skills: tuple[str, ...], per_hour: float
) -> None:
    world = a_world(agents, skills, per_hour)
    people = Pairs(world)
    drawn = Drawn(world, people, 7)

    def predicted(_model: Any, asked: Asked, ids: Any, **_: Any) -> Fits:
        row = drawn.rows(int(asked.language))
        success, handle_s = row.seen_p[ids - 1], row.seen_h[ids - 1]
        return Fits(success, handle_s, success, success, "fitted")

    for room in (live_room, pricing_room):
        monkeypatch.setattr(room, "fits", predicted)
    monkeypatch.setattr(guard_room, "_own", lambda one: float(drawn.explore_luck[one.int - 1]))
    policy = Compared(PriceRules())
    Centre(world, people, drawn, policy).run()
    assert policy.steps["arrived"] > 100
    assert policy.steps["freed"] > 20
    assert policy.steps["held"] > 0
    assert policy.steps["priced"] > 5
