"""One event in a few words for people: "Refund requested, order 1042, 59.90 EUR"."""

from __future__ import annotations

import unicodedata
from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Any, Final

SUMMARY_CHARS: Final = 120
"""The longest summary, in characters."""
VALUE_CHARS: Final = 40
"""The longest value quoted in a summary, in characters."""
_PARTS_MAX: Final = 3
_NUMBER: Final = (int, float)


def summary(name: str, properties: Mapping[str, Any]) -> str:
    """The event in at most SUMMARY_CHARS printable characters; properties that are not known are left out."""
    text = _sentence(name)
    if properties:
        found = [(known, key) for key in properties if (known := _RANK.get(key)) is not None]
        found.sort()
        said = 0
        group = -1
        for (rank, _), key in found:
            if rank == group or said == _PARTS_MAX:
                continue
            part = _KNOWN[rank][1](properties[key], properties)
            if part:
                text = f"{text}, {part}"
                said += 1
                group = rank
    return text if len(text) <= SUMMARY_CHARS else text[: SUMMARY_CHARS - 1].rstrip() + "…"


def plain(value: object) -> str:
    """A scalar as one line of printable text, cut to VALUE_CHARS; "" for anything else.

    Control and formatting characters are dropped: an override of the writing direction could make one order number
    look like another.
    """
    if isinstance(value, str):
        if len(value) <= VALUE_CHARS and value.isascii() and value.isalnum():
            return value  # the common case: a reference
        text = value[: 4 * VALUE_CHARS]
    elif isinstance(value, bool) or not isinstance(value, _NUMBER) or not abs(value) < 1e18:
        return ""
    else:
        text = f"{value:.15g}" if isinstance(value, float) else str(value)
    if not (text.isprintable() and text.isascii()):
        text = "".join(" " if c.isspace() else c for c in text if c.isspace() or unicodedata.category(c)[0] != "C")
    if "  " in text or text[:1] == " " or text[-1:] == " ":
        text = " ".join(text.split())
    return text if len(text) <= VALUE_CHARS else text[: VALUE_CHARS - 1].rstrip() + "…"


@lru_cache(maxsize=4096)
def _sentence(name: str) -> str:
    """ "Refund Requested" -> "Refund requested"; words all in capitals (SMS) stay."""
    words = plain(name).split(" ")
    return " ".join([words[0], *(word.lower() if word[1:].islower() else word for word in words[1:])])


Words = Callable[[Any, Mapping[str, Any]], str]


def _labelled(label: str) -> Words:
    def words(value: Any, _: Mapping[str, Any]) -> str:
        text = plain(value).lstrip("#")
        return f"{label} {text}" if text else ""

    return words


def _as_is(value: Any, _: Mapping[str, Any]) -> str:
    return plain(value)


def _quoted(value: Any, _: Mapping[str, Any]) -> str:
    text = plain(value)
    return f"“{text}”" if text else ""


def _money(value: Any, properties: Mapping[str, Any]) -> str:
    if isinstance(value, bool) or not isinstance(value, _NUMBER) or not abs(value) < 1e12:
        return ""
    currency = plain(properties.get("currency"))[:3]
    return f"{value:.2f} {currency}" if currency else f"{value:.2f}"


def _minutes(value: Any, _: Mapping[str, Any]) -> str:
    if isinstance(value, bool) or not isinstance(value, _NUMBER) or not 0 <= value < 1e9:
        return ""
    return f"{round(value / 60)} min" if value >= 60 else f"{round(value)} s"


_KNOWN: Final[tuple[tuple[tuple[str, ...], Words], ...]] = (
    (("order_id",), _labelled("order")),
    (("ticket_id", "complaint_id", "case_id"), _labelled("case")),
    (("outage_id", "incident_id"), _labelled("outage")),
    (("invoice_id",), _labelled("invoice")),
    (("product", "product_name", "title", "name"), _as_is),
    (("query",), _quoted),
    (("subject", "topic", "reason", "outcome"), _as_is),
    (("total", "value", "amount", "revenue", "price"), _money),
    (("duration_s", "duration"), _minutes),
    (("path", "url"), _as_is),
)
"""Properties worth a word, the most telling first: the first present of each group is said, three groups at most."""

_RANK: Final[dict[str, tuple[int, int]]] = {
    key: (rank, place) for rank, (keys, _) in enumerate(_KNOWN) for place, key in enumerate(keys)
}
"""Property -> (its group, its place in the group): events have few properties, so they are looked up, not the groups."""
