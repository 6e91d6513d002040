"""Who fits, at work: predictions, prices and fairness joined into the order in which a contact's agents are tried.

Without a fitted model none of this is asked, and the order is that of `routing.pick.assign` alone: first come, longest idle.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from functools import lru_cache
from typing import Final, NamedTuple

import msgspec
import numpy as np
from numpy.typing import NDArray

from firstring.contact import Assurance, Contact, Decision, Journey, Reason, Resolution, TouchRead, Value
from firstring.routing.declared.policy import RoutingPolicy
from firstring.routing.fit.asked import Asked, asked_of
from firstring.routing.fit.model import FitModel
from firstring.routing.fit.predict import Fits, fits
from firstring.routing.fit.side import AgentsSide, joined
from firstring.routing.may.history import served_by
from firstring.routing.pick.choose import HOLDING, Change, Pick, PickSettings, flip
from firstring.routing.pick.reliance import relied
from firstring.routing.pick.step import PATIENCE_PRIOR_S, Busy, arrival, free_every_s, rates
from firstring.routing.trial.recognise import shown

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]

SPARED_POINTS: Final = 10.0
"""What a class further back costs (an agent of another team, one who is not preferred): more than any success is worth."""
DIGITS: Final = 9
USUAL_S: Final = 240.0
"""Seconds that a contact takes where nothing is known of it."""


class PriceList(Value, frozen=True, omit_defaults=True):
    """What the elected task found for a tenant. By agent, ascending: the price of a second of theirs (success per second),
    the share of the time signed in that was busy, seconds that a contact usually takes."""

    agents: tuple[int, ...] = ()
    price: tuple[float, ...] = ()
    occupancy: tuple[float, ...] = ()
    usual_s: tuple[float, ...] = ()
    shares: dict[str, tuple[float, ...]] = msgspec.field(default_factory=dict)
    """Channel -> how many of an agent's smallest places a contact takes, of channels where that is not 1 for all: who may
    have three chats or one call is taken by a call for three. The price is that of a smallest place."""
    slopes: tuple[float, float] = (1.0, 1.0)
    """How far the model's differences between agents are relied on: of success, of handle time (`routing.reliance`)."""
    patience_s: dict[str, float] = msgspec.field(default_factory=dict)
    """Channel -> mean patience of those who wait."""
    hard: tuple[tuple[int, int], ...] = ()
    """(agent, hard contacts of the last hour), of the agents who had any."""
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
        count = len(prices.agents)
        self._agents = np.array(prices.agents, np.int64)
        # One column for each figure, and a last entry for whoever is not listed: the mean.
        self._price = _with_mean(prices.price, count, 0.0)
        self._occupancy = _with_mean(prices.occupancy, count, 0.0)
        self._usual_s = _with_mean(prices.usual_s, count, USUAL_S)
        self._hard = np.zeros(count + 1)
        for agent, contacts in prices.hard:
            self._hard[np.searchsorted(self._agents, agent)] = contacts
        self.occupancy_mean = float(self._occupancy[-1])
        self._shares = {channel: _with_mean(shares, count, 1.0, 1.0) for channel, shares in prices.shares.items()}

    def _rows(self, ids: Integers) -> Integers:
        agents = self._agents
        if not len(agents):
            return np.full(len(ids), -1)
        places = np.searchsorted(agents, ids)
        places[places == len(agents)] = 0
        return np.where(agents[places] == ids, places, -1)

    def of(self, ids: Integers, channel: str = "") -> tuple[Floats, Floats]:
        """(price of a second of a contact on this channel, occupancy) of agents; who is not listed has the mean."""
        return self.figures(ids, channel)[:2]

    def figures(self, ids: Integers, channel: str) -> tuple[Floats, Floats, Floats]:
        """As `of`, with the seconds that a contact usually takes each."""
        rows = self._rows(ids)
        shares = self._shares.get(channel)
        price = self._price[rows]
        return (price if shares is None else price * shares[rows]), self._occupancy[rows], self._usual_s[rows]

    def usual_s(self, ids: Integers) -> Floats:
        """Seconds that a contact usually takes each of these agents."""
        found: Floats = self._usual_s[self._rows(ids)]
        return found

    def hard(self, ids: Integers) -> Floats:
        """Hard contacts of the last hour of each of these agents."""
        found: Floats = self._hard[self._rows(ids)] if self.prices.hard else np.zeros(len(ids))
        return found

    def patience_s(self, channel: str) -> float:
        """Mean patience of those who wait on a channel."""
        return self.prices.patience_s.get(channel, PATIENCE_PRIOR_S)


def _with_mean(values: Sequence[float], count: int, otherwise: float, unlisted: float | None = None) -> Floats:
    """A column of `count` with one entry more: its mean, or `unlisted`."""
    column = np.array(values if len(values) == count else [otherwise] * count, np.float64)
    last = unlisted if unlisted is not None else float(column.mean()) if count else otherwise
    return np.append(column, last)


NO_PRICES: Final = Live(PriceList())


class Around(NamedTuple):
    """The agents (b,) beside those who are free: who may serve the contact and are busy, with how many contacts each has, in
    which class, at which level in the contact's language, who wants it; and how many wait."""

    ids: Integers
    taken: Integers
    in_class: Integers
    level: NDArray[np.int8] | None
    wish: NDArray[np.int8] | None
    waiting: int


class Means(NamedTuple):
    """What is expected of a contact on average over the agents who are there and may serve it."""

    success: float
    handle_s: float


class Matching(NamedTuple):
    """All that the pick for one contact needs beside the agents. weight: what its success is worth (1 for most). draw:
    uniform in [0, 1), the contact's own, for exploration; None: nothing is left to chance."""

    fit: FitModel
    live: Live
    asked: Asked
    weight: float = 1.0
    draw: float | None = None
    settings: PickSettings = HOLDING


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
    return Matching(fit, live, asked, weight, draw, settings_of(policy))


def settings_of(policy: RoutingPolicy) -> PickSettings:
    """The pick's settings out of the policy's; what a policy does not say is as the simulator runs it."""
    return _settings(policy.fairness, policy.guard_s, policy.hold_s, policy.explore)


@lru_cache(maxsize=64)
def _settings(fairness: float, guard_s: float, hold_s: float, explore: float) -> PickSettings:
    return msgspec.structs.replace(HOLDING, fairness=fairness, guard_s=guard_s, hold_s=hold_s, explore=explore)


def matching_in(
    decision: Decision, *, policy: RoutingPolicy, fit: FitModel, live: Live, key: bytes = b""
) -> Matching | None:
    """As `matching_of`, out of a stored decision, as far as what it knows is made known."""
    derived = shown(decision).derived
    return matching_of(
        decision.contact,
        derived.resolution,
        derived.assurances,
        derived.journeys,
        () if derived.recognition == "withheld" else decision.read.touches,
        intent=decision.evidence.intent,
        policy=policy,
        fit=fit,
        live=live,
        key=key,
    )


class Matched(NamedTuple):
    """A pick over n eligible agents, with what the model expects of each (of those who are busy too, behind them), and on
    average."""

    made: Pick
    fits: Fits
    means: Means
    side: AgentsSide

    @property
    def order(self) -> list[int]:
        """Positions in the order in which they are tried: the chosen one, then the others, best first. Of a contact that is
        held, in which they would have been."""
        chosen = self.made.chosen
        if self.made.why == "held":
            return [int(place) for place in self.made.order]
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
        text = self.side.said(place)
        if text:
            found.append(Reason("agents_side", text))
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
    around: Around | None = None,
    hold_s: float = 0.0,
) -> Matched:
    """The pick among eligible agents (n,). in_class: who goes before whom whatever fits (0 first). level: of each in the
    contact's language; wish: 1 who wants or learns what the contact needs, 0 who does not. around: those who are busy; for
    one of them the contact may be held, for `hold_s` at most."""
    live, channel, count = matching.live, matching.asked.channel, len(ids)
    if around is not None:
        ids = np.concatenate((ids, around.ids))
        level, wish = _joined(level, around.level), _joined(wish, around.wish)
    price, occupancy, usual_s = live.figures(ids, channel)
    expected, means, p, h, side = believed(matching, ids, level, wish)
    classes = (in_class - in_class.min()).astype(np.float64)
    free_every, busy = 0.0, None
    if around is not None and hold_s > 0.0:
        usual_s = usual_s[count:]
        free_every = free_every_s(around.taken, usual_s)
        # Nobody is waited for because of the class: how long a team comes first is said by the contact's own steps.
        behind = -SPARED_POINTS * np.maximum(around.in_class - in_class.min(), 0)
        rate = rates(around.taken, usual_s, around.waiting)
        busy = Busy(p[count:], h[count:], price[count:], occupancy[count:], rate, behind)
    settings = matching.settings
    if busy is not None and hold_s != settings.hold_s:
        settings = msgspec.structs.replace(settings, hold_s=hold_s)
    made = arrival(
        p[:count],
        h[:count],
        price=price[:count],
        occupancy=occupancy[:count],
        occupancy_mean=float(occupancy.mean()) if len(ids) else 0.0,
        idle_s=idle_s,
        weight=matching.weight,
        other=-SPARED_POINTS * classes,
        busy=busy,
        patience_s=live.patience_s(channel),
        free_every_s=free_every,
        draw=matching.draw,
        keep=keep,
        settings=settings,
    )
    return Matched(made, expected, means, side)


def believed(
    matching: Matching,
    ids: Integers,
    level: NDArray[np.int8] | None = None,
    wish: NDArray[np.int8] | None = None,
    *,
    means: Means | None = None,
) -> tuple[Fits, Means, Floats, Floats, AgentsSide]:
    """(what the model says, the mean, success and handle time (n,) as they are relied on, the agents' side). means: of the
    contact, where they are known; else over these agents."""
    model, slopes = matching.fit, matching.live.prices.slopes
    expected = fits(model, matching.asked, ids, language=level)
    if means is None:
        means = means_of(expected)
    p = relied(expected.success, means.success, slopes[0])
    side = side_of(matching, ids, wish)
    if not side.neutral:
        p = joined(p, side.chances(model.mean_success), model.mean_success)
    return expected, means, p, relied(expected.handle_s, means.handle_s, slopes[1]), side


def side_of(matching: Matching, ids: Integers, wish: NDArray[np.int8] | None) -> AgentsSide:
    """The agents' own side. How busy they are counts once: by fairness, where that counts."""
    live, load, usual = matching.live, None, 0.0
    if matching.settings.fairness == 0.0 and live.prices.agents:
        load, usual = live.of(ids)[1], live.occupancy_mean
    return AgentsSide(np.zeros(len(ids)) if wish is None else wish.astype(np.float64), load, usual, live.hard(ids))


def means_of(expected: Fits) -> Means:
    """The mean over the agents of a prediction."""
    if not len(expected.success):
        return Means(0.0, USUAL_S)
    return Means(float(expected.success.mean()), float(expected.handle_s.mean()))


def _joined(first: NDArray[np.int8] | None, second: NDArray[np.int8] | None) -> NDArray[np.int8] | None:
    return None if first is None or second is None else np.concatenate((first, second))


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
