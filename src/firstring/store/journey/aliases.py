"""Other names of users: after an alias the events of both names go to one record.

An alias is believed of one's own servers only. The name that events go to is the new one, unless the old one alone has a
record. Names that lead in a circle are refused: nobody could say who is meant.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Final

from firstring.errors import BadInput
from firstring.store.database import Connection, Tenant
from firstring.store.journey.planned import Planned
from firstring.store.queries import sql

_BELIEVED: Final = "reported"


async def join_names(
    connection: Connection, tenant: Tenant, source: str, plans: Sequence[Planned], now: datetime
) -> list[tuple[Planned, BadInput]]:
    """Joins the names of the aliases among `plans`, in their order; those that lead in a circle are returned.

    Within a transaction that holds the applier's lock.
    """
    refused: list[tuple[Planned, BadInput]] = []
    for plan in plans:
        if plan.previous is None or plan.user is None or plan.event.standing != _BELIEVED:
            continue
        old, new = plan.previous, plan.user
        rows = await connection.fetch(sql("events", "aliases"), tenant.tenant_id, [old, new])
        leads = {row["from_key"]: row for row in rows}
        old_root = leads[old]["to_key"] if old in leads else old
        new_root = leads[new]["to_key"] if new in leads else new
        if old_root == new_root:
            if new in leads and new_root == old and not leads[new]["turned"]:
                refused.append((plan, _loop()))
            continue
        rows = await connection.fetch(sql("events", "have_records"), tenant.tenant_id, source, [old_root, new_root])
        turned = [row["external_key"] for row in rows] == [old_root]
        given_up, kept = (new_root, old_root) if turned else (old_root, new_root)
        await connection.execute(sql("events", "add_alias"), tenant.tenant_id, given_up, kept, turned, now)
    return refused


def _loop() -> BadInput:
    return BadInput(
        "alias_loop",
        "The alias leads in a circle: the new id is already another name of the old one.",
        where={"field": "previousId"},
        hint="Send each alias once, from the old id to the new one.",
    )
