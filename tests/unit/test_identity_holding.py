"""Who has a number in hand now: recycled numbers, moves, SIM cards, what was verified."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import pytest

from firstring.contact import Evidence, Identifier, Read, RecordRead, Resolution
from firstring.identity.caller.resolver import resolve
from firstring.identity.caller.weights import DEFAULT

NOW = datetime(2026, 11, 1, tzinfo=UTC)
PHONE = Identifier("phone", "+12025550123")
HOME: dict[str, Any] = {"street": "High Street", "house_number": "3", "postcode": "02134"}
AWAY: dict[str, Any] = {"street": "Elm Street", "house_number": "9", "postcode": "99501"}


def at(days: float) -> str:
    return (NOW - timedelta(days=days)).replace(tzinfo=None).isoformat() + "Z"


def record(
    record_id: int, person: int, given: str, family: str = "Smith", *, days: float = 30, has: bool = True, **more: Any
) -> RecordRead:
    fields = {"given_name": given, "family_name": family, **more}
    matched = (PHONE,) if has else ()
    return RecordRead(record_id, 1, person, "crm", fields, matched, False, NOW - timedelta(days=days))


def who(*records: RecordRead) -> Resolution:
    return resolve(Evidence((PHONE,)), Read(records=records), weights=DEFAULT, now=NOW)


def probability(resolution: Resolution, person: int) -> float:
    return next(one.probability for one in resolution.candidates if one.person_id == person)


def said(resolution: Resolution, person: int) -> str:
    found = next(one for one in resolution.candidates if one.person_id == person)
    return next(one.text for one in found.reasons if one.code == "phone_matches")


def test_a_number_that_was_given_on_is_the_new_holder_s() -> None:
    result = who(record(1, 1, "Ann", days=400), record(2, 2, "Carl", "Young", days=20))
    assert probability(result, 2) > 0.85
    assert "somebody else has shown up with it" in said(result, 1)


def test_a_number_is_not_given_on_within_a_home_or_before_it_has_rested() -> None:
    couple = who(record(1, 1, "Ann", days=400), record(2, 2, "Bob", days=20))
    assert "somebody else" not in said(couple, 1)
    soon = who(record(1, 1, "Ann", days=60), record(2, 2, "Carl", "Young", days=20))
    assert "somebody else" not in said(soon, 1)
    both = who(record(1, 1, "Ann", days=60), record(2, 2, "Carl", "Young", days=20, first_seen=at(900)))
    assert probability(both, 1) > 0.3


def test_another_sim_card_since_then_makes_it_less_theirs() -> None:
    changed = who(record(1, 1, "Ann", days=100, sim_changed_at=at(5)))
    assert probability(changed, 1) < probability(who(record(1, 1, "Ann", days=100, sim_changed_at=at(500))), 1)
    assert "SIM" in said(changed, 1)
    to_come = who(record(1, 1, "Ann", days=100, sim_changed_at=at(-5)))
    assert "SIM" not in said(to_come, 1)


@pytest.mark.parametrize(("line", "stays"), [("landline", False), ("mobile", True)])
def test_a_landline_stays_with_the_home_that_they_left(line: str, stays: bool) -> None:
    left = (record(1, 1, "Ann", days=900, line_type=line, **HOME), record(2, 1, "Ann", days=10, has=False, **AWAY))
    result = who(*left, record(3, 2, "Bob", days=900, line_type=line, **HOME))
    assert (probability(result, 1) >= probability(result, 2)) is stays
    assert ("they have moved" in said(result, 1)) is not stays


def test_whose_it_was_verified_to_be_has_it_in_hand() -> None:
    verified = msgspec.structs.replace(record(1, 1, "Ann", days=700), verified_at=NOW - timedelta(days=30))
    result = who(verified, record(2, 2, "Bob", days=30))
    assert probability(result, 1) > 1.5 * probability(result, 2)
    assert "verified" in said(result, 1)


def test_the_household_as_a_whole_is_as_sure_as_one_person_alone_would_be() -> None:
    alone = who(record(1, 1, "Ann"))
    couple = who(record(1, 1, "Ann"), record(2, 2, "Bob"))
    assert couple.household is not None
    ratio = couple.household.probability / couple.someone_new
    assert ratio == pytest.approx(probability(alone, 1) / alone.someone_new)


def test_what_is_new_of_a_number_is_new_for_its_whole_home() -> None:
    newer = record(3, 1, "Ann", days=30, has=False)  # in touch of late, on a record without the number
    couple = who(record(1, 1, "Ann", days=1500), newer, record(2, 2, "Bob", days=30))
    assert probability(couple, 1) == pytest.approx(probability(couple, 2))
    strangers = who(record(1, 1, "Ann", days=1500), newer, record(2, 2, "Carl", "Young", days=30))
    assert probability(strangers, 1) < 0.1


def test_of_two_homes_it_is_hardly_theirs_whose_records_state_another_number() -> None:
    moved_on = [record(1, 1, "Ann"), record(3, 1, "Ann", has=False, phone=["+12025550999"])]
    strangers = who(*moved_on, record(2, 2, "Carl", "Young"))
    assert probability(strangers, 1) < 0.25
    couple = who(*moved_on, record(2, 2, "Bob"))
    assert probability(couple, 1) == pytest.approx(probability(couple, 2))


@pytest.mark.parametrize(
    ("number", "stated", "line"),
    [
        ("+4930123456", "", "landline"),
        ("+4915112345678", "", "mobile"),
        ("+12025550123", "", ""),
        ("+12025550123", "landline", "landline"),
        ("+4930123456", "voip", "landline"),
        ("+4930123456", "mobile", "mobile"),
    ],
)
def test_a_landline_is_a_home_s(number: str, stated: str, line: str) -> None:
    phone = Identifier("phone", number)
    fields = {"given_name": "Ann", "family_name": "Smith"} | ({"line_type": stated} if stated else {})
    one = RecordRead(1, 1, 1, "crm", fields, (phone,), False, NOW)
    result = resolve(Evidence((phone,)), Read(records=(one,)), weights=DEFAULT, now=NOW)
    assert (result.another_in_household > 0.2) == (line == "landline")


def test_the_less_is_heard_of_who_is_on_file_the_more_it_is_another_one() -> None:
    recent = who(record(1, 1, "Ann"), record(2, 2, "Bob")).another_in_household
    silent = who(record(1, 1, "Ann", days=900), record(2, 2, "Bob", days=1100)).another_in_household
    assert silent > 1.5 * recent
