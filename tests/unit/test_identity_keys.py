"""Names, keys and clusters: who is glued to whom, by the named failure cases."""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Callable, Sequence
from typing import Any

import pytest

from firstring.contact import Identifier
from firstring.identity.canonical import nicknames
from firstring.identity.canonical.names import PersonName, parse
from firstring.identity.canonical.record import canonical_record
from firstring.identity.persons.blocking import (
    composite_key,
    contested,
    identifier_keys,
    link_guards,
    link_keys,
    must_link_key,
)
from firstring.identity.persons.clusters import Assignment, Split, assign, components


def fields_of(**raw: Any) -> dict[str, Any]:
    """Canonical fields out of raw ones, as an import makes them."""
    return canonical_record({"record_id": "1", **raw}, country="US").fields


def key_bytes(text: str) -> bytes:
    return hashlib.sha256(text.encode()).digest()


def people(*records: dict[str, Any], hot: Callable[[str], bool] = lambda _: False) -> list[set[int]]:
    """The persons that records (numbered from 0) resolve into, as the store does it."""
    links = {number: [key_bytes(text) for text in link_keys(fields)] for number, fields in enumerate(records)}
    guards = [
        (key_bytes(wide), key_bytes(narrow) if narrow else None)
        for fields in records
        for wide, narrow in link_guards(fields).items()
    ]
    heated = {key_bytes(text) for fields in records for text in link_keys(fields) if hot(text)}
    return [set(part) for part in components(links, heated | contested(guards))]


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (("Bob Smith", "", "", "", ""), PersonName("bob", "robert", "", "smith", "")),
        (("Smith, Robert James", "", "", "", ""), PersonName("robert", "robert", "james", "smith", "")),
        (("Dr. John A. Smith Jr.", "", "", "", ""), PersonName("john", "john", "a", "smith", "jr")),
        (("Smith, John, Jr", "", "", "", ""), PersonName("john", "john", "", "smith", "jr")),
        (("Jan van der Berg", "", "", "", ""), PersonName("jan", "johannes", "", "van der berg", "")),
        (("María de la Cruz", "", "", "", ""), PersonName("maria", "maria", "", "de la cruz", "")),
        (("Mrs Smith", "", "", "", ""), PersonName("", "", "", "smith", "")),
        (("王小明", "", "", "", ""), PersonName("xiaoming", "xiaoming", "", "wang")),
        (("Bob", "", "", "", ""), PersonName("bob", "robert", "", "", "")),
        (("", "Liz Ann", "", "Smith Sr", ""), PersonName("liz", "elizabeth", "ann", "smith", "sr")),
        (("Bob Jones", "Bill", "", "", "III"), PersonName("bill", "william", "", "jones", "iii")),
        (("", "", "", "", ""), PersonName()),
        (("Mr, -", "", "", "", ""), PersonName(given="mr", root="mr")),
    ],
)
def test_names_are_taken_apart(given: tuple[str, str, str, str, str], expected: PersonName) -> None:
    assert parse(*given)[:6] == expected[:6]


def test_a_nickname_with_one_formal_name_has_it_as_root_and_others_stay_themselves() -> None:
    assert nicknames.root("bob") == nicknames.root("robert") == "robert"
    assert nicknames.root("alex") == "alex"
    assert nicknames.related("alex", "alexandra")
    assert nicknames.related("liz", "beth")
    assert not nicknames.related("anna", "anne")


def test_identifiers_of_a_record_leave_the_ip_address_out() -> None:
    fields = fields_of(phone="2025550123", email="a@shop.com", ip="8.8.8.8", account="K1", social="x:ann")
    assert identifier_keys(fields) == [
        Identifier("phone", "+12025550123"),
        Identifier("email", "a@shop.com"),
        Identifier("account", "K1"),
        Identifier("social", "twitter:ann"),
    ]


def test_the_composite_key_needs_name_birth_date_and_postcode() -> None:
    whole = fields_of(full_name="Bob Smith", birth_date="1971-06-24", postcode="02134")
    assert composite_key(whole) == composite_key(
        fields_of(full_name="Smith, Robert Jr", birth_date="24 Jun 1971", postcode="2134")
    )
    for missing in whole:
        assert composite_key({name: value for name, value in whole.items() if name != missing}) is None
    assert composite_key({**whole, "full_name": "B. Smith"}) is None


def test_no_low_entropy_value_is_a_key_alone() -> None:
    assert link_keys(fields_of(full_name="Ann Smith", birth_date="1971-06-24", city="Boston")) == []
    assert link_keys(fields_of(full_name="Ann Smith", postcode="02134")) == []
    assert link_keys(fields_of(phone="2025550123")) == []
    assert link_keys(fields_of(phone="2025550123", given_name="Ann")) == []
    assert link_keys(fields_of(phone="2025550123", full_name="A. Smith")) == []
    assert link_keys(fields_of(national_id="AB123456C", gender="f")) == []


def test_records_of_one_person_are_glued_across_sources() -> None:
    crm = fields_of(full_name="Robert Smith", phone="2025550123", birth_date="1971-06-24", postcode="02134")
    shop = fields_of(given_name="Bob", family_name="SMITH", phone="+1 202 555 0123", email="bob@shop.com")
    bill = fields_of(full_name="Smith, Rob", email="BOB@shop.com", account="K-77")
    assert people(crm, shop, bill) == [{0, 1, 2}]


def test_married_name_is_glued_by_account_or_national_id() -> None:
    before = fields_of(full_name="Ann Smith", account="K77", birth_date="1980-02-03", national_id="AB123456C")
    after = fields_of(full_name="Ann Jones", account="K77", birth_date="1980-02-03")
    later = fields_of(full_name="Ann Jones", national_id="AB123456C")
    assert people(before, after) == [{0, 1}]
    assert people(before, later) == [{0, 1}]


def test_couple_with_one_inbox_and_phone_stays_two() -> None:
    home = {"email": "smiths@shop.com", "phone": "2025550123", "postcode": "02134", "account": "K77"}
    assert people(fields_of(full_name="Ann Smith", **home), fields_of(full_name="Bob Smith", **home)) == [{0}, {1}]


def test_twins_stay_two() -> None:
    home = {"family_name": "Smith", "phone": "2025550123", "postcode": "02134", "birth_date": "1999-09-09"}
    assert people(fields_of(given_name="Anna", **home), fields_of(given_name="Anne", **home)) == [{0}, {1}]


def test_junior_and_senior_stay_two() -> None:
    home = {"phone": "2025550123", "email": "smiths@shop.com", "postcode": "02134", "birth_date": "1999-09-09"}
    senior, junior = fields_of(full_name="John Smith Sr", **home), fields_of(full_name="John Smith, Jr", **home)
    assert people(senior, junior, fields_of(full_name="Johnny Smith", suffix="junior", **home)) == [{0}, {1, 2}]


def test_a_conflicting_birth_year_contests_a_key_and_its_removal_glues_it_again() -> None:
    father = fields_of(full_name="John Smith", phone="2025550123", birth_date="1950-01-05")
    father_again = fields_of(full_name="John Smith", phone="2025550123", birth_date="1950-05-01", email="j@shop.com")
    undated = fields_of(full_name="John Smith", phone="2025550123")
    son = fields_of(full_name="John Smith", phone="2025550123", birth_date="1980-01-05")
    assert people(father, father_again, undated) == [{0, 1, 2}]
    assert people(father, father_again, undated, son) == [{0, 1}, {2}, {3}]


def test_recycled_mobile_glues_no_strangers() -> None:
    assert people(
        fields_of(full_name="Ann Smith", phone="2025550123"), fields_of(full_name="Carl Young", phone="2025550123")
    ) == [{0}, {1}]


def test_switchboard_and_placeholders_glue_nobody() -> None:
    staff = [fields_of(full_name=f"Ann Smith{letter}", phone="2025550100") for letter in "abcdef"]
    assert people(*staff) == [{number} for number in range(6)]
    zeros = {"phone": "000-000-0000", "email": "noemail@shop.com", "birth_date": "1900-01-01", "postcode": "02134"}
    assert people(fields_of(full_name="Ann Smith", **zeros), fields_of(full_name="Ann Smith", **zeros)) == [{0}, {1}]


def test_a_hot_linking_key_glues_nobody() -> None:
    same = fields_of(full_name="Info Desk", phone="2025550100")
    assert people(same, same) == [{0, 1}]
    assert people(same, same, hot=lambda text: "phone" in text) == [{0}, {1}]


def test_a_bridge_record_joins_two_and_its_removal_parts_them() -> None:
    left = fields_of(full_name="Ann Smith", phone="2025550123")
    right = fields_of(full_name="Ann Smith", email="ann@shop.com")
    bridge = fields_of(full_name="Ann Smith", phone="2025550123", email="ann@shop.com")
    assert people(left, right, bridge) == [{0, 1, 2}]
    assert people(left, right) == [{0}, {1}]


def test_a_confirmation_glues_by_a_key_of_its_own() -> None:
    key = key_bytes(must_link_key(7))
    assert components({7: [key], 8: [key, b"x"], 9: [b"y"]}, frozenset()) == [{7, 8}, {9}]
    assert must_link_key(7) != must_link_key(77)


def test_every_order_of_arrival_gives_the_same_people() -> None:
    records = [
        fields_of(full_name="John Smith", phone="2025550123", birth_date="1950-01-05"),
        fields_of(full_name="John Smith", phone="2025550123", email="j@shop.com"),
        fields_of(full_name="Johnny Smith", email="j@shop.com"),
        fields_of(full_name="John Smith", email="j@shop.com", birth_date="1980-01-05"),
        fields_of(full_name="Mary Smith", email="j@shop.com", phone="2025550123"),
    ]
    expected = {frozenset(part) for part in people(*records)}
    for order in itertools.permutations(range(len(records))):
        arrived = people(*(records[number] for number in order))
        assert {frozenset(order[place] for place in part) for part in arrived} == expected


# --- ids ---------------------------------------------------------------------------------------------------------


def settled(parts: Sequence[set[int]], current: dict[int, int]) -> Assignment:
    return assign([frozenset(part) for part in parts], current, itertools.count(100).__next__)


def test_new_records_get_new_ids_in_the_order_of_records() -> None:
    assert settled([{3}, {1, 2}], {}) == Assignment({1: 100, 2: 100, 3: 101}, {}, ())


def test_a_merge_keeps_the_larger_person_and_redirects_the_other() -> None:
    assert settled([{1, 2, 3}], {1: 9, 2: 9, 3: 5}) == Assignment({1: 9, 2: 9, 3: 9}, {5: 9}, ())


def test_a_tie_keeps_the_smallest_id() -> None:
    assert settled([{1, 2}], {1: 9, 2: 5}) == Assignment({1: 5, 2: 5}, {9: 5}, ())


def test_a_split_leaves_the_id_with_the_larger_part() -> None:
    assert settled([{1}, {2, 3}], {1: 9, 2: 9, 3: 9}) == Assignment(
        {1: 100, 2: 9, 3: 9}, {}, (Split(9, 100, frozenset({1})),)
    )


def test_a_person_that_goes_to_two_others_redirects_to_the_one_with_most_of_it() -> None:
    current = {1: 1, 2: 1, 3: 1, 4: 2, 5: 2, 6: 2, 7: 3, 8: 3, 9: 3}
    result = settled([{1, 2, 3, 7}, {4, 5, 6, 8, 9}], current)
    assert result.person_of[7] == 1
    assert result.person_of[8] == 2
    assert result.redirects == {3: 2}
    assert result.splits == ()
