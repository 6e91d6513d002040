"""A record with a number and no name is a trace of somebody who has that number, not one more person behind it."""

from __future__ import annotations

from datetime import UTC, datetime

from firstring.contact import Evidence, FanOut, Identifier, Read, RecordRead
from firstring.identity.caller.resolver import resolve
from firstring.identity.caller.weights import Weights

PHONE = Identifier("phone", "+12025550123")
MAIL = Identifier("email", "a@example.com")
NOW = datetime(2026, 5, 1, tzinfo=UTC)


def record(record_id: int, person_id: int, matched: tuple[Identifier, ...] = (PHONE,), **fields: str) -> RecordRead:
    return RecordRead(record_id, 1, person_id, "crm", {"phone": [PHONE.value], **fields}, matched, last_seen=NOW)


def named(record_id: int, person_id: int, given: str, **more: str) -> RecordRead:
    return record(record_id, person_id, given_name=given, family_name="Berg", **more)


def probabilities(*records: RecordRead, evidence: Evidence | None = None) -> dict[int, float]:
    people = len({one.person_id for one in records})
    read = Read(records=records, fan_out=(FanOut(PHONE, len(records), people),))
    resolution = resolve(evidence or Evidence((PHONE,)), read, weights=Weights(), now=NOW)
    return {candidate.person_id: candidate.probability for candidate in resolution.candidates}


def test_a_trace_beside_one_named_person_changes_nothing() -> None:
    alone = probabilities(named(1, 10, "Ida"))
    assert probabilities(named(1, 10, "Ida"), record(2, 20)) == alone


def test_a_trace_beside_a_household_changes_nothing() -> None:
    couple = probabilities(named(1, 10, "Ida"), named(2, 11, "Per"))
    assert probabilities(named(1, 10, "Ida"), named(2, 11, "Per"), record(3, 20)) == couple


def test_a_trace_is_told_with_those_it_may_be() -> None:
    read = Read(records=(named(1, 10, "Ida"), named(2, 11, "Per"), record(3, 20)), fan_out=(FanOut(PHONE, 3, 3),))
    assert resolve(Evidence((PHONE,)), read, weights=Weights(), now=NOW).unnamed == {20: (10, 11)}


def test_only_traces_are_candidates_themselves() -> None:
    assert set(probabilities(record(1, 20))) == {20}


def test_a_trace_with_an_identifier_of_its_own_stays_a_candidate() -> None:
    evidence = Evidence((PHONE, MAIL))
    assert set(probabilities(named(1, 10, "Ida"), record(2, 20, (PHONE, MAIL)), evidence=evidence)) == {10, 20}


def test_a_confirmed_trace_stays_a_candidate() -> None:
    evidence = Evidence((PHONE,), confirmed_person=20)
    assert set(probabilities(named(1, 10, "Ida"), record(2, 20), evidence=evidence)) == {10, 20}
