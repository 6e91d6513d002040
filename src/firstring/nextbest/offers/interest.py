"""What somebody is interested in, out of their events: products bought, put in a cart or looked at, and words searched for.

Product ids stand where the e-commerce spec of Segment has them (product_id or sku, and lists of products); other ids are not
guessed.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any, Final

from firstring.contact import TouchRead, Value
from firstring.journey.summary import plain

PRODUCTS_OF_AN_EVENT: Final = 50
BOUGHT: Final = "bought"
SEARCHED: Final = "searched"
STRENGTHS: Final[Mapping[str, tuple[str, float]]] = {
    "Order Completed": (BOUGHT, 4.0),
    "Product Added": ("wanted", 2.0),
    "Cart Abandoned": ("wanted", 1.5),
    "Checkout Started": ("wanted", 2.0),
    "Product Clicked": ("seen", 1.0),
    "Product Viewed": ("seen", 1.0),
    "Product Removed": ("refused", -1.0),
    "Products Searched": (SEARCHED, 1.0),
}
"""Name of an event -> what it shows, and how strongly: a purchase counts as four looks (judgement)."""


class Interest(Value, frozen=True):
    """One sign of interest. what: a product's id, or for "searched" the words of the query."""

    what: str
    kind: str
    strength: float
    at: datetime


def interests(touches: Iterable[TouchRead]) -> tuple[Interest, ...]:
    """The signs of interest in these events, the newest first; each event once."""
    found: dict[tuple[int, str], Interest] = {}
    for touch in touches:
        strength = STRENGTHS.get(touch.name)
        if strength is None:
            continue
        kind, weight = strength
        named = [plain(touch.properties.get("query"))] if kind == SEARCHED else products_of(touch.properties)
        for what in named:
            if what:
                found[touch.event_id, what] = Interest(what, kind, weight, touch.occurred_at)
    ordered = sorted(found.items(), key=lambda one: (one[1].at, one[0]), reverse=True)
    return tuple(interest for _, interest in ordered)


def products_of(properties: Mapping[str, Any]) -> list[str]:
    """The ids of the products that an event names, each once, in its order."""
    listed = properties.get("products")
    parts: list[Any] = [properties, *(listed[:PRODUCTS_OF_AN_EVENT] if isinstance(listed, list) else ())]
    found = [plain(part.get("product_id") or part.get("sku")) for part in parts if isinstance(part, Mapping)]
    return list(dict.fromkeys(one for one in found if one))
