"""Rows asked for in parts: while one part is worked on, the database finds the next."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Iterable, Sequence
from typing import Any

from firstring.store.database import Connection


async def fetched_ahead(
    connection: Connection, statement: str, first: Any, parts: Iterable[Sequence[Any]], *more: Any
) -> AsyncGenerator[list[Any], None]:
    """The rows of a statement (first argument, a part, more arguments), part by part; parts may be made on the way.

    The connection is in use until the end: use it with contextlib.aclosing.
    """
    under_way: asyncio.Future[list[Any]] | None = None
    try:
        for part in parts:
            rows = await under_way if under_way is not None else None
            under_way = asyncio.ensure_future(connection.fetch(statement, first, part, *more))
            await asyncio.sleep(0)  # so that it is sent before anybody works on
            if rows is not None:
                yield rows
        if under_way is not None:
            rows, under_way = await under_way, None
            yield rows
    finally:
        if under_way is not None and not under_way.done():
            under_way.cancel()
            await asyncio.wait((under_way,))
