"""Evidence out of what channels send, garbage included."""

from __future__ import annotations

from typing import Any

import pytest

from firstring import limits
from firstring.contact import Identifier
from firstring.identity.caller.evidence import gather

NUMBER = Identifier("phone", "+442079460018")


@pytest.mark.parametrize(
    "raw",
    [
        {"from": "+442079460018"},
        {"from": "020 7946 0018"},
        {"from": "tel:+44-20-7946-0018"},
        {"from": "sip:+442079460018@carrier.example;user=phone"},
        {"from": '"Ann" <sip:02079460018@carrier.example>;tag=1'},
        {"from": "<sip:%2B442079460018@carrier.example>"},
        {"from": "tel:2079460018;phone-context=+44"},
        {"pai": "<sip:+442079460018@carrier.example>", "from": "sip:+12025550123@carrier.example"},
        {"pai": "garbage", "from": "+442079460018"},
        {"phone": "020 7946 0018"},
        {"caller_number": "00442079460018"},
    ],
)
def test_the_caller_number_in_its_many_forms(raw: dict[str, Any]) -> None:
    evidence = gather(raw, country="GB")
    assert evidence.caller_number == "shown"
    assert evidence.identifiers == (NUMBER,)


@pytest.mark.parametrize(
    "raw",
    [
        {},
        {"from": ""},
        {"from": "anonymous"},
        {"from": "Restricted"},
        {"from": "unavailable"},
        {"from": "sip:anonymous@anonymous.invalid"},
        {"from": '"Anonymous" <sip:anonymous@anonymous.invalid>;tag=9'},
        {"from": "<sip:c8oqz84zk7z@anonymous.invalid>"},
        {"from": "sip:anonymous@anonymous.invalid", "pai": "<sip:+442079460018@carrier.example>"},
    ],
)
def test_a_withheld_number_is_absent_even_where_the_network_knows_it(raw: dict[str, Any]) -> None:
    evidence = gather(raw, country="GB")
    assert evidence.caller_number == "absent"
    assert evidence.identifiers == ()
    assert evidence.rejected == ()


@pytest.mark.parametrize(
    "given",
    [
        "sip:alice@pbx",
        "101",
        "000-000-0000",
        pytest.param("x" * 1_000_000, id="1 MB"),
        "\x00",
        "<<<?>>>",
        "\ud800",
        b"1",
        1.5,
        {"a": 1},
    ],
)
def test_garbage_is_unusable_and_never_raises(given: Any) -> None:
    evidence = gather({"from": given, "email": given, "birth_date": given, "ruled_out": given}, country="GB")
    assert evidence.caller_number == "unusable"
    assert evidence.identifiers == ()
    assert evidence.rejected


def test_identifiers_and_claims_are_told_apart() -> None:
    evidence = gather(
        {
            "from": "+442079460018",
            "email": "Ann@shop.com",
            "cookie": "c-1",
            "name": "Ann Smith",
            "postcode": "sw1a1aa",
            "birth_date": "05/06/1971",
            "intent": " refund ",
            "called": "+4420",
            "confirmed_person": "12",
            "ruled_out": [3, "2", "x", 3],
        },
        country="GB",
    )
    assert set(evidence.identifiers) == {NUMBER, Identifier("email", "ann@shop.com"), Identifier("cookie", "c-1")}
    assert evidence.claims == {"full_name": "Ann Smith", "postcode": "SW1A 1AA"}
    assert evidence.intent == "refund"
    assert evidence.confirmed_person == 12
    assert evidence.ruled_out == (2, 3)
    assert {(reason.field, reason.code) for reason in evidence.rejected} == {
        ("birth_date", "ambiguous_date"),
        ("ruled_out", "invalid_person"),
    }


def test_identifiers_are_bounded_and_the_caller_number_survives() -> None:
    emails = [f"ann{number}@shop.com" for number in range(10_000)]
    evidence = gather({"email": emails, "from": "+442079460018"}, country="GB")
    assert len(evidence.identifiers) == limits.IDENTIFIERS_PER_CONTACT
    assert evidence.identifiers[0] == NUMBER
    assert "too_many_identifiers" in [reason.code for reason in evidence.rejected]
