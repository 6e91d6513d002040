"""Every transition of a contact and its assignment, presence, places and leases."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import asyncpg
import pytest
from tests.making import agent_profile, contact, decision, new_id

from firstring.store.contacts import Contacts
from firstring.store.database import Database, Tenant
from firstring.store.ring import RingStore

START = datetime(2026, 1, 1, tzinfo=UTC)
LATER = START + timedelta(hours=1)


class Line:
    """One agent and one contact routed to them; what happens is told through the schema's own function."""

    def __init__(self, database: Database, tenant: Tenant, superuser: asyncpg.Connection) -> None:
        self.database, self.tenant, self.superuser = database, tenant, superuser
        self.agent_id, self.contact_id, self.assignment_id = 0, UUID(int=0), UUID(int=0)

    async def tell(
        self, what: str, *, at: datetime = START, expires: datetime | None = LATER, outcome: str | None = None, **more: Any
    ) -> tuple[str, str, bool]:
        row = await self.database.call(
            "contact_event", self.tenant.tenant_id, self.contact_id, what, at, expires, outcome, 5.0, "test", *more.values()
        )
        assert row is not None
        return row["before"], row["after"], row["changed"]

    async def state(self) -> tuple[str, str, str, bool]:
        """(contact, assignment, presence, whether the place is free)."""
        row = await self.superuser.fetchrow(
            "select c.state, a.state as assignment, g.presence, p.free_since is not null as free,"
            "       (a.ended_at is null) = (p.assignment_id is not null) as place_agrees"
            " from contact c join assignment a using (tenant_id, contact_id) join agent g using (tenant_id, agent_id)"
            " join agent_place p using (tenant_id, agent_id)"
            " where tenant_id = $1 and a.assignment_id = $2",
            self.tenant.tenant_id, self.assignment_id,
        )  # fmt: skip
        assert row["place_agrees"]
        return row["state"], row["assignment"], row["presence"], row["free"]


@pytest.fixture
async def line(
    ring: RingStore, contacts: Contacts, database: Database, tenant: Tenant, superuser: asyncpg.Connection
) -> Line:
    line = Line(database, tenant, superuser)
    line.agent_id, _ = await contacts.put_agent(tenant, agent_profile())
    await contacts.set_presence(tenant, line.agent_id, "ready")
    one = contact(adapter="kamailio")
    line.contact_id, line.assignment_id = one.contact_id, new_id()
    committed = await ring.commit(tenant, decision(one, [line.agent_id]), assignment_id=line.assignment_id)
    assert committed.agent_id == line.agent_id
    return line


async def test_a_call_from_ring_to_notes(line: Line) -> None:
    assert await line.state() == ("assigned", "offered", "ready", False)
    assert await line.tell("ringing") == ("assigned", "assigned", True)
    assert await line.tell("ringing") == ("assigned", "assigned", False)
    assert await line.state() == ("assigned", "ringing", "ready", False)
    assert await line.tell("answered") == ("assigned", "answered", True)
    assert await line.tell("answered") == ("answered", "answered", False)
    assert await line.tell("busy") == ("answered", "answered", False)  # too late
    assert await line.tell("ended") == ("answered", "ended", True)
    assert await line.state() == ("ended", "wrap_up", "ready", False)  # the place is held for the notes
    assert await line.tell("ended") == ("ended", "ended", False)
    assert await line.tell("finished", outcome="solved") == ("ended", "ended", True)
    assert await line.state() == ("ended", "ended", "ready", True)
    assert await line.tell("finished", outcome="solved") == ("ended", "ended", False)
    row = await line.superuser.fetchrow(
        "select outcome, end_reason, answered_at, ended_at from contact where contact_id = $1", line.contact_id
    )
    assert (row["outcome"], row["end_reason"], row["answered_at"], row["ended_at"]) == ("solved", "ended", START, START)


@pytest.mark.parametrize("ringing", [False, True])
@pytest.mark.parametrize(
    ("what", "presence", "free"),
    [("busy", "ready", True), ("rejected", "ready", True), ("no_answer", "away", False), ("expired", "away", False)],
)
async def test_an_agent_does_not_take_it(
    line: Line, ring: RingStore, ringing: bool, what: str, presence: str, free: bool
) -> None:
    if ringing:
        await line.tell("ringing")
    elif what == "expired":  # the phone was never reached
        presence, free = "ready", True
    at = LATER + timedelta(days=400)  # past every expiry
    assert await line.tell(what, at=at) == ("assigned", "offered", True)
    assert await line.state() == ("offered", "ended", presence, free)
    assert await line.tell(what, at=at) == ("offered", "offered", False)
    excluded, until = await line.superuser.fetchrow(
        "select excluded, excluded_until from contact where contact_id = $1", line.contact_id
    )
    assert excluded == [line.agent_id]
    assert until == at + timedelta(seconds=5)
    state = await ring.contact(line.tenant, line.contact_id)
    assert state is not None
    assert state.excluded == (line.agent_id,)
    assert state.agent_id is None


async def test_a_refused_contact_is_decided_anew(line: Line, ring: RingStore, contacts: Contacts) -> None:
    other, _ = await contacts.put_agent(line.tenant, agent_profile())
    await contacts.set_presence(line.tenant, other, "ready")
    await line.tell("busy")
    state = await ring.contact(line.tenant, line.contact_id)
    assert state is not None
    again = await ring.commit(
        line.tenant, decision(state.contact, [other], revision=2, cause="busy"), assignment_id=new_id()
    )
    assert (again.status, again.agent_id) == ("committed", other)
    # What the first agent's phone tells too late does not end the second agent's call.
    stale = await line.tell("no_answer", assignment=line.assignment_id)
    assert stale == ("assigned", "assigned", False)
    assert await line.tell("answered") == ("assigned", "answered", True)


@pytest.mark.parametrize("steps", [[], ["ringing"], ["ringing", "answered"]])
@pytest.mark.parametrize("what", ["cancelled", "defaulted", "finished"])
async def test_the_end_gives_the_place_back(line: Line, steps: list[str], what: str) -> None:
    for step in steps:
        await line.tell(step)
    before, after, changed = await line.tell(what)
    assert (before, after, changed) == ("answered" if "answered" in steps else "assigned", "ended", True)
    assert await line.state() == ("ended", "ended", "ready", True)
    assert await line.tell(what) == ("ended", "ended", False)
    assert await line.tell("answered") == ("ended", "ended", False)


async def test_without_wrap_up_the_place_is_free_at_once(line: Line) -> None:
    await line.tell("answered")
    await line.tell("ended", expires=START)
    assert await line.state() == ("ended", "ended", "ready", True)


async def test_a_call_that_ends_before_it_is_answered(line: Line) -> None:
    assert await line.tell("ended") == ("assigned", "ended", True)
    assert await line.state() == ("ended", "ended", "ready", True)


async def test_expiry_does_what_is_due_and_nothing_before(line: Line) -> None:
    await line.tell("answered", expires=LATER)
    assert await line.tell("expired", at=START) == ("answered", "answered", False)
    await line.tell("ended", expires=LATER)
    assert await line.tell("expired", at=START) == ("ended", "ended", False)
    assert await line.tell("expired", at=LATER) == ("ended", "ended", True)
    assert await line.state() == ("ended", "ended", "ready", True)


async def test_an_answered_call_that_never_ended_is_closed(line: Line) -> None:
    await line.tell("answered", expires=LATER)
    assert await line.tell("expired", at=LATER) == ("answered", "ended", True)
    assert await line.state() == ("ended", "ended", "ready", True)


@pytest.mark.parametrize("presence", ["away", "offline"])
async def test_who_left_during_a_call_is_not_offered_after_it(line: Line, contacts: Contacts, presence: Any) -> None:
    await line.tell("answered")
    assert await contacts.set_presence(line.tenant, line.agent_id, presence)
    await line.tell("finished")
    assert await line.state() == ("ended", "ended", presence, False)
    await contacts.set_presence(line.tenant, line.agent_id, "ready")
    assert (await line.state())[3]


async def test_going_ready_again_keeps_the_place_in_the_row(contacts: Contacts, ring: RingStore, tenant: Tenant) -> None:
    agent, _ = await contacts.put_agent(tenant, agent_profile())
    assert (await ring.read(tenant, [], "voice")).agents == ()  # a new agent is offline
    await contacts.set_presence(tenant, agent, "ready")
    first = (await ring.read(tenant, [], "voice")).agents
    await contacts.set_presence(tenant, agent, "ready")
    assert (await ring.read(tenant, [], "voice")).agents == first
    assert not await contacts.set_presence(tenant, 10**12, "ready")


async def places(superuser: asyncpg.Connection, tenant: Tenant, agent: int) -> dict[str, tuple[int, int]]:
    """channel -> (free, taken)."""
    rows = await superuser.fetch(
        "select channel, count(*) filter (where assignment_id is null) as free, count(assignment_id) as taken,"
        " count(distinct version) as versions from agent_place where tenant_id = $1 and agent_id = $2 group by channel",
        tenant.tenant_id, agent,
    )  # fmt: skip
    assert all(row["versions"] == 1 for row in rows)
    return {row["channel"]: (row["free"], row["taken"]) for row in rows}


async def test_capacity_follows_the_profile_also_while_places_are_taken(
    contacts: Contacts, ring: RingStore, tenant: Tenant, superuser: asyncpg.Connection
) -> None:
    agent, version = await contacts.put_agent(tenant, agent_profile(voice=1, chat=3))
    assert version == 1
    await contacts.set_presence(tenant, agent, "ready")
    chats = [contact(channel="chat") for _ in range(3)]
    for chat in chats:
        assert (await ring.commit(tenant, decision(chat, [agent]), assignment_id=new_id())).agent_id == agent
    await contacts.event(tenant, chats[0].contact_id, "finished")  # frees the first place
    assert await places(superuser, tenant, agent) == {"voice": (1, 0), "chat": (1, 2)}
    assert await contacts.put_agent(tenant, agent_profile(voice=2, chat=1), agent) == (agent, 2)
    assert await places(superuser, tenant, agent) == {"voice": (2, 0), "chat": (0, 2)}
    refused = await ring.commit(tenant, decision(contact(channel="chat"), [agent]), assignment_id=new_id())
    assert refused.outcome == "wait"
    await contacts.event(tenant, chats[1].contact_id, "finished")
    assert await places(superuser, tenant, agent) == {"voice": (2, 0), "chat": (0, 1)}
    await contacts.event(tenant, chats[2].contact_id, "finished")
    assert await places(superuser, tenant, agent) == {"voice": (2, 0), "chat": (1, 0)}
    await contacts.put_agent(tenant, agent_profile(voice=0, chat=4), agent)
    assert await places(superuser, tenant, agent) == {"chat": (4, 0)}
    profiles = await ring.profiles(tenant, (await ring.read(tenant, [], "chat")).agents)
    assert [key[1] for key in profiles] == [3]
    row = await contacts.put_agent(tenant, agent_profile(), 10**12)
    assert row == (None, None)


async def test_one_holder_of_a_lease_at_a_time(database: Database, tenant: Tenant) -> None:
    async def take(holder: str, lease_s: float = 60.0) -> int | None:
        row = await database.call("take_lease", tenant.tenant_id, "queue", holder, lease_s)
        assert row is not None
        return row[0]

    epochs = await asyncio.gather(*(take(f"process {number}") for number in range(8)))
    assert sorted(epochs, key=bool) == [None] * 7 + [1]
    holder = f"process {epochs.index(1)}"
    assert await take(holder) == 1
    assert await take("another") is None
    assert await take(holder, 0.0) == 1
    assert await take("another", 0.0) == 2
    assert await take("another") == 3  # its own lease had run out: somebody may have acted meanwhile
    assert await take(holder) is None


async def test_notices_name_ids_only(line: Line, database: Database) -> None:
    heard: list[str] = []
    connection = await asyncpg.connect(**database.arguments)
    try:
        await connection.add_listener("firstring", lambda *found: heard.append(found[-1]))
        await line.tell("ringing")
        await line.tell("ringing")
        await line.tell("answered")
        for _ in range(100):
            ours = [text for text in heard if str(line.contact_id) in text]
            if len(ours) == 2:
                break
            await asyncio.sleep(0.02)
        tenant_id = line.tenant.tenant_id
        assert ours == [f"{tenant_id} {what} {line.contact_id} {line.agent_id} test" for what in ("ringing", "answered")]
    finally:
        await connection.close()
