"""Trials: sizes against the textbook, arms by chance alone, intervals that cover, guard rails that hold at all times."""

from __future__ import annotations

import math
import uuid
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import numpy as np
import pytest

from firstring.errors import BadInput
from firstring.proof import sequences
from firstring.proof.effects import effect
from firstring.proof.power import needed
from firstring.routing.declared.policy import RoutingPolicy
from firstring.routing.trial.arms import arm_of, exposure_of
from firstring.routing.trial.plan import Basis, Trial, draft_from_toml, planned, policy_of
from firstring.routing.trial.result import Row, basis_of, measured, result_of, watched

START = datetime(2026, 3, 2, 8, tzinfo=UTC)
TOML = """
name = "continuity"
metric = "success"
detect = 0.05
[treatment]
continuity_s = 120.0
"""
BASIS = Basis(10_000, 0.66, 0.66 * 0.34, 2_000.0, 0.0)


def trial(kind: str = "contact", salt: str = "00" * 16, **changes: Any) -> Trial:
    draft = msgspec.structs.replace(draft_from_toml(TOML), kind=kind, **changes)
    return msgspec.structs.replace(planned(draft, BASIS, salt), started_at=START)


# --- sizes ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("relative", "each"), [(0.05, 3_235), (0.03, 8_985), (0.01, 80_868)])
def test_sizes_are_those_of_the_textbook(relative: float, each: int) -> None:
    size = needed(0.66 * 0.34, relative * 0.66)
    assert size.control == size.treatment == pytest.approx(each, abs=2)


def test_the_power_is_what_was_planned() -> None:
    """Simulated trials of the planned size see the effect in 80 of 100 cases."""
    random = np.random.default_rng(4)
    size = needed(0.66 * 0.34, 0.1 * 0.66)
    seen = 0
    for _ in range(600):
        control = random.binomial(size.control, 0.66) / size.control
        treatment = random.binomial(size.treatment, 0.726) / size.treatment
        error = math.sqrt(control * (1 - control) / size.control + treatment * (1 - treatment) / size.treatment)
        seen += abs(treatment - control) > 1.96 * error
    assert 0.76 < seen / 600 < 0.86


def test_unequal_shares_and_clusters_need_more() -> None:
    half, tenth = needed(1.0, 0.1), needed(1.0, 0.1, share=0.1)
    assert tenth.rows == pytest.approx(half.rows * (1 / 0.1 + 1 / 0.9) / 4, rel=0.01)
    assert needed(1.0, 0.1, cluster=41, correlation=0.05).rows == pytest.approx(3 * half.rows, rel=0.01)


@pytest.mark.parametrize("bad", [{"share": 0.0}, {"share": 1.0}, {"power": 1.0}, {"alpha": 0.0}])
def test_what_cannot_be_planned(bad: dict[str, float]) -> None:
    with pytest.raises(BadInput) as refused:
        needed(1.0, 0.1, **bad)  # type: ignore[arg-type]
    assert refused.value.code == "plan_invalid"
    for variance, to_see in ((0.0, 0.1), (1.0, 0.0), (1.0, math.nan)):
        with pytest.raises(BadInput):
            needed(variance, to_see)


# --- files ---------------------------------------------------------------------------------------------------------


def test_a_trial_is_written_down() -> None:
    draft = draft_from_toml(TOML)
    assert (draft.kind, draft.share, draft.treatment, draft.control) == ("contact", 0.5, {"continuity_s": 120.0}, {})
    assert {guard.metric for guard in draft.guards} == {"abandoned", "wait_s", "complained"}
    base = RoutingPolicy(priority_max=40)
    changed = policy_of(base, draft.treatment)
    assert (changed.continuity_s, changed.priority_max) == (120.0, 40)
    assert policy_of(base, draft.control) is base
    assert changed.version != base.version


def test_both_arms_start_from_the_policy_in_force() -> None:
    base = RoutingPolicy(language_dropped_after_s=100.0, continuity_s=5.0)
    draft = draft_from_toml("name = 'x'\n[treatment]\nlanguage_relaxed_after_s = 60.0", base=base)
    changed = policy_of(base, draft.treatment)
    assert (changed.language_relaxed_after_s, changed.language_dropped_after_s) == (60.0, 100.0)
    with pytest.raises(BadInput, match="nothing to compare"):
        draft_from_toml("name = 'x'\n[treatment]\ncontinuity_s = 5", base=base)
    # The policy changes while the trial runs: nobody's call fails by what does not go together any more.
    assert policy_of(RoutingPolicy(), draft.treatment).language_relaxed_after_s == 60.0


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ("", "plan_invalid"),
        ("name = 'x'", "plan_invalid"),
        ("name = 'x'\nkind = 'on-off'\n[treatment]\ncontinuity_s = 1", "plan_invalid"),
        ("name = 'x'\nmetric = 'smiles'\n[treatment]\ncontinuity_s = 1", "plan_invalid"),
        ("name = 'x'\nshare = 1.0\n[treatment]\ncontinuity_s = 1", "number_out_of_range"),
        ("name = 'x'\ndetect = nan\n[treatment]\ncontinuity_s = 1", "number_out_of_range"),
        ("name = 'x'\ninterval_s = 600\ncarry_over_s = 601\n[treatment]\ncontinuity_s = 1", "number_out_of_range"),
        ("name = 'x'\n[treatment]\nno_such_key = 1", "field_unknown"),
        ("name = 'x'\n[treatment]\nfit_fields = ['gender']", "feature_protected"),
        ("name = 'x'\n[treatment]\ncontinuity_s = 1\n[guards]\nsmiles = 1", "field_unknown"),
        ("name = 'x'\nwhat = 1\n[treatment]\ncontinuity_s = 1", "field_unknown"),
        ("name = ", "toml_invalid"),
        ("name = 'No name!'\n[treatment]\ncontinuity_s = 1", "name_invalid"),
        ("name = 'x'\n[treatment]\nsuccess = ['sold']", "plan_invalid"),
        (f"name = 'x'\n[treatment]\ncontinuity_s = {RoutingPolicy().continuity_s}", "plan_invalid"),
    ],
)
def test_what_is_no_trial(change: str, code: str) -> None:
    with pytest.raises(BadInput) as refused:
        draft_from_toml(change)
    assert refused.value.code == code


def test_a_trial_that_would_never_end_is_refused() -> None:
    draft = msgspec.structs.replace(draft_from_toml(TOML), detect=0.001)
    with pytest.raises(BadInput) as refused:
        planned(draft, BASIS, "00")
    assert refused.value.code == "plan_too_long"
    for nothing in (Basis(0, math.nan, math.nan, 0.0), Basis(5, 0.0, 0.0, 1.0)):
        with pytest.raises(BadInput):
            planned(draft_from_toml(TOML), nothing, "00")


# --- arms ----------------------------------------------------------------------------------------------------------


def test_chance_decides_and_remembers() -> None:
    one = trial(share=0.3)
    ids = [uuid.UUID(int=n) for n in range(20_000)]
    arms = [arm_of(one, identity, START) for identity in ids]
    treated = sum(arm.treated for arm in arms)
    assert abs(treated - 6_000) < 4 * math.sqrt(20_000 * 0.3 * 0.7)
    assert {(arm.name, round(arm.probability, 9)) for arm in arms} == {("treatment", 0.3), ("control", 0.7)}
    assert [arm_of(one, identity, START + timedelta(days=3)).treated for identity in ids[:99]] == [
        a.treated for a in arms[:99]
    ]
    other = trial(share=0.3, salt="11" * 16)
    assert (
        sum(arm_of(other, identity, START).treated != arm.treated for identity, arm in zip(ids, arms, strict=True)) > 7_000
    )


def test_intervals_have_one_arm_and_do_not_alternate() -> None:
    one = trial("switchback", interval_s=1_800.0, carry_over_s=600.0)
    random = np.random.default_rng(1)
    of_interval = []
    for interval in range(400):
        times = [START + timedelta(seconds=interval * 1_800 + float(s)) for s in random.uniform(0.0, 1_799.0, 4)]
        arms = {arm_of(one, uuid.uuid4(), at).treated for at in times}
        assert len(arms) == 1
        of_interval.append(arms.pop())
    treated = np.array(of_interval)
    assert abs(treated.mean() - 0.5) < 0.1
    changes = (treated[1:] != treated[:-1]).mean()
    assert 0.4 < changes < 0.6  # alternating intervals would change each time


def test_a_contact_counts_by_all_it_felt() -> None:
    one = trial("switchback", interval_s=1_800.0, carry_over_s=600.0, share=0.4)
    identity = uuid.uuid4()
    for interval in range(1, 60):
        at = START + timedelta(seconds=1_800 * interval)
        before, now = (arm_of(one, identity, at + timedelta(seconds=s)).treated for s in (-1, 1))
        early, late = (exposure_of(one, identity, at + timedelta(seconds=s)) for s in (10, 900))
        assert late[:2] == pytest.approx((1 / 0.4, 0.0) if now else (0.0, 1 / 0.6))
        if before != now:
            assert early[:2] == (0.0, 0.0)
        else:
            assert early[:2] == pytest.approx((1 / 0.16, 0.0) if now else (0.0, 1 / 0.36))
    assert exposure_of(one, identity, START + timedelta(seconds=1)).unit == 0
    assert exposure_of(one, identity, START - timedelta(seconds=10)).unit == -1  # the clock went back: still an arm


# --- results -------------------------------------------------------------------------------------------------------


def rows(one: Trial, count: int, seed: int, *, lift: float = 0.0, lost: float = 0.0, wave: float = 0.0) -> list[Row]:
    """Contacts over some days: success with a lift in the treatment; more of them lost; a wave of good and bad hours."""
    random = np.random.default_rng(seed)
    made = []
    hours = random.normal(0.0, wave, 2_000)
    for place in range(count):
        at = START + timedelta(seconds=place * 40.0)
        identity = uuid.UUID(int=int(random.integers(2**62)))
        treated = arm_of(one, identity, at).treated
        chance = min(max(0.6 + lift * treated + hours[int(place * 40.0 // 3_600)], 0.01), 0.99)
        abandoned = bool(random.random() < 0.03 + lost * treated)
        made.append(
            Row(
                identity, at, float(random.exponential(10.0)), abandoned,
                None if abandoned else bool(random.random() < chance),
                None if abandoned else float(random.lognormal(5.0, 0.5)), None, False,
            )
        )  # fmt: skip
    return made


@pytest.mark.parametrize(("kind", "wave"), [("contact", 0.0), ("switchback", 0.08)])
def test_intervals_cover_the_truth(kind: str, wave: float) -> None:
    """Of 95 % intervals some 95 % hold what was planted, also where hours are good and bad."""
    covered, values = 0, []
    for seed in range(40):
        one = trial(kind, salt=f"{seed:032x}", interval_s=1_800.0, carry_over_s=300.0)
        found = measured(one, rows(one, 3_000, seed, lift=0.08, wave=wave), "success").difference
        covered += found.low <= 0.08 * 0.97 <= found.high
        values.append(found.value)
    assert covered >= 34
    assert np.mean(values) == pytest.approx(0.0776, abs=0.015)


def test_an_effect_is_shown_with_its_interval() -> None:
    one = trial()
    found = result_of(one, rows(one, 6_500, 3, lift=0.06))
    assert found.main.metric == "success"
    assert found.main.difference.low > 0.0
    assert found.main.relative.value == pytest.approx(found.main.difference.value / found.main.control.value)
    assert {other.metric for other in found.others} == {"handle_s", "wait_s", "abandoned", "repeated", "complained"}
    repeated = next(other for other in found.others if other.metric == "repeated")
    assert math.isnan(repeated.difference.value)
    assert found.warnings == ()


def test_what_spoils_a_trial_is_said() -> None:
    one = trial()
    logged = rows(one, 2_000, 3)
    assert "were planned" in result_of(one, logged).warnings[0]
    missing = [
        row for row in rows(one, 7_000, 3) if not arm_of(one, row.contact_id, row.offered_at).treated or row.waited_s > 3
    ]
    assert any("lacks contacts" in warning for warning in result_of(one, missing).warnings)
    assert result_of(one, []).contacts == 0


# --- guard rails ---------------------------------------------------------------------------------------------------


def test_a_guard_rail_stops_harm_and_nothing_else() -> None:
    one = trial()
    harmed = rows(one, 4_000, 5, lost=0.10)
    broken = next(place for place in range(100, 4_001, 100) if any(g.broken for g in watched(one, harmed[:place])))
    assert broken < 2_500
    assert [g.metric for g in watched(one, harmed[:broken]) if g.broken] == ["abandoned"]


def test_looking_often_stops_no_harmless_trial() -> None:
    """Looked at after every contact, the bounds are left by fewer than 5 % of sequences of mean zero."""
    random = np.random.default_rng(9)
    left = 0
    for _ in range(200):
        values = random.normal(0.0, 1.0, 2_000)
        means = np.cumsum(values) / np.arange(1, 2_001)
        halves = np.array([sequences.half_width(n, planned=2_000) for n in range(1, 2_001, 10)])
        left += bool((np.abs(means[::10])[5:] > halves[5:]).any())
    assert left <= 14
    assert sequences.bounds(np.zeros(10), planned=100) == (-math.inf, math.inf)


def test_the_difference_is_that_of_plain_means() -> None:
    random = np.random.default_rng(0)
    values, treated = random.normal(3.0, 1.0, 4_000), random.random(4_000) < 0.5
    found = effect(values, np.where(treated, 2.0, 0.0), np.where(treated, 0.0, 2.0))
    assert found.difference.value == pytest.approx(values[treated].mean() - values[~treated].mean())
    error = math.sqrt(values[treated].var() / treated.sum() + values[~treated].var() / (~treated).sum())
    assert found.difference.high - found.difference.value == pytest.approx(1.96 * error, rel=0.01)
    nobody = effect(values, np.zeros(4_000), np.ones(4_000))
    assert math.isnan(nobody.difference.value)


def test_what_a_plan_rests_on() -> None:
    one = trial()
    logged = rows(one, 4_000, 3, wave=0.15)
    basis = basis_of(logged, "success", 2.0, 1_800.0)
    assert basis.per_day == pytest.approx(2_000.0)
    assert basis.mean == pytest.approx(0.58, abs=0.06)
    assert 0.02 < basis.correlation < 0.2
    assert basis_of(rows(one, 4_000, 3), "wait_s", 2.0, 1_800.0).correlation < 0.01
    assert basis_of([], "success", 1.0, 60.0).per_day == 0.0
