"""The steps of a contact centre that picks by index: somebody comes, somebody becomes free, somebody was taken, prices move.

The simulator and the live line both go by these, each with what it knows: arrays here, tables there. So what the simulator
measures is what runs. Pure; times in seconds, success in points (0..1).
"""

from __future__ import annotations

from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from firstring.routing import firstcome
from firstring.routing.pick import HOLDING, KEPT, Pick, PickSettings, next_contact, pick, reservation, unfairness
from firstring.routing.prices import agent_prices, capacity_s, standing
from firstring.routing.reliance import relied

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]
Flags = NDArray[np.bool_]

REPRICE_S: Final = 300.0
"""Prices follow the load this often."""
SAMPLE: Final = 300
"""Recent contacts that prices are formed on, the newest."""
RECENT_S: Final = 7_200.0
FIRST_PRICES: Final = 30
"""Contacts that must have come before prices are formed."""
PAIRS_PRICED: Final = 400_000
SMOOTHING: Final = 0.03
OCCUPANCY_PRIOR_S: Final = 1_800.0
"""Seconds at the mean that every agent's occupancy begins with: the first call of a shift says nothing yet."""
WINDOW: Final = 3
"""Contacts near the head that may be chosen, as a multiple of how many may be due at a time."""
PATIENCE_PRIOR_S: Final = 400.0


class Busy(NamedTuple):
    """The agents (b,) who may serve a contact and have no place free. p, h: of the contact with each. rate: how often each
    becomes free for it, a second. other: points by rules."""

    p: Floats
    h: Floats
    price: Floats
    occupancy: Floats
    rate: Floats
    other: Floats | float = 0.0


def arrival(
    p: Floats,
    h: Floats,
    *,
    price: Floats,
    occupancy: Floats,
    occupancy_mean: float,
    idle_s: Floats,
    weight: float = 1.0,
    other: Floats | None = None,
    busy: Busy | None = None,
    patience_s: float = PATIENCE_PRIOR_S,
    draw: float | None = None,
    keep: int = KEPT,
    settings: PickSettings = HOLDING,
) -> Pick:
    """The pick among the agents (n,) who are idle, for a contact that comes. busy: where it may be held for one of them; the
    hold lasts `settings.hold_s` at most."""
    reserve = None
    if busy is not None and settings.hold_s > 0.0 and len(p):
        now = weight * p - price * h - unfairness(occupancy, occupancy_mean, settings)
        later = weight * busy.p - busy.price * busy.h - unfairness(busy.occupancy, occupancy_mean, settings)
        reserve = reservation(
            later + busy.other,
            busy.rate,
            best_now=float((now if other is None else now + other).max()),
            lost=0.0,
            patience_s=patience_s,
            settings=settings,
        )
    return pick(
        p,
        h,
        price=price,
        occupancy=occupancy,
        occupancy_mean=occupancy_mean,
        idle_s=idle_s,
        weight=weight,
        other=other,
        reserve=reserve,
        draw=draw,
        keep=keep,
        settings=settings,
    )


def freed(
    p: Floats,
    h: Floats,
    *,
    price: float,
    contact_price: Floats,
    waited_s: Floats,
    weight: Floats,
    due_at: Floats,
    reserve: Floats,
    now: float,
    free_every_s: float,
    other: Floats | None = None,
    draw: float | None = None,
    settings: PickSettings = HOLDING,
) -> Pick:
    """The pick among the contacts (m,) near the head of an agent's line (`line_size`), by their place in it.

    contact_price: what each may count on (`stands`). due_at: since when each is due (`after_taken`), nan: not yet. reserve:
    what holding was to bring, -inf for who is not held: whoever is held waits for somebody as good as that.
    """
    must = firstcome.must_serve(
        due_at, now, free_every_s=free_every_s, guard_s=settings.guard_s, caution=settings.guard_caution
    )
    is_held = reserve > -np.inf
    if is_held.any():
        p = np.where(weight * p - price * h < reserve, -np.inf, p)
    return next_contact(
        p,
        h,
        price=price,
        contact_price=contact_price,
        waited_s=waited_s,
        weight=weight,
        other=other,
        must=must,
        draw=draw,
        settings=settings,
    )


def line_size(free_every_s: float, settings: PickSettings, window: int = WINDOW) -> int:
    """How many contacts near the head of an agent's line may be chosen."""
    return window * firstcome.places(free_every_s, settings.guard_s, settings.guard_caution) + 2


def free_every_s(taken: Integers, usual_s: Floats) -> float:
    """Mean time between two agents becoming free. taken: contacts that each has; usual_s: its usual handle time."""
    return 1.0 / max(float((taken / usual_s).sum()), 1e-9)


def rates(taken: Integers, usual_s: Floats, waiting: int) -> Floats:
    """How often each agent becomes free for one contact: those who wait take it as likely."""
    return np.asarray(taken / usual_s / (1 + waiting), np.float64)


def after_taken(since: Floats, passed: Integers, due_at: Floats, taken_since: float, now: float) -> tuple[Integers, Floats]:
    """(passed, due_at) of the contacts (m,) left in an agent's line after the agent took one with `taken_since`."""
    passed = firstcome.passed_over(since, passed, taken_since)
    return passed, firstcome.became_due(since, passed, due_at, now)


def stands(p: Floats, h: Floats, may: Flags, price: Floats, weight: float) -> float:
    """What a waiting contact may count on at these prices: p, h (n,) with all agents."""
    return standing(np.where(may, weight * p, -np.inf), h, price)


def occupancies(busy_s: Floats, signed_in_s: Floats, prior_s: float = OCCUPANCY_PRIOR_S) -> Floats:
    """Share (n,) of the time signed in that was busy."""
    usual = float(busy_s.sum()) / max(float(signed_in_s.sum()), 1e-9)
    return np.asarray((busy_s + prior_s * usual) / (signed_in_s + prior_s), np.float64)


def recent(came_s: Floats, now: float) -> int:
    """From which of the contacts (by arrival) on prices are formed: a quiet hour has its own, as soon as it has contacts
    enough."""
    old = int(np.searchsorted(came_s, now - RECENT_S))
    return min(old, max(len(came_s) - FIRST_PRICES, 0))


def sample(agents: int, most: int = SAMPLE) -> int:
    """Contacts that prices are formed on: fewer say as much where there are more agents to choose from."""
    return min(most, max(PAIRS_PRICED // max(agents, 1), 40))


def means(values: Floats, may: Flags) -> Floats:
    """The mean (c,) of each contact over the agents who may serve it."""
    return np.asarray(np.where(may, values, 0.0).sum(axis=1) / np.maximum(may.sum(axis=1), 1))


def market(
    p: Floats,
    h: Floats,
    may: Flags,
    value: Floats,
    places: Floats,
    seconds: float,
    *,
    slopes: tuple[float, float] = (1.0, 1.0),
    smoothing: float = SMOOTHING,
    start: Floats | None = None,
) -> Floats:
    """What a second of each agent's place is worth (n,), by contacts (c,) that came within `seconds`, each of a value.

    p, h, may (c, n): as they are predicted, and who may serve whom; slopes: of success and of handle time (`reliance`).
    places (n,): of who is signed in, 0 for the others. start: the prices before.
    """
    h_mean, p_mean = means(h, may), means(p, may)
    worth = relied(np.where(may, p, -np.inf), p_mean[:, None], slopes[0]) * value[:, None]
    time_s = capacity_s(places, max(seconds, 1.0))
    takes = relied(h, h_mean[:, None], slopes[1])
    if start is not None and not start.any():
        start = None
    return agent_prices(worth, takes, np.ones(len(p)), time_s, smoothing=smoothing, start=start).agent
