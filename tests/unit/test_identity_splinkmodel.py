"""Splink's model JSON: weights equal Splink's to 1e-9, and nothing is dropped in silence.

splink5_model.json was saved by Splink 5.0.0 (linker.misc.save_model_to_json) after training on generated customers.
"""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from firstring.errors import BadInput
from firstring.identity.comparison.columns import table_of
from firstring.identity.comparison.levels import patterns, unpacked
from firstring.identity.comparison.statistics import BANDS
from firstring.identity.model.model import as_json, from_json, outcome_names, score
from firstring.identity.model.splinkmodel import imported, weight_bits

FILE = Path(__file__).with_name("splink5_model.json")
COLUMNS = {
    "first_name": "given", "surname": "family", "dob": "born", "email": "email", "postcode": "postcode", "city": "city",
    "account": "account",
}  # fmt: skip
RECORDS = 4_000
FOUND = imported(FILE.read_bytes(), RECORDS, COLUMNS.get)
RAW = json.loads(FILE.read_text())


def raw_levels(name: str) -> dict[str, dict[str, Any]]:
    one = next(one for one in RAW["comparisons"] if one["output_column_name"] == name)
    return {level["label_for_charts"]: level for level in one["comparison_levels"]}


def test_every_level_that_maps_has_splinks_weight() -> None:
    compared = 0
    for comparison in FOUND.model.comparisons():
        of_splink = raw_levels(comparison.name)
        for level in comparison.levels:
            raw = of_splink[level.says]
            bits = math.log2(raw["m_probability"] / raw["u_probability"])
            if not level.banded:
                assert weight_bits(FOUND.model, comparison.name, level.name) == pytest.approx(bits, abs=1e-9)
                compared += 1
    assert compared >= 15


def test_term_frequencies_have_the_weight_of_the_middle_of_their_octave() -> None:
    raw = raw_levels("first_name")["Exact match on first_name"]
    for band in range(BANDS):
        middle = 2.0 ** -(band + 0.5)
        splinks = math.log2(raw["m_probability"] / raw["u_probability"]) + math.log2(raw["u_probability"] / middle)
        assert weight_bits(FOUND.model, "first_name", f"exact 2^-{band}") == pytest.approx(splinks, abs=1e-9)


def test_the_prior_is_splinks_and_is_carried_to_other_sizes() -> None:
    pairs = FOUND.model.class_pairs(RECORDS)
    assert pairs[0] / pairs.sum() == pytest.approx(RAW["probability_two_random_records_match"], rel=1e-9)
    assert FOUND.model.class_pairs(2 * RECORDS)[0] == pytest.approx(2 * pairs[0])


def test_a_pair_has_splinks_probability() -> None:
    rows = [
        {"given": ("martha",), "family": ("jones",), "born": ("19800102",), "email": ("mj@shop.org",), "city": ("leeds",)},
        {"given": ("marhta",), "family": ("jones",), "born": ("19800702",), "email": ("mj@mail.org",), "city": ("york",)},
    ]
    comparisons = FOUND.model.comparisons()
    numbers = patterns(comparisons, table_of(rows), np.zeros(1, np.int64), np.ones(1, np.int64))
    names = {
        one.name: "" if outcome == 0 else outcome_names(one)[outcome - 1]
        for one, outcome in zip(comparisons, unpacked(comparisons, numbers)[:, 0].tolist(), strict=True)
    }
    assert names == {
        "first_name": "level_1", "surname": "exact", "dob": "level_1", "email": "level_1", "postcode": "",
        "city": "different",
    }  # fmt: skip
    labels = {
        "first_name": "Jaro-Winkler distance of first_name >= 0.9", "surname": "Exact match on surname",
        "dob": "Abs date difference <= 1 year", "email": "Exact match on username", "city": "All other comparisons",
    }  # fmt: skip
    prior = RAW["probability_two_random_records_match"]
    bits = math.log2(prior / (1 - prior))
    for name, label in labels.items():
        raw = raw_levels(name)[label]
        bits += math.log2(raw["m_probability"] / raw["u_probability"])
    found = score(FOUND.model, numbers, np.zeros(1, bool), RECORDS).log_odds[0] / math.log(2)
    assert found == pytest.approx(bits, abs=1e-6)


def test_nothing_is_dropped_in_silence() -> None:
    for one in RAW["comparisons"]:
        name = one["output_column_name"]
        told = [row for row in FOUND.told if row.comparison == name]
        whole = [row for row in told if not row.level]
        labels = {level["label_for_charts"] for level in one["comparison_levels"] if not level.get("is_null_level")}
        assert whole or {row.level for row in told} == labels
    assert all(row.reason for row in FOUND.told if row.state != "mapped")
    left_out = {row.comparison for row in FOUND.told if not row.level}
    assert left_out == {"account", "first_name_surname"}
    assert sum(row.comparison == "blocking" for row in FOUND.told) == 3
    assert [key.parts for key in FOUND.model.spec.keys] == [("given", "born"), ("email",)]


def test_the_model_is_read_back() -> None:
    assert from_json(as_json(FOUND.model)) == FOUND.model


def test_columns_we_do_not_know_become_attributes() -> None:
    found = imported(FILE.read_bytes(), RECORDS, lambda name: None if name == "city" else COLUMNS.get(name))
    assert found.model.spec.attributes == {"attribute.city": "text"}


@pytest.mark.parametrize(
    ("content", "code"),
    [
        (b"no", "splink_malformed"),
        (b"{}", "splink_malformed"),
        (b'{"comparisons": []}', "splink_malformed"),
        (b'{"probability_two_random_records_match": 0.1, "comparisons": []}', "splink_empty"),
        (b'{"probability_two_random_records_match": 0.1, "comparisons": [{}]}', "splink_malformed"),
    ],
)
def test_what_is_no_splink_model_is_said(content: bytes, code: str) -> None:
    with pytest.raises(BadInput) as caught:
        imported(content, 10, COLUMNS.get)
    assert caught.value.code == code
