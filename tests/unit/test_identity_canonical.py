"""Canonical forms: every field, every refusal, whole records."""

from __future__ import annotations

from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

import pytest

from firstring import limits
from firstring.errors import BadInput
from firstring.identity.canonical.fields import FIELDS, IDENTIFIERS, is_attribute, vocabulary
from firstring.identity.canonical.record import canonical, canonical_list, canonical_record
from firstring.identity.canonical.text import fold


@pytest.mark.parametrize(
    ("field", "raw", "country", "expected"),
    [
        ("phone", "020 7946 0018", "GB", "+442079460018"),
        ("phone", "+44 (0)20 7946 0018", "US", "+442079460018"),
        ("phone", "tel:+1-202-555-0123", "GB", "+12025550123"),
        ("phone", "202.555.0123 x12", "US", "+12025550123"),
        ("phone", 447911123456.0, "GB", "+447911123456"),
        ("phone", 2025550123, "US", "+12025550123"),
        ("email", " Ann.Smith@Example.COM ", "", "ann.smith@example.com"),
        ("email", "mailto:ann@example.org", "", "ann@example.org"),
        ("email", "jörg@münchen.de", "", "jörg@münchen.de"),
        ("birth_date", "1971-06-24", "", "1971-06-24"),
        ("email", "X469400998202@example.com", "", "x469400998202@example.com"),
        ("birth_date", "19710624", "", "1971-06-24"),
        ("birth_date", "24/06/1971", "", "1971-06-24"),
        ("birth_date", "06/24/1971", "", "1971-06-24"),
        ("birth_date", "05/05/1971", "", "1971-05-05"),
        ("birth_date", "5.6.1971", "", "1971-06-05"),
        ("birth_date", "24 Jun 1971", "", "1971-06-24"),
        ("birth_date", "June 24, 1971", "", "1971-06-24"),
        ("birth_date", "24-SEPT-1971", "", "1971-09-24"),
        ("birth_date", date(1971, 6, 24), "", "1971-06-24"),
        ("birth_date", datetime(1971, 6, 24, tzinfo=UTC), "", "1971-06-24"),
        ("full_name", "  José\u00a0 O’Neill ", "", "José O’Neill"),
        ("full_name", "Jose\u0301", "", "José"),
        ("given_name", "An\u200bn", "", "Ann"),
        ("family_name", "Null", "", "Null"),
        ("postcode", "sw1a1aa", "GB", "SW1A 1AA"),
        ("postcode", "02134-1234", "US", "02134"),
        ("postcode", 2134, "US", "02134"),
        ("postcode", "1234ab", "NL", "1234 AB"),
        ("country", "uk", "", "GB"),
        ("country", "Deutschland", "", "DE"),
        ("country", "España", "", "ES"),
        ("language", "en-GB", "", "en"),
        ("language", "Galego", "", "gl"),
        ("gender", "F", "", "female"),
        ("national_id", "ab 12-34.56 c", "", "AB123456C"),
        ("account", "k-001 234", "", "K001234"),
        ("device", "F47AC10B-58CC-4372-A567-0E02B2C3D479", "", "f47ac10b-58cc-4372-a567-0e02b2c3d479"),
        ("cookie", "aB3", "", "aB3"),
        ("ip", "2001:0DB8:85A3::8A2E:0370:7334".replace("0DB8", "4860"), "", "2001:4860:85a3::8a2e:370:7334"),
        ("social", "https://www.facebook.com/Ann.Smith/", "", "facebook:ann.smith"),
        ("social", "x:@Ann_S", "", "twitter:ann_s"),
        ("last_seen", "2026-01-02T03:04:05+02:00", "", "2026-01-02T01:04:05Z"),
        ("last_seen", "2026-01-02 03:04:05.678", "", "2026-01-02T03:04:05Z"),
        ("last_seen", "2026-01-02", "", "2026-01-02T00:00:00Z"),
        ("tier", " VIP ", "", "vip"),
        ("note", "one\ntwo", "", "one\ntwo"),
    ],
)
def test_canonical_forms(field: str, raw: Any, country: str, expected: str) -> None:
    assert canonical(field, raw, country=country) == expected


@pytest.mark.parametrize(
    ("field", "raw", "code"),
    [
        ("phone", "000-000-0000", "placeholder"),
        ("phone", "9999999", "placeholder"),
        ("phone", "+1 111 111 1111", "placeholder"),
        ("phone", "0123456789", "placeholder"),
        ("phone", "unknown", "placeholder"),
        ("phone", "1-800-FLOWERS", "phone_letters"),
        ("phone", "4.47911E+11", "phone_letters"),
        ("phone", "112", "phone_too_short"),
        ("phone", "+44 20 7946 0018 0018 0018", "phone_too_long"),
        ("phone", "?!", "invalid_phone"),
        ("phone", "+999 123 456 789", "invalid_phone"),
        ("email", "ann.example.org", "email_without_at"),
        ("email", "noemail@shop.com", "placeholder"),
        ("email", "none@none.com", "placeholder"),
        ("email", "test@example.com", "placeholder"),
        ("email", "xx2024@example.com", "placeholder"),
        ("email", "n/a", "placeholder"),
        ("email", "ann@@example.org", "invalid_email"),
        ("email", "ann@localhost", "invalid_email"),
        ("birth_date", "1900-01-01", "placeholder"),
        ("birth_date", "01/01/1901", "placeholder"),
        ("birth_date", "05/06/1971", "ambiguous_date"),
        ("birth_date", "05/06/71", "invalid_date"),
        ("birth_date", "31/02/1971", "invalid_date"),
        ("birth_date", "1971-13-01", "invalid_date"),
        ("birth_date", "1571-06-24", "birth_date_out_of_range"),
        ("given_name", "unknown", "placeholder"),
        ("family_name", "--", "placeholder"),
        ("full_name", "12345", "placeholder"),
        ("full_name", "Ann\x00", "control_character"),
        ("full_name", "Ann\x1bB", "control_character"),
        ("full_name", "\ud800", "not_unicode"),
        pytest.param("full_name", "a" * 1_000_000, "too_long", id="a million characters"),
        ("full_name", ["Ann"], "not_text"),
        ("full_name", True, "not_text"),
        ("full_name", " ", "empty"),
        ("full_name", None, "empty"),
        ("full_name", float("nan"), "empty"),
        pytest.param("account", 10**5000, "too_long", id="huge number"),
        ("account", Decimal("1E+60"), "too_long"),
        ("account", "00000", "placeholder"),
        ("account", "a" * 201, "identifier_too_long"),
        ("cookie", "0", "placeholder"),
        ("ip", "192.168.1.1", "ip_not_public"),
        ("ip", "1.2.3", "invalid_ip"),
        ("social", "ann", "social_network_missing"),
        ("country", "Atlantis", "unknown_country"),
        ("language", "?!x", "unknown_language"),
        ("postcode", "AB!", "invalid_postcode"),
        ("postcode", "00000", "placeholder"),
        ("last_seen", "yesterday", "invalid_timestamp"),
        ("last_seen", "0001-01-01T00:00:00Z", "placeholder"),
        ("shoe_size", "42", "unknown_field"),
    ],
)
def test_refusals_have_a_code_and_a_place_and_never_the_value(field: str, raw: Any, code: str) -> None:
    with pytest.raises(BadInput) as caught:
        canonical(field, raw, country="GB")
    assert caught.value.code == code
    assert caught.value.where == {"field": field}
    if isinstance(raw, str) and len(raw) > 3 and code != "placeholder":
        assert raw not in str(caught.value)


def test_a_national_number_without_a_country_says_so() -> None:
    with pytest.raises(BadInput) as caught:
        canonical("phone", "020 7946 0018", country="")
    assert caught.value.code == "phone_country_unknown"


def test_garbage_is_refused_the_second_time_too() -> None:
    for _ in range(2):
        with pytest.raises(BadInput):
            canonical("phone", "nonsense", country="GB")


def test_fold_is_the_form_in_which_names_are_compared() -> None:
    assert fold("  José  O’Neill-Ruiz ") == "jose oneill ruiz"
    assert fold("Łukasz Strauß ØRSTED") == "lukasz strauss orsted"
    assert fold("王小明") == "wangxiaoming"


def test_a_list_of_phones_in_one_cell() -> None:
    values, dropped = canonical_list("phone", "020 7946 0018; 020 7946 0018 | n/a, +12025550123", country="GB")
    assert values == ["+442079460018", "+12025550123"]
    assert [(reason.field, reason.code) for reason in dropped] == [("phone", "placeholder")]


def test_a_record_keeps_what_is_good_and_says_what_it_dropped() -> None:
    record = canonical_record(
        {
            "record_id": 17,
            "full_name": "Ann Smith",
            "phone": "000-000-0000",
            "email": ["ann@shop.com", "ANN@shop.com", "noemail@shop.com"],
            "birth_date": "1900-01-01",
            "country": "GB",
            "city": "",
            "note": None,
            "social_twitter": "@ann_s",
            "shoe size": 42,
            "newsletter": True,
            "last_seen": datetime(2026, 1, 2, 3, 4, 5),  # noqa: DTZ001 - a database gives such ones; it is read as UTC
        },
        country="US",
    )
    assert record.record_id == "17"
    assert record.fields == {
        "full_name": "Ann Smith",
        "email": ["ann@shop.com"],
        "country": "GB",
        "social": ["twitter:ann_s"],
        "last_seen": "2026-01-02T03:04:05Z",
        "attributes": {"shoe size": 42, "newsletter": True},
    }
    assert record.time("last_seen") == datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
    assert record.time("first_seen") is None
    assert [(reason.field, reason.code) for reason in record.dropped] == [
        ("phone", "placeholder"),
        ("email", "placeholder"),
        ("birth_date", "placeholder"),
    ]


def test_the_record_s_own_country_is_how_its_national_numbers_are_read() -> None:
    record = canonical_record({"record_id": "1", "phone": "020 7946 0018", "country": "UK"}, country="US")
    assert record.fields["phone"] == ["+442079460018"]


@pytest.mark.parametrize(
    ("raw", "code"),
    [
        ({"full_name": "Ann"}, "record_id_missing"),
        ({"record_id": "  ", "full_name": "Ann"}, "record_id_missing"),
        ({"record_id": "a\x00b", "full_name": "Ann"}, "record_id_invalid"),
        ({"record_id": "a" * 201, "full_name": "Ann"}, "record_id_invalid"),
        ({"record_id": "1"}, "nothing_usable"),
        ({"record_id": "1", "phone": "none", "birth_date": "1971-06-24", "city": "Delft"}, "nothing_usable"),
        ({"record_id": "1", "given_name": "Ann", **{f"a{i}": "é" * 900 for i in range(60)}}, "record_too_large"),
    ],
)
def test_a_record_that_cannot_be_used_is_rejected(raw: dict[str, Any], code: str) -> None:
    with pytest.raises(BadInput) as caught:
        canonical_record(raw, country="GB")
    assert caught.value.code == code


def test_identifiers_and_attributes_are_bounded_with_a_reason() -> None:
    emails = [f"ann{number}@shop.com" for number in range(limits.IDENTIFIERS_PER_RECORD + 1)]
    many = {f"a{number}": number for number in range(limits.ATTRIBUTES_PER_RECORD + 1)}
    record = canonical_record({"record_id": "1", "email": emails, "account": "K77", **many}, country="GB")
    assert len(record.fields["email"]) == limits.IDENTIFIERS_PER_RECORD
    assert "account" not in record.fields
    assert len(record.fields["attributes"]) == limits.ATTRIBUTES_PER_RECORD
    assert [reason.code for reason in record.dropped] == [
        "too_many_attributes", "too_many_identifiers", "too_many_identifiers",
    ]  # fmt: skip


def test_the_vocabulary_is_the_documented_one() -> None:
    assert [field.name for field in vocabulary()] == list(FIELDS)
    assert IDENTIFIERS == ("phone", "email", "national_id", "account", "device", "cookie", "social")
    assert {field.name for field in vocabulary() if field.several} == {
        "phone", "email", "account", "device", "ip", "cookie", "social",
    }  # fmt: skip
    assert all(field.description.endswith(".") for field in vocabulary())
    assert is_attribute("shoe_size")
    assert not is_attribute("social_twitter")
