"""Routing against brute force: small worlds, every rule stated a second time in the plainest way."""

from __future__ import annotations

import random
import uuid
from datetime import UTC, datetime, timedelta
from itertools import pairwise

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from firstring.contact import (
    AgentFree,
    AgentProfile,
    Candidate,
    Contact,
    Journey,
    LikelyReason,
    OpenIssue,
    RelaxingStep,
    Requirement,
    Resolution,
    RoutingNeed,
)
from firstring.routing.declared.policy import RoutingPolicy, TierRule, routing_policy
from firstring.routing.line.queues import Waiting, effective_priority, next_step_in_s, order, reevaluate, waited_s
from firstring.routing.may.eligibility import eligible, requirement_at, team_of
from firstring.routing.may.memo import EligibilityMemo
from firstring.routing.may.needs import needed, relaxing_steps
from firstring.routing.may.packed import EPOCH, free_agents, packed
from firstring.routing.pick.assign import explain, rank

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
SKILLS = ("billing", "kyc")
LANGUAGES = ("en", "es")
TEAMS = ("vip", "gold")
AGEING_S = 10.0
MICROSECOND = timedelta(microseconds=1)

levels = st.integers(1, 5)
seconds = st.integers(0, 120).map(float)


@st.composite
def policies(draw: st.DrawFn) -> RoutingPolicy:
    low, high = sorted((draw(levels), draw(levels)))
    language_s, skill_s = sorted((draw(seconds), draw(seconds))), sorted((draw(seconds), draw(seconds)))
    return routing_policy(
        {
            "language_level": high,
            "language_level_relaxed": low,
            "language_relaxed_after_s": language_s[0],
            "language_dropped_after_s": language_s[1],
            "skill_relaxed_after_s": skill_s[0],
            "skill_dropped_after_s": skill_s[1],
            "tiers": {t: {"priority": draw(st.integers(0, 40)), "team": t, "team_for_s": 15} for t in TEAMS},
            "intents": {"refund": {"billing": draw(levels)}, "lost_card": {"kyc": draw(levels)}},
        }
    )


# Few draws for each need and profile: Hypothesis pays for every one of them.
FEW_POLICIES = [
    routing_policy({}),
    routing_policy({"language_relaxed_after_s": 0, "skill_dropped_after_s": 30}),
    routing_policy({"language_level": 5, "language_level_relaxed": 5, "language_dropped_after_s": 120}),
]
wanted_skills = st.sampled_from([{}, {"billing": 1}, {"billing": 4}, {"kyc": 2}, {"billing": 2, "kyc": 5}])
level_tables = st.sampled_from([(), (1,), (2, 5), (4, 2), (5,)])
team_sets = st.sampled_from([(), (), ("vip",), ("gold",), ("vip", "gold")])
capacities = st.sampled_from([{"voice": 1}, {"voice": 1}, {"voice": 3, "chat": 2}, {"chat": 3}, {"voice": 0, "chat": 1}])
few_agents = st.sampled_from([(), (), (0,), (3, 1), (2, 2), (1, 4), (6,)])


def steps_of(
    language: str | None, skills: dict[str, int], team: str | None, policy: RoutingPolicy
) -> tuple[RelaxingStep, ...]:
    tier = TierRule(priority=0, team=team, team_for_s=15.0) if team else None
    return relaxing_steps(language, skills, tier, policy)


def needs() -> st.SearchStrategy[RoutingNeed]:
    steps = st.builds(
        steps_of,
        st.sampled_from([None, *LANGUAGES]),
        wanted_skills,
        st.sampled_from([None, *TEAMS]),
        st.sampled_from(FEW_POLICIES),
    )
    channels = st.sampled_from(["voice", "voice", "chat"])
    return st.builds(RoutingNeed, channels, st.integers(0, 60), steps, preferred=few_agents, excluded=few_agents)


@st.composite
def profiles(draw: st.DrawFn, agent_id: int) -> AgentProfile:
    capacity = draw(capacities)
    return AgentProfile(
        agent_id,
        3 - agent_id % 3,
        f"Agent {agent_id}",
        "sip:a@x",
        skills=dict(zip(SKILLS, draw(level_tables), strict=False)),
        languages=dict(zip(LANGUAGES, draw(level_tables), strict=False)),
        tiers=draw(team_sets),
        channels=tuple(capacity),
        capacity=capacity,
    )


World = tuple[list[AgentFree], dict[tuple[int, int], AgentProfile], dict[tuple[int, str], int]]


@st.composite
def worlds(draw: st.DrawFn) -> World:
    known = [draw(profiles(agent_id)) for agent_id in range(draw(st.integers(0, 7)))]
    agents = [AgentFree(p.agent_id, p.version, NOW - timedelta(seconds=draw(st.integers(0, 5)))) for p in known]
    taken = draw(st.sampled_from([0, 0, 1]))
    places = {(p.agent_id, c): max(0, p.capacity[c] - taken * (p.agent_id % 3)) for p in known for c in p.channels}
    return draw(st.permutations(agents)), {(p.agent_id, p.version): p for p in known}, places


@st.composite
def queues_of(draw: st.DrawFn) -> list[Waiting]:
    count = draw(st.integers(0, 10))
    return [
        Waiting(uuid.UUID(int=n), draw(needs()), NOW - timedelta(seconds=draw(st.integers(-3, 150)))) for n in range(count)
    ]


# --- the rules, stated plainly a second time -----------------------------------------------------------------------


def may(profile: AgentProfile, need: RoutingNeed, waited: float) -> bool:
    reached = [step.requirement for step in need.steps if step.after_s <= max(waited, 0.0)]
    asked = reached[-1]
    return (
        profile.agent_id not in need.excluded
        and need.channel in profile.channels
        and profile.capacity[need.channel] > 0
        and all(profile.skills.get(skill, 0) >= level for skill, level in asked.skills.items())
        and (asked.language is None or profile.languages.get(asked.language, 0) >= asked.language_level)
        and (asked.tier is None or asked.tier in profile.tiers)
    )


def better(a: AgentFree, b: AgentFree, need: RoutingNeed, world: World, used: dict[int, int]) -> bool:
    """Whether `a` is tried before `b`."""

    def place(agent: AgentFree) -> tuple[int, int, int, float, int]:
        tiers = world[1][agent.agent_id, agent.version].tiers
        preferred = need.preferred.index(agent.agent_id) if agent.agent_id in need.preferred else 99
        in_class = 1 if not tiers else 0 if need.steps[0].requirement.tier in tiers else 2
        idle_s = (NOW - agent.idle_since).total_seconds()
        if preferred < 99:
            return preferred, 0, 0, 0.0, 0
        return 99, in_class, used.get(agent.agent_id, 0), -idle_s, agent.agent_id

    return place(a) < place(b)


def tried_in_turn(need: RoutingNeed, waited: float, world: World, used: dict[int, int]) -> list[int]:
    """All eligible agents, by selection sort."""
    rest = [a for a in world[0] if may(world[1][a.agent_id, a.version], need, waited)]
    found = []
    while rest:
        first = rest[0]
        for agent in rest[1:]:
            if better(agent, first, need, world, used):
                first = agent
        rest.remove(first)
        found.append(first.agent_id)
    return found


# --- one contact ---------------------------------------------------------------------------------------------------


@given(needs(), worlds(), st.integers(-5, 150), st.integers(1, 10))
def test_rank_equals_brute_force(need: RoutingNeed, world: World, waited: int, limit: int) -> None:
    got = rank(need, world[0], world[1], now=NOW, waited_s=float(waited), limit=limit)
    expected = tried_in_turn(need, waited, world, {})
    assert [verdict.agent_id for verdict in got.ranked] == expected[:limit]
    assert (got.eligible, got.considered) == (len(expected), len(world[0]))
    assert all(verdict.eligible and verdict.reasons for verdict in got.ranked)
    assert not set(need.excluded) & {verdict.agent_id for verdict in got.ranked}
    lost = [r.weight or 0 for r in got.reasons if r.code not in ("no_agent_free", "no_agent_eligible")]
    assert sum(lost) == len(world[0]) - len(expected)


@given(st.lists(needs(), min_size=1, max_size=6), worlds(), st.integers(0, 150), st.integers(1, 30))
def test_a_memo_of_any_size_changes_nothing(needs_: list[RoutingNeed], world: World, waited: int, size: int) -> None:
    memo = EligibilityMemo(size)
    for need in needs_ * 2:
        plain = rank(need, world[0], world[1], now=NOW, waited_s=waited)
        assert rank(need, world[0], world[1], now=NOW, waited_s=waited, memo=memo) == plain
        assert len(memo) <= size


def packed_of(agents: list[AgentFree]) -> bytes:
    columns = [
        [a.agent_id for a in agents],
        [a.version for a in agents],
        [(a.idle_since - EPOCH) // MICROSECOND for a in agents],
    ]
    found = packed(*(np.array(column, np.int64) for column in columns))
    assert found is not None
    return found


@given(st.lists(needs(), min_size=1, max_size=4), worlds(), st.integers(-5, 130), st.integers(1, 20), st.integers(1, 12))
def test_packed_agents_are_ranked_alike(needs_: list[RoutingNeed], world: World, waited: int, limit: int, size: int) -> None:
    """With some profiles unknown too, and with a memo of any size that has seen other agents before."""
    agents, known, _ = world
    profiles_ = {key: profile for key, profile in known.items() if key[0] % 4 != 3}
    memo = EligibilityMemo(size)
    for need in needs_:
        for some in (agents[::2], agents):
            plain = rank(need, some, profiles_, now=NOW, waited_s=waited, limit=limit)
            as_bytes = packed_of(some)
            assert free_agents(as_bytes) == some
            assert rank(need, as_bytes, profiles_, now=NOW, waited_s=waited, limit=limit) == plain
            assert rank(need, as_bytes, profiles_, now=NOW, waited_s=waited, limit=limit, memo=memo) == plain
            assert len(memo) <= size


@given(needs(), worlds(), st.integers(0, 150))
def test_the_order_of_reading_does_not_matter(need: RoutingNeed, world: World, waited: int) -> None:
    plain = rank(need, world[0], world[1], now=NOW, waited_s=waited)
    assert rank(need, world[0][::-1], world[1], now=NOW, waited_s=waited) == plain


@given(needs(), worlds(), st.integers(0, 150))
def test_explanations_agree_with_the_ranking(need: RoutingNeed, world: World, waited: int) -> None:
    for agent in world[0]:
        profile = world[1][agent.agent_id, agent.version]
        verdict = explain(need, agent, profile, now=NOW, waited_s=waited)
        assert verdict.eligible == may(profile, need, waited)
        assert verdict.reasons


# --- relaxing ------------------------------------------------------------------------------------------------------


@given(needs(), worlds())
def test_relaxing_only_ever_admits_more(need: RoutingNeed, world: World) -> None:
    times = [step.after_s for step in need.steps]
    assert times[0] == 0.0
    assert times == sorted(set(times))
    requirements = [step.requirement for step in need.steps]
    assert all(a != b for a, b in pairwise(requirements))
    assert need.steps[-1].requirement == Requirement()
    admitted: set[int] = set()
    for asked in requirements:
        now_admitted = {p.agent_id for p in world[1].values() if eligible(p, asked, need.channel)[0]}
        assert admitted <= now_admitted
        admitted = now_admitted


@given(needs(), st.floats(0, 200))
def test_between_two_steps_nothing_changes(need: RoutingNeed, waited: float) -> None:
    due_s = next_step_in_s(need, waited)
    if due_s is None:
        assert requirement_at(need, waited) == requirement_at(need, 1e9)
    else:
        assert due_s > 0
        assert requirement_at(need, waited + due_s / 2) == requirement_at(need, waited)
        assert requirement_at(need, waited + due_s + 1e-6) != requirement_at(need, waited)


@given(st.data())
def test_needs_follow_the_probabilities(data: st.DataObject) -> None:
    policy = data.draw(policies())
    weights = data.draw(st.lists(st.floats(0.01, 1.0), max_size=4))
    total = sum(weights) + data.draw(st.floats(0.0, 1.0))
    candidates, journeys = [], []
    for person, weight in enumerate(weights):
        tier, language = data.draw(st.sampled_from([None, *TEAMS])), data.draw(st.sampled_from([None, *LANGUAGES]))
        profile = {key: value for key, value in (("tier", tier), ("language", language)) if value}
        candidates.append(Candidate(person, weight / total, profile=profile))
        kinds = data.draw(st.lists(st.sampled_from(["complaint", "refund", "other"]), max_size=2))
        intents = data.draw(st.sets(st.sampled_from(["refund", "lost_card", "chat"])))
        journeys.append(
            Journey(
                person,
                open_issues=tuple(OpenIssue(kind, "r", NOW, 1, person) for kind in kinds),
                likely_reasons=tuple(LikelyReason(intent, 0.9 / len(intents), "") for intent in sorted(intents)),
            )
        )
    who = Resolution(tuple(candidates), 1.0 - sum(c.probability for c in candidates), 0.0, "prior", "test")
    got = needed(Contact(uuid.UUID(int=1), "voice", NOW, "c"), who, journeys, policy=policy).need

    first = requirement_at(got, 0.0)
    for key, asked, threshold in (
        ("tier", first.tier, policy.team_probability),
        ("language", first.language, policy.language_probability),
    ):
        shares = {v: sum(c.probability for c in candidates if c.profile.get(key) == v) for v in (*TEAMS, *LANGUAGES)}
        if asked is not None:
            assert shares[asked] == max(shares.values()) >= threshold
        elif key == "tier" or policy.language_dropped_after_s > 0:
            assert max(shares.values()) < threshold
    expected = sum(
        c.probability
        * (
            (policy.tiers[c.profile["tier"]].priority if "tier" in c.profile else 0)
            + max([policy.issues.get(i.kind, 0) for i in j.open_issues], default=0)
        )
        for c, j in zip(candidates, journeys, strict=True)
    )
    assert abs(got.priority - min(expected, policy.priority_max)) <= 0.5 + 1e-9


# --- the queue -----------------------------------------------------------------------------------------------------


@given(queues_of())
def test_order_is_by_effective_priority(queue: list[Waiting]) -> None:
    got = order(queue, ageing_s_per_point=AGEING_S)
    assert sorted(w.contact_id for w in got) == sorted(w.contact_id for w in queue)
    settled = NOW + timedelta(seconds=10)  # nobody has a negative wait
    points = [effective_priority(w, settled, ageing_s_per_point=AGEING_S) for w in got]
    assert all(a >= b - 1e-9 for a, b in pairwise(points))


@given(queues_of())
def test_nobody_is_overtaken_by_who_came_too_much_later(queue: list[Waiting]) -> None:
    got = order(queue, ageing_s_per_point=AGEING_S)
    points = [w.need.priority for w in queue]
    bound = timedelta(seconds=AGEING_S * (max(points, default=0) - min(points, default=0)))
    for place, ahead in enumerate(got):
        assert all(ahead.since <= behind.since + bound for behind in got[place + 1 :])


@given(st.integers(0, 10_000))
@settings(max_examples=20)
def test_no_starvation_when_a_vip_arrives_for_every_free_agent(seed: int) -> None:
    """One agent, served every 5 s, and an urgent contact every 5 s: the plain one is served within the bound."""
    chance = random.Random(seed)
    plain = Waiting(uuid.UUID(int=0), RoutingNeed("voice", 0, relaxing_steps(None, {}, None, RoutingPolicy())), NOW)
    queue, clock, number = [plain], NOW, 1
    while plain in queue:
        priority = chance.randint(1, 60)
        queue.append(Waiting(uuid.UUID(int=number), RoutingNeed("voice", priority, plain.need.steps), clock))
        queue.remove(order(queue, ageing_s_per_point=AGEING_S)[0])
        clock, number = clock + timedelta(seconds=5), number + 1
        assert (clock - NOW).total_seconds() <= 2 * 60 * AGEING_S + 5


def reevaluate_by_hand(queue: list[Waiting], world: World) -> list[tuple[uuid.UUID, list[int]]]:
    left, used, matches = dict(world[2]), dict[int, int](), []
    rest = list(queue)
    while rest:
        contact = min(rest, key=lambda w: (w.since.timestamp() - w.need.priority * AGEING_S, w.since, w.contact_id.int))
        rest.remove(contact)
        channel = contact.need.channel
        able = tried_in_turn(contact.need, waited_s(contact, NOW), world, used)
        able = [agent_id for agent_id in able if left.get((agent_id, channel), 0) > 0]
        if able:
            left[able[0], channel] -= 1
            used[able[0]] = used.get(able[0], 0) + 1
            matches.append((contact.contact_id, able))
    return matches


@given(queues_of(), worlds(), st.integers(1, 8))
@settings(max_examples=150)
def test_reevaluate_equals_brute_force(queue: list[Waiting], world: World, limit: int) -> None:
    got = reevaluate(queue, *world, now=NOW, ageing_s_per_point=AGEING_S, limit=limit)
    expected = reevaluate_by_hand(queue, world)
    assert [(m.contact_id, list(m.agents)) for m in got] == [(contact, able[:limit]) for contact, able in expected]


@given(queues_of(), worlds())
@settings(max_examples=150)
def test_no_eligible_agent_stays_idle_beside_a_waiting_contact(queue: list[Waiting], world: World) -> None:
    got = reevaluate(queue, *world, now=NOW, ageing_s_per_point=AGEING_S, memo=EligibilityMemo())
    left = dict(world[2])
    by_id = {w.contact_id: w for w in queue}
    for match in got:
        contact = by_id.pop(match.contact_id)  # a KeyError here is a contact matched twice
        left[match.agents[0], contact.need.channel] -= 1
        assert not set(match.agents) & set(contact.need.excluded)
    assert all(count >= 0 for count in left.values())
    for contact in by_id.values():
        for agent in world[0]:
            if left.get((agent.agent_id, contact.need.channel), 0) > 0:
                profile = world[1][agent.agent_id, agent.version]
                assert not may(profile, contact.need, waited_s(contact, NOW))


@given(queues_of(), worlds())
@settings(max_examples=150)
def test_vips_get_their_team_and_others_leave_it_to_them(queue: list[Waiting], world: World) -> None:
    left, tiers = dict(world[2]), {agent_id: profile.tiers for (agent_id, _), profile in world[1].items()}
    by_id = {w.contact_id: w for w in queue}
    for match in reevaluate(queue, *world, now=NOW, ageing_s_per_point=AGEING_S):
        contact, chosen = by_id[match.contact_id], match.agents[0]
        need, team = contact.need, team_of(contact.need)
        able = [
            profile.agent_id
            for profile in world[1].values()
            if left.get((profile.agent_id, need.channel), 0) > 0 and may(profile, need, waited_s(contact, NOW))
        ]
        left[chosen, need.channel] -= 1
        if chosen in need.preferred:
            continue
        if team is not None and any(team in tiers[agent_id] for agent_id in able):
            assert team in tiers[chosen]
        if tiers[chosen] and team not in tiers[chosen]:
            assert all(tiers[agent_id] for agent_id in able)
