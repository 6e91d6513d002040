"""Effects of agents as a tree of normal distributions: agent, agent x intent, agent x intent x segment.

Each node's effect is its parent's plus a deviation of variance tau2 of its level; the root is zero, that is, the population.
On a tree all of it is exact (Kalman smoothing; Pearl 1988): posterior means and variances, and the likelihood of the
variances, by which they are estimated (empirical Bayes; Efron and Morris 1975). Where the data show no deviation the
variance is zero, and every agent is the population.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]

LEVELS: Final = 3
"""Variances: of agents, of intents of an agent, of segments of these."""
MOST_TAU2: Final = 4.0
"""A variance is at most this: on the scale of log odds and log seconds nothing real is beyond it."""
_SCALE: Final = 0.05
_NEEDED: Final = 5.411894431054342
"""A level stays where twice the log likelihood that it brings is above this: 1 % of useless ones do (a variance at its bound
is tested one-sided; Self and Liang 1987)."""
_LEAST: Final = 1e-7


class Shape(NamedTuple):
    """Where the leaves hang. middle: the (agent, intent) of each leaf; agent: the agent of each (agent, intent)."""

    middle: Integers
    agent: Integers
    agents: int


class Data(NamedTuple):
    """What the data say of each leaf by themselves: precision (0: nothing) and mean."""

    precision: Floats
    mean: Floats


class Level(NamedTuple):
    """The nodes of one level."""

    mean: Floats
    variance: Floats


class Smoothed(NamedTuple):
    """Posterior effects, and the log likelihood of the variances (up to a constant of the data)."""

    agent: Level
    middle: Level
    leaf: Level
    log_likelihood: float


class _Upward(NamedTuple):
    precision: Floats
    mean: Floats
    log_likelihood: float


def smoothed(shape: Shape, data: Data, tau2: tuple[float, float, float]) -> Smoothed:
    """Posterior effects of all nodes. tau2: variances of agents, (agent, intent), leaves."""
    leaves, middle, agents, log_likelihood = _up(shape, data, tau2)
    zero = Level(np.zeros(1), np.zeros(1))
    by_agent = _down(agents, tau2[0], zero, np.zeros(shape.agents, np.int64))
    by_middle = _down(middle, tau2[1], by_agent, shape.agent)
    by_leaf = _down(leaves, tau2[2], by_middle, shape.middle)
    return Smoothed(by_agent, by_middle, by_leaf, log_likelihood)


def _up(shape: Shape, data: Data, tau2: tuple[float, float, float]) -> tuple[_Upward, _Upward, _Upward, float]:
    """What is below the nodes of each level says of them, and the log likelihood."""
    leaves = _Upward(data.precision, data.mean, 0.0)
    middle = _joined(leaves, tau2[2], shape.middle, len(shape.agent))
    agents = _joined(middle, tau2[1], shape.agent, shape.agents)
    root = _joined(agents, tau2[0], np.zeros(shape.agents, np.int64), 1)
    # The root is not free but zero: its own messages at zero.
    return leaves, middle, agents, middle.log_likelihood + agents.log_likelihood + root.log_likelihood + _at_zero(root)


def _joined(children: _Upward, tau2: float, parent: Integers, parents: int) -> _Upward:
    """The children's evidence about their parents: each adds a deviation of variance tau2, then they are multiplied."""
    precision = children.precision / (1.0 + children.precision * tau2)
    total = np.bincount(parent, precision, parents).astype(np.float64)
    weighted = np.bincount(parent, precision * children.mean, parents).astype(np.float64)
    known = total > 0.0
    mean = np.divide(weighted, total, out=np.zeros(parents), where=known)
    sent = precision > 0.0
    spread = precision[sent] * (children.mean[sent] - mean[parent[sent]]) ** 2
    found = 0.5 * (float(np.log(precision[sent]).sum()) - float(np.log(total[known]).sum()) - float(spread.sum()))
    return _Upward(total, mean, found)


def _at_zero(root: _Upward) -> float:
    precision, mean = float(root.precision[0]), float(root.mean[0])
    return 0.5 * (np.log(precision) - precision * mean**2) if precision > 0.0 else 0.0


def _down(own: _Upward, tau2: float, parents: Level, parent: Integers) -> Level:
    """Posterior of nodes by what is below them and their parents' posterior."""
    gain = own.precision * tau2 / (1.0 + own.precision * tau2)
    above = parents.mean[parent]
    mean = above + gain * (own.mean - above)
    variance = tau2 / (1.0 + own.precision * tau2) + (1.0 - gain) ** 2 * parents.variance[parent]
    return Level(mean, variance)


def variances(shape: Shape, data: Data) -> tuple[float, float, float]:
    """The variances that make the data likeliest; zero for each level without which they are hardly less likely."""

    def likelihood(tau2: Floats) -> float:
        return _up(shape, data, (float(tau2[0]), float(tau2[1]), float(tau2[2])))[3]

    if not (data.precision > 0.0).any():
        return 0.0, 0.0, 0.0
    on = np.ones(LEVELS, bool)
    found, best = _most_likely(likelihood, on)
    for level in (2, 1, 0):
        if found[level] <= _LEAST:
            on[level] = False
            continue
        without = on.copy()
        without[level] = False
        other, worse = _most_likely(likelihood, without)
        if 2.0 * (best - worse) < _NEEDED:
            on, found, best = without, other, worse
    kept = np.where(found > _LEAST, found, 0.0)
    return float(kept[0]), float(kept[1]), float(kept[2])


def _most_likely(likelihood: Callable[[Floats], float], on: NDArray[np.bool_]) -> tuple[Floats, float]:
    """The best variances with only the levels `on` free."""
    places = np.flatnonzero(on)
    whole = np.zeros(LEVELS)
    if not len(places):
        return whole, likelihood(whole)

    def spread(x: Floats) -> Floats:
        tau2 = np.zeros(LEVELS)
        tau2[places] = np.maximum(x, 0.0) * _SCALE
        return tau2

    begin = np.full(len(places), 0.5)
    result = minimize(
        lambda x: -likelihood(spread(x)),
        begin,
        method="L-BFGS-B",
        bounds=[(0.0, MOST_TAU2 / _SCALE)] * len(places),
        options={"eps": 1e-4, "maxiter": 60},
    )
    found = spread(np.asarray(result.x, dtype=np.float64))
    return found, likelihood(found)
