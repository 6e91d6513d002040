"""From settings to an open database: the embedded server, which upgrades itself, or a server of one's own, which
`firstring db upgrade` upgrades; and the first steps on an empty one (`firstring init`)."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from typing import NamedTuple

import asyncpg

from firstring.errors import FirstringError, Unrecoverable
from firstring.journey.patterns.library import sources
from firstring.ports import Clock
from firstring.settings import Settings
from firstring.store.access import Access
from firstring.store.database import ConnectArguments, Database, Tenant, connect, translated
from firstring.store.journey.declared import load
from firstring.store.queries import sql
from firstring.store.seal import create_master_key, read_master_key
from firstring.store.server import embedded
from firstring.store.server.migrate import check_schema, upgrade

Progress = Callable[[str], None]
Warm = Callable[[asyncpg.Connection], Awaitable[None]]


def _quiet(_: str) -> None:
    return None


class Server(NamedTuple):
    """A server that answers. `embedded` is None for one of one's own."""

    app: ConnectArguments
    owner: ConnectArguments
    app_role: str
    embedded: embedded.EmbeddedServer | None

    def release(self) -> None:
        """Stop using it. Idempotent."""
        if self.embedded is not None:
            self.embedded.release()


class OpenStore(NamedTuple):
    """An open database and the server under it."""

    database: Database
    server: Server

    async def close(self) -> None:
        """Waits for running calls, closes the pool, releases the embedded server."""
        try:
            await self.database.close()
        finally:
            self.server.release()


@asynccontextmanager
async def database_only(settings: Settings, progress: Progress = _quiet) -> AsyncIterator[Database]:
    """The store alone, for commands, which would wait for a second until all of a server is imported."""
    opened = await open_database(settings, progress)
    try:
        yield opened.database
    finally:
        with suppress(FirstringError):
            await opened.close()


class Initialised(NamedTuple):
    """What `initialise` found or made. `password` is the new administrator's, None where there was one already."""

    tenant: str
    login: str
    password: str | None
    made: tuple[str, ...]


async def start_server(settings: Settings, progress: Progress = _quiet) -> Server:
    """The server that the settings mean, running. Raises as `embedded.start`, and BadInput setting_invalid."""
    if settings.is_embedded:
        running = await asyncio.to_thread(embedded.start, settings.home, progress=progress)
        return Server(running.dsn(embedded.APP), running.dsn(embedded.OWNER), embedded.APP, running)
    owner = settings.database_owner_url or settings.database_url
    return Server({"dsn": settings.database_url}, {"dsn": owner}, settings.database_role(), None)


async def upgrade_database(settings: Settings, progress: Progress = _quiet) -> list[str]:
    """`firstring db upgrade`: the names of the migrations that were applied. Raises as `migrate.upgrade`."""
    server = await start_server(settings, progress)
    try:
        return await upgrade(server.owner, server.app_role, progress=progress)
    finally:
        server.release()


async def open_database(settings: Settings, progress: Progress = _quiet, *, warm: Warm | None = None) -> OpenStore:
    """The database of the settings, open as the application role. `warm` readies each connection (see Database.open).

    The embedded server is started where it does not run, and upgraded. Raises Unrecoverable wrong_master_key,
    master_key_missing, newer_schema, schema_outdated, unsafe_database_role and more; then nothing was changed but the
    embedded server's schema, to this program's.
    """
    key = read_master_key(settings.key_file, settings.master_key)
    server = await start_server(settings, progress)
    try:
        return OpenStore(await _open(settings, server, key, progress, warm), server)
    except BaseException:
        server.release()
        raise


async def initialise(settings: Settings, clock: Clock, *, login: str = "admin", progress: Progress = _quiet) -> Initialised:
    """`firstring init`: makes what is missing of the master key, the tenant and its first administrator. Idempotent.

    A tenant that is made here has the patterns of the library switched on.
    """
    made: list[str] = []
    server = await start_server(settings, progress)
    try:
        if server.embedded is not None:
            await upgrade(server.owner, server.app_role, progress=progress)
        if not settings.master_key and not settings.key_file.exists():
            await _refuse_lost_key(server, settings)
            try:
                create_master_key(settings.key_file)
                made.append("master key")
            except FileExistsError:
                progress("another program made the master key just now")
        key = read_master_key(settings.key_file, settings.master_key)
        database = await _open(settings, server, key, progress)
        try:
            access = Access(database, clock)
            tenant: Tenant | None = await database.add_tenant(settings.tenant, clock.now())
            if tenant is not None:
                made.append("tenant")
                await load(database, tenant, sources(), by="init", now=clock.now(), switch_on=True)
                made.append("patterns")
            else:
                tenant = await database.tenant_named(settings.tenant)
            password = await access.ensure_administrator(tenant, login)
            if password is not None:
                made.append("administrator")
        finally:
            await database.close()
    finally:
        server.release()
    return Initialised(settings.tenant, login, password, tuple(made))


async def _open(settings: Settings, server: Server, key: bytes, progress: Progress, warm: Warm | None = None) -> Database:
    if server.embedded is not None:
        await upgrade(server.owner, server.app_role, progress=progress)
    return await Database.open(
        server.app, key, connections=settings.database_connections, check_schema=check_schema, warm=warm
    )


async def _refuse_lost_key(server: Server, settings: Settings) -> None:
    """A database with tenants needs the key it was sealed with: a new one would open nothing."""
    probe = await connect(server.app)
    try:
        with translated():
            tenants = await probe.fetch(sql("access", "tenants"))
    finally:
        await probe.close()
    if tenants:
        raise Unrecoverable(
            "master_key_missing",
            "The database holds sealed data, and its master key is missing. Nothing was changed.",
            where={"file": str(settings.key_file)},
            hint="Restore the key from your backup, or set FIRSTRING_MASTER_KEY.",
        )
