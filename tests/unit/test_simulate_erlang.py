"""Exact Erlang against known figures and against its own definition; the simulator against exact Erlang-A."""

from __future__ import annotations

import numpy as np
import pytest

from firstring.routing.simulate import erlang
from firstring.routing.simulate.compare import FIRST_COME, OURS, compare
from firstring.routing.simulate.world import World, world_of


def alike(load: float, hours: float = 16.0, agents: int = 40) -> World:
    """Everybody alike and exponential: M/M/n+M."""
    return world_of(
        {
            "world": {"hours": hours, "warm_up_hours": 1.0, "structure_seed": 4},
            "agents": [{"name": "all", "count": agents}],
            "types": [
                {
                    "name": "any",
                    "per_hour": agents * load * 3600.0 / 190.0,
                    "handle_s": 190.0,
                    "handle": "exponential",
                    "patience_s": 396.0,
                }
            ],
            "compatibility": dict.fromkeys(
                ("agent_sd", "type_agent_sd", "customer_sd", "speed_log_sd", "type_speed_log_sd", "fit_speed"), 0.0
            ),
        }
    )


@pytest.mark.parametrize("load", [0.85, 0.95, 1.05])
def test_the_simulation_is_within_two_standard_errors_of_erlang_a(load: float) -> None:
    exact = erlang.erlang_a(40 * load / 190.0, 190.0, 396.0, 40)
    answered = erlang.answered_within(40 * load / 190.0, 190.0, 396.0, 40, 20.0)
    found = compare(alike(load), seeds=list(range(1, 13)), names=[FIRST_COME]).of(FIRST_COME)
    for name, truth in (
        ("waited", exact.waits),
        ("abandoned", exact.abandons),
        ("queue", exact.queue),
        ("wait_s", exact.wait_s),
        ("occupancy_mean", exact.occupancy),
        ("in_time", answered),
    ):
        values = [getattr(run, name) for run in found.runs]
        error = float(np.std(values, ddof=1)) / len(values) ** 0.5
        assert abs(float(np.mean(values)) - truth) <= 2.0 * error, name


def test_ours_is_first_come_where_nobody_suits_better() -> None:
    """Everybody alike: who serves makes no difference, so that the same order gives the same waits to the microsecond."""
    result = compare(alike(0.95, hours=4.0), seeds=[1, 2], names=[OURS])
    for ours, first in zip(result.of(OURS).runs, result.of(FIRST_COME).runs, strict=True):
        assert ours.waited == first.waited > 0.2
        assert ours.abandoned == first.abandoned
        assert ours.wait_max_s == pytest.approx(first.wait_max_s, abs=1e-6)
        assert ours.beyond_s == pytest.approx(0.0, abs=1e-6)
        # Before work is even a hold may still promise fairness.
        assert ours.held < 0.005


def test_known_figures() -> None:
    # Erlang-B of 10 erlangs and 10 lines, and Erlang-C of 8 erlangs and 10 agents, are in every table.
    assert erlang.erlang_b(10.0, 10) == pytest.approx(0.2146, abs=1e-4)
    assert erlang.erlang_a(8.0 / 180.0, 180.0, 0.0, 10).waits == pytest.approx(0.4092, abs=1e-4)
    assert erlang.erlang_a(0.2, 190.0, 396.0, 40).waits == pytest.approx(0.457, abs=5e-4)


def test_much_patience_is_erlang_c() -> None:
    patient, endless = (erlang.erlang_a(0.2, 180.0, patience, 40) for patience in (1e8, 0.0))
    assert patient.waits == pytest.approx(endless.waits, abs=1e-4)
    assert patient.wait_s == pytest.approx(endless.wait_s, rel=1e-3)
    within = [erlang.answered_within(0.2, 180.0, patience, 40, 20.0) for patience in (1e8, 0.0)]
    assert within[0] == pytest.approx(within[1], abs=1e-4)


def test_answered_at_once_is_not_waiting_and_answered_ever_is_not_hanging_up() -> None:
    exact = erlang.erlang_a(0.2, 190.0, 396.0, 40)
    assert erlang.answered_within(0.2, 190.0, 396.0, 40, 0.0) == pytest.approx(1.0 - exact.waits)
    assert erlang.answered_within(0.2, 190.0, 396.0, 40, 20_000.0) == pytest.approx(1.0 - exact.abandons, abs=1e-6)


def test_the_fewest_agents() -> None:
    for patience_s in (0.0, 396.0):
        agents = erlang.agents_for(0.2, 190.0, patience_s, share=0.8, within_s=20.0)
        assert erlang.answered_within(0.2, 190.0, patience_s, agents, 20.0) >= 0.8
        assert erlang.answered_within(0.2, 190.0, patience_s, agents - 1, 20.0) < 0.8


def test_what_has_no_steady_state_is_refused() -> None:
    with pytest.raises(ValueError, match="below the number"):
        erlang.erlang_a(1.0, 100.0, 0.0, 100)
    with pytest.raises(ValueError, match="above 0"):
        erlang.erlang_a(0.0, 100.0, 10.0, 100)
