"""Estimated waits: by hand, and against what happens in a line of many agents."""

from __future__ import annotations

import random
import uuid
from datetime import UTC, datetime, timedelta

import pytest

from firstring.contact import AgentProfile, RelaxingStep, Requirement, RoutingNeed
from firstring.routing.line.queues import Waiting
from firstring.routing.line.waits import TOLD_MIN, estimates

NOW = datetime(2026, 3, 2, 12, tzinfo=UTC)


def line(*skills: str | None, waited_s: float = 0.0) -> list[Waiting]:
    return [
        Waiting(
            uuid.UUID(int=number),
            RoutingNeed("voice", 0, (RelaxingStep(0.0, Requirement(skills={skill: 1} if skill else {})),)),
            NOW - timedelta(seconds=waited_s),
        )
        for number, skill in enumerate(skills)
    ]


def agents(count: int, *skills: str) -> list[AgentProfile]:
    return [AgentProfile(number, 1, "A", "", skills=dict.fromkeys(skills, 3)) for number in range(1, count + 1)]


def test_the_kth_in_line_waits_for_the_kth_who_becomes_free() -> None:
    found = list(estimates(line(None, None, None), agents(10), now=NOW, handle_s={"voice": 200.0}).values())
    assert [one.wait_s for one in found if one] == pytest.approx([20.0, 40.0, 60.0])
    assert all(one is not None and one.low_s < one.wait_s < one.high_s for one in found)


def test_who_is_ahead_for_others_does_not_count() -> None:
    team = [*agents(1, "a"), AgentProfile(2, 1, "B", "", skills={"b": 1})]
    found = estimates(line("a", "a", "b"), team, now=NOW, handle_s={"voice": 100.0})
    assert [one.place for one in found.values() if one] == [1.0, 2.0, 1.0]


def test_who_may_be_served_by_others_too_counts_in_part() -> None:
    team = [*agents(1, "a"), AgentProfile(2, 1, "B", "")]
    found = estimates(line(None, "a"), team, now=NOW, handle_s={"voice": 100.0})
    assert [one.place for one in found.values() if one] == [1.0, 1.5]


def test_nobody_who_is_there_may_serve_it_until_it_relaxes() -> None:
    steps = (RelaxingStep(0.0, Requirement(skills={"kyc": 3})), RelaxingStep(60.0, Requirement()))
    waits = Waiting(uuid.UUID(int=1), RoutingNeed("voice", 0, steps), NOW - timedelta(seconds=10))
    [found] = estimates([waits], agents(100), now=NOW, handle_s={"voice": 100.0}).values()
    assert found is not None
    assert found.wait_s == pytest.approx(50.0)
    hard = Waiting(uuid.UUID(int=1), RoutingNeed("voice", 0, steps[:1]), NOW)
    assert list(estimates([hard], agents(3), now=NOW, handle_s={}).values()) == [None]
    assert list(estimates([hard], [], now=NOW, handle_s={}).values()) == [None]


def test_how_long_the_first_has_waited_is_nothing_to_those_behind() -> None:
    first, second = line(None, waited_s=300.0)[0], line(None, None)[1]
    found = estimates([first, second], agents(100), now=NOW, handle_s={"voice": 100.0})
    assert [one.wait_s for one in found.values() if one] == pytest.approx([1.0, 2.0])
    # Nor is what another waits for, whose needs are the same by now and relax at another time.
    hard = Requirement(skills={"kyc": 3})
    needs = [RoutingNeed("voice", 0, (RelaxingStep(0.0, hard), RelaxingStep(at_s, Requirement()))) for at_s in (50.0, 90.0)]
    both = [Waiting(uuid.UUID(int=number), need, NOW) for number, need in enumerate(needs)]
    found = estimates(both, agents(100), now=NOW, handle_s={"voice": 100.0})
    assert [one.wait_s for one in found.values() if one] == pytest.approx([50.0, 90.0])


def test_whoever_is_barred_does_not_count() -> None:
    need = RoutingNeed("voice", 0, (RelaxingStep(0.0, Requirement()),), barred=(2, 99))
    [found] = estimates([Waiting(uuid.UUID(int=1), need, NOW)], agents(2), now=NOW, handle_s={"voice": 100.0}).values()
    assert found is not None
    assert found.wait_s == pytest.approx(100.0)


def test_four_of_five_waits_lie_in_the_interval() -> None:
    """A line of 20 agents with exponential times, as the model says; and of twice that time, once it was seen."""
    chance = random.Random(7)

    def share(actual_s: float, ratios: list[float]) -> tuple[float, list[float]]:
        inside, seen = 0, []
        for _ in range(400):
            place = chance.randint(1, 12)
            told = list(
                estimates(line(*[None] * place), agents(20), now=NOW, handle_s={"voice": 300.0}, ratios=ratios).values()
            )[-1]
            assert told is not None
            came = sum(chance.expovariate(20.0 / actual_s) for _ in range(place))
            inside += told.low_s <= came <= told.high_s
            seen.append(came / told.wait_s)
        return inside / 400, seen

    right, _ = share(300.0, [])
    assert 0.74 <= right <= 0.86
    wrong, seen = share(600.0, [])
    assert wrong < 0.6
    assert len(seen) >= TOLD_MIN
    corrected, _ = share(600.0, seen[-200:])
    assert 0.72 <= corrected <= 0.92
