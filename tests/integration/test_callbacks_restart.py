"""A call that was promised is kept by whichever server runs when it is due, also when none ran at that moment."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

from tests.acceptance.desk_rig import settings_of

from firstring.bootstrap import running
from firstring.identity.canonical.record import canonical_record
from firstring.ports import SystemClock
from firstring.store import callbacks as store
from firstring.store.callbacks import Promise
from firstring.store.identity.records import apply_records
from firstring.store.opening import initialise


async def test_the_server_was_away_when_it_was_due(make_home: Callable[[], Path]) -> None:
    settings = settings_of(make_home(), secrets.token_bytes(32))
    await initialise(settings, SystemClock())
    async with running(settings) as server:
        services = server.services
        tenant = await services.database.tenant_named("main")
        now = services.clock.now()
        ann = {"record_id": "c-1", "full_name": "Ann Lee", "email": "ann@example.org", "phone": "+44 7700 900123"}
        applied = await apply_records(services.database, tenant, "shop", [canonical_record(ann, country="GB")], now=now)
        async with services.database.transaction(tenant.tenant_id) as connection:
            await store.book(
                connection, tenant, services.ids.new(), Promise("+447700900123", "Europe/London"),
                record_id=applied.record_ids[0], delivery_id=None, due_at=now + timedelta(seconds=2), now=now,
            )  # fmt: skip
    await asyncio.sleep(2.0)
    async with running(settings) as server:
        services = server.services
        for _ in range(200):
            contacts = await services.contacts.recent(tenant)
            if contacts:
                break
            await asyncio.sleep(0.05)
        [contact] = contacts
        decision = await services.ring.decision(tenant, contact.contact_id)
        assert decision is not None
        assert (decision.cause, decision.contact.called) == ("callback", "+447700900123")
        best = decision.derived.resolution.best
        assert best is not None
        assert best.profile["full_name"] == "Ann Lee"
        [line] = await store.listed(services.database, tenant, 10)
        assert (line.state, line.contact_id) == ("offered", contact.contact_id)
