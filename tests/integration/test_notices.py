"""Notices between processes: in batches by servers, with the transaction elsewhere, also after a lost connection."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncIterator, Callable
from typing import Any

import asyncpg
import pytest_asyncio
from tests.making import agent_profile, new_id

from firstring.ports import SystemClock
from firstring.store.contacts import Contacts
from firstring.store.database import Database, Tenant
from firstring.store.notices import UNSENT_MAX, Notice, Notices


class Heard:
    """What one process hears, in order."""

    def __init__(self, notices: Notices) -> None:
        self.notices = notices
        self.seen: list[Notice] = []
        notices.subscribe(self.seen.append)

    async def until(self, condition: Callable[[list[Notice]], Any]) -> None:
        async with asyncio.timeout(10):
            while not condition(self.seen):
                await asyncio.sleep(0.005)


@pytest_asyncio.fixture(loop_scope="session")
async def two(database: Database) -> AsyncIterator[tuple[Heard, Heard]]:
    """Two servers that listen."""
    made = [Heard(Notices(database.arguments, f"server-{secrets.token_hex(4)}")) for _ in range(2)]
    for heard in made:
        await heard.notices.start()
        await heard.until(lambda seen: Notice(0, "resync") in seen)
        heard.seen.clear()
    yield made[0], made[1]
    for heard in made:
        await heard.notices.stop()


async def test_a_server_tells_itself_at_once_and_others_soon(two: tuple[Heard, Heard]) -> None:
    here, there = two
    told = [Notice(7, "route", new_id(), number) for number in range(50)]
    for notice in told:
        here.notices.tell(notice)
    assert here.seen == told
    await there.until(lambda seen: len(seen) >= len(told))
    assert there.seen == told
    there.notices.tell(Notice(7, "presence", None, 3))
    await here.until(lambda seen: seen[-1] == Notice(7, "presence", None, 3))
    assert here.seen == [*told, Notice(7, "presence", None, 3)], "no echo of its own"


async def test_a_program_without_a_sender_notifies_with_its_transaction(
    two: tuple[Heard, Heard], database: Database, tenant: Tenant
) -> None:
    command = Notices(database.arguments, "command")
    contacts = Contacts(database, command, SystemClock(), wrap_up_s=0.0)
    agent_id, _ = await contacts.put_agent(tenant, agent_profile())
    assert await contacts.set_presence(tenant, agent_id, "ready")
    for heard in two:
        await heard.until(lambda seen: Notice(tenant.tenant_id, "presence", None, agent_id) in seen)


async def test_what_a_server_does_is_told_once(two: tuple[Heard, Heard], database: Database, tenant: Tenant) -> None:
    here, there = two
    contacts = Contacts(database, here.notices, SystemClock(), wrap_up_s=0.0)
    agent_id, _ = await contacts.put_agent(tenant, agent_profile())
    await contacts.set_presence(tenant, agent_id, "ready")
    here.notices.tell(Notice(7, "last"))
    await there.until(lambda seen: Notice(7, "last") in seen)
    assert there.seen == [Notice(tenant.tenant_id, "presence", None, agent_id), Notice(7, "last")]


async def test_notices_survive_a_lost_connection(two: tuple[Heard, Heard], superuser: asyncpg.Connection) -> None:
    here, there = two
    await superuser.fetch(
        "select pg_terminate_backend(pid) from pg_stat_activity"
        " where pid <> pg_backend_pid() and (query like '%pg_notify%' or query like '%set synchronous_commit = off')"
    )
    here.notices.tell(Notice(7, "route"))
    for heard in two:
        await heard.until(lambda seen: Notice(0, "resync") in seen)
    here.notices.tell(Notice(7, "wait"))
    await there.until(lambda seen: Notice(7, "wait") in seen)


async def test_too_many_unsent_notices_become_one_resync(database: Database) -> None:
    away = Notices({"host": "/nonexistent", "port": 5432, "user": "nobody", "database": "none"}, "away")
    await away.start()
    for number in range(UNSENT_MAX + 5):
        away.tell(Notice(7, "route", None, number))
    assert away._unsent[0] == Notice(0, "resync")
    assert len(away._unsent) == 6
    await away.stop()


async def test_stopping_sends_what_is_unsent(two: tuple[Heard, Heard], database: Database) -> None:
    _, there = two
    leaving = Heard(Notices(database.arguments, "leaving"))
    await leaving.notices.start()
    await leaving.until(lambda seen: Notice(0, "resync") in seen)
    leaving.notices.tell(Notice(7, "ended"))
    await leaving.notices.stop()
    await there.until(lambda seen: Notice(7, "ended") in seen)
