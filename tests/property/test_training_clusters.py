"""Clusters against a brute-force oracle; a planted model found again; the order of input never matters."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from firstring.bench.people import population
from firstring.bulk.linking.gathering import Gathered, gather, sources
from firstring.bulk.linking.link import model_of, persons
from firstring.bulk.linking.pairs import Pairs
from firstring.bulk.linking.plan import make_plan
from firstring.identity.comparison.levels import outcomes, patterns, unpacked
from firstring.identity.comparison.spec import CLASSES, PERSON, Comparison, Level
from firstring.identity.comparison.statistics import BANDS
from firstring.identity.model.model import Model
from firstring.identity.model.training import Observed, expectation_maximisation
from firstring.identity.persons.clustering import (
    LIKELY,
    MOST,
    NOT_SEEN,
    TOO_MANY,
    Rules,
    clusters,
    components,
    connected,
    grouped,
    joins,
)

THRESHOLD = float(np.log(19))


@st.composite
def _graphs(draw: st.DrawFn) -> tuple[int, dict[tuple[int, int], float]]:
    rows = draw(st.integers(2, 9))
    every = [(left, right) for left in range(rows) for right in range(left + 1, rows)]
    odds = st.sampled_from([-20.0, -5.0, -2.0, -0.25, 0.0, 0.5, 1.5, 2.5, 3.0, 4.0, 8.0])
    chosen = draw(st.dictionaries(st.sampled_from(every), odds, max_size=len(every)))
    return rows, chosen


def _oracle(rows: int, pairs: dict[tuple[int, int], float]) -> list[int]:
    """The definition, by looking at all pairs of groups again after every merge."""
    groups = [frozenset((row,)) for row in range(rows)]
    while True:
        best: tuple[float, int, int, float] | None = None
        for one in groups:
            for other in groups:
                if min(one) >= min(other):
                    continue
                known = [pairs.get((min(a, b), max(a, b))) for a in one for b in other]
                seen = [value for value in known if value is not None]
                if not seen:
                    continue
                total = sum(min(max(value, -MOST), MOST) for value in seen) + NOT_SEEN * (len(known) - len(seen))
                if joins(max(seen), total, THRESHOLD, min(len(one), len(other))):
                    offer = (-max(seen), min(one), min(other), -total)
                    best = offer if best is None else min(best, offer)
        if best is None:
            return [min(next(group for group in groups if row in group)) for row in range(rows)]
        joined = [group for group in groups if min(group) in best[1:3]]
        groups = [group for group in groups if group not in joined] + [joined[0] | joined[1]]


def _arrays(pairs: dict[tuple[int, int], float]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    ordered = sorted(pairs)
    left = np.array([one for one, _ in ordered], np.int32)
    right = np.array([other for _, other in ordered], np.int32)
    return left, right, np.array([pairs[pair] for pair in ordered], np.float64)


@given(_graphs())
@settings(max_examples=400, deadline=None)
def test_clusters_are_those_of_the_definition(graph: tuple[int, dict[tuple[int, int], float]]) -> None:
    rows, pairs = graph
    arrays = _arrays(pairs)
    found = clusters(components(rows, arrays, LIKELY), arrays, THRESHOLD)
    assert found.tolist() == _oracle(rows, pairs)


def test_pairs_that_say_the_same_again_do_not_add_up() -> None:
    """Two records each of two twins: four pairs of 1.0 are no more than two, and less than one of 2.94."""
    pairs = {(0, 1): 9.0, (2, 3): 9.0, (0, 2): 1.0, (0, 3): 1.0, (1, 2): 1.0, (1, 3): 1.0}
    arrays = _arrays(pairs)
    assert clusters(components(4, arrays, LIKELY), arrays, 2.94).tolist() == [0, 0, 2, 2]
    pairs = {(0, 1): 9.0, (1, 2): 9.0, (0, 2): 9.0, (0, 3): 1.0, (1, 3): 1.0, (2, 3): 1.0}
    arrays = _arrays(pairs)
    assert clusters(components(4, arrays, LIKELY), arrays, 2.94).tolist() == [0, 0, 0, 0], "three of one person on one more"


@st.composite
def _rules(draw: st.DrawFn) -> tuple[dict[tuple[int, int], float], Rules]:
    rows, pairs = draw(_graphs())
    every = [(left, right) for left in range(rows) for right in range(left + 1, rows)]
    must = draw(st.lists(st.sampled_from(every), max_size=2, unique=True))
    barred = draw(st.dictionaries(st.sampled_from(every), st.sampled_from(["", "guarded"]), max_size=4))
    content = {row: draw(st.integers(0, rows)) for row in range(rows)}
    return pairs, Rules(must, barred, content, draw(st.integers(1, 6)))


def _ruled_oracle(
    pairs: dict[tuple[int, int], float], rules: Rules
) -> tuple[set[frozenset[int]], set[tuple[int, int, str]]]:
    rows = {row for pair in [*pairs, *rules.must] for row in pair}
    groups = [frozenset((row,)) for row in rows]
    for pair in rules.must:
        joined = [group for group in groups if group & set(pair)]
        groups = [group for group in groups if group not in joined] + [frozenset().union(*joined)]
    while True:
        offers, held = [], set()
        for one in groups:
            for other in groups:
                if min(one) >= min(other):
                    continue
                between = {(min(a, b), max(a, b)) for a in one for b in other}
                seen = [pairs[pair] for pair in between if pair in pairs]
                total = sum(min(max(value, -MOST), MOST) for value in seen) + NOT_SEEN * (len(between) - len(seen))
                if not seen or not joins(max(seen), total, THRESHOLD, min(len(one), len(other))):
                    continue
                codes = [rules.barred[pair] for pair in between if pair in rules.barred]
                if not codes and len({rules.content[row] for row in one | other}) > rules.most:
                    codes = [TOO_MANY]
                if not codes:
                    offers.append((-max(seen), min(one), min(other), -total))
                elif min(codes):
                    held.add((min(one), min(other), min(codes)))
        if not offers:
            return set(groups), held
        best = min(offers)
        joined = [group for group in groups if min(group) in best[1:3]]
        groups = [group for group in groups if group not in joined] + [joined[0] | joined[1]]


@given(_rules())
@settings(max_examples=400, deadline=None)
def test_rules_join_bar_and_hold_as_they_say(drawn: tuple[dict[tuple[int, int], float], Rules]) -> None:
    pairs, rules = drawn
    found = grouped([(*pair, odds) for pair, odds in sorted(pairs.items())], THRESHOLD, rules)
    groups: dict[int, set[int]] = {}
    for row, first in found.person.items():
        groups.setdefault(first, set()).add(row)
    wanted, held = _ruled_oracle(pairs, rules)
    assert set(map(frozenset, groups.values())) == wanted
    assert {one[:3] for one in found.held} == held


@given(st.integers(1, 12).flatmap(lambda rows: st.tuples(st.just(rows), st.lists(
    st.tuples(st.integers(0, rows - 1), st.integers(0, rows - 1)), max_size=20))))  # fmt: skip
@settings(max_examples=200, deadline=None)
def test_connected_components_are_those_of_a_flood(drawn: tuple[int, list[tuple[int, int]]]) -> None:
    rows, edges = drawn
    found = connected(rows, [one for one, _ in edges], [other for _, other in edges])
    for row in range(rows):
        reached, border = {row}, [row]
        while border:
            here = border.pop()
            for one, other in edges:
                for there in ({one, other} - reached) if here in (one, other) else ():
                    reached.add(there)
                    border.append(there)
        assert found[row] == min(reached)


# --- training ------------------------------------------------------------------------------------------------------


def _planted() -> tuple[Comparison, ...]:
    def one(name: str, *exact: float) -> Comparison:
        rest = [(1 - share) / 2 if share else 0.0 for share in exact]
        return Comparison(
            name,
            "identifier",
            (name,),
            (Level("exact", "", *exact), Level("close", "", *rest), Level("different", "", *rest)),
        )

    # Training starts well away from what is planted.
    return (
        one("a", 0.6, 0.0, 0.6), one("b", 0.6, 0.5, 0.6), one("c", 0.6, 0.0, 0.0), one("d", 0.6, 0.5, 0.0),
        one("e", 0.6, 0.3, 0.0),
    )  # fmt: skip


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_a_planted_model_is_found_again(seed: int) -> None:
    comparisons = _planted()
    rng = np.random.default_rng(seed)
    unrelated = np.array([[0.002, 0.004, 0.994]] * 5)
    same = np.array([[0.9, 0.06, 0.04], [0.8, 0.1, 0.1], [0.85, 0.1, 0.05], [0.7, 0.1, 0.2], [0.75, 0.05, 0.2]])
    household = unrelated.copy()
    household[[1, 3, 4]] = [[0.85, 0.05, 0.1], [0.8, 0.1, 0.1], [0.5, 0.1, 0.4]]
    namesake = unrelated.copy()
    namesake[:2] = [[0.9, 0.05, 0.05], [0.8, 0.1, 0.1]]
    records = 2_000
    counts = np.array([4_000, 6_000, 5_000, records * (records - 1) // 2 - 15_000])
    numbers = []
    for share, count in zip((same, household, namesake, unrelated), counts, strict=True):
        rows = np.stack([rng.choice(3, size=count, p=share[place]) + 1 for place in range(5)])
        rows[rng.random(rows.shape) < 0.1] = 0
        numbers.append(rows[0] * 256 + rows[1] * 64 + rows[2] * 16 + rows[3] * 4 + rows[4])
    distinct, pairs = np.unique(np.concatenate(numbers), return_counts=True)
    assert unpacked(comparisons, distinct).shape == (5, len(distinct))
    rates = [np.append(0.0, (counts @ np.stack([s[place] for s in (same, household, namesake, unrelated)])) / counts.sum())
             for place in range(5)]  # fmt: skip
    start = []
    for comparison, rate in zip(comparisons, rates, strict=True):
        table = np.tile(rate, (len(CLASSES), 1))
        for number, learned in enumerate(comparison.learned_by):
            if learned:
                table[number, 1:] = [comparison.starting(level)[number] for level in comparison.levels]
        table[:, 0] = 1.0
        start.append(table)
    observed = Observed(distinct, pairs.astype(np.float64), np.ones(len(distinct), bool))
    fit = expectation_maximisation(comparisons, observed, rates, start, records)
    assert fit.pairs[:2] == pytest.approx(counts[:2], rel=0.05)
    # Two comparisons alone tell namesakes from unrelated pairs: how many there are is known less well, and nothing tells
    # those of one region from the others.
    assert fit.pairs[2] + fit.pairs[CLASSES.index("neighbour")] == pytest.approx(counts[2], rel=0.4)
    for place in range(5):
        assert fit.shares[place][0, 1:] == pytest.approx(same[place], abs=0.03)
        assert fit.shares[place][1, 1:] == pytest.approx(household[place], abs=0.03)
        assert fit.shares[place][-1, 1:] == pytest.approx(unrelated[place], abs=0.002)


# --- the order of input --------------------------------------------------------------------------------------------


def _write(folder: Path, rows: list[tuple[str, ...]], files: int, columns: tuple[str, ...]) -> list[Path]:
    paths = []
    for number in range(files):
        path = folder / f"part{number}.csv"
        lines = [",".join(row) for row in rows[number::files]]
        path.write_text("\n".join([",".join(columns), *lines]) + "\n", "utf-8")
        paths.append(path)
    return paths


def _linked(folder: Path, paths: list[Path]) -> tuple[Gathered, dict[str, int], Model]:
    gathered = gather(sources(paths, None), country="US")
    pairs = Pairs(folder, memory_mb=200, threads=1)
    try:
        plan = make_plan(PERSON, gathered.table)
        model = model_of(plan, gathered.table, pairs, PERSON, lambda _step, _done, _whole: None)
        pairs.score(model, gathered.table.rows)
        person = persons(gathered, pairs, model, 0.95).person
    finally:
        pairs.close()
    return gathered, dict(zip(gathered.record_ids, person.tolist(), strict=True)), model


_COLUMNS = ("record_id", "given_name", "family_name", "birth_date", "phone", "email", "city", "postcode")
_PICKED = (0, 1, 2, 4, 5, 8, 11, 12)


@pytest.mark.parametrize("seed", [5, 6])
def test_the_order_of_rows_and_files_does_not_matter(tmp_path: Path, seed: int) -> None:
    rng = np.random.default_rng(seed)
    rows = [tuple(record.row[place] for place in _PICKED) for record in population(seed, 400)]
    results = []
    for number, files in enumerate((1, 3, 2)):
        folder = tmp_path / str(number)
        folder.mkdir()
        shuffled = [rows[place] for place in rng.permutation(len(rows))] if number else rows
        results.append(_linked(folder, _write(folder, shuffled, files, _COLUMNS)))
    (_, first, model), *others = results
    assert len(set(first.values())) < len(first)
    groups = _groups(first)
    for _, other, again in others:
        assert again.version == model.version
        assert _groups(other) == groups


def _groups(person_of: dict[str, int]) -> set[frozenset[str]]:
    found: dict[int, set[str]] = {}
    for record, person in person_of.items():
        found.setdefault(person, set()).add(record)
    return {frozenset(records) for records in found.values()}


def test_patterns_pack_and_unpack() -> None:
    rng = np.random.default_rng(1)
    comparisons = PERSON.comparisons
    rows = np.stack([rng.integers(0, outcomes(one).radix, 500) for one in comparisons])
    numbers = np.zeros(500, np.int64)
    for comparison, row in zip(comparisons, rows, strict=True):
        numbers = numbers * outcomes(comparison).radix + row
    assert (unpacked(comparisons, numbers) == rows).all()
    assert all(outcomes(one).radix < 256 for one in comparisons)
    assert BANDS >= 20, "a value of which there are two in a million has an octave of its own"
    assert patterns  # imported for the table of PERSON: its product of outcomes must fit a pattern
