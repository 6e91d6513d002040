"""Specs as TOML: there and back again, altered, and refused with what to do."""

from __future__ import annotations

import pytest

from firstring.errors import BadInput
from firstring.identity.comparison.columns import table_of
from firstring.identity.comparison.freelevels import days_between, read_test
from firstring.identity.comparison.levels import outcomes, patterns, unpacked
from firstring.identity.comparison.spec import PERSON, Comparison, Level, Spec
from firstring.identity.comparison.specfile import spec_of, toml_of

LESS = 'remove = ["cookie", "device"]'
LOYALTY = """
[[comparison]]
name = "loyalty"
kind = "identifier"
columns = ["attribute.loyalty"]
levels = [
  { name = "exact", says = "is shared", same = 0.9, banded = true, coarse = "exact" },
  { name = "different", says = "is different", same = 0.1 },
]
"""
FREE = """
[[comparison]]
name = "company"
kind = "text"
columns = ["attribute.company", "email"]
levels = [
  { name = "exact", says = "is the same", test = "equal", same = 0.8, banded = true },
  { name = "host", says = "has one e-mail host", test = "email_host equal", same = 0.05 },
  { name = "close", says = "is close", test = "jaro_winkler >= 0.9", same = 0.1 },
  { name = "edits", says = "has two other letters", test = "levenshtein <= 2", same = 0.02 },
  { name = "different", says = "is different", same = 0.03 },
]
"""


def test_the_default_written_and_read_is_the_default() -> None:
    assert spec_of(toml_of(PERSON)) == PERSON
    assert spec_of("") == PERSON
    assert spec_of(toml_of(spec_of(LESS + LOYALTY + FREE))) == spec_of(LESS + LOYALTY + FREE)


def test_comparisons_and_keys_are_added_altered_and_left_out() -> None:
    text = 'remove = ["gender", "suffix"]\nremove_keys = ["born"]\nblock_records = 20\nlink_keys = ["phone", "loyal"]\n'
    text += LOYALTY + '[[key]]\nname = "loyal"\nparts = ["attribute.loyalty", "born"]\nprofile = true\n'
    spec = spec_of(text)
    names = [one.name for one in spec.comparisons]
    assert names == [one.name for one in PERSON.comparisons if one.name not in ("gender", "suffix")] + ["loyalty"]
    assert [key.name for key in spec.linking] == ["phone", "loyal"]
    assert spec.block_records == 20
    added = spec_of(LESS + LOYALTY + '[[key]]\nname = "loyal"\nparts = ["attribute.loyalty"]\n')
    assert [key.name for key in added.linking] == [key.name for key in PERSON.linking] + ["loyal"]
    assert spec.attributes == {"attribute.loyalty": "identifier"}
    swapped = spec_of(LOYALTY.replace('"loyalty"', '"phone"', 1))
    assert [one.name for one in swapped.comparisons] == [one.name for one in PERSON.comparisons]
    assert swapped.comparisons[names.index("phone") + 2].columns == ("attribute.loyalty",)


@pytest.mark.parametrize(
    ("text", "key", "said"),
    [
        ("nonsense", None, "cannot be read"),
        ("colour = 1", "colour", "no entry"),
        ('base = "company"', "base", "no such base"),
        ("comparison = 1", "comparison", "table of its own"),
        ('remove = "gender"', "remove", "list of names"),
        ('remove = ["sex"]', "remove", "has no sex"),
        ("block_records = 1", "block_records", "whole number"),
        ('[[key]]\nname = "few"\nparts = ["family"]\nblock_records = 1', "key few", "whole number"),
        ('link_keys = ["colour"]', "link_keys", "no key colour"),
        ('base = "none"', "comparison", "Nothing is compared"),
        ('base = "none"\n' + LOYALTY, "key", "no two records ever meet"),
        (LOYALTY.replace("attribute.loyalty", "loyalty"), "comparison loyalty", "no column loyalty"),
        (LOYALTY.replace("attribute.loyalty", "attribute."), "comparison loyalty", "names no attribute"),
        (LOYALTY.replace("identifier", "magic"), "comparison loyalty", "magic"),
        (LOYALTY.replace('"exact"', '"equal"', 1), "comparison loyalty", "needs a level exact"),
        (LOYALTY.replace('"different"', '"elsewhere"', 1), "comparison loyalty", "needs a level different"),
        (LOYALTY.replace("banded = true, ", ""), "comparison loyalty, level exact", "must be banded"),
        (LOYALTY.replace("same = 0.9", "same = 9"), "comparison loyalty, level exact", "between 0 and 1"),
        (LOYALTY.replace("same = 0.9", "weight = 9"), "comparison loyalty, level exact", "no weight"),
        (LOYALTY.replace("kind", "sort"), "comparison loyalty", "no sort"),
        (LOYALTY.replace('"loyalty"', '"Loyalty!"', 1), "comparison Loyalty!", "small letters"),
        (LOYALTY + LOYALTY, "comparison loyalty", "there twice"),
        (
            LOYALTY.replace("identifier", "code").replace("attribute.loyalty", "phone"),
            "comparison loyalty",
            "several values",
        ),
        (LOYALTY.replace("identifier", "email"), "comparison loyalty", "compares email"),
        ('[[key]]\nname = "x"\nparts = ["colour"]', "key x", "no column colour"),
        ('[[key]]\nname = "x"\nparts = []', "key x", "has a name and parts"),
        ('[[key]]\nname = "x"\nparts = ["born", "born"]', "key x", "there twice"),
        (FREE.replace('"equal"', '"same"', 1), "comparison company, level exact", "no test"),
        (FREE.replace("jaro_winkler", "soundex"), "comparison company, level close", "no measure"),
        (FREE.replace("jaro_winkler >=", "jaro_winkler <="), "comparison company, level close", "with >="),
        (FREE.replace("email_host", "city"), "comparison company, level host", "none of the comparison's columns"),
        (FREE.replace('"exact"', '"first"'), "comparison company", "first level is exact"),
        (FREE.replace('"is different",', '"is different", test = "equal",'), "comparison company", "has no test"),
    ],
)
def test_what_is_wrong_is_said_with_its_place(text: str, key: str | None, said: str) -> None:
    with pytest.raises(BadInput) as caught:
        spec_of(text, "mine.toml")
    error = caught.value
    assert error.code in ("spec_invalid", "spec_unreadable")
    assert said in str(error)
    assert error.where["file"] == "mine.toml"
    assert error.where.get("key") == key
    assert error.hint


def test_more_comparisons_than_one_pattern_holds_are_refused() -> None:
    more = "".join(LOYALTY.replace("loyalty", f"loyalty{number}") for number in range(9))
    with pytest.raises(BadInput, match="63"):
        spec_of(more)


def test_a_pattern_of_stated_tests_takes_the_first_that_passes() -> None:
    comparison = next(one for one in spec_of(LESS + FREE).comparisons if one.name == "company")
    rows = [
        {"attribute.company": ("acme",), "email": ("a@acme.org",)},
        {"attribute.company": ("acme",), "email": ("b@else.org",)},
        {"attribute.company": ("acmes",), "email": ("c@three.org", "c@acme.org")},
        {"attribute.company": ("acmes",), "email": ("d@four.org",)},
        {"attribute.company": ("zcmx",), "email": ("e@five.org",)},
        {"attribute.company": ("other",), "email": ("f@six.org",)},
        {"given": ("ann",)},
    ]
    table = table_of(rows)
    import numpy as np

    left, right = np.zeros(6, np.int64), np.arange(1, 7)
    found = unpacked([comparison], patterns([comparison], table, left, right))[0]
    of = outcomes(comparison).of
    names = ["missing" if number == 0 else of[number - 1][0].name for number in found.tolist()]
    assert names == ["exact", "host", "close", "edits", "different", "missing"]
    band = of[found[0] - 1][1]
    assert band == int(table.bands("attribute.company")[table.column("attribute.company").codes[0, 0]])


def test_tests_are_read() -> None:
    assert read_test("equal").measure == ""
    assert read_test("email_local damerau <= 2") == ("email_local", "damerau", 2.0)
    assert days_between("20240131", "20240301") == 30
    assert days_between("20240231", "20240301") > 10_000


def test_a_spec_in_code_reads_as_in_a_file() -> None:
    level = Level("exact", 'is "the" same', 0.9, test="equal")
    spec = Spec((Comparison("note", "text", ("city",), (level, Level("different", "is\nnot", 0.1))),), PERSON.keys)
    assert spec_of(toml_of(spec)) == spec
