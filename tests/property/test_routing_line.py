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
from firstring.routing.line import Guard, may_serve, pairs
from firstring.routing.live import NO_PRICES, Matching
from firstring.routing.pick import PickSettings
from firstring.routing.queues import Waiting

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


@settings(deadline=None)
@given(lines())
def test_pairs_are_allowed_and_leave_nobody_idle_beside_who_waits(line: tuple) -> None:
    waiting, free, profiles, effects = line
    classes = may_serve(waiting, free, profiles, now=NOW)
    fit = model(*effects)
    matchings = {one.contact_id: Matching(fit, NO_PRICES, Asked("voice")) for one in waiting}
    found = pairs(Guard(), waiting, free, classes, matchings, now=NOW)
    contacts = [match.contact_id for match in found]
    agents = [match.agents[0] for match in found]
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
    """One agent becomes free every ten seconds and there is always somebody who fits better than whoever is first."""
    chance = random.Random(seed)
    guard_s, every_s = 30.0, 10.0
    kinds = [chance.random() for _ in range(120)]
    arrivals = sorted(chance.uniform(0.0, 900.0) for _ in kinds)
    since = {uuid.UUID(int=n): at for n, at in enumerate(arrivals)}
    profile = AgentProfile(1, 1, "A", "sip:a@x")
    need = RoutingNeed("voice", 0, (RelaxingStep(0.0, Requirement()),))
    settings_ = PickSettings(guard_s=guard_s)
    liked = {uuid.UUID(int=n): Matching(model(4.0 * kind - 2.0), NO_PRICES, Asked("voice"), settings=settings_)
             for n, kind in enumerate(kinds)}  # fmt: skip
    guard, served, first_come = Guard(), {}, {}
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
        classes = may_serve(there, free, {(1, 1): profile}, now=now)
        [match] = pairs(guard, there, free, classes, liked, now=now, free_every_s=every_s)
        served[match.contact_id] = now_s
        line.remove(match.contact_id)
    later = np.array([served[one] - first_come[one] for one in since])
    assert later.max() <= guard_s
    assert later.min() < 0.0, "somebody who fits is served before their turn"
    assert sorted(served.values()) == sorted(first_come.values()), "no agent idles for it"
