"""The one cheapest question: what tells most for the time it takes, and what nobody may offer to a stranger."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from firstring.contact import ContactPrior, Evidence, Identifier, Read, RecordRead, Resolution
from firstring.identity.caller.question import INFORMATION_MIN
from firstring.identity.caller.resolver import resolve
from firstring.identity.caller.weights import DEFAULT, Weights

NOW = datetime(2026, 11, 1, tzinfo=UTC)
PHONE = Identifier("phone", "+12025550123")


def record(record_id: int, given: str, family: str = "Smith", **more: str) -> RecordRead:
    fields = {"given_name": given, "family_name": family, **more}
    return RecordRead(record_id, 1, record_id, "crm", fields, (PHONE,), False, NOW - timedelta(days=9))


def who(
    *records: RecordRead, weights: Weights = DEFAULT, priors: dict[int, ContactPrior] | None = None, **claims: str
) -> Resolution:
    return resolve(Evidence((PHONE,), claims), Read(records=records), weights=weights, now=NOW, priors=priors or {})


def test_two_names_of_one_home_are_offered_and_said_to_settle_it() -> None:
    question = who(record(1, "Ann", birth_date="1971-06-24"), record(2, "Bob", birth_date="1969-01-02")).question
    assert question is not None
    assert (question.field, question.choices) == ("given_name", ("Ann", "Bob"))
    assert {(one.answer, one.person_id) for one in question.settles} == {("Ann", 1), ("Bob", 2)}
    assert all(one.probability > 0.9 for one in question.settles)
    assert question.information > INFORMATION_MIN
    assert question.seconds == DEFAULT["question_given_name_s"]
    assert "%" in question.reason


def test_names_of_strangers_on_one_number_are_not_offered() -> None:
    question = who(record(1, "Ann"), record(2, "Carl", "Young")).question
    assert question is not None
    assert (question.field, question.choices, question.text) == ("given_name", (), "May I have your first name?")


def test_a_father_and_his_son_of_one_name_are_asked_for_their_birth_date_which_is_not_offered() -> None:
    question = who(record(1, "John", birth_date="1950-01-05"), record(2, "John", birth_date="1980-01-05")).question
    assert question is not None
    assert (question.field, question.choices) == ("birth_date", ())
    assert "19" not in question.text
    assert {one.answer for one in question.settles} == {"1950-01-05", "1980-01-05"}


def test_what_was_said_is_not_asked_again() -> None:
    twins = (record(1, "Ann", birth_date="1999-09-09"), record(2, "Ann", birth_date="1999-09-10"))
    question = who(*twins, given_name="Ann").question
    assert question is not None
    assert question.field == "birth_date"


def test_time_decides_between_questions_that_tell_as_much() -> None:
    pair = (record(1, "Ann", birth_date="1971-06-24"), record(2, "Bob", birth_date="1969-01-02"))
    dear = Weights({**DEFAULT.values, "question_given_name_s": 60.0})
    question = who(*pair, weights=dear).question
    assert question is not None
    assert question.field == "birth_date"


def test_the_last_order_settles_where_nothing_else_does() -> None:
    same = (record(1, "Ann", birth_date="1999-09-09"), record(2, "Ann", birth_date="1999-09-09"))
    priors = {place: ContactPrior(0.0, "", {"last_order": f"10{place}"}) for place in (1, 2)}
    # With hardly any relative on no file their names would tell nothing.
    alone = Weights({**DEFAULT.values, "unlisted_relative": 0.01})
    question = who(*same, priors=priors, weights=alone).question
    assert question is not None
    assert (question.field, question.choices) == ("last_order", ())
    assert {(one.answer, one.person_id) for one in question.settles} == {("101", 1), ("102", 2)}


@pytest.mark.parametrize("records", [(), (record(1, "Ann"),)])
def test_nothing_is_asked_where_an_answer_would_tell_little(records: tuple[RecordRead, ...]) -> None:
    certain = Weights({**DEFAULT.values, "relative_borrows": 0.001})
    assert who(*records, weights=certain).question is None
