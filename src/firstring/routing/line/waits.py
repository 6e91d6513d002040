"""How long those who wait will wait: an estimate with an interval, out of who is ahead of them for the same agents.

With n agents who may serve a contact, each busy for `handle_s` on average, one becomes free every handle_s / n; a contact
with k - 1 contacts ahead of it waits for the k-th. That is a gamma distribution of shape k (a sum of k exponential times).
Whoever is ahead and may be served by others too counts in part. What was told before and what came of it corrects the
interval: its bounds are then the quantiles of waited over told (split conformal; Lei et al. 2018).
"""

from __future__ import annotations

import uuid
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.special import gammaincinv

from firstring.contact import AgentProfile, RoutingNeed
from firstring.routing.line.queues import Waiting, waited_s
from firstring.routing.may.eligibility import day_of, obstacle_check, requirement_at
from firstring.routing.may.hours import at_work
from firstring.routing.may.memo import Signature, signature_of

Flags = NDArray[np.bool_]

SHARE: Final = 0.8
"""Of waits that are to lie within the interval."""
TOLD_MIN: Final = 50
"""Waits that were told and are over, from which on they correct the interval."""
HANDLE_S: Final = 300.0
"""What a contact takes before anything is known of it."""


class Estimate(NamedTuple):
    """From now on, in seconds. place: 1 is next; parts, where those ahead may be served by others too. relaxes_s: until then
    nobody who is signed in may serve it; 0: somebody may now."""

    place: float
    wait_s: float
    low_s: float
    high_s: float
    relaxes_s: float = 0.0


def estimates(
    waiting: Sequence[Waiting],
    agents: Sequence[AgentProfile],
    *,
    now: datetime,
    handle_s: Mapping[str, float],
    ratios: Sequence[float] = (),
) -> dict[uuid.UUID, Estimate | None]:
    """By contact; None: nobody who is signed in may serve it, now or when its requirements have relaxed.

    waiting: the whole line, in its order. agents: all who are signed in, busy or not. handle_s: mean by channel. ratios:
    waited over told, of waits that are over.
    """
    at_hand = [agent for agent in agents if at_work(agent.hours, now)]
    ahead = np.zeros(len(at_hand))
    place_of = {agent.agent_id: number for number, agent in enumerate(at_hand)}
    capacity: dict[str, NDArray[np.int64]] = {}
    known: dict[tuple[Signature, tuple[float, ...]], tuple[Flags, float]] = {}
    low, high = _bounds(ratios)
    found: dict[uuid.UUID, Estimate | None] = {}
    for contact in waiting:
        need, waited = contact.need, waited_s(contact, now)
        later = tuple(step.after_s for step in need.steps if step.after_s > waited)
        key = (signature_of(need, requirement_at(need, waited), now), later)
        if key not in known:
            known[key] = _may(need, waited, later, at_hand, now)
        may, from_s = known[key]
        out = [place_of[agent_id] for agent_id in need.barred if agent_id in place_of]
        if out:
            may = may.copy()
            may[out] = False
        # Several places of an agent on a channel become free that much more often.
        if need.channel not in capacity:
            capacity[need.channel] = np.array([agent.capacity.get(need.channel, 1) for agent in at_hand], np.int64)
        places = int(capacity[need.channel][may].sum())
        if not places:
            found[contact.contact_id] = None
            continue
        every_s = handle_s.get(need.channel, HANDLE_S) / places
        place = 1.0 + float(ahead[may].sum())
        wait_s = max(place * every_s, from_s - waited)
        if low is None or high is None:
            bounds = (
                float(gammaincinv(place, (1 - SHARE) / 2)) * every_s,
                float(gammaincinv(place, (1 + SHARE) / 2)) * every_s,
            )
        else:
            bounds = (wait_s * low, wait_s * high)
        relaxes_s = max(0.0, from_s - waited) if from_s else 0.0
        found[contact.contact_id] = Estimate(place, wait_s, min(bounds[0], wait_s), max(bounds[1], wait_s), relaxes_s)
        ahead[may] += 1.0 / int(may.sum())
    return found


def _may(
    need: RoutingNeed, waited: float, later: Sequence[float], agents: Sequence[AgentProfile], now: datetime
) -> tuple[Flags, float]:
    """Who may serve it, as soon as anybody may; and from how many seconds of waiting on that is (0: now). later: when its
    requirements relax."""
    for from_s in (0.0, *later):
        requirement = requirement_at(need, max(waited, from_s))
        check = obstacle_check(requirement, need.channel, intent=need.intent, day=day_of(now))
        may = np.array([check(agent) is None for agent in agents], np.bool_)
        if may.any():
            return may, from_s
    return np.zeros(len(agents), np.bool_), 0.0


def _bounds(ratios: Sequence[float]) -> tuple[float | None, float | None]:
    if len(ratios) < TOLD_MIN:
        return None, None
    # A little wider than the quantiles of what was seen, as a share of so many that are to come lies outside (n + 1).
    level = min(1.0, SHARE * (1 + 1 / len(ratios)))
    low, high = np.quantile(np.asarray(ratios), [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)
