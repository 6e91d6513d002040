"""Staff, sign-ins and tokens; opening a database by settings; the first steps on an empty one."""

from __future__ import annotations

import asyncio
import secrets
import stat
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Literal

import asyncpg
import pytest
from argon2 import PasswordHasher

from firstring.errors import BadInput, FirstringError, Unrecoverable
from firstring.ports import SystemClock
from firstring.settings import Settings
from firstring.store.access import Access
from firstring.store.database import Database, Tenant
from firstring.store.opening import initialise, open_database, start_server, upgrade_database
from firstring.store.server import embedded

PASSWORD = "correct horse battery"


class MovableClock:
    """A clock that the test moves."""

    def __init__(self) -> None:
        self.time = datetime.now(UTC)

    def now(self) -> datetime:
        return self.time

    def monotonic_s(self) -> float:
        return self.time.timestamp()


async def code_of(call: Any) -> tuple[str, int]:
    with pytest.raises(FirstringError) as refused:
        await call
    return refused.value.code, refused.value.status


async def test_staff(access: Access, tenant: Tenant) -> None:
    made = await access.create_staff(tenant, " Ada@Example.test ", PASSWORD, "supervisor", agent_id=7)
    assert (made.login, made.role, made.agent_id, made.active) == ("ada@example.test", "supervisor", 7, True)
    assert await access.staff(tenant) == [made]
    assert await access.verify(tenant, "ADA@example.test", PASSWORD) == made
    for login, password in (
        ("ada@example.test", PASSWORD + "x"),
        ("nobody", PASSWORD),
        ("", ""),
        ("a\0", "x"),
        ("x" * 999, ""),
    ):
        assert await code_of(access.verify(tenant, login, password)) == ("login_refused", 401)
    assert await code_of(access.create_staff(tenant, "ada@example.TEST", PASSWORD, "agent")) == ("login_taken", 409)
    for login, password, role, code in (
        ("", PASSWORD, "agent", "login_invalid"),
        ("a\0b", PASSWORD, "agent", "login_invalid"),
        ("b", "short", "agent", "password_invalid"),
        ("b", "x" * 1000, "agent", "password_invalid"),
        ("b", PASSWORD, "king", "role_invalid"),
    ):
        assert await code_of(access.create_staff(tenant, login, password, role)) == (code, 400)  # type: ignore[arg-type]
    assert await code_of(access.set_password(tenant, 10**9, PASSWORD)) == ("unknown_staff", 404)


async def test_passwords_are_kept_as_argon2id(access: Access, tenant: Tenant, superuser: asyncpg.Connection) -> None:
    await access.create_staff(tenant, "one", PASSWORD, "agent")
    await access.create_staff(tenant, "two", PASSWORD, "agent")
    rows = await superuser.fetch("select password_hash from staff where tenant_id = $1", tenant.tenant_id)
    hashes = {row["password_hash"] for row in rows}
    assert len(hashes) == 2
    assert all(text.startswith("$argon2id$v=19$m=19456,t=2,p=1$") for text in hashes)


async def test_an_unknown_login_costs_as_much_work(access: Access, tenant: Tenant, monkeypatch: Any) -> None:
    """Counted in hashes verified, not in time."""
    await access.create_staff(tenant, "ada", PASSWORD, "agent")
    verified: list[str] = []

    class Counting(PasswordHasher):
        def verify(self, hash: str | bytes, password: str | bytes) -> Literal[True]:  # noqa: A002
            verified.append(str(hash).rpartition("$")[0].rpartition("$")[0])
            return super().verify(hash, password)

    monkeypatch.setattr(access, "_hasher", Counting(time_cost=2, memory_cost=19_456, parallelism=1))
    for login in ("ada", "nobody", "", "x" * 999):
        await code_of(access.verify(tenant, login, "wrong password"))
    assert await code_of(access.verify(None, "ada", PASSWORD)) == ("login_refused", 401)  # nor do tenants show
    assert len(verified) == 5
    assert len(set(verified)) == 1  # the same parameters


async def test_sign_in_and_out(database: Database, tenant: Tenant, superuser: asyncpg.Connection) -> None:
    clock = MovableClock()
    access = Access(database, clock)
    ada = await access.create_staff(tenant, "ada", PASSWORD, "administrator")
    session = await access.open_session(tenant, ada, timedelta(hours=1))
    found = await access.session(session.cookie)
    assert (found.staff, found.csrf, found.expires_at) == (ada, session.csrf, session.expires_at)
    assert found.tenant is tenant
    [row] = await superuser.fetch("select session_key from staff_session where tenant_id = $1", tenant.tenant_id)
    assert len(row["session_key"]) == 32
    for cookie in ("", "x", ".", f"{tenant.tenant_id}.", session.cookie + "x", f"999999{session.cookie}", "١.abc", "a\0b.c",
                   "1." + "\ud800" * 30, "9" * 50 + ".x"):  # fmt: skip
        assert await code_of(access.session(cookie)) == ("not_signed_in", 401)
        await access.end_session(cookie)
    other = await access.open_session(tenant, ada, timedelta(hours=9))
    await access.end_session(session.cookie)
    assert await code_of(access.session(session.cookie)) == ("not_signed_in", 401)
    clock.time += timedelta(hours=8)
    assert (await access.session(other.cookie)).staff == ada
    clock.time += timedelta(hours=2)
    assert await code_of(access.session(other.cookie)) == ("not_signed_in", 401)
    await access.open_session(tenant, ada, timedelta(hours=1))
    rows = await superuser.fetch("select 1 from staff_session where tenant_id = $1", tenant.tenant_id)
    assert len(rows) == 1  # what had expired is gone


async def test_a_new_password_or_a_lock_ends_sign_ins(access: Access, tenant: Tenant) -> None:
    ada = await access.create_staff(tenant, "ada", PASSWORD, "agent")
    session = await access.open_session(tenant, ada, timedelta(hours=1))
    await access.set_password(tenant, ada.staff_id, "another password")
    assert await code_of(access.session(session.cookie)) == ("not_signed_in", 401)
    assert await code_of(access.verify(tenant, "ada", PASSWORD)) == ("login_refused", 401)
    assert await access.verify(tenant, "ada", "another password") == ada
    session = await access.open_session(tenant, ada, timedelta(hours=1))
    await access.set_active(tenant, ada.staff_id, False)
    assert await code_of(access.session(session.cookie)) == ("not_signed_in", 401)
    assert await code_of(access.verify(tenant, "ada", "another password")) == ("login_refused", 401)
    await access.set_active(tenant, ada.staff_id, True)
    assert await access.verify(tenant, "ada", "another password") == ada


async def test_tokens(access: Access, tenant: Tenant, superuser: asyncpg.Connection) -> None:
    text, token = await access.create_token(tenant, "adapter", "switch")
    assert text.startswith(f"fr_{tenant.tenant_id}_")
    assert await access.token(text) == (tenant, token)
    assert await access.tokens(tenant) == [token]
    stored = str([dict(row) for row in await superuser.fetch("select * from api_token")])
    assert text.split("_", 2)[2] not in stored
    for wrong in ("", "fr_", "fr__", text[:-1], text + "x", text.removeprefix("fr_"), text.upper(), "fr_x_" + "y" * 43,
                  f"fr_{10**8}_" + "y" * 43, "fr_1_\0" + "y" * 43):  # fmt: skip
        assert await code_of(access.token(wrong)) == ("unknown_token", 401)
    assert await access.revoke_token(tenant, token.token_id)
    assert not await access.revoke_token(tenant, token.token_id)
    assert await code_of(access.token(text)) == ("unknown_token", 401)
    [revoked] = await access.tokens(tenant)
    assert revoked.revoked_at is not None
    assert (await code_of(access.create_token(tenant, "root", "x")))[0] == "role_invalid"  # type: ignore[arg-type]
    assert (await code_of(access.create_token(tenant, "read", "")))[0] == "token_name_invalid"


async def test_one_first_administrator(access: Access, tenant: Tenant) -> None:
    passwords = await asyncio.gather(*(access.ensure_administrator(tenant, f"admin{number}") for number in range(4)))
    [password] = [one for one in passwords if one]
    [staff] = await access.staff(tenant)
    assert staff.role == "administrator"
    assert await access.verify(tenant, staff.login, password) == staff
    assert (await code_of(access.create_tenant(tenant.name)))[0] == "tenant_exists"


async def test_from_nothing_to_an_open_database(make_home: Callable[[], Path]) -> None:
    settings = Settings(home=make_home(), tenant="acme", database_connections=2)
    assert await code_of(open_database(settings)) == ("master_key_missing", 500)
    said: list[str] = []
    first = await initialise(settings, SystemClock(), progress=said.append)
    assert first.made == ("master key", "tenant", "patterns", "administrator")
    assert any("0001_foundation" in text for text in said)
    assert stat.S_IMODE(settings.key_file.stat().st_mode) == 0o600
    again = await initialise(settings, SystemClock())
    assert (again.made, again.password) == ((), None)
    store = await open_database(settings)
    try:
        tenant = await store.database.tenant_named("acme")
        assert first.password is not None
        assert (
            await Access(store.database, SystemClock()).verify(tenant, first.login, first.password)
        ).role == "administrator"
    finally:
        await store.close()
    assert await upgrade_database(settings) == []

    key = settings.key_file.read_bytes()
    settings.key_file.unlink()
    refused = await code_of(initialise(settings, SystemClock()))
    assert refused[0] == "master_key_missing"
    assert not settings.key_file.exists()  # no new key over sealed data
    wrong = Settings(home=settings.home, tenant="acme", master_key=secrets.token_hex(32))
    assert (await code_of(open_database(wrong)))[0] == "wrong_master_key"
    assert (await code_of(initialise(wrong, SystemClock())))[0] == "wrong_master_key"
    right = Settings(home=settings.home, tenant="acme", master_key=key.decode().strip())
    await (await open_database(right)).close()


async def test_a_server_of_ones_own_is_upgraded_only_when_asked(
    server: embedded.EmbeddedServer, database: Database, make_home: Callable[[], Path], master_key: bytes
) -> None:
    name = f"own_{secrets.token_hex(4)}"
    admin = await asyncpg.connect(**server.dsn(embedded.SUPERUSER, "postgres"))
    await admin.execute(f"create database {name} owner {embedded.OWNER} template template0")

    def url(role: str) -> str:
        return f"postgresql:///{name}?host={server.socket_dir}&port=5432&user={role}"

    settings = Settings(
        home=make_home(),
        database_url=url(embedded.APP),
        database_owner_url=url(embedded.OWNER),
        database_connections=2,
        master_key=master_key.hex(),
    )
    try:
        assert (await code_of(open_database(settings)))[0] == "schema_missing"
        assert (await code_of(initialise(settings, SystemClock())))[0] == "schema_missing"
        assert len(await upgrade_database(settings)) > 1
        assert (await initialise(settings, SystemClock())).made == ("tenant", "patterns", "administrator")
        store = await open_database(settings)
        assert [tenant.name for tenant in await store.database.tenants()] == ["main"]
        await store.close()
        assert not settings.home.exists()  # nothing embedded was made
        unsafe = Settings(home=settings.home, database_url=url(embedded.SUPERUSER), master_key=master_key.hex())
        assert (await code_of(open_database(unsafe)))[0] == "unsafe_database_role"
    finally:
        await admin.execute(f"drop database {name} with (force)")
        await admin.close()


async def test_a_url_without_a_role(tmp_path: Path) -> None:
    with pytest.raises(BadInput):
        await start_server(Settings(home=tmp_path, database_url="postgresql:///x"))
    with pytest.raises(Unrecoverable):
        await open_database(Settings(home=tmp_path, database_url="postgresql://a@/x"))
