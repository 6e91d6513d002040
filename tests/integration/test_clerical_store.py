"""Clerical review in a real store: questions drawn, answers kept, taken back, and what they say of the probabilities."""

from __future__ import annotations

import io
from datetime import timedelta

import msgspec
import pytest
from rich.console import Console
from tests.linking_rig import NOW, activated

from firstring import limits
from firstring.bench.people import COLUMNS, population
from firstring.bulk.versions.training import note_report
from firstring.errors import BadInput
from firstring.identity.canonical.record import CanonicalRecord, canonical_record
from firstring.identity.model.labels import LabelReport
from firstring.ports import SystemRandom
from firstring.steward.showing import show_effect
from firstring.store.database import Database, Tenant
from firstring.store.identity import review
from firstring.store.identity.hotkeys import hot_keys
from firstring.store.identity.records import apply_records, delete_records

PHONES = ("mobile_phone", "home_phone", "work_phone")


def people(count: int) -> list[CanonicalRecord]:
    found = []
    for record in population(5, count):
        raw = dict(zip(COLUMNS, record.row, strict=True))
        fields = {name: value for name, value in raw.items() if value and name not in PHONES}
        fields["phone"] = [raw[name] for name in PHONES if raw[name]]
        found.append(canonical_record(fields, country=raw["country"] or "US"))
    return found


async def stored(database: Database, tenant: Tenant, count: int = 150) -> list[CanonicalRecord]:
    records = people(count)
    await activated(database, tenant, records)
    await apply_records(database, tenant, "crm", records, now=NOW)
    return records


async def test_questions_answers_and_their_effect(database: Database, tenant: Tenant) -> None:
    await stored(database, tenant)
    random = SystemRandom(1)
    seen: set[tuple[int, int]] = set()
    for number in range(12):
        question = await review.next_question(database, tenant, "ann", random=random, now=NOW)
        assert question is not None
        again = await review.next_question(database, tenant, "ann", random=random, now=NOW)
        assert again == question, "a question stays with the one who looks at it"
        pair = (question.left.record_id, question.right.record_id)
        assert pair not in seen
        seen.add(pair)
        assert question.keys, "drawn pairs meet under a key"
        assert question.why
        answer: review.Answer = "unknown" if number == 0 else "same" if question.pair.probability >= 0.95 else "different"
        async with database.transaction(tenant.tenant_id) as connection:
            given = await review.give_answer(connection, tenant, question.question_id, answer, by="ann", now=NOW)
        assert (given.left_record, given.right_record) == pair
    async with database.transaction(tenant.tenant_id) as connection:
        found = await review.effect(connection, tenant)
        exported = await review.labels(connection, tenant)
    assert sum(found.answers.values()) == 12
    assert found.answers["unknown"] == 1
    assert not found.disagreements, "every answer was what the model says"
    assert sum(one.answers for one in found.bins) == 11
    assert len(exported) == 12
    assert {one.left_source for one in exported} == {"crm"}
    assert all(0 < one.sampling_probability <= 1 and one.pool_pairs > 0 for one in exported)


async def test_two_reviewers_look_at_different_pairs_until_one_leaves(database: Database, tenant: Tenant) -> None:
    await stored(database, tenant)
    random = SystemRandom(2)
    ann = await review.next_question(database, tenant, "ann", random=random, now=NOW)
    bob = await review.next_question(database, tenant, "bob", random=random, now=NOW)
    assert ann is not None
    assert bob is not None
    assert ann.question_id != bob.question_id
    later = NOW + timedelta(seconds=limits.REVIEW_TAKEN_S + 1)
    third = await review.next_question(database, tenant, "zoe", random=random, now=later)
    assert third is not None
    assert third.question_id == ann.question_id


async def test_an_answer_is_taken_back_and_asked_again(database: Database, tenant: Tenant) -> None:
    await stored(database, tenant)
    question = await review.next_question(database, tenant, "ann", random=SystemRandom(3), now=NOW)
    assert question is not None
    async with database.transaction(tenant.tenant_id) as connection:
        given = await review.give_answer(connection, tenant, question.question_id, "household", by="ann", now=NOW)
        with pytest.raises(BadInput, match="no such question"):
            await review.give_answer(connection, tenant, question.question_id, "same", by="ann", now=NOW)
        undone = await review.undo_answer(connection, tenant, None, by="ann", now=NOW)
        with pytest.raises(BadInput) as error:
            await review.undo_answer(connection, tenant, given.answer_id, by="ann", now=NOW)
        assert (await review.effect(connection, tenant)).answers == {}
    assert error.value.code == "unknown_answer"
    assert undone.answer_id == given.answer_id
    asked = await review.next_question(database, tenant, "ann", random=SystemRandom(3), now=NOW + timedelta(seconds=1))
    pairs = []
    for _ in range(limits.REVIEW_QUESTIONS + 1):
        assert asked is not None
        pairs.append((asked.left.record_id, asked.right.record_id))
        if asked.question_id == undone.question_id:
            break
        async with database.transaction(tenant.tenant_id) as connection:
            await review.give_answer(connection, tenant, asked.question_id, "unknown", by="ann", now=NOW)
        asked = await review.next_question(database, tenant, "ann", random=SystemRandom(4), now=NOW)
    assert (question.left.record_id, question.right.record_id) in pairs


async def test_answers_that_contradict_the_model_are_listed(database: Database, tenant: Tenant) -> None:
    await stored(database, tenant)
    question = await review.next_question(database, tenant, "ann", random=SystemRandom(5), now=NOW)
    assert question is not None
    wrong: review.Answer = "different" if question.pair.probability >= 0.95 else "same"
    async with database.transaction(tenant.tenant_id) as connection:
        await review.give_answer(connection, tenant, question.question_id, wrong, by="ann", now=NOW)
        [one] = (await review.effect(connection, tenant)).disagreements
    assert (one.answer, one.made_by) == (wrong, "ann")
    assert one.left.startswith("crm:r")
    assert one.probability == pytest.approx(question.pair.probability, abs=1e-5)


async def test_what_a_version_learned_from_answers_is_shown(database: Database, tenant: Tenant) -> None:
    records = people(60)
    active = await activated(database, tenant, records)
    report = LabelReport(200, 90, "weights", {"nothing": 0.4, "weights": 0.2}, (), (), 0.95, 12.0, 3.0)
    async with database.transaction(tenant.tenant_id) as connection:
        assert (await review.effect(connection, tenant)).trained is None
        await note_report(connection, tenant, active.model_id, {"labels": msgspec.to_builtins(report)})
        found = await review.effect(connection, tenant)
    assert found.trained is not None
    assert (found.trained.version, found.trained.state, found.trained.report) == (active.version, "active", report)
    console = Console(file=io.StringIO(), width=300)
    show_effect(console, found)
    text = console.file.getvalue()  # type: ignore[attr-defined]
    assert "learned from 200 answers (weights): of the pairs compared 12 come to 0.95 or more, 3 fall below" in text


async def test_records_that_go_take_their_questions_with_them(database: Database, tenant: Tenant) -> None:
    records = await stored(database, tenant, 60)
    question = await review.next_question(database, tenant, "ann", random=SystemRandom(6), now=NOW)
    assert question is not None
    await delete_records(database, tenant, "crm", [one.record_id for one in records], now=NOW)
    async with database.transaction(tenant.tenant_id) as connection:
        with pytest.raises(BadInput) as error:
            await review.give_answer(connection, tenant, question.question_id, "same", by="ann", now=NOW)
    assert error.value.code == "unknown_question"
    assert await review.next_question(database, tenant, "ann", random=SystemRandom(6), now=NOW) is None


async def test_without_a_model_nothing_can_be_asked(database: Database, tenant: Tenant) -> None:
    with pytest.raises(BadInput) as error:
        await review.next_question(database, tenant, "ann", random=SystemRandom(1), now=NOW)
    assert (error.value.code, error.value.status) == ("no_model", 409)


async def test_no_table_of_review_holds_a_plain_value(database: Database, tenant: Tenant, superuser: object) -> None:
    records = await stored(database, tenant, 60)
    question = await review.next_question(database, tenant, "ann", random=SystemRandom(8), now=NOW)
    assert question is not None
    async with database.transaction(tenant.tenant_id) as connection:
        await review.give_answer(connection, tenant, question.question_id, "same", by="ann", now=NOW)
        rows = [str(dict(row)) for table in ("clerical_question", "clerical_answer")
                for row in await connection.fetch(f"select * from {table}")]  # fmt: skip
    text = "\n".join(rows).lower()
    for record in records:
        for value in (record.record_id, *record.fields.get("phone", []), record.fields.get("family_name")):
            assert value is None or str(value).lower() not in text


async def test_identifiers_that_point_at_nobody_are_found_in_the_store(database: Database, tenant: Tenant) -> None:
    records = people(150)
    shared = [
        canonical_record({**{name: value for name, value in one.fields.items() if isinstance(value, str)},
                          "record_id": f"s{number}", "phone": "+12127365001"}, country="US")
        for number, one in enumerate(records[::5])
    ]  # fmt: skip
    await apply_records(database, tenant, "crm", [*records, *shared], now=NOW)
    async with database.transaction(tenant.tenant_id) as connection:
        hidden = await hot_keys(connection, tenant, random=SystemRandom(1))
        shown = await hot_keys(connection, tenant, random=SystemRandom(1), show_values=True)
    assert [one.kind for one in hidden] == ["strangers"]
    assert hidden[0].points_at_nobody
    assert hidden[0].records == len(shared)
    assert hidden[0].value == ""
    assert shown[0].value == "+12127365001"
