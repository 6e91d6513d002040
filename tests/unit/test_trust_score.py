"""The judgement of trust: plain signals, the mixture, what to ask for."""

from __future__ import annotations

import math
import re
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec
import pytest

from firstring.contact import (
    Assurance,
    Candidate,
    Channel,
    Evidence,
    FanOut,
    Household,
    Identifier,
    Read,
    RecordRead,
    Resolution,
    SignatureCheck,
)
from firstring.trust.priors import DEFAULT_PRIORS, Stake, TrustPriors
from firstring.trust.score import assess
from firstring.trust.signals import observe

NOW = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
PHONE = Identifier("phone", "+15551234567")
OTHER = Identifier("phone", "+15559999999")
EMAIL = Identifier("email", "ann@example.com")
ANN = Candidate(7, 0.9, profile={"phone": ["+15551234567"]})
RESOLVED = Resolution((ANN,), 0.1, 0.0, "prior", "v")
PASSED_A = SignatureCheck("TN-Validation-Passed", attestation="A")
PASSED_B = SignatureCheck("TN-Validation-Passed", attestation="B")
PASSED_C = SignatureCheck("TN-Validation-Passed", attestation="C")
FAILED = SignatureCheck("TN-Validation-Failed", reason="stale", sip_code=403)
NOT_CHECKED = SignatureCheck("No-TN-Validation", reason="certificate_pending", sip_code=436)


def found(*persons: int, by: Identifier = PHONE, hot: bool = False) -> Read:
    records = tuple(RecordRead(person, 1, person, "crm", {}, (by,)) for person in persons)
    return Read(records=records, fan_out=(FanOut(by, len(persons), len(persons), hot),))


READS: dict[str, tuple[Evidence, Read]] = {
    "known": (Evidence((PHONE,), caller_number="shown"), found(7)),
    "shared": (Evidence((PHONE,), caller_number="shown"), found(7, 8)),
    "unknown": (Evidence((OTHER,), caller_number="shown"), found(7)),
    "absent": (Evidence(caller_number="absent"), found(7)),
    "unusable": (Evidence(caller_number="unusable"), found(7)),
}


def judged(
    number: str, signature: SignatureCheck | None = None, *, candidate: Candidate | None = ANN, intent: str | None = None
) -> Assurance:
    evidence, read = READS[number]
    evidence = msgspec.structs.replace(evidence, signature=signature, intent=intent)
    resolution = RESOLVED if candidate else Resolution((), 1.0, 0.0, "prior", "v")
    return assess(evidence, candidate, resolution, read, priors=DEFAULT_PRIORS, now=NOW)


def seen(evidence: Evidence, read: Read, resolution: Resolution = RESOLVED, channel: Channel = "voice") -> str:
    return observe(evidence, ANN, resolution, read, channel=channel).number


def test_the_plain_signals() -> None:
    for value, (evidence, read) in READS.items():
        assert seen(evidence, read) == value
    evidence, alone = READS["known"]
    assert seen(evidence, Read()) == "unknown"
    assert seen(evidence, found(7, hot=True)) == "shared"
    assert seen(evidence, alone, msgspec.structs.replace(RESOLVED, hot=(PHONE,))) == "shared"
    household = msgspec.structs.replace(RESOLVED, household=Household(PHONE, (7, 8), 0.9))
    assert seen(evidence, alone, household) == "shared"
    # Without a count of the people behind it, nobody says that it is theirs alone.
    assert seen(evidence, msgspec.structs.replace(alone, fan_out=())) == "shared"
    assert seen(Evidence(caller_number="shown"), alone) == "unusable"


def test_one_number_that_fits_does_not_excuse_another() -> None:
    both = Evidence((PHONE, OTHER), caller_number="shown")
    assert seen(both, found(7)) == "unknown"


@pytest.mark.parametrize("channel", ["chat", "email", "web", "messaging", "social", "mobile"])
def test_written_channels_have_no_withheld_numbers(channel: Channel) -> None:
    assert seen(Evidence((Identifier("cookie", "c"),)), found(7), channel=channel) == "not_applicable"
    assert seen(Evidence((EMAIL,)), found(7, by=EMAIL), channel=channel) == "known"
    assert seen(Evidence((EMAIL,)), found(7), channel=channel) == "unknown"
    nothing = assess(Evidence(), ANN, RESOLVED, Read(), priors=DEFAULT_PRIORS, now=NOW, channel=channel)
    assert nothing.impostor == pytest.approx(1 / 599)


def test_a_known_attested_number_is_a_routine_call_and_nothing_is_asked() -> None:
    result = judged("known", PASSED_A, intent="wire")
    assert (result.person_id, result.basis, result.looks_like, result.ask.method) == (7, "prior", "routine", "none")
    assert result.impostor < 1 / 599
    assert result.model_version == DEFAULT_PRIORS.version


def test_attestation_supports_the_number_and_not_the_person() -> None:
    assert judged("known", PASSED_A).impostor < judged("known", PASSED_B).impostor < judged("known").impostor
    assert judged("known", PASSED_C).impostor == judged("known").impostor
    for number in ("unknown", "absent", "unusable"):
        assert judged(number, PASSED_A).impostor == judged(number).impostor
    # Whoever lives there calls with an A as well: that share of the risk stays.
    household = dict(judged("shared").archetypes)["household_member"]
    assert dict(judged("shared", PASSED_A).archetypes)["household_member"] == pytest.approx(household, rel=0.01)
    assert judged("known", PASSED_A).reasons[-1].code == "if_impostor_household_member"


@pytest.mark.parametrize("number", READS)
def test_failed_verification_raises_and_missing_changes_nothing(number: str) -> None:
    assert judged(number, FAILED).impostor > judged(number).impostor
    assert judged(number, NOT_CHECKED).impostor == judged(number).impostor


@pytest.mark.parametrize("number", ["unknown", "absent", "unusable"])
@pytest.mark.parametrize("signature", [None, PASSED_A, PASSED_C, NOT_CHECKED, FAILED])
def test_unknown_never_becomes_safe(number: str, signature: SignatureCheck | None) -> None:
    for candidate in (ANN, None):
        assert judged(number, signature, candidate=candidate).impostor >= (1 / 599) * (1 - 1e-12)


def test_nobody_known() -> None:
    for number in ("known", "shared", "unknown"):
        result = judged(number, PASSED_A, candidate=None)
        assert result.person_id is None
        assert result.impostor == pytest.approx(1 / 599)
        assert result.looks_like == "new_customer"
    assert judged("unknown", FAILED, candidate=None).impostor > 1 / 599
    assert judged("unknown", FAILED, candidate=None, intent="wire").ask.method == "confirm_name"


def test_a_failed_signature_on_the_customers_number_looks_most_like_a_spoofed_number() -> None:
    archetypes = dict(judged("known", FAILED).archetypes)
    attackers = {name: archetypes[name] for name in DEFAULT_PRIORS.attackers}
    assert max(attackers, key=attackers.__getitem__) == "spoofed_number"
    reasons = {reason.code: reason for reason in judged("known", FAILED).reasons}
    assert "if_impostor_spoofed_number" in reasons
    assert "stale" in reasons["signature_failed"].text


def test_an_agents_pick_verifies_nobody() -> None:
    evidence, read = READS["unknown"]
    picked = msgspec.structs.replace(evidence, confirmed_person=7)
    results = [assess(one, ANN, RESOLVED, read, priors=DEFAULT_PRIORS, now=NOW) for one in (evidence, picked)]
    assert results[0] == results[1]


def test_the_check_follows_the_stake() -> None:
    asked = {intent: judged("unknown", intent=intent).ask.method for intent in DEFAULT_PRIORS.stakes}
    assert asked["opening_hours"] == asked["deposit"] == "none"
    assert asked["wire"] in ("one_time_code", "call_back")
    assert "none" not in (asked["wire"], asked["address_change"], asked["card_replacement"], asked["balance"])
    assert judged("unknown", intent=None).ask == judged("unknown", intent="something new").ask
    assert judged("unknown", intent=" Address-Change ").ask == judged("unknown", intent="address_change").ask
    assert judged("unusable", FAILED, intent="opening_hours").ask.method == "none"


def test_codes_and_calls_go_only_to_what_is_on_file() -> None:
    nothing = Candidate(7, 0.9)
    assert judged("unknown", FAILED, candidate=nothing, intent="wire").ask.method in ("knowledge", "confirm_name")
    mail = Candidate(7, 0.9, profile={"email": ["ann@example.com"]})
    assert judged("unknown", FAILED, candidate=mail, intent="wire").ask.method == "one_time_code"


def test_a_floor_for_what_can_be_copied() -> None:
    """Even where the table believes that nobody ever spoofs."""
    trusting = msgspec.structs.replace(
        DEFAULT_PRIORS, attackers={"naive": 1.0, "spoofed_number": 0.0, "household_member": 0.0}, version=""
    )
    evidence, read = READS["known"]
    odds = (1 / 599) / (598 / 599)
    for signature, floor in ((None, trusting.floor), (PASSED_A, trusting.floor_attested)):
        signed = msgspec.structs.replace(evidence, signature=signature)
        result = assess(signed, ANN, RESOLVED, read, priors=trusting, now=NOW)
        assert result.impostor / (1 - result.impostor) == pytest.approx(odds * floor)
        assert math.fsum(probability for _, probability in result.archetypes) == pytest.approx(1, abs=1e-12)
        assert "floor" in [reason.code for reason in result.reasons]


def test_the_version_follows_the_content() -> None:
    same = msgspec.structs.replace(DEFAULT_PRIORS, version="")
    other = msgspec.structs.replace(DEFAULT_PRIORS, impostor=0.01, version="")
    assert same.version == DEFAULT_PRIORS.version != other.version


@pytest.mark.parametrize(
    "change",
    [
        {"impostor": 0.0},
        {"floor": 0.0},
        {"floor_attested": 0.9},
        {"attackers": {"naive": 0.5}},
        {"attackers": {}},
        {"honest": {"routine": 1.5, "new_or_borrowed_phone": -0.5}},
        {"number": DEFAULT_PRIORS.number | {"naive": {"known": 1.0}}},
        {"number": {}},
        {"stakes": {"unknown": Stake(-1, 0)}},
        {"stakes": {}},
        {"signature": DEFAULT_PRIORS.signature | {"failed": {"naive": 0.0}}},
    ],
)
def test_a_table_that_contradicts_itself_is_refused(change: dict[str, Any]) -> None:
    with pytest.raises(ValueError):
        msgspec.structs.replace(DEFAULT_PRIORS, version="", **change)


def test_the_documentation_shows_the_table_as_it_is() -> None:
    text = (Path(__file__).parents[2] / "docs" / "trust.md").read_text(encoding="utf-8")
    for number in READS:
        cells = re.search(rf"^\|[^|]*\(`{number}`\)[^|]*\|(.*)\|$", text, re.MULTILINE)
        assert cells
        stated = [float(cell.strip(" %")) for cell in cells[1].split("|")]
        assert stated == [round(judged(number, s).impostor * 100, 2) for s in (None, PASSED_A, PASSED_B, FAILED)]
    for intent, stake in DEFAULT_PRIORS.stakes.items():
        assert f"| `{intent}` | {stake.loss:.0f} | {stake.friction:.2f} |" in text


def test_it_survives_a_round_trip_through_json() -> None:
    result = judged("shared", FAILED, intent="wire")
    assert msgspec.json.decode(msgspec.json.encode(result), type=Assurance) == result
    assert msgspec.json.decode(msgspec.json.encode(DEFAULT_PRIORS), type=TrustPriors) == DEFAULT_PRIORS
