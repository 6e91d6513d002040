"""The linking keys of one record meet exactly where the hashes of a table do."""

from __future__ import annotations

from itertools import combinations

from hypothesis import given, settings
from hypothesis import strategies as st

from firstring.bulk.linking.plan import key_rows
from firstring.identity.comparison.columns import COLUMNS, SEVERAL, Table, table_of
from firstring.identity.comparison.spec import PERSON, Spec
from firstring.identity.persons.linkkeys import PROFILE, Values, link_keys_of, tags

ALL = Spec(PERSON.comparisons, PERSON.keys, link_keys=tuple(key.name for key in PERSON.keys))
_VALUES = {
    "given": ["ann", "anne", "lee", "kim"], "root": ["ann", "lee", "kim"], "family": ["lee", "kim", "leigh", "ann"],
    "born": ["19710102", "19710201", "19800102"], "postcode": ["AB12CD", "AB12CE", "123"],
    "address": ["1 elm st", "2 elm st"],
    "email": ["ann.lee99@a.example", "ann.lee99+x@b.example", "kim@a.example", "x", "lee@b.example", "q@c.example"],
    "phone": [f"+1{number}" for number in range(7)], "city": ["york", "ely"],
}  # fmt: skip


@st.composite
def rows(draw: st.DrawFn) -> dict[str, tuple[str, ...]]:
    found: dict[str, tuple[str, ...]] = {}
    for column in COLUMNS:
        known = _VALUES.get(column, ["one", "two"])
        most = 6 if column in SEVERAL else 1
        chosen = draw(st.lists(st.sampled_from(known), max_size=most, unique=True))
        if chosen:
            found[column] = tuple(sorted(chosen))
    return found


def _met_in_table(table: Table) -> set[tuple[str, int, int]]:
    found = set()
    for key in ALL.linking:
        if not all(table.has(part) for part in key.parts):
            continue
        hashes, owners = key_rows(key, table)
        held = list(zip(hashes.tolist(), owners.tolist(), strict=True))
        found |= {(key.name, one, other) for (a, one), (b, other) in combinations(held, 2) if a == b and one != other}
    return {(name, min(one, other), max(one, other)) for name, one, other in found}


@given(st.lists(rows(), min_size=2, max_size=6))
@settings(max_examples=150, deadline=None)
def test_records_meet_under_the_keys_under_which_their_rows_do(given: list[Values]) -> None:
    statistics = table_of(given).frozen(COLUMNS, b"k" * 16)
    keys = [link_keys_of(ALL, values, statistics) for values in given]
    met = {
        (key.name, one, other)
        for one, other in combinations(range(len(given)), 2)
        for key in set(keys[one]) & set(keys[other])
    }
    assert met == _met_in_table(table_of(given, statistics))
    assert all(len(set(one)) == len(one) for one in keys)


def test_a_tag_says_whether_its_key_is_one_of_profile() -> None:
    by_name = tags(PERSON)
    assert len(set(by_name.values())) == len(PERSON.linking)
    assert all(bool(by_name[key.name] & PROFILE) == key.profile for key in PERSON.linking)
