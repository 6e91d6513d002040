"""Claims of a contact compared with what a person's records say: the same levels as the bulk run's, value by value.

`levels.py` defines the levels for millions of pairs; here the same functions look at one pair (names, dates), or say the
same in plain Python where calling them for one pair would cost more than the whole resolution (places, swapped names).
tests/property/test_identity_comparison.py compares the two level by level.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any, Final, NamedTuple

from firstring.contact import RecordRead
from firstring.identity.canonical.addresses import address_key
from firstring.identity.canonical.codes import postcode_key
from firstring.identity.canonical.names import name_of
from firstring.identity.canonical.record import TRACES
from firstring.identity.canonical.text import CACHE_VALUES, fold
from firstring.identity.comparison import levels
from firstring.identity.comparison.columns import outward


class Found(NamedTuple):
    """One outcome: comparison and level as the spec names them, and the value agreed on where its rarity counts."""

    comparison: str
    level: str
    value: str = ""


class Name(NamedTuple):
    """A name in compare form; a name that could not be taken apart stands as family name."""

    given: str = ""
    middle: str = ""
    family: str = ""
    suffix: str = ""


class Place(NamedTuple):
    """An address in compare form."""

    address: str = ""
    postcode: str = ""
    city: str = ""


class Claimed(NamedTuple):
    """What a contact claims, or a record states, in compare form; empty where nothing is stated."""

    name: Name = Name()
    born: str = ""
    place: Place = Place()

    @property
    def anything(self) -> bool:
        return self != _NOTHING


_NO_NAME: Final = Name()
_NOWHERE: Final = Place()
_NOTHING: Final = Claimed()


def claimed(fields: Mapping[str, Any]) -> Claimed:
    """What claims, or the fields of a record, come to: the values that linking compares (`columns.compared`)."""
    get = fields.get
    name = name_of(fields)
    born = (get("birth_date") or "").replace("-", "")
    if not born and (traces := get(TRACES)):
        born = traces.get("birth_date") or ""
    postcode, city = get("postcode") or "", get("city") or ""
    street, address = get("street") or "", get("address") or ""
    return Claimed(
        Name(name.given_key, name.middle, name.family_key or name.whole, name.suffix),
        born,
        Place(
            address_key(street, get("house_number") or "", address, get("country") or "") if street or address else "",
            postcode_key(postcode) if postcode else "",
            fold(city) if city else "",
        ),
    )


def compare(claim: Claimed, records: Sequence[RecordRead]) -> list[list[Found]]:
    """What each distinct stated name, birth date and place comes to against the claim; empty where nothing is claimed.

    Each inner list holds the outcomes of one stated value: of a name several, of a date or a place one.
    """
    if claim == _NOTHING:
        return []
    # Each distinct value once: the records of one person mostly agree.
    stated = {claimed(record.fields) for record in records}
    found = [names(claim.name, one) for one in {one.name for one in stated}] if claim.name != _NO_NAME else []
    if claim.born:
        for born in {one.born for one in stated} - {""}:
            found.append([Found("birth_date", birth_dates(claim.born, born), born if born == claim.born else "")])
    if claim.place != _NOWHERE:
        outcomes = (places(claim.place, one) for one in {one.place for one in stated})
        found += [[outcome] for outcome in outcomes if outcome is not None]
    return found


def names(claim: Name, stated: Name) -> list[Found]:
    """Given, family, middle name and suffix of a claim against those of a record."""
    found: list[Found] = []
    if swapped(claim.given, claim.family, stated.given, stated.family):
        # One piece of evidence, which the family name's comparison holds; the given name's says nothing.
        found.append(Found("family", "swapped"))
    elif _whole(claim, stated) or _whole(stated, claim):
        found.append(Found("family", "exact", claim.family))
    else:
        if claim.given and stated.given:
            found.append(_agreed("given", given_names(claim.given, stated.given), claim.given))
        if claim.family and stated.family:
            found.append(_agreed("family", family_names(claim.family, stated.family), claim.family))
    if claim.middle and stated.middle:
        found.append(Found("middle", middle_names(claim.middle, stated.middle)))
    if claim.suffix and stated.suffix:
        found.append(Found("suffix", "exact" if claim.suffix == stated.suffix else "different"))
    return found


def _whole(one: Name, other: Name) -> bool:
    """Whether a name written without a space is the other's family and given name: wang xiaoming in Chinese."""
    return not one.given and bool(other.given) and one.family == f"{other.family}{other.given}"


def _agreed(comparison: str, level: str, value: str) -> Found:
    return Found(comparison, level, value if level == "exact" else "")


def swapped(given: str, family: str, other_given: str, other_family: str) -> bool:
    """Given name here is family name there, and the other way round where both are stated (see levels)."""
    one = bool(given) and given == other_family
    other = bool(family) and family == other_given
    apart = (given != other_given or not given) and (family != other_family or not family)
    return apart and ((one and (other or not family or not other_given)) or (other and (not given or not other_family)))


@lru_cache(maxsize=CACHE_VALUES)
def given_names(left: str, right: str) -> str:
    """The level of two folded given names."""
    return "exact" if left == right else levels.GIVEN_ORDER[int(levels.given_levels([left], [right])[0]) - 1]


@lru_cache(maxsize=CACHE_VALUES)
def family_names(left: str, right: str) -> str:
    """The level of two folded family names."""
    return "exact" if left == right else levels.FAMILY_ORDER[int(levels.family_levels([left], [right])[0]) - 1]


@lru_cache(maxsize=CACHE_VALUES)
def birth_dates(left: str, right: str) -> str:
    """The level of two dates, YYYYMMDD."""
    return "exact" if left == right else levels.DATE_ORDER[int(levels.date_levels([left], [right])[0]) - 1]


def middle_names(left: str, right: str) -> str:
    """The level of two folded middle names."""
    if left == right:
        return "exact"
    return "initial" if left[:1] == right[:1] and 1 in (len(left), len(right)) else "different"


@lru_cache(maxsize=CACHE_VALUES)
def places(claim: Place, stated: Place) -> Found | None:
    """The nearest level that any column supports; None where no column is stated on both sides."""
    level, value = "", ""
    if claim.city and stated.city:
        if claim.city == stated.city:
            level, value = "city", claim.city
        else:
            level = "city_close" if levels.is_close(claim.city, stated.city) else "different"
    postcode = near = False
    if claim.postcode and stated.postcode:
        postcode = claim.postcode == stated.postcode
        here = outward(claim.postcode)
        near = bool(here) and here == outward(stated.postcode)
        if postcode:
            level, value = "postcode", claim.postcode
        elif near:
            level, value = "near", ""
        level = level or "different"
    if claim.address and stated.address:
        if claim.address == stated.address:
            if postcode:
                level, value = "home", f"{claim.postcode} {claim.address}"
            elif near:
                level, value = "home_close", ""
            else:
                level, value = "address", claim.address
        elif level in ("postcode", "near", "city") and levels.same_home([claim.address], [stated.address])[0]:
            level, value = "home_close", ""
        level = level or "different"
    return Found("place", level, value) if level else None
