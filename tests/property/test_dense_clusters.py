"""Matrices find the same groups as dictionaries of pairs, and hold the same merges, to the last bit."""

from __future__ import annotations

import numpy as np
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from firstring.identity.persons import dense
from firstring.identity.persons.clustering import Rules, grouped
from firstring.identity.persons.dense import DENSE_PAIRS, grouped_densely, is_dense


@st.composite
def _components(draw: st.DrawFn) -> tuple[list[tuple[int, int, float]], Rules, float]:
    """Random pairs by a seed, since many pairs are what this is about; row numbers with gaps."""
    random = np.random.default_rng(draw(st.integers(0, 1 << 30)))
    size = draw(st.sampled_from([3, 6, 12, 30, 50]))
    rows = np.sort(random.choice(1_000, size, replace=False)).tolist()
    every = [(one, other) for place, one in enumerate(rows) for other in rows[place + 1 :]]
    kept = random.random(len(every)) < draw(st.sampled_from([0.2, 0.6, 1.0]))
    rounded = draw(st.booleans())  # ties
    odds = random.normal(draw(st.sampled_from([-2.0, 0.0, 2.0])), 5.0, len(every)).round(0 if rounded else 9).tolist()
    pairs = [(*pair, value) for pair, value, keep in zip(every, odds, kept.tolist(), strict=True) if keep]
    must = draw(st.lists(st.sampled_from(every), max_size=2, unique=True))
    barred = draw(st.dictionaries(st.sampled_from(every), st.sampled_from(["", "one", "other"]), max_size=4))
    content = {row: int(random.integers(0, size)) for row in rows} if draw(st.booleans()) else {}
    rules = Rules(must, barred, content, draw(st.sampled_from([2, size // 2 + 1, 1 << 60])))
    return pairs, rules, draw(st.sampled_from([np.log(19.0), 2.0, 0.0, -1.0]))


@given(_components())
@settings(max_examples=300, deadline=None)
def test_matrices_group_as_pairs_do(component: tuple[list[tuple[int, int, float]], Rules, float]) -> None:
    pairs, rules, threshold = component
    assume(pairs or rules.must)
    left = np.array([one for one, _, _ in pairs], np.int64)
    right = np.array([other for _, other, _ in pairs], np.int64)
    odds = np.array([odds for *_, odds in pairs], np.float64)
    wanted = grouped(pairs, threshold, rules)
    assert grouped_densely(left, right, odds, threshold, rules) == wanted
    rows = np.unique(np.concatenate((left, right, np.array(rules.must, np.int64).reshape(-1))))
    places = np.searchsorted(rows, left), np.searchsorted(rows, right)
    assert dense._Descent(rows, places, odds, threshold, rules).run() in (wanted, None)
    assert dense._Matrices(rows, places, odds, threshold, rules).run() == wanted


def test_what_is_looked_at_in_vain_too_often_is_left_to_matrices() -> None:
    """Pairs likelier than not, none of them enough, and each group of two held apart from the rest by the unlikely ones."""
    random = np.random.default_rng(2)
    left, right = np.triu_indices(120, 1)
    odds = random.normal(-1.0, 4.0, len(left)).round(1)
    rows = np.arange(120)
    descent = dense._Descent(rows, (left, right), odds, 2.0, Rules())
    descent._looks = 50
    assert descent.run() is None
    pairs = list(zip(left.tolist(), right.tolist(), odds.tolist(), strict=True))
    assert grouped_densely(left, right, odds, 2.0, Rules()) == grouped(pairs, 2.0, Rules())


def test_small_and_sparse_components_are_not_dense() -> None:
    ones, others = np.triu_indices(14, 1)
    assert len(ones) > DENSE_PAIRS
    assert is_dense(ones, others)
    ones, others = np.triu_indices(13, 1)
    assert len(ones) <= DENSE_PAIRS
    chain = np.arange(5_000)
    assert not is_dense(chain, chain + 1)
