"""Notices between the parts of a server and between servers: something happened to a contact or an agent.

They are sent by the transactions themselves (NOTIFY, ids only) and heard on one dedicated connection. What this process
did itself is told at once, without the way through the database; its own echo is dropped by `origin`.
A notice may be lost with a connection: whoever needs certainty reads the state anew (`resync` is told to subscribers).
"""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Callable
from typing import NamedTuple

import asyncpg
import structlog

from firstring.errors import FirstringError
from firstring.store.database import ConnectArguments, connect

_log = structlog.get_logger("firstring.notices")


class Notice(NamedTuple):
    """what: route, wait, keep, ringing, answered, busy, ..., finished, presence, picked; resync: notices may be missing."""

    tenant_id: int
    what: str
    contact_id: uuid.UUID | None = None
    agent_id: int | None = None


class Notices:
    """Publishes to subscribers in this process and hears other processes. `origin` is this process's own name."""

    def __init__(self, arguments: ConnectArguments, origin: str) -> None:
        self._arguments = arguments
        self.origin = origin
        self._subscribers: list[Callable[[Notice], None]] = []
        self._task: asyncio.Task[None] | None = None

    def subscribe(self, subscriber: Callable[[Notice], None]) -> Callable[[], None]:
        """Calls `subscriber` (which must not block) with every notice; returns the way to end it."""
        self._subscribers.append(subscriber)
        return lambda: self._subscribers.remove(subscriber)

    def publish(self, notice: Notice) -> None:
        """Tells this process at once."""
        for subscriber in tuple(self._subscribers):
            subscriber(notice)

    async def start(self) -> None:
        self._task = asyncio.create_task(self._listen(), name="notices")

    async def stop(self) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
            self._task = None

    async def _listen(self) -> None:
        """Listens for ever; a lost connection is made anew, and everybody is told to read their state again."""
        pause_s = 0.05
        while True:
            connection: asyncpg.Connection | None = None
            lost = asyncio.Event()
            try:
                connection = await connect(self._arguments)
                connection.add_termination_listener(lambda _: lost.set())  # noqa: B023 - one per round
                await connection.add_listener("firstring", self._heard)
                self.publish(Notice(0, "resync"))
                pause_s = 0.05
                await lost.wait()
                _log.warning("notices_lost_connection")
            except (FirstringError, asyncpg.PostgresError, asyncpg.InterfaceError, OSError) as error:
                _log.warning("notices_cannot_listen", error=type(error).__name__)
            finally:
                if connection is not None and not connection.is_closed():
                    connection.terminate()
            await asyncio.sleep(pause_s)
            pause_s = min(2 * pause_s, 1.0)

    def _heard(self, _connection: object, _pid: int, _channel: str, payload: object) -> None:
        try:
            tenant_id, what, contact_id, agent_id, origin = str(payload).split(" ")
            notice = Notice(
                int(tenant_id),
                what,
                None if contact_id == "-" else uuid.UUID(contact_id),
                None if agent_id == "-" else int(agent_id),
            )
        except ValueError:
            _log.warning("notice_malformed")
            return
        if origin != self.origin:
            self.publish(notice)
