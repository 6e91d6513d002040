"""Who may serve: hours, mixes, licences, conditions in CEL that relax, complaints, continuity, directions."""

from __future__ import annotations

import uuid
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from firstring.contact import (
    AgentFree,
    AgentProfile,
    Candidate,
    Contact,
    Directions,
    Reason,
    Requirement,
    Resolution,
    RoutingNeed,
    TouchRead,
)
from firstring.errors import BadInput
from firstring.routing.declared.policy import RoutingPolicy, policy_from_file, policy_from_toml
from firstring.routing.may.agents import agent_profile, may_take
from firstring.routing.may.eligibility import eligible, requirement_at
from firstring.routing.may.history import barred_agents, last_agent
from firstring.routing.may.hours import at_work, working_hours
from firstring.routing.may.memo import EligibilityMemo
from firstring.routing.may.needs import needed
from firstring.routing.may.packed import EPOCH, packed
from firstring.routing.pick.assign import explain, rank

NOW = datetime(2026, 3, 2, 12, tzinfo=UTC)  # a Monday
POLICY = RoutingPolicy()
SPANISH = """
[[routing.rules]]
name = "spanish"
when = "contact.language == 'es'"
steps = [
  { agent = "agent.languages['es'] >= 4", for_s = 20 },
  { agent = "agent.languages['es'] >= 2" },
]
"""


def agent(agent_id: int, **more: Any) -> AgentProfile:
    return AgentProfile(agent_id, 1, f"Agent {agent_id}", "sip:a@x", **more)


def contact(**more: Any) -> Contact:
    return Contact(uuid.UUID(int=1), "voice", NOW, call_key="a", **more)


def someone(*people: tuple[int, float, dict[str, Any]]) -> Resolution:
    candidates = tuple(Candidate(person, share, profile=profile) for person, share, profile in people)
    return Resolution(candidates, 1.0 - sum(share for _, share, _ in people), 0.0, "prior", "test")


def ranked(need: RoutingNeed, agents: list[AgentProfile], waited_s: float = 0.0, now: datetime = NOW) -> list[int]:
    """The order, which must be the same for agents one by one and packed, with a memo and without."""
    free = [AgentFree(one.agent_id, one.version, now - timedelta(seconds=30)) for one in agents]
    profiles = {(one.agent_id, one.version): one for one in agents}
    idle_us = np.array([(one.idle_since - EPOCH) // timedelta(microseconds=1) for one in free], np.int64)
    ids, versions = (np.array(values, np.int64) for values in zip(*profiles, strict=True))
    as_bytes = packed(ids, versions, idle_us)
    assert as_bytes is not None
    memo = EligibilityMemo()
    orders = {
        tuple(verdict.agent_id for verdict in rank(need, of, profiles, now=now, waited_s=waited_s, memo=one).ranked)
        for of in (free, as_bytes)
        for one in (None, memo, memo)
    }
    assert len(orders) == 1
    [order] = orders
    for one, profile in zip(free, agents, strict=True):
        verdict = explain(need, one, profile, now=now, waited_s=waited_s)
        assert verdict.eligible == (profile.agent_id in order)
    return list(order)


# --- profiles ------------------------------------------------------------------------------------------------------


def profile(**raw: Any) -> AgentProfile:
    return agent_profile({"name": "Ann", "address": "sip:ann@pbx.example", **raw}, agent_id=1)


def test_working_hours_in_the_agents_own_zone() -> None:
    hours = working_hours(
        {"zone": "Europe/Berlin", "mon-fri": ["08:00-12:00", "12:30-17:00"], "sat": ["22:00-06:00"]}, "hours"
    )
    berlin = datetime(2026, 3, 2, 7, 0, tzinfo=UTC)  # 08:00 there
    assert at_work(hours, berlin)
    assert not at_work(hours, berlin - timedelta(minutes=1))
    assert not at_work(hours, berlin + timedelta(hours=4, minutes=15))
    assert at_work(hours, datetime(2026, 7, 6, 6, 0, tzinfo=UTC))  # summer time
    assert at_work(hours, datetime(2026, 3, 8, 4, 59, tzinfo=UTC))  # Sunday 05:59, of the night before
    assert not at_work(hours, datetime(2026, 3, 8, 5, 0, tzinfo=UTC))
    assert at_work(None, NOW)


@pytest.mark.parametrize(
    ("raw", "code", "field"),
    [
        ({"hours": {"zone": "Mars/Olympus", "mon": ["08:00-12:00"]}}, "hours_invalid", "hours.zone"),
        ({"hours": {"mon": ["08:00-12:00"]}}, "hours_invalid", "hours.zone"),
        ({"hours": {"zone": "UTC", "someday": ["08:00-12:00"]}}, "hours_invalid", "hours.someday"),
        ({"hours": {"zone": "UTC", "mon": ["8-12"]}}, "hours_invalid", "hours.mon"),
        ({"hours": {"zone": "UTC", "mon": ["08:00-08:00"]}}, "hours_invalid", "hours.mon"),
        ({"hours": {"zone": "UTC", "mon": ["24:00-08:00"]}}, "hours_invalid", "hours.mon"),
        ({"mix": [{"voice": 2}]}, "mix_invalid", "mix[0].voice"),
        ({"channels": ["voice", "chat"], "mix": [{"voice": 1}]}, "mix_invalid", "mix.chat"),
        ({"mix": [{"fax": 1}]}, "channel_unknown", "mix[0]"),
        ({"at_once": -1}, "number_out_of_range", "at_once"),
        ({"licences": {"life": "soon"}}, "licence_invalid", "licences.life"),
        ({"licences": {"Life": "", "life": ""}}, "name_twice", "licences.life"),
        ({"refuses": ["no/name"]}, "name_invalid", "refuses"),
    ],
)
def test_refusals_name_the_field(raw: dict[str, Any], code: str, field: str) -> None:
    with pytest.raises(BadInput) as refused:
        profile(**raw)
    assert (refused.value.code, refused.value.where["field"]) == (code, field)


def test_one_call_or_three_chats() -> None:
    ann = profile(channels=["voice", "chat"], capacity={"chat": 3}, mix=[{"voice": 1}, {"chat": 3}])
    assert may_take(ann, {}, "voice")
    assert may_take(ann, {"chat": 2}, "chat")
    assert not may_take(ann, {"chat": 3}, "chat")
    assert not may_take(ann, {"chat": 1}, "voice")
    assert not may_take(ann, {"voice": 1}, "chat")
    two = profile(channels=["voice", "chat"], capacity={"chat": 3}, at_once=2)
    assert may_take(two, {"voice": 1}, "chat")
    assert not may_take(two, {"voice": 1, "chat": 1}, "chat")


def test_a_licence_ends() -> None:
    ann = profile(licences={"life": "2026-03-02", "home": ""})
    assert ann.licences == {"life": "2026-03-02", "home": ""}
    asked = Requirement(licences=("life",))
    assert eligible(ann, asked, "voice", now=NOW)[0]
    fits, reasons = eligible(ann, asked, "voice", now=NOW + timedelta(days=1))
    assert not fits
    assert [reason.code for reason in reasons] == ["licence_missing"]
    assert profile(licences=["life"]).licences == {"life": ""}


# --- who is eligible -------------------------------------------------------------------------------------------------


def test_outside_their_hours_nobody_is_asked() -> None:
    day = working_hours({"zone": "UTC", "mon-fri": ["08:00-16:00"]}, "hours")
    night = working_hours({"zone": "UTC", "mon-fri": ["16:00-24:00"]}, "hours")
    need = needed(contact(), someone(), (), policy=POLICY).need
    team = [agent(1, hours=day), agent(2), agent(3, hours=night)]
    assert ranked(need, team) == [1, 2]
    assert ranked(need, team, now=NOW + timedelta(hours=5)) == [2, 3]


def test_a_refused_reason_and_a_missing_licence() -> None:
    policy = policy_from_toml('[routing.licences]\nlife = ["life"]')
    need = needed(contact(), someone(), (), policy=policy, intent="life.claim").need
    team = [agent(1, licences={"life": ""}), agent(2), agent(3, licences={"life": ""}, refuses=("life",))]
    assert ranked(need, team) == [1]
    assert ranked(need, team, waited_s=3_000.0) == [1], "a licence is never relaxed"


def test_spanish_at_four_for_twenty_seconds_then_at_two() -> None:
    policy = policy_from_toml("[routing]\nlanguage_relaxed_after_s = 0\nlanguage_dropped_after_s = 0" + SPANISH)
    need = needed(contact(language="es"), someone(), (), policy=policy).need
    team = [agent(1, languages={"es": 5}), agent(2, languages={"es": 2}), agent(3)]
    assert ranked(need, team) == [1]
    assert ranked(need, team, waited_s=19.9) == [1]
    assert ranked(need, team, waited_s=20.0) == [1, 2]
    assert ranked(need, team, waited_s=3_600.0) == [1, 2], "the last step has no end"
    assert needed(contact(language="en"), someone(), (), policy=policy).need.steps[0].requirement.rules == ()


def test_a_later_step_never_shuts_out_whom_an_earlier_one_let_in() -> None:
    policy = policy_from_toml(
        """
        [[routing.rules]]
        name = "one or the other"
        steps = [
          { agent = "agent.skills['billing'] >= 3", for_s = 10 },
          { agent = "'legal' in agent.licences", for_s = 10 },
        ]
        """
    )
    need = needed(contact(), someone(), (), policy=policy).need
    team = [agent(1, skills={"billing": 3}), agent(2, licences={"legal": ""}), agent(3)]
    assert ranked(need, team, waited_s=9.0) == [1]
    assert ranked(need, team, waited_s=10.0) == [1, 2]
    assert ranked(need, team, waited_s=20.0) == [1, 2, 3]


def test_a_rule_counts_by_the_probability_of_the_customer() -> None:
    policy = policy_from_toml(
        """
        [[routing.rules]]
        name = "gold"
        when = "customer.tier == 'gold'"
        probability = 0.6
        steps = [{ agent = "'gold' in agent.tiers", for_s = 30 }]
        """
    )
    sure = someone((1, 0.7, {"tier": "gold"}))
    unsure = someone((1, 0.5, {"tier": "gold"}), (2, 0.4, {"tier": "plain"}))
    assert needed(contact(), sure, (), policy=policy).need.steps[0].requirement.rules == ("'gold' in agent.tiers",)
    assert needed(contact(), unsure, (), policy=policy).need.steps[0].requirement.rules == ()


@pytest.mark.parametrize(
    ("text", "code", "field"),
    [
        ('[[routing.rules]]\nname = "a"\nsteps = []', "rule_invalid", "routing.rules[0].steps"),
        (
            '[[routing.rules]]\nname = "a"\nsteps = [{agent = "true"}, {agent = "true"}]',
            "rule_invalid",
            "routing.rules[0].steps[0].for_s",
        ),
        (
            '[[routing.rules]]\nname = "a"\nsteps = [{agent = "agent.skils.x > 1"}]',
            "expression_invalid",
            "routing.rules[0].steps[0].agent",
        ),
        ('[[routing.rules]]\nname = "a"\nwhen = 3\nsteps = []', "expression_invalid", "routing.rules[0].when"),
        ('[[routing.rules]]\nname = "a"\nif = "true"\nsteps = []', "field_unknown", "routing.rules[0].if"),
    ],
)
def test_a_rule_that_cannot_be_followed_is_refused_with_its_place(tmp_path: Path, text: str, code: str, field: str) -> None:
    path = tmp_path / "routing.toml"
    path.write_text(text)
    with pytest.raises(BadInput) as refused:
        policy_from_file(path)
    assert (refused.value.code, refused.value.where["field"]) == (code, field)
    assert refused.value.where["file"] == str(path)
    assert refused.value.hint
    assert policy_from_file(tmp_path / "none.toml") == RoutingPolicy()


# --- history -------------------------------------------------------------------------------------------------------


def touch(number: int, person: int, *, days: float = 1.0, **more: Any) -> TouchRead:
    return TouchRead(number, 1, person, "voice", "Call Ended", NOW - timedelta(days=days), **more)


def complaint(number: int, person: int, effect: int = 1, **properties: Any) -> TouchRead:
    return touch(number, person, issue_kind="complaint", issue_effect=effect, properties=properties)


def test_a_complaint_about_an_agent_never_returns_to_them() -> None:
    noor = someone((1, 0.9, {}))
    touches = [touch(1, 1, properties={"contact_id": "c-1", "agent_id": 7}), complaint(2, 1, contact_id="c-1")]
    reasons: list[Reason] = []
    assert barred_agents(noor, touches, 0.05, reasons) == (7,)
    assert reasons[0].field == "7"
    assert barred_agents(noor, [complaint(2, 1, agent_id="7"), complaint(3, 1, -1)], 0.05, []) == (7,), "settled or not"
    assert barred_agents(noor, [complaint(2, 2, agent_id=7)], 0.05, []) == (), "somebody else's"
    need = needed(contact(), noor, (), policy=POLICY, touches=touches, now=NOW).need
    assert ranked(need, [agent(7), agent(8)]) == [8]
    assert ranked(need, [agent(7)], waited_s=86_400.0) == []


def test_what_anybody_may_send_bars_nobody() -> None:
    noor = someone((1, 0.9, {}))
    claimed = touch(2, 1, issue_kind="complaint", issue_effect=1, properties={"agent_id": 7}, claimed=True)
    assert barred_agents(noor, [claimed], 0.05, []) == ()
    assert barred_agents(someone((1, 0.04, {})), [complaint(2, 1, agent_id=7)], 0.05, []) == ()
    for odd in (True, -1, "x", 1.5, None, 2**70, ["7"]):
        assert barred_agents(noor, [complaint(2, 1, agent_id=odd)], 0.05, []) == ()


def test_the_last_agent_is_weighed_and_not_forced() -> None:
    noor = someone((1, 0.8, {}))
    touches = [touch(1, 1, properties={"agent_id": 7}), touch(2, 1, days=2, properties={"agent_id": 8})]
    assert last_agent(noor, touches, NOW, 30.0) == (7, 0.8)
    assert last_agent(noor, touches, NOW, 0.5) == (None, 0.0)
    need = needed(contact(), noor, (), policy=POLICY, touches=touches, now=NOW).need
    assert (need.last_agent, need.continuity_s) == (7, 48.0)
    profiles = {(one, 1): agent(one) for one in (7, 9)}

    def first(idle_s: float) -> int:
        free = [AgentFree(7, 1, NOW), AgentFree(9, 1, NOW - timedelta(seconds=idle_s))]
        return rank(need, free, profiles, now=NOW, waited_s=0.0).ranked[0].agent_id

    assert first(47.0) == 7
    assert first(49.0) == 9, "somebody idle for longer goes first"
    reasons = rank(need, [AgentFree(7, 1, NOW)], profiles, now=NOW, waited_s=0.0).ranked[0].reasons
    assert "continuity" in [reason.code for reason in reasons]


# --- directions ----------------------------------------------------------------------------------------------------


def test_a_contact_sent_to_an_agent_waits_for_them_but_not_for_ever() -> None:
    sent = Directions(to_agent=7, to_agent_at=NOW - timedelta(seconds=10))
    need = needed(contact(), someone(), (), policy=POLICY, directions=sent, now=NOW, waited_s=100.0).need
    team = [agent(7), agent(8)]
    assert ranked(need, team, waited_s=100.0) == [7]
    assert ranked(need, team, waited_s=149.9) == [7]
    assert sorted(ranked(need, team, waited_s=150.0)) == [7, 8]
    refused = needed(contact(), someone(), (), policy=POLICY, directions=sent, now=NOW, excluded=(7,)).need
    assert ranked(refused, team) == [8], "who did not take it is waited for no longer"
    over = needed(contact(), someone(), (), policy=POLICY, directions=sent, now=NOW + timedelta(seconds=50)).need
    assert sorted(ranked(over, team)) == [7, 8]
    back = needed(contact(), someone(), (), policy=POLICY, directions=sent, now=NOW - timedelta(seconds=11)).need
    assert sorted(ranked(back, team)) == [7, 8], "a clock that went back holds nobody"


def test_a_supervisor_gives_points_within_bounds_and_asks_for_a_skill() -> None:
    up = needed(contact(), someone(), (), policy=POLICY, directions=Directions(points=1_000, skills={"legal": 2})).need
    assert up.priority == POLICY.priority_max
    assert up.ahead_s == 30.0
    assert requirement_at(up, 0.0).skills == {"legal": 2}
    assert needed(contact(), someone(), (), policy=POLICY, directions=Directions(points=-5)).need.priority == 0
