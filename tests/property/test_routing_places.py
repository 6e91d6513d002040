"""Agents kept free and self-service beside agents, against the plainest statement of what they are to do."""

from __future__ import annotations

import math
import uuid
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta

import msgspec
import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from firstring.contact import (
    AgentFree,
    AgentProfile,
    AgentVerdict,
    Around,
    Contact,
    Evidence,
    Kept,
    Overflowed,
    RelaxingStep,
    Requirement,
    Resolution,
    Routing,
    RoutingNeed,
)
from firstring.routing.declared.policy import RoutingPolicy, TierRule, routing_policy
from firstring.routing.fit.model import PRIOR
from firstring.routing.line.longwaits import LongWaits
from firstring.routing.line.matching import may_serve
from firstring.routing.line.queues import Waiting, reevaluate, waited_s
from firstring.routing.line.waits import Estimate
from firstring.routing.may.packed import EPOCH, packed
from firstring.routing.may.places import kept_for_others
from firstring.routing.pick.assign import rank
from firstring.routing.pick.elsewhere import placed
from firstring.routing.pick.live import NO_PRICES

START = datetime(2026, 3, 1, 12, tzinfo=UTC)
SKILLS = ("en", "es")


class Centre:
    """Agents with a place each, a line, and contacts that come and go: the ring's order first, the line's when one frees."""

    def __init__(self, agents: list[frozenset[str]], kept: int, until_s: float) -> None:
        self.profiles = {
            (number, 1): AgentProfile(
                number, 1, "A", "", skills=dict.fromkeys(skills, 3), tiers=("vip",) if number == 1 else ()
            )
            for number, skills in enumerate(agents, 1)
        }
        self.kept, self.until_s = kept, until_s
        self.idle = {number: START for number, _ in self.profiles}
        self.serves: dict[int, bool] = {}
        self.line: list[Waiting] = []
        self.now = START
        self.count = 0

    def need(self, skill: str, *, vip: bool) -> RoutingNeed:
        steps = (RelaxingStep(0.0, Requirement(skills={skill: 1})),)
        kept = () if vip else (Kept("vip", self.kept, self.until_s),)
        return RoutingNeed("voice", 10 if vip else 0, steps, tier="vip" if vip else "", kept=kept)

    def free(self) -> list[AgentFree]:
        return [AgentFree(number, 1, since) for number, since in sorted(self.idle.items())]

    def columns(self) -> bytes:
        """As the ring reads them."""
        free = self.free()
        idle_us = [(one.idle_since - EPOCH) // timedelta(microseconds=1) for one in free]
        return packed(
            np.array([one.agent_id for one in free], np.int64), np.array([one.version for one in free], np.int64),
            np.array(idle_us, np.int64),
        )  # fmt: skip

    def comes(self, skill: str, *, vip: bool) -> int | None:
        """Who gets a contact that comes now; None: it waits."""
        need = self.need(skill, vip=vip)
        ranked = rank(need, self.free(), self.profiles, now=self.now, waited_s=0.0).ranked
        as_columns = rank(need, self.columns(), self.profiles, now=self.now, waited_s=0.0).ranked
        assert [one.agent_id for one in ranked] == [one.agent_id for one in as_columns]
        self.count += 1
        if ranked:
            self.take(ranked[0].agent_id, vip=vip)
            return ranked[0].agent_id
        self.line.append(Waiting(uuid.UUID(int=self.count), need, self.now))
        return None

    def take(self, agent: int, *, vip: bool) -> None:
        del self.idle[agent]
        self.serves[agent] = vip

    def ends(self, agent: int) -> None:
        del self.serves[agent]
        self.idle[agent] = self.now

    def serve_line(self) -> None:
        places = {(number, "voice"): 1 for number in self.idle}
        if self.line and self.idle:
            classes = may_serve(self.line, self.free(), self.profiles, now=self.now)
            by_line = {contact.contact_id: (classes[row] >= 0) for row, contact in enumerate(self.line)}
        by_id = {contact.contact_id: contact for contact in self.line}
        free = self.free()
        for match in reevaluate(self.line, free, self.profiles, places, now=self.now, ageing_s_per_point=0.5):
            contact = by_id[match.contact_id]
            column = [one.agent_id for one in free].index(match.agents[0])
            assert by_line[match.contact_id][column], "the line by who fits lets the same agents in"
            self.take(match.agents[0], vip=contact.need.tier == "vip")
            self.line.remove(contact)

    def may(self, skill: str) -> list[int]:
        return [number for (number, _), profile in self.profiles.items() if skill in profile.skills]


moves = st.lists(
    st.one_of(
        st.tuples(st.sampled_from(("vip", "other")), st.sampled_from(SKILLS)),
        st.tuples(st.just("end"), st.integers(0, 10)),
        st.tuples(st.just("wait"), st.integers(1, 30)),
    ),
    max_size=40,
)
teams = st.lists(st.sets(st.sampled_from(SKILLS), min_size=1).map(frozenset), min_size=1, max_size=5)


one_skill = st.lists(st.sampled_from(SKILLS).map(lambda skill: frozenset((skill,))), min_size=1, max_size=6)


@settings(max_examples=120, deadline=None)
@given(agents=one_skill, kept=st.integers(1, 3), doings=moves)
def test_a_customer_of_the_tier_finds_a_place_while_fewer_than_those_kept_are_taken(
    agents: list[frozenset[str]], kept: int, doings: list[tuple[str, object]]
) -> None:
    """Of the agents who may serve a skill, k are kept: while fewer than k (or than there are) of them serve customers of the
    tier, one of them is free for the next; whatever others do, in whatever order. (Agents who serve other needs too may be
    taken for those.)"""
    centre = Centre(agents, kept, math.inf)
    for what, value in doings:
        if what == "wait":
            centre.now += timedelta(seconds=int(str(value)))
        elif what == "end":
            if centre.serves:
                centre.ends(sorted(centre.serves)[int(str(value)) % len(centre.serves)])
        else:
            able = centre.may(str(value))
            taken_by_tier = sum(1 for agent in able if centre.serves.get(agent))
            got = centre.comes(str(value), vip=what == "vip")
            if what == "vip" and taken_by_tier < min(kept, len(able)):
                assert got is not None
        centre.serve_line()


@settings(max_examples=120, deadline=None)
@given(agents=teams, kept=st.integers(1, 3), until_s=st.integers(0, 60), doings=moves)
def test_nobody_waits_beside_a_free_agent_for_longer_than_agents_are_kept(
    agents: list[frozenset[str]], kept: int, until_s: int, doings: list[tuple[str, object]]
) -> None:
    """And before that no more agents are idle beside a contact that they may serve than are kept."""
    centre = Centre(agents, kept, float(until_s))
    for what, value in doings:
        if what == "wait":
            centre.now += timedelta(seconds=int(str(value)))
        elif what == "end":
            if centre.serves:
                centre.ends(sorted(centre.serves)[int(str(value)) % len(centre.serves)])
        else:
            centre.comes(str(value), vip=what == "vip")
        centre.serve_line()
        for contact in centre.line:
            [skill] = contact.need.steps[0].requirement.skills
            idle = [agent for agent in centre.may(skill) if agent in centre.idle]
            is_bound_over = contact.need.tier == "vip" or waited_s(contact, centre.now) >= until_s
            assert len(idle) <= (0 if is_bound_over else kept)


@given(
    tier=st.sampled_from(("", "gold", "vip")),
    seen_s=st.one_of(st.none(), st.integers(0, 4_000)),
    line=st.integers(0, 40),
)
def test_agents_are_kept_for_tiers_that_go_before_are_seen_and_while_the_line_is_short(
    tier: str, seen_s: int | None, line: int
) -> None:
    policy = RoutingPolicy(
        tiers={"vip": TierRule(priority=30, keep_free=2, keep_free_line=20), "gold": TierRule(priority=10, keep_free=1)}
    )
    seen = {} if seen_s is None else dict.fromkeys(("vip", "gold"), START - timedelta(seconds=seen_s))
    kept = kept_for_others("voice", tier, policy, Around(seen=seen, lines={"voice": line}), START)
    ahead = {"": {"vip", "gold"}, "gold": {"vip"}, "vip": set()}[tier]
    is_on = seen_s is not None and seen_s <= 1_800 and line < 20
    assert {one.tier for one in kept} == (ahead if is_on else set())
    assert kept_for_others("voice", tier, policy, None, START) == ()


@settings(max_examples=200)
@given(
    priors=st.lists(st.tuples(st.floats(0.1, 50), st.floats(0.1, 50), st.floats(0, 0.5)), min_size=1, max_size=4),
    learned=st.lists(st.tuples(st.integers(0, 50), st.integers(0, 50)), min_size=4, max_size=4),
    agent=st.booleans(),
    weight=st.floats(0.5, 3),
    wait_s=st.one_of(st.none(), st.floats(0, 2_000)),
    impatience_s=st.floats(10, 1_000),
)
def test_who_goes_where_is_the_highest_index(
    priors: list[tuple[float, float, float]],
    learned: list[tuple[int, int]],
    agent: bool,
    weight: float,
    wait_s: float | None,
    impatience_s: float,
) -> None:
    """Against the formula: success x weight - cost, an agent's mean success x weight, that x exp(-wait / impatience)."""
    policy = routing_policy(
        {
            "impatience_s": impatience_s,
            "self_service": [
                {"name": f"s{number}", "address": f"sip:{number}@x.test", "success": [done, not_done], "cost": cost}
                for number, (done, not_done, cost) in enumerate(priors)
            ],
        }
    )
    need = RoutingNeed("voice", 0, (RelaxingStep(0.0, Requirement()),))
    ranked = (AgentVerdict(1, 1, eligible=True, score=10.0),) if agent else ()
    routing = Routing(need, ranked, len(ranked), 1, "test")
    around = Around(contained={f"s{number}": counts for number, counts in enumerate(learned)})
    contact = Contact(uuid.UUID(int=1), "voice", START, "k")
    nobody = Resolution((), 1.0, 0.0, "prior", "test")

    def go(evidence: Evidence) -> Routing:
        return placed(
            routing,
            contact,
            evidence,
            nobody,
            (),
            (),
            policy=policy,
            fit=PRIOR,
            live=NO_PRICES,
            weight=weight,
            around=around,
        )

    score = {
        f"s{number}": weight * (done + learned[number][0]) / (done + not_done + sum(learned[number])) - cost
        for number, (done, not_done, cost) in enumerate(priors)
    }
    of_agent = weight * PRIOR.mean_success
    first = go(Evidence())
    better = {name: value for name, value in score.items() if (value > of_agent if agent else value >= of_agent)}
    if any(math.isclose(value, of_agent, rel_tol=1e-9) for value in score.values()):
        return

    def is_best(name: str, among: Iterable[str]) -> bool:
        """To the last digit, equals are equal."""
        best = max((score[one] for one in among), default=None)
        return name == "" if best is None else name in score and math.isclose(score[name], best, abs_tol=1e-9)

    assert is_best(first.need.elsewhere, better)
    assert {one.name: round(one.score, 9) for one in first.places} == {name: round(v, 9) for name, v in score.items()}
    if agent or better:
        assert first.need.beyond == ()
        return
    # in the line: the estimate decides, past the bound that the decision names
    waiting = Waiting(contact.contact_id, first.need, START)
    estimate = None if wait_s is None else Estimate(1.0, wait_s, 0.0, wait_s)
    long = LongWaits()
    long.passed([waiting], {contact.contact_id: estimate}, 0.0)
    past = long.passed([waiting], {contact.contact_id: estimate}, 1.0)
    over = [bound for _, bounds in past for bound in bounds]
    then = go(Evidence(overflowed=tuple(Overflowed(one.name, one.step, START, wait_s) for one in over)))
    if wait_s is None:
        expected = set(score)
    else:
        later = of_agent * math.exp(-wait_s / impatience_s)
        if any(math.isclose(value, later, rel_tol=1e-6) for value in score.values()):
            return
        expected = {name for name, value in score.items() if value > later}
    assert {one.name for one in over} == expected
    assert is_best(then.need.elsewhere, expected)
    kept = msgspec.structs.replace(then.need, beyond=(), elsewhere="")
    assert kept == msgspec.structs.replace(first.need, beyond=(), elsewhere="")
