"""What a second of an agent's time is worth, and the most that any policy can reach.

The fluid linear programme of skill-based routing: contacts c (weight w_c: how many of them), agents a with T_a seconds,
success p_ca, expected handle time h_ca:

    max  sum w_c x_ca p_ca   with  sum_a x_ca <= 1,  F_a <= sum_c w_c x_ca h_ca <= T_a,  x >= 0

Its dual in the prices lambda_a (per second) is convex and needs no variable for a pair:

    D(lambda) = sum_c w_c max(0, max_a p_ca - lambda_a h_ca) + sum_a T_a max(lambda_a, 0) - F_a max(-lambda_a, 0)

Every lambda >= 0 gives an upper bound of what any policy reaches on these contacts, the clairvoyant one included; the
minimum is what the bound of the simulator is, and lambda is what `pick.choose` charges. F_a is the least work that an
agent is to have: a price below 0 draws work to an agent whom nobody would choose (Sisselman & Whitt 2007). Pure numpy;
scipy's HiGHS solves what is small exactly, a smoothed dual (log-sum-exp, annealed) under L-BFGS-B the rest.

What the pick charges is the market at a temperature (`smoothing`) and with some capacity kept back (`spared`): in a call
centre a contact finds a few idle agents and not all of them, and agents who are always busy leave nothing to choose.
The capacity kept back is the square root of the places, as in square-root staffing (Halfin & Whitt 1981).
"""

from __future__ import annotations

from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from firstring.errors import BadInput

Floats = NDArray[np.float64]

EXACT_PAIRS: Final = 4_000
"""Up to so many eligible pairs the linear programme is solved exactly."""
_ANNEALED: Final = (0.05, 0.02, 0.008, 0.003, 0.001)
MARKET_STEPS: Final = 60
_COOLED: Final = (0.3, 0.1, 0.05, 0.02)
SPARED: Final = 1.1
"""Places kept back, in square roots of the places."""
STANDING: Final = 0.3
"""What a contact may count on, in standard deviations above the mean over its agents."""
_BLOCK_PAIRS: Final = 2_000_000
"""Pairs that are looked at in one piece: 16 MB of float64."""


class Prices(NamedTuple):
    """Prices of c contacts and a agents.

    agent (a,): success per second of an agent's time; below 0 where work is drawn to the agent.
    contact (c,): what a contact brings beyond the time it takes, max(0, max_a p - lambda h).
    bound: D(lambda), in successes: no policy reaches more in expectation on these contacts and times (where no floor
    is given).
    load_s (a,): seconds of work that each agent gets at these prices.
    """

    agent: Floats
    contact: Floats
    bound: float
    load_s: Floats


def agent_prices(
    p: Floats,
    h: Floats,
    weights: Floats,
    time_s: Floats,
    *,
    floor_s: Floats | None = None,
    smoothing: float = 0.0,
    start: Floats | None = None,
) -> Prices:
    """The prices for contacts like these (rows, `weights` of each) and agents with `time_s` seconds (columns).

    p (c, a): success 0..1, or any value per contact; -inf where the agent may not serve the contact.
    h (c, a): expected handle time in seconds, > 0.
    weights (c,) >= 0; time_s (a,) >= 0; floor_s (a,) in 0..time_s: seconds of work that an agent is to have.
    smoothing: temperature in units of p. 0: the programme itself. Above 0: prices of a market in which a contact does
    not always get the agent it wants, which is what a call centre with few idle agents is; stable under new contacts.
    start (a,): prices to start from (with smoothing).

    Raises BadInput: prices_shape, prices_range.
    """
    p, h, weights, time_s, floor_s = _checked(p, h, weights, time_s, floor_s)
    if smoothing > 0.0:
        price = _market(p, h, weights, time_s, floor_s, smoothing, start)
    elif np.count_nonzero(np.isfinite(p)) <= EXACT_PAIRS:
        price = _exact(p, h, weights, time_s, floor_s)
    else:
        price = _annealed(p, h, weights, time_s, floor_s)
    return _priced(p, h, weights, time_s, floor_s, price, smoothing)


def bound_at(p: Floats, h: Floats, weights: Floats, time_s: Floats, price: Floats) -> float:
    """D(lambda) for prices >= 0: an upper bound, tight at the prices that `agent_prices` finds. Success in all."""
    nothing = np.zeros(len(time_s))
    return _priced(*_checked(p, h, weights, time_s, nothing), np.maximum(price, 0.0), 0.0).bound


def capacity_s(places: Floats, seconds: float) -> Floats:
    """The seconds (n,) of each agent to be sold in a period: `places` (n,) signed in, less what is kept back."""
    places = np.asarray(places, np.float64)
    total = float(places.sum())
    share = max(1.0 - SPARED / np.sqrt(total), 0.25) if total > 0.0 else 0.0
    return np.asarray(places * (seconds * share))


def standing(p: Floats, h: Floats, price: Floats) -> float:
    """What a contact that is not taken now may count on: its `contact_price` while it waits.

    p (n,): -inf where not eligible; h, price (n,). The mean of p - price h over its agents, and a little of their spread:
    the next agent who becomes free is one of them, and it will be chosen rather by one that suits it. Whoever does well
    with anybody is thereby no better a catch than one who does not.
    """
    fits = p > -np.inf
    if not fits.any():
        return 0.0
    net = p[fits] - price[fits] * h[fits]
    return float(net.mean() + STANDING * net.std())


def adjusted(price: Floats, occupancy: Floats, *, gain: float, band: float, per_second: float) -> Floats:
    """Prices moved towards even work: one step of the dual's stochastic subgradient.

    occupancy (a,): share of the signed-in time that was busy, 0..1. An agent above the mean by more than `band`
    becomes dearer, one below cheaper, by `gain` x `per_second` for each unit of occupancy outside the band.
    `per_second`: what a second is worth here (mean success / mean handle time), so that `gain` has no unit.
    """
    if not len(price):
        return price
    off = occupancy - float(np.mean(occupancy))
    outside = np.sign(off) * np.maximum(np.abs(off) - band, 0.0)
    return np.asarray(price + gain * per_second * outside)


def _checked(
    p: Floats, h: Floats, weights: Floats, time_s: Floats, floor_s: Floats | None
) -> tuple[Floats, Floats, Floats, Floats, Floats]:
    p, h = np.asarray(p, np.float64), np.asarray(h, np.float64)
    weights, time_s = np.asarray(weights, np.float64), np.asarray(time_s, np.float64)
    floor = np.zeros(len(time_s)) if floor_s is None else np.asarray(floor_s, np.float64)
    if p.ndim != 2 or h.shape != p.shape or weights.shape != p.shape[:1] or not time_s.shape == floor.shape == p.shape[1:]:
        raise BadInput("prices_shape", "p and h are contacts x agents; weights go with the contacts, times with the agents")
    eligible = np.isfinite(p)
    if (
        np.isnan(p).any()
        or np.isposinf(p).any()
        or not (h[eligible] > 0.0).all()
        or not np.isfinite(h[eligible]).all()
        or not (np.isfinite(weights).all() and np.isfinite(time_s).all() and np.isfinite(floor).all())
        or (weights < 0.0).any()
        or (floor < 0.0).any()
        or (floor > time_s).any()
    ):
        raise BadInput(
            "prices_range", "Success must be a number or -inf, handle times above 0, weights, times and floors not below 0"
        )
    return p, np.where(eligible, h, 1.0), weights, time_s, floor


def _exact(p: Floats, h: Floats, weights: Floats, time_s: Floats, floor_s: Floats) -> Floats:
    from scipy.optimize import linprog
    from scipy.sparse import csr_matrix, vstack

    contacts, agents = np.nonzero(np.isfinite(p) & (weights > 0.0)[:, None])
    count, pairs = len(contacts), np.arange(len(contacts))
    if not count:
        return np.zeros(len(time_s))
    seconds = weights[contacts] * h[contacts, agents]
    once = csr_matrix((np.ones(count), (contacts, pairs)), shape=(len(weights), count))
    work = csr_matrix((seconds, (agents, pairs)), shape=(len(time_s), count))
    reachable = np.minimum(floor_s, np.bincount(agents, seconds, len(time_s)))
    value = weights[contacts] * p[contacts, agents]
    for floor in (reachable, 0.5 * reachable, np.zeros(len(time_s))):
        # A floor that all the work there is does not reach has no solution: ask for less.
        found = linprog(
            -value,
            A_ub=vstack([once, work, -work]),
            b_ub=np.concatenate([np.ones(len(weights)), time_s, -floor]),
            method="highs",
        )
        if found.status == 0:
            marginal = -np.asarray(found.ineqlin.marginals, np.float64)[len(weights) :]
            return np.asarray(marginal[: len(time_s)] - marginal[len(time_s) :])
    return _annealed(p, h, weights, time_s, floor_s)


def _market(
    p: Floats, h: Floats, weights: Floats, time_s: Floats, floor_s: Floats, smoothing: float, start: Floats | None
) -> Floats:
    """Prices at which the smoothed demand for each agent is the time there is, or less at a price of 0.

    The fixed point of lambda += (t / h) log(load / T), which is the dual's coordinate step (as in Sinkhorn's algorithm);
    work below the floor pushes the price below 0. The dual is convex, so it is the same from every start.
    """
    weight = max(float(weights.sum()), 1e-9)
    fits = np.isfinite(p)
    served = np.maximum(weights @ fits, 1e-9)
    per_second = 1.0 / np.maximum(weights @ np.where(fits, h, 0.0) / served, 1e-9)
    most = (5.0 * float(np.max(p[fits], initial=0.0)) + 1.0) * per_second
    price = np.zeros(len(time_s)) if start is None else np.asarray(start, np.float64).copy()
    capacity, floor = np.maximum(time_s, 1e-9), np.maximum(floor_s, 1e-9)
    # Steps are as long as the market is warm: from nothing it is cooled down, from prices of a moment ago it is not.
    warmer = () if start is not None else (t for t in _COOLED if t > smoothing)
    for temperature in (*warmer, smoothing):
        for _ in range(MARKET_STEPS):
            load_s = np.maximum(_smoothed(p, h, weights, price, temperature)[1], 1e-9 * weight)
            step = temperature * per_second
            above = price + step * np.log(load_s / capacity)
            below = np.minimum(price + step * np.log(load_s / floor), 0.0)
            moved = np.clip(np.where(above >= 0.0, above, below), -most, most)
            is_still = float(np.max(np.abs(moved - price), initial=0.0)) <= 1e-4 * float(np.max(np.abs(moved), initial=0.0))
            price = moved
            if is_still:
                break
    return price


def _annealed(p: Floats, h: Floats, weights: Floats, time_s: Floats, floor_s: Floats) -> Floats:
    """L-BFGS-B on the smoothed dual, from a warm temperature to a cold one; the floor only where one is asked for."""
    from scipy.optimize import minimize

    count = len(time_s)
    unit = 1.0 / max(float(np.mean(h[np.isfinite(p)])) if np.isfinite(p).any() else 1.0, 1e-9)
    has_floor = bool((floor_s > 0.0).any())
    point = np.zeros(2 * count if has_floor else count)
    scale = 1.0 / max(float(weights.sum()), 1e-9)

    def dual(at: Floats, temperature: float) -> tuple[float, Floats]:
        price = (at[:count] - at[count:] if has_floor else at) * unit
        value, load_s = _smoothed(p, h, weights, price, temperature)
        total = value + float(time_s @ at[:count]) * unit
        gradient = time_s - load_s
        if has_floor:
            total -= float(floor_s @ at[count:]) * unit
            gradient = np.concatenate([gradient, load_s - floor_s])
        return total * scale, gradient * (unit * scale)

    # A floor that cannot be reached would push its price without end: a second is never worth more than all success.
    most = 5.0 * float(np.max(p[np.isfinite(p)], initial=0.0)) + 1.0
    for temperature in _ANNEALED:
        found = minimize(
            dual,
            point,
            args=(temperature,),
            jac=True,
            method="L-BFGS-B",
            bounds=[(0.0, most)] * len(point),
            options={"maxiter": 150, "ftol": 1e-10, "gtol": 1e-9},
        )
        point = np.asarray(found.x)
    return np.asarray((point[:count] - point[count:] if has_floor else point) * unit)


def _smoothed(p: Floats, h: Floats, weights: Floats, price: Floats, temperature: float) -> tuple[float, Floats]:
    """sum_c w_c t log(1 + sum_a exp((p - lambda h)/t)) and its seconds of work (a,), in blocks of bounded memory."""
    total, load_s = 0.0, np.zeros(len(price))
    rows = max(1, _BLOCK_PAIRS // max(len(price), 1))
    for first in range(0, len(weights), rows):
        part = slice(first, first + rows)
        net = (p[part] - price * h[part]) / temperature
        top = np.maximum(np.max(net, axis=1, initial=0.0), 0.0)
        share = np.exp(net - top[:, None])
        mass = share.sum(axis=1) + np.exp(-top)
        total += float(weights[part] @ (top + np.log(mass))) * temperature
        share *= (weights[part] / mass)[:, None]
        share *= h[part]
        load_s += share.sum(axis=0)
    return total, load_s


def _priced(
    p: Floats, h: Floats, weights: Floats, time_s: Floats, floor_s: Floats, price: Floats, smoothing: float
) -> Prices:
    contact = np.zeros(len(weights))
    load_s = np.zeros(len(price))
    rows = max(1, _BLOCK_PAIRS // max(len(price), 1))
    sharp = 0.0
    for first in range(0, len(weights), rows):
        part = slice(first, first + rows)
        net = p[part] - price * h[part]
        if net.shape[1]:
            best = net.argmax(axis=1)
            most = np.maximum(net[np.arange(len(net)), best], 0.0)
        else:
            best, most = np.zeros(len(net), np.intp), np.zeros(len(net))
        sharp += float(weights[part] @ most)
        if smoothing:
            scaled = net / smoothing
            top = np.maximum(np.max(scaled, axis=1, initial=0.0), 0.0)
            contact[part] = smoothing * (top + np.log(np.exp(scaled - top[:, None]).sum(axis=1) + np.exp(-top)))
        else:
            contact[part] = most
            served = np.flatnonzero(most > 0.0)
            if len(served):
                seconds = weights[part][served] * h[part][served, best[served]]
                load_s += np.bincount(best[served], seconds, len(price))
    if smoothing:
        load_s = _smoothed(p, h, weights, price, smoothing)[1]
    bound = sharp + float(time_s @ np.maximum(price, 0.0)) - float(floor_s @ np.maximum(-price, 0.0))
    return Prices(np.asarray(price, np.float64), contact, bound, load_s)
