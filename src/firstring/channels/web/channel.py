"""The web as a channel: what a page asks for, answered for the visitor that it proved to be."""

from __future__ import annotations

import uuid
from collections.abc import AsyncIterator
from typing import Any

from firstring.channels.callbacks.calling import CallBacks
from firstring.channels.delivery_log import DeliveryLog
from firstring.channels.web.pages import Pages, shown_to_page
from firstring.errors import BadInput
from firstring.ports import Clock
from firstring.store.database import Database, Tenant
from firstring.store.delivery import Answer, StillAllowed, Visitor, answer, show


class WebChannel:
    """One for each process. log: tells what became of actions."""

    def __init__(
        self,
        database: Database,
        clock: Clock,
        pages: Pages,
        log: DeliveryLog,
        still_allowed: StillAllowed,
        callbacks: CallBacks,
    ) -> None:
        self._database = database
        self._clock = clock
        self.pages = pages
        self.log = log
        self._still_allowed = still_allowed
        self.callbacks = callbacks

    async def listen(self, tenant: Tenant, visitor: Visitor) -> AsyncIterator[bytes]:
        """Server-sent events for one page."""
        return await self.pages.messages(tenant, visitor)

    async def waiting(self, tenant: Tenant, visitor: Visitor) -> list[dict[str, Any]]:
        """What waits, for a page that asks now and then."""
        return [shown_to_page(one) for one in await self.pages.waiting(tenant, visitor)]

    async def show(self, tenant: Tenant, visitor: Visitor, delivery_id: uuid.UUID) -> dict[str, Any]:
        """May this page show it now? With its content where it may, else why not."""
        async with self._database.transaction(tenant.tenant_id, plans_kept=True) as connection:
            shown = await show(connection, tenant, visitor, delivery_id, self._clock.now(), self._still_allowed)
        if shown.delivery is None:
            return {"show": False, "why": shown.why}
        self.log.soon(tenant)
        return {"show": True, "content": shown.delivery.content}

    async def answer(self, tenant: Tenant, visitor: Visitor, delivery_id: uuid.UUID, what: Answer) -> None:
        """The customer's answer. Raises as store.delivery.answer."""
        async with self._database.transaction(tenant.tenant_id) as connection:
            await answer(connection, tenant, visitor, delivery_id, what, self._clock.now())
        self.log.soon(tenant)

    async def slots(self, tenant: Tenant) -> dict[str, Any]:
        """The times at which somebody may be called back."""
        found = await self.callbacks.slots(tenant)
        return {"time_zone": self.callbacks.opening.time_zone, "slots": [at.isoformat() for at in found]}

    async def call_back(
        self,
        tenant: Tenant,
        visitor: Visitor,
        delivery_id: uuid.UUID,
        *,
        number: str,
        at: str | None,
        time_zone: str | None,
        language: str | None,
    ) -> dict[str, Any]:
        """The customer accepted by asking for a call: promised with its answer in one transaction.

        at: one of the times offered; None: now. Raises BadInput as CallBacks.promise, moment and store.callbacks.book.
        """
        due_at = self.callbacks.moment(at)
        async with self._database.transaction(tenant.tenant_id) as connection:
            delivery = await answer(connection, tenant, visitor, delivery_id, "accepted", self._clock.now())
            if delivery.content.get("form") not in ("call_me", "callback"):
                raise BadInput("not_a_callback", "This action offers no call.", http_status=409)
            reason = str(delivery.content.get("reason") or delivery.content.get("title") or "") or None
            promise = self.callbacks.promise(number, time_zone, language, reason, delivery.action)
            await self.callbacks.book(connection, tenant, delivery, promise, due_at, is_slot=at is not None)
        self.log.soon(tenant)
        self.callbacks.wake(tenant)
        return {"at": due_at.isoformat()}
