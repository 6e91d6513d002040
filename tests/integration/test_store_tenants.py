"""Tenants are kept apart by the database itself, and Firstring refuses to run where they would not be."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Awaitable, Callable
from pathlib import Path

import asyncpg
import pytest
from tests.making import agent_profile, contact, decision, new_id

from firstring.errors import BadInput, Retryable, Unrecoverable
from firstring.store.access import Access
from firstring.store.contacts import Contacts
from firstring.store.database import Database, Tenant, connect
from firstring.store.ring import RingStore
from firstring.store.server import embedded
from firstring.store.server.migrate import check_schema

MakeTenant = Callable[[], Awaitable[Tenant]]


async def tables(superuser: asyncpg.Connection) -> list[str]:
    rows = await superuser.fetch(
        "select c.relname from pg_class c join pg_attribute a on a.attrelid = c.oid and a.attname = 'tenant_id'"
        " where c.relnamespace = 'firstring'::regnamespace and c.relkind in ('r', 'p') and c.relname <> 'tenant' order by 1"
    )
    return [row["relname"] for row in rows]


async def test_every_table_has_a_tenant_and_forced_row_security(superuser: asyncpg.Connection) -> None:
    rows = await superuser.fetch(
        "select c.relname, c.relrowsecurity, c.relforcerowsecurity, a.attnotnull,"
        "       (select array_agg(pg_get_expr(p.polqual, p.polrelid)) from pg_policy p where p.polrelid = c.oid)"
        "       as policies,"
        "       (select array_agg(p.polcmd::text) from pg_policy p where p.polrelid = c.oid) as commands"
        " from pg_class c left join pg_attribute a on a.attrelid = c.oid and a.attname = 'tenant_id'"
        " where c.relnamespace = 'firstring'::regnamespace and c.relkind in ('r', 'p', 'm', 'f', 'v')"
    )
    found = {row["relname"]: row for row in rows}
    assert found.pop("schema_migration")["attnotnull"] is None  # not of any tenant
    assert found.pop("tenant")["policies"] == ["true"]
    assert len(found) >= 17
    for name, row in found.items():
        assert row["attnotnull"], name
        assert row["relrowsecurity"], name
        assert row["relforcerowsecurity"], name
        assert row["commands"] == ["*"], name
        [policy] = row["policies"]
        assert policy == "(tenant_id = (NULLIF(current_setting('app.tenant'::text, true), ''::text))::integer)", name


async def test_nobody_sees_or_changes_another_tenants_rows(
    database: Database,
    ring: RingStore,
    contacts: Contacts,
    access: Access,
    superuser: asyncpg.Connection,
    make_tenant: MakeTenant,
) -> None:
    ours, theirs = await make_tenant(), await make_tenant()
    agent, _ = await contacts.put_agent(theirs, agent_profile())
    await contacts.set_presence(theirs, agent, "ready")
    one = contact(call_key="their call")
    await ring.commit(theirs, decision(one, [agent]), assignment_id=new_id())
    await contacts.take_lease(theirs, "queue")
    staff = await access.create_staff(theirs, "them", "a long password", "agent")
    token, _ = await access.create_token(theirs, "read", "theirs")
    assert token.startswith(f"fr_{theirs.tenant_id}_")
    filled = set()
    for table in await tables(superuser):
        count = await superuser.fetchval(f"select count(*) from {table} where tenant_id = $1", theirs.tenant_id)
        if count:
            filled.add(table)
        async with database.transaction(ours.tenant_id) as connection:
            for condition in ("true", f"tenant_id = {theirs.tenant_id}"):
                assert await connection.fetchval(f"select count(*) from {table} where {condition}") == 0, table
                assert await connection.execute(f"delete from {table} where {condition}") == "DELETE 0", table
                assert await connection.execute(f"update {table} set tenant_id = {ours.tenant_id}") == "UPDATE 0", table
    assert filled >= {"agent", "agent_version", "agent_place", "contact", "assignment", "decision", "lease", "staff",
                      "api_token"}  # fmt: skip
    assert await ring.contact(ours, one.contact_id) is None
    assert await ring.decision(ours, one.contact_id) is None
    assert (await contacts.event(ours, one.contact_id, "answered")).before is None
    assert not await contacts.set_presence(ours, agent, "offline")
    assert (await ring.commit(ours, decision(contact(), [agent]), assignment_id=new_id())).outcome == "wait"
    with pytest.raises(BadInput):
        await access.set_password(ours, staff.staff_id, "another password")
    with pytest.raises(BadInput):
        await access.verify(ours, "them", "a long password")
    with pytest.raises(BadInput):  # the same secret under our own number
        await access.token(token.replace(f"fr_{theirs.tenant_id}_", f"fr_{ours.tenant_id}_"))


async def test_nobody_writes_into_another_tenant(database: Database, make_tenant: MakeTenant) -> None:
    ours, theirs = await make_tenant(), await make_tenant()
    for statement in (
        "insert into person (tenant_id, created_at) values ($1, now())",
        "insert into source (tenant_id, name, created_at) values ($1, 'x', now())",
    ):
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            async with database.transaction(ours.tenant_id) as connection:
                await connection.execute(statement, theirs.tenant_id)


async def test_without_a_tenant_nothing_is_seen(
    database: Database, contacts: Contacts, superuser: asyncpg.Connection, tenant: Tenant
) -> None:
    await contacts.put_agent(tenant, agent_profile())
    names = await tables(superuser)
    async with database.pool.acquire() as connection:
        for name in names:
            assert await connection.fetchval(f"select count(*) from {name}") == 0, name
        await connection.execute("select set_config('app.tenant', $1, false)", str(tenant.tenant_id))
        assert await connection.fetchval("select count(*) from agent") == 1
        await connection.execute("select set_config('app.tenant', '', false)")
        assert await connection.fetchval("select count(*) from agent") == 0


async def test_the_tenant_ends_with_the_transaction(database: Database, contacts: Contacts, tenant: Tenant) -> None:
    """Connections go back to the pool without a reset: nothing may stay set, whatever ended the transaction."""
    await contacts.put_agent(tenant, agent_profile())

    async def nothing_left() -> None:
        async def one() -> None:
            async with database.pool.acquire() as connection:
                assert not connection.is_in_transaction()
                assert await connection.fetchval("select count(*) from agent") == 0
                await asyncio.sleep(0.01)

        await asyncio.gather(*(one() for _ in range(8)))

    async with database.transaction(tenant.tenant_id) as connection:
        assert await connection.fetchval("select count(*) from agent") == 1
    await nothing_left()
    with pytest.raises(FileNotFoundError):  # noqa: PT012 - an error of the caller's own stays what it is
        async with database.transaction(tenant.tenant_id) as connection:
            await connection.execute("delete from agent")
            raise FileNotFoundError
    await nothing_left()
    with pytest.raises(Retryable) as failed:  # noqa: PT012
        async with database.transaction(tenant.tenant_id) as connection:
            with pytest.raises(asyncpg.UndefinedColumnError):
                await connection.execute("select nothing_of_this_name")
    assert failed.value.code == "not_committed"
    await nothing_left()

    async def slow() -> None:
        async with database.transaction(tenant.tenant_id) as connection:
            await connection.execute("delete from agent")
            await connection.execute("select pg_sleep(30)")

    task = asyncio.create_task(slow())
    await asyncio.sleep(0.1)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await nothing_left()
    assert len(await contacts.agents(tenant)) == 1


@pytest.mark.parametrize("rights", ["superuser", "nosuperuser bypassrls"])
async def test_an_unsafe_role_is_refused(
    server: embedded.EmbeddedServer, superuser: asyncpg.Connection, master_key: bytes, rights: str
) -> None:
    await superuser.execute(f"alter role {embedded.APP} {rights}")
    try:
        with pytest.raises(Unrecoverable) as refused:
            await Database.open(server.dsn(embedded.APP), master_key, check_schema=check_schema)
        assert refused.value.code == "unsafe_database_role"
    finally:
        await superuser.execute(f"alter role {embedded.APP} nosuperuser nobypassrls")
    with pytest.raises(Unrecoverable):
        await Database.open(server.dsn(embedded.SUPERUSER), master_key)


async def test_a_wrong_master_key_is_refused_and_changes_nothing(
    server: embedded.EmbeddedServer, superuser: asyncpg.Connection, tenant: Tenant
) -> None:
    query = "select tenant_id, name, wrapped_key, created_at, xmin::text from tenant order by 1"
    before = await superuser.fetch(query)
    with pytest.raises(Unrecoverable) as refused:
        await Database.open(server.dsn(embedded.APP), secrets.token_bytes(32), check_schema=check_schema)
    assert refused.value.code == "wrong_master_key"
    assert await superuser.fetch(query) == before


async def test_a_database_that_is_not_there(server: embedded.EmbeddedServer, tmp_path: Path, master_key: bytes) -> None:
    with pytest.raises(Retryable) as down:
        await connect({**server.dsn(), "host": str(tmp_path)})
    assert down.value.code == "database_unavailable"
    with pytest.raises(Unrecoverable) as missing:
        await connect(server.dsn(embedded.APP, "no_such_database"))
    assert missing.value.code == "database_missing"
    with pytest.raises(Unrecoverable) as stranger:
        await connect(server.dsn("no_such_role"))
    assert stranger.value.code == "database_refuses_login"


async def test_unknown_tenants(database: Database) -> None:
    for call in (database.tenant(10**8), database.tenant_named("nobody")):
        with pytest.raises(BadInput) as unknown:
            await call
        assert (unknown.value.code, unknown.value.status) == ("unknown_tenant", 404)
    for name in ("", "Main", "a b", "x" * 64, "-a", "a\n"):
        with pytest.raises(BadInput) as invalid:
            await database.add_tenant(name, contact().offered_at)
        assert invalid.value.code == "tenant_name_invalid"
