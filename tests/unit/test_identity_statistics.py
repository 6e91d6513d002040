"""Frozen statistics say of every value what the table they come from says."""

from __future__ import annotations

import numpy as np
import pytest

from firstring.identity.comparison.columns import table_of
from firstring.identity.comparison.statistics import BANDS, Statistics

KEY = b"sixteen bytes or"
ROWS = [
    {"given": ("ann",), "family": ("smith",), "email": ("home@example.org",), "root": ("ann",), "phone": ("+1", "+2")},
    {"given": ("bob",), "family": ("smith",), "email": ("home@example.org",), "root": ("robert",), "phone": ("+1",)},
    {"given": ("ann",), "family": ("young",), "email": ("ann@example.org",), "root": ("ann",)},
]
NAMES = ("given", "family", "email", "email_local", "phone")


def test_frozen_statistics_say_what_the_table_says() -> None:
    table = table_of(ROWS)
    statistics = Statistics.from_bytes(table.frozen(NAMES, KEY).as_bytes(), KEY)
    again = table_of(ROWS, statistics)
    for name in NAMES:
        assert np.array_equal(again.bands(name), table.bands(name)), name
    assert np.array_equal(again.several_names(), table.several_names())
    alone = table_of(ROWS[:1], statistics)
    assert alone.bands("family").tolist() == [0, 0], "two of three share it, though this table holds one record"
    assert alone.several_names().tolist() == [True, False]


def test_a_value_that_is_not_known_is_as_rare_as_one_can_be() -> None:
    statistics = table_of(ROWS).frozen(NAMES, KEY)
    assert statistics.bands("family", ["nobody"]).tolist() == [1], "one of three: less than a half, more than a quarter"
    assert statistics.bands("device", ["x"]).tolist() == [BANDS - 1]


def test_another_key_knows_nothing() -> None:
    content = table_of(ROWS).frozen(NAMES, KEY).as_bytes()
    assert Statistics.from_bytes(content, b"another key 1234").bands("family", ["smith"]).tolist() == [1]
    with pytest.raises(ValueError):
        Statistics.from_bytes(b"no such thing", KEY)


def test_one_value_is_looked_up_as_many_are() -> None:
    statistics = table_of(ROWS).frozen(NAMES, KEY)
    for column in (*NAMES, "device"):
        values = ["ann", "bob", "smith", "+1", "+2", "home@example.org", "ann@example.org", "home", "nobody", ""]
        assert [statistics.band(column, value) for value in values] == statistics.bands(column, values).tolist(), column
    emails = ["home@example.org", "ann@example.org", "x@example.org"]
    assert [statistics.has_several_names(email) for email in emails] == statistics.several_names(emails).tolist()
    empty = Statistics(3, {}, KEY)
    assert empty.band("given", "ann") == BANDS - 1
    assert not empty.has_several_names("home@example.org")
