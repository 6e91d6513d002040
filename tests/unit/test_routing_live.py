"""Who fits, at work: one model and one price list, worked out by hand."""

from __future__ import annotations

import uuid
from datetime import UTC, datetime, timedelta

import msgspec
import numpy as np
import pytest

from firstring.contact import AgentFree, AgentProfile, Contact, Resolution, Routing
from firstring.routing.declared.policy import RoutingPolicy
from firstring.routing.fit.model import PRIOR, FitModel
from firstring.routing.may.memo import EligibilityMemo
from firstring.routing.may.needs import needed
from firstring.routing.may.packed import EPOCH, packed
from firstring.routing.pick.assign import rank
from firstring.routing.pick.live import NO_PRICES, Live, PriceList, matching_of

NOW = datetime(2026, 3, 2, 12, tzinfo=UTC)
NOBODY = Resolution((), 1.0, 0.0, "prior", "test")


def model(*effects: float) -> FitModel:
    """Agents 1, 2, ... with these effects on success (log odds), known without doubt; 300 s for all."""
    content = PRIOR.content
    count = len(effects)
    leaves = tuple((agent, 0, 0) for agent in range(count))
    success = msgspec.structs.replace(
        content.success, intercept=0.0, effects={}, tau2=(4.0, 0.0, 0.0), information=(1e9,) * count, mean=effects
    )
    nothing = {"information": (0.0,) * count, "mean": (0.0,) * count, "effects": {}}
    return FitModel(
        msgspec.structs.replace(
            content,
            basis="fitted",
            success=success,
            handle=msgspec.structs.replace(content.handle, intercept=float(np.log(300.0)), smear=1.0, **nothing),
            repeat=msgspec.structs.replace(content.repeat, **nothing),
            agents=tuple(range(1, count + 1)),
            intents=("",),
            segments=("",),
            leaves=leaves,
        )
    )


def routed(
    fit: FitModel, live: Live = NO_PRICES, *, policy: RoutingPolicy | None = None, of: int = 3, **profile: object
) -> Routing:
    """The order over agents 1 to `of`, of whom the last is idle longest; the same however they are read."""
    policy = policy or RoutingPolicy()
    contact = Contact(uuid.UUID(int=7), "voice", NOW, call_key="a")
    need = needed(contact, NOBODY, (), policy=policy).need
    profiles = {(one, 1): AgentProfile(one, 1, f"Agent {one}", "sip:a@x", **profile) for one in range(1, of + 1)}
    free = [AgentFree(one, 1, NOW - timedelta(seconds=10 * one)) for one in range(1, of + 1)]
    ids = np.arange(1, of + 1)
    idle_us = np.array([(one.idle_since - EPOCH) // timedelta(microseconds=1) for one in free])
    as_bytes = packed(ids, np.ones(of, np.int64), idle_us)
    assert as_bytes is not None
    matching = matching_of(contact, NOBODY, (), (), (), intent=None, policy=policy, fit=fit, live=live, key=b"k" * 16)
    made = [
        rank(need, agents, profiles, now=NOW, waited_s=0.0, memo=memo, matching=matching)
        for agents in (free, as_bytes)
        for memo in (None, EligibilityMemo())
    ]
    assert all(one == made[0] for one in made)
    return made[0]


def order(routing: Routing) -> list[int]:
    return [verdict.agent_id for verdict in routing.ranked]


def test_who_fits_goes_first() -> None:
    routing = routed(model(1.0, -1.0, 0.0))
    assert order(routing) == [1, 3, 2]
    assert routing.propensity == 1.0
    first, second = routing.ranked[:2]
    assert first.score == pytest.approx(1 / (1 + np.exp(-1.0)), abs=1e-4)
    assert [reason.code for reason in first.reasons] == ["success", "handle_time", "idle"]
    [flip] = [reason for reason in second.reasons if reason.code == "would_be_first"]
    assert flip.field == "success"
    assert "73% instead of 50%" in flip.text


def test_a_model_that_knows_nothing_is_longest_idle() -> None:
    assert order(routed(model(0.0, 0.0, 0.0))) == [3, 2, 1]
    assert order(routed(PRIOR)) == [3, 2, 1]
    assert order(routed(model(1.0, -1.0, 0.0), policy=RoutingPolicy(pick="first_come"))) == [3, 2, 1]


def test_a_dear_agent_is_spared_for_whom_they_suit_better() -> None:
    dear = Live(PriceList(agents=(1, 2, 3), price=(0.001, 0.0, 0.0), occupancy=(0.5, 0.5, 0.5)))
    assert order(routed(model(1.0, 0.5, 0.0), dear)) == [2, 3, 1], "0.73 - 0.30 is less than 0.62 and 0.50"


def test_whoever_had_more_work_goes_behind() -> None:
    busy = Live(PriceList(agents=(1, 2, 3), price=(0.0, 0.0, 0.0), occupancy=(0.9, 0.3, 0.3)))
    routing = routed(model(0.5, 0.4, 0.0), busy)
    assert order(routing)[0] == 2
    assert "fairness" in [reason.code for reason in routing.ranked[0].reasons]


def test_somebody_who_is_not_in_the_list_has_the_mean() -> None:
    live = Live(PriceList(agents=(2, 3), price=(0.001, 0.003), occupancy=(0.5, 0.7)))
    price, occupancy = live.of(np.array([1, 3, 9]))
    assert price.tolist() == pytest.approx([0.002, 0.003, 0.002])
    assert occupancy.tolist() == pytest.approx([0.6, 0.7, 0.6])
    assert live.version == Live(PriceList(agents=(2, 3), price=(0.001, 0.003), occupancy=(0.5, 0.7))).version


def test_exploring_is_the_contacts_own_draw_and_its_propensity_is_told() -> None:
    routing = routed(model(0.10, 0.05, 0.0), policy=RoutingPolicy(explore=1.0))
    assert sorted(order(routing)) == [1, 2, 3]
    assert routing.propensity == pytest.approx(1 / 3)
    assert routed(model(0.10, 0.05, 0.0), policy=RoutingPolicy(explore=1.0)) == routing


def test_the_agents_own_wish_counts() -> None:
    """What somebody wants to do is a reason, never a right."""
    contact = Contact(uuid.UUID(int=7), "voice", NOW, call_key="a")
    policy = RoutingPolicy(intents={"billing": {"billing": 1}})
    need = needed(contact, NOBODY, (), policy=policy, intent="billing").need
    profiles = {
        (1, 1): AgentProfile(1, 1, "A", "sip:a@x", skills={"billing": 3}),
        (2, 1): AgentProfile(2, 1, "B", "sip:a@x", skills={"billing": 3}, wants=("billing",)),
        (3, 1): AgentProfile(3, 1, "C", "sip:a@x", wants=("billing",)),
    }
    free = [AgentFree(one, 1, NOW - timedelta(seconds=30 - one)) for one in (1, 2, 3)]
    matching = matching_of(
        contact, NOBODY, (), (), (), intent="billing", policy=policy, fit=model(0.0, 0.0, 0.0), live=NO_PRICES, key=b"k" * 16
    )
    got = rank(need, free, profiles, now=NOW, waited_s=0.0, matching=matching)
    assert order(got) == [2, 1], "the third lacks the skill"
