"""Who takes whom while contacts wait, by who fits: within the window of the line, under the age guard, and all at once where
several agents and several contacts come together.

The guard's memory (who was passed over how often, who is due since when) is the line's own. A task that takes the line over
begins it anew; by the line's order alone nobody is overtaken by more than those who came within the worth of a priority.
"""

from __future__ import annotations

import uuid
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Final

import numpy as np
from numpy.typing import NDArray

from firstring.contact import AgentFree
from firstring.routing.eligibility import requirement_at
from firstring.routing.firstcome import became_due, must_serve, passed_over, places, window
from firstring.routing.fit.predict import fits
from firstring.routing.live import SPARED_POINTS, Matching
from firstring.routing.memo import EligibilityMemo, Profiles, Signature, Verdict, signature_of, verdicts
from firstring.routing.pick import batch, pair_index, unfairness
from firstring.routing.places import is_kept_back, spared
from firstring.routing.queues import Match, Waiting, waited_s

POINTS: Final = 0.005
"""Points of success that one point of priority is worth in the choice of the next contact."""
ROWS: Final = 64
"""Contacts at the head of the line that are looked at together."""
FREE_EVERY_S: Final = 10.0
"""How often an agent is taken to become free before anything is known of it."""

Flags = NDArray[np.bool_]


class Guard:
    """Of one line: how often each contact was passed over, since when it is due (seconds of `datetime.timestamp`)."""

    def __init__(self) -> None:
        self._passed: dict[uuid.UUID, int] = {}
        self._due_at: dict[uuid.UUID, float] = {}

    def of(self, waiting: Sequence[Waiting], now_s: float) -> NDArray[np.float64]:
        """Since when each is due, in the order of `waiting`; those who left the line are forgotten."""
        ids = [contact.contact_id for contact in waiting]
        self._passed = {one: self._passed[one] for one in ids if one in self._passed}
        due_at = np.array([self._due_at.get(one, np.nan) for one in ids])
        due_at = became_due(turns(waiting), np.array([self._passed.get(one, 0) for one in ids], np.int64), due_at, now_s)
        self._due_at = {one: float(at) for one, at in zip(ids, due_at, strict=True) if not np.isnan(at)}
        return due_at

    def took(self, waiting: Sequence[Waiting], place: int, can: Flags) -> None:
        """The contact at `place` was served; `can`: whom its agent might have served instead."""
        since = turns(waiting)
        passed = np.array([self._passed.get(contact.contact_id, 0) for contact in waiting], np.int64)
        left = can.copy()
        left[place] = False
        for contact, count in zip(waiting, passed_over(since, passed, since[place], left), strict=True):
            if count:
                self._passed[contact.contact_id] = int(count)


def turns(waiting: Sequence[Waiting]) -> NDArray[np.float64]:
    """The place of each in the line, as seconds."""
    return np.array([(contact.turn_at or contact.since).timestamp() for contact in waiting])


def may_serve(
    waiting: Sequence[Waiting],
    agents: Sequence[AgentFree],
    profiles: Profiles,
    *,
    now: datetime,
    memo: EligibilityMemo | None = None,
) -> NDArray[np.int8]:
    """m contacts x n agents: the class in which the agent is tried (0 first), or -1 where the agent may not serve."""
    classes = np.full((len(waiting), len(agents)), -1, np.int8)
    known: dict[Signature, list[Verdict]] = {}
    place_of = {agent.agent_id: place for place, agent in enumerate(agents)}
    for row, contact in enumerate(waiting):
        need = contact.need
        requirement = requirement_at(need, waited_s(contact, now))
        signature = signature_of(need, requirement, now)
        if signature not in known:
            known[signature] = verdicts(need, requirement, agents, profiles, memo, now=now)
        classes[row] = [one if isinstance(one, int) else -1 for one in known[signature]]
        for agent_id in (*need.excluded, *need.barred):
            if agent_id in place_of:
                classes[row, place_of[agent_id]] = -1
        spare = spared(need, requirement, waited_s(contact, now))
        if spare:
            may = np.flatnonzero(classes[row] >= 0)
            ids = np.array([agents[place].agent_id for place in may.tolist()], np.int64)
            classes[row, may[is_kept_back(classes[row, may].astype(np.int64), ids, spare)]] = -1
    return classes


def pairs(
    guard: Guard,
    waiting: Sequence[Waiting],
    agents: Sequence[AgentFree],
    classes: NDArray[np.int8],
    matchings: Mapping[uuid.UUID, Matching],
    *,
    now: datetime,
    free_every_s: float = FREE_EVERY_S,
) -> list[Match]:
    """Who takes whom now; each agent takes one contact, the best agents for each contact first in the answer.

    waiting: in the order of the line. classes: of `may_serve`. matchings: of the contacts within the window; one without is
    served as if nothing were known of it, which is in the order of the line. free_every_s: how often an agent becomes free.
    """
    if not len(waiting) or not len(agents):
        return []
    any_of = next(iter(matchings.values()), None)
    if any_of is None:
        return []
    settings, live = any_of.settings, any_of.live
    may = classes >= 0
    rows = _within(waiting, may, free_every_s, settings.guard_s, settings.guard_caution)
    now_s = now.timestamp()
    due_at = guard.of(waiting, now_s)
    if not rows.any():
        return []
    index = _index(waiting, agents, classes, matchings, rows, any_of)
    if live.prices.agents:
        _, occupancy = live.of(np.array([agent.agent_id for agent in agents], np.int64))
        index -= unfairness(occupancy, live.occupancy_mean, settings)
    # Of equal indexes the contact that waits longest goes first, then the agent who is idle longest.
    waits = now_s - turns(waiting)
    idles = np.array([max(0.0, (now - agent.idle_since).total_seconds()) for agent in agents])
    index += 1e-9 * waits[:, None] + 1e-12 * idles
    taken: list[tuple[int, int]] = []
    must = must_serve(
        np.where(may.any(axis=1), due_at, np.nan), now_s,
        free_every_s=free_every_s, guard_s=settings.guard_s, caution=settings.guard_caution,
    )  # fmt: skip
    if must >= 0:
        if not rows[must]:
            index[must] = np.where(may[must], 0.0, -np.inf)
        agent = int(np.argmax(index[must]))
        taken.append((must, agent))
        index[must, :] = -np.inf
        index[:, agent] = -np.inf
    taken += batch(index)
    found = []
    for place, column in taken:
        guard.took(waiting, place, may[:, column])
        found.append(Match(waiting[place].contact_id, (agents[column].agent_id,)))
    return found


def _within(waiting: Sequence[Waiting], may: Flags, free_every_s: float, guard_s: float, caution: float) -> Flags:
    """The contacts near enough to the head of some agent's line, of those whom the agent may serve."""
    size = min(ROWS, 3 * places(free_every_s, guard_s, caution) + 2)
    since = turns(waiting)
    within = np.zeros(len(waiting), np.bool_)
    for column in may.T:
        can = np.flatnonzero(column)
        if len(can):
            within[can[window(since[can], size)]] = True
    return within


def _index(
    waiting: Sequence[Waiting],
    agents: Sequence[AgentFree],
    classes: NDArray[np.int8],
    matchings: Mapping[uuid.UUID, Matching],
    rows: Flags,
    any_of: Matching,
) -> NDArray[np.float64]:
    ids = np.array([agent.agent_id for agent in agents], np.int64)
    price, _ = any_of.live.of(ids)
    index = np.full(classes.shape, -np.inf)
    for row in np.flatnonzero(rows).tolist():
        contact = waiting[row]
        matching = matchings.get(contact.contact_id)
        worth = POINTS * contact.need.priority - SPARED_POINTS * np.maximum(classes[row], 0)
        if matching is None:
            index[row] = worth
        else:
            expected = fits(matching.fit, matching.asked, ids)
            paid = np.array([any_of.live.of_contact(contact.need.intent)])
            index[row] = (
                worth
                + pair_index(
                    expected.success[None, :],
                    expected.handle_s[None, :],
                    price=price,
                    contact_price=paid,
                    weight=matching.weight,
                )[0]
            )
        index[row, classes[row] < 0] = -np.inf
    return index
