"""Statistics by simulation: planned trials have the power and the size that they state, guard rails stop no harmless trial
at any moment, intervals hold what is true as often as they say. A fault in the formulas leaves each of the bounds."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest

from firstring.proof import sequences
from firstring.proof.effects import centred, effect
from firstring.proof.offpolicy import Logged, evaluated
from firstring.routing.trial.plan import Basis, draft_from_toml, planned

Draw = Callable[[np.random.Generator, int, float], np.ndarray]
"""So many values of which the mean is changed by a factor."""


def shares(mean: float) -> Draw:
    return lambda random, count, factor: (random.random(count) < mean * factor).astype(np.float64)


def seconds(mean: float) -> Draw:
    """Handle times: skewed, as long as they come (log-sd .9: the variance is 1.2 times the mean squared)."""
    return lambda random, count, factor: mean * factor * np.exp(random.normal(0.0, 0.9, count) - 0.405)


def rate(outcomes: list[bool]) -> float:
    return sum(outcomes) / len(outcomes)


def within(trials: int, p: float) -> float:
    """Three and a half standard errors of a share."""
    return 3.5 * math.sqrt(p * (1.0 - p) / trials)


@pytest.mark.parametrize(
    ("metric", "draw", "mean", "variance", "share"),
    [
        ("success", shares(0.66), 0.66, 0.66 * 0.34, 0.5),
        ("success", shares(0.2), 0.2, 0.16, 0.2),
        ("handle_s", seconds(190.0), 190.0, 190.0**2 * (math.exp(0.81) - 1.0), 0.5),
    ],
)
def test_a_plan_has_the_power_and_the_size_that_it_states(
    metric: str, draw: Draw, mean: float, variance: float, share: float
) -> None:
    """Trials of the planned size, judged by the interval of the result: 80 % see the effect, 5 % one that is none."""
    draft = draft_from_toml(
        f"name = 'x'\nmetric = '{metric}'\ndetect = 0.15\nshare = {share}\n[treatment]\nfairness = 2.0\n"
    )
    size = planned(draft, Basis(0, mean, variance, 500.0), "00").contacts
    random = np.random.default_rng(11)
    found = {}
    for factor in (1.15, 1.0):
        seen = []
        for _ in range(500):
            treated = random.random(size) < share
            values = np.where(treated, draw(random, size, factor), draw(random, size, 1.0))
            interval = effect(values, treated / share, ~treated / (1.0 - share)).difference
            seen.append(not interval.low <= 0.0 <= interval.high)
        found[factor] = rate(seen)
    assert abs(found[1.15] - 0.8) < within(500, 0.8) + 0.02, "power"
    assert abs(found[1.0] - 0.05) < within(500, 0.05) + 0.005, "size"


def switched(
    random: np.random.Generator, intervals: int, each: int, lift: float, *, felt_late: float, wave: float, memory: float
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """A switchback of success .6: (values, treated, untreated, interval). A third of an interval's contacts feel the one
    before too, for felt_late of the effect; good and bad intervals follow one another (memory)."""
    arm = random.random(intervals) < 0.5
    weather = np.zeros(intervals)
    for place in range(intervals):
        before = weather[place - 1] if place else 0.0
        weather[place] = memory * before + math.sqrt(1.0 - memory**2) * random.normal(0.0, wave)
    unit = np.repeat(np.arange(intervals), each)
    early = np.tile(np.arange(each) < each // 3, intervals)
    before = arm[np.maximum(unit - 1, 0)]
    now = arm[unit]
    dose = np.where(early, (1.0 - felt_late) * now + felt_late * before, now)
    values = (random.random(len(unit)) < np.clip(0.6 + weather[unit] + lift * dose, 0.01, 0.99)).astype(np.float64)
    two = early & (unit > 0)
    weight = np.where(two, 4.0, 2.0)
    treated = np.where(now & (~two | before), weight, 0.0)
    untreated = np.where(~now & (~two | ~before), weight, 0.0)
    return values, treated, untreated, unit


@pytest.mark.parametrize(("wave", "memory", "felt_late"), [(0.0, 0.0, 0.0), (0.08, 0.0, 0.5), (0.08, 0.6, 0.5)])
def test_intervals_of_a_switchback_hold_the_truth(wave: float, memory: float, felt_late: float) -> None:
    """Where contacts of an interval are alike, neighbouring ones too, and what came before is still felt."""
    random = np.random.default_rng(5)
    held, values = [], []
    for _ in range(400):
        drawn = switched(random, 120, 12, 0.08, felt_late=felt_late, wave=wave, memory=memory)
        found = effect(*drawn[:3], clusters=drawn[3], lags=1).difference
        held.append(found.low <= 0.08 <= found.high)
        values.append(found.value)
    assert abs(np.mean(values) - 0.08) < 3.5 * np.std(values) / math.sqrt(400), "unbiased: what was felt late is not counted"
    assert 0.95 - within(400, 0.95) - 0.015 < rate(held) <= 1.0


def test_a_switchback_is_planned_for_contacts_that_are_alike() -> None:
    """Of the planned length, with the intraclass correlation that the log shows, the effect is seen as often as stated."""
    random = np.random.default_rng(6)
    wave, each = 0.08, 12
    correlation = wave**2 / (0.6 * 0.4)
    draft = draft_from_toml(
        "name = 'x'\nkind = 'switchback'\ndetect = 0.12\ninterval_s = 1800\ncarry_over_s = 600\n"
        "[treatment]\nfairness = 2.0\n"
    )
    trial = planned(draft, Basis(0, 0.6, 0.24, each * 48.0, correlation), "00")
    intervals = math.ceil(trial.days * 48.0)
    seen = []
    for _ in range(300):
        drawn = switched(random, intervals, each, 0.072, felt_late=0.5, wave=wave, memory=0.0)
        found = effect(*drawn[:3], clusters=drawn[3], lags=1).difference
        seen.append(found.low > 0.0)
    assert 0.72 < rate(seen) < 0.95


@pytest.mark.parametrize(
    ("draw", "base", "allowed"),
    [(shares(0.03), 0.03, 0.02), (shares(0.004), 0.004, 0.01), (seconds(20.0), 20.0, 15.0)],
    ids=["abandoned", "complained", "wait_s"],
)
def test_guard_rails_stop_no_trial_within_what_is_allowed(draw: Draw, base: float, allowed: float) -> None:
    """Looked at after every 80 contacts of 4,000; the treatment is as much worse as is just allowed. Harm beyond that stops
    them."""
    random = np.random.default_rng(7)
    stopped: dict[float, list[bool]] = {allowed: [], 4.0 * allowed: []}
    for harm, outcomes in stopped.items():
        factor = (base + harm) / base
        for _ in range(150 if harm == allowed else 20):
            treated = random.random(4_000) < 0.5
            values = np.where(treated, draw(random, 4_000, factor), draw(random, 4_000, 1.0))
            looks = range(80, 4_001, 80)
            outcomes.append(
                any(
                    sequences.bounds(
                        centred(values[:count], 2.0 * treated[:count], 2.0 * ~treated[:count]), planned=4_000
                    )[0] > allowed
                    for count in looks
                )
            )  # fmt: skip
    assert rate(stopped[allowed]) < 0.05 + within(150, 0.05)
    assert rate(stopped[4.0 * allowed]) > 0.9


def test_values_of_other_policies_hold_the_truth() -> None:
    """A log that explored, and a policy that it did not follow: by IPS, SNIPS, and DR with a model that is right, wrong or
    fitted."""
    random = np.random.default_rng(9)
    chance = {("a", 0): 0.8, ("a", 1): 0.4, ("b", 0): 0.5, ("b", 1): 0.7}
    truth = 0.5 * chance["a", 0] + 0.5 * chance["b", 1]
    held: dict[str, list[bool]] = {}
    widths: dict[str, list[float]] = {}
    for _ in range(100):
        log, choices, right, wrong = [], [], [], []
        for _ in range(500):
            sort = int(random.random() < 0.5)
            p_a = 0.75 if sort else 0.3  # it mostly does what is worse
            action = "a" if random.random() < p_a else "b"
            worked = float(random.random() < chance[action, sort])
            log.append(Logged(action, p_a if action == "a" else 1.0 - p_a, worked, {"sort": sort}))
            choices.append({"a": 1.0} if sort == 0 else {"b": 1.0})
            right.append({name: chance[name, sort] for name in "ab"})
            wrong.append({"a": 0.1, "b": 0.9})
        for name, expected in (("right", right), ("wrong", wrong), ("fitted", None)):
            found = evaluated(log, choices, expected=expected)
            for way in ("ips", "snips", "dr"):
                one = getattr(found, way)
                held.setdefault(f"{way} {name}", []).append(one.low <= truth <= one.high)
                widths.setdefault(f"{way} {name}", []).append(one.high - one.low)
    for name, outcomes in held.items():
        assert 0.95 - within(100, 0.95) - 0.01 < rate(outcomes) <= 1.0, name
    assert np.mean(widths["dr right"]) < 0.9 * np.mean(widths["ips right"]), "a model that is right narrows it"
