"""Numbers of texts never rule out a pair that is one edit apart; dates are compared as one by one."""

from datetime import date

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from rapidfuzz.distance import OSA

from firstring.identity.comparison.levels import date_levels
from firstring.identity.comparison.onecharacter import character_sums, may_be_one_edit

TEXTS = st.lists(st.text(st.sampled_from("ab12@.é\U0001f600"), max_size=6), min_size=1, max_size=12)
DATES = st.lists(
    st.one_of(
        st.dates(date(1980, 1, 1), date(1982, 12, 31)).map(lambda day: day.strftime("%Y%m%d")),
        st.sampled_from(["19800101", "19810230", "1980", "", "19801301", "198001", "0101", "19800102x", "00000101"]),
    ),
    min_size=1,
    max_size=8,
)


@given(TEXTS)
def test_a_pair_that_is_one_edit_apart_is_never_ruled_out(values: list[str]) -> None:
    sums = character_sums(values)
    for place, one in enumerate(values):
        may = may_be_one_edit(np.full(len(values), sums[place]), sums)
        assert all(may[at] for at, other in enumerate(values) if OSA.distance(one, other) <= 1)


def test_texts_of_several_edits_are_mostly_ruled_out_in_chunks_too() -> None:
    values = [f"+49{number * 7919:09d}" for number in range(70_000)]
    sums = character_sums(values)
    assert len(sums) == len(values)
    assert (sums[65_530:65_550] == character_sums(values[65_530:65_550])).all()
    assert may_be_one_edit(sums[:-1], sums[1:]).mean() < 0.2
    assert len(character_sums([])) == 0


@given(DATES)
def test_dates_are_compared_as_one_by_one(values: list[str]) -> None:
    ones = [one for one in values for _ in values]
    others = values * len(values)
    assert date_levels(ones, others).tolist() == [_level(one, other) for one, other in zip(ones, others, strict=True)]


def _level(one: str, other: str) -> int:
    edits = OSA.distance(one, other)
    same_year = one[:4] == other[:4]
    if same_year and (one[4:] == other[6:8] + other[4:6] or "0101" in (one[4:], other[4:])):
        return 1
    if edits <= 2:
        return 2 if edits <= 1 else 3
    if one[4:] == other[4:]:
        return 4
    try:
        days = abs((date.fromisoformat(one) - date.fromisoformat(other)).days)
    except ValueError:
        days = 1 << 20
    return 5 if days < 40 else 6 if same_year or days < 400 else 7
