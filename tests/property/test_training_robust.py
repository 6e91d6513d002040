"""Training on records that are not as one would wish: few, alike, constant, without contact points, with unknown fields."""

from __future__ import annotations

import warnings
from collections.abc import Sequence

import numpy as np
import pytest

from firstring.bench.people import population
from firstring.bulk.linking.sampling import observe, seen_pairs
from firstring.identity.canonical.record import canonical_record
from firstring.identity.comparison.columns import Table, compared, table_of
from firstring.identity.comparison.levels import active, patterns
from firstring.identity.comparison.spec import PERSON
from firstring.identity.model.model import Model, Scores, as_json, from_json, score
from firstring.identity.model.training import trained

_FIELDS = ("given_name", "family_name", "birth_date", "phone", "email", "city", "postcode")
_PICKED = (1, 2, 4, 5, 8, 11, 12)
Values = dict[str, tuple[str, ...]]

ANN: Values = {
    "given": ("ann",), "root": ("ann",), "family": ("lee",), "born": ("19710624",), "phone": ("+12025550101",),
    "email": ("ann.lee@x.example",), "address": ("1 elm street",), "postcode": ("90210",), "city": ("boston",),
}  # fmt: skip
BOB: Values = {
    "given": ("bob",), "root": ("robert",), "family": ("ray",), "born": ("19480317",), "phone": ("+12025550102",),
    "email": ("bob@y.example",), "address": ("7 oak road",), "postcode": ("33101",), "city": ("miami",),
}  # fmt: skip


def _people(count: int, without: Sequence[str] = (), **constant: tuple[str, ...]) -> tuple[list[Values], np.ndarray]:
    rows, person = [], []
    for record in population(51, count):
        raw = {name: record.row[place] for name, place in zip(_FIELDS, _PICKED, strict=True) if record.row[place]}
        values = compared(canonical_record(raw | {"record_id": record.row[0]}, country="US").fields)
        rows.append({name: value for name, value in values.items() if name not in without} | constant)
        person.append(record.person)
    return rows, np.array(person)


def _trained(table: Table) -> Model:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        comparisons = active(PERSON, table)
        model = trained(PERSON, comparisons, table, observe(comparisons, table, seen_pairs(PERSON, table)))
    assert from_json(as_json(model)) == model
    return model


def _scored(model: Model, table: Table, left: Sequence[int], right: Sequence[int]) -> Scores:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = patterns(model.comparisons(), table, np.array(left, np.int64), np.array(right, np.int64))
        scores = score(model, found, np.ones(len(found), bool), table.rows)
    assert np.isfinite(scores.log_odds).all()
    return scores


def _right(model: Model, table: Table, person: np.ndarray) -> tuple[float, float]:
    """(share of the pairs stated at .95 and more that are one person, share of true pairs among them)."""
    seen = seen_pairs(PERSON, table)
    likely = _scored(model, table, seen.left.tolist(), seen.right.tolist()).probability >= 0.95
    same = person[seen.left] == person[seen.right]
    return float(same[likely].mean()), float(likely[same].mean())


def test_five_records() -> None:
    table = table_of([ANN, {**ANN, "phone": ("+12025550109",)}, BOB, {**BOB, "email": ("b@z.example",)}, {"given": ("cy",)}])
    model = _trained(table)
    found = _scored(model, table, [0, 2, 0, 0], [1, 3, 2, 4]).probability
    assert found[:2].min() > 0.5
    assert found[2:].max() < 0.05


def test_all_records_alike() -> None:
    table = table_of([ANN] * 12)
    model = _trained(table)
    assert 0.0 <= _scored(model, table, [0, 3], [1, 7]).probability.min() <= 1.0
    assert sum(model.class_pairs(12)) == pytest.approx(66, rel=1e-3)


@pytest.mark.parametrize("rows", [2, 3])
def test_two_or_three_records(rows: int) -> None:
    table = table_of([ANN, ANN, BOB][:rows])
    _scored(_trained(table), table, [0], [1])


def test_a_column_of_constants_says_nothing() -> None:
    rows, person = _people(1_500)
    plain = table_of(rows)
    constant = table_of([{**row, "city": ("here",), "gender": ("f",)} for row in rows])
    model = _trained(constant)
    precision, recall = _right(model, constant, person)
    assert precision > 0.95
    assert recall > 0.75
    gender = model.shares["gender"]["exact"]
    assert abs(np.log(gender[0] / gender[-1])) < 0.1, "what all have is no evidence"
    assert _right(_trained(plain), plain, person)[0] > 0.95


def test_no_contact_points() -> None:
    rows, person = _people(1_500, without=("phone", "email"))
    table = table_of(rows)
    model = _trained(table)
    assert not set(model.shares) & {"phone", "email"}
    precision, recall = _right(model, table, person)
    assert precision > 0.93
    assert recall > 0.4


def test_only_contact_points() -> None:
    rows, _ = _people(800)
    table = table_of([{name: row[name] for name in ("phone", "email") if name in row} for row in rows])
    _trained(table)


def test_a_model_that_does_not_know_a_field() -> None:
    rows, _ = _people(800, without=("phone",))
    model = _trained(table_of(rows))
    other, person = _people(800)
    table = table_of(other)
    assert "phone" not in model.shares
    assert _right(model, table, person)[0] > 0.93
    few = table_of([{name: row[name] for name in ("given", "root", "family", "phone") if name in row} for row in other])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        known = tuple(one for one in model.comparisons() if any(few.has(column) for column in one.columns))
    assert {one.name for one in known} == {"given", "family"}
