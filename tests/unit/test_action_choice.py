"""Hours, hold-out, chances, draws, what flips a choice, what a log says of a policy: each against something independent."""

from __future__ import annotations

import math
from collections import Counter
from datetime import UTC, datetime, timedelta
from random import Random

import numpy as np
import pytest

from firstring.errors import BadInput
from firstring.nextbest.declared import together
from firstring.nextbest.evaluation.policy import choices_of
from firstring.nextbest.holdout import held_out
from firstring.nextbest.hours import Hours, Span, is_zone, opens
from firstring.nextbest.learning.logistic import Logistic, better, fit
from firstring.nextbest.learning.posterior import Beta, Learned, Tally, base_of, chance_of, key_of
from firstring.nextbest.learning.thompson import ATOMS, Arm, drawn, draws_of, quantiles
from firstring.nextbest.reach import country_of, routes_of, zones_of
from firstring.proof.offpolicy import Logged, evaluated

NIGHT = Hours(quiet=(Span(21 * 60, 8 * 60),))


def at(hour: int, minute: int = 0, day: int = 4) -> datetime:
    return datetime(2026, 3, day, hour, minute, tzinfo=UTC)  # the 4th is a Wednesday


def test_quiet_hours_where_they_are() -> None:
    assert NIGHT.closed(at(20), ["UTC"], "") == ""
    assert NIGHT.closed(at(20), ["Europe/Berlin"], "") == "quiet_hours"
    assert NIGHT.closed(at(7), ["Europe/Berlin"], "") == ""
    assert NIGHT.closed(at(13, 30), ["America/New_York", "America/Los_Angeles"], "") == "quiet_hours", "every zone counts"
    assert opens([NIGHT], at(21, 5), ["UTC"], "") == at(8, 0, 5)
    assert opens([Hours(quiet=(Span(0, 24 * 60),))], at(12), ["UTC"], "") is None


def test_quiet_hours_when_the_clocks_change() -> None:
    # 29 March 2026: 02:00 becomes 03:00 in Berlin; 06:30 UTC is 08:30 there, the day before it was 07:30
    assert NIGHT.closed(datetime(2026, 3, 28, 6, 30, tzinfo=UTC), ["Europe/Berlin"], "") == "quiet_hours"
    assert NIGHT.closed(datetime(2026, 3, 29, 6, 30, tzinfo=UTC), ["Europe/Berlin"], "") == ""


def test_legal_hours_of_the_country() -> None:
    weekdays = Span(10 * 60, 20 * 60, frozenset(range(5)))
    hours = Hours(open=(("*", (Span(8 * 60, 21 * 60),)), ("FR", (weekdays,))))
    assert hours.closed(at(9), ["UTC"], "US") == ""
    assert hours.closed(at(9), ["UTC"], "FR") == "legal_hours"
    assert hours.closed(at(12, day=7), ["UTC"], "FR") == "legal_hours", "a Saturday"
    assert opens([hours], at(12, day=7), ["UTC"], "FR") == at(10, day=9)
    friday_night = Hours(quiet=(Span(22 * 60, 2 * 60, frozenset([4])),))
    assert friday_night.closed(at(1, day=7), ["UTC"], "") == "quiet_hours", "the night that began on Friday"
    assert friday_night.closed(at(1, day=6), ["UTC"], "") == ""


def test_where_somebody_may_be() -> None:
    assert zones_of({"timezone": "Asia/Tokyo", "phone": ["+493012345678"]}) == ("Asia/Tokyo",)
    assert zones_of({"phone": ["+493012345678"]}) == ("Europe/Berlin",)
    assert len(zones_of({"phone": "+18005550199"})) > 3
    assert zones_of({"timezone": "nowhere", "phone": "12"}) == ()
    assert country_of({"country": "de"}) == "DE"
    assert country_of({"phone": ["+33142685300"]}) == "FR"
    assert country_of({}) == ""
    assert routes_of({"email": "a@example.com"}, (), at(12)) == ("desk", "email", "webhook")
    assert is_zone("Europe/Berlin")
    assert not is_zone("../etc/passwd")


def test_the_holdout_is_a_share_whatever_the_records() -> None:
    random = Random(1)
    for records in (1, 2, 7):
        people = [tuple(random.sample(range(10**9), records)) for _ in range(20_000)]
        share = sum(held_out(own, b"key", 0.05) for own in people) / len(people)
        assert abs(share - 0.05) < 4 * math.sqrt(0.05 * 0.95 / len(people))
    own = people[0]
    assert held_out(own, b"key", 0.5) == held_out(own[::-1], b"key", 0.5)
    assert any(held_out(one, b"key", 0.05) != held_out(one, b"other", 0.05) for one in people)
    assert not held_out((), b"key", 1.0)
    assert not held_out(own, b"key", 0.0)


def test_a_merged_person_is_what_one_of_them_was() -> None:
    random = Random(2)
    for _ in range(2_000):
        one, other = random.sample(range(10**9), 3), random.sample(range(10**9), 2)
        both = held_out([*one, *other], b"key", 0.3)
        assert both in (held_out(one, b"key", 0.3), held_out(other, b"key", 0.3))


def test_chances_are_drawn_to_the_action_and_to_what_was_declared() -> None:
    assert chance_of(Learned(), "a", "web", 0.1).mean == pytest.approx(0.1)
    learned = Learned(
        "x", {"a": Tally(2_000, 400)}, {key_of("a", "web"): Tally(1_000, 300), key_of("a", "new"): Tally(2, 2)}
    )
    assert chance_of(learned, "a", "web", 0.1).mean == pytest.approx(0.295, abs=0.003)
    assert chance_of(learned, "a", "never", 0.1).mean == pytest.approx(0.199, abs=0.001)
    assert 0.2 < chance_of(learned, "a", "new", 0.1).mean < 0.25, "two successes are little"
    certain, unsure = chance_of(learned, "a", "web", 0.1), chance_of(learned, "a", "never", 0.1)
    assert sum(certain) > 1_000 > sum(unsure)
    held = Learned("x", held_out={"a": Tally(980, 98)})
    assert base_of(held, "a", 0.0) == pytest.approx(0.098)
    assert base_of(held, "b", 0.03) == pytest.approx(0.03)


@pytest.mark.parametrize("shape", [(0.6, 14.0), (3.0, 30.0), (200.0, 1_800.0), (1.0, 1.0), (50.0, 2.0), (1e5, 1e4)])
def test_quantiles_are_those_of_the_distribution(shape: tuple[float, float]) -> None:
    found = quantiles(Beta(*shape))
    assert (np.diff(found) > 0).all()
    drawn_by_numpy = np.random.default_rng(1).beta(*shape, size=200_000)
    expected = np.quantile(drawn_by_numpy, (np.arange(ATOMS) + 0.5) / ATOMS)
    assert np.abs(found - expected).max() < 0.05 * drawn_by_numpy.std() + 0.01 * expected.max()


def test_propensities_are_those_of_the_draws() -> None:
    random = Random(3)
    arms = [Arm(Beta(2 + 3 * i, 30.0), 60.0 - 9 * i) for i in range(4)] + [Arm(Beta(2.0, 30.0), 60.0)]
    told = drawn(arms, [0.5] * 5).propensities
    assert sum(told) == pytest.approx(1.0, abs=1e-12)
    won = Counter(drawn(arms, [random.random() for _ in arms]).winner for _ in range(20_000))
    for place, propensity in enumerate(told):
        assert abs(won[place] / 20_000 - propensity) < 4 * math.sqrt(propensity * (1 - propensity) / 20_000) + 1e-3
    assert told[0] > told[4], "of equals the first wins"
    assert drawn(arms[:1], [0.3]) == (0, (1.0,))
    assert draws_of(b"x", 12) == draws_of(b"x", 12)[:12]
    assert len(set(draws_of(b"x", 12))) == 12


def test_a_log_tells_what_another_policy_would_have_brought() -> None:
    """A world whose truth is known: the intervals hold it, about as often as they say."""
    policy = together(
        [
            (
                "p.yaml",
                "{id: a, kind: service, text: x, audience: traits.big == 1}\n---\n"
                "{id: b, kind: service, text: x, audience: traits.big == 0}",
            )
        ]
    )
    chances = {("a", 0): 0.1, ("a", 1): 0.4, ("b", 0): 0.3, ("b", 1): 0.2}
    truth = 0.5 * chances["a", 1] + 0.5 * chances["b", 0]
    held = Counter[str]()
    worlds = 200
    for seed in range(worlds):
        random = Random(seed)
        log = []
        for _ in range(600):
            big = int(random.random() < 0.5)
            propensity = 0.3 if big else 0.6  # of a
            action = "a" if random.random() < propensity else "b"
            reward = float(random.random() < chances[action, big])
            log.append(Logged(action, propensity if action == "a" else 1.0 - propensity, reward, {"big": big}))
        choice = {big: choices_of(policy, {"big": big}) for big in (0, 1)}
        assert choice == {0: {"b": 1.0}, 1: {"a": 1.0}}
        found = evaluated(log, [choice[row.facts["big"]] for row in log])
        for name in ("ips", "snips", "dr"):
            estimate = getattr(found, name)
            held[name] += estimate.low <= truth <= estimate.high
    assert all(worlds * 0.89 < count <= worlds for count in held.values()), held
    assert found.overlap == 1.0
    assert not found.warnings


def test_a_log_that_cannot_tell_says_so() -> None:
    log = [Logged("a", 1.0, 1.0) for _ in range(50)]
    found = evaluated(log, [{"b": 1.0}] * 50)
    assert math.isnan(found.snips.value)
    assert any("never took" in warning for warning in found.warnings)
    with pytest.raises(BadInput, match="more than 0"):
        evaluated([Logged("a", 0.0, 1.0)], [{"a": 1.0}])
    with pytest.raises(BadInput, match="no decision"):
        evaluated([], [])
    wrong = [Logged("a" if i % 2 else "b", 0.25, 1.0) for i in range(1_000)]
    assert any("may be wrong" in warning for warning in evaluated(wrong, [{"a": 1.0}] * 1_000).warnings)


def test_random_policies_have_the_propensities_of_their_draws() -> None:
    text = "\n---\n".join(f"{{id: o{i}, kind: offer, text: x, chance: 0.1{i}, value: {60 - i}, cost: 0}}" for i in range(6))
    few = choices_of(together([("p.yaml", text + "\n---\npolicy: {explored: 3}")]), {})
    assert len(few) == 3
    assert sum(few.values()) == pytest.approx(1.0)
    assert len(choices_of(together([("p.yaml", text + "\n---\npolicy: {explored: 1}")]), {})) == 1


def test_hours_are_looked_for_ahead_for_days_only() -> None:
    sundays = Hours(open=(("*", (Span(600, 660, frozenset([6])),)),))
    assert opens([sundays], at(12), ["UTC"], "") == at(10, day=8)
    assert opens([sundays, NIGHT], at(12) + timedelta(days=4), ["UTC"], "") == at(10, day=15)


def test_a_regression_where_it_says_more_than_the_rate() -> None:
    random = Random(4)

    def world(matters: float) -> tuple[list[dict[str, object]], list[bool]]:
        rows: list[dict[str, object]] = []
        worked = []
        for number in range(3_000):
            value = random.gauss(50.0, 10.0)
            tier = random.choice(("gold", "basic"))
            logit = -1.5 + matters * ((value - 50.0) / 10.0 + (0.8 if tier == "gold" else 0.0))
            rows.append({"value": value, "tier": tier, "context": "web", **({"rare": 1.0} if number % 9 == 0 else {})})
            worked.append(random.random() < 1.0 / (1.0 + math.exp(-logit)))
        return rows, worked

    made, gain = better(*world(1.0))
    assert made is not None
    assert gain > 0.02
    slopes = {name: slope for name, _, _, slope in made.numbers}
    assert slopes["value"] == pytest.approx(1.0, abs=0.2)
    assert "rare" not in slopes, "it is mostly not known"
    expected = 1.0 / (1.0 + math.exp(1.5 - 1.0 - 0.8))
    assert made.chance({"value": 60.0, "tier": "gold", "context": "web"}) == pytest.approx(expected, abs=0.05)
    assert 0.0 < made.chance({"value": "odd"}) < 1.0
    none, _ = better(*world(0.0))
    assert none is None or abs(none.chance({"value": 60.0}) - none.chance({"value": 40.0})) < 0.1
    assert better([{"a": 1.0}] * 100, [True] * 100) == (None, 0.0), "too few"
    assert isinstance(fit([{}] * 10, [True] * 5 + [False] * 5), Logistic)
