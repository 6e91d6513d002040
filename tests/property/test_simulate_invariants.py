"""What must never happen, looked for in whole simulations by brute force: every pair of contact and agent, every moment."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from firstring.routing.pick.choose import Pick, PickSettings
from firstring.routing.simulate.centre import Centre, Run
from firstring.routing.simulate.compare import POLICIES, compare
from firstring.routing.simulate.drawn import Drawn, Pairs
from firstring.routing.simulate.ours import Decision, PriceIndex, PriceRules
from firstring.routing.simulate.world import World, world_of


def world(seed: int, **more: object) -> World:
    rng = np.random.default_rng(seed)
    skills = ["a", "b"]
    return world_of(
        {
            "world": {"hours": 1.5, "warm_up_hours": 0.0, "structure_seed": seed},
            "agents": [
                {"name": "first", "count": int(rng.integers(1, 6)), "skills": skills, "places": int(rng.integers(1, 3))},
                {"name": "second", "count": int(rng.integers(1, 6)), "skills": ["a"], "shifts": [[0.2, 0.9], [1.0, 1.5]]},
            ],
            "types": [
                {"name": "x", "per_hour": float(rng.integers(20, 160)), "skills": ["a"], "handle_s": 120.0},
                {"name": "y", "per_hour": [float(rng.integers(0, 80)), 10.0], "skills": skills, "handle_s": 200.0},
            ],
            **more,
        }
    )


def run_of(of: World, seed: int, policy: PriceIndex) -> tuple[Drawn, Run]:
    pairs = Pairs(of)
    drawn = Drawn(of, pairs, seed)
    return drawn, Centre(of, pairs, drawn, policy).run()


def services(drawn: Drawn, run: Run, agent: int) -> list[tuple[float, float]]:
    mine = np.flatnonzero(run.agent == agent)
    begins = drawn.at_s[mine] + run.wait_s[mine]
    return sorted(zip(begins.tolist(), (begins + run.handle_s[mine]).tolist(), strict=True))


@given(st.integers(0, 10_000), st.sampled_from([0.0, 12.0]))
@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_capacity_assignments_and_idle_agents(seed: int, hold_s: float) -> None:
    of = world(seed)
    log: list[Decision] = []
    drawn, run = run_of(of, seed, PriceIndex(PriceRules(pick=PickSettings(hold_s=hold_s)), log=log))
    pairs = drawn.pairs
    held_at = {one.contact: one.at_s for one in log if one.made.why == "held"}
    assert bool(held_at) <= bool(hold_s)
    # Every contact was served once or hung up when its patience ended, by somebody who may.
    for contact in range(drawn.count):
        if run.agent[contact] < 0:
            assert run.wait_s[contact] == pytest.approx(drawn.patience_s[contact])
        else:
            assert run.wait_s[contact] <= drawn.patience_s[contact] + 1e-9
            assert pairs.eligible[drawn.kind[contact], run.agent[contact]]
    # Whoever is there when the world ends stays until nobody waits any more.
    ends_s = {of.hours: np.inf}
    for agent in range(of.agent_count):
        shifts = [(since * 3600, ends_s.get(to, to * 3600)) for since, to in pairs.shifts[agent]]
        busy = services(drawn, run, agent)
        for begins, _ in busy:
            # Capacity, and nobody begins outside of a shift.
            assert sum(b <= begins < e for b, e in busy) <= pairs.places[agent]
            assert any(since <= begins <= to for since, to in shifts)
        for contact in np.flatnonzero(pairs.eligible[drawn.kind, agent] & (run.wait_s > 1e-6)).tolist():
            came, until = float(drawn.at_s[contact]), float(drawn.at_s[contact] + run.wait_s[contact])
            for since, to in shifts:
                idle_s = idle_between(busy, int(pairs.places[agent]), max(came, since), min(until, to))
                # Beside a contact that waits an eligible agent is idle only while it is held.
                allowed_s = hold_s if contact in held_at else 0.0
                assert idle_s <= allowed_s + 1e-6, (contact, agent)


def idle_between(busy: list[tuple[float, float]], places: int, since: float, to: float) -> float:
    """Seconds in [since, to] in which fewer than `places` services went on."""
    if to <= since:
        return 0.0
    edges = sorted({since, to, *(at for span in busy for at in span if since < at < to)})
    return sum(
        later - at for at, later in itertools.pairwise(edges) if sum(b <= (at + later) / 2 < e for b, e in busy) < places
    )


@given(st.integers(0, 10_000))
@settings(max_examples=6, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_a_run_can_be_replayed_and_each_decision_re_derived(seed: int) -> None:
    of = world(seed, ringing={"seconds": 4.0, "no_answer": 0.2})
    rules = PriceRules(pick=PickSettings(hold_s=10.0, explore=0.2))
    logs: list[list[Decision]] = [[], []]
    runs = [run_of(of, seed, PriceIndex(rules, log=log))[1] for log in logs]
    assert np.array_equal(runs[0].agent, runs[1].agent)
    assert np.array_equal(runs[0].wait_s, runs[1].wait_s)
    assert len(logs[0]) == len(logs[1])
    for one, again in zip(*logs, strict=True):
        assert (one.contact, one.agent, one.made.chosen) == (again.contact, again.agent, again.made.chosen)
        made = one.made
        assert 0.0 < made.propensity <= 1.0
        fits = made.scores > -np.inf
        assert np.array_equal(sum(made.terms)[fits], made.scores[fits])
        if made.why == "best" and made.chosen >= 0:
            assert made.scores[made.chosen] >= made.scores.max() - made.settings.same
    # Exploration leaves no choice certain where there is another nearly as good.
    drawn = [one.made for one in logs[0] if one.made.why in ("best", "explored")]
    assert all((made.propensity < 1.0) == (drawn_among(made) > 1) for made in drawn)


def drawn_among(made: Pick) -> int:
    top = made.scores[made.order[0]] - made.settings.explore_within
    return int((made.scores[made.order[: made.settings.explore_among]] >= top).sum())


@pytest.mark.parametrize("name", list(POLICIES))
def test_every_policy_serves_everybody_who_stays_and_rings_again(name: str) -> None:
    of = world(3, ringing={"seconds": 5.0, "no_answer": 0.3, "away_s": 20.0})
    result = compare(of, seeds=[1, 2], names=[name]).of(name)
    for run in result.runs:
        assert run.contacts > 0
        assert 0.0 <= run.abandoned < 1.0
        assert run.occupancy_max <= 1.0 + 1e-9


def test_common_random_numbers() -> None:
    of = world(5)
    pairs = Pairs(of)
    one, other = Drawn(of, pairs, 7), Drawn(of, pairs, 7)
    assert np.array_equal(one.at_s, other.at_s)
    assert np.array_equal(one.effort, other.effort)
    assert not np.array_equal(one.at_s[:20], Drawn(of, pairs, 8).at_s[:20])


def test_processes_change_nothing() -> None:
    of = world(6)
    alone, together = (compare(of, seeds=[1, 2], names=["price"], processes=count) for count in (1, 2))
    assert alone == together


def test_ours_on_a_busy_world_is_better_and_nobody_starves() -> None:
    of = world_of(
        {
            "world": {"hours": 5.0, "structure_seed": 11},
            "agents": [{"name": "all", "count": 20}],
            "types": [{"name": name, "per_hour": 120.0} for name in ("x", "y", "z")],
        }
    )
    result = compare(of, seeds=[1, 2, 3], names=["greedy", "price"])
    ours, first, greedy = result.of("price"), result.of("first-come"), result.of("greedy")
    assert ours.gap.mean > 0.35
    assert ours.mean("abandoned").mean < first.mean("abandoned").mean
    assert ours.mean("occupancy_spread").mean < 0.2
    longest = [max(run.wait_max_s for run in one.runs) for one in (ours, first, greedy)]
    assert longest[0] <= longest[1] + 30.0 < longest[2]
    assert all(one.runs[i].success < result.bounds[i] for one in result.policies for i in range(3))
