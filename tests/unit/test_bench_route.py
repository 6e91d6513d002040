"""The routing benchmark: its worlds, its bound of a round, its goals."""

from __future__ import annotations

import json

import numpy as np
import pytest
from rich.console import Console
from scipy.optimize import linear_sum_assignment

from firstring.bench import route
from firstring.bench.measures import Measure
from firstring.routing.simulate.world import ModelError


def test_the_worlds_are_at_the_load_they_claim() -> None:
    for agents in (40, 200):
        world = route.world_with(agents, 101)
        assert world.load == pytest.approx(0.95)
        assert world.agent_count == agents
    assert route.world_with(40, 101, ModelError(useless=True)).model.useless


def test_the_dual_of_a_round_bounds_it_closely() -> None:
    rng = np.random.default_rng(2)
    for _ in range(10):
        index = rng.normal(size=(12, 30))
        best = float(index[linear_sum_assignment(index, maximize=True)].sum())
        assert best - 1e-9 <= route._dual(index) <= best + 12 * 0.001 * float(np.abs(index).mean()) + 1e-9


def test_times_and_quality_are_measured() -> None:
    measures = route.picks(agents=300, times=20) + route.rounds(contacts=30, agents=100, times=2)
    assert all(measure.value is not None and measure.value >= 0.0 for measure in measures)
    assert measures[-1].met


def test_a_missed_goal_is_an_exit_status(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """The whole run on small worlds; what it measures of time is taken out, and one goal is one that nobody reaches."""
    small = route.world_with
    monkeypatch.setattr(route, "STRUCTURES", (101,))
    monkeypatch.setattr(route, "world_with", lambda agents, structure, model=None: small(8, structure, model, hours=1.6))
    monkeypatch.setattr(route, "picks", lambda: [Measure("never", "%", 1.0, 2.0, "higher")])
    monkeypatch.setattr(route, "rounds", list)
    with pytest.raises(SystemExit):
        route.run_bench(
            seeds=1, large=True, as_json=True, console=Console(quiet=True), processes=1, worlds=0, with_store=False
        )
    told = json.loads(capsys.readouterr().out)
    assert {one["name"] for one in told["40 agents"]} >= {"price", "greedy", "batch", "static-skills", "first-come"}
    assert told["measures"][-1]["met"] is False
