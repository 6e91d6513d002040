"""Golden records: who wins and why, what fades and expires, what conflicts; rules from a file, checked when loaded."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from firstring.contact import RecordRead
from firstring.errors import BadInput
from firstring.identity.golden.record import golden
from firstring.identity.golden.rules import CRITERIA, DEFAULT, ORDERABLE, rules_from_file, rules_of
from firstring.identity.golden.survivorship import profile

NOW = datetime(2026, 11, 1, tzinfo=UTC)


def record(number: int, source: str, *, age: float | None = 0, verified: float | None = None, **fields: Any) -> RecordRead:
    """A record last seen `age` days ago, verified `verified` days ago."""
    more = {name: fields.pop(name) for name in ("chosen", "enriched") if name in fields}
    seen = None if age is None else NOW - timedelta(days=age)
    at = None if verified is None else NOW - timedelta(days=verified)
    return RecordRead(
        number, 1, 1, source, {"record_id": f"{source}-{number}", **fields}, last_seen=seen, verified_at=at, **more
    )


def won(records: list[RecordRead], field: str, **rules: Any) -> tuple[Any, str, list[tuple[Any, str]]]:
    made = golden(records, now=NOW, rules=rules_of(rules)).fields[field]
    return made.values[0].value, made.values[0].rule, [(loser.value, loser.rule) for loser in made.losers]


def test_each_rule_in_turn_decides_and_says_so() -> None:
    old, new = record(1, "crm", age=50, family_name="Lee"), record(2, "shop", age=2, family_name="Ray")
    assert won([old], "family_name") == ("Lee", "only", [])
    assert won([old, new], "family_name") == ("Ray", "newest", [("Lee", "newest")])
    assert won([old, new], "family_name", sources={"crm": 1}) == ("Lee", "trusted", [("Ray", "trusted")])
    verified = record(3, "bill", age=90, verified=90, family_name="Moe")
    assert won([old, new, verified], "family_name", sources={"crm": 1})[:2] == ("Moe", "verified")
    lapsed = record(3, "bill", age=90, verified=5_000, family_name="Moe")
    assert won([old, new, lapsed], "family_name")[0] == "Ray"
    chosen = record(4, "web", age=900, family_name="Poe", chosen=("family_name",))
    assert won([old, new, verified, chosen], "family_name")[:2] == ("Poe", "steward")
    bought = record(5, "broker", verified=0, family_name="Sly", enriched=True)
    assert won([old, bought], "family_name") == ("Lee", "first_party", [("Sly", "first_party")])
    assert won([old, bought], "family_name", fields={"family_name": {"order": ["newest"]}})[:2] == ("Sly", "newest")
    twice = [record(6, "a", age=1, suffix="II"), record(7, "b", age=1, suffix="Jr"), record(8, "c", age=1, suffix="Jr")]
    assert won(twice, "suffix")[:2] == ("Jr", "frequent")
    assert won([record(1, "a", middle_name="J."), record(2, "b", middle_name="James")], "middle_name")[:2] == (
        "James",
        "complete",
    )
    assert won([record(2, "b", tier="abc"), record(1, "a", tier="xyz")], "tier")[:2] == ("xyz", "tie")


def test_one_name_in_several_spellings_is_one() -> None:
    made = golden([record(1, "crm", age=9, city="GOUDA"), record(2, "shop", age=1, city="Gouda")], now=NOW).fields["city"]
    assert (made.values[0].value, made.values[0].rule, made.losers) == ("Gouda", "only", ())
    assert [one.source for one in made.values[0].said_by] == ["shop", "crm"]


def test_confidence_fades_and_values_expire() -> None:
    def phone(age: float | None) -> Any:
        return golden([record(1, "crm", age=age, phone=["+12025550123"])], now=NOW).fields["phone"]

    half = DEFAULT.fields["phone"].half_life_days
    assert half is not None
    fresh, faded, old, undated = phone(0), phone(half), phone(6_000), phone(None)
    assert fresh.values[0].confidence == pytest.approx(0.9)
    assert faded.values[0].confidence == pytest.approx(0.45)
    assert (fresh.ask_again, faded.ask_again) == (False, True)
    assert (fresh.values[0].expired, faded.values[0].expired, old.values[0].expired) == (False, False, True)
    assert (undated.values[0].expired, undated.values[0].age_days) == (False, None)
    twice = golden([record(1, "a", phone=["+1"]), record(2, "b", phone=["+1"]), record(3, "b", phone=["+1"])], now=NOW)
    assert twice.fields["phone"].values[0].confidence == pytest.approx(0.99), "a source counts once"
    fixed = golden([record(1, "crm", age=9_000, birth_date="1970-05-06")], now=NOW).fields["birth_date"].values[0]
    assert (fixed.confidence, fixed.expired) == (pytest.approx(0.9), False), "who is born stays born"


def test_an_expired_value_loses_to_a_living_one_however_it_was_verified() -> None:
    gone = record(1, "crm", age=9_000, verified=9_000, phone=["+1"])
    here = record(2, "web", age=10, phone=["+2"])
    numbers = golden([gone, here], now=NOW, rules=rules_of({"numbers": {"verified_days": 36_500}})).fields["phone"].values
    assert [(one.value, one.expired, one.rule) for one in numbers] == [("+2", False, "live"), ("+1", True, "live")]


def test_two_birth_dates_with_comparable_support_are_a_conflict() -> None:
    one, other = record(1, "crm", birth_date="1970-05-06"), record(2, "shop", birth_date="1970-06-05")
    assert golden([one, other], now=NOW).conflicts == ("birth_date",)
    assert golden([one], now=NOW).conflicts == ()
    proven = record(1, "crm", verified=1, birth_date="1970-05-06")
    assert golden([proven, other], now=NOW).conflicts == (), "there is a reason to believe one of them"
    chosen = record(1, "crm", birth_date="1970-05-06", chosen=("birth_date",))
    assert golden([chosen, other], now=NOW).conflicts == ()
    both = [chosen, record(2, "shop", birth_date="1970-06-05", chosen=("birth_date",))]
    assert golden(both, now=NOW).conflicts == ("birth_date",), "two choices contradict each other"
    names = [record(1, "crm", given_name="Ann"), record(2, "shop", given_name="Bob")]
    assert golden(names, now=NOW).conflicts == ()
    assert golden(names, now=NOW, rules=rules_of({"fields": {"given_name": {"conflict": True}}})).conflicts == (
        "given_name",
    )


def test_an_address_wins_as_a_whole() -> None:
    moved = record(1, "web", age=1, postcode="2801", city="Gouda")
    before = record(2, "crm", age=99, postcode="2611", city="Delft", street="High St", country="NL")
    same = record(3, "shop", age=500, postcode="2801", street="Low Rd")
    made = golden([moved, before, same], now=NOW)
    values = {name: field.values[0].value for name, field in made.fields.items()}
    assert values == {"postcode": "2801", "city": "Gouda", "street": "Low Rd"}
    assert [(loser.value, loser.rule) for loser in made.fields["street"].losers] == [("High St", "with_address")]
    assert "country" not in profile([moved, before], now=NOW), "it was said of another home"
    assert profile([moved, record(4, "x", age=0, country="NL")], now=NOW)["country"] == "NL"


def test_a_steward_may_choose_an_address_by_one_of_its_parts() -> None:
    chosen = record(1, "crm", age=500, city="Delft", street="High St", chosen=("city",))
    assert profile([chosen, record(2, "web", city="Gouda")], now=NOW)["street"] == "High St"


def test_every_criterion_has_words_and_every_rule_has_criteria() -> None:
    assert set(ORDERABLE) < set(CRITERIA)
    assert all(set(rule.order) <= set(ORDERABLE) for rule in DEFAULT.fields.values())
    assert rules_of({}).version == DEFAULT.version
    assert rules_of({"sources": {"crm": 1}}).version != DEFAULT.version


@pytest.mark.parametrize(
    ("text", "key"),
    [
        ("[field]\n", "field"),
        ("[fields.phon]\nlife_days = 1\n", "fields.phon"),
        ("[fields.phone]\norder = ['newest', 'nicest']\n", "fields.phone.order"),
        ("[fields.phone]\norder = ['newest', 'newest']\n", "fields.phone.order"),
        ("[fields.phone]\norder = []\n", "fields.phone.order"),
        ("[fields.phone]\norder = ['latest']\n", "fields.phone.order"),
        ("[fields.phone]\nconflict = true\n", "fields.phone.conflict"),
        ("[fields.tier]\nconflict = 1\n", "fields.tier.conflict"),
        ("[fields.tier]\nhalf_life_days = -1\n", "fields.tier.half_life_days"),
        ("[fields.tier]\nlife_days = true\n", "fields.tier.life_days"),
        ("[fields]\ntier = 3\n", "fields.tier"),
        ("[sources]\ncrm = 1.5\n", "sources.crm"),
        ("sources = 1\n", "sources"),
        ("[numbers]\nverified_day = 3\n", "numbers.verified_day"),
        ("[numbers]\nreverify_below = 3\n", "numbers.reverify_below"),
    ],
)
def test_rules_that_are_wrong_name_the_file_and_the_key(text: str, key: str, tmp_path: Path) -> None:
    file = tmp_path / "survivorship.toml"
    file.write_text(text)
    with pytest.raises(BadInput) as refused:
        rules_from_file(file)
    assert (refused.value.code, refused.value.where) == ("survivorship_invalid", {"file": str(file), "key": key})


def test_a_file_of_rules(tmp_path: Path) -> None:
    file = tmp_path / "survivorship.toml"
    assert rules_from_file(file) is DEFAULT
    file.write_text("[fields.phone]\nlife_days = 0\nhalf_life_days = 30\n[fields.attribute]\norder = ['frequent']\n")
    rules = rules_from_file(file)
    assert (rules.of("phone").life_days, rules.of("phone").half_life_days) == (None, 30.0)
    assert rules.of("no such field, so an attribute").order == ("frequent",)
    file.write_text("[fields")
    with pytest.raises(BadInput) as refused:
        rules_from_file(file)
    assert refused.value.code == "survivorship_unreadable"
    file.write_bytes(b"\xff")
    with pytest.raises(BadInput):
        rules_from_file(file)
