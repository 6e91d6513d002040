"""Carries out what is in the outbox and leaves by itself: mail, SMS, push, webhook, call-backs.

Several processes share the work: each takes some, has TURN_S for it, and whoever dies leaves it to the others. What does
not leave is tried again, later and later, at most limits.DELIVERY_ATTEMPTS times and not past its end; then it is a dead
letter. Gates are asked again right before.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any, Final

import structlog

from firstring import limits
from firstring.channels.callbacks.calling import CallBacks
from firstring.channels.delivery_log import DeliveryLog
from firstring.channels.outbound.links import click_path, unsubscribe_path
from firstring.channels.outbound.port import Message, Outbound
from firstring.channels.outbound.rounds import Rounds
from firstring.errors import BadInput, FirstringError, Retryable
from firstring.identity.golden.rules import Rules
from firstring.nextbest.delivery import Delivery
from firstring.ports import Clock
from firstring.store import delivery as store
from firstring.store.database import Connection, Database, Tenant
from firstring.store.delivery import Due, StillAllowed
from firstring.store.identity.persons import people
from firstring.store.notices import Notice

_log = structlog.get_logger("firstring.delivery")

TICK_S: Final = 1.0
TURN_S: Final = 90.0
"""Longer than any way out takes."""
AT_ONCE: Final = 10
PAUSES_S: Final = (5, 30, 120, 600, 1_800, 3_600, 7_200)
"""Between the tries of one."""
HOURS_CLOSED: Final = ("quiet_hours", "legal_hours")
"""Gates that open again by themselves: it is put off, not withdrawn."""
PUT_OFF_S: Final = 900
_TO: Final = {"email": "email", "sms": "phone", "callback": "phone", "push": "device"}


class Carrier:
    """One for each process. ways: by route; a route without one leaves by "webhook", where there is that."""

    def __init__(
        self,
        database: Database,
        clock: Clock,
        still_allowed: StillAllowed,
        log: DeliveryLog,
        callbacks: CallBacks,
        ways: Mapping[str, Outbound],
        rules: Rules,
        *,
        public_url: str,
    ) -> None:
        self._database = database
        self._clock = clock
        self._still_allowed = still_allowed
        self._log = log
        self._callbacks = callbacks
        self._ways = ways
        self._rules = rules
        self._public_url = public_url
        self.rounds = Rounds("carrier", database, self.round, every_s=TICK_S)

    def heard(self, notice: Notice) -> None:
        """Something may be there to be carried. Never blocks."""
        told = notice.carried
        if isinstance(told, store.Announced) and told.delivery.route not in store.SENT_ROUTES:
            return
        if notice.what in ("delivery", "resync"):
            self.rounds.wake()

    async def round(self, tenant: Tenant) -> bool:
        """Carries out some of what is due; whether there may be more."""
        now = self._clock.now()
        async with self._database.transaction(tenant.tenant_id) as connection:
            await store.sweep(connection, tenant, now)
            due = await store.take_due(connection, tenant, now, turn_s=TURN_S, at_most=AT_ONCE)
        if due:
            await asyncio.gather(*(self._carried(tenant, one) for one in due))
            self._log.soon(tenant)
        return len(due) == AT_ONCE

    async def _carried(self, tenant: Tenant, due: Due) -> None:
        delivery = due.delivery
        try:
            async with self._database.transaction(tenant.tenant_id) as connection:
                now = self._clock.now()
                closed = await self._still_allowed(connection, tenant, delivery, now)
                if closed in HOURS_CLOSED:
                    until = now + timedelta(seconds=PUT_OFF_S)
                    await store.put_off(connection, tenant, delivery.delivery_id, until, closed, tried=False)
                    return
                if closed is not None:
                    await store.withdraw(connection, tenant, delivery.delivery_id, closed, now)
                    return
                message = await self._message(connection, tenant, delivery, now)
                if delivery.route == "callback":
                    await self._promised(connection, tenant, message, now)
            if delivery.route != "callback":
                await self._way(delivery.route).send(tenant, message, self._clock.now())
                async with self._database.transaction(tenant.tenant_id) as connection:
                    await store.sent(connection, tenant, delivery.delivery_id, self._clock.now())
            else:
                self._callbacks.wake(tenant)
        except Exception as error:  # noqa: BLE001 - whatever it is, this one is tried again and the others go on
            await self._not_carried(tenant, due, error)

    async def _not_carried(self, tenant: Tenant, due: Due, error: Exception) -> None:
        """Tried again, or a dead letter."""
        code = error.code if isinstance(error, FirstringError) else type(error).__name__
        _log.warning("delivery_not_carried", why=due.delivery.route, code=code, count=due.attempts, tenant=tenant.tenant_id)
        now = self._clock.now()
        pause = timedelta(seconds=PAUSES_S[min(due.attempts, len(PAUSES_S)) - 1])
        never = isinstance(error, FirstringError) and not isinstance(error, Retryable)
        try:
            async with self._database.transaction(tenant.tenant_id) as connection:
                if never or due.attempts >= limits.DELIVERY_ATTEMPTS or now + pause >= due.delivery.expires_at:
                    await store.fail(connection, tenant, due.delivery.delivery_id, code, now)
                else:
                    await store.put_off(connection, tenant, due.delivery.delivery_id, now + pause, code)
        except FirstringError as lost:  # its turn ends by itself, then somebody tries again
            _log.warning("delivery_not_noted", code=lost.code)

    def _way(self, route: str) -> Outbound:
        found = self._ways.get(route) or self._ways.get("webhook")
        if found is None:
            raise BadInput(
                "route_not_configured",
                f"Nothing leaves by {route} here.",
                where={"route": route},
                hint="Set outbound_smtp for mail, outbound_webhook_url for the rest.",
            )
        return found

    async def _message(self, connection: Connection, tenant: Tenant, delivery: Delivery, now: datetime) -> Message:
        """Addressed to whoever has the record now. Raises BadInput no_address."""
        person_id = await store.person_of(connection, tenant, delivery.record_id)
        found = await people(connection, tenant, [person_id]) if person_id is not None else {}
        if person_id is None or person_id not in found:
            raise BadInput("record_gone", "The customer is not on file any more.")
        to: tuple[str, ...] = ()
        kind = _TO.get(delivery.route)
        if kind is not None:
            values: Any = found[person_id].golden(now, self._rules).profile().get(kind)
            to = tuple(str(one) for one in (values if isinstance(values, list) else [values] if values else []))
            if not to:
                raise BadInput("no_address", f"There is no {kind} of this customer on file.", where={"field": kind})
        url = None
        if isinstance(delivery.content.get("url"), str):
            path = click_path(tenant.tenant_id, tenant.keys, delivery.record_id, delivery.delivery_id, now)
            url = self._public_url + path
        unsubscribe = None
        if delivery.route in ("email", "sms", "push") and delivery.kind not in ("safety",):
            purpose = "marketing" if delivery.kind == "offer" else "all"
            unsubscribe = self._public_url + unsubscribe_path(
                tenant.tenant_id, tenant.keys, delivery.record_id, delivery.route, purpose
            )
        return Message(delivery=delivery, person_id=person_id, to=to, url=url, unsubscribe=unsubscribe)

    async def _promised(self, connection: Connection, tenant: Tenant, message: Message, now: datetime) -> None:
        """A call-back that was decided: promised for now, or for when agents call again, in the transaction of its state."""
        delivery = message.delivery
        at = now if self._callbacks.opening.is_open(now) else next(self._callbacks.opening.slots(now), None)
        if at is None or at >= delivery.expires_at:
            raise BadInput("closed_now", "Nobody calls back before this action ends.")
        reason = message.text("reason") or message.text("title") or None
        language = message.text("language") or None
        promise = self._callbacks.promise(message.to[0], None, language, reason, delivery.action)
        await store.sent(connection, tenant, delivery.delivery_id, now)
        await self._callbacks.book(connection, tenant, delivery, promise, at, is_slot=False)
