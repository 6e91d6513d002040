"""The store under a command of the terminal: opened for one piece of work, and closed again."""

from __future__ import annotations

from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, NamedTuple

from rich.console import Console

if TYPE_CHECKING:
    from firstring.settings import Settings
    from firstring.store.database import Database, Tenant

_err = Console(stderr=True)


class Opened(NamedTuple):
    """What a command works on: the tenant of the settings, in an open store."""

    database: Database
    tenant: Tenant
    settings: Settings


def run(work: Coroutine[Any, Any, Any]) -> Any:
    """Runs the work of a command to its end."""
    import uvloop

    return uvloop.run(work)


@asynccontextmanager
async def store() -> AsyncIterator[Opened]:
    """The store of the settings, until the block ends. Raises as `database_only`, and BadInput unknown_tenant."""
    from firstring.settings import load
    from firstring.store.opening import database_only

    settings = load()

    def say(text: str) -> None:
        _err.print(text, style="dim", highlight=False, markup=False)

    async with database_only(settings, say) as database:
        yield Opened(database, await database.tenant_named(settings.tenant), settings)
