"""Stewards decide: by name, by person, out of answers, about merges that a guard holds; and take it back."""

from __future__ import annotations

import io
from typing import Any

import pytest
from rich.console import Console
from tests.integration.test_clerical_store import stored
from tests.linking_rig import NOW, activated

from firstring.errors import BadInput
from firstring.identity.canonical.record import CanonicalRecord, canonical_record
from firstring.ports import SystemClock, SystemRandom
from firstring.steward.asking import review_at_terminal
from firstring.store import deciding
from firstring.store.database import Database, Tenant
from firstring.store.identity import review
from firstring.store.identity.explaining import why_pair, why_person
from firstring.store.identity.records import apply_records
from firstring.store.identity.verdicts import all_decisions, held_merges

ANN = {"given_name": "Ann", "family_name": "Lee", "birth_date": "1971-06-24", "phone": "+447911123401",
       "email": "ann@lee.org", "postcode": "M1 1AE", "city": "Manchester"}  # fmt: skip
WHO: dict[str, Any] = {"by": "eve", "because": "seen the passport", "now": NOW}


def record(name: str, **fields: Any) -> CanonicalRecord:
    return canonical_record({"record_id": name, **fields}, country="GB")


def _others(count: int) -> list[CanonicalRecord]:
    return [
        record(f"o{n}", given_name=f"Gil{n}", family_name=f"Ray{n}", phone=f"+44791{n:07d}", email=f"g{n}@ray{n}.org",
               birth_date=f"{1930 + n % 60}-0{1 + n % 9}-1{n % 9}", postcode=f"M{n % 90} {n % 9}AA", city=f"Town{n}")
        for n in range(count)
    ]  # fmt: skip


async def _persons(database: Database, tenant: Tenant, records: list[CanonicalRecord]) -> dict[str, int]:
    """Applied under an active model; the person of each record by its name."""
    await activated(database, tenant, [*records, *_others(300)])
    await apply_records(database, tenant, "crm", records, now=NOW)
    return await persons_now(database, tenant)


async def persons_now(database: Database, tenant: Tenant) -> dict[str, int]:
    async with database.transaction(tenant.tenant_id) as connection:
        rows = await connection.fetch("select person_id, wrapped_key, sealed from record")
    return {tenant.keys.open(row["wrapped_key"], row["sealed"])["record_id"]: row["person_id"] for row in rows}


THREE = [record("1", **ANN), record("2", **(ANN | {"email": "ann.lee@work.org"})),
         record("3", **(ANN | {"given_name": "Bob", "birth_date": "1969-02-03", "email": "bob@lee.org"}))]  # fmt: skip


async def test_must_and_cannot_by_record_and_back(database: Database, tenant: Tenant) -> None:
    before = await _persons(database, tenant, THREE)
    assert before["1"] == before["2"] != before["3"]
    made = await deciding.decide_pair(database, tenant, "must", "crm:1", "crm:3", **WHO)
    assert made.merged == 1
    assert len(set((await persons_now(database, tenant)).values())) == 1
    async with database.transaction(tenant.tenant_id) as connection:
        why = await why_pair(connection, tenant, "crm:1", "crm:3")
        person = await why_person(connection, tenant, before["1"])
        [decision] = await all_decisions(connection, tenant, revoked=False, at_most=10)
    assert why.together
    assert why.text[1] == "eve decided on 2026-11-01 that they are one person: seen the passport"
    assert any(link.decided for link in person.links)
    assert {decision.left, decision.right} == {"crm:1", "crm:3"}
    done = await deciding.revoke(database, tenant, made.decision_ids[0], **WHO)
    assert done.split == 1
    assert await persons_now(database, tenant) == before or len(set((await persons_now(database, tenant)).values())) == 2
    async with database.transaction(tenant.tenant_id) as connection:
        assert await all_decisions(connection, tenant, revoked=False, at_most=10) == []
        [ended] = await all_decisions(connection, tenant, revoked=True, at_most=10)
    assert (ended.revoked_by, ended.revoked_reason) == ("eve", "seen the passport")


async def test_a_must_link_of_two_persons_joins_the_whole_of_both(database: Database, tenant: Tenant) -> None:
    """Each of the four records contradicts the others' suffix: what a model makes of one link would leave some behind."""
    before = await _persons(database, tenant, JUNIOR)
    assert len({*before.values()}) == 2
    records = await deciding.decide_pair(database, tenant, "must", "crm:s1", "crm:j1", **WHO)
    now = await persons_now(database, tenant)
    assert now["s1"] == now["j1"]
    assert {*records.apart} == {*now.values()} - {now["s1"]} != set(), "who did not come along is told"
    await deciding.revoke(database, tenant, records.decision_ids[0], **WHO)
    now = await persons_now(database, tenant)
    made = await deciding.decide_pair(database, tenant, "must", str(now["s1"]), str(now["j1"]), **WHO)
    assert (made.merged, made.split, made.apart) == (1, 0, ())
    assert len({*(await persons_now(database, tenant)).values()}) == 1
    for number in made.decision_ids:
        await deciding.revoke(database, tenant, number, **WHO)
    assert len({*(await persons_now(database, tenant)).values()}) == 2


async def test_a_must_link_of_persons_between_whom_a_cannot_link_stands_is_refused(
    database: Database, tenant: Tenant
) -> None:
    before = await _persons(database, tenant, JUNIOR)
    made = await deciding.decide_pair(database, tenant, "cannot", "crm:s2", "crm:j2", **WHO)
    with pytest.raises(BadInput) as error:
        await deciding.decide_pair(database, tenant, "must", str(before["s1"]), str(before["j1"]), **WHO)
    assert (error.value.code, error.value.status) == ("decisions_contradict", 409)
    assert error.value.where["decision"] == made.decision_ids[0]
    assert await persons_now(database, tenant) == before
    async with database.transaction(tenant.tenant_id) as connection:
        assert len(await all_decisions(connection, tenant, revoked=False, at_most=10)) == 1


async def test_without_a_version_a_decision_says_that_it_waits(database: Database, tenant: Tenant) -> None:
    await apply_records(database, tenant, "crm", THREE, now=NOW)
    assert (await deciding.decide_pair(database, tenant, "must", "crm:1", "crm:3", **WHO)).waits


async def test_cannot_between_persons_keeps_every_likely_pair_apart(database: Database, tenant: Tenant) -> None:
    before = await _persons(database, tenant, THREE)
    await deciding.decide_pair(database, tenant, "cannot", str(before["1"]), str(before["3"]), **WHO)
    await apply_records(
        database, tenant, "crm", [record("4", **(ANN | {"given_name": "Bob", "birth_date": "1969-02-03"}))], now=NOW
    )
    now = await persons_now(database, tenant)
    assert now["1"] == now["2"] != now["3"]
    with pytest.raises(BadInput) as error:
        await deciding.decide_pair(database, tenant, "cannot", str(now["1"]), "crm:2", **WHO)
    assert (error.value.code, error.value.status) == ("same_person", 409)


async def test_a_record_is_taken_out(database: Database, tenant: Tenant) -> None:
    before = await _persons(database, tenant, THREE)
    made = await deciding.take_out(database, tenant, before["1"], "crm:2", **WHO)
    assert made.split == 1
    now = await persons_now(database, tenant)
    assert len({now["1"], now["2"], now["3"]}) == 3
    with pytest.raises(BadInput) as error:
        await deciding.take_out(database, tenant, now["1"], "crm:3", **WHO)
    assert error.value.code == "unknown_record"


JUNIOR = [
    record(f"{suffix[0].lower()}{number}", **(ANN | {"suffix": suffix, "email": email}))
    for suffix in ("Sr", "Jr")
    for number, email in ((1, "ann@lee.org"), (2, "a@work.org"))
]


@pytest.mark.parametrize("accept", [True, False])
async def test_a_held_merge_is_settled(database: Database, tenant: Tenant, accept: bool) -> None:
    before = await _persons(database, tenant, JUNIOR)
    assert before["s1"] == before["s2"] != before["j1"] == before["j2"]
    async with database.transaction(tenant.tenant_id) as connection:
        [held] = await held_merges(connection, tenant)
        why = await why_pair(connection, tenant, "crm:s1", "crm:j1")
    assert held.guard == "suffix_contradicts"
    assert any("held back: One is called Jr" in text for text in why.text)
    with pytest.raises(BadInput) as error:
        await deciding.settle_held(database, tenant, before["s1"], 10**12, accept=accept, **WHO)
    assert error.value.code == "unknown_held"
    made = await deciding.settle_held(database, tenant, held.left_person, held.right_person, accept=accept, **WHO)
    now = await persons_now(database, tenant)
    assert len(set(now.values())) == (1 if accept else 2)
    assert now["s1"] == now["s2"]
    async with database.transaction(tenant.tenant_id) as connection:
        assert await held_merges(connection, tenant) == []
        decisions = await all_decisions(connection, tenant, revoked=False, at_most=100)
    assert {one.kind for one in decisions} == {"must" if accept else "cannot"}
    for number in made.decision_ids:
        await deciding.revoke(database, tenant, number, **WHO)
    async with database.transaction(tenant.tenant_id) as connection:
        assert len(await held_merges(connection, tenant)) == 1, "held again once nobody says otherwise"


async def test_answers_become_decisions_and_go_with_them(database: Database, tenant: Tenant) -> None:
    await stored(database, tenant, 80)
    question = await review.next_question(database, tenant, "eve", random=SystemRandom(1), now=NOW)
    assert question is not None
    given = await deciding.answer(database, tenant, question.question_id, "different", by="eve", now=NOW, decide=True)
    async with database.transaction(tenant.tenant_id) as connection:
        [made] = await all_decisions(connection, tenant, revoked=False, at_most=10)
        why = await why_pair(connection, tenant, made.left, made.right)
    assert (made.kind, made.made_by, made.reason) == ("cannot", "eve", "clerical review: different")
    assert not why.together
    undone = await deciding.undo(database, tenant, given.answer_id, by="eve", now=NOW)
    assert undone.decision_id == made.decision_id
    async with database.transaction(tenant.tenant_id) as connection:
        assert await all_decisions(connection, tenant, revoked=False, at_most=10) == []


async def test_an_answer_does_not_own_a_decision_that_was_there(database: Database, tenant: Tenant) -> None:
    await stored(database, tenant, 80)
    question = await review.next_question(database, tenant, "eve", random=SystemRandom(1), now=NOW)
    assert question is not None
    left, right = (f"{one.source}:{one.name}" for one in (question.left, question.right))
    await deciding.decide_pair(database, tenant, "cannot", left, right, **WHO)
    given = await deciding.answer(database, tenant, question.question_id, "household", by="eve", now=NOW, decide=True)
    await deciding.undo(database, tenant, given.answer_id, by="eve", now=NOW)
    async with database.transaction(tenant.tenant_id) as connection:
        assert len(await all_decisions(connection, tenant, revoked=False, at_most=10)) == 1


async def test_review_at_a_terminal(database: Database, tenant: Tenant) -> None:
    await stored(database, tenant, 80)
    keys = iter("xshu?dq")
    console = Console(file=io.StringIO(), width=150)
    answers = await review_at_terminal(
        database, tenant, by="eve", decide=False, console=console, key=lambda: next(keys), clock=SystemClock(),
        random=SystemRandom(2),
    )  # fmt: skip
    assert answers == 3
    async with database.transaction(tenant.tenant_id) as connection:
        found = await review.effect(connection, tenant)
    assert found.answers == {"same": 1, "unknown": 1, "different": 1}
    text = console.file.getvalue()  # type: ignore[attr-defined]
    assert "asked because: " in text
    assert "taken back" in text
    assert "one person, " in text
    nothing = await review_at_terminal(
        database, tenant, by="eve", decide=False, console=console, key=lambda: "", clock=SystemClock(),
        random=SystemRandom(2),
    )  # fmt: skip
    assert nothing == 0
