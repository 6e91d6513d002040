"""The pick: which agent for this contact, which contact for this agent, and who with whom when both queue.

One index orders every pair, in points of success:

    index = weight * p  -  price_agent * h  -  price_contact  -  fairness  +  other

p the pair's predicted success, h its expected handle time, price_agent what a second of the agent's time is worth
(`routing.pick.prices`), price_contact what the contact brings to the agent that suits it best, so that an agent who becomes
free takes the contact it suits best and not the one that would do well with anybody. Equal indexes go to the agent who
is idle longest and to the contact that waits longest: a model that knows nothing is first come, longest idle.

Pure and deterministic: a draw for exploration is given by the caller and stands in the result. The simulator and the
live system run these functions. What the age guard of a queue allows is computed in `routing.firstcome`.
"""

from __future__ import annotations

from typing import Final, NamedTuple

import msgspec
import numpy as np
from numpy.typing import NDArray

from firstring.errors import BadInput

Floats = NDArray[np.float64]
Positions = NDArray[np.intp]

KEPT: Final = 8
"""Alternatives that a pick orders and keeps, unless told otherwise."""
BATCH_CONTACTS: Final = 500
BATCH_AGENTS: Final = 5_000
"""What one batch looks at. More wait for the next: an assignment of 500 x 5,000 takes up to .2 s."""


class PickSettings(msgspec.Struct, frozen=True, kw_only=True):
    """How a pick weighs what is not success. Points are points of predicted success (0..1)."""

    fairness: float = 1.0
    """Points for each unit of occupancy by which an agent is above or below the mean, past the band."""
    fairness_band: float = 0.0
    """Occupancy around the mean in which nothing is charged (a share, 0..1)."""
    guard_s: float = 30.0
    """How much longer than under first come a contact may wait, by its place in the queue."""
    guard_caution: float = 0.7
    """The guard counts on agents becoming free this many times more slowly than they do: what bounds the places."""
    late: float = 1.0
    """Points charged for each contact that is to be expected beyond the guard."""
    hold_s: float = 0.0
    """How long a contact may be held for a better agent although an eligible one is idle. 0: never."""
    hold_gain: float = 0.03
    """Points that waiting must promise before a contact is held."""
    same: float = 0.002
    """Points to which indexes are rounded before they are compared: what differs less is decided by who waits longer."""
    explore: float = 0.0
    """Share of picks that are drawn evenly from the best `explore_among` instead of taking the best."""
    explore_among: int = 3
    explore_within: float = 0.1
    """Only alternatives that are at most so many points behind the best are drawn."""

    def __post_init__(self) -> None:
        for name, low, high in _RANGES:
            value = getattr(self, name)
            if not low <= value <= high:
                raise BadInput(
                    "number_out_of_range",
                    f"A number from {low:g} to {high:g} was expected",
                    where={"field": f"pick.{name}"},
                )


_RANGES: Final = (
    ("fairness", 0.0, 100.0),
    ("fairness_band", 0.0, 1.0),
    ("guard_s", 0.0, 86_400.0),
    ("guard_caution", 0.1, 10.0),
    ("late", 0.0, 100.0),
    ("hold_s", 0.0, 600.0),
    ("hold_gain", 0.0, 10.0),
    ("same", 0.0, 1.0),
    ("explore", 0.0, 1.0),
    ("explore_among", 1, 100),
    ("explore_within", 0.0, 10.0),
)
DEFAULT: Final = PickSettings()
HOLDING: Final = PickSettings(hold_s=15.0)
"""With holds of up to 15 s, which is what brings most beyond the index; whoever uses it has to ask again in time."""


class Terms(NamedTuple):
    """What the index is made of; each (n,), in points; the index is their sum."""

    success: Floats
    time: Floats
    contact: Floats
    fairness: Floats
    other: Floats


class Pick(NamedTuple):
    """A choice among n candidates (agents for a contact, or contacts for an agent).

    chosen: position of the one taken, -1 where there is none or the contact is held. order: the best candidates, best
    first, the chosen one not necessarily first (guard, exploration). scores (n,): the index, -inf where not eligible.
    propensity: probability with which this choice was taken, given the settings. why: "best", "guard", "explored",
    "held", "nobody". reserve: what holding was expected to bring (nan where it was not asked).
    """

    chosen: int
    order: Positions
    scores: Floats
    terms: Terms
    h: Floats
    price: Floats
    weight: Floats | float
    propensity: float
    why: str
    reserve: float
    settings: PickSettings


class Change(NamedTuple):
    """One change that alone would make another candidate win: what, from which value to which, and its relative size."""

    what: str
    """success, handle_s, price, occupancy."""
    now: float
    needed: float
    size: float
    """|needed - now| as a share of now (of 1 for probabilities and occupancies): the smallest is the nearest."""


def pick(
    p: Floats,
    h: Floats,
    *,
    price: Floats,
    occupancy: Floats | None = None,
    occupancy_mean: float | None = None,
    idle_s: Floats | None = None,
    weight: float = 1.0,
    contact_price: float = 0.0,
    other: Floats | None = None,
    reserve: float | None = None,
    draw: float | None = None,
    keep: int = KEPT,
    settings: PickSettings = DEFAULT,
) -> Pick:
    """The agent for one contact, out of n that have a place free.

    p (n,): success 0..1 with each agent, -inf where not eligible. h (n,): expected handle time in seconds.
    price (n,): of a second of each agent's time. occupancy (n,): share of signed-in time that was busy; the mean that
    it is compared with may be that of more agents than are free. idle_s (n,): breaks ties. weight: worth of the
    contact (1 for most). other (n,): points added by rules (a preferred agent, continuity). reserve: the index that
    waiting promises (`reservation`); None where the contact may not be held. draw: uniform in [0, 1), for exploration.
    """
    price = np.asarray(price, np.float64)
    terms = _terms(p, h, price, weight, contact_price, _unfair(occupancy, occupancy_mean, len(p), settings), other)
    index = _total(p, terms)
    order = _best(index, idle_s, keep, settings.same)
    chosen, propensity, why = _chosen(index, order, draw, settings)
    if chosen >= 0 and reserve is not None and settings.hold_s > 0.0 and reserve - index[order[0]] >= settings.hold_gain:
        # Holding is not drawn: whoever explores, explores among agents.
        chosen, propensity, why = -1, 1.0, "held"
    waiting = np.nan if reserve is None else reserve
    return Pick(chosen, order, index, terms, np.asarray(h), price, weight, propensity, why, waiting, settings)


def next_contact(
    p: Floats,
    h: Floats,
    *,
    price: float,
    contact_price: Floats,
    waited_s: Floats,
    weight: Floats | float = 1.0,
    other: Floats | None = None,
    must: int = -1,
    within: NDArray[np.bool_] | None = None,
    draw: float | None = None,
    keep: int = KEPT,
    settings: PickSettings = DEFAULT,
) -> Pick:
    """The contact for one agent who became free, out of m that wait.

    p (m,): success with this agent, -inf where not eligible. contact_price (m,): `Prices.contact`. waited_s (m,) breaks
    ties. must: position of the contact that the age guard demands (`firstcome.must_serve`), or -1; it is taken whatever
    its index, if this agent may serve it. within (m,): the contacts near enough to the head of the queue to be chosen.
    """
    weights = np.broadcast_to(np.asarray(weight, np.float64), (len(p),))
    prices = np.full(len(p), float(price))
    terms = _terms(p, h, prices, weights, contact_price, None, other)
    index = _total(p, terms)
    is_forced = 0 <= must < len(p) and p[must] > -np.inf
    if within is not None:
        near = within | (np.arange(len(p)) == must) if is_forced else within
        index = np.where(near, index, -np.inf)
    if is_forced:
        order = _best(index, waited_s, keep, settings.same)
        if must not in order:
            order = np.append(order[: keep - 1], must)
        return Pick(must, order, index, terms, np.asarray(h), prices, weights, 1.0, "guard", np.nan, settings)
    order = _best(index, waited_s, keep, settings.same)
    chosen, propensity, why = _chosen(index, order, draw, settings)
    return Pick(chosen, order, index, terms, np.asarray(h), prices, weights, propensity, why, np.nan, settings)


def batch(index: Floats, *, first: Positions | None = None) -> list[tuple[int, int]]:
    """Who with whom when several contacts and several agents wait: as many pairs as possible, and of those the best sum.

    index (m, n): -inf where not eligible. At most BATCH_CONTACTS rows (those in `first`, else the first ones) and
    BATCH_AGENTS columns (those with the best index for any of them) are looked at. (row, column) pairs, rows ascending.
    """
    from scipy.optimize import linear_sum_assignment

    rows = np.arange(min(len(index), BATCH_CONTACTS)) if first is None else np.asarray(first)[:BATCH_CONTACTS]
    part = index[rows]
    columns = np.flatnonzero((part > -np.inf).any(axis=0)) if part.size else np.zeros(0, np.intp)
    if not len(columns):
        return []
    part = part[:, columns]
    if len(columns) > BATCH_AGENTS:
        # Each row's best len(rows) agents hold an optimal assignment; beyond the limit the best of those are kept.
        best = np.argpartition(-part.max(axis=0), BATCH_AGENTS)[:BATCH_AGENTS]
        best.sort()
        columns, part = columns[best], part[:, best]
    fits = part > -np.inf
    low, high = float(part[fits].min()), float(part[fits].max())
    # A pair more is worth more than any difference of the others: nobody idle is left beside somebody who waits.
    more = (high - low + 1.0) * (min(part.shape) + 1)
    chosen = linear_sum_assignment(np.where(fits, part - low + more, 0.0), maximize=True)
    return [(int(rows[r]), int(columns[c])) for r, c in zip(*chosen, strict=True) if fits[r, c]]


def pair_index(
    p: Floats, h: Floats, *, price: Floats, contact_price: Floats, weight: Floats | float = 1.0, unfair: Floats | None = None
) -> Floats:
    """The index of m contacts x n agents, for `batch`."""
    worth = np.broadcast_to(np.asarray(weight, np.float64), (len(p),))[:, None]
    index = worth * p - price * h - np.asarray(contact_price)[:, None]
    return np.asarray(index if unfair is None else index - unfair)


def unfairness(occupancy: Floats, occupancy_mean: float, settings: PickSettings = DEFAULT) -> Floats:
    """Points charged to each agent for work above the mean, and given for work below it; none inside the band."""
    off = np.asarray(occupancy, np.float64) - occupancy_mean
    return np.asarray(settings.fairness * (off - np.clip(off, -settings.fairness_band, settings.fairness_band)))


def reservation(
    index_busy: Floats,
    free_per_s: Floats,
    *,
    best_now: float,
    lost: float,
    patience_s: float,
    idle_price: float = 0.0,
    free_every_s: float = 0.0,
    settings: PickSettings = DEFAULT,
) -> float:
    """The index that a contact may expect if it waits a little for somebody better: optimal stopping.

    index_busy (b,): the contact's index with agents who are busy; free_per_s (b,): the rate at which each becomes free
    for it (one over the remaining handle time, less what others in the queue will take). best_now: index with the best
    idle agent, taken when the hold runs out. lost: index of a contact that hangs up. idle_price: of a second of the
    agent who is idle meanwhile, and is so until another contact comes, one each `free_every_s` in a centre that is in
    balance: of a small centre a hold takes a good part of its work, of a large one hardly any. The hold ends at rate
    1/hold_s, patience at 1/patience_s, so for the set B of agents worth waiting for

        r = (sum_B rate v + best_now/hold_s + lost/patience_s - idle) / (sum_B rate + 1/hold_s + 1/patience_s)
        idle = idle_price free_every_s / (free_every_s + hold_s)

    and the best B is the agents above r: the maximum over prefixes of the agents by index.
    """
    if settings.hold_s <= 0.0:
        return best_now
    ends, leaves = 1.0 / settings.hold_s, 1.0 / max(patience_s, 1e-6)
    idle = max(idle_price, 0.0) * free_every_s / (free_every_s + settings.hold_s)
    usable = (free_per_s > 0.0) & (index_busy > -np.inf)
    order = np.argsort(-index_busy[usable])
    value, rate = index_busy[usable][order], free_per_s[usable][order]
    gained = np.concatenate([[0.0], np.cumsum(value * rate)]) + best_now * ends + lost * leaves - idle
    return float(np.max(gained / (np.concatenate([[0.0], np.cumsum(rate)]) + ends + leaves)))


def flip(made: Pick, rival: int, against: int | None = None) -> tuple[Change, ...]:
    """The changes, each alone, by which candidate `rival` would have had the same index as the one chosen; nearest first.

    Empty where the rival was not eligible, or nothing alone would do. `against`: compared with another candidate.
    """
    winner = made.chosen if against is None else against
    if winner < 0 or rival == winner or not np.isfinite(made.scores[rival]):
        return ()
    gap = float(made.scores[winner] - made.scores[rival])
    if not np.isfinite(gap) or gap <= 0.0:
        return ()
    changes: list[Change] = []
    weight = (
        made.weight if isinstance(made.weight, float) else float(np.broadcast_to(made.weight, len(made.h))[rival])
    ) or 1.0
    p, h, price = float(made.terms.success[rival]) / weight, float(made.h[rival]), float(made.price[rival])
    if p + gap / weight <= 1.0:
        changes.append(Change("success", p, p + gap / weight, gap / weight))
    if price > 0.0 and h - gap / price > 0.0:
        changes.append(Change("handle_s", h, h - gap / price, gap / price / h))
    if h > 0.0 and price != 0.0:
        changes.append(Change("price", price, price - gap / h, gap / h / abs(price)))
    unfair = -float(made.terms.fairness[rival])
    if unfair > 0.0 and gap <= unfair and made.settings.fairness > 0.0:
        changes.append(Change("occupancy", unfair, unfair - gap, gap / made.settings.fairness))
    return tuple(sorted(changes, key=lambda change: change.size))


def propensities(made: Pick) -> Floats:
    """Probability with which each candidate in `made.order` would have been taken; they sum to 1 where one is taken."""
    given = np.zeros(len(made.order))
    if made.chosen < 0 or not len(given):
        return given
    if made.why == "guard":
        given[made.order == made.chosen] = 1.0
        return given
    drawn = _drawn(made.scores, made.order, made.settings)
    given[:drawn] = made.settings.explore / drawn
    given[0] += 1.0 - made.settings.explore
    return given


def _terms(
    p: Floats,
    h: Floats,
    price: Floats,
    weight: Floats | float,
    contact_price: Floats | float,
    unfair: Floats | None,
    other: Floats | None,
) -> Terms:
    count = len(p)
    nothing = np.zeros(count)
    success = weight * np.where(p > -np.inf, p, 0.0)
    paid = np.broadcast_to(np.asarray(contact_price, np.float64), (count,))
    return Terms(success, -price * h, -paid, nothing if unfair is None else -unfair, nothing if other is None else other)


def _total(p: Floats, terms: Terms) -> Floats:
    total = terms.success + terms.time + terms.contact + terms.fairness + terms.other
    return np.where(p > -np.inf, total, -np.inf)


def _unfair(occupancy: Floats | None, occupancy_mean: float | None, count: int, settings: PickSettings) -> Floats | None:
    if occupancy is None or not count or settings.fairness == 0.0:
        return None
    return unfairness(occupancy, float(np.mean(occupancy)) if occupancy_mean is None else occupancy_mean, settings)


def _best(index: Floats, tie: Floats | None, keep: int, same: float) -> Positions:
    """Positions of the best `keep` finite ones: by rounded index, then by `tie` (greater first), then by position."""
    count = len(index)
    if same > 0.0:
        index = np.round(index / same)
    if count > 4 * keep:
        floor = np.partition(index, count - keep)[count - keep]
        # All that equal the last one stay in: which of them is kept is for the tie-break to say.
        near = np.flatnonzero(index >= floor) if floor > -np.inf else np.flatnonzero(index > -np.inf)
    else:
        near = np.flatnonzero(index > -np.inf)
    if len(near) > 1:
        by_tie = -tie[near] if tie is not None else near
        near = near[np.lexsort((near, by_tie, -index[near]))]
    return near[:keep]


def _drawn(index: Floats, order: Positions, settings: PickSettings) -> int:
    """How many of the best take part in a draw."""
    near = index[order[: settings.explore_among]] >= index[order[0]] - settings.explore_within
    return max(1, int(np.count_nonzero(near)))


def _chosen(index: Floats, order: Positions, draw: float | None, settings: PickSettings) -> tuple[int, float, str]:
    """Position, propensity, why."""
    if not len(order):
        return -1, 1.0, "nobody"
    if settings.explore <= 0.0 or draw is None:
        return int(order[0]), 1.0, "best"
    drawn = _drawn(index, order, settings)
    share = settings.explore / drawn
    place = min(int(draw / settings.explore * drawn), drawn - 1) if draw < settings.explore else 0
    why = "explored" if place else "best"
    return int(order[place]), share + (1.0 - settings.explore if place == 0 else 0.0), why
