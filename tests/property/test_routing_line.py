"""Who takes whom by who fits: never twice, never who may not, nobody idle beside somebody who waits, and nobody waits much
longer than under first come."""

from __future__ import annotations

import random
import uuid
from datetime import UTC, datetime, timedelta

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.unit.test_routing_live import model

from firstring.contact import AgentFree, AgentProfile, RelaxingStep, Requirement, RoutingNeed
from firstring.routing.fit.asked import Asked
from firstring.routing.line.guard import Assigned, Guard
from firstring.routing.line.matching import There, free_every, known_of, may_serve, pairs
from firstring.routing.line.queues import Waiting
from firstring.routing.pick.choose import PickSettings
from firstring.routing.pick.live import NO_PRICES, Matching

NOW = datetime(2026, 3, 2, 12, tzinfo=UTC)
SKILLS = ("a", "b")


@st.composite
def lines(draw: st.DrawFn) -> tuple[list[Waiting], list[AgentFree], dict[tuple[int, int], AgentProfile], list[float]]:
    agents = [
        AgentProfile(n, 1, "A", "sip:a@x", skills=dict.fromkeys(draw(st.sampled_from([(), ("a",), ("b",), SKILLS])), 3))
        for n in range(1, draw(st.integers(1, 6)) + 1)
    ]
    waiting = []
    for n in range(draw(st.integers(1, 8))):
        asked = Requirement(skills=dict.fromkeys(draw(st.sampled_from([(), ("a",), ("b",)])), 1))
        need = RoutingNeed("voice", 0, (RelaxingStep(0.0, asked),), barred=draw(st.sampled_from([(), (1,), (2, 3)])))
        waiting.append(Waiting(uuid.UUID(int=n), need, NOW - timedelta(seconds=100 - n), NOW - timedelta(seconds=100 - n)))
    free = [AgentFree(one.agent_id, 1, NOW - timedelta(seconds=one.agent_id)) for one in agents]
    effects = [draw(st.sampled_from([-1.0, -0.5, 0.0, 0.5, 1.0])) for _ in agents]
    return waiting, free, {(one.agent_id, 1): one for one in agents}, effects


def matched_now(guard, waiting, free, profiles, matchings, now, *, every_s: float = 10.0, busy=()) -> list:
    """The pure step of the line, with those who are free and those who are busy."""
    there = There([*free, *busy], np.array([0] * len(free) + [1] * len(busy)))
    everybody = may_serve(waiting, there.agents, profiles, now=now)
    classes = may_serve(waiting, free, profiles, now=now)
    known = {
        one.contact_id: known_of(one, matchings[one.contact_id], row >= 0, there, profiles, None, now)
        for one, row in zip(waiting, everybody, strict=True)
        if (row >= 0).any()
    }
    every = np.minimum(free_every(everybody >= 0, there, NO_PRICES), every_s)
    return pairs(guard, waiting, free, classes, known, profiles, free_every_s=every, now=now)


def first_of(waiting, free, classes, contact_id: uuid.UUID) -> int:
    [row] = [row for row, one in enumerate(waiting) if one.contact_id == contact_id]
    return free[int(np.flatnonzero(classes[row] >= 0)[0])].agent_id


@settings(deadline=None)
@given(lines())
def test_pairs_are_allowed_and_leave_nobody_idle_beside_who_waits(line: tuple) -> None:
    waiting, free, profiles, effects = line
    classes = may_serve(waiting, free, profiles, now=NOW)
    fit = model(*effects)
    matchings = {one.contact_id: Matching(fit, NO_PRICES, Asked("voice")) for one in waiting}
    found = matched_now(Guard(), waiting, free, profiles, matchings, NOW)
    contacts = [match.contact_id for match in found]
    # Of a match without an agent the contact's own pick makes it: anybody who may.
    agents = [match.agents[0] if match.agents else first_of(waiting, free, classes, match.contact_id) for match in found]
    assert len(set(contacts)) == len(contacts)
    assert len(set(agents)) == len(agents)
    may = {
        (contact.contact_id, agent.agent_id)
        for contact in waiting
        for agent in free
        if set(contact.need.steps[0].requirement.skills) <= set(profiles[agent.agent_id, 1].skills)
        and agent.agent_id not in contact.need.barred
    }
    assert set(zip(contacts, agents, strict=True)) <= may
    left = {(contact, agent) for contact, agent in may if contact not in contacts and agent not in agents}
    assert left == set()


@pytest.mark.parametrize("seed", range(6))
def test_nobody_waits_much_longer_than_under_first_come(seed: int) -> None:
    """One agent becomes free every ten seconds and there is always somebody who fits better than whoever is first: the other
    agent, who is as good with all, never does."""
    chance = random.Random(seed)
    guard_s, every_s = 30.0, 10.0
    kinds = [chance.random() for _ in range(120)]
    arrivals = sorted(chance.uniform(0.0, 900.0) for _ in kinds)
    since = {uuid.UUID(int=n): at for n, at in enumerate(arrivals)}
    profiles = {(one, 1): AgentProfile(one, 1, "A", "sip:a@x") for one in (1, 2)}
    need = RoutingNeed("voice", 0, (RelaxingStep(0.0, Requirement()),))
    settings_ = PickSettings(guard_s=guard_s)
    liked = {uuid.UUID(int=n): Matching(model(4.0 * kind - 2.0, 0.0), NO_PRICES, Asked("voice"), settings=settings_)
             for n, kind in enumerate(kinds)}  # fmt: skip
    guard, served, first_come, log = Guard(), {}, {}, []
    now_s, line = 0.0, sorted(since, key=since.__getitem__)
    fifo = list(line)
    while line:
        now_s += every_s
        now = NOW + timedelta(seconds=now_s)
        there = [
            Waiting(one, need, NOW + timedelta(seconds=since[one]), NOW + timedelta(seconds=since[one]))
            for one in line
            if since[one] <= now_s
        ]
        if fifo and since[fifo[0]] <= now_s:
            first_come[fifo.pop(0)] = now_s
        if not there:
            continue
        free = [AgentFree(1, 1, now)]
        guard.follow(log, there, profiles, size=20, now=now)
        [match] = matched_now(guard, there, free, profiles, liked, now, every_s=every_s, busy=[AgentFree(2, 1, NOW)])
        [taken] = [one for one in there if one.contact_id == match.contact_id]
        log.append(Assigned(uuid.UUID(int=len(log)), taken, 1, 1, now))
        served[match.contact_id] = now_s
        line.remove(match.contact_id)
    later = np.array([served[one] - first_come[one] for one in since])
    assert later.max() <= guard_s
    assert later.min() < 0.0, "somebody who fits is served before their turn"
    assert sorted(served.values()) == sorted(first_come.values()), "no agent idles for it"
