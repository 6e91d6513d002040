"""Why two records are one person: parts that add up, words that are right, tips that do what they say."""

from __future__ import annotations

from itertools import combinations
from math import isclose, log

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.linking_rig import model_by_hand

from firstring.identity.comparison.columns import table_of
from firstring.identity.comparison.levels import outcomes, patterns
from firstring.identity.comparison.spec import CLASSES, PERSON
from firstring.identity.model.model import score
from firstring.identity.review.explain import (
    Link,
    explained,
    explained_pair,
    held_together,
    odds_text,
    path,
    probability_of,
    rarity,
    shown_probability,
)

MODEL = model_by_hand()
COMPARISONS = MODEL.comparisons()
ANN = {"given": ("ann",), "root": ("ann",), "family": ("lee",), "born": ("19710624",), "phone": ("+1", "+2"),
       "city": ("boston",), "email": ("ann@lee.example",)}  # fmt: skip
OTHERS = [
    {name: (f"{place}{values[0]}",) for name, values in ANN.items() if name != "born"} | {"born": (f"{1900 + place}0915",)}
    for place in range(62)
]
rows_of_outcomes = st.tuples(*(st.integers(0, outcomes(one).radix - 1) for one in COMPARISONS))


@settings(max_examples=150, deadline=None)
@given(row=rows_of_outcomes, by_profile=st.booleans(), threshold=st.sampled_from([0.5, 0.95]))
def test_the_parts_add_up_and_the_tips_turn_the_verdict(row: tuple[int, ...], by_profile: bool, threshold: float) -> None:
    cells = {"given exact, family exact, birth_date exact, place exact": [1.0, -2.0, 0.5, *[0.0] * (len(CLASSES) - 3)]}
    model = msgspec.structs.replace(MODEL, cells=cells)
    found = explained(model, row, by_profile=by_profile, threshold=threshold)
    parts = found.prior_nats + found.cell_nats + found.others_nats + found.calibration_nats
    assert isclose(parts + sum(one.weight_nats for one in found.fields), found.log_odds_nats, abs_tol=1e-9)
    assert found.others_nats <= 1e-12, "further explanations can only take away"
    assert len(found.fields) == sum(outcome != 0 for outcome in row)
    assert isclose(found.probability, probability_of(found.log_odds_nats))
    for tip in found.tips:
        assert (tip.probability >= threshold) != (found.probability >= threshold)
    assert len({tip.comparison for tip in found.tips}) == len(found.tips)


def test_a_pair_of_a_table_is_the_pair_of_its_pattern() -> None:
    bob = ANN | {"given": ("bob",), "root": ("robert",), "phone": ("+2",), "email": ("bob@lee.example",)}
    table = table_of([ANN, bob, *OTHERS])
    found = explained_pair(MODEL, table, 0, 1, by_profile=True, threshold=0.95)
    there = tuple(one for one in COMPARISONS if any(table.has(column) for column in one.columns))
    small = msgspec.structs.replace(MODEL, shares={one.name: MODEL.shares[one.name] for one in there})
    pattern = patterns(there, table, np.array([0]), np.array([1]))
    scores = score(small, pattern, np.array([True]), MODEL.records)
    assert isclose(found.log_odds_nats, float(scores.log_odds[0]))
    assert found.against == CLASSES[int(scores.rival[0])] == "household"
    texts = {one.comparison: one.text for one in found.fields}
    assert texts["given"].startswith("given name is different: ")
    assert texts["given"].endswith("against one person")
    assert texts["phone"].startswith("phone is shared (one in 32 has it): ")
    by_name = {one.comparison: one for one in found.fields}
    assert (by_name["phone"].left, by_name["phone"].right) == (("+1", "+2"), ("+2",))
    assert by_name["given"].left == ("ann",)
    assert "suffix" not in texts, "what nobody states is no evidence"


def test_what_would_tip_it_is_said_in_words() -> None:
    far = ANN | {"born": ("19480317",)}
    found = explained_pair(MODEL, table_of([ANN, far, *OTHERS]), 0, 1, by_profile=True, threshold=0.9999999)
    assert found.probability < 0.9999999
    assert any(tip.comparison == "birth_date" and tip.text.startswith("if the birth date ") for tip in found.tips)
    twin = explained_pair(MODEL, table_of([ANN, ANN, *OTHERS]), 0, 1, by_profile=True, threshold=0.5)
    assert twin.verdict == (
        f"{shown_probability(twin.probability)} that they are one person, at or above 0.5; if not, two of one name"
        if twin.against == "namesake"
        else twin.verdict
    )


def test_every_level_reads_as_a_sentence() -> None:
    for place, comparison in enumerate(COMPARISONS):
        for outcome in range(1, outcomes(comparison).radix):
            row = [0] * len(COMPARISONS)
            row[place] = outcome
            found = explained(MODEL, row, by_profile=False, threshold=0.95)
            [one] = found.fields
            assert outcomes(comparison).of[outcome - 1][0].says in one.text
            assert "_" not in one.text
    assert PERSON.comparisons == COMPARISONS


@pytest.mark.parametrize(
    ("nats", "text"),
    [(0.0, "says nothing either way"), (log(3), "3.0 : 1 for one person"), (-log(250), "250 : 1 against one person"),
     (log(2e7), "2e07 : 1 for one person")],
)  # fmt: skip
def test_weights_are_odds(nats: float, text: str) -> None:
    assert odds_text(nats) == text


def test_rarity_and_probability_have_sensible_digits() -> None:
    assert [rarity(octave) for octave in (0, 5, 7, 13)] == [
        "one in 1 has it", "one in 32 has it", "one in 130 has it", "one in 8,200 has it"]  # fmt: skip
    shown = [shown_probability(one) for one in (0.5, 0.996, 0.9996, 1 - 1e-9, 1e-4, 0.0)]
    assert shown == ["0.50", "0.996", "0.9996", "more than 0.999999", "0.0001", "less than 0.000001"]


# --- persons -------------------------------------------------------------------------------------------------------


@st.composite
def _links(draw: st.DrawFn) -> tuple[int, list[Link]]:
    rows = draw(st.integers(1, 7))
    every = list(combinations(range(rows), 2))
    if not every:
        return rows, []
    odds = st.sampled_from([-3.0, -0.5, 0.0, 1.0, 2.0, 5.0])
    chosen = draw(st.dictionaries(st.sampled_from(every), st.tuples(odds, st.booleans()), max_size=len(every)))
    return rows, [Link(weight, *pair, decided) for pair, (weight, decided) in chosen.items()]


def _strength(link: Link) -> tuple[bool, float]:
    return link.decided, link.log_odds_nats


def _ways(links: list[Link], one: int, other: int, seen: frozenset[int]) -> list[list[Link]]:
    if one == other:
        return [[]]
    found = []
    for link in links:
        if one in (link.left, link.right):
            after = link.right if link.left == one else link.left
            if after not in seen:
                found += [[link, *rest] for rest in _ways(links, after, other, seen | {after})]
    return found


@settings(max_examples=300, deadline=None)
@given(graph=_links())
def test_the_path_is_the_one_whose_weakest_link_is_strongest(graph: tuple[int, list[Link]]) -> None:
    rows, links = graph
    held = held_together(range(rows), links)
    assert held == held_together(range(rows), links[::-1]), "the order of links does not matter"
    for one, other in combinations(range(rows), 2):
        ways = _ways(links, one, other, frozenset((one,)))
        way = path(held, one, other)
        if not ways:
            assert way is None
            continue
        assert way is not None
        assert min(map(_strength, way)) == max(min(map(_strength, each)) for each in ways)
        ends = [one]
        for link in way:
            assert ends[-1] in (link.left, link.right)
            ends.append(link.right if link.left == ends[-1] else link.left)
        assert ends[-1] == other
    assert held.loose == (tuple(row for row in range(rows) if not any(row in (o.left, o.right) for o in links)) * (rows > 1))
    if held.weakest:
        assert held.sides is not None
        assert set(held.sides[0]).isdisjoint(held.sides[1])


def test_a_steward_s_link_is_not_the_weakest_where_another_is() -> None:
    links = [Link(-2.0, 1, 2, True), Link(4.0, 2, 3), Link(1.0, 3, 4), Link(9.0, 4, 99)]
    held = held_together((1, 2, 3, 4), links)
    assert held.weakest == Link(1.0, 3, 4)
    assert held.sides == ((1, 2, 3), (4,))
    assert Link(-2.0, 1, 2, True).probability == 1.0
