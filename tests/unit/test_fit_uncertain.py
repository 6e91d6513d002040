"""Learning by expectation: what is planted comes back where it is uncertain whom a contact was with, and why."""

from __future__ import annotations

import math
from functools import cache
from typing import Literal

import msgspec
import numpy as np
import pytest

from firstring.routing.fit.asked import Asked, Person
from firstring.routing.fit.cases import Possible, claimed, possibilities
from firstring.routing.fit.model import FitModel
from firstring.routing.fit.predict import fits
from firstring.routing.fit.train import Outcome, train
from firstring.routing.fit.update import update_of, updated

AGENTS = 8
ODDS = {"low": -1.2, "high": 1.2}
"""Planted: customers of one sort and of the other are served as well as this (log odds), and every second agent is good with
the one and bad with the other."""
SECONDS = {"low": math.log(150.0), "high": math.log(400.0)}
OWN = 0.8
Way = Literal["known", "likeliest", "shares", "cases"]


def planted(agent: int, band: str) -> float:
    sign = 1.0 if (agent % 2 == 0) == (band == "high") else -1.0
    return ODDS[band] + OWN * sign


@cache
def contacts(seed: int = 3, count: int = 6_000) -> tuple[tuple[Outcome, str], ...]:
    """Outcomes with both cases, and which of them it was: each is as likely as it is said to be."""
    random = np.random.default_rng(seed)
    made = []
    for _ in range(count):
        agent = int(random.integers(1, AGENTS + 1))
        high = float(random.choice([0.2, 0.35, 0.5, 0.65, 0.8]))
        band = "high" if random.random() < high else "low"
        one = Outcome(
            agent, "voice", "billing", "en",
            handle_s=float(np.exp(SECONDS[band] + random.normal(0.0, 0.4))),
            success=bool(random.random() < 1.0 / (1.0 + math.exp(-planted(agent, band)))),
            cases=(Possible(high, "billing", "", "high"), Possible(1.0 - high, "billing", "", "low")),
        )  # fmt: skip
        made.append((one, band))
    return tuple(made)


def as_seen(one: Outcome, band: str, way: Way) -> list[Outcome]:
    """The same contact as each way to learn has it."""
    if way == "cases":
        return [one]
    if way == "known":
        return [msgspec.structs.replace(one, band=band, cases=())]
    likeliest = max(one.cases, key=lambda case: case.weight)
    return [msgspec.structs.replace(one, band=likeliest.band, cases=())]


@cache
def learned(way: Way) -> FitModel:
    return train([seen for one, band in contacts() for seen in as_seen(one, band, way)])


def found(model: FitModel) -> tuple[np.ndarray, np.ndarray]:
    """(chance of success, seconds) by agent and band."""
    ids = np.arange(1, AGENTS + 1)
    both = [fits(model, Asked("voice", "en", (Person(1.0, "", band, (("billing", 1.0),)),)), ids) for band in ODDS]
    return np.stack([one.success for one in both]), np.stack([one.handle_s for one in both])


TRUE = np.array([[1.0 / (1.0 + math.exp(-planted(agent, band))) for agent in range(1, AGENTS + 1)] for band in ODDS])


def error(model: FitModel) -> float:
    """The mean error of what is predicted of a pair, in points of success."""
    return float(np.abs(found(model)[0] - TRUE).mean())


def test_what_is_planted_comes_back_by_expectation_alone() -> None:
    """Of the likeliest persons alone the sorts of customers look alike, and so do the agents: by expectation they do not."""
    errors = {way: error(learned(way)) for way in ("known", "likeliest", "cases")}
    assert errors["known"] < 0.03
    assert errors["cases"] < 0.045, "it is as good as it gets, but for what is not known"
    assert errors["likeliest"] > 0.12
    apart = {way: float(np.ptp(found(learned(way))[0].mean(axis=1))) for way in ("likeliest", "cases")}
    true = float(np.ptp(TRUE.mean(axis=1)))
    assert apart["cases"] == pytest.approx(true, abs=0.06)
    assert apart["likeliest"] < 0.6 * true


def test_handle_times_come_back_too() -> None:
    for way, within in (("cases", 0.06), ("likeliest", None)):
        seconds = found(learned(way))[1].mean(axis=1)  # type: ignore[arg-type]
        ratio = math.log(seconds[1] / seconds[0])
        true = SECONDS["high"] - SECONDS["low"]
        if within is None:
            assert ratio < 0.65 * true
        else:
            assert ratio == pytest.approx(true, abs=within)


def test_what_is_stated_of_mixed_callers_happens() -> None:
    """Of fresh contacts that may be either, as many succeed as is stated by expectation."""
    model = learned("cases")
    stated, worked = [], []
    for one, _ in contacts(11, 6_000):
        high = one.cases[0].weight
        persons = tuple(Person(case.weight, "", case.band, (("billing", 1.0),)) for case in one.cases)
        stated.append(
            (high, one.agent_id % 2, float(fits(model, Asked("voice", "en", persons), np.array([one.agent_id])).success[0]))
        )
        worked.append(float(bool(one.success)))
    groups: dict[tuple[float, int], list[tuple[float, float]]] = {}
    for (high, side, chance), success in zip(stated, worked, strict=True):
        groups.setdefault((high, side), []).append((chance, success))
    for group in groups.values():
        chance, success = np.array(group).mean(axis=0)
        assert abs(success - chance) < 3.5 * math.sqrt(chance * (1.0 - chance) / len(group)) + 0.01


def test_updates_count_by_expectation_too() -> None:
    """A new agent, of whom only uncertain contacts are known: updates bring them to where training on all would."""
    model = learned("cases")
    new = [msgspec.structs.replace(one, agent_id=one.agent_id + 100) for one, _ in contacts(21, 6_000)]
    for begin in range(0, len(new), 100):
        update = update_of(model, new[begin : begin + 100], until=str(begin))
        assert update is not None
        model = updated(model, update)
    ids = np.arange(101, 101 + AGENTS)
    both = [fits(model, Asked("voice", "en", (Person(1.0, "", band, (("billing", 1.0),)),)), ids).success for band in ODDS]
    assert float(np.abs(np.stack(both) - TRUE).mean()) < 0.11  # of the likeliest alone: .16


def test_a_certain_contact_is_learned_of_as_ever() -> None:
    """One case of probability one is the same as none stated."""
    plain = [seen for one, band in contacts()[:2_000] for seen in as_seen(one, band, "known")]
    stated = [msgspec.structs.replace(one, cases=one.possible) for one in plain]
    assert train(plain).version == train(stated).version


def test_which_cases_a_contact_has() -> None:
    persons = (
        Person(0.6, "vip", "high", (("refund", 0.5),), last_agent=7, met=(7, 8)),
        Person(0.3, "", "low", (("refund", 1.0),), met=(8,)),
    )
    cases = possibilities(Asked("voice", "en", persons), 8)
    assert sum(case.weight for case in cases) == pytest.approx(1.0, abs=1e-5)
    assert [(case.weight, case.intent, case.tier, case.last_agent, case.met) for case in cases] == [
        (0.3, "", "vip", False, True), (0.3, "refund", "", False, True), (0.3, "refund", "vip", False, True),
        (0.1, "", "", False, False),
    ]  # fmt: skip
    assert [case.last_agent for case in possibilities(Asked("voice", "en", persons), 7)].count(True) == 2
    assert possibilities(Asked("voice", "en"), 1) == (Possible(1.0),)
    shares = claimed(np.array([0.5, 0.5, 1.0]), np.array([0.9, 0.1, 0.0]), np.array([0, 0, 1]), 2)
    assert shares.tolist() == pytest.approx([0.9, 0.1, 1.0])
