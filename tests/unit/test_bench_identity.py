"""What the benchmark of linking counts: pairs against brute force, bins against counting by hand."""

from __future__ import annotations

from itertools import combinations

from hypothesis import given
from hypothesis import strategies as st

from firstring.bench.identity import accuracy, calibration

_PARTITIONS = st.lists(st.tuples(st.integers(0, 4), st.integers(0, 4)), min_size=1, max_size=12)


@given(_PARTITIONS)
def test_accuracy_is_that_of_all_pairs(drawn: list[tuple[int, int]]) -> None:
    found = {str(place): one for place, (one, _) in enumerate(drawn)}
    truth = {str(place): other for place, (_, other) in enumerate(drawn)}
    pairs = list(combinations(found, 2))
    said = {pair for pair in pairs if found[pair[0]] == found[pair[1]]}
    true = {pair for pair in pairs if truth[pair[0]] == truth[pair[1]]}
    got = accuracy(found, truth)
    assert got.precision == (len(said & true) / len(said) if said else 1.0)
    assert got.recall == (len(said & true) / len(true) if true else 1.0)


def test_a_record_that_is_left_out_counts_as_alone() -> None:
    got = accuracy({"a": 1, "b": 1}, {"a": 1, "b": 1, "c": 1})
    assert (got.precision, got.recall, got.largest, got.true_largest) == (1.0, 1 / 3, 2, 3)


def test_calibration_counts_each_pair_in_one_bin() -> None:
    truth = {"a": 1, "b": 1, "c": 2}
    rows = calibration([("a", "b", 0.96), ("a", "c", 0.97), ("b", "c", 0.5), ("a", "b", 1.0), ("a", "b", 0.2)], truth)
    assert [(low, high, count, round(right, 3)) for low, high, count, _, right in rows] == [
        (0.5, 0.8, 1, 0.0), (0.95, 0.99, 2, 0.5), (0.99, 1.0, 1, 1.0),
    ]  # fmt: skip
