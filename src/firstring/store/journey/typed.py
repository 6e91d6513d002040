"""Numbers and addresses that visitors typed: who may be calling, for a while, and never a proof of anything.

Kept are keyed hashes, by visitor, for limits.TYPED_DAYS; of one visitor the newest limits.TYPED_PER_VISITOR. When such a
number calls, what its visitor did counts as a claim does (store/ring.py). When somebody is confirmed on that call, the event
in which the number was typed says from then on who typed it.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Final

from firstring import limits
from firstring.contact import Identifier
from firstring.store.database import Connection, Database, Tenant
from firstring.store.journey import stitching
from firstring.store.journey.planned import Planned
from firstring.store.journey.stitching import Stretch
from firstring.store.queries import sql

_FORGOTTEN_EVERY_S: Final = 60.0
_CONFIRMED_AT_MOST: Final = 8
_KINDS: Final = ("phone", "email")


async def keep(connection: Connection, tenant: Tenant, plans: Sequence[Planned], now: datetime) -> None:
    """Keeps what was typed in these events, in their transaction; what is too old by now is forgotten."""
    rows: dict[tuple[bytes, bytes], tuple[bytes, bytes, str, datetime, bytes]] = {}
    for one in sorted(plans, key=lambda plan: plan.event.occurred_at):
        assert one.visitor is not None
        for key, kind in one.typed:
            rows[key, one.visitor] = (key, one.visitor, kind, one.event.occurred_at, one.message_key)
    if not rows:
        return
    columns = [list(column) for column in zip(*rows.values(), strict=True)]
    await connection.execute(sql("stitching", "put_typed"), tenant.tenant_id, *columns)
    visitors = list({visitor for _, visitor in rows})
    await connection.execute(sql("stitching", "bound_typed"), tenant.tenant_id, visitors, limits.TYPED_PER_VISITOR)
    last = tenant.kept.get("typed_forgotten_at")
    if last is None or (now - last).total_seconds() >= _FORGOTTEN_EVERY_S:
        tenant.kept["typed_forgotten_at"] = now
        await connection.execute(sql("stitching", "forget_typed"), tenant.tenant_id, now - timedelta(days=limits.TYPED_DAYS))


async def confirm(
    database: Database, tenant: Tenant, identifiers: Sequence[Identifier], record_id: int, *, at: datetime
) -> None:
    """Somebody was confirmed, at `at`, on a contact with these identifiers: the visits in which they were typed are theirs.

    Safe to repeat; with another record it takes the first back.
    """
    keys = [tenant.keys.blind(one.kind, one.value) for one in identifiers if one.kind in _KINDS]
    if not keys:
        return
    since = at - timedelta(days=limits.TYPED_DAYS)
    arguments = (sql("stitching", "who_typed"), tenant.tenant_id, keys, since, at, _CONFIRMED_AT_MOST)
    async with database.transaction(tenant.tenant_id) as connection:
        visitors = {row["visitor"] for row in await connection.fetch(*arguments)}
        if not visitors:
            return
        await stitching.lock_visitors(connection, tenant, visitors)
        rows = [row for row in await connection.fetch(*arguments) if row["visitor"] in visitors]
        messages = [row["message_key"] for row in rows]
        changed = await connection.fetch(sql("stitching", "confirm_typed"), tenant.tenant_id, messages, record_id)
        stretches = [Stretch(row["visitor"], row["occurred_at"], row["occurred_at"]) for row in changed]
        await stitching.derive_again(connection, tenant, stretches)
