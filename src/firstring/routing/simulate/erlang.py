"""Erlang-C and Erlang-A exactly: what the simulator is checked against, and how many agents a promise takes.

M/M/n+M (Palm 1957; Garnett, Mandelbaum, Reiman 2002; Gans, Koole, Mandelbaum 2003): arrivals lambda, service mu,
patience theta, n agents; birth-death with death rates min(k, n) mu + max(k - n, 0) theta.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray


class Exact(NamedTuple):
    """Steady state."""

    waits: float
    """Probability that an arriving contact has to wait."""
    abandons: float
    """Probability that it hangs up."""
    queue: float
    """Mean number of contacts that wait."""
    wait_s: float
    """Mean time in the queue, of those who hang up too."""
    occupancy: float


def erlang_a(per_s: float, handle_s: float, patience_s: float, agents: int) -> Exact:
    """The steady state; patience_s 0: nobody hangs up (Erlang-C; the load must then be below 1, ValueError)."""
    if per_s <= 0.0 or handle_s <= 0.0 or agents < 1:
        raise ValueError("rates must be above 0, agents at least 1")
    if patience_s <= 0.0:
        return _erlang_c(per_s, handle_s, agents)
    p = _states(per_s, handle_s, patience_s, agents)
    k = np.arange(len(p))
    waiting = np.maximum(k - agents, 0)
    queue = float(waiting @ p)
    abandons = queue / patience_s / per_s
    return Exact(float(p[agents:].sum()), abandons, queue, queue / per_s, float(np.minimum(k, agents) @ p) / agents)


def erlang_b(load: float, agents: int) -> float:
    """Probability of blocking, by the recursion B(n) = a B(n-1) / (n + a B(n-1))."""
    blocked = 1.0
    for n in range(1, agents + 1):
        blocked = load * blocked / (n + load * blocked)
    return blocked


def answered_within(per_s: float, handle_s: float, patience_s: float, agents: int, within_s: float) -> float:
    """Share of all arriving contacts that are answered within `within_s`, under first come, first served.

    Given k - n + 1 to go before it, an offered wait is a sum of exponentials with rates n mu, n mu + theta, ...; its
    distribution and the patience give the share by uniformisation on the chain of those ahead.
    """
    if patience_s <= 0.0:
        waits = _erlang_c(per_s, handle_s, agents).waits
        return 1.0 - waits * math.exp(-(agents / handle_s - per_s) * within_s)
    p = _states(per_s, handle_s, patience_s, agents)
    ahead = p[agents:]
    leave = agents / handle_s + np.arange(len(ahead)) / patience_s
    # State j: j contacts ahead in the queue. It falls at leave[j]; from 0 it is answered. Its own patience kills it.
    own = 1.0 / patience_s
    rate = float(leave[-1] + own)
    mass, answered = ahead.copy(), 0.0
    steps = rate * within_s
    weight, reach = math.exp(-steps) if steps < 700 else 0.0, 0.0
    count = int(steps + 10.0 * math.sqrt(steps) + 30.0)
    log_weight = -steps
    for step in range(count):
        weight = math.exp(log_weight) if log_weight > -745.0 else 0.0
        reach += weight * answered
        answered += float(mass[0] * leave[0]) / rate
        down = mass * leave / rate
        mass = mass - down - mass * (own / rate)
        mass[:-1] += down[1:]
        log_weight += math.log(steps) - math.log(step + 1.0) if steps > 0.0 else -math.inf
    return float(p[:agents].sum()) + reach


def agents_for(
    per_s: float, handle_s: float, patience_s: float, *, share: float, within_s: float, most: int = 20_000
) -> int:
    """The fewest agents with whom `share` of the contacts are answered `within_s`. Raises ValueError past `most`."""
    load = per_s * handle_s
    low, high = 1 if patience_s > 0.0 else int(load) + 1, max(2, math.ceil(load) + 1)
    while answered_within(per_s, handle_s, patience_s, high, within_s) < share:
        low, high = high + 1, high * 2
        if high > most:
            raise ValueError(f"more than {most} agents")
    while low < high:
        middle = (low + high) // 2
        if answered_within(per_s, handle_s, patience_s, middle, within_s) >= share:
            high = middle
        else:
            low = middle + 1
    return high


def _erlang_c(per_s: float, handle_s: float, agents: int) -> Exact:
    load = per_s * handle_s
    if load >= agents:
        raise ValueError("without patience the load must be below the number of agents")
    blocked = erlang_b(load, agents)
    waits = blocked / (1.0 - load / agents * (1.0 - blocked))
    wait_s = waits / (agents / handle_s - per_s)
    return Exact(waits, 0.0, wait_s * per_s, wait_s, load / agents)


def _states(per_s: float, handle_s: float, patience_s: float, agents: int) -> NDArray[np.float64]:
    """Steady-state probabilities of k contacts present, as far as they are above 1e-14 of the largest."""
    logs, k, top = [0.0], 0, 0.0
    while True:
        k += 1
        logs.append(logs[-1] + math.log(per_s / (min(k, agents) / handle_s + max(k - agents, 0) / patience_s)))
        top = max(top, logs[-1])
        if k > agents and logs[-1] < top - 33.0:
            break
    p = np.exp(np.array(logs) - top)
    return np.asarray(p / p.sum())
