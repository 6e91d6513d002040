"""Agents kept free for a tier, and teams that overflow opens: what both say of who may serve a contact. Pure.

Keeping is what telephony calls trunk reservation: a contact of a lower tier takes an agent only where so many others of
those who may serve it stay free. Then a customer of the tier who needs the same finds one while fewer of the tier are served
than are kept. (An agent who serves another need too may be taken for that.) It is bounded on both sides: a contact that has
waited `until_s` takes them too, and nobody is kept where the tier has not been seen for long or the line is long.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from firstring.contact import Around, Kept, Overflowed, Reason, Requirement, RoutingNeed

if TYPE_CHECKING:
    from firstring.routing.declared.policy import RoutingPolicy

Integers = npt.NDArray[np.int64]


def kept_for_others(
    channel: str, tier: str, policy: RoutingPolicy, around: Around | None, now: datetime | None
) -> tuple[Kept, ...]:
    """The agents whom a contact of `tier` ("": none) leaves free: those of tiers that go before it, by their priority."""
    if around is None or now is None:
        return ()
    own = policy.tiers.get(tier)
    found = []
    for name, rule in policy.tiers.items():
        if not rule.keep_free or name == tier or (own is not None and rule.priority <= own.priority):
            continue
        seen = around.seen.get(name)
        if seen is None or (now - seen).total_seconds() > rule.keep_free_seen_s:
            continue
        if around.lines.get(channel, 0) < rule.keep_free_line:
            found.append(Kept(name, rule.keep_free, rule.keep_free_for_s))
    return tuple(found)


def spared(need: RoutingNeed, requirement: Requirement, waited_s: float) -> int:
    """How many of those who may serve a contact it leaves free after so long; none where it was sent to somebody."""
    if not need.kept or requirement.agents:
        return 0
    return sum(kept.agents for kept in need.kept if waited_s < kept.until_s)


def kept_back(classes: Sequence[int], ids: Sequence[int], count: int) -> set[int]:
    """Which `count` of the eligible agents are left free: those of teams for other customers first, then by their number,
    so that all who decide at the same moment leave the same ones."""
    order = sorted(range(len(ids)), key=lambda place: (-classes[place], ids[place]))
    return {ids[place] for place in order[:count]}


def is_kept_back(classes: Integers, ids: Integers, count: int) -> npt.NDArray[np.bool_]:
    """The same, as flags."""
    flags = np.zeros(len(ids), np.bool_)
    flags[np.lexsort((ids, -classes))[:count]] = True
    return flags


def overflow_teams(overflowed: Sequence[Overflowed], policy: RoutingPolicy, reasons: list[Reason]) -> tuple[str, ...]:
    """The teams whose agents may serve a contact too, by the steps of the policy that its wait has reached."""
    if not overflowed:
        return ()
    rules = {rule.name: rule for rule in policy.overflow}
    teams: dict[str, None] = {}
    for past in overflowed:
        rule = rules.get(past.name)
        step = rule.steps[past.step] if rule is not None and past.step < len(rule.steps) else None
        if step is not None and step.team is not None and step.team not in teams:
            teams[step.team] = None
            reasons.append(Reason("overflow_team", f"{told(past)}: the team {step.team} may serve it too", field=past.name))
    return tuple(teams)


def told(past: Overflowed) -> str:
    """Why a bound was passed, in words."""
    if past.wait_s is None:
        return "Nobody who is signed in may serve it" + (f" ({past.why})" if past.why else "")
    if past.why:
        return f"Nobody who is signed in may serve it for the next {past.wait_s:.0f} s ({past.why})"
    return f"A wait of {past.wait_s:.0f} s was expected"
