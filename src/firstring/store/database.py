"""The connection to PostgreSQL: a pool that never recycles, tenants set transaction by transaction, errors made ours."""

from __future__ import annotations

import os
import re
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from datetime import datetime
from typing import Any, Final, TypeAlias

import asyncpg

from firstring.errors import BadInput, FirstringError, Retryable, Unrecoverable
from firstring.store.queries import sql
from firstring.store.seal import KEY_BYTES, TenantKeys, unwrap_tenant_secret, wrap_tenant_secret

ConnectArguments = Mapping[str, Any]
"""What asyncpg.connect takes: {"dsn": url} or {"host": socket directory, "user": role, "database": name}."""

_TENANT_NAME = re.compile(r"[a-z0-9][a-z0-9-]{0,62}")

COMMAND_TIMEOUT_S = 60.0
"""No statement takes longer, unless it names its own; it also bounds the wait for a frozen server to cancel one."""

STATEMENTS_KEPT: Final = 500
"""Prepared on each connection, for as long as it lives: more than a server has, so that none is planned again and again."""

Connection: TypeAlias = "asyncpg.pool.PoolConnectionProxy | asyncpg.Connection"


async def connect(arguments: ConnectArguments, *, timeout_s: float = 10.0) -> asyncpg.Connection:
    """One connection of its own (for LISTEN, migrations, long work). Raises as `translated`."""
    with translated():
        return await asyncpg.connect(
            **arguments, timeout=timeout_s, server_settings={"search_path": "firstring", "application_name": "firstring"}
        )


class translated:  # noqa: N801 - reads as a verb: with translated(): ...
    """Turns what the driver raises into our errors; personal data in the server's messages is not repeated.

    `connecting` False is for a block with code of the caller's in it, whose own OSError (a file is missing) is none of
    the database's.
    """

    def __init__(self, *, connecting: bool = True) -> None:
        self._connecting = connecting

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: Any) -> None:
        if error is None or isinstance(error, FirstringError):
            return
        ours = _ours(error, self._connecting)
        if ours is not None:
            raise ours from error


_UNAVAILABLE = (
    asyncpg.PostgresConnectionError,
    asyncpg.InterfaceError,
    asyncpg.InternalClientError,  # what the driver raises where a connection is lost between two messages
    asyncpg.CannotConnectNowError,
    asyncpg.TooManyConnectionsError,
    asyncpg.AdminShutdownError,
    asyncpg.CrashShutdownError,
    ConnectionError,
    ssl.SSLError,
)


def _ours(error: BaseException, connecting: bool) -> FirstringError | None:
    name = type(error).__name__
    if isinstance(error, asyncpg.InvalidPasswordError | asyncpg.InvalidAuthorizationSpecificationError):
        return Unrecoverable(
            "database_refuses_login",
            "PostgreSQL refuses the log-in.",
            where={"setting": "FIRSTRING_DATABASE_URL"},
            hint="Check the role and password.",
        )
    if isinstance(error, asyncpg.InvalidCatalogNameError):
        return Unrecoverable(
            "database_missing",
            "There is no such database.",
            where={"setting": "FIRSTRING_DATABASE_URL"},
            hint="Create it, then run `firstring db upgrade`.",
        )
    if isinstance(error, asyncpg.UndefinedTableError | asyncpg.UndefinedFunctionError | asyncpg.InvalidSchemaNameError):
        return Unrecoverable(
            "schema_missing", "The database has no Firstring schema, or an older one.", hint="Run `firstring db upgrade`."
        )
    if isinstance(error, asyncpg.DiskFullError):
        return Retryable(
            "database_full", "PostgreSQL's disk is full; nothing of this call was stored.", hint="Free space and retry."
        )
    if isinstance(error, asyncpg.QueryCanceledError | TimeoutError):
        return Retryable("database_slow", "PostgreSQL did not answer in time.", hint="Retry; look at its load.")
    if isinstance(error, _UNAVAILABLE) or (connecting and isinstance(error, OSError)):
        return Retryable("database_unavailable", f"PostgreSQL cannot be reached ({name}).", hint="Retry; is it running?")
    if isinstance(error, asyncpg.SerializationError | asyncpg.DeadlockDetectedError | asyncpg.LockNotAvailableError):
        return Retryable("database_conflict", "Two changes met; nothing of this call was stored.", hint="Retry.")
    if isinstance(error, asyncpg.DataError):
        return BadInput("value_not_storable", "A value cannot be stored.", hint="Check its form and size.")
    return None


class Tenant:
    """A tenant that is open: its id, its name and its keys.

    kept: what this process holds of it between transactions, by the module that holds it; bounded there.
    """

    __slots__ = ("kept", "keys", "name", "tenant_id")

    def __init__(self, tenant_id: int, name: str, keys: TenantKeys) -> None:
        self.tenant_id = tenant_id
        self.name = name
        self.keys = keys
        self.kept: dict[str, Any] = {}


class Database:
    """The application's pool. Open it with `Database.open`; it refuses unsafe roles and wrong keys before anything else."""

    def __init__(self, pool: asyncpg.Pool, master_key: bytes, arguments: ConnectArguments) -> None:
        self.pool = pool
        self.arguments = arguments
        self._master_key = master_key
        self._tenants: dict[int, Tenant] = {}

    @classmethod
    async def open(
        cls,
        arguments: ConnectArguments,
        master_key: bytes,
        *,
        connections: int = 8,
        check_schema: Callable[[asyncpg.Connection], Awaitable[None]] | None = None,
        warm: Callable[[asyncpg.Connection], Awaitable[None]] | None = None,
    ) -> Database:
        """Connects `connections` at once and keeps them; `warm` readies each of them for what it will be used for.

        Raises Unrecoverable unsafe_database_role, wrong_master_key, schema_missing; Retryable database_unavailable.
        """
        probe = await connect(arguments)
        try:
            with translated():
                await refuse_unsafe_role(probe)
                if check_schema is not None:
                    await check_schema(probe)
                for row in await probe.fetch(sql("access", "tenants")):
                    unwrap_tenant_secret(master_key, row["name"], row["wrapped_key"])
        finally:
            await probe.close()
        with translated():
            pool = await asyncpg.create_pool(
                **arguments,
                min_size=connections,
                max_size=connections,
                max_inactive_connection_lifetime=0,
                max_queries=2**31,
                server_settings={"search_path": "firstring", "application_name": "firstring", "jit": "off"},
                reset=_keep,
                init=warm,
                command_timeout=COMMAND_TIMEOUT_S,
                statement_cache_size=STATEMENTS_KEPT,
                max_cached_statement_lifetime=0,
            )
        return cls(pool, master_key, arguments)

    async def close(self) -> None:
        """Waits for what is running, then closes."""
        await self.pool.close()

    async def tenants(self) -> list[Tenant]:
        """Every tenant of this database, opened."""
        with translated():
            rows = await self.pool.fetch(sql("access", "tenants"))
        return [self._open(row) for row in rows]

    async def tenant(self, tenant_id: int) -> Tenant:
        """One tenant. Raises BadInput unknown_tenant (404)."""
        known = self._tenants.get(tenant_id)
        if known is not None:
            return known
        with translated():
            row = await self.pool.fetchrow(sql("access", "tenant_by_id"), tenant_id)
        if row is None:
            raise BadInput("unknown_tenant", "There is no such tenant.", where={"tenant": tenant_id}, http_status=404)
        return self._open(row)

    def _open(self, row: asyncpg.Record) -> Tenant:
        tenant = self._tenants.get(row["tenant_id"])
        if tenant is None:
            secret = unwrap_tenant_secret(self._master_key, row["name"], row["wrapped_key"])
            tenant = self._tenants[row["tenant_id"]] = Tenant(row["tenant_id"], row["name"], TenantKeys(secret))
        return tenant

    async def add_tenant(self, name: str, created_at: datetime) -> Tenant | None:
        """A new tenant with a secret of its own; None where the name is taken. Raises BadInput tenant_name_invalid."""
        if _TENANT_NAME.fullmatch(name) is None:
            raise BadInput(
                "tenant_name_invalid",
                "That cannot be a tenant's name.",
                where={"field": "tenant"},
                hint="Use up to 63 lower-case letters, digits and hyphens.",
            )
        wrapped = wrap_tenant_secret(self._master_key, name, os.urandom(KEY_BYTES))
        with translated():
            row = await self.pool.fetchrow(sql("access", "add_tenant"), name, wrapped, created_at)
        return None if row is None else self._open(row)

    async def tenant_named(self, name: str) -> Tenant:
        """One tenant by its name. Raises BadInput unknown_tenant (404)."""
        with translated():
            row = await self.pool.fetchrow(sql("access", "tenant_by_name"), name)
        if row is None:
            raise BadInput("unknown_tenant", "There is no such tenant.", where={"tenant": name}, http_status=404)
        return self._open(row)

    @asynccontextmanager
    async def transaction(
        self,
        tenant_id: int,
        *,
        timeout_s: float = 10.0,
        plans_kept: bool = False,
        waits_for_disk: bool = True,
        begins_with: str = "",
    ) -> AsyncIterator[Connection]:
        """A transaction in which the tenant is set; committed at the end, rolled back on any error.

        plans_kept: statements are planned once for each connection, for any values: for look-ups by keys, whose plans take
        longer than they do. waits_for_disk False: a crash of PostgreSQL may undo it, and then all that was committed after
        it; whoever commits durably afterwards makes it durable too. begins_with: a statement (a lock to be waited for) that
        goes along with the beginning.

        Raises Retryable not_committed where the caller swallowed an error that had ended the transaction.
        """
        with translated():
            connection = await self.pool.acquire(timeout=timeout_s)
        try:
            with translated(connecting=False):
                try:
                    begin = f"begin; set local app.tenant = '{int(tenant_id)}'"
                    if plans_kept:
                        begin += "; set local plan_cache_mode = force_generic_plan"
                    if not waits_for_disk:
                        begin += "; set local synchronous_commit = off"
                    if begins_with:
                        begin += f"; {begins_with}"
                    await connection.execute(begin)
                    yield connection
                    status = await connection.execute("commit")
                except BaseException:
                    if not connection.is_closed():
                        await connection.execute("rollback")
                    raise
                if status != "COMMIT":
                    raise Retryable("not_committed", "The transaction had failed before; nothing was stored.")
        finally:
            await self.pool.release(connection)

    async def row(self, statement: str, *arguments: Any, timeout_s: float = 5.0) -> asyncpg.Record | None:
        """The first row of a statement whose functions set the tenant themselves: a transaction in one round trip."""
        with translated():
            return await self.pool.fetchrow(statement, *arguments, timeout=timeout_s)

    async def call(self, function: str, *arguments: Any, timeout_s: float = 5.0) -> asyncpg.Record | None:
        """One function of the schema that sets the tenant itself, as one round trip."""
        placeholders = ", ".join(f"${number}" for number in range(1, len(arguments) + 1))
        statement = f"select * from {function}({placeholders})"  # noqa: S608 - names are constants of the code
        return await self.row(statement, *arguments, timeout_s=timeout_s)


async def refuse_unsafe_role(connection: asyncpg.Connection) -> None:
    """Raises Unrecoverable unsafe_database_role where row-level security would not hold."""
    row = await connection.fetchrow(sql("access", "own_role"))
    if row is None or row["rolsuper"] or row["rolbypassrls"]:
        raise Unrecoverable(
            "unsafe_database_role",
            "The database role is a superuser or bypasses row-level security: tenants would not be kept apart.",
            where={"role": row["rolname"] if row else "?"},
            hint="Connect as a role that is NOSUPERUSER NOBYPASSRLS.",
        )


async def _keep(connection: asyncpg.Connection) -> None:
    """No reset on release: sessions carry no settings, the tenant is set in transactions only (saves a round trip)."""
