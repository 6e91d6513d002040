"""What is kept of a record to be compared says the same as the record, and is not read once its form is another."""

from __future__ import annotations

import hashlib
from typing import Any

import msgspec
import pytest

from firstring.identity.canonical.record import canonical_record
from firstring.identity.comparison import rows
from firstring.identity.comparison.columns import compared
from firstring.identity.comparison.rows import pack, row_of, unpack, values_of
from firstring.identity.persons.linking import content_of

RECORDS: list[dict[str, Any]] = [
    {"record_id": "1", "account": "A-9"},
    {
        "record_id": "2", "given_name": "Bob", "middle_name": "Q", "family_name": "de la Cruz", "suffix": "Jr.",
        "gender": "m", "birth_date": "1971-06-05", "street": "Long Road", "house_number": "7", "postcode": "SW1A 1AA",
        "city": "London", "phone": ["+442079460018", "+442079460019"], "email": "bob.cruz+shop@mail.example.org",
        "account": ["A-1"], "national_id": "QQ123456C",
    },
    {"record_id": "3", "full_name": "Müller, Anna", "postcode": "02134", "email": ["a@example.org", "b@example.org"]},
    {"record_id": "4", "given_name": "王", "family_name": "小明", "birth_date": "1980-13-01", "device": ["d1", "d2"]},
]  # fmt: skip


def _values(raw: dict[str, Any]) -> dict[str, tuple[str, ...]]:
    return compared(canonical_record(raw, country="GB").fields)


@pytest.mark.parametrize("raw", RECORDS, ids=lambda raw: raw["record_id"])
def test_what_is_kept_is_what_is_compared(raw: dict[str, Any]) -> None:
    values = _values(raw)
    row = row_of(values)
    assert row is not None
    assert unpack(pack(content_of(values), row)) == (content_of(values), row)
    assert values_of(row) == values
    assert list(values_of(row)) == list(values)


def test_more_values_than_slots_are_no_row_without_statistics() -> None:
    phones = [f"+4420794600{number}" for number in range(10, 16)]
    assert row_of(_values({"record_id": "1", "phone": phones})) is None


def test_a_column_that_is_not_known_is_no_row() -> None:
    assert row_of({"attribute.colour": ("red",)}) is None


def test_another_form_is_not_read() -> None:
    form, *rest = msgspec.msgpack.decode(pack(b"x" * 16, rows.Row(b"", [])))
    assert unpack(msgspec.msgpack.encode([form + 1, *rest])) is None


def test_the_form_is_raised_with_what_it_holds() -> None:
    """If this fails, what is compared has changed: raise rows.FORM, so that what was kept is not read, and pin anew."""
    made = [_values(raw) for raw in RECORDS]
    packed = b"".join([pack(content_of(values), row) for values in made if (row := row_of(values)) is not None])
    assert hashlib.sha256(packed).hexdigest()[:16] == "2a7845249ed9ec8c"
