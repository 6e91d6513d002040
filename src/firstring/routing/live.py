"""Who fits, at work: predictions, prices and fairness joined into the order in which a contact's agents are tried.

Without a fitted model none of this is asked, and the order is that of `routing.assign` alone: first come, longest idle.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from functools import cached_property, lru_cache
from typing import Final, NamedTuple

import msgspec
import numpy as np
from numpy.typing import NDArray

from firstring.contact import Assurance, Contact, Journey, Reason, Resolution, TouchRead, Value
from firstring.routing.fit.asked import Asked, asked_of
from firstring.routing.fit.model import FitModel
from firstring.routing.fit.predict import Fits, fits
from firstring.routing.fit.side import agent_side
from firstring.routing.history import served_by
from firstring.routing.pick import DEFAULT, Change, Pick, PickSettings, flip, pick
from firstring.routing.policy import RoutingPolicy

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]

SPARED_POINTS: Final = 10.0
"""What a class further back costs (an agent of another team, one who is not preferred): more than any success is worth."""
DIGITS: Final = 9


class PriceList(Value, frozen=True, omit_defaults=True):
    """What the elected task found for a tenant: by agent the price of a second (success per second) and the share of the
    last half hour that was busy; by reason for the contact, what one that is not taken now may count on. Agents
    ascend."""

    agents: tuple[int, ...] = ()
    price: tuple[float, ...] = ()
    occupancy: tuple[float, ...] = ()
    contact: dict[str, float] = msgspec.field(default_factory=dict)
    fit: str = ""
    """The version of the model that the prices were found with."""

    @property
    def version(self) -> str:
        """`prices-` and twelve hex digits of the SHA-256 of the content."""
        return "prices-" + hashlib.sha256(msgspec.json.encode(self, order="sorted")).hexdigest()[:12]


class Live:
    """A price list, ready to be asked. Immutable."""

    def __init__(self, prices: PriceList) -> None:
        self.prices = prices
        self.version = prices.version

    @cached_property
    def _columns(self) -> tuple[Integers, Floats, Floats]:
        prices = self.prices
        return np.array(prices.agents, np.int64), np.array(prices.price), np.array(prices.occupancy)

    @cached_property
    def occupancy_mean(self) -> float:
        return float(np.mean(self._columns[2])) if self.prices.agents else 0.0

    def of(self, ids: Integers) -> tuple[Floats, Floats]:
        """(price, occupancy) of agents; those who are not listed have the mean of both."""
        agents, price, occupancy = self._columns
        if not len(agents):
            return np.zeros(len(ids)), np.zeros(len(ids))
        places = np.searchsorted(agents, ids)
        places[places == len(agents)] = 0
        known = agents[places] == ids
        return (
            np.where(known, price[places], float(np.mean(price))),
            np.where(known, occupancy[places], self.occupancy_mean),
        )

    def of_contact(self, intent: str | None) -> float:
        """What a contact of this reason may count on if it is not taken now; the mean where it is not listed."""
        known = self.prices.contact
        return known.get(intent or "", sum(known.values()) / len(known) if known else 0.0)


NO_PRICES: Final = Live(PriceList())


class Matching(NamedTuple):
    """All that the pick for one contact needs beside the agents. weight: what its success is worth (1 for most). draw:
    uniform in [0, 1), the contact's own, for exploration; None: nothing is left to chance."""

    fit: FitModel
    live: Live
    asked: Asked
    weight: float = 1.0
    draw: float | None = None
    settings: PickSettings = DEFAULT


def matching_of(
    contact: Contact,
    resolution: Resolution,
    assurances: Sequence[Assurance],
    journeys: Sequence[Journey],
    touches: Sequence[TouchRead],
    *,
    intent: str | None,
    policy: RoutingPolicy,
    fit: FitModel,
    live: Live,
    key: bytes,
) -> Matching | None:
    """What the pick for a contact needs; None where nothing was learned, or the policy is first come. key: makes the draw
    one that nobody outside can foretell."""
    if policy.pick != "best" or fit.basis != "fitted":
        return None
    asked = asked_of(
        contact, resolution, assurances, journeys, intent=intent, served=served_by(touches), fields=policy.fit_fields
    )
    value = {name: rule.value for name, rule in policy.tiers.items() if rule.value != 1.0}
    weight = 1.0 + sum(one.probability * (value.get(one.tier, 1.0) - 1.0) for one in asked.persons) if value else 1.0
    draw = None
    if policy.explore > 0.0:
        draw = int.from_bytes(hashlib.blake2b(contact.contact_id.bytes, key=key, digest_size=7).digest()) / 2.0**56
    return Matching(fit, live, asked, weight, draw, settings_of(policy.fairness, policy.guard_s, policy.explore))


@lru_cache(maxsize=64)
def settings_of(fairness: float, guard_s: float, explore: float) -> PickSettings:
    """The pick's settings out of the policy's."""
    return PickSettings(fairness=fairness, guard_s=guard_s, explore=explore)


class Matched(NamedTuple):
    """A pick over n eligible agents, with what was expected of each."""

    made: Pick
    fits: Fits

    @property
    def order(self) -> list[int]:
        """Positions in the order in which they are tried: the chosen one, then the others, best first."""
        chosen = self.made.chosen
        return [chosen, *(place for place in self.made.order.tolist() if place != chosen)] if chosen >= 0 else []

    def reasons(self, place: int, first: int) -> tuple[Reason, ...]:
        """Why this position stands where it does; against `first`, the change that would put it there instead."""
        made, terms = self.made, self.made.terms
        found = [
            Reason(
                "success", f"Success is expected with {self.fits.success[place]:.0%}", weight=float(terms.success[place])
            ),
            Reason("handle_time", f"Takes {self.fits.handle_s[place]:.0f} s of their time", weight=float(terms.time[place])),
        ]
        if terms.fairness[place]:
            text = "Has had less work than others" if terms.fairness[place] > 0 else "Has had more work than others"
            found.append(Reason("fairness", text, weight=float(terms.fairness[place])))
        if place == made.chosen and made.why == "explored":
            found.append(Reason("explored", f"Drawn from the best, to learn (with {made.propensity:.0%})"))
        if place != first:
            changes = flip(made, place, against=first)
            if changes:
                found.append(Reason("would_be_first", _said(changes[0]), weight=changes[0].size, field=changes[0].what))
        return tuple(found)


def matched(
    matching: Matching,
    ids: Integers,
    *,
    idle_s: Floats,
    in_class: Integers,
    level: NDArray[np.int8] | None = None,
    wish: NDArray[np.int8] | None = None,
    keep: int,
) -> Matched:
    """The pick among eligible agents (n,). in_class: who goes before whom whatever fits (0 first). level: of each in the
    contact's language; wish: 1 who wants or learns what the contact needs, 0 who does not."""
    model, live = matching.fit, matching.live
    side = None
    if wish is not None and wish.any():
        side = agent_side(model.mean_success, len(ids), wish=wish.astype(np.float64))
    expected = fits(model, matching.asked, ids, language=level, side=side)
    price, occupancy = live.of(ids)
    made = pick(
        expected.mutual,
        expected.handle_s,
        price=price,
        occupancy=occupancy,
        occupancy_mean=live.occupancy_mean,
        idle_s=idle_s,
        weight=matching.weight,
        other=-SPARED_POINTS * (in_class - in_class.min()).astype(np.float64),
        draw=matching.draw,
        keep=keep,
        settings=matching.settings,
    )
    return Matched(made, expected)


def _said(change: Change) -> str:
    if change.what == "success":
        return f"With {change.needed:.0%} instead of {change.now:.0%} success it would have been first"
    if change.what == "handle_s":
        return f"With {change.needed:.0f} s instead of {change.now:.0f} s it would have been first"
    if change.what == "price":
        return f"At {change.needed:.6f} instead of {change.now:.6f} a second it would have been first"
    return "With less work before it would have been first"


def rounded(values: Sequence[float]) -> tuple[float, ...]:
    """As they stand in a price list: what is computed with is what is stored."""
    return tuple(float(f"{value:.{DIGITS}g}") for value in values)
