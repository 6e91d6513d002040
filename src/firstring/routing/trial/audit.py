"""Who fares how: outcomes by group of customers and by agent, against what contacts like theirs would lead to expect.

Groups differ in why they call; so beside plain figures stands the success that contacts of the same reason and channel
have on the whole (indirect standardisation). Here alone protected attributes are looked at, and only where the data hold
them; nothing of it flows back. Small groups are not shown: they might tell of somebody. Of many groups some differ by
chance: marked are those that do not, at a false discovery rate of 5 % (Benjamini and Hochberg 1995).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from html import escape
from statistics import NormalDist
from typing import Final, NamedTuple

import numpy as np

from firstring.contact import Value
from firstring.identity.model.chartparts import page, section, span_bar, table

SMALL: Final = 20
"""Contacts of a group, below which it is not shown."""
RATE: Final = 0.05
UNKNOWN: Final = "not known"
AGES: Final = ((18, "under 18"), (30, "18 to 29"), (45, "30 to 44"), (65, "45 to 64"), (200, "65 and older"))
Z: Final = 1.959963984540054


class Audited(NamedTuple):
    """One contact. groups: dimension -> group it is of."""

    agent_id: int | None
    channel: str
    intent: str
    waited_s: float
    success: bool | None
    repeated: bool | None
    handle_s: float | None
    groups: Mapping[str, str]


class Group(Value, frozen=True):
    """Outcomes of one group. Shares are None where nothing was judged. expected: success that contacts of the same reason
    and channel have on the whole; difference: success beyond it, with an interval of 95 %; differs: not by chance alone."""

    name: str
    contacts: int
    abandoned: float
    wait_s: float
    wait_p90_s: float
    success: float | None
    expected: float | None
    difference: tuple[float, float, float] | None
    repeated: float | None
    handle_s: float | None
    differs: bool = False


class Dimension(Value, frozen=True):
    """One way to group. protected: an attribute that never enters the matching. hidden: contacts of groups too small to be
    shown."""

    name: str
    groups: tuple[Group, ...]
    protected: bool
    hidden: int


class Audit(Value, frozen=True):
    """All of it. busiest: the share of the contacts of the tenth of the agents who had most."""

    contacts: int
    dimensions: tuple[Dimension, ...]
    agents: tuple[Group, ...]
    agents_hidden: int
    busiest: float | None


def age_band(age_years: int) -> str:
    """The band of an age."""
    return next(name for bound, name in AGES if age_years < bound) if 0 <= age_years < AGES[-1][0] else UNKNOWN


def audit(contacts: Sequence[Audited], *, protected: Sequence[str] = ()) -> Audit:
    """Outcomes by each dimension that contacts name, and by agent."""
    expected = _expected(contacts)
    names = list(dict.fromkeys(name for one in contacts for name in one.groups))
    dimensions = []
    for name in names:
        groups, hidden = _groups(contacts, expected, [one.groups.get(name, UNKNOWN) for one in contacts])
        dimensions.append(Dimension(name, groups, name in protected, hidden))
    served = [place for place, one in enumerate(contacts) if one.agent_id is not None]
    by_agent, hidden = _groups(
        [contacts[place] for place in served], expected[served], [str(contacts[place].agent_id) for place in served]
    )
    counts = sorted((group.contacts for group in by_agent), reverse=True)
    busiest = sum(counts[: math.ceil(len(counts) / 10)]) / sum(counts) if counts else None
    return Audit(len(contacts), tuple(dimensions), by_agent, hidden, busiest)


def _expected(contacts: Sequence[Audited]) -> np.ndarray:
    """For each contact the success of all contacts of its channel and reason, drawn to that of all where they are few."""
    judged = [one for one in contacts if one.success is not None]
    overall = sum(bool(one.success) for one in judged) / len(judged) if judged else math.nan
    tried: dict[tuple[str, str], int] = {}
    won: dict[tuple[str, str], int] = {}
    for one in judged:
        key = (one.channel, one.intent)
        tried[key] = tried.get(key, 0) + 1
        won[key] = won.get(key, 0) + bool(one.success)
    found = []
    for one in contacts:
        key = (one.channel, one.intent)
        found.append((won.get(key, 0) + SMALL * overall) / (tried.get(key, 0) + SMALL))
    return np.array(found, dtype=np.float64)


def _groups(contacts: Sequence[Audited], expected: np.ndarray, names: Sequence[str]) -> tuple[tuple[Group, ...], int]:
    places: dict[str, list[int]] = {}
    for place, name in enumerate(names):
        places.setdefault(name, []).append(place)
    made, hidden, chances = [], 0, []
    for name, own in sorted(places.items()):
        if len(own) < SMALL:
            hidden += len(own)
            continue
        group, chance = _group(name, [contacts[place] for place in own], expected[own])
        made.append(group)
        chances.append(chance)
    marked = _discoveries(chances)
    shown = [_marked(group, is_marked) for group, is_marked in zip(made, marked, strict=True)]
    return tuple(sorted(shown, key=lambda group: (-group.contacts, group.name))), hidden


def _marked(group: Group, is_marked: bool) -> Group:
    return Group(**{**{name: getattr(group, name) for name in group.__struct_fields__}, "differs": is_marked})


def _group(name: str, contacts: Sequence[Audited], expected: np.ndarray) -> tuple[Group, float]:
    """A group, and the probability that it differs as much by chance."""
    waits = np.array([one.waited_s for one in contacts])
    is_judged = np.array([one.success is not None for one in contacts])
    difference, chance, success, mean = None, 1.0, None, None
    if is_judged.sum() >= SMALL:
        worked = np.array([float(bool(one.success)) for one in contacts])[is_judged]
        own = expected[is_judged]
        success, mean = float(worked.mean()), float(own.mean())
        error = math.sqrt(float((own * (1.0 - own)).sum())) / len(worked)
        off = success - mean
        difference = (off, off - Z * error, off + Z * error)
        chance = 2.0 * (1.0 - NormalDist().cdf(abs(off) / error)) if error > 0.0 else 1.0
    repeats = [one.repeated for one in contacts if one.repeated is not None]
    times = [one.handle_s for one in contacts if one.handle_s is not None]
    return (
        Group(
            name=name,
            contacts=len(contacts),
            abandoned=sum(one.agent_id is None for one in contacts) / len(contacts),
            wait_s=float(waits.mean()),
            wait_p90_s=float(np.percentile(waits, 90)),
            success=success,
            expected=mean,
            difference=difference,
            repeated=sum(repeats) / len(repeats) if len(repeats) >= SMALL else None,
            handle_s=sum(times) / len(times) if len(times) >= SMALL else None,
        ),
        chance,
    )


def _discoveries(chances: Sequence[float]) -> list[bool]:
    """Which of them stand at a false discovery rate of RATE."""
    order = sorted(range(len(chances)), key=lambda place: chances[place])
    last = max((rank for rank, place in enumerate(order, 1) if chances[place] <= RATE * rank / len(chances)), default=0)
    found = [False] * len(chances)
    for place in order[:last]:
        found[place] = True
    return found


# --- the page ------------------------------------------------------------------------------------------------------

_HEAD: Final = (
    "group", "beyond expected", "contacts", "abandoned", "wait, s", "9 of 10 within, s", "success", "expected", "difference",
    "95 % from", "to", "repeated", "handle, s",
)  # fmt: skip


def audit_page(found: Audit, *, title: str, said: str) -> str:
    """The audit as one HTML file that needs nothing else. said: what it is about, in words."""
    parts = [f"<p>{escape(said)}</p>"]
    for place, dimension in enumerate(found.dimensions):
        text = f"Contacts by {dimension.name}."
        if dimension.protected:
            text += " Protected: it never enters the matching of customers and agents, and is read for this page alone."
        parts.append(_section(f"d{place}", dimension.name.capitalize(), text, dimension.groups, dimension.hidden))
    text = "Contacts by agent, against what contacts of the same reason and channel lead to expect."
    if found.busiest is not None:
        text += f" The tenth of the agents shown who had most had {found.busiest:.0%} of their contacts."
    parts.append(_section("agents", "Agents", text, found.agents, found.agents_hidden))
    return page(title, "".join(parts))


def _section(name: str, title: str, text: str, groups: Sequence[Group], hidden: int) -> str:
    if hidden:
        text += f" {hidden} contacts are of groups of fewer than {SMALL}, which are not shown."
    rows = [
        (
            escape(group.name) + (" <strong>differs</strong>" if group.differs else ""),
            "" if group.difference is None else span_bar(0.0, group.difference[0], -0.3, 0.3),
            *_cells(group),
        )
        for group in groups
    ]
    body = "<p>No group is large enough.</p>"
    if rows:
        body = table(f"{title}: outcomes", _HEAD, rows, numbers=len(_HEAD) - 2)
    return section(name, title, escape(text), body)


def _cells(group: Group) -> tuple[str, ...]:
    def share(value: float | None) -> str:
        return "" if value is None else f"{value:.1%}"

    difference = ("", "", "") if group.difference is None else tuple(f"{one:+.1%}" for one in group.difference)
    return (
        f"{group.contacts:,}", share(group.abandoned), f"{group.wait_s:.0f}", f"{group.wait_p90_s:.0f}",
        share(group.success), share(group.expected), *difference, share(group.repeated), "" if group.handle_s is None else
        f"{group.handle_s:.0f}",
    )  # fmt: skip
