"""A server is killed with SIGKILL at every step of a call's life: never two agents on one contact, never above capacity,
nobody stays taken for ever, and what was committed is there."""

from __future__ import annotations

import asyncio
import json
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import asyncpg
import pytest

from firstring.contact import AgentProfile, Decision
from firstring.decide import Decider, Models
from firstring.dispatch import Dispatcher
from firstring.identity.caller.weights import Weights
from firstring.nextbest.library import BUILT_IN
from firstring.observe import Metrics
from firstring.ports import SystemIds
from firstring.routing.declared.policy import RoutingPolicy
from firstring.store.contacts import Contacts
from firstring.store.database import Database, Tenant
from firstring.store.notices import Notices
from firstring.store.ring import RingStore
from firstring.trust.score import DEFAULT_PRIORS

WORKER = Path(__file__).with_name("killed_worker.py")
STEPS = [
    *((f"{when}:read", nth, None) for when in ("before", "after") for nth in (1, 2, 3)),
    *((f"{when}:commit", nth, None) for when in ("before", "after") for nth in (1, 2, 3, 4)),
    *((f"{when}:event", nth, None) for when in ("before", "after") for nth in (1, 2, 3, 4, 5, 6, 7)),
    *(("during:commit", nth, delay_ms) for nth in (1, 2) for delay_ms in (0.0, 0.5, 1.5)),
    *(("during:event", nth, delay_ms) for nth in (1, 5) for delay_ms in (0.0, 0.5)),
    ("after:take_lease", 1, None),
    ("after:waiting", 1, None),
]
TRANSFERS = [
    ("before:event", 3, None),
    ("during:event", 3, 0.5),
    ("after:event", 3, None),
    ("during:commit", 2, 0.5),
    ("after:commit", 2, None),
    ("after:event", 6, None),
    ("after:commit", 3, None),
]
"""Events of this life: ringing, answered, transferred, and once more. Decisions: offered, transferred, transferred."""

BROKEN = """
select 'two live assignments of one contact' where exists (
  select 1 from assignment where tenant_id = $1 and ended_at is null group by contact_id having count(*) > 1)
union all select 'an agent above capacity' where exists (
  select 1 from assignment a join agent_place p using (tenant_id, agent_id, channel)
  where a.tenant_id = $1 and a.ended_at is null group by a.agent_id, a.channel
  having count(distinct a.assignment_id) > count(distinct p.place))
union all select 'a place taken without a live assignment' where exists (
  select 1 from agent_place p where p.tenant_id = $1 and p.assignment_id is not null and not exists (
    select 1 from assignment a where a.tenant_id = $1 and a.assignment_id = p.assignment_id and a.ended_at is null))
union all select 'a live assignment without its place' where exists (
  select 1 from assignment a where a.tenant_id = $1 and a.ended_at is null and not exists (
    select 1 from agent_place p where p.tenant_id = $1 and p.assignment_id = a.assignment_id))
union all select 'a contact whose last decision is missing' where exists (
  select 1 from contact c where c.tenant_id = $1 and not exists (
    select 1 from decision d where d.tenant_id = $1 and d.contact_id = c.contact_id and d.revision = c.revision))
union all select 'an assigned contact that nobody has' where exists (
  select 1 from contact c where c.tenant_id = $1 and c.state in ('assigned', 'answered') and not exists (
    select 1 from assignment a where a.tenant_id = $1 and a.contact_id = c.contact_id and a.ended_at is null))
"""


class LaterClock:
    """The machine's time, `ahead` of it: what expires has expired."""

    def __init__(self, ahead: timedelta) -> None:
        self.ahead = ahead

    def now(self) -> datetime:
        return datetime.now(UTC) + self.ahead

    def monotonic_s(self) -> float:
        return asyncio.get_running_loop().time()


@pytest.mark.parametrize(("step", "nth", "delay_ms"), STEPS)
async def test_killed_at(
    database: Database,
    tenant: Tenant,
    contacts: Contacts,
    superuser: asyncpg.Connection,
    master_key: bytes,
    step: str,
    nth: int,
    delay_ms: float | None,
) -> None:
    for name in ("Ann", "Bob"):
        profile = AgentProfile(0, 0, name, f"sip:{name.lower()}@agents.test", languages={"en": 5})
        agent_id, _ = await contacts.put_agent(tenant, profile)
        await contacts.set_presence(tenant, agent_id, "ready")
    plan = a_plan(database, tenant, master_key, "call", step, nth, delay_ms)
    await killed(plan)
    await settled(superuser, tenant)
    assert await superuser.fetch(BROKEN, tenant.tenant_id) == []

    # Another server takes over within the lease, and once offers have expired everybody is free or in a contact.
    clock = LaterClock(timedelta(hours=5))
    dispatcher, after = await taken_over(database, tenant, clock)
    for _ in range(8):
        clock.ahead += timedelta(minutes=2)
        await dispatcher.sweep(tenant)
        assert await superuser.fetch(BROKEN, tenant.tenant_id) == []
    for state in await after.agents(tenant):
        await after.set_presence(tenant, state.profile.agent_id, "ready")
    free, _ = await after.free_agents(tenant)
    live = sum(state.live for state in await after.agents(tenant))
    assert len(free.get("voice", ())) + live == 2
    assert live == 0, "what was offered, ringing, answered or in wrap-up is over by now"


@pytest.mark.parametrize(("step", "nth", "delay_ms"), TRANSFERS)
async def test_killed_while_a_contact_is_handed_on(
    database: Database,
    tenant: Tenant,
    contacts: Contacts,
    superuser: asyncpg.Connection,
    master_key: bytes,
    step: str,
    nth: int,
    delay_ms: float | None,
) -> None:
    for name in ("Ann", "Bob"):
        agent_id, _ = await contacts.put_agent(tenant, AgentProfile(0, 0, name, f"sip:{name.lower()}@agents.test"))
        await contacts.set_presence(tenant, agent_id, "ready")
    await killed(a_plan(database, tenant, master_key, "transfer", step, nth, delay_ms))
    await settled(superuser, tenant)
    assert await superuser.fetch(BROKEN, tenant.tenant_id) == []

    # Another server takes over: whoever was talked to is still there, with an agent as soon as there is one.
    clock = LaterClock(timedelta(seconds=3))
    dispatcher, after = await taken_over(database, tenant, clock)
    await dispatcher.sweep(tenant)
    assert await superuser.fetch(BROKEN, tenant.tenant_id) == []
    [line] = await after.recent(tenant)
    if (step, nth) in (("after:event", 6), ("after:commit", 3)):  # both have had it just now: it waits
        assert line.state in ("waiting", "offered")
    else:
        assert line.state in ("assigned", "answered")
    clock.ahead += timedelta(minutes=2)  # nobody is left out any more
    await dispatcher.sweep(tenant)  # what nobody answered meanwhile is given back
    for state in await after.agents(tenant):
        await after.set_presence(tenant, state.profile.agent_id, "ready")
    clock.ahead += timedelta(seconds=2)
    await dispatcher.sweep(tenant)
    [line] = await after.recent(tenant)
    assert line.state in ("assigned", "answered")
    assert await superuser.fetch(BROKEN, tenant.tenant_id) == []
    told = [
        row["what"] for row in await superuser.fetch("select what from intervention where tenant_id = $1", tenant.tenant_id)
    ]
    assert told
    assert set(told) == {"transfer"}, "what was done is written down before it is done"


def a_plan(
    database: Database, tenant: Tenant, master_key: bytes, life: str, step: str, nth: int, delay_ms: float | None
) -> dict[str, Any]:
    return {
        "connect": dict(database.arguments),
        "master_key": master_key.hex(),
        "tenant": tenant.tenant_id,
        "life": life,
        "step": step,
        "nth": nth,
        "delay_ms": delay_ms,
    }


async def killed(plan: dict[str, Any]) -> None:
    """Runs a life until it is killed."""
    worker = await asyncio.create_subprocess_exec(
        sys.executable, str(WORKER), json.dumps(plan), stderr=asyncio.subprocess.PIPE
    )
    _, stderr = await asyncio.wait_for(worker.communicate(), 60)
    assert worker.returncode == -9, stderr.decode()[-2000:]


async def taken_over(database: Database, tenant: Tenant, clock: LaterClock) -> tuple[Dispatcher, Contacts]:
    """Another server, once it has the lease."""
    notices = Notices(database.arguments, "after")
    ring = RingStore(database, notices)
    after = Contacts(database, notices, clock, wrap_up_s=30.0)
    models = Models(Weights(), DEFAULT_PRIORS, BUILT_IN, RoutingPolicy())
    decider = Decider(ring, models, clock, SystemIds(), Metrics())

    async def tenants() -> list[Tenant]:
        return [tenant]

    async def routed(_tenant: Tenant, _decision: Decision) -> None:
        return None

    dispatcher = Dispatcher(after, ring, decider, clock, tenants, routed)
    async with asyncio.timeout(20):
        while await after.take_lease(tenant, "queue") is None:
            await asyncio.sleep(0.1)
    return dispatcher, after


async def settled(superuser: asyncpg.Connection, tenant: Tenant) -> None:
    """Until the dead worker's backends are gone: a transaction may still commit or roll back after the kill."""
    async with asyncio.timeout(10):
        while await superuser.fetchval(
            "select count(*) from pg_stat_activity where state = 'active' and pid <> pg_backend_pid() "
            "and backend_type = 'client backend'"
        ):
            await asyncio.sleep(0.02)
