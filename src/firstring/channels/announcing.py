"""Waits as they are announced: to an adapter that asks, and pushed to the telephone system that holds the call.

A SIP call that waits hears it as 182 Queued (RFC 3261, 21.1.4): the reason phrase says place and wait, and more of them may
follow as they change.
"""

from __future__ import annotations

import asyncio
import uuid
from datetime import datetime
from typing import Any, Final, Protocol

import msgspec
import structlog

from firstring.channels.voice.contract import RouteAnswer
from firstring.errors import FirstringError
from firstring.store.database import Database, Tenant
from firstring.store.notices import Notice
from firstring.store.queries import sql
from firstring.store.ring import RingStore

_log = structlog.get_logger("firstring.announcing")
ROUND_S: Final = 60


class Said(msgspec.Struct, frozen=True):
    """What is to be announced: from `at` on a wait of `wait_s` seconds, four of five lie between low and high. place: 1 is
    next. callback_offered: a call-back is to be offered."""

    at: datetime
    place: int
    wait_s: float
    low_s: float
    high_s: float
    callback_offered: bool = False

    @property
    def at_ms(self) -> int:
        """`at`, in milliseconds since 1970, by which a newer one is told apart."""
        return round(self.at.timestamp() * 1000.0)


def said_of(row: Any) -> Said | None:
    """Out of a row of board.line_of; None where nothing was announced, or it does not wait any more."""
    if row["said_at"] is None or row["state"] not in ("offered", "waiting"):
        return None
    return Said(
        row["said_at"], row["said_place"], row["said_wait_s"], row["said_low_s"], row["said_high_s"],
        row["callback_at"] is not None,
    )  # fmt: skip


async def said_to(database: Database, tenant: Tenant, contact_id: uuid.UUID) -> Said | None:
    """What is to be announced to a contact."""
    async with database.transaction(tenant.tenant_id) as connection:
        row = await connection.fetchrow(sql("board", "line_of"), tenant.tenant_id, contact_id)
    return None if row is None else said_of(row)


def with_said(answer: RouteAnswer, said: Said | None) -> RouteAnswer:
    """An answer that says wait, with what is to be announced."""
    if answer.wait is None or said is None:
        return answer
    wait = msgspec.structs.replace(
        answer.wait, place=said.place, wait_s=round(said.wait_s, 1), low_s=round(said.low_s, 1),
        high_s=round(said.high_s, 1), said=said.at_ms, callback_offered=said.callback_offered,
    )  # fmt: skip
    return msgspec.structs.replace(answer, wait=wait)


def phrase(said: Said) -> str:
    """As the reason phrase of a SIP answer."""
    minutes = max(1, round(said.wait_s / ROUND_S))
    wait = f"{minutes} min" if said.wait_s >= ROUND_S else f"{max(1, round(said.wait_s))} s"
    return f"Queued; place {said.place}; wait {wait}" + ("; call back offered" if said.callback_offered else "")


class Redirecting(Protocol):
    """Of channels.voice.redirect."""

    def holds(self, contact_id: str) -> bool: ...

    def say(self, contact_id: str, text: str) -> None: ...


class Suspending(Protocol):
    """Of channels.voice.kamailio."""

    async def say(self, adapter_ref: str, call_id: str, text: str) -> None: ...


class Announcer:
    """Pushes what is to be announced to the adapters of this process. A Kamailio is connected to every process: the one that
    found the wait tells it."""

    def __init__(self, database: Database, ring: RingStore) -> None:
        self._database = database
        self._ring = ring
        self._tasks: set[asyncio.Task[None]] = set()
        self.redirect: Redirecting | None = None
        self.kamailio: Suspending | None = None
        self.tenant: Tenant | None = None
        """Whose calls the adapters carry."""

    def heard(self, notice: Notice) -> None:
        """A notice that a wait is to be announced. Never blocks."""
        tenant = self.tenant
        if notice.what != "told" or notice.contact_id is None or tenant is None or notice.tenant_id != tenant.tenant_id:
            return
        redirected = self.redirect is not None and self.redirect.holds(str(notice.contact_id))
        if redirected or (self.kamailio is not None and notice.carried is not None):
            task = asyncio.create_task(self._say(tenant, notice.contact_id, is_redirected=redirected))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _say(self, tenant: Tenant, contact_id: uuid.UUID, *, is_redirected: bool) -> None:
        try:
            said = await said_to(self._database, tenant, contact_id)
            if said is None:
                return
            if is_redirected and self.redirect is not None:
                self.redirect.say(str(contact_id), phrase(said))
                return
            state = await self._ring.contact(tenant, contact_id)
            if state is not None and self.kamailio is not None and state.contact.adapter.partition(":")[0] == "kamailio":
                await self.kamailio.say(state.contact.adapter_ref, state.contact.call_key, phrase(said))
        except (FirstringError, OSError) as error:
            _log.warning("not_announced", error=error.code if isinstance(error, FirstringError) else type(error).__name__)

    async def stop(self) -> None:
        await asyncio.gather(*self._tasks, return_exceptions=True)
