"""Notices between the parts of a server and between servers: something happened to a contact or an agent.

They hold ids only and travel by NOTIFY. A server sends its own in batches, soon after the transactions they are about:
PostgreSQL lets only one transaction that notifies commit at a time, its write to the disk included, which made claims
wait for each other (docs/decisions/notices.md). A program that runs no sender has its transactions notify themselves.
What this process did itself is told at once, without the way through the database; its own echo is dropped by `origin`.
A notice may be lost with a connection: whoever needs certainty reads the state anew (`resync` is told to subscribers).
"""

from __future__ import annotations

import asyncio
import uuid
from collections import deque
from collections.abc import Callable
from typing import Final, NamedTuple

import asyncpg
import structlog

from firstring.errors import FirstringError
from firstring.store.database import ConnectArguments, connect
from firstring.store.queries import sql

_log = structlog.get_logger("firstring.notices")

BATCH_S: Final = 0.01
"""How long a notice to other processes waits for company."""
_LOST: Final = (asyncpg.PostgresError, asyncpg.InterfaceError, asyncpg.InternalClientError, OSError)
UNSENT_MAX: Final = 10_000
"""Notices kept while the database is away; beyond it the others are told to read their state anew."""


class Notice(NamedTuple):
    """what: route, wait, keep, ringing, answered, busy, ..., finished, presence, picked; resync: notices may be missing.

    carried: what this process knows of it already, so that its subscribers need not read it; others are not told it.
    """

    tenant_id: int
    what: str
    contact_id: uuid.UUID | None = None
    agent_id: int | None = None
    carried: object | None = None


class Notices:
    """Publishes to subscribers in this process and hears other processes. `origin` is this process's own name."""

    def __init__(self, arguments: ConnectArguments, origin: str) -> None:
        self._arguments = arguments
        self.origin = origin
        self._subscribers: list[Callable[[Notice], None]] = []
        self._unsent: deque[Notice] = deque(maxlen=UNSENT_MAX)
        self._sending: tuple[Notice, ...] = ()
        self._all_sent = asyncio.Event()
        self._all_sent.set()
        self._to_send = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    @property
    def origin_in_transaction(self) -> str | None:
        """What the schema's functions are given as p_origin: None where this process sends its notices itself."""
        return self.origin if self._task is None else None

    def subscribe(self, subscriber: Callable[[Notice], None]) -> Callable[[], None]:
        """Calls `subscriber` (which must not block) with every notice; returns the way to end it."""
        self._subscribers.append(subscriber)
        return lambda: self._subscribers.remove(subscriber)

    def tell(self, notice: Notice) -> None:
        """Tells this process at once, and the others soon."""
        if self._task is not None:
            if len(self._unsent) == UNSENT_MAX:
                self._unsent.clear()
                self._unsent.append(Notice(0, "resync"))
            self._unsent.append(notice._replace(carried=None))
            self._all_sent.clear()
            self._to_send.set()
        self.publish(notice)

    def publish(self, notice: Notice) -> None:
        """Tells this process only."""
        for subscriber in tuple(self._subscribers):
            subscriber(notice)

    async def start(self) -> None:
        self._task = asyncio.create_task(self._listen(), name="notices")

    async def stop(self) -> None:
        """Sends what is unsent, for as long as the database answers, and ends."""
        if self._task is not None:
            try:
                async with asyncio.timeout(1.0):
                    await self._all_sent.wait()
            except TimeoutError:
                _log.warning("notices_not_sent", count=len(self._unsent))
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
            self._task = None

    async def _listen(self) -> None:
        """Listens for ever; a lost connection is made anew, and everybody is told to read their state again."""
        pause_s = 0.05
        while True:
            connection: asyncpg.Connection | None = None
            try:
                connection = await connect(self._arguments)
                connection.add_termination_listener(lambda _: self._to_send.set())
                await connection.add_listener("firstring", self._heard)
                self.publish(Notice(0, "resync"))
                pause_s = 0.05
                await self._send(connection)
                _log.warning("notices_lost_connection")
            except (FirstringError, *_LOST) as error:
                _log.warning("notices_cannot_listen", error=type(error).__name__)
            finally:
                if connection is not None and not connection.is_closed():
                    connection.terminate()
            await asyncio.sleep(pause_s)
            pause_s = min(2 * pause_s, 1.0)

    async def _send(self, connection: asyncpg.Connection) -> None:
        """Sends notices until the connection is lost."""
        await connection.execute(sql("notices", "without_waiting_for_the_disk"))
        if self._unsent:
            self._to_send.set()
        try:
            while True:
                await self._to_send.wait()
                await asyncio.sleep(BATCH_S)
                self._to_send.clear()
                if connection.is_closed():
                    return
                self._sending = tuple(self._unsent)
                self._unsent.clear()
                await connection.execute(sql("notices", "send"), [self._payload(notice) for notice in self._sending])
                self._sending = ()
                if not self._unsent:
                    self._all_sent.set()
        finally:
            again, self._sending = (*self._sending, *self._unsent), ()
            self._unsent.clear()
            self._unsent.extend(again if len(again) <= UNSENT_MAX else [Notice(0, "resync")])

    def _payload(self, notice: Notice) -> str:
        """As the schema's function tell writes it."""
        contact, agent = notice.contact_id or "-", "-" if notice.agent_id is None else notice.agent_id
        return f"{notice.tenant_id} {notice.what} {contact} {agent} {self.origin}"

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
