"""Names and addresses of any script: keys never fail, are stable, and depend on nothing but what is written."""

from __future__ import annotations

from hypothesis import example, given, settings
from hypothesis import strategies as st

from firstring.identity.canonical.addresses import address_key
from firstring.identity.canonical.names import parse
from firstring.identity.canonical.nicknames import formal_names, related
from firstring.identity.canonical.spellings import family_key, given_key
from firstring.identity.canonical.text import fold

LETTERS = st.text(
    st.sampled_from("abeéüßøłđıæŞçñ 'Ж Щїґ άΰΩ محمدא ד क्ष्मि한글김山田太郎佐王たゃっーシュﾀ・、-.,0123/#ºª’")
    | st.characters(exclude_categories=("Cs",)),
    max_size=24,
)
COUNTRIES = st.sampled_from(("", "US", "DE", "ES", "CZ", "GR", "LT", "LV", "HU", "VN", "JP", "KR", "CN", "RU", "BR", "PL"))
LATIN = st.text(st.sampled_from("abcdefghijklmnopqrstuvwxyz"), min_size=2, max_size=9)


@settings(deadline=None)  # the first letter of a script loads its table
@given(LETTERS)
def test_folding_is_ascii_and_stable(text: str) -> None:
    folded = fold(text)
    assert folded.isascii()
    assert fold(folded) == folded
    assert folded == " ".join(folded.split())


@settings(deadline=None)  # the first letter of a script loads its table
@given(LETTERS, LETTERS, LETTERS, LETTERS, COUNTRIES)
def test_any_name_has_keys_of_plain_letters(full: str, first: str, middle: str, last: str, country: str) -> None:
    found = parse(full, first, middle, last, "", country)
    assert found == parse(full, first, middle, last, "", country)
    assert all(part.isascii() for part in found)
    assert bool(found.given) == bool(found.given_key)
    assert not found.family_key or found.family


@settings(deadline=None)  # the first letter of a script loads its table
@example("aa", "nfn")
@example("lnu", "fnu")
@given(LATIN, LATIN)
def test_a_whole_name_in_either_order_of_writing_it_has_one_key(first: str, last: str) -> None:
    assert parse(f"{last}, {first}", "", "", "", "")[:4] == parse("", first, "", last, "")[:4]


@settings(deadline=None)  # the first letter of a script loads its table
@given(LATIN)
def test_keys_of_given_names_are_stable_and_related(name: str) -> None:
    assert given_key(given_key(name)) == given_key(name)
    assert related(name, given_key(name))
    assert formal_names(name) == formal_names(given_key(name))


@settings(deadline=None)  # the first letter of a script loads its table
@given(LETTERS, COUNTRIES)
def test_a_family_name_never_loses_all_its_words(text: str, country: str) -> None:
    folded = fold(text)
    assert bool(family_key(folded, country)) == bool(folded)


@settings(deadline=None)  # the first letter of a script loads its table
@example("0", "²", "", "")
@given(LETTERS, LETTERS, LETTERS, COUNTRIES)
def test_any_address_has_a_key(street: str, number: str, line: str, country: str) -> None:
    found = address_key(street, number, line, country)
    assert found.isascii()
    assert found == " ".join(found.split())
