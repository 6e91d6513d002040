"""The ring path's functions on a real server: what is read, who is claimed, what becomes of it."""

from __future__ import annotations

import asyncio
import uuid
from collections import Counter
from datetime import UTC, datetime, timedelta

import asyncpg
import pytest
from tests.making import agent_profile, contact, decision, new_id

from firstring import limits
from firstring.contact import Identifier
from firstring.ports import SystemRandom
from firstring.routing.may.packed import free_agents
from firstring.store.contacts import Contacts
from firstring.store.database import Database, Tenant
from firstring.store.ring import COMPOSITE, RingStore


async def ready_agents(contacts: Contacts, tenant: Tenant, number: int, *, voice: int = 1, **capacity: int) -> list[int]:
    agents = []
    for index in range(number):
        agent_id, _ = await contacts.put_agent(tenant, agent_profile(f"Agent {index}", voice=voice, **capacity))
        assert await contacts.set_presence(tenant, agent_id, "ready")
        agents.append(agent_id)
    return agents


async def add_record(
    database: Database,
    tenant: Tenant,
    identifiers: list[Identifier],
    *,
    person_id: int | None = None,
    last_seen: datetime | None = None,
    events: list[tuple[str, str | None, int]] = (),
) -> tuple[int, int]:
    """(record, person): a sealed record with its keys and events (name, issue kind, effect), an hour between them."""
    now = datetime.now(UTC)
    keys = [tenant.keys.blind(identifier.kind, identifier.value) for identifier in identifiers]
    wrapped, sealed = tenant.keys.seal({"full_name": "Jo Doe"})
    async with database.transaction(tenant.tenant_id) as connection:
        source_id = await connection.fetchval(
            "insert into source (tenant_id, name, created_at) values ($1, 'crm', $2) "
            "on conflict (tenant_id, name) do update set name = excluded.name returning source_id",
            tenant.tenant_id, now,
        )  # fmt: skip
        if person_id is None:
            person_id = await connection.fetchval(
                "insert into person (tenant_id, created_at) values ($1, $2) returning person_id", tenant.tenant_id, now
            )
        record_id = await connection.fetchval(
            "insert into record (tenant_id, source_id, external_key, content_key, person_id, keys, link_keys, wrapped_key,"
            " sealed, last_seen, created_at, updated_at) values ($1, $2, $3, $3, $4, $5, '{}', $6, $7, $8, $9, $9)"
            " returning record_id",
            tenant.tenant_id, source_id, uuid.uuid4().bytes, person_id, keys, wrapped, sealed, last_seen, now,
        )  # fmt: skip
        await connection.executemany(
            "insert into record_key (tenant_id, key, record_id) values ($1, $2, $3)",
            [(tenant.tenant_id, key, record_id) for key in keys],
        )
        for hours, (name, issue, effect) in enumerate(events):
            wrapped, sealed = tenant.keys.seal({"name": name, "issue_ref": "R1" if issue else None})
            await connection.execute(
                "insert into event (tenant_id, message_key, record_id, channel, occurred_at, received_at, issue_kind,"
                " issue_effect, wrapped_key, sealed) values ($1, $2, $3, 'web', $4, $4, $5, $6, $7, $8)",
                tenant.tenant_id, uuid.uuid4().bytes, record_id, now - timedelta(hours=len(events) - hours), issue, effect,
                wrapped, sealed,
            )  # fmt: skip
    return record_id, person_id


PHONE = Identifier("phone", "+12025550123")
EMAIL = Identifier("email", "jo@example.test")
PLACE = Identifier(COMPOSITE, "doe|1980-01-01|20500")


async def test_read_finds_nothing_for_an_unknown_caller(ring: RingStore, tenant: Tenant) -> None:
    read = await ring.read(tenant, [PHONE], "voice")
    assert read.records == read.touches == read.fan_out == read.agents == ()
    assert await ring.read(tenant, [], None) == read


async def test_read_opens_candidates_touches_issues_and_agents(
    ring: RingStore, contacts: Contacts, database: Database, tenant: Tenant
) -> None:
    [agent] = await ready_agents(contacts, tenant, 1, voice=3)
    events = [("Refund Requested", "refund", 1), *[(f"Page {n}", None, 0) for n in range(8)]]
    record, person = await add_record(database, tenant, [PHONE, EMAIL, PLACE], events=events)
    other, other_person = await add_record(database, tenant, [PHONE], last_seen=datetime.now(UTC))
    read = await ring.read(tenant, [PHONE, EMAIL, PLACE, Identifier("phone", "+12025550199")], "voice")
    by_id = {found.record_id: found for found in read.records}
    assert by_id.keys() == {record, other}
    assert by_id[record].matched == (EMAIL, PHONE)
    assert by_id[record].composite
    assert not by_id[other].composite
    assert by_id[record].fields == {"full_name": "Jo Doe"}
    assert by_id[record].source == "crm"
    assert {(hit.identifier, hit.records, hit.persons, hit.hot) for hit in read.fan_out} == {
        (PHONE, 2, 2, False),
        (EMAIL, 1, 1, False),
    }
    names = [touch.name for touch in read.touches]
    assert names == ["Page 7", "Page 6", "Page 5", "Page 4", "Page 3", "Refund Requested"]  # five, and the old issue
    assert read.touches[-1].issue_kind == "refund"
    assert {touch.person_id for touch in read.touches} == {person}
    assert [free.agent_id for free in free_agents(read.agents)] == [agent]  # once, with its three places
    assert await ring.read(tenant, [PHONE], None, persons=[other_person]) is not None
    confirmed = await ring.read(tenant, [], None, persons=[other_person])
    assert [found.record_id for found in confirmed.records] == [other]


async def test_a_confirmed_person_is_read_once(ring: RingStore, database: Database, tenant: Tenant) -> None:
    record, person = await add_record(database, tenant, [PHONE], events=[("Complaint", "complaint", 1)])
    read = await ring.read(tenant, [PHONE], None, persons=[person])
    assert [found.record_id for found in read.records] == [record]
    assert len(read.touches) == 1


async def test_a_merged_person_is_read_as_who_stayed(ring: RingStore, database: Database, tenant: Tenant) -> None:
    record, person = await add_record(database, tenant, [PHONE])
    async with database.transaction(tenant.tenant_id) as connection:
        merged = await connection.fetchval(
            "insert into person (tenant_id, merged_into, created_at) values ($1, $2, now()) returning person_id",
            tenant.tenant_id, person,
        )  # fmt: skip
    read = await ring.read(tenant, [], None, persons=[merged, person])
    assert [(found.record_id, found.person_id) for found in read.records] == [(record, person)]


async def test_a_hot_key_lists_nobody(ring: RingStore, database: Database, tenant: Tenant) -> None:
    keys = tenant.keys.blind(PHONE.kind, PHONE.value)
    async with database.transaction(tenant.tenant_id) as connection:
        await connection.executemany(
            "insert into record_key (tenant_id, key, record_id) values ($1, $2, $3)",
            [(tenant.tenant_id, keys, number) for number in range(1, limits.HOT_KEY_RECORDS + 50)],
        )
    read = await ring.read(tenant, [PHONE], None)
    assert read.records == ()
    [hit] = read.fan_out
    assert hit.hot
    assert hit.records == limits.HOT_KEY_RECORDS + 1  # counting stops there


async def test_candidates_are_cut_to_the_most_recent(ring: RingStore, database: Database, tenant: Tenant) -> None:
    start = datetime.now(UTC)
    people = []
    for number in range(limits.CANDIDATES + 3):
        _, person = await add_record(database, tenant, [PHONE], last_seen=start - timedelta(days=number))
        people.append(person)
    read = await ring.read(tenant, [PHONE], None)
    assert read.candidates_cut == 3
    assert {record.person_id for record in read.records} == set(people[: limits.CANDIDATES])


async def test_a_person_with_many_records_is_read_in_part_but_the_matching_one_always(
    ring: RingStore, database: Database, tenant: Tenant
) -> None:
    old = datetime(2001, 1, 1, tzinfo=UTC)
    record, person = await add_record(database, tenant, [PHONE], last_seen=old, events=[("Old Visit", None, 0)])
    for _ in range(5 * limits.RECORDS_PER_CANDIDATE):
        await add_record(database, tenant, [EMAIL], person_id=person, last_seen=datetime.now(UTC))
    read = await ring.read(tenant, [PHONE], None)
    assert len(read.records) == limits.RECORDS_PER_CANDIDATE
    assert record in {found.record_id for found in read.records}
    assert [touch.name for touch in read.touches] == ["Old Visit"]


async def test_claim_takes_the_first_free_agent_and_then_waits(ring: RingStore, contacts: Contacts, tenant: Tenant) -> None:
    first, second = await ready_agents(contacts, tenant, 2)
    got = [await ring.commit(tenant, decision(contact(), [first, second]), assignment_id=new_id()) for _ in range(3)]
    assert [(one.status, one.outcome, one.agent_id) for one in got] == [
        ("committed", "route", first),
        ("committed", "route", second),
        ("committed", "wait", None),
    ]
    assert got[0].agent_version == 1
    state = await ring.contact(tenant, got[2].contact_id)
    assert state is not None
    assert (state.state, state.revision) == ("waiting", 1)
    assert state.waiting_since is not None
    assert await ring.read(tenant, [], "voice") == await ring.read(tenant, [], None)  # nobody is free


async def test_a_repeated_commit_returns_what_was_committed(
    database: Database, contacts: Contacts, tenant: Tenant, superuser: asyncpg.Connection
) -> None:
    [agent] = await ready_agents(contacts, tenant, 1)
    one, assignment, now = new_id(), new_id(), datetime.now(UTC)
    arguments = (
        tenant.tenant_id, one, 1, "offered", "voice", b"k", "http", now, now, 0, "{}", None, [agent], False, assignment,
        0, now, b"cw", b"cs", 1.0, 1.0, "{}", b"w", b"sealed", "here",
    )  # fmt: skip
    first = await database.call("ring_commit", *arguments)
    again = await database.call("ring_commit", *arguments)
    assert first == again
    assert first is not None
    assert (first["status"], first["agent_id"], first["agent_version"]) == ("committed", agent, 1)
    assert first["assignment_id"] == assignment
    other = await database.call("ring_commit", *arguments[:23], b"other", "here")
    assert other is not None
    assert other["status"] == "stale"
    counts = await superuser.fetchrow(
        "select (select count(*) from decision where tenant_id = $1) as decisions,"
        " (select count(*) from assignment where tenant_id = $1) as assignments",
        tenant.tenant_id,
    )
    assert tuple(counts) == (1, 1)


async def test_one_call_is_one_open_contact(ring: RingStore, contacts: Contacts, tenant: Tenant) -> None:
    first = contact(call_key="call-1")
    await ring.commit(tenant, decision(first), assignment_id=new_id())
    second = await ring.commit(tenant, decision(contact(call_key="call-1")), assignment_id=new_id())
    assert (second.status, second.contact_id) == ("duplicate", first.contact_id)
    assert await ring.contact_by_call(tenant, "http", "call-1") == first.contact_id
    await contacts.event(tenant, first.contact_id, "cancelled")
    third = await ring.commit(tenant, decision(contact(call_key="call-1")), assignment_id=new_id())
    assert third.status == "committed"


async def test_revisions_follow_each_other(ring: RingStore, contacts: Contacts, tenant: Tenant) -> None:
    [agent] = await ready_agents(contacts, tenant, 1)
    one = contact()
    statuses = []
    for revision, outcome in ((2, "route"), (1, "route"), (1, "route"), (3, "keep"), (2, "route"), (2, "keep")):
        committed = await ring.commit(
            tenant,
            decision(one, [agent], revision=revision, outcome=outcome),
            assignment_id=new_id(),  # type: ignore[arg-type]
        )
        statuses.append(committed.status)
    # before its first decision; first; another first; a gap; routed anew while somebody has it; the agent stays
    assert statuses == ["stale", "committed", "stale", "stale", "stale", "committed"]
    kept = await ring.decision(tenant, one.contact_id)
    assert kept is not None
    assert (kept.revision, kept.outcome, kept.agent_id) == (2, "keep", agent)
    first = await ring.decision(tenant, one.contact_id, 1)
    assert first is not None
    assert (first.outcome, first.agent_id) == ("route", agent)
    assert first.agent_address is not None
    await contacts.event(tenant, one.contact_id, "finished")
    ended = await ring.commit(tenant, decision(one, [agent], revision=3), assignment_id=new_id())
    assert ended.status == "ended"


async def test_an_assignment_of_a_past_epoch_is_stale(
    ring: RingStore, contacts: Contacts, database: Database, tenant: Tenant
) -> None:
    [agent] = await ready_agents(contacts, tenant, 1)
    one = contact()
    await ring.commit(tenant, decision(one), assignment_id=new_id())
    epoch = await contacts.take_lease(tenant, "queue")
    assert epoch == 1
    requeued = decision(one, [agent], revision=2, cause="capacity")
    assert (await ring.commit(tenant, requeued, assignment_id=new_id(), epoch=epoch + 1)).status == "stale"
    assert (await ring.commit(tenant, requeued, assignment_id=new_id(), epoch=epoch)).agent_id == agent


async def test_many_contacts_at_once_never_share_an_agent(
    ring: RingStore, contacts: Contacts, tenant: Tenant, superuser: asyncpg.Connection
) -> None:
    """300 contacts want 7 agents with 15 places; some end meanwhile, some agents walk away and come back."""
    chance = SystemRandom(11)
    agents = await ready_agents(contacts, tenant, 4, voice=1) + await ready_agents(contacts, tenant, 3, voice=3)
    agents += await ready_agents(contacts, tenant, 1, voice=2)
    slots = dict(zip(agents, [1] * 4 + [3] * 3 + [2], strict=True))
    over: list[str] = []

    async def check() -> None:
        rows = await superuser.fetch(
            "select agent_id, count(*) as live from assignment where tenant_id = $1 and ended_at is null group by agent_id",
            tenant.tenant_id,
        )
        over.extend(f"{row['agent_id']} has {row['live']}" for row in rows if row["live"] > slots[row["agent_id"]])
        twice = await superuser.fetch(
            "select contact_id from assignment where tenant_id = $1 and ended_at is null group by 1 having count(*) > 1",
            tenant.tenant_id,
        )
        over.extend(f"{row['contact_id']} twice" for row in twice)

    async def one() -> str:
        call = contact()
        order = sorted(agents, key=lambda _: chance.random())
        committed = await ring.commit(tenant, decision(call, order), assignment_id=new_id(), timeout_s=30)
        assert committed.status == "committed"
        if committed.outcome == "route" and chance.random() < 0.7:
            what = ("busy", "no_answer", "cancelled")[int(chance.random() * 3)]
            await contacts.event(tenant, call.contact_id, what)  # type: ignore[arg-type]
        if chance.random() < 0.3:
            await contacts.set_presence(tenant, order[0], "ready" if chance.random() < 0.8 else "away")
        return str(committed.outcome)

    outcomes: Counter[str] = Counter()
    for _ in range(6):
        outcomes.update(await asyncio.gather(*(one() for _ in range(50))))
        await check()
        await asyncio.sleep(0.3)  # for .25 s what became free is the line's, which nobody serves here
    assert over == []
    assert outcomes["route"] > 15
    assert outcomes["wait"] > 0
    free = await superuser.fetch(
        "select p.agent_id from agent_place p join agent a using (tenant_id, agent_id)"
        " where tenant_id = $1 and p.free_since is not null and (a.presence <> 'ready' or p.assignment_id is not null)",
        tenant.tenant_id,
    )
    assert free == []  # no place is offered of somebody who is away or taken
    lost = await superuser.fetch(
        "select p.agent_id from agent_place p join agent a using (tenant_id, agent_id)"
        " where tenant_id = $1 and a.presence = 'ready' and p.free_since is null and p.assignment_id is null",
        tenant.tenant_id,
    )
    assert lost == []  # and none is forgotten


async def test_the_same_call_offered_at_once_is_one_contact(ring: RingStore, contacts: Contacts, tenant: Tenant) -> None:
    agents = await ready_agents(contacts, tenant, 8)
    offered = [contact(call_key="same") for _ in range(12)]
    got = await asyncio.gather(
        *(ring.commit(tenant, decision(one, agents), assignment_id=new_id(), timeout_s=30) for one in offered)
    )
    [winner] = [one for one in got if one.status == "committed"]
    assert {one.status for one in got} == {"committed", "duplicate"}
    assert {one.contact_id for one in got} == {winner.contact_id}


@pytest.mark.parametrize("what", ["ringing", "answered", "busy", "ended", "finished"])
async def test_an_unknown_contact_is_told(contacts: Contacts, tenant: Tenant, what: str) -> None:
    change = await contacts.event(tenant, new_id(), what)  # type: ignore[arg-type]
    assert change.before is None
