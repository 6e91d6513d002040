"""What is computed of a customer out of their events: how recent, how often, what worth, when and where they like to be met.

Every trait is a pure function of the set of touches and of the moment, and names the events it rests on. What came with a
public write key is never part of one: it shows in the journey, and is no fact. Touches may come unopened (without a name):
those count for when and where, and for nothing else.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from decimal import Decimal, InvalidOperation
from typing import Any, Final
from zoneinfo import ZoneInfo

import msgspec

from firstring import limits
from firstring.contact import TouchRead
from firstring.journey.names import WORDS_READ
from firstring.journey.reasons import EVENT_PRIORS
from firstring.journey.summary import plain

CHANNELS: Final = ("voice", "chat", "email", "web", "mobile", "messaging", "social")
"""Where a customer is met. What a system reports (backend) is nothing that they did."""
PREFERENCE_HALF_LIFE_S: Final = 180 * 86_400.0
"""Judgement: what somebody liked half a year ago counts half."""
HOURS_FROM_TOUCHES: Final = 5
"""Fewer visits and contacts say nothing of an hour."""
HOURS_SPREAD_H: Final = 1.5
"""How far an hour's visit speaks for the hours beside it."""
SOURCES_NAMED: Final = 10
_VISIT_GAP: Final = timedelta(milliseconds=limits.VISIT_GAP_MS)
_REFUNDS: Final = ("Order Refunded", "Refund Issued", "Refund Completed")
_OUT: Final = ("Email Sent", "Action Shown", "Action Ignored", "Action Failed", "Action Dismissed", "Action Accepted")
"""What was done to them, or with us."""
_MOST: Final = Decimal(10) ** 12


NAMES: Final = (
    "recency_s", "first_event_at", "visits_30d", "visits_365d", "orders", "value", "last_order_at", "last_intent",
    "preferred_channel", "preferred_hour",
)  # fmt: skip
"""The traits that there are."""


class Trait(msgspec.Struct, frozen=True):
    """A computed value. event_ids: what it rests on, the newest, at most SOURCES_NAMED. at: of the newest of them.

    value: seconds for recency_s; a count; {currency: sum} for value; a text for the rest.
    """

    name: str
    value: Any
    event_ids: tuple[int, ...] = ()
    at: datetime | None = None


class Traits(msgspec.Struct, frozen=True):
    """All traits that can be told; what cannot is left out."""

    traits: tuple[Trait, ...] = ()

    def value(self, name: str) -> Any:
        """The value of a trait, or None."""
        return next((one.value for one in self.traits if one.name == name), None)

    def as_dict(self) -> dict[str, Any]:
        """Name -> value."""
        return {one.name: one.value for one in self.traits}


def traits_of(touches: Iterable[TouchRead], now: datetime, *, zone: ZoneInfo | None = None) -> Traits:
    """The traits of the person whose touches these are. zone: theirs, where it is known; else there is no hour."""
    once = {touch.event_id: touch for touch in touches if not touch.claimed and touch.name != WORDS_READ}
    own = sorted(once.values(), key=lambda touch: (touch.occurred_at, touch.event_id))
    met = [touch for touch in own if touch.channel in CHANNELS and touch.name not in _OUT]
    found = [_recency(met, now), _first(own), *_frequency(met, now), *_worth(own), _intent(own), _channel(met, now)]
    if zone is not None:
        found.append(_hour(met, now, zone))
    return Traits(tuple(one for one in found if one is not None))


def _trait(name: str, value: Any, events: Sequence[TouchRead]) -> Trait:
    newest = events[: -SOURCES_NAMED - 1 : -1]
    return Trait(name, value, tuple(one.event_id for one in newest), newest[0].occurred_at if newest else None)


def _recency(met: Sequence[TouchRead], now: datetime) -> Trait | None:
    if not met:
        return None
    return _trait("recency_s", max(0.0, (now - met[-1].occurred_at).total_seconds()), met[-1:])


def _first(own: Sequence[TouchRead]) -> Trait | None:
    return _trait("first_event_at", own[0].occurred_at.isoformat(), own[:1]) if own else None


def _frequency(met: Sequence[TouchRead], now: datetime) -> list[Trait]:
    """Visits and contacts: touches of one channel without a longer pause are one."""
    begun: list[TouchRead] = []
    last: dict[str, datetime] = {}
    for touch in met:
        if touch.channel not in last or touch.occurred_at - last[touch.channel] > _VISIT_GAP:
            begun.append(touch)
        last[touch.channel] = touch.occurred_at
    if not begun:
        return []
    found = []
    for days in (30, 365):
        within = [touch for touch in begun if now - timedelta(days=days) < touch.occurred_at <= now + _VISIT_GAP]
        found.append(_trait(f"visits_{days}d", len(within), within))
    return found


def _worth(own: Sequence[TouchRead]) -> list[Trait]:
    """Orders less what was paid back, by currency. An order counts once, by its newest event; what is paid back of it, under
    whatever names, never more than it cost. A cancelled order is worth nothing."""
    orders: dict[str, TouchRead] = {}
    back: dict[str, dict[str, list[TouchRead]]] = {}
    cancelled: dict[str, TouchRead] = {}
    for touch in own:
        order = plain(touch.properties.get("order_id")).lstrip("#").strip() or f"event {touch.event_id}"
        if touch.name == "Order Completed":
            orders[order] = touch
        elif touch.name == "Order Cancelled":
            cancelled[order] = touch
        elif touch.name in _REFUNDS:
            back.setdefault(order, {}).setdefault(touch.name, []).append(touch)
    if not orders:
        return []
    sums: dict[str, Decimal] = {}
    rests = []
    for order, bought in orders.items():
        rests.append(bought)
        total = _amount(bought)
        if total is None:
            continue
        paid_back = Decimal(0)
        if order in cancelled:
            paid_back = total
            rests.append(cancelled[order])
        for refunds in back.get(order, {}).values():
            rests += refunds
            amounts = [_amount(one) for one in refunds]
            whole = sum((total if amount is None else abs(amount) for amount in amounts), Decimal(0))
            paid_back = max(paid_back, whole)
        currency = plain(bought.properties.get("currency")).upper()[:3] or "?"
        sums[currency] = sums.get(currency, Decimal(0)) + total - min(total, paid_back)
    kept = [one for name, one in orders.items() if name not in cancelled]
    rests.sort(key=lambda touch: (touch.occurred_at, touch.event_id))
    value = {currency: float(round(worth, 2)) for currency, worth in sorted(sums.items())}
    found = [_trait("orders", len(kept), kept)]
    if value:
        found.append(_trait("value", value, rests))
    if kept:
        newest = max(kept, key=lambda touch: (touch.occurred_at, touch.event_id))
        found.append(_trait("last_order_at", newest.occurred_at.isoformat(), [newest]))
    return found


def _amount(touch: TouchRead) -> Decimal | None:
    """What an order or a refund comes to; None where it says nothing usable."""
    for name in ("total", "revenue", "value", "amount"):
        stated = touch.properties.get(name)
        if isinstance(stated, bool) or not isinstance(stated, int | float | str):
            continue
        try:
            amount = Decimal(str(stated).strip())
        except InvalidOperation:
            continue
        if amount.is_finite() and abs(amount) < _MOST:
            return amount
    return None


def _intent(own: Sequence[TouchRead]) -> Trait | None:
    """What the newest event is about that says so, itself or by its name."""
    for touch in reversed(own):
        said = plain(touch.properties.get("intent"))
        prior = EVENT_PRIORS.get(touch.name)
        if said or prior is not None:
            return _trait("last_intent", said or (prior.intent if prior is not None else ""), [touch])
    return None


def _weight(touch: TouchRead, now: datetime) -> float:
    return math.exp2(-max(0.0, (now - touch.occurred_at).total_seconds()) / PREFERENCE_HALF_LIFE_S)


def _channel(met: Sequence[TouchRead], now: datetime) -> Trait | None:
    weights: dict[str, float] = {}
    for touch in met:
        weights[touch.channel] = weights.get(touch.channel, 0.0) + _weight(touch, now)
    if not weights:
        return None
    best = max(weights, key=lambda channel: (weights[channel], -CHANNELS.index(channel)))
    return _trait("preferred_channel", best, [touch for touch in met if touch.channel == best])


def _hour(met: Sequence[TouchRead], now: datetime, zone: ZoneInfo) -> Trait | None:
    """The hour of their day around which they are there most, with the hours beside it."""
    if len(met) < HOURS_FROM_TOUCHES:
        return None
    weights = [0.0] * 24
    for touch in met:
        local = touch.occurred_at.astimezone(zone)
        at = local.hour + local.minute / 60.0
        weight = _weight(touch, now)
        for hour in range(24):
            apart = abs(at - hour - 0.5)
            weights[hour] += weight * math.exp(-0.5 * (min(apart, 24.0 - apart) / HOURS_SPREAD_H) ** 2)
    return _trait("preferred_hour", max(range(24), key=lambda hour: (round(weights[hour], 12), -hour)), met)
