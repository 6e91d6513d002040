"""The pages that listen to this process, and what they are sent: server-sent events, each stream bound to its visitor.

A page is found by keys: those of its visitor's id and of its user's record. A delivery is looked up once when it is told
of, and put before every page of its person; the first that asks shows it (store.delivery.show). A page that connects, or
connects again, gets all that waits for it, so that a lost notice or connection loses nothing.
"""

from __future__ import annotations

import asyncio
import uuid
from collections import deque
from collections.abc import AsyncIterator
from typing import Any, Final

import msgspec
import structlog

from firstring import limits
from firstring.errors import FirstringError, Retryable
from firstring.nextbest.delivery import Delivery
from firstring.ports import Clock
from firstring.store.database import Database, Tenant
from firstring.store.delivery import Announced, Visitor, addressees, known_by, waiting_for
from firstring.store.notices import Notice

_log = structlog.get_logger("firstring.web")

BEAT_S: Final = 20.0
"""A sign of life; proxies cut connections that are silent for a minute."""
LOOKED_AGAIN_S: Final = 60.0
"""How often a page that listens is looked up without a notice: what was decided for later has come due."""
RETRY_MS: Final = 1_000

_json = msgspec.json.Encoder().encode


def message(event: str, data: Any) -> bytes:
    """One server-sent event; JSON in one line, so that no line of it can be taken for another field."""
    return b"event: " + event.encode() + b"\ndata: " + _json(data) + b"\n\n"


def shown_to_page(delivery: Delivery) -> dict[str, Any]:
    """What a page is told before it asks to show it: no content yet."""
    return {"id": str(delivery.delivery_id), "form": delivery.content.get("form", "popup"), "action": delivery.action}


class Page:
    """One page that listens."""

    def __init__(self, tenant: Tenant, visitor: Visitor) -> None:
        self.tenant = tenant
        self.visitor = visitor
        self.keys: tuple[bytes, ...] = ()
        self._queue: deque[Delivery] = deque(maxlen=limits.SSE_BACKLOG)
        self._told: set[uuid.UUID] = set()
        self._wake = asyncio.Event()
        self.is_closed = False
        self.look = True

    def put(self, delivery: Delivery) -> None:
        """Never blocks."""
        self._queue.append(delivery)
        self._wake.set()

    def look_again(self) -> None:
        self.look = True
        self._wake.set()

    def close(self) -> None:
        self.is_closed = True
        self._wake.set()

    async def wait(self, within_s: float) -> bool:
        """Whether something is there."""
        try:
            async with asyncio.timeout(within_s):
                await self._wake.wait()
        except TimeoutError:
            return False
        self._wake.clear()
        return True

    def fresh(self, deliveries: list[Delivery]) -> list[Delivery]:
        """What this page was not told of yet."""
        found = [one for one in (*deliveries, *self._queue) if one.delivery_id not in self._told]
        self._queue.clear()
        self._told.update(one.delivery_id for one in found)
        return list({one.delivery_id: one for one in found}.values())


class Pages:
    """One for each process."""

    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock
        self._pages: dict[tuple[int, bytes], list[Page]] = {}
        self._of_visitor: dict[tuple[int, str], list[Page]] = {}
        self._count = 0
        self._tasks: set[asyncio.Task[None]] = set()
        self._closed = False

    def heard(self, notice: Notice) -> None:
        """A notice about a delivery, or notices that may be missing. Never blocks."""
        if self._closed or not self._count:
            return
        if notice.what == "resync":
            for page in tuple(page for pages in self._of_visitor.values() for page in pages):
                page.look_again()
        elif isinstance(notice.carried, Announced):
            delivery, keys = notice.carried
            if delivery.not_before <= self._clock.now():
                self._put(notice.tenant_id, delivery, keys)
        elif notice.what == "delivery" and notice.contact_id is not None:
            task = asyncio.create_task(self._tell(notice.tenant_id, notice.contact_id))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _tell(self, tenant_id: int, delivery_id: uuid.UUID) -> None:
        try:
            tenant = await self._database.tenant(tenant_id)
            async with self._database.transaction(tenant_id) as connection:
                found = await addressees(connection, tenant, delivery_id, self._clock.now())
        except FirstringError as error:
            _log.warning("delivery_not_told", code=error.code, tenant=tenant_id)
            return
        if found is None:
            return
        self._put(tenant_id, *found)

    def _put(self, tenant_id: int, delivery: Delivery, keys: frozenset[bytes]) -> None:
        """Before every page that has one of the keys."""
        told: set[int] = set()
        for key in keys:
            for page in self._pages.get((tenant_id, key), ()):
                if id(page) not in told:
                    told.add(id(page))
                    page.put(delivery)

    async def waiting(self, tenant: Tenant, visitor: Visitor) -> list[Delivery]:
        """What waits for a visitor, for a page that asks now and then."""
        async with self._database.transaction(tenant.tenant_id) as connection:
            return await waiting_for(connection, tenant, visitor, self._clock.now())

    async def messages(self, tenant: Tenant, visitor: Visitor) -> AsyncIterator[bytes]:
        """What one page is sent, until it goes. Raises Retryable web_streams_full, stopping."""
        if self._closed:
            raise Retryable("stopping", "The server is stopping.")
        if self._count >= limits.WEB_STREAMS:
            raise Retryable("web_streams_full", "More pages listen than this server takes.", hint="Ask at /web/poll.")
        page = Page(tenant, visitor)
        async with self._database.transaction(tenant.tenant_id) as connection:
            page.keys = await known_by(connection, tenant, visitor)
        return self._written(page)

    async def _written(self, page: Page) -> AsyncIterator[bytes]:
        self._add(page)
        try:
            yield f"retry: {RETRY_MS}\n\n".encode() + message("open", None)
            looked_s = 0.0
            while not page.is_closed:
                waiting: list[Delivery] = []
                if page.look or self._clock.monotonic_s() - looked_s > LOOKED_AGAIN_S:
                    page.look = False
                    looked_s = self._clock.monotonic_s()
                    waiting = await self._waiting(page)
                for delivery in page.fresh(waiting):
                    yield message("action", shown_to_page(delivery))
                if not await page.wait(BEAT_S) and not page.is_closed:
                    yield message("beat", None)
        finally:
            self._remove(page)

    async def _waiting(self, page: Page) -> list[Delivery]:
        try:
            return await self.waiting(page.tenant, page.visitor)
        except FirstringError as error:
            _log.warning("page_not_read", code=error.code)
            return []

    def _add(self, page: Page) -> None:
        tenant_id = page.tenant.tenant_id
        for key in page.keys:
            self._pages.setdefault((tenant_id, key), []).append(page)
        of_visitor = self._of_visitor.setdefault((tenant_id, page.visitor.visitor_id), [])
        of_visitor.append(page)
        if len(of_visitor) > limits.WEB_STREAMS_OF_VISITOR:
            of_visitor[0].close()
        self._count += 1

    def _remove(self, page: Page) -> None:
        page.is_closed = True
        tenant_id = page.tenant.tenant_id
        for key in page.keys:
            _drop(self._pages, (tenant_id, key), page)
        _drop(self._of_visitor, (tenant_id, page.visitor.visitor_id), page)
        self._count -= 1

    def close(self) -> None:
        """Ends all streams: pages connect again, to whatever serves them then."""
        self._closed = True
        for task in tuple(self._tasks):
            task.cancel()
        for pages in tuple(self._of_visitor.values()):
            for page in tuple(pages):
                page.close()


def _drop(pages: dict[Any, list[Page]], key: Any, page: Page) -> None:
    held = pages.get(key, [])
    if page in held:
        held.remove(page)
    if not held:
        pages.pop(key, None)
