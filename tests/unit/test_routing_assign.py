"""Whom: reasons for and against an agent, the order in which they are tried, and the queue in small worlds."""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from firstring import limits
from firstring.contact import AgentFree, AgentProfile, RelaxingStep, Requirement, Routing, RoutingNeed
from firstring.routing.line.queues import Waiting, effective_priority, next_due_in_s, next_step_in_s, order, reevaluate
from firstring.routing.may.eligibility import eligible, requirement_at
from firstring.routing.may.memo import EligibilityMemo
from firstring.routing.pick.assign import explain, rank

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)


def agent(agent_id: int, **fields: Any) -> AgentProfile:
    return AgentProfile(agent_id, 1, f"Agent {agent_id}", f"sip:{agent_id}@x", **fields)


def free(agent_id: int, idle_s: float) -> AgentFree:
    return AgentFree(agent_id, 1, NOW - timedelta(seconds=idle_s))


def needing(*steps: tuple[float, Requirement], priority: int = 0, **fields: Any) -> RoutingNeed:
    relaxing = tuple(RelaxingStep(after_s, requirement) for after_s, requirement in steps)
    return RoutingNeed("voice", priority, relaxing or (RelaxingStep(0.0, Requirement()),), **fields)


def routed(need: RoutingNeed, agents: Sequence[tuple[AgentProfile, float]], **options: Any) -> Routing:
    profiles = {(profile.agent_id, profile.version): profile for profile, _ in agents}
    read = [free(profile.agent_id, idle_s) for profile, idle_s in agents]
    return rank(need, read, profiles, **({"now": NOW, "waited_s": 0.0} | options))


def ids(routing: Routing) -> list[int]:
    return [verdict.agent_id for verdict in routing.ranked]


def test_every_reason_against_an_agent_is_named() -> None:
    profile = agent(1, skills={"billing": 1}, languages={"es": 2}, channels=("chat",))
    asked = Requirement({"billing": 3, "kyc": 1}, "es", 4, "vip")
    fits, reasons = eligible(profile, asked, "voice", excluded={1})
    assert not fits
    assert [reason.code for reason in reasons] == [
        "agent_excluded",
        "channel_missing",
        "language_level",
        "skill_level",
        "skill_missing",
        "tier_missing",
    ]
    assert reasons[2].text == "Speaks es at 2, 4 is asked for"


def test_an_agent_who_brings_it_is_eligible() -> None:
    profile = agent(1, skills={"billing": 3}, languages={"es": 4}, tiers=("vip",))
    assert eligible(profile, Requirement({"billing": 3}, "es", 4, "vip"), "voice") == (True, ())


def test_no_place_on_a_channel_and_a_language_not_spoken() -> None:
    fits, reasons = eligible(agent(1, capacity={"voice": 0}), Requirement(language="de"), "voice")
    assert not fits
    assert [reason.code for reason in reasons] == ["capacity_none", "language_missing"]


def test_the_step_that_holds() -> None:
    first, second = Requirement(tier="vip"), Requirement()
    need = needing((0.0, first), (15.0, second))
    assert [requirement_at(need, s) for s in (-5.0, 0.0, 14.999, 15.0, 1e9)] == [first, first, first, second, second]
    assert requirement_at(RoutingNeed("voice", 0, ()), 3.0) == Requirement()
    assert [next_step_in_s(need, s) for s in (-5.0, 0.0, 14.0, 15.0)] == [20.0, 15.0, 1.0, None]


def test_longest_idle_first_ties_by_agent_id() -> None:
    got = routed(needing(), [(agent(3), 10), (agent(2), 50), (agent(1), 10)])
    assert ids(got) == [2, 1, 3]
    assert [verdict.score for verdict in got.ranked] == [50.0, 10.0, 10.0]
    assert (got.eligible, got.considered, got.propensity) == (3, 3, 1.0)


def test_vip_to_the_team_and_others_to_the_others() -> None:
    world = [(agent(1, tiers=("vip",)), 900.0), (agent(2), 5.0), (agent(3, tiers=("gold",)), 800.0)]
    vip = needing((0.0, Requirement(tier="vip")), (15.0, Requirement()))
    assert ids(routed(vip, world)) == [1]
    assert ids(routed(vip, world, waited_s=15.0)) == [1, 2, 3]
    everyone = routed(needing(), world)
    assert ids(everyone) == [2, 1, 3]
    assert "team_spared" in {reason.code for reason in everyone.ranked[1].reasons}


def test_preferred_agents_come_first_if_eligible_and_excluded_ones_never() -> None:
    world = [(agent(i), 10.0 * i) for i in range(1, 6)] + [(agent(6, channels=("chat",)), 99.0)]
    got = routed(needing(preferred=(2, 6, 1, 5), excluded=(5, 4)), world)
    assert ids(got) == [2, 1, 3]
    assert {reason.code: reason.weight for reason in got.reasons} == {"agent_excluded": 2.0, "channel_missing": 1.0}


def test_nobody_is_said_with_why() -> None:
    assert [reason.code for reason in routed(needing(), []).reasons] == ["no_agent_free"]
    got = routed(needing((0.0, Requirement(language="es"))), [(agent(1), 1.0), (agent(2), 2.0)])
    assert got.ranked == ()
    assert [reason.text for reason in got.reasons] == [
        "None of 2 free agents may serve this contact now",
        "2 free agents not speaking es",
    ]


def test_an_agent_without_a_known_profile_is_not_ranked_and_is_counted() -> None:
    got = rank(needing(), [free(1, 5)], {}, now=NOW, waited_s=0.0)
    assert (got.ranked, [reason.code for reason in got.reasons]) == ((), ["no_agent_eligible", "profile_unknown"])


def test_a_clock_that_went_back_gives_no_negative_idle_time() -> None:
    assert routed(needing(), [(agent(1), -30.0)]).ranked[0].score == 0.0


def test_more_agents_than_are_considered() -> None:
    count = limits.AGENTS_CONSIDERED + 5
    got = routed(needing(), [(agent(i), float(i)) for i in range(count)])
    assert ids(got) == [count - 1 - i for i in range(limits.ALTERNATIVES_KEPT)]
    assert (got.considered, got.eligible) == (limits.AGENTS_CONSIDERED, limits.AGENTS_CONSIDERED)
    assert "agents_cut" in {reason.code for reason in got.reasons}


def test_explain_says_why_or_why_not() -> None:
    need = needing((0.0, Requirement({"kyc": 2})))
    able, unable = agent(1, skills={"kyc": 3}), agent(2)
    why = explain(need, free(1, 60), able, now=NOW, waited_s=0.0)
    assert why.eligible
    assert [reason.text for reason in why.reasons] == ["kyc at 3, 2 is asked for", "Idle for 60 s"]
    why_not = explain(need, free(2, 60), unable, now=NOW, waited_s=0.0)
    assert not why_not.eligible
    assert [reason.code for reason in why_not.reasons] == ["skill_missing"]


def test_the_memo_is_bounded_and_forgets_what_was_used_longest_ago() -> None:
    memo = EligibilityMemo(entries_max=5)
    world = [(agent(1), 1.0), (agent(2), 2.0)]
    for language in ("es", "de", "fr"):
        routed(needing((0.0, Requirement(language=language))), world, memo=memo)
        assert len(memo) <= 5
    assert len(memo) == 4
    routed(needing(), [(agent(i), 1.0) for i in range(6)], memo=memo)
    assert len(memo) == 0
    with pytest.raises(ValueError, match="at least 1"):
        EligibilityMemo(0)


def waiting(number: int, waited_s: float, need: RoutingNeed) -> Waiting:
    return Waiting(uuid.UUID(int=number), need, NOW - timedelta(seconds=waited_s))


def test_priority_ages() -> None:
    plain, vip = waiting(1, 310, needing()), waiting(2, 0, needing(priority=30))
    assert order([vip, plain], ageing_s_per_point=10) == [plain, vip]
    assert order([vip, plain], ageing_s_per_point=11) == [vip, plain]
    assert effective_priority(plain, NOW, ageing_s_per_point=10) == 31.0
    assert effective_priority(waiting(3, -9, needing()), NOW, ageing_s_per_point=10) == 0.0


def test_next_due_over_the_queue() -> None:
    steps = ((0.0, Requirement(tier="vip")), (15.0, Requirement()))
    assert next_due_in_s([], NOW) is None
    assert next_due_in_s([waiting(1, 3, needing()), waiting(2, 3, needing(*steps))], NOW) == 12.0
    assert next_due_in_s([waiting(1, 16, needing(*steps))], NOW) is None


def test_an_agent_with_places_takes_several_and_goes_behind_after_each() -> None:
    profiles = {(i, 1): agent(i) for i in (1, 2)}
    queue = [waiting(n, 100 - n, needing()) for n in range(1, 6)]
    places = {(1, "voice"): 3, (2, "voice"): 1, (9, "voice"): 1, (1, "chat"): 4}
    got = reevaluate(queue, [free(1, 60), free(2, 30)], profiles, places, now=NOW, ageing_s_per_point=10)
    assert [(match.contact_id.int, match.agents[0]) for match in got] == [(1, 1), (2, 2), (3, 1), (4, 1)]
    assert got[0].agents == (1, 2)
