"""The price list, out of who is there and who came lately: what the elected task finds every few minutes. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from firstring.contact import AgentProfile, RoutingNeed
from firstring.routing.fit.asked import Asked
from firstring.routing.fit.model import FitModel
from firstring.routing.fit.predict import fits
from firstring.routing.may.memo import FIRST_OBSTACLE, EligibilityMemo, codes, column_of
from firstring.routing.may.packed import VERSION_BITS
from firstring.routing.pick import step
from firstring.routing.pick.live import Live, Matching, PriceList, rounded

Floats = NDArray[np.float64]
STEP: Final = 0.01
"""Occupancies are told in steps of so much: a list that says the same is the same list."""
GONE_S: Final = 4.0 * 3_600.0
"""Whoever was not there for so long begins anew."""


class Recent(NamedTuple):
    """A contact that came lately: what was asked of the model, what it needs at first, what success is worth."""

    asked: Asked
    need: RoutingNeed
    weight: float
    offered_at: datetime


class Load(NamedTuple):
    """How busy an agent was since they signed in. last: when they were seen there (`datetime.timestamp`)."""

    busy_s: float = 0.0
    signed_in_s: float = 0.0
    last: float = 0.0


def loads_after(
    before: Mapping[int, Load], busy_s: Mapping[int, float], there_s: Mapping[int, float], now: datetime
) -> dict[int, Load]:
    """The loads with what came since: seconds that agents were busy, and seconds that they were there."""
    now_s = now.timestamp()
    kept = {agent: load for agent, load in before.items() if now_s - load.last < GONE_S}
    for agent in busy_s.keys() | there_s.keys():
        load = kept.get(agent, Load())
        kept[agent] = Load(load.busy_s + busy_s.get(agent, 0.0), load.signed_in_s + there_s.get(agent, 0.0), now_s)
    return kept


def price_list(
    model: FitModel,
    agents: Sequence[AgentProfile],
    loads: Mapping[int, Load],
    recent: Sequence[Recent],
    *,
    before: Live,
    slopes: tuple[float, float],
    patience_s: Mapping[str, float],
    hard: Mapping[int, int],
    now: datetime,
) -> PriceList:
    """agents: who is there, ascending by id. recent: contacts by arrival; nothing: the prices stay as they were. before: the
    list in force, from which the search begins."""
    ids = np.array([agent.agent_id for agent in agents], np.int64)
    channels = sorted({channel for agent in agents for channel in agent.capacity})
    places = {
        channel: np.array([max(1, one.capacity.get(channel, 1)) for one in agents], np.float64) for channel in channels
    }
    finest = np.max([*places.values(), np.ones(len(agents))], axis=0)
    shares = {channel: finest / of for channel, of in places.items()}
    price = before.of(ids)[0] if before.prices.agents else np.zeros(len(ids))
    usual_s = before.usual_s(ids)
    if recent and len(agents):
        p, h, may = _expected(model, agents, recent, now)
        seen = may.any(axis=0)
        usual_s = np.where(seen, step.means(h.T, may.T), usual_s)
        recent = recent[-step.sample(len(agents)) :]
        came_s = np.array([one.offered_at.timestamp() for one in recent])
        since = step.recent(came_s, now.timestamp())
        first = len(p) - len(recent) + since
        p, h, may = p[first:], h[first:], may[first:]
        if len(p) >= step.FIRST_PRICES:
            taken = np.array([shares.get(one.asked.channel, np.ones(len(agents))) for one in recent[since:]])
            price = step.market(
                p, h * taken, may, np.array([one.weight for one in recent[since:]]), finest,
                now.timestamp() - float(came_s[since]), slopes=slopes, start=price,
            )  # fmt: skip
    load = [loads.get(agent.agent_id, Load()) for agent in agents]
    occupancy = step.occupancies(np.array([one.busy_s for one in load]), np.array([one.signed_in_s for one in load]))
    return PriceList(
        agents=tuple(ids.tolist()),
        price=rounded(price.tolist()),
        occupancy=rounded([round(share / STEP) * STEP for share in occupancy.tolist()]),
        usual_s=rounded([round(seconds, 1) for seconds in usual_s.tolist()]),
        shares={channel: rounded(of.tolist()) for channel, of in shares.items() if (of != 1.0).any()},
        slopes=(rounded([slopes[0]])[0], rounded([slopes[1]])[0]),
        patience_s={channel: round(seconds, 1) for channel, seconds in sorted(patience_s.items())},
        hard=tuple((agent, hard[agent]) for agent in ids.tolist() if hard.get(agent)),
        fit=model.version if recent or not before.prices.fit else before.prices.fit,
    )


def recent_of(need: RoutingNeed, matching: Matching, offered_at: datetime) -> Recent:
    """A contact as prices are formed on it."""
    return Recent(matching.asked, need, matching.weight, offered_at)


def _expected(
    model: FitModel, agents: Sequence[AgentProfile], recent: Sequence[Recent], now: datetime
) -> tuple[Floats, Floats, NDArray[np.bool_]]:
    """(p, h, may) (c, n): what is expected of contacts with agents, and who may serve whom at first."""
    ids = np.array([agent.agent_id for agent in agents], np.int64)
    keys = np.array([agent.agent_id << VERSION_BITS | agent.version for agent in agents], np.int64)
    profiles = {(agent.agent_id, agent.version): agent for agent in agents}
    memo = EligibilityMemo()
    shape = (len(recent), len(agents))
    p, h, may = np.zeros(shape), np.ones(shape), np.zeros(shape, np.bool_)
    for row, one in enumerate(recent):
        requirement = one.need.steps[0].requirement
        classes, _, off = codes(one.need, requirement, keys, profiles, memo, now=now)
        can = (classes >= 0) & (classes < FIRST_OBSTACLE)
        if off is not None:
            can &= ~off
        if one.need.barred:
            can &= ~np.isin(ids, one.need.barred)
        level = column_of(("level", one.asked.language), keys, profiles, memo) if one.asked.language else None
        expected = fits(model, one.asked, ids, language=level)
        p[row], h[row], may[row] = expected.success, np.maximum(expected.handle_s, 1.0), can
    return p, h, may
