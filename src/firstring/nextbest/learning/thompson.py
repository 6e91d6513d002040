"""Thompson sampling with propensities that are exact.

Each posterior is drawn from through ATOMS equally probable values (the quantiles in the middle of its ATOMS parts). So a
draw is a choice among ATOMS values, and with what probability each action wins is a finite sum, computed to the last digit:
the propensity that is logged is the very probability with which the action was chosen, without any error of simulation.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from hashlib import blake2b
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from firstring.nextbest.learning.posterior import Beta

ATOMS: Final = 64
_GRID: Final = 512
_MIDDLES: Final = (np.arange(ATOMS) + 0.5) / ATOMS
_LEAST: Final = 0.05
"""An alpha or beta below this is drawn from as this."""


class Arm(NamedTuple):
    """One of the actions drawn among: the posterior of its chance, and what a success is worth (C x V x L)."""

    posterior: Beta
    worth: float


class Drawn(NamedTuple):
    """The place of the arm that won, and the probability with which each of them would have."""

    winner: int
    propensities: tuple[float, ...]


def drawn(arms: Sequence[Arm], draws: Sequence[float]) -> Drawn:
    """One draw among arms (one at least). draws: uniform in [0, 1), one for each arm. Of equal values the first arm wins."""
    shown = tuple(arms)
    of_draws = [
        quantiles(arm.posterior).item(min(int(draw * ATOMS), ATOMS - 1)) * arm.worth
        for arm, draw in zip(shown, draws, strict=False)
    ]
    return Drawn(of_draws.index(max(of_draws)), _propensities_of(shown))


@lru_cache(maxsize=4096)
def _propensities_of(arms: tuple[Arm, ...]) -> tuple[float, ...]:
    """They do not depend on the draws, and the best few are mostly the same few."""
    return _propensities(np.stack([quantiles(arm.posterior) * arm.worth for arm in arms]))


def _propensities(values: NDArray[np.float64]) -> tuple[float, ...]:
    """The probability that each row has the largest of values drawn from each row alike.

    All values are put in one order, of equal ones those of later rows first, since the first row wins. An atom wins where
    the draws of all other rows come before it: the product of how many of their atoms do.
    """
    count = len(values)
    rows, each = _rows(count)
    mine = rows[values[::-1].ravel().argsort(kind="stable")]
    before = (each == mine).cumsum(axis=1)
    product = np.ones(len(mine))
    for row, came in enumerate(before):
        came[mine == row] = 1
        product *= came
    wins = np.bincount(mine, product, minlength=count)
    return tuple((wins / float(ATOMS) ** count).tolist())


@lru_cache(maxsize=64)
def _rows(count: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Of which row each atom is, the last row first; the rows as a column."""
    rows = np.repeat(np.arange(count - 1, -1, -1), ATOMS)
    rows.flags.writeable = False
    return rows, np.arange(count)[:, np.newaxis]


@lru_cache(maxsize=8192)
def quantiles(posterior: Beta) -> NDArray[np.float64]:
    """ATOMS equally probable values of a Beta distribution, ascending. Error below 1e-3 of the standard deviation."""
    found: NDArray[np.float64] = _quantiles(_rounded(posterior.alpha), _rounded(posterior.beta))
    return found


@lru_cache(maxsize=8192)
def _quantiles(alpha: float, beta: float) -> NDArray[np.float64]:
    # In the logit the density is x^alpha (1 - x)^beta, smooth and with one hill, whatever alpha and beta are.
    hill = np.log(alpha / beta)
    spread = 6.0 * np.sqrt(1.0 / alpha + 1.0 / beta)
    logits = np.linspace(hill - spread - 8.0 / alpha, hill + spread + 8.0 / beta, _GRID)
    logs = -alpha * np.logaddexp(0.0, -logits) - beta * np.logaddexp(0.0, logits)
    density = np.exp(logs - logs.max())
    below = np.concatenate(([0.0], np.cumsum(density[1:] + density[:-1])))
    found: NDArray[np.float64] = 1.0 / (1.0 + np.exp(-np.interp(_MIDDLES * below[-1], below, logits)))
    found.flags.writeable = False
    return found


def _rounded(shape: float) -> float:
    """Three digits: it keeps the tables few, and moves a chance by a fraction of its own uncertainty."""
    return float(f"{max(shape, _LEAST):.3g}")


def draws_of(seed: bytes, count: int) -> tuple[float, ...]:
    """Uniform numbers out of a seed: the same ones for the same seed."""
    block = blake2b(seed, digest_size=64).digest()
    while len(block) < 8 * count:
        block += blake2b(block, digest_size=64).digest()
    return tuple((int.from_bytes(block[8 * i : 8 * i + 8], "big") >> 11) * 2.0**-53 for i in range(count))
