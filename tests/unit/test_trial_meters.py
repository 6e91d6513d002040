"""Regret, time saved, the audit, other policies on the log: against what was planted and against direct computation."""

from __future__ import annotations

import re

import numpy as np
import pytest
from scipy.optimize import linprog

from firstring.routing.trial.audit import Audited, age_band, audit, audit_page
from firstring.routing.trial.regret import regret
from firstring.routing.trial.saved import Handled, saved

# --- regret --------------------------------------------------------------------------------------------------------


def linear_program(p: np.ndarray, h: np.ndarray, offered: np.ndarray, time_s: np.ndarray) -> float:
    """The clairvoyant bound by scipy's own solver."""
    kinds, agents = p.shape
    per_kind = np.kron(np.eye(kinds), np.ones(agents))
    per_agent = np.zeros((agents, kinds * agents))
    for agent in range(agents):
        per_agent[agent, agent::agents] = h[:, agent]
    found = linprog(
        -np.where(np.isfinite(p), p, 0.0).ravel(),
        A_ub=np.vstack([per_kind, per_agent]),
        b_ub=np.concatenate([offered, time_s]),
    )
    return float(-found.fun)


def test_regret_is_the_share_of_the_gap() -> None:
    random = np.random.default_rng(2)
    kinds, agents = 6, 12
    p = random.uniform(0.3, 0.9, (kinds, agents))
    h = random.uniform(100.0, 300.0, (kinds, agents))
    served = random.integers(0, 6, (kinds, agents)).astype(float)
    lost = np.array([2.0, 0.0, 0.0, 1.0, 0.0, 0.0])
    time_s = np.full(agents, 9_000.0)
    found = regret(p, h, served, lost, time_s, basis="fitted", model="fit-x")
    assert found.chosen == pytest.approx(float((p * served).sum()))
    assert found.first_come == pytest.approx(float(served.sum(axis=1) @ p.mean(axis=1)))
    assert found.bound == pytest.approx(linear_program(p, h, served.sum(axis=1) + lost, time_s), rel=2e-3)
    assert found.share is not None
    assert -0.3 < found.share < 0.3  # agents were drawn at random: first come is what they reach
    assert (found.contacts, found.served) == (round(float(served.sum())) + 3, round(float(served.sum())))
    best = np.zeros_like(served)
    best[np.arange(kinds), p.argmax(axis=1)] = served.sum(axis=1)
    better = regret(p, h, best, lost * 0.0, time_s, basis="fitted")
    assert better.share is not None
    assert better.share > 0.9


def test_without_a_model_there_is_no_share() -> None:
    p, h = np.full((2, 3), 0.7), np.full((2, 3), 190.0)
    assert regret(p, h, np.ones((2, 3)), np.zeros(2), np.full(3, 4_000.0), basis="prior").share is None
    assert regret(p, h, np.ones((2, 3)), np.zeros(2), np.full(3, 4_000.0), basis="fitted").share is None  # all alike
    nobody = regret(np.zeros((0, 3)), np.zeros((0, 3)), np.zeros((0, 3)), np.zeros(0), np.zeros(3), basis="fitted")
    assert (nobody.contacts, nobody.share) == (0, None)


def test_nobody_worked_in_time_that_was_not_there() -> None:
    p, h = np.array([[0.9, 0.5]]), np.array([[100.0, 100.0]])
    found = regret(p, h, np.array([[10.0, 0.0]]), np.zeros(1), np.zeros(2), basis="fitted")
    assert found.chosen == pytest.approx(9.0)
    assert found.bound >= found.chosen - 1e-6


# --- time saved ----------------------------------------------------------------------------------------------------


def handled(count: int, seed: int, *, saves_s: float, confounded: bool = True) -> list[Handled]:
    """Contacts of two reasons; those of the long one are recognised more seldom, so a plain comparison is wrong."""
    random = np.random.default_rng(seed)
    made = []
    for _ in range(count):
        is_long = random.random() < 0.5
        agent = int(random.integers(1, 9))
        recognised = bool(random.random() < ((0.2 if is_long else 0.8) if confounded else 0.5))
        seconds = (300.0 if is_long else 120.0) + 8.0 * agent - saves_s * recognised + random.normal(0.0, 40.0)
        made.append(
            Handled(
                recognised, max(seconds, 1.0), "voice", "long" if is_long else "short", "en", agent, int(random.integers(24))
            )
        )
    return made


def test_what_recognising_saves_is_adjusted() -> None:
    found = saved(handled(6_000, 1, saves_s=30.0))
    assert found.crude is not None
    assert found.crude.value > 100.0  # the reason is in it
    assert found.adjusted is not None
    assert found.adjusted.low < 30.0 < found.adjusted.high
    assert found.adjusted.high - found.adjusted.low < 10.0


def test_its_intervals_cover() -> None:
    covered = 0
    for seed in range(40):
        adjusted = saved(handled(1_500, seed, saves_s=0.0)).adjusted
        assert adjusted is not None
        covered += adjusted.low <= 0.0 <= adjusted.high
    assert covered >= 34


def test_too_few_say_nothing() -> None:
    found = saved(handled(80, 1, saves_s=30.0))
    assert (found.adjusted, found.crude) == (None, None)
    assert "are needed" in found.warnings[0]
    assert saved([]).recognised == 0


# --- the audit -----------------------------------------------------------------------------------------------------


def contacts(count: int, seed: int, *, harmed: str = "") -> list[Audited]:
    random = np.random.default_rng(seed)
    made = []
    for place in range(count):
        gender = ("female", "male", "<b>other</b>")[int(random.choice(3, p=(0.5, 0.48, 0.02)))]
        intent = "hard" if random.random() < (0.7 if gender == "female" else 0.3) else "easy"
        chance = (0.5 if intent == "hard" else 0.9) - (0.2 if gender == harmed else 0.0)
        lost = random.random() < 0.05
        made.append(
            Audited(
                None if lost else place % 7, "voice", intent, float(random.exponential(20.0)),
                None if lost else bool(random.random() < chance), None, None if lost else 100.0,
                {"gender": gender, "tier": "vip" if place % 5 == 0 else "not known"},
            )
        )  # fmt: skip
    return made


def test_groups_are_compared_with_contacts_like_theirs() -> None:
    """Women have the harder contacts here: plain success differs, and is no unfairness."""
    found = audit(contacts(4_000, 3), protected=("gender",))
    gender = next(one for one in found.dimensions if one.name == "gender")
    female, male = (next(group for group in gender.groups if group.name == name) for name in ("female", "male"))
    assert gender.protected
    assert female.success is not None
    assert male.success is not None
    assert female.success < male.success - 0.1
    assert not female.differs
    assert not male.differs
    assert female.difference is not None
    assert abs(female.difference[0]) < 0.03
    assert sum(group.contacts for group in gender.groups) + gender.hidden == 4_000
    assert {group.name for group in found.agents} == {str(n) for n in range(7)}
    assert found.busiest == pytest.approx(1 / 7, abs=0.02)


def test_harm_to_a_group_is_marked() -> None:
    gender = audit(contacts(4_000, 3, harmed="male")).dimensions[0]
    male = next(group for group in gender.groups if group.name == "male")
    assert male.differs
    assert male.difference is not None
    assert male.difference[2] < 0.0
    marks = [sum(group.differs for group in audit(contacts(1_000, seed)).agents) for seed in range(15)]
    assert sum(marks) <= 3


def test_small_groups_are_hidden_and_the_page_is_whole() -> None:
    found = audit(contacts(600, 5))
    assert all(group.name != "<b>other</b>" for group in found.dimensions[0].groups)
    assert found.dimensions[0].hidden > 0
    text = audit_page(audit(contacts(4_000, 3), protected=("gender",)), title="Audit", said="28 days < 1 month")
    assert text.startswith("<!doctype html>")
    assert "&lt;b&gt;other" in text
    assert "<b>other" not in text
    assert not re.search(r"<script|https?://", text)
    assert audit_page(audit([]), title="Audit", said="").count("No group") == 1


def test_bands_of_age() -> None:
    assert [age_band(age) for age in (0, 17, 18, 44, 65, 120, -1, 500)] == [
        "under 18", "under 18", "18 to 29", "30 to 44", "65 and older", "65 and older", "not known", "not known",
    ]  # fmt: skip
