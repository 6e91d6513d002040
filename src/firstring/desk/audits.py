"""The audits that supervisors look at: worked out once for all who look, and kept for a while."""

from __future__ import annotations

import asyncio
from datetime import datetime, timedelta
from typing import Final

from firstring.api.services import Services
from firstring.routing.trial.audit import Audit
from firstring.store.database import Tenant
from firstring.store.routing.looking import audit_of

AUDIT_KEPT: Final = timedelta(minutes=5)
"""An audit is worked out anew at most this often."""
KEPT_MOST: Final = 100


class Audits:
    """The audits that were worked out lately, or are being: whoever asks for the same waits for the same."""

    def __init__(self, services: Services) -> None:
        self._services = services
        self._made: dict[tuple[int, int], tuple[datetime, asyncio.Task[Audit]]] = {}

    async def of(self, tenant: Tenant, days: int) -> tuple[Audit, datetime]:
        """The audit of the last days, and when it was worked out."""
        now = self._services.clock.now()
        kept = self._made.get((tenant.tenant_id, days))
        if kept is None or not timedelta() <= now - kept[0] < AUDIT_KEPT or _failed(kept[1]):
            work = audit_of(self._services.settings, self._services.database, tenant, now, float(days))
            kept = self._made[tenant.tenant_id, days] = (now, asyncio.create_task(work, name="audit"))
            while len(self._made) > KEPT_MOST:
                del self._made[next(iter(self._made))]
        return await asyncio.shield(kept[1]), kept[0]


def _failed(task: asyncio.Task[Audit]) -> bool:
    return task.done() and (task.cancelled() or task.exception() is not None)
