"""What was proposed in contacts that an agent served, for the caps of actions: written when the contact is over.

While it rings nothing is written for it: a contact's own decisions, which may be many, count as one.
"""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Final, NamedTuple

from firstring.nextbest.actions import Catalogue
from firstring.store.database import Connection, Database, Tenant
from firstring.store.queries import sql

CAUSE: Final = "contact"


class Proposal(NamedTuple):
    """The action that an agent was shown last in a contact, of the person who has `record_id`. at: when the contact came."""

    contact_id: uuid.UUID
    record_id: int
    action: str
    at: datetime


async def note_proposed(database: Database, tenant: Tenant, proposals: Sequence[Proposal], catalogue: Catalogue) -> int:
    """Counts those that a cap asks about, each once however often it is told; returns how many were new."""
    counted = [one for one in proposals if (plan := catalogue.plans.get(one.action)) is not None and plan.caps]
    new = 0
    if not counted:
        return new
    async with database.transaction(tenant.tenant_id) as connection:
        for one in counted:
            action = catalogue.by_name[one.action]
            added = await connection.fetchval(
                sql("actions", "add_proposed"), tenant.tenant_id, one.contact_id, one.record_id, CAUSE, action.name,
                action.kind, action.route, catalogue.version, one.at,
            )  # fmt: skip
            if added is not None:
                new += 1
                await count_for_everyone(connection, tenant, action.name, catalogue, one.at)
    return new


async def count_for_everyone(
    connection: Connection, tenant: Tenant, action: str, catalogue: Catalogue, now: datetime
) -> bool:
    """Counts an action for its caps of everyone; False where one of them is reached."""
    caps = [cap for cap in catalogue.plans[action].caps if cap.of == "everyone"]
    for place, cap in enumerate(caps):
        begun = datetime.fromtimestamp(now.timestamp() // (cap.per_ms / 1e3) * (cap.per_ms / 1e3), now.tzinfo)
        count = await connection.fetchval(
            sql("actions", "brake"), tenant.tenant_id, action, place, begun,
            begun + timedelta(milliseconds=cap.per_ms), cap.most,
        )  # fmt: skip
        if count is None:
            return False
    return True
