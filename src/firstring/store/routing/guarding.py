"""What the line is guarded by: who is there, and who was taken out of it, of whichever server."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Final

import msgspec
import numpy as np

from firstring.contact import AgentFree, Channel, RoutingNeed
from firstring.routing.line.guard import Assigned
from firstring.routing.line.matching import There
from firstring.routing.line.queues import Waiting
from firstring.store.database import Connection, Tenant
from firstring.store.queries import sql

LOG: Final = 500
"""Assignments that are looked back on, the newest: more than the guard of any line reaches."""
_needs: Final = msgspec.json.Decoder(RoutingNeed)


async def read_there(connection: Connection, tenant: Tenant) -> dict[Channel, There]:
    """Everybody who is ready, by channel."""
    rows: dict[Channel, list[Any]] = {}
    for row in await connection.fetch(sql("guard", "there"), tenant.tenant_id):
        rows.setdefault(row["channel"], []).append(row)
    return {
        channel: There(
            [AgentFree(row["agent_id"], row["version"], row["presence_at"]) for row in of],
            np.array([row["taken"] for row in of], np.int64),
        )
        for channel, of in rows.items()
    }


async def read_assigned(connection: Connection, tenant: Tenant, channel: Channel, since: datetime) -> list[Assigned]:
    """The log; what cannot be read is left out, as it holds up nobody."""
    found = []
    for row in await connection.fetch(sql("guard", "assigned"), tenant.tenant_id, channel, since, LOG):
        try:
            need = _needs.decode(row["need"])
        except msgspec.MsgspecError:
            continue
        contact = Waiting(row["contact_id"], need, row["since"], row["turn_at"])
        found.append(Assigned(row["assignment_id"], contact, row["agent_id"], row["agent_version"], row["offered_at"]))
    return found
