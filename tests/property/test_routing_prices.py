"""Prices against the linear programme written out, and the bound against every assignment there is."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import linprog

from firstring.errors import BadInput
from firstring.routing.pick import prices as pricing

SEEDS = st.integers(0, 2**32 - 1)


def some(seed: int, contacts: int, agents: int) -> tuple[np.ndarray, ...]:
    rng = np.random.default_rng(seed)
    p = rng.random((contacts, agents))
    p[rng.random(p.shape) < 0.2] = -np.inf
    h = rng.uniform(50, 400, p.shape)
    weights = rng.integers(0, 20, contacts).astype(float)
    return p, h, weights, rng.uniform(0, 3_000, agents)


def primal(p: np.ndarray, h: np.ndarray, weights: np.ndarray, time_s: np.ndarray) -> float:
    """The programme written out over all pairs, eligible or not."""
    contacts, agents = p.shape
    once = np.kron(np.eye(contacts), np.ones(agents))
    work = np.hstack([np.diag(row) for row in weights[:, None] * h])
    value = (weights[:, None] * np.where(np.isfinite(p), p, -1.0)).ravel()
    found = linprog(-value, A_ub=np.vstack([once, work]), b_ub=np.concatenate([np.ones(contacts), time_s]), method="highs")
    return float(-found.fun)


@given(SEEDS, st.integers(1, 6), st.integers(1, 6))
@settings(max_examples=30, deadline=None)
def test_the_exact_bound_is_that_of_the_programme(seed: int, contacts: int, agents: int) -> None:
    p, h, weights, time_s = some(seed, contacts, agents)
    found = pricing.agent_prices(p, h, weights, time_s)
    assert found.bound == pytest.approx(primal(p, h, weights, time_s), rel=1e-6, abs=1e-6)
    assert (found.agent >= 0).all()
    assert (found.contact >= 0).all()


@given(SEEDS, st.integers(1, 6), st.integers(1, 6), st.floats(0.005, 0.1))
@settings(max_examples=30, deadline=None)
def test_smoothed_prices_bound_the_programme_nearly(seed: int, contacts: int, agents: int, smoothing: float) -> None:
    p, h, weights, time_s = some(seed, contacts, agents)
    exact = primal(p, h, weights, time_s)
    found = pricing.agent_prices(p, h, weights, time_s, smoothing=smoothing)
    # The smoothed dual is at most t log(1 + agents) above for each contact.
    assert exact - 1e-6 <= found.bound <= exact + smoothing * np.log1p(agents) * weights.sum() + 1e-3


@given(SEEDS)
@settings(max_examples=40, deadline=None)
def test_no_assignment_beats_the_bound_at_any_price(seed: int) -> None:
    rng = np.random.default_rng(seed)
    p, h, _, _ = some(seed, 4, 3)
    time_s = rng.uniform(100, 600, 3)
    bound = pricing.bound_at(p, h, np.ones(4), time_s, rng.uniform(0, 0.01, 3))
    for who in itertools.product((-1, 0, 1, 2), repeat=4):
        served = [(c, a) for c, a in enumerate(who) if a >= 0]
        busy = [sum(h[c, b] for c, b in served if b == a) for a in range(3)]
        if all(b <= t for b, t in zip(busy, time_s, strict=True)):
            assert sum(p[c, a] for c, a in served) <= bound + 1e-9


def test_a_large_programme_is_within_a_thousandth_of_the_exact_one() -> None:
    rng = np.random.default_rng(5)
    p, h = rng.random((40, 200)), rng.uniform(100, 300, (40, 200))
    weights, time_s = np.full(40, 50.0), np.full(200, 2_000.0)
    exact = pricing._priced(p, h, weights, time_s, np.zeros(200), pricing._exact(p, h, weights, time_s, np.zeros(200)), 0.0)
    quick = pricing.agent_prices(p, h, weights, time_s)
    assert exact.bound - 1e-6 <= quick.bound <= exact.bound * 1.001


def test_a_floor_draws_work_to_an_agent_whom_nobody_would_choose() -> None:
    p = np.array([[0.9, 0.8, 0.1], [0.8, 0.9, 0.1]])
    h, weights, time_s = np.full((2, 3), 100.0), np.array([10.0, 10.0]), np.full(3, 2_000.0)
    free = pricing.agent_prices(p, h, weights, time_s)
    assert free.load_s[2] == 0.0
    for smoothing in (0.0, 0.01):
        drawn = pricing.agent_prices(p, h, weights, time_s, floor_s=np.full(3, 400.0), smoothing=smoothing)
        assert drawn.agent[2] < -0.001
        assert (drawn.agent[:2] > drawn.agent[2]).all()
    assert drawn.load_s.min() == pytest.approx(400.0, rel=0.05)


def test_a_floor_that_cannot_be_reached_is_lowered() -> None:
    p, h = np.array([[0.5, 0.5]]), np.full((1, 2), 100.0)
    found = pricing.agent_prices(p, h, np.array([1.0]), np.full(2, 1_000.0), floor_s=np.full(2, 900.0))
    assert np.isfinite(found.agent).all()


def test_prices_move_towards_even_work() -> None:
    moved = pricing.adjusted(np.zeros(3), np.array([0.9, 0.6, 0.3]), gain=0.5, band=0.1, per_second=0.004)
    assert moved == pytest.approx([0.0004, 0.0, -0.0004])


@pytest.mark.parametrize(
    ("p", "h", "weights", "time_s", "code"),
    [
        (np.ones((2, 2)), np.ones((2, 3)), np.ones(2), np.ones(2), "prices_shape"),
        (np.full((1, 1), np.nan), np.ones((1, 1)), np.ones(1), np.ones(1), "prices_range"),
        (np.ones((1, 1)), np.zeros((1, 1)), np.ones(1), np.ones(1), "prices_range"),
        (np.ones((1, 1)), np.ones((1, 1)), -np.ones(1), np.ones(1), "prices_range"),
        (np.ones((1, 1)), np.ones((1, 1)), np.ones(1), np.full(1, np.nan), "prices_range"),
    ],
)
def test_what_is_no_programme_is_refused(p, h, weights, time_s, code) -> None:
    with pytest.raises(BadInput) as refused:
        pricing.agent_prices(p, h, weights, time_s)
    assert refused.value.code == code


def test_nobody_and_nothing() -> None:
    nobody = pricing.agent_prices(np.zeros((3, 0)), np.zeros((3, 0)), np.ones(3), np.zeros(0))
    nothing = pricing.agent_prices(np.zeros((0, 3)), np.zeros((0, 3)), np.zeros(0), np.ones(3))
    assert nobody.bound == nothing.bound == 0.0
    assert not nothing.agent.any()
