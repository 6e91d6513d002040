"""Decisions of stewards: they hold whatever comes and goes, contradict nothing, and come undone without a trace."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.integration.test_linking_store import HOT, fields_of_one
from tests.linked_store import NOW, SOURCE, by_definition, linked_tenant, record, stored, version_of

from firstring.errors import BadInput
from firstring.identity.canonical.record import CanonicalRecord
from firstring.store.database import Database, Tenant
from firstring.store.identity.decisions import decide_link, decisions_of, revoke_decision, unmerge
from firstring.store.identity.records import apply_records, delete_records, external_key, withdraw_source
from firstring.store.queries import sql

numbers = st.integers(0, 7)
pairs = st.tuples(numbers, numbers)
steps = st.lists(
    st.one_of(
        st.dictionaries(numbers, fields_of_one, min_size=1, max_size=6),
        st.tuples(st.lists(numbers, min_size=1, max_size=7, unique=True), fields_of_one).map(
            lambda drawn: dict.fromkeys(*drawn)
        ),
        st.lists(numbers, min_size=1, max_size=3, unique=True),
        st.tuples(st.sampled_from(["must", "cannot"]), pairs),
        st.tuples(st.just("revoke"), st.integers(0, 3)),
    ),
    min_size=3,
    max_size=9,
)


def contradict(decisions: list[tuple[str, str, str]]) -> bool:
    """Whether a cannot-link stands between records that must-links join."""
    groups: list[set[str]] = []
    for kind, one, other in decisions:
        if kind == "must":
            joined = [group for group in groups if group & {one, other}]
            groups = [group for group in groups if group not in joined] + [{one, other}.union(*joined)]
    return any(kind == "cannot" and any({one, other} <= group for group in groups) for kind, one, other in decisions)


@settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))
@given(steps=steps)
async def test_decisions_hold_through_everything(database: Database, steps: list[Any]) -> None:
    tenant = await linked_tenant(database, block_records=HOT)
    active = await version_of(database, tenant)
    held: dict[str, CanonicalRecord] = {}
    decisions: dict[int, tuple[str, str, str]] = {}
    for step in steps:
        if isinstance(step, dict):
            batch = [record(str(number), **fields) for number, fields in step.items()]
            await apply_records(database, tenant, SOURCE, batch, now=NOW)
            held.update((one.record_id, one) for one in batch)
        elif isinstance(step, list):
            await delete_records(database, tenant, SOURCE, [str(number) for number in step], now=NOW)
            for number in step:
                held.pop(str(number), None)
        elif step[0] == "revoke":
            if decisions:
                chosen = sorted(decisions)[step[1] % len(decisions)]
                await revoke_decision(database, tenant, chosen, by="ann", reason="wrong", now=NOW)
                del decisions[chosen]
        else:
            await _decide(database, tenant, (step[0], str(step[1][0]), str(step[1][1])), held, decisions)
        expected = by_definition(tenant, active, held, decisions.values())
        assert await stored(database, tenant, held) == expected


async def _decide(
    database: Database,
    tenant: Tenant,
    decision: tuple[str, str, str],
    held: dict[str, CanonicalRecord],
    decisions: dict[int, tuple[str, str, str]],
) -> None:
    kind, one, other = decision
    wanted = None
    if not {one, other} <= held.keys():
        wanted = "unknown_record"
    elif one == other:
        wanted = "decision_same_record"
    elif contradict([*decisions.values(), decision]):
        wanted = "decisions_contradict"
    left, right = (SOURCE, one), (SOURCE, other)
    said: dict[str, Any] = {"by": "ann", "reason": "called them", "now": NOW}
    if wanted is not None:
        with pytest.raises(BadInput) as refused:
            await decide_link(database, tenant, kind, left, right, **said)  # type: ignore[arg-type]
        assert refused.value.code == wanted
        return
    made = await decide_link(database, tenant, kind, left, right, **said)  # type: ignore[arg-type]
    decisions[made.decision_ids[0]] = decision


async def numbers_of(database: Database, tenant: Tenant, names: list[str]) -> tuple[int, list[int]]:
    """The person of records, which is one, and their ids."""
    async with database.transaction(tenant.tenant_id) as connection:
        rows = await connection.fetch(
            "select record_id, person_id from record where external_key = any ($1::bytea[])",
            [external_key(tenant.keys, SOURCE, name) for name in names],
        )
    assert len({row["person_id"] for row in rows}) == 1
    return rows[0]["person_id"], [row["record_id"] for row in rows]


def ann(record_id: str, **more: Any) -> CanonicalRecord:
    fields = {"given_name": "Ann", "family_name": "Lee", "birth_date": "1970-05-06", "phone": "+447911123401"}
    return record(record_id, **{**fields, **more})


async def test_unmerge_gives_what_never_merging_would_have(database: Database) -> None:
    tenant = await linked_tenant(database)
    active = await version_of(database, tenant)
    some = [ann("1", email="a@lee.org"), ann("2", city="York")]
    others = [ann("3", postcode="M1 1AE"), ann("4", postcode="M1 1AE", email="a@lee.org"), ann("5", middle_name="Q")]
    held = {one.record_id: one for one in [*some, *others]}
    await apply_records(database, tenant, SOURCE, list(held.values()), now=NOW)
    before = await stored(database, tenant, held)
    assert before.persons == {frozenset("12345")}
    person, ids = await numbers_of(database, tenant, ["1", "2"])
    done = await unmerge(database, tenant, person, ids, by="ann", reason="mother and daughter", now=NOW)
    assert done.split == 1
    after = await stored(database, tenant, held)
    alone = [by_definition(tenant, active, {one.record_id: one for one in part}).persons for part in (some, others)]
    assert after.persons == alone[0] | alone[1]
    assert len(await decisions_of(database, tenant)) == len(done.decision_ids)
    for decision in done.decision_ids:
        await revoke_decision(database, tenant, decision, by="ann", reason="it was one", now=NOW)
    assert await stored(database, tenant, held) == before
    assert (await numbers_of(database, tenant, list(held)))[0] == person


async def test_a_contradiction_over_several_records_names_the_decision(database: Database) -> None:
    tenant = await linked_tenant(database)
    people = [record(str(number), given_name=f"N{number}x", family_name="Ray") for number in range(4)]
    await apply_records(database, tenant, SOURCE, people, now=NOW)
    names = [(SOURCE, str(number)) for number in range(4)]
    who = {"by": "ann", "reason": "seen", "now": NOW}
    first = await decide_link(database, tenant, "must", names[0], names[1], **who)  # type: ignore[arg-type]
    assert first == await decide_link(database, tenant, "must", names[1], names[0], **who) or first.merged  # type: ignore[arg-type]
    apart = await decide_link(database, tenant, "cannot", names[0], names[3], **who)  # type: ignore[arg-type]
    await decide_link(database, tenant, "must", names[1], names[2], **who)  # type: ignore[arg-type]
    with pytest.raises(BadInput) as refused:
        await decide_link(database, tenant, "must", names[2], names[3], **who)  # type: ignore[arg-type]
    assert refused.value.code == "decisions_contradict"
    assert refused.value.where == {"decision": apart.decision_ids[0]}
    with pytest.raises(BadInput, match="one person by"):
        await decide_link(database, tenant, "cannot", names[0], names[2], **who)  # type: ignore[arg-type]
    assert [one.kind for one in await decisions_of(database, tenant)] == ["must", "cannot", "must"]


async def test_a_copy_that_follows_can_not_be_parted_alone(database: Database) -> None:
    tenant = await linked_tenant(database)
    copies = [ann(str(number)) for number in range(8)]
    await apply_records(database, tenant, SOURCE, copies, now=NOW)
    person, ids = await numbers_of(database, tenant, [str(number) for number in range(8)])
    with pytest.raises(BadInput) as refused:
        await unmerge(database, tenant, person, ids[:5], by="ann", reason="no", now=NOW)  # one follows at least
    assert refused.value.code == "unmerge_copies"
    with pytest.raises(BadInput, match="nothing to part"):
        await unmerge(database, tenant, person, ids, by="ann", reason="no", now=NOW)


async def test_a_source_withdraws_and_what_it_held_together_comes_apart(database: Database) -> None:
    tenant = await linked_tenant(database, records=50)
    left, right = (
        record("1", full_name="Ann Lee", phone="+447911123401"),
        record("2", full_name="Ann Lee", email="a@lee.org"),
    )
    await apply_records(database, tenant, SOURCE, [left, right], now=NOW)
    bridge = record("b", full_name="Ann Lee", email="a@lee.org", phone="+447911123401")
    alone = await stored(database, tenant, ["1", "2"])
    await apply_records(database, tenant, "broker", [bridge], now=NOW)
    await numbers_of(database, tenant, ["1", "2"])
    told: list[int] = []
    done = await withdraw_source(database, tenant, "broker", clock=lambda: NOW, told=told.append)
    assert (done.deleted, told) == (1, [1])
    assert await stored(database, tenant, ["1", "2"]) == alone
    with pytest.raises(BadInput, match="no such source"):
        await withdraw_source(database, tenant, "nobody", clock=lambda: NOW, told=told.append)


async def test_a_plan_of_the_first_day_finds_many_decisions_without_looking_through_them(database: Database) -> None:
    """A program keeps its plans: one made when nobody had decided anything looked through all decisions for each."""
    tenant = await linked_tenant(database, block_records=HOT)
    await apply_records(database, tenant, SOURCE, [record("1", given_name="Ann", family_name="Lee")], now=NOW)
    many = [number.to_bytes(16, "big") for number in range(1_200)]
    async with database.transaction(tenant.tenant_id) as connection:
        await connection.fetchrow(sql("linking", "context"), tenant.tenant_id, NOW)
        await connection.execute(f"prepare among (int, bytea[]) as {sql('linking', 'decisions_among')}")
        await connection.execute(f"execute among ({tenant.tenant_id}, '{{}}')")
        await connection.execute(
            "insert into link_decision"
            " (tenant_id, kind, left_source, left_key, right_source, right_key, made_by, reason, made_at)"
            " select $1, 'cannot', s.source_id, k, s.source_id, $3, 'eve', 'test', $4"
            " from source s, unnest($2::bytea[]) k where s.tenant_id = $1",
            tenant.tenant_id, many[1:], many[0], NOW,
        )  # fmt: skip
        keys = ", ".join(f"decode('{one.hex()}', 'hex')" for one in many)
        among = f"execute among ({tenant.tenant_id}, array[{keys}])"
        found = await connection.fetchval(f"explain (analyze, format json) {among}")
        await connection.execute("deallocate among")

    def looked_at(node: dict[str, Any]) -> float:
        removed = sum(count for name, count in node.items() if name.startswith("Rows Removed"))
        return float((node["Actual Rows"] + removed) * node["Actual Loops"]) + sum(map(looked_at, node.get("Plans", [])))

    [plan] = json.loads(found)
    assert plan["Plan"]["Actual Rows"] == len(many) - 1
    assert looked_at(plan["Plan"]) < 20 * len(many)
