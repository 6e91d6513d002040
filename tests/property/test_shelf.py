"""What stands on a shelf is compared as in a table of its own, whatever came before and stands beside it."""

from __future__ import annotations

import random

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.store_people import people

from firstring.bulk.versions.storelink import FROZEN
from firstring.identity.comparison.columns import compared, table_of
from firstring.identity.comparison.levels import patterns
from firstring.identity.comparison.shelf import Shelf
from firstring.identity.comparison.spec import PERSON
from firstring.identity.comparison.specfile import spec_of
from firstring.identity.persons.linking import content_of

KEY = b"0123456789abcdef"
FREE = spec_of(
    """
base = "none"
[[comparison]]
name = "mail"
kind = "text"
columns = ["email"]
levels = [
  { name = "exact", says = "e", same = 0.3, banded = true, test = "equal" },
  { name = "local", says = "a", same = 0.2, test = "email_local equal" },
  { name = "host", says = "b", same = 0.2, test = "email_host equal" },
  { name = "near", says = "c", same = 0.2, test = "osa <= 2" },
  { name = "different", says = "d", same = 0.1 },
]
[[comparison]]
name = "colour"
kind = "code"
columns = ["attribute.colour"]
levels = [{ name = "exact", says = "a", same = 0.9 }, { name = "different", says = "b", same = 0.1 }]
[[key]]
name = "email"
parts = ["email"]
""",
    "free.toml",
)

words = st.sampled_from(["ann", "anna", "an", "lee", "leigh", "de la cruz", "cruz", "müller", "x", "smith", "smyth"])
texts = st.one_of(words, st.text("abé1", min_size=1, max_size=5), st.just("ab ba"))
mails = st.builds(lambda local, tag, host: f"{local}{tag}@{host}", words, st.sampled_from(["", "1", "+x", "12"]),
                  st.sampled_from(["a.org", "b.org"]))  # fmt: skip
several = st.lists(st.text("0123456789", min_size=3, max_size=5), min_size=1, max_size=6, unique=True)
records = st.fixed_dictionaries(
    {},
    optional={
        **{name: texts.map(lambda value: (value,)) for name in ("given", "root", "middle", "family", "address", "city")},
        "suffix": st.sampled_from([("jr",), ("sr",)]),
        "born": st.sampled_from(["19710605", "19710506", "19710101", "19810605", "1971060"]).map(lambda value: (value,)),
        "postcode": st.sampled_from(["SW1A1AA", "SW1A2AA", "02134", "999"]).map(lambda value: (value,)),
        "email": st.lists(mails, min_size=1, max_size=6, unique=True).map(tuple),
        "phone": several.map(tuple), "account": several.map(tuple),
        "attribute.colour": st.sampled_from([("red",), ("blue",)]),
    },
)  # fmt: skip


@settings(max_examples=80, deadline=None)
@given(st.lists(st.lists(records, min_size=1, max_size=5), min_size=1, max_size=4), st.randoms(use_true_random=False))
def test_rows_of_a_shelf_are_compared_as_rows_of_a_table(batches: list[list[dict]], rng: random.Random) -> None:  # type: ignore[type-arg]
    everything = [row for batch in batches for row in batch]
    statistics = table_of(everything[::2]).frozen(FROZEN, KEY)
    shelf = Shelf(statistics, ("attribute.colour",))
    for place, batch in enumerate(batches):
        for row in batch:
            shelf.put(content_of(row), row)
        if place == 2:
            shelf.clear()
            for row in everything:
                shelf.put(content_of(row), row)
        up = [row for row in everything if content_of(row) in shelf]
        some = [rng.choice(up) for _ in range(6)]
        left, right = (side.ravel() for side in np.meshgrid(np.arange(6), np.arange(6)))
        for comparisons in (PERSON.comparisons, FREE.comparisons):
            wanted = patterns(comparisons, table_of(some, statistics), left, right)
            got = patterns(comparisons, shelf.table([content_of(row) for row in some]), left, right)
            assert got.tolist() == wanted.tolist()


def test_a_shelf_of_people_grows() -> None:
    rows = [compared(record.fields) for _, record, _ in people(3, 1_500)]
    statistics = table_of(rows).frozen(FROZEN, KEY)
    shelf = Shelf(statistics)
    rng = np.random.default_rng(1)
    for start in range(0, len(rows), 100):
        for row in rows[start : start + 100]:
            shelf.put(content_of(row), row)
        place = rng.integers(0, min(start + 100, len(rows)), 200)
        some = [rows[one] for one in place.tolist()]
        left, right = np.arange(100), np.arange(100, 200)
        wanted = patterns(PERSON.comparisons, table_of(some, statistics), left, right)
        got = patterns(PERSON.comparisons, shelf.table([content_of(row) for row in some]), left, right)
        assert got.tolist() == wanted.tolist()
    assert len(shelf) == len({content_of(row) for row in rows})
