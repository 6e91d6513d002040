"""What people of the house did about contacts and agents: who, when, why. Nothing of it is ever changed."""

from __future__ import annotations

import uuid
from datetime import datetime

import msgspec

from firstring.store.database import Database, Tenant
from firstring.store.queries import sql


class Intervention(msgspec.Struct, frozen=True):
    """One of them. because: why; note: what was whispered. detail: codes and numbers; `refused:` and a code where it could
    not be done."""

    intervention_id: int
    at: datetime
    by: str
    what: str
    contact_id: uuid.UUID | None = None
    agent_id: int | None = None
    detail: str = ""
    because: str = ""
    note: str = ""


async def add(
    database: Database,
    tenant: Tenant,
    what: str,
    *,
    by: str,
    because: str,
    at: datetime,
    contact_id: uuid.UUID | None = None,
    agent_id: int | None = None,
    detail: str = "",
    note: str = "",
) -> int:
    """Writes down what is about to be done; returns its number."""
    wrapped, sealed = tenant.keys.seal((because, note))
    async with database.transaction(tenant.tenant_id) as connection:
        return int(
            await connection.fetchval(
                sql("board", "add_intervention"),
                tenant.tenant_id,
                at,
                by,
                what,
                contact_id,
                agent_id,
                detail,
                wrapped,
                sealed,
            )
        )


async def refused(database: Database, tenant: Tenant, intervention_id: int, code: str) -> None:
    """It could not be done."""
    async with database.transaction(tenant.tenant_id) as connection:
        await connection.execute(sql("board", "refused"), tenant.tenant_id, intervention_id, f"refused:{code}")


async def listed(
    database: Database, tenant: Tenant, at_most: int = 100, *, contact_id: uuid.UUID | None = None
) -> list[Intervention]:
    """The newest, newest first; of one contact, or of all."""
    async with database.transaction(tenant.tenant_id) as connection:
        rows = await connection.fetch(sql("board", "interventions"), tenant.tenant_id, at_most, contact_id)
    found = []
    for row in rows:
        because, note = tenant.keys.open(row["wrapped_key"], row["sealed"]) or ("", "")
        found.append(
            Intervention(
                row["intervention_id"], row["at"], row["done_by"], row["what"], row["contact_id"], row["agent_id"],
                row["detail"] or "", because, note,
            )
        )  # fmt: skip
    return found
