"""What becomes of an action is an event again: Action Shown, Accepted, Dismissed, Ignored, Failed.

Written after the fact, exactly once (the event's message id is the delivery's and what became of it), on the record that
the action was addressed to. They are reports: a page can only tell of what was put before its own visitor.
"""

from __future__ import annotations

import asyncio
from typing import Any, Final

import structlog

from firstring.errors import FirstringError
from firstring.journey.events import Event, parse_event
from firstring.ports import Clock
from firstring.store.database import Database, Tenant
from firstring.store.delivery import Untold, forget, told, untold
from firstring.store.journey.events import ingest
from firstring.store.journey.firings import Told

_log = structlog.get_logger("firstring.delivery")
SOURCE: Final = "firstring"
AT_A_TIME: Final = 200
FORGET_EVERY_S: Final = 3_600.0
AFTER_S: Final = 0.05
"""What is being shown goes first, and what happens meanwhile goes along."""
CHANNELS: Final = {
    "web": "web", "email": "email", "sms": "messaging", "push": "mobile", "callback": "voice", "desk": "voice",
    "webhook": "backend",
}  # fmt: skip


class DeliveryLog:
    """Writes what became of deliveries into the event log: soon after (`soon`), and whatever was missed (`write`)."""

    def __init__(self, database: Database, clock: Clock, *, country: str, told: Told) -> None:
        """told: is told of the patterns that came true by it."""
        self._database = database
        self._clock = clock
        self._country = country
        self._told = told
        self._soon: dict[int, asyncio.Task[None]] = {}
        self._again: set[int] = set()
        self._forgotten_s: dict[int, float] = {}

    def soon(self, tenant: Tenant) -> None:
        """Never blocks."""
        running = self._soon.get(tenant.tenant_id)
        if running is None or running.done():
            self._soon[tenant.tenant_id] = asyncio.create_task(self._write_soon(tenant))
        else:
            self._again.add(tenant.tenant_id)

    async def _write_soon(self, tenant: Tenant) -> None:
        while True:
            await asyncio.sleep(AFTER_S)
            self._again.discard(tenant.tenant_id)
            try:
                await self.write(tenant)
            except FirstringError as error:  # the chore does it
                _log.warning("deliveries_not_told", code=error.code)
            if tenant.tenant_id not in self._again:
                return

    async def stop(self) -> None:
        await asyncio.gather(*self._soon.values(), return_exceptions=True)

    async def write(self, tenant: Tenant) -> int:
        """Writes what is not told yet; returns how many events."""
        written = 0
        while True:
            async with self._database.transaction(tenant.tenant_id) as connection:
                those = await untold(connection, tenant, AT_A_TIME)
            if not those:
                break
            events: list[Event] = []
            on_records: dict[str, int] = {}
            for one in those:
                if one.record_id is None or one.action is None:
                    continue  # its record was deleted: there is nobody to tell of
                event = self._event(one)
                events.append(event)
                on_records[event.message_id] = one.record_id
            now = self._clock.now()
            await ingest(
                self._database, tenant, SOURCE, events, now=now, country=self._country, on_records=on_records,
                told=self._told,
            )  # fmt: skip
            async with self._database.transaction(tenant.tenant_id) as connection:
                await told(connection, tenant, those, now)
            written += len(events)
            if len(those) < AT_A_TIME:
                break
        await self._forget(tenant)
        return written

    def _event(self, one: Untold) -> Event:
        properties: dict[str, Any] = {
            "delivery_id": str(one.delivery_id),
            "decision_id": str(one.decision_id),
            "action": one.action,
            "kind": one.kind,
            "route": one.route,
        }
        if one.reason is not None:
            properties["reason"] = one.reason
        return parse_event(
            {
                "type": "track",
                "event": f"Action {one.what.capitalize()}",
                "messageId": f"delivery:{one.delivery_id}:{one.what}",
                "anonymousId": f"delivery:{one.delivery_id}",
                "timestamp": one.at.isoformat(),
                "channel": CHANNELS.get(one.route or "", "backend"),
                "properties": properties,
            },
            received_at=self._clock.now(),
            correct_skew=False,
        )

    async def _forget(self, tenant: Tenant) -> None:
        now_s = self._clock.monotonic_s()
        if now_s - self._forgotten_s.get(tenant.tenant_id, -FORGET_EVERY_S) < FORGET_EVERY_S:
            return
        self._forgotten_s[tenant.tenant_id] = now_s
        async with self._database.transaction(tenant.tenant_id) as connection:
            await forget(connection, tenant, self._clock.now())
