"""Actions for an agent's screen: what was decided for somebody (route desk) is put before the agent who serves them.

It counts as shown when it is put before an agent, as accepted or dismissed by the agent's word; each is told as an event.
"""

from __future__ import annotations

import uuid
from collections.abc import Mapping, Sequence
from typing import Literal, NamedTuple

from firstring import limits
from firstring.channels.delivery_log import DeliveryLog
from firstring.ports import Clock
from firstring.store.database import Database, Tenant
from firstring.store.delivery import StillAllowed, answer_at_desk, at_desk


class Treatment(NamedTuple):
    """What is to be done for the person who is served."""

    delivery_id: uuid.UUID
    action: str
    text: str


class Treatments:
    """One for each process."""

    def __init__(self, database: Database, clock: Clock, log: DeliveryLog, still_allowed: StillAllowed) -> None:
        self._database = database
        self._clock = clock
        self._log = log
        self._still_allowed = still_allowed

    async def shown(self, tenant: Tenant, persons: Sequence[int]) -> Mapping[int, tuple[Treatment, ...]]:
        """What is to be done for each of these persons, the oldest first; gates are asked before it is shown first."""
        now = self._clock.now()
        async with self._database.transaction(tenant.tenant_id) as connection:
            found = await at_desk(connection, tenant, persons, now, self._still_allowed)
        if any(one.is_new for one in found):
            self._log.soon(tenant)
        by_person: dict[int, tuple[Treatment, ...]] = {}
        for one in found:
            text = str(one.delivery.content.get("agent_text") or one.delivery.content.get("title") or one.delivery.action)
            before = by_person.get(one.person_id, ())
            if len(before) < limits.TREATMENTS_SHOWN:
                by_person[one.person_id] = (*before, Treatment(one.delivery.delivery_id, one.delivery.action, text))
        return by_person

    async def answered(
        self, tenant: Tenant, person_id: int, delivery_id: uuid.UUID, what: Literal["accepted", "dismissed"]
    ) -> None:
        """The agent has done it, or will not. Raises BadInput as store.delivery.answer_at_desk."""
        async with self._database.transaction(tenant.tenant_id) as connection:
            await answer_at_desk(connection, tenant, person_id, delivery_id, what, self._clock.now())
        self._log.soon(tenant)
