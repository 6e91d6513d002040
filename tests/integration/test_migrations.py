"""Migrations: on an empty database, from the previous version with data, refused, and from several programs at once."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import Any

import asyncpg
import pytest
from tests.making import agent_profile, contact, decision, new_id

from firstring.errors import Unrecoverable
from firstring.store.contacts import Contacts
from firstring.store.database import Database, connect
from firstring.store.notices import Notices
from firstring.store.ring import RingStore
from firstring.store.server import embedded
from firstring.store.server.migrate import Migration, check_schema, migrations, upgrade

ALL = [migration.name for migration in migrations()]


class Empty:
    """A database of its own on the run's server."""

    def __init__(self, server: embedded.EmbeddedServer) -> None:
        self.server = server
        self.name = f"empty_{secrets.token_hex(4)}"

    def arguments(self, role: str) -> dict[str, Any]:
        return self.server.dsn(role, self.name)

    async def upgrade(self, known: list[Migration] | None = None) -> list[str]:
        return await upgrade(self.arguments(embedded.OWNER), embedded.APP, known=known)

    async def run(self, role: str, statement: str, *arguments: Any) -> list[asyncpg.Record]:
        connection = await connect(self.arguments(role))
        try:
            return await connection.fetch(statement, *arguments)
        finally:
            await connection.close()

    async def schema(self) -> list[Any]:
        """Everything in the schema that a migration could change, for comparing before and after."""
        return [
            await self.run(embedded.SUPERUSER, statement)
            for statement in (
                "select relname, relkind, relrowsecurity, relacl::text from pg_class"
                " where relnamespace = to_regnamespace('firstring') order by 1",
                "select proname, prosrc, proacl::text from pg_proc"
                " where pronamespace = to_regnamespace('firstring') order by 1",
                "select to_regclass('firstring.schema_migration') is not null",
            )
        ]


@pytest.fixture
async def empty(server: embedded.EmbeddedServer) -> AsyncIterator[Empty]:
    made = Empty(server)
    admin = await connect(server.dsn(embedded.SUPERUSER, "postgres"))
    await admin.execute(f"create database {made.name} owner {embedded.OWNER} template template0")
    yield made
    await admin.execute(f"drop database {made.name} with (force)")
    await admin.close()


async def test_an_empty_database(empty: Empty, master_key: bytes) -> None:
    with pytest.raises(Unrecoverable) as refused:
        await Database.open(empty.arguments(embedded.APP), master_key, check_schema=check_schema)
    assert refused.value.code == "schema_missing"
    assert "firstring db upgrade" in refused.value.hint
    assert await empty.upgrade() == ALL
    assert await empty.upgrade() == []
    rows = await empty.run(embedded.APP, "select number, name, sha256 from schema_migration order by number")
    assert [tuple(row) for row in rows] == [(one.number, one.name, one.sha256) for one in migrations()]
    database = await Database.open(empty.arguments(embedded.APP), master_key, connections=2, check_schema=check_schema)
    await database.close()


async def test_from_the_previous_version_with_data(empty: Empty, master_key: bytes) -> None:
    """Rows that the tables of the first version hold are there, and usable, after the upgrade."""
    assert await empty.upgrade(list(migrations()[:1])) == ALL[:1]
    with pytest.raises(Unrecoverable) as refused:
        await Database.open(empty.arguments(embedded.APP), master_key, check_schema=check_schema)
    assert (refused.value.code, refused.value.where) == ("schema_outdated", {"next": ALL[1]})
    before = await Database.open(empty.arguments(embedded.APP), master_key, connections=2)
    tenant = await before.add_tenant("main", datetime.now(UTC))
    assert tenant is not None
    async with before.transaction(tenant.tenant_id) as connection:
        agent = await connection.fetchval(
            "insert into agent (tenant_id, presence, presence_at) values ($1, 'ready', now()) returning agent_id",
            tenant.tenant_id,
        )
        await connection.execute(
            "insert into agent_version (tenant_id, agent_id, version, profile, created_at)"
            """ values ($1, $2, 1, '{"name": "A", "address": "sip:a@b", "capacity": {"voice": 1}}', now())""",
            tenant.tenant_id, agent,
        )  # fmt: skip
        await connection.execute(
            "insert into agent_place (tenant_id, agent_id, channel, place, version, free_since)"
            " values ($1, $2, 'voice', 0, 1, now())",
            tenant.tenant_id, agent,
        )  # fmt: skip
    await before.close()

    assert await empty.upgrade() == ALL[1:]
    after = await Database.open(empty.arguments(embedded.APP), master_key, connections=2, check_schema=check_schema)
    try:
        notices = Notices(after.arguments, "test")
        [found] = await after.tenants()
        committed = await RingStore(after, notices).commit(found, decision(contact(), [agent]), assignment_id=new_id())
        assert committed.agent_id == agent
        assert len(await Contacts(after, notices, _Now(), wrap_up_s=0).agents(found)) == 1
        assert (await Contacts(after, notices, _Now(), wrap_up_s=0).put_agent(found, agent_profile(), agent))[1] == 2
    finally:
        await after.close()


async def test_a_newer_schema_is_refused_and_untouched(empty: Empty, master_key: bytes) -> None:
    newer = [*migrations(), Migration(len(ALL) + 1, "9999_later.sql", "create table later (tenant_id int)", "0" * 64)]
    await empty.upgrade(newer)
    before = await empty.schema()
    for attempt in (
        empty.upgrade(),
        Database.open(empty.arguments(embedded.APP), master_key, check_schema=check_schema),
    ):
        with pytest.raises(Unrecoverable) as refused:
            await attempt
        assert refused.value.code == "newer_schema"
        assert refused.value.where == {"database": len(ALL) + 1, "program": len(ALL)}
    assert await empty.schema() == before


async def test_a_changed_migration_is_refused_and_nothing_applied(empty: Empty) -> None:
    first = migrations()[0]
    await empty.upgrade([first._replace(sha256="0" * 64)])
    before = await empty.schema()
    with pytest.raises(Unrecoverable) as refused:
        await empty.upgrade()
    assert refused.value.code == "migration_changed"
    assert await empty.schema() == before


async def test_a_failing_migration_leaves_nothing_half_done(empty: Empty) -> None:
    broken = Migration(len(ALL) + 1, "9999_broken.sql", "create table half (n int); select 1 / 0", "0" * 64)
    with pytest.raises(Unrecoverable) as refused:
        await empty.upgrade([*migrations(), broken])
    assert refused.value.code == "migration_failed"
    assert refused.value.where["migration"] == "9999_broken.sql"
    assert await empty.upgrade() == []
    assert await empty.run(embedded.OWNER, "select to_regclass('firstring.half') is null as gone") == [(True,)]


async def test_several_programs_at_once(empty: Empty) -> None:
    applied = await asyncio.gather(*(empty.upgrade() for _ in range(4)))
    assert sorted(applied) == [[], [], [], ALL]


async def test_who_may_not(empty: Empty) -> None:
    with pytest.raises(Unrecoverable) as refused:
        await upgrade(empty.arguments(embedded.APP), embedded.APP)
    assert refused.value.code == "database_no_rights"
    with pytest.raises(Unrecoverable) as refused:
        await upgrade(empty.arguments(embedded.OWNER), "nobody_of_this_name")
    assert refused.value.code == "app_role_missing"
    assert await empty.schema() == [[], [], [(False,)]]


async def test_the_application_role_may_not_change_the_schema(empty: Empty) -> None:
    await empty.upgrade()
    for statement in (
        "create table mine (n int)",
        "alter table record disable row level security",
        "drop policy of_tenant on record",
        "delete from tenant",
        "update tenant set name = 'x'",
        "insert into schema_migration values (99, 'x', 'x')",
        "truncate record",
    ):
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            await empty.run(embedded.APP, statement)


class _Now:
    def now(self) -> datetime:
        return datetime.now(UTC)

    def monotonic_s(self) -> float:
        return 0.0
