"""Labels: a planted error is found and taken back, right models stay as they are, and what is learned rises."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from firstring.bench.people import population
from firstring.bulk.linking.sampling import observe, seen_pairs
from firstring.identity.canonical.record import canonical_record
from firstring.identity.comparison.columns import Table, compared, table_of
from firstring.identity.comparison.levels import active, patterns
from firstring.identity.comparison.spec import PERSON
from firstring.identity.model.labels import KNOTS, Labelled, _rising, meets_by_profile, relabelled
from firstring.identity.model.model import Model, as_json, calibrated, from_json, score
from firstring.identity.model.training import Observed, trained

ODDS = float(np.log(19))
_FIELDS = ("given_name", "family_name", "birth_date", "phone", "email", "city", "postcode")
_PICKED = (1, 2, 4, 5, 8, 11, 12)


@pytest.fixture(scope="module")
def made() -> tuple[Table, Model, Observed]:
    rows = []
    for record in population(41, 1_200):
        raw = {name: record.row[place] for name, place in zip(_FIELDS, _PICKED, strict=True) if record.row[place]}
        raw["record_id"] = record.row[0]
        rows.append(compared(canonical_record(raw, country="US").fields))
    table = table_of(rows)
    comparisons = active(PERSON, table)
    observed = observe(comparisons, table, seen_pairs(PERSON, table))
    return table, trained(PERSON, comparisons, table, observed), observed


def _drawn(table: Table, model: Model, seed: int, count: int, shift: float) -> Labelled:
    """Answers of a world in which the log-odds of a pair are `shift` above what the model says, asked most when unsure."""
    seen = seen_pairs(PERSON, table)
    left, right = seen.left.astype(np.int64), seen.right.astype(np.int64)
    by_profile = meets_by_profile(PERSON.linking, table, left, right)
    odds = score(model, patterns(model.comparisons(), table, left, right), by_profile, model.records).log_odds
    rng = np.random.default_rng(seed)
    chance = 1 / (1 + np.exp(np.abs(odds))) + 0.001
    chance /= chance.sum()
    chosen = rng.choice(len(left), count, replace=False, p=chance)
    same = rng.random(count) < 1 / (1 + np.exp(-(odds[chosen] + shift)))
    return Labelled(left[chosen], right[chosen], same, 1 / chance[chosen])


def test_a_planted_shift_is_found(made: tuple[Table, Model, Observed]) -> None:
    table, model, observed = made
    labelled = _drawn(table, model, 1, 600, -2.0)
    corrected, report = relabelled(model, table, labelled, observed, 0.95)
    assert report.taken != "nothing"
    assert report.losses[report.taken] < report.losses["nothing"]
    assert report.parted > 0
    assert report.joined < report.parted
    before = score(model, observed.patterns, observed.by_profile, model.records).log_odds
    after = score(corrected, observed.patterns, observed.by_profile, model.records).log_odds
    unsure = np.abs(before) < 3
    assert np.average(after[unsure] - before[unsure], weights=observed.counts[unsure]) == pytest.approx(-2.0, abs=0.7)
    assert sum(one.labels for one in report.calibration) == 600
    assert from_json(as_json(corrected)) == corrected
    assert corrected.version != model.version


def test_answers_as_the_model_foretells_change_little(made: tuple[Table, Model, Observed]) -> None:
    table, model, observed = made
    corrected, report = relabelled(model, table, _drawn(table, model, 2, 600, 0.0), observed, 0.95)
    before = score(model, observed.patterns, observed.by_profile, model.records).log_odds
    after = score(corrected, observed.patterns, observed.by_profile, model.records).log_odds
    unsure = np.abs(before) < 3
    assert abs(np.average(after[unsure] - before[unsure], weights=observed.counts[unsure])) < 0.6
    assert report.losses[report.taken] <= report.losses["nothing"]


def test_few_answers_change_nothing(made: tuple[Table, Model, Observed]) -> None:
    table, model, observed = made
    corrected, report = relabelled(model, table, _drawn(table, model, 3, 20, -4.0), observed, 0.95)
    assert report.taken == "nothing"
    assert corrected == model
    assert (report.joined, report.parted) == (0.0, 0.0)


def test_labels_correct_a_corrected_model_again(made: tuple[Table, Model, Observed]) -> None:
    table, model, observed = made
    once, _ = relabelled(model, table, _drawn(table, model, 4, 500, -2.0), observed, 0.95)
    twice, report = relabelled(once, table, _drawn(table, once, 5, 500, 2.0), observed, 0.95)
    assert report.joined > report.parted
    assert from_json(as_json(twice)) == twice


@given(st.lists(st.floats(-30, 30), min_size=len(KNOTS), max_size=len(KNOTS)), st.lists(st.floats(-50, 50), min_size=2))
@settings(max_examples=200, deadline=None)
def test_a_map_keeps_the_order_of_pairs(values: list[float], stated: list[float]) -> None:
    rising = _rising(np.array(values))
    assert (np.diff(rising) > 0).all()
    knots = tuple(zip(KNOTS, rising.tolist(), strict=True))
    order = np.sort(np.unique(np.round(np.array(stated), 6)))
    assert (np.diff(calibrated(knots, order)) > 0).all()
    if (np.diff(values) > 0.6).all():
        assert rising == pytest.approx(np.array(values)), "what rises already stays"


def test_pairs_meet_by_profile_as_brute_force_says(made: tuple[Table, Model, Observed]) -> None:
    table, _, _ = made
    rng = np.random.default_rng(1)
    left, right = rng.integers(0, table.rows, (2, 2_000))
    found = meets_by_profile(PERSON.linking, table, left, right)
    for pair in [*np.flatnonzero(found).tolist(), *range(200)]:
        expected = any(
            all(
                set(table.part(part)[left[pair]].tolist()) & set(table.part(part)[right[pair]].tolist()) - {0}
                for part in key.parts
            )
            for key in PERSON.linking
            if key.profile and all(table.has(part) for part in key.parts)
        )
        assert found[pair] == expected
