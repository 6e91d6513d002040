"""Truths that hold for every household of every seed."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from firstring.bench import people

SEEDS = st.integers(0, 2**31)
NUMBERS = st.integers(0, 2**24)


@given(SEEDS, NUMBERS)
def test_a_household_is_a_function_of_seed_and_number(seed: int, number: int) -> None:
    home = people.household(seed, number)
    assert home == people.household(seed, number)
    made = list(people.records(seed, number))
    assert made == list(people.records(seed, number))
    assert {record.person for record in made} == {member.person for member in home.members}, "everybody has a record"
    assert all(record.household == number and record.person // 8 == number for record in made)
    assert len({record.row[0] for record in made}) == len(made)
    assert all(len(record.row) == len(people.COLUMNS) for record in made)
    assert all(0 <= record.source < len(people.SOURCES) for record in made)


@given(st.lists(st.tuples(st.integers(0, 2**27), st.integers(0, 7)), unique=True, max_size=50))
def test_record_ids_are_one_to_one(pairs: list[tuple[int, int]]) -> None:
    assert len({people.record_id(person, place) for person, place in pairs}) == len(pairs)


@given(SEEDS, st.integers(1, 400))
def test_a_population_is_the_beginning_of_a_larger_one(seed: int, count: int) -> None:
    small, large = list(people.population(seed, count)), list(people.population(seed, count + 50))
    assert len(small) == count
    assert large[:count] == small
