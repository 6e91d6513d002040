"""Claims of many servers at once, in any order: capacity and mixes are never exceeded, no contact has two agents, and when
all is quiet nobody who could serve is idle beside somebody who waits."""

from __future__ import annotations

import asyncio
import random
import uuid
from typing import Any

import asyncpg
import msgspec
import pytest
from tests.integration.test_killed import BROKEN
from tests.making import contact, decision, new_id

from firstring.contact import AgentProfile
from firstring.ports import SystemClock
from firstring.routing.may.agents import may_take
from firstring.store.contacts import Contacts, Happening
from firstring.store.database import Database, Tenant
from firstring.store.notices import Notices
from firstring.store.ring import RingStore

KINDS: list[dict[str, Any]] = [
    {"capacity": {"voice": 1}},
    {"capacity": {"voice": 1, "chat": 3}, "mix": ({"voice": 1}, {"chat": 3})},
    {
        "capacity": {"voice": 1, "chat": 3, "email": 2},
        "mix": ({"voice": 1, "email": 1}, {"chat": 2, "email": 2}, {"chat": 3}),
    },
    {"capacity": {"voice": 1, "chat": 4}, "at_once": 2},
    {"capacity": {"chat": 2}},
]
HELD = """
select a.agent_id, g.channel, count(*)::int as held from agent_place g join agent a using (tenant_id, agent_id)
where g.tenant_id = $1 and g.assignment_id is not null group by a.agent_id, g.channel
"""
FREE = """
select agent_id, channel, count(*)::int as free from agent_place
where tenant_id = $1 and free_since is not null group by agent_id, channel
"""
EVENTS: list[Happening] = ["ringing", "answered", "rejected", "busy", "ended", "finished", "transferred", "cancelled"]


def profile(kind: dict[str, Any]) -> AgentProfile:
    return AgentProfile(0, 0, "Ann", "sip:ann@agents.test", channels=tuple(kind["capacity"]), **kind)


class Worker:
    """One server process's store, and what it does at random."""

    def __init__(
        self, database: Database, tenant: Tenant, seed: int, agents: list[int], open_: dict[uuid.UUID, Any]
    ) -> None:
        notices = Notices(database.arguments, f"worker-{seed}")
        self.contacts = Contacts(database, notices, SystemClock(), wrap_up_s=0.0)
        self.ring = RingStore(database, notices)
        self.tenant = tenant
        self.random = random.Random(seed)
        self.agents = agents
        self.open = open_

    async def step(self) -> None:
        chance = self.random.random()
        if chance < 0.45 or not self.open:
            await self.offer()
        elif chance < 0.9:
            contact_id = self.random.choice(sorted(self.open))
            what = self.random.choice(EVENTS)
            change = await self.contacts.event(self.tenant, contact_id, what)
            if change.after == "ended":
                self.open.pop(contact_id, None)
            elif change.after == "offered":
                await self.again(contact_id)
        else:
            presence = self.random.choice(["ready", "ready", "ready", "away"])
            await self.contacts.set_presence(self.tenant, self.random.choice(self.agents), presence)  # type: ignore[arg-type]

    async def offer(self) -> None:
        made = contact(channel=self.random.choice(["voice", "chat", "chat", "email"]), adapter="api")
        wanted = self.random.sample(self.agents, self.random.randint(1, len(self.agents)))
        committed = await self.ring.commit(self.tenant, decision(made, wanted), assignment_id=new_id())
        assert committed.status == "committed"
        self.open[made.contact_id] = made

    async def again(self, contact_id: uuid.UUID) -> None:
        state = await self.ring.contact(self.tenant, contact_id)
        if state is None or state.state == "ended" or contact_id not in self.open:
            return
        wanted = [agent for agent in self.random.sample(self.agents, len(self.agents)) if agent not in state.excluded]
        made = decision(state.contact, wanted, revision=state.revision + 1, cause="rejected")
        await self.ring.commit(self.tenant, made, assignment_id=new_id())


@pytest.mark.parametrize("seed", [1, 2, 3])
async def test_any_interleaving_of_claims(
    database: Database, tenant: Tenant, contacts: Contacts, superuser: asyncpg.Connection, seed: int
) -> None:
    profiles: dict[int, AgentProfile] = {}
    for kind in KINDS:
        agent_id, version = await contacts.put_agent(tenant, profile(kind))
        profiles[agent_id] = msgspec.structs.replace(profile(kind), agent_id=agent_id, version=version)
        await contacts.set_presence(tenant, agent_id, "ready")
    open_: dict[uuid.UUID, Any] = {}
    workers = [Worker(database, tenant, seed * 100 + number, list(profiles), open_) for number in range(6)]

    async def work(worker: Worker) -> None:
        for _ in range(40):
            await worker.step()

    running = [asyncio.create_task(work(worker)) for worker in workers]
    while not all(task.done() for task in running):
        await whole(superuser, tenant, profiles)
        await asyncio.sleep(0.01)
    await asyncio.gather(*running)
    await whole(superuser, tenant, profiles)

    # All is quiet. A place is open exactly where its agent could take one more contact on that channel.
    held = await holding(superuser, tenant)
    presence = {state.profile.agent_id: state.presence for state in await contacts.agents(tenant)}
    free = {(row["agent_id"], row["channel"]) for row in await superuser.fetch(FREE, tenant.tenant_id)}
    for agent_id, known in profiles.items():
        for channel in known.channels:
            could = presence[agent_id] == "ready" and may_take(known, held.get(agent_id, {}), channel)
            assert ((agent_id, channel) in free) == could, (known, held.get(agent_id), channel)

    # And everything that is open can end: then all places are there again.
    for contact_id in list(open_):
        await contacts.event(tenant, contact_id, "finished")
    for agent_id in profiles:
        await contacts.set_presence(tenant, agent_id, "ready")
    places = {(row["agent_id"], row["channel"]): row["free"] for row in await superuser.fetch(FREE, tenant.tenant_id)}
    assert places == {
        (agent_id, channel): count for agent_id, known in profiles.items() for channel, count in known.capacity.items()
    }


async def test_a_change_of_the_profile_while_it_is_taken(
    contacts: Contacts, ring: RingStore, tenant: Tenant, superuser: asyncpg.Connection
) -> None:
    """A mix that comes or goes closes and opens places, and takes nothing from anybody."""
    agent_id, _ = await contacts.put_agent(tenant, profile(KINDS[1]))
    await contacts.set_presence(tenant, agent_id, "ready")
    made = contact(channel="chat", adapter="api")
    await ring.commit(tenant, decision(made, [agent_id]), assignment_id=new_id())

    async def free() -> dict[str, int]:
        return {row["channel"]: row["free"] for row in await superuser.fetch(FREE, tenant.tenant_id)}

    assert await free() == {"chat": 2}
    await contacts.put_agent(tenant, profile({"capacity": {"voice": 1, "chat": 3}}), agent_id)
    assert await free() == {"chat": 2, "voice": 1}
    await contacts.put_agent(tenant, profile({"capacity": {"voice": 1, "chat": 3}, "at_once": 1}), agent_id)
    assert await free() == {}
    await contacts.event(tenant, made.contact_id, "finished")
    assert await free() == {"chat": 3, "voice": 1}


async def test_a_direct_target_is_not_above_its_mix(contacts: Contacts, ring: RingStore, tenant: Tenant) -> None:
    """Whoever is named alone is claimed under the same rule."""
    agent_id, _ = await contacts.put_agent(tenant, profile(KINDS[1]))
    await contacts.set_presence(tenant, agent_id, "ready")
    outcomes = [
        (
            await ring.commit(tenant, decision(contact(channel=channel, adapter="api"), [agent_id]), assignment_id=new_id())
        ).outcome
        for channel in ("voice", "chat", "voice", "chat")
    ]
    assert outcomes == ["route", "wait", "wait", "wait"]


async def holding(superuser: asyncpg.Connection, tenant: Tenant) -> dict[int, dict[str, int]]:
    held: dict[int, dict[str, int]] = {}
    for row in await superuser.fetch(HELD, tenant.tenant_id):
        held.setdefault(row["agent_id"], {})[row["channel"]] = row["held"]
    return held


async def whole(superuser: asyncpg.Connection, tenant: Tenant, profiles: dict[int, AgentProfile]) -> None:
    """At any moment."""
    assert await superuser.fetch(BROKEN, tenant.tenant_id) == []
    for agent_id, has in (await holding(superuser, tenant)).items():
        channel, count = next(iter(has.items()))
        before = {**has, channel: count - 1}
        assert may_take(profiles[agent_id], before, channel), (profiles[agent_id], has)
