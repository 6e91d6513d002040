"""Numbered migrations: store/migrations/NNNN_name.sql, each applied once, in a transaction, in order.

The table schema_migration says what was applied, with the SHA-256 of each file. A database that a newer Firstring has
upgraded is refused, and so is a file that was changed after it was applied: nothing is changed then.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Sequence
from functools import cache
from importlib import resources
from typing import Any, Final, NamedTuple

import asyncpg

from firstring.errors import Unrecoverable
from firstring.store.database import ConnectArguments, connect, translated
from firstring.store.queries import sql

LOCK_TIMEOUT_S: Final = 600.0
"""How long an upgrade waits for another program's upgrade."""
_FILE = re.compile(r"(?P<number>\d{4})_(?P<name>[a-z0-9_]+)\.sql")


class Migration(NamedTuple):
    """One file. `number` counts from 1 without gaps."""

    number: int
    name: str
    text: str
    sha256: str


@cache
def migrations() -> tuple[Migration, ...]:
    """The migrations of this program, in order. Raises ValueError where a number is missing or taken twice."""
    found = []
    for file in resources.files("firstring.store").joinpath("migrations").iterdir():
        match = _FILE.fullmatch(file.name)
        if match is None:
            continue
        text = file.read_text("utf-8")
        found.append(Migration(int(match["number"]), file.name, text, hashlib.sha256(text.encode()).hexdigest()))
    found.sort()
    if [migration.number for migration in found] != list(range(1, len(found) + 1)):
        raise ValueError(f"migrations must count from 1 without gaps: {[migration.name for migration in found]}")
    return tuple(found)


async def upgrade(
    owner: ConnectArguments,
    app_role: str,
    *,
    progress: Callable[[str], None] = lambda _: None,
    known: Sequence[Migration] | None = None,
) -> list[str]:
    """Brings the schema up to date and gives `app_role` its rights; returns the names of what was applied.

    `owner` connects as the role that owns the schema. Safe to run from several programs at once, and to repeat after a
    crash. Raises Unrecoverable newer_schema, migration_changed, migration_failed, app_role_missing, database_no_rights.
    """
    known = migrations() if known is None else known
    connection = await connect(owner)
    try:
        with translated():
            await connection.execute(sql("migrate", "lock"), timeout=LOCK_TIMEOUT_S)
            try:
                return await _upgrade(connection, app_role, known, progress)
            except asyncpg.InsufficientPrivilegeError as error:
                raise Unrecoverable(
                    "database_no_rights",
                    "The role may not change the schema.",
                    where={"setting": "FIRSTRING_DATABASE_OWNER_URL"},
                    hint="Connect as the schema's owner, with the right to create a schema the first time.",
                ) from error
    finally:
        await connection.close()


async def check_schema(connection: asyncpg.Connection) -> None:
    """Refuses a schema that is not this program's. Raises Unrecoverable schema_outdated, newer_schema, migration_changed.

    A database without any schema raises the driver's error, which `translated` makes schema_missing.
    """
    pending = _pending(await connection.fetch(sql("migrate", "applied")), migrations())
    if pending:
        raise Unrecoverable(
            "schema_outdated",
            f"The database's schema is older than this program: {len(pending)} migrations are missing.",
            where={"next": pending[0].name},
            hint="Run `firstring db upgrade`.",
        )


async def _upgrade(
    connection: asyncpg.Connection, app_role: str, known: Sequence[Migration], progress: Callable[[str], None]
) -> list[str]:
    if not await connection.fetchval(sql("migrate", "role_exists"), app_role):
        raise Unrecoverable(
            "app_role_missing",
            "The application's database role does not exist.",
            where={"role": app_role},
            hint="Create it: create role NAME login nosuperuser nobypassrls.",
        )
    there = await connection.fetchrow(sql("migrate", "has_schema"))
    applied = await connection.fetch(sql("migrate", "applied")) if there["list"] else []
    pending = _pending(applied, known)
    async with connection.transaction():
        if not there["schema"]:
            await connection.execute(sql("migrate", "create_schema"))
        if not there["list"]:
            await connection.execute(sql("migrate", "create_list"))
    for migration in pending:
        progress(f"migrating the database: {migration.name}")
        await _apply(connection, migration)
    async with connection.transaction():
        for row in await connection.fetch(sql("migrate", "grants"), app_role):
            await connection.execute(row["statement"])
    return [migration.name for migration in pending]


async def _apply(connection: asyncpg.Connection, migration: Migration) -> None:
    try:
        async with connection.transaction():
            await connection.execute(migration.text)
            await connection.execute(sql("migrate", "record"), migration.number, migration.name, migration.sha256)
    except (asyncpg.SyntaxOrAccessError, asyncpg.IntegrityConstraintViolationError, asyncpg.DataError) as error:
        if isinstance(error, asyncpg.InsufficientPrivilegeError):
            raise
        raise Unrecoverable(
            "migration_failed",
            f"A migration failed and was rolled back ({type(error).__name__}).",
            where={"migration": migration.name, "position": error.position},
            hint="The schema is as it was before this migration. Report it, with the PostgreSQL version.",
        ) from error


def _pending(applied: Sequence[Any], known: Sequence[Migration]) -> list[Migration]:
    """What is still to be applied. Raises Unrecoverable newer_schema or migration_changed."""
    newest = known[-1].number
    if applied and applied[-1]["number"] > newest:
        raise Unrecoverable(
            "newer_schema",
            "The database was upgraded by a newer Firstring. Nothing was changed.",
            where={"database": applied[-1]["number"], "program": newest},
            hint="Install that version or a newer one, or restore the backup made before the upgrade.",
        )
    by_number = {row["number"]: row for row in applied}
    for migration in known[: len(applied)]:
        row = by_number.get(migration.number)
        if row is None or row["sha256"] != migration.sha256:
            raise Unrecoverable(
                "migration_changed",
                "A migration that was applied to this database differs from this program's. Nothing was changed.",
                where={"migration": migration.name},
                hint="Migrations are never edited once released: install the release that this database was made with.",
            )
    return list(known[len(applied) :])
