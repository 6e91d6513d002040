"""One claim against one record says what the bulk run says of the two as a pair, level by level."""

from __future__ import annotations

import numpy as np
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from firstring.identity.caller import claims as comparison
from firstring.identity.caller.claims import Found, claimed, names, places
from firstring.identity.comparison.columns import compared, table_of
from firstring.identity.comparison.levels import compare, outcomes
from firstring.identity.comparison.spec import PERSON

few = st.text("abé ", max_size=7)
real = st.sampled_from(
    ["Ann", "Anna", "Bob", "Robert", "Jonas", "Jonsa", "de la Cruz", "Cruz", "Garcia Lopez", "Lopez", "R", ""]
)
words = st.one_of(few, real)
streets = st.sampled_from(["High Street", "Hihg Street", "High Str", "Elm Street", "Elm Streat", ""])
dates = st.one_of(
    st.dates().map(str),
    st.sampled_from(["1971-06-05", "1971-05-06", "1971-01-01", "1971-06-15", "1981-06-05", "1971-07-02"]),
)
people = st.fixed_dictionaries(
    {},
    optional={
        "given_name": words, "family_name": words, "middle_name": words, "suffix": st.sampled_from(["Jr", "Sr", "II"]),
        "birth_date": dates, "street": streets, "house_number": st.sampled_from(["1", "2", "12"]),
        "postcode": st.sampled_from(["SW1A 1AA", "SW1A 2AA", "02134", "02135", "9999"]),
        "city": st.sampled_from(["Boston", "Bostom", "Delft", "Gouda", ""]),
    },
)  # fmt: skip


def in_bulk(left: dict[str, str], right: dict[str, str]) -> dict[str, str]:
    """Comparison -> level, out of the vectorised levels."""
    table = table_of([compared(left), compared(right)])
    found = {}
    for one in PERSON.comparisons:
        if one.name in ("given", "family", "middle", "suffix", "birth_date", "place") and any(map(table.has, one.columns)):
            outcome = int(compare(one, table, np.array([0]), np.array([1]))[0])
            if outcome:
                found[one.name] = outcomes(one).of[outcome - 1][0].name
    return found


def at_the_ring(left: dict[str, str], right: dict[str, str]) -> dict[str, str]:
    claim, stated = claimed(left), claimed(right)
    found: list[Found | None] = [*names(claim.name, stated.name), places(claim.place, stated.place)]
    if claim.born and stated.born:
        found.append(Found("birth_date", comparison.birth_dates(claim.born, stated.born)))
    return {one.comparison: one.level for one in found if one is not None}


@settings(max_examples=400)
@given(people, people)
def test_a_claim_is_compared_as_a_pair_of_records_is(left: dict[str, str], right: dict[str, str]) -> None:
    one, other = claimed(left).name, claimed(right).name
    # A name written without a space is compared as a whole while it rings, and taken apart before linking.
    assume(one.given or not other.given or one.family != f"{other.family}{other.given}")
    assume(other.given or not one.given or other.family != f"{one.family}{one.given}")
    assert at_the_ring(left, right) == in_bulk(left, right)


@given(st.lists(st.tuples(people, people), min_size=1, max_size=3))
def test_levels_have_no_direction(pairs: list[tuple[dict[str, str], dict[str, str]]]) -> None:
    for left, right in pairs:
        assert at_the_ring(left, right) == at_the_ring(right, left)
