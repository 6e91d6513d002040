"""Guards: what contradicts, and under which models."""

from __future__ import annotations

import msgspec
import numpy as np
import pytest
from tests.linking_rig import model_by_hand

from firstring.identity.comparison.columns import table_of
from firstring.identity.comparison.levels import patterns
from firstring.identity.comparison.spec import PERSON
from firstring.identity.model.model import Model
from firstring.identity.persons.guards import contradictions

_ONE = {"given": ("ann",), "family": ("lee",), "national_id": ("7001",), "born": ("19710624",), "suffix": ("2",)}


def _codes(model: Model, **other: str) -> list[str]:
    table = table_of([_ONE, {**_ONE, **{name: (value,) for name, value in other.items()}}])
    found = patterns(model.comparisons(), table, np.zeros(1, np.int64), np.ones(1, np.int64))
    return [code for code, _ in contradictions(model, found)]


def _with(different: float) -> Model:
    """The model by hand, in which this share of the pairs of one person state another national id, and birth date."""
    model = model_by_hand(PERSON)
    shares = {name: {level: list(row) for level, row in of.items()} for name, of in model.shares.items()}
    for name in ("national_id", "birth_date"):
        shares[name]["different"][0] = different
    return msgspec.structs.replace(model, shares=shares)


def test_ids_and_dates_that_both_differ_contradict_where_they_are_seldom_wrong() -> None:
    other = {"national_id": "9999", "born": "19390101"}
    assert _codes(model_by_hand(PERSON), **other) == ["national_id_contradicts"]
    assert _codes(_with(0.03), **other) == ["national_id_contradicts"]
    assert _codes(_with(0.05), **other) == [], "1 in 400 pairs of one person has both wrong: that is no contradiction"


@pytest.mark.parametrize("other", [{}, {"national_id": "9999"}, {"born": "19390101"}, {"national_id": "7002"}])
def test_one_of_both_alone_does_not(other: dict[str, str]) -> None:
    assert _codes(model_by_hand(PERSON), **other) == []


def test_suffixes_always_contradict() -> None:
    assert _codes(_with(0.2), suffix="1") == ["suffix_contradicts"]


def test_a_model_that_does_not_compare_it_has_no_contradiction() -> None:
    fewer = model_by_hand(PERSON, without=("suffix", "national_id"))
    assert _codes(fewer, suffix="1", national_id="9", born="19390101") == []
