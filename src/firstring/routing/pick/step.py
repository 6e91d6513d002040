"""The steps of a contact centre that picks by index: somebody comes, somebody becomes free, somebody was taken, prices move.

The simulator and the live line both go by these, each with what it knows: arrays here, tables there. So what the simulator
measures is what runs. Pure; times in seconds, success in points (0..1).
"""

from __future__ import annotations

import math
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from firstring.routing.pick import firstcome
from firstring.routing.pick.choose import HOLDING, KEPT, Pick, PickSettings, next_contact, pick, reservation, unfairness
from firstring.routing.pick.prices import agent_prices, capacity_s, standing
from firstring.routing.pick.reliance import relied

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
WINDOW: Final = 2
"""Contacts near the head that may be chosen, as a multiple of how many may be due at a time."""
PATIENCE_PRIOR_S: Final = 400.0
IDLE_COUNTS: Final = 2.0
"""What a second counts, in prices, in which an agent is idle beside a contact that is held: prices are those of a mean
moment."""


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
    free_every_s: float = 0.0,
    draw: float | None = None,
    keep: int = KEPT,
    settings: PickSettings = HOLDING,
) -> Pick:
    """The pick among the agents (n,) who are idle, for a contact that comes. occupancy_mean: of all who are signed in and
    may serve it. busy: where it may be held for one of them; the hold lasts `settings.hold_s` at most. free_every_s: how
    often one of them becomes free. A contact is held for success, not for fairness: those who are busy are as fair as the
    best who is idle."""
    reserve = None
    if busy is not None and may_hold(free_every_s, settings) and len(p):
        unfair = unfairness(occupancy, occupancy_mean, settings)
        now = weight * p - price * h - unfair
        if other is not None:
            now = now + other
        best = int(now.argmax())
        reserve = reservation(
            weight * busy.p - busy.price * busy.h - unfair[best] + busy.other,
            busy.rate,
            best_now=float(now[best]),
            lost=0.0,
            patience_s=patience_s,
            idle_price=IDLE_COUNTS * float(price[best]),
            free_every_s=free_every_s,
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
    free_every_s: Floats | float,
    turn: int = -1,
    other: Floats | None = None,
    draw: float | None = None,
    settings: PickSettings = HOLDING,
) -> Pick:
    """The pick among the contacts (m,) near the head of an agent's line (`line_size`), by their place in it.

    contact_price: what each may count on (`stands`). due_at: since when each is due (`after_taken`), nan: not yet. reserve:
    what holding was to bring, -inf for who is not held: whoever is held waits for somebody as good as that. free_every_s:
    how often an agent becomes free who may serve it, of each (m,) or of all. turn: `firstcome.whose_turn`.
    """
    must = firstcome.must_serve(
        due_at,
        now,
        free_every_s=free_every_s,
        guard_s=settings.guard_s,
        caution=settings.guard_caution,
        turn=turn,
    )
    late = firstcome.lateness(due_at, now, free_every_s=free_every_s, guard_s=settings.guard_s, turn=turn)
    charged = -settings.late * (late - late.min(initial=np.inf))
    other = charged if other is None else other + charged
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


def may_hold(free_every_s: float, settings: PickSettings) -> bool:
    """Whether there is time left for another agent, should the one who is idle be taken by somebody else meanwhile."""
    return settings.hold_s > 0.0 and settings.hold_s + settings.guard_caution * free_every_s <= settings.guard_s


def line_size(free_every_s: float, settings: PickSettings, window: int = WINDOW) -> int:
    """How many contacts near the head of an agent's line may be chosen."""
    return window * firstcome.places(free_every_s, settings.guard_s, settings.guard_caution) + 2


def free_every_s(taken: Integers, usual_s: Floats) -> float:
    """Mean time between two agents becoming free. taken: contacts that each has; usual_s: its usual handle time."""
    return 1.0 / max(float((taken / usual_s).sum()), 1e-9)


def rates(taken: Integers, usual_s: Floats, waiting: int) -> Floats:
    """How often each agent becomes free for one contact: those who wait take it as likely."""
    return np.asarray(taken / usual_s / (1 + waiting), np.float64)


class Taken(NamedTuple):
    """What first come would have done with an agent who was given a contact. due: position of the waiting contact that it
    would have served, due from now on, -1: none. ghost: position of the ghost that it would have served, -1: none. is_ghost:
    the contact that was taken would still wait, and is a ghost from now on."""

    due: int
    ghost: int
    is_ghost: bool


def after_taken(since: Floats, due_at: Floats, ghosts: Floats, *, taken_since: float, was_due: bool) -> Taken:
    """since, due_at (m,): of the contacts left in the line whom the agent might have taken; ghosts (g,): `since` of the
    ghosts whom it might. taken_since: of the contact that it took; was_due: whether that one was due."""
    place = firstcome.whose_turn(since, due_at, ghosts)
    ghost = int(ghosts.argmin()) if place < 0 and len(ghosts) else -1
    first = since[place] if place >= 0 else ghosts[ghost] if ghost >= 0 else np.inf
    if not was_due and taken_since <= first:
        return Taken(-1, -1, False)
    return Taken(place, ghost, not was_due)


def ghost_until(now: float, patience_s: float, draw: float) -> float:
    """Until when a ghost is taken to wait: under first come it might have hung up by now, and others moved up. draw: uniform
    in [0, 1), the contact's own; patience is exponential."""
    return now - patience_s * math.log1p(-draw)


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
