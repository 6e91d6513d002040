"""The golden record is a function of the set of records; the profile has its winners; a brute-force oracle agrees."""

from __future__ import annotations

import random
from datetime import UTC, datetime, timedelta
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from firstring.contact import RecordRead
from firstring.identity.golden.record import golden
from firstring.identity.golden.rules import DEFAULT, FieldRule, Rules, rules_of
from firstring.identity.golden.survivorship import profile

NOW = datetime(2026, 11, 1, tzinfo=UTC)
TRUSTING = rules_of(
    {
        "sources": {"crm": 2, "shop": 1},
        "fields": {"tier": {"order": ["newest"]}, "city": {"conflict": True}, "email": {"order": ["frequent", "placed"]}},
    }
)
days = st.one_of(st.none(), st.integers(0, 4_000))
fields_of_record = st.fixed_dictionaries(
    {},
    optional={
        "given_name": st.sampled_from(["Ann", "ANN", "Änn", "Bob", "A."]),
        "birth_date": st.sampled_from(["1970-05-06", "1970-06-05"]),
        "phone": st.lists(st.sampled_from(["+1202555010" + digit for digit in "1234"]), min_size=1, max_size=3, unique=True),
        "email": st.lists(st.sampled_from(["a@x.org", "b@x.org", "c@x.org"]), min_size=1, max_size=2, unique=True),
        "street": st.sampled_from(["High St", "Low Rd"]),
        "city": st.sampled_from(["Delft", "Gouda"]),
        "postcode": st.sampled_from(["2611", "2801"]),
        "country": st.sampled_from(["NL", "BE"]),
        "tier": st.sampled_from(["vip", "gold"]),
        "first_seen": st.sampled_from(["2020-01-01T00:00:00Z", "2021-01-01T00:00:00Z"]),
        "last_seen": st.sampled_from(["2024-01-01T00:00:00Z", "2025-01-01T00:00:00Z"]),
        "attributes": st.dictionaries(st.sampled_from(["plan", "pet"]), st.sampled_from([1, True, "1", 2.5]), min_size=1),
    },
)


@st.composite
def people(draw: Any) -> list[RecordRead]:
    records = []
    for number in range(draw(st.integers(1, 6))):
        fields = draw(fields_of_record)
        chosen = draw(st.lists(st.sampled_from(["birth_date", "given_name", "city"]), max_size=1))
        records.append(
            RecordRead(
                number + 1, 1, 1, draw(st.sampled_from(["crm", "shop", "bill"])),
                {"record_id": f"r{draw(st.integers(0, 3))}-{number}", **fields},
                last_seen=_ago(draw(days)), verified_at=_ago(draw(st.one_of(st.none(), st.none(), days))),
                chosen=tuple(name for name in chosen if name in fields),
                enriched=draw(st.sampled_from([False, False, True])),
            )
        )  # fmt: skip
    return records


def _ago(number: int | None) -> datetime | None:
    return None if number is None else NOW - timedelta(days=number)


@settings(max_examples=300, deadline=None)
@given(people(), st.randoms(use_true_random=False), st.sampled_from([DEFAULT, TRUSTING]))
def test_the_order_of_records_does_not_matter(records: list[RecordRead], shuffle: random.Random, rules: Rules) -> None:
    first = golden(records, now=NOW, rules=rules)
    again = list(records)
    shuffle.shuffle(again)
    assert golden(again, now=NOW, rules=rules) == first
    assert profile(again, now=NOW, rules=rules) == profile(records, now=NOW, rules=rules)


@settings(max_examples=300, deadline=None)
@given(people(), st.sampled_from([DEFAULT, TRUSTING]))
def test_the_profile_has_the_winners_of_the_golden_record(records: list[RecordRead], rules: Rules) -> None:
    assert profile(records, now=NOW, rules=rules) == golden(records, now=NOW, rules=rules).profile()


@settings(max_examples=300, deadline=None)
@given(people())
def test_every_value_is_there_once_and_says_where_it_comes_from(records: list[RecordRead]) -> None:
    made = golden(records, now=NOW)
    for name, field in made.fields.items():
        values = [*field.values, *field.losers]
        said = {one for record in records for one in _listed(record.fields.get(name))}
        if name in ("phone", "email", "birth_date", "tier", "first_seen", "last_seen"):
            assert sorted(str(one.value) for one in values) == sorted(map(str, said))
            assert len({one.value for one in values}) == len(values)
        assert {str(one.value) for one in values} <= {str(one) for one in said}
        assert all(one.said_by and 0.0 <= one.confidence <= 1.0 for one in values)
    assert set(made.fields) == {name for record in records for name in record.fields} - {"record_id", "attributes"} - _lost(
        made.fields, records
    )


def _lost(fields: Any, records: list[RecordRead]) -> set[str]:
    """Parts of addresses that contradict the one chosen."""
    return {name for name in ("street", "city", "postcode", "country") if name not in fields}


def _listed(value: Any) -> list[Any]:
    return [] if value is None else value if isinstance(value, list) else [value]


@settings(max_examples=300, deadline=None)
@given(people())
def test_a_single_value_by_brute_force(records: list[RecordRead]) -> None:
    """birth_date: chosen, own source, live, verified, trust, most sources, newest; then source and id. Nothing clever."""
    rule: FieldRule = DEFAULT.fields["birth_date"]
    assert rule.order == ("first_party", "verified", "trusted", "frequent", "newest", "complete")
    best = None
    for record in records:
        value = record.fields.get("birth_date")
        if value is None:
            continue
        said = [one for one in records if one.fields.get("birth_date") == value]
        verified = record.verified_at is not None and (NOW - record.verified_at).days <= DEFAULT.numbers.verified_days
        standing = (
            "birth_date" not in record.chosen, record.enriched, not verified, -len({one.source for one in said}), -len(said),
            -(record.last_seen.timestamp() if record.last_seen else -1e18), record.source, record.fields["record_id"],
        )  # fmt: skip
        best = min(best or (standing, value), (standing, value))
    if best is not None:
        assert golden(records, now=NOW).fields["birth_date"].values[0].value == best[1]


@settings(max_examples=200, deadline=None)
@given(people())
def test_an_address_is_one_that_somebody_has(records: list[RecordRead]) -> None:
    """Street, city and postcode come from records that agree in what they share: no address is made up of two."""
    found = profile(records, now=NOW)
    parts = {name: found[name] for name in ("street", "city", "postcode") if name in found}
    addresses = [
        {name: one.fields[name] for name in ("street", "city", "postcode") if name in one.fields} for one in records
    ]
    agreeing = [one for one in addresses if one and all(parts.get(name) == value for name, value in one.items())]
    assert not parts or agreeing
    assert parts == {name: value for one in agreeing for name, value in one.items() if name in parts}
