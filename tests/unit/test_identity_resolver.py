"""Who is it: the resolver on named priors, case by case."""

from __future__ import annotations

import math
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import pytest

from firstring import limits
from firstring.contact import Evidence, FanOut, Identifier, Read, Reason, RecordRead, Resolution
from firstring.identity.caller.claims import birth_dates, family_names, given_names, middle_names
from firstring.identity.caller.resolver import resolve, standing
from firstring.identity.caller.weights import DEFAULT, NOT_CALIBRATED, TABLE, Weights
from firstring.identity.golden.survivorship import profile

NOW = datetime(2026, 11, 1, tzinfo=UTC)
PHONE = Identifier("phone", "+12025550123")
EMAIL = Identifier("email", "smiths@shop.com")


def record(
    record_id: int, person_id: int, given: str = "Ann", *, family: str = "Smith", days: float | None = 10,
    matched: tuple[Identifier, ...] = (PHONE,), composite: bool = False, **more: Any,
) -> RecordRead:  # fmt: skip
    return RecordRead(
        record_id, 1, person_id, "crm", {"given_name": given, "family_name": family, **more}, matched, composite,
        None if days is None else NOW - timedelta(days=days),
    )  # fmt: skip


def who(
    *records: RecordRead, identifiers: tuple[Identifier, ...] = (PHONE,), fan_out: tuple[FanOut, ...] = (), **evidence: Any
) -> Resolution:
    read = Read(records=records, fan_out=fan_out)
    return resolve(Evidence(identifiers=identifiers, **evidence), read, weights=DEFAULT, now=NOW)


def probability(resolution: Resolution, person: int) -> float:
    return next(one.probability for one in resolution.candidates if one.person_id == person)


def test_one_person_behind_a_number_is_identified() -> None:
    result = who(record(1, 7), record(2, 7))
    assert standing(result, 0.9) == "identified"
    assert result.best is not None
    assert (result.best.person_id, result.best.records) == (7, (1, 2))
    assert 0.9 < result.best.probability < 0.999
    assert result.household is None
    assert 0 < result.another_in_household < 0.05  # a relative may borrow it
    assert (result.basis, result.model_version) == ("prior", DEFAULT.version)
    assert result.reasons[0].text == NOT_CALIBRATED


def test_nobody_known() -> None:
    result = who()
    assert result.candidates == ()
    assert result.someone_new == 1
    assert standing(result, 0.9) == "unknown"
    assert "nobody_found" in [reason.code for reason in result.reasons]


def test_a_couple_on_one_number_is_a_household_and_a_given_name_settles_it() -> None:
    couple = (record(1, 1, "Ann"), record(2, 2, "Bob"))
    result = who(*couple)
    assert standing(result, 0.9) == "household"
    assert result.household is not None
    assert (result.household.shared, result.household.members) == (PHONE, (1, 2))
    assert result.another_in_household > 0
    assert probability(result, 1) == pytest.approx(probability(result, 2))
    assert result.question is not None
    assert (result.question.field, result.question.choices) == ("given_name", ("Ann", "Bob"))
    said = who(*couple, claims={"given_name": "Robert"})
    assert said.best is not None
    assert (said.best.person_id, standing(said, 0.9)) == (2, "identified")
    assert "given_name_nicknames" in [reason.code for reason in said.best.reasons]


def test_an_unknown_given_name_of_the_household_is_another_of_it() -> None:
    result = who(record(1, 1, "Ann"), record(2, 2, "Bob"), claims={"given_name": "Zoe", "family_name": "Smith"})
    assert result.another_in_household > max(one.probability for one in result.candidates)
    assert standing(result, 0.9) == "household"


def test_strangers_on_one_number_lend_it_as_one_holder_does() -> None:
    result = who(record(1, 1, "Ann"), record(2, 2, "Carl", family="Young"))
    assert result.household is not None
    assert result.another_in_household == pytest.approx(who(record(1, 1, "Ann")).another_in_household, rel=0.01)
    couple = who(record(1, 1, "Ann"), record(2, 2, "Carl"))
    assert couple.another_in_household > 2 * result.another_in_household


def test_one_address_makes_a_home_too() -> None:
    home = {"street": "High Street", "house_number": "3", "postcode": "02134"}
    result = who(record(1, 1, "Ann", **home), record(2, 2, "Carl", family="Young", **home))
    assert result.another_in_household > 0


def test_people_behind_a_number_who_were_not_read_keep_their_share() -> None:
    result = who(record(1, 1), fan_out=(FanOut(PHONE, 40, 40),))
    assert result.another_in_household > 0.5
    assert probability(result, 1) < 0.05


def test_a_recycled_mobile_goes_to_who_was_seen_last() -> None:
    result = who(record(1, 1, "Ann", days=3000), record(2, 2, "Carl", family="Young", days=20))
    assert result.best is not None
    assert result.best.person_id == 2
    assert probability(result, 2) > 3 * probability(result, 1)


def test_a_number_not_seen_for_ten_years_says_less_about_its_only_holder() -> None:
    fresh, stale, unknown = (probability(who(record(1, 1, days=days)), 1) for days in (1, 3650, None))
    assert fresh > unknown > stale > 0.5


def test_a_clock_that_jumped_does_not_make_a_record_fresher_than_now() -> None:
    assert who(record(1, 1, days=-500)) == msgspec.structs.replace(who(record(1, 1, days=0)))


def test_verified_counts_as_seen() -> None:
    old = record(1, 1, days=3000)
    assert probability(who(msgspec.structs.replace(old, verified_at=NOW)), 1) > probability(who(old), 1)


def test_a_switchboard_is_listed_as_hot_and_points_at_nobody() -> None:
    fan = FanOut(PHONE, limits.HOT_KEY_RECORDS + 1, 90, hot=True)
    result = who(record(1, 1), fan_out=(fan,))
    assert result.hot == (PHONE,)
    assert result.candidates == ()
    assert "hot_identifier" in [reason.code for reason in result.reasons]


def test_a_hot_number_does_not_hide_a_good_inbox() -> None:
    fan = FanOut(PHONE, 5_000, 4_000, hot=True)
    found = record(1, 1, matched=(PHONE, EMAIL))
    result = who(found, identifiers=(PHONE, EMAIL), fan_out=(fan,))
    assert probability(result, 1) == probability(who(found, identifiers=(EMAIL,)), 1)


def test_the_composite_alone_identifies_from_a_withheld_number() -> None:
    claims = {"full_name": "Ann Smith", "birth_date": "1971-06-24", "postcode": "02134"}
    found = record(1, 1, matched=(), composite=True, birth_date="1971-06-24", postcode="02134")
    result = who(found, identifiers=(), claims=claims)
    assert standing(result, 0.9) == "identified"
    assert result.best is not None
    assert "nobody_pointed_at" in [reason.code for reason in result.best.reasons]


def test_a_record_that_nothing_points_at_is_no_candidate() -> None:
    assert who(record(1, 1, matched=())).candidates == ()


def test_an_agent_s_confirmation_is_strong_and_a_person_ruled_out_is_gone() -> None:
    couple = (record(1, 1, "Ann"), record(2, 2, "Bob"))
    confirmed = who(*couple, confirmed_person=2, claims={"given_name": "Ann"})
    assert confirmed.best is not None
    assert (confirmed.best.person_id, standing(confirmed, 0.9)) == (2, "identified")
    left = who(*couple, fan_out=(FanOut(PHONE, 2, 2),), ruled_out=(1,))
    assert [one.person_id for one in left.candidates] == [2]
    assert probability(left, 2) == probability(who(couple[1]), 2)
    assert who(*couple, confirmed_person=1, ruled_out=(1,)).candidates[0].person_id == 2
    assert "confirmed_not_read" in [one.code for one in who(*couple, confirmed_person=9).reasons]


def test_twins_and_generations_are_told_apart_by_what_is_said() -> None:
    twins = (record(1, 1, "Anna", birth_date="1999-09-09"), record(2, 2, "Bella", birth_date="1999-09-09"))
    said = who(*twins, claims={"given_name": "Bella", "birth_date": "1999-09-09"})
    assert said.best is not None
    assert said.best.person_id == 2
    generations = (
        record(1, 1, "John", suffix="Sr", birth_date="1950-01-05"),
        record(2, 2, "John", suffix="Jr", birth_date="1980-01-05"),
    )
    asked = who(*generations)
    assert asked.question is not None
    assert (asked.question.field, asked.question.choices) == ("birth_date", ())
    assert who(*generations, claims={"full_name": "John Smith Jr"}).candidates[0].person_id == 2


def test_a_suffix_alone_is_a_claim() -> None:
    senior = record(1, 1, "John", suffix="Sr")
    assert probability(who(senior, claims={"suffix": "Jr"}), 1) < probability(who(senior), 1)


def test_a_claim_that_contradicts_the_records_makes_somebody_new_likelier() -> None:
    known = record(1, 1, birth_date="1971-06-24", postcode="02134")
    result = who(known, claims={"full_name": "Carl Young", "birth_date": "1990-01-02"})
    assert result.someone_new > 0.7
    assert result.someone_new + result.another_in_household > 0.99  # a relative of another name, who borrows the telephone
    assert standing(result, 0.9) == "unknown"


def test_reasons_add_up_to_the_log_odds() -> None:
    claims = {"given_name": "Bob", "family_name": "Smith", "postcode": "02134"}
    result = who(record(1, 1, "Robert", postcode="02134"), record(2, 2, "Ann", postcode="02134"), claims=claims)
    for one in result.candidates:
        total = math.fsum(reason.weight or 0 for reason in one.reasons)
        assert total == pytest.approx(math.log(one.probability / result.someone_new), abs=1e-9)


def test_another_scorer_takes_the_seat() -> None:
    def even(*_: Any) -> tuple[float, tuple[Reason, ...]]:
        return 0.0, ()

    account = Identifier("account", "K1")
    evidence, read = Evidence(identifiers=(account,)), Read(records=(record(1, 1, matched=(account,)),))
    result = resolve(evidence, read, weights=DEFAULT, now=NOW, score=even)
    assert result.someone_new == probability(result, 1) == 0.5


@pytest.mark.parametrize(
    ("level", "pairs"),
    [
        ("exact", [(given_names, "ann", "ann"), (family_names, "li", "li"), (birth_dates, "19710624", "19710624")]),
        ("nickname", [(given_names, "bob", "robert"), (given_names, "liz", "beth"), (given_names, "ann", "anna")]),
        ("close", [(given_names, "jonas", "jonsa"), (family_names, "smithson", "smithsen")]),
        ("initial", [(given_names, "a", "ann"), (middle_names, "p", "peter")]),
        ("part", [(family_names, "garcia", "garcia lopez")]),
        ("swapped", [(birth_dates, "19710604", "19710406")]),
        ("edit1", [(birth_dates, "19710624", "19720624")]),
        ("different", [
            (given_names, "ann", "carl"), (family_names, "smith", "young"), (birth_dates, "19710624", "19820301"),
        ]),
    ],
)  # fmt: skip
def test_levels_of_comparison(level: str, pairs: list[Any]) -> None:
    for compare, left, right in pairs:
        assert (compare(left, right), compare(right, left)) == (level, level), (left, right)


def test_the_newest_value_wins_and_lists_are_merged_with_their_source() -> None:
    old = RecordRead(1, 1, 1, "crm", {"city": "Delft", "phone": ["+1", "+2"], "attributes": {"a": 1, "b": 1}, "tier": "vip"},
                     last_seen=NOW - timedelta(days=9))  # fmt: skip
    new = RecordRead(
        2, 1, 1, "shop", {"city": "Gouda", "phone": ["+3", "+1"], "attributes": {"a": 2}, "note": ""}, last_seen=NOW
    )
    undated = RecordRead(3, 1, 1, "bill", {"city": "Leiden", "language": "nl"})
    merged = profile([undated, old, new])
    assert merged == profile([new, undated, old])
    assert merged == {
        "city": "Gouda", "phone": ["+3", "+1", "+2"], "attributes": {"a": 2, "b": 1}, "tier": "vip", "language": "nl",
        "sources": {"city": "shop", "phone": "shop", "tier": "crm", "language": "bill"},
    }  # fmt: skip
    assert profile([]) == {}


def test_weights_are_named_sourced_and_versioned_by_content() -> None:
    assert all(row.source and row.unit in {"nats", "rate", "days", "factor", "contacts", "s"} for row in TABLE.values())
    assert Weights().version == DEFAULT.version
    changed = Weights({**DEFAULT.values, "phone": 1.0})
    assert changed.version != DEFAULT.version
    with pytest.raises(ValueError, match="other names"):
        Weights({"phone": 1.0})
