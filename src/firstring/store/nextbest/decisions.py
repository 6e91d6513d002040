"""The log of decisions: what was decided for whom and why, what came of it."""

from __future__ import annotations

import uuid
from datetime import datetime
from typing import Final

import msgspec

from firstring.errors import BadInput
from firstring.nextbest.decided import Decided
from firstring.nextbest.trace import Trace, trace_of
from firstring.store.database import Database, Tenant
from firstring.store.nextbest.policies import catalogue_named, learned_named
from firstring.store.queries import sql

_decoder: Final = msgspec.msgpack.Decoder(Decided)


class Line(msgspec.Struct, frozen=True):
    """A decision as lists show it. person_id: whose the record is now; result: what came of it, None while that is open."""

    decision_id: uuid.UUID
    record_id: int
    person_id: int | None
    cause: str
    action: str
    kind: str
    route: str
    outcome: str
    propensity: float
    result: str | None
    decided_at: datetime
    decided_by: str | None


class Stored(msgspec.Struct, frozen=True):
    """A decision opened. person_id: whose the record is now; decided.person_id: whose it was then."""

    decided: Decided
    person_id: int | None
    result: str | None
    policy: str
    decided_by: str | None
    trace: Trace | None
    """None where the policy that it was decided with is gone, or this program reads it otherwise."""


async def decisions(
    database: Database, tenant: Tenant, *, person_id: int | None = None, before: datetime | None = None, at_most: int = 50
) -> list[Line]:
    """Decisions, the newest first; of a person those of the records they have now."""
    async with database.transaction(tenant.tenant_id) as connection:
        rows = await connection.fetch(sql("actions", "decisions"), tenant.tenant_id, person_id, before, at_most)
    return [Line(**dict(row)) for row in rows]


async def decision(database: Database, tenant: Tenant, decision_id: uuid.UUID) -> Stored:
    """One decision, opened, with its trace. Raises BadInput unknown_decision (404)."""
    async with database.transaction(tenant.tenant_id) as connection:
        row = await connection.fetchrow(sql("actions", "decision"), tenant.tenant_id, decision_id)
        if row is None or row["sealed"] is None:
            raise unknown_decision(str(decision_id))
        decided = opened(tenant.keys.open_bytes(row["wrapped_key"], row["sealed"]))
        actions = await catalogue_named(connection, tenant, row["policy"])
        learned = await learned_named(connection, tenant, row["learned"])
    trace = None if actions is None or learned is None else trace_of(decided, actions, learned)
    return Stored(decided, row["person_id"], row["result"], row["policy"], row["decided_by"], trace)


def opened(content: bytes) -> Decided:
    """A decision out of its row's content."""
    return _decoder.decode(content)


def decision_uuid(text: str) -> uuid.UUID:
    """A decision's id out of text. Raises BadInput unknown_decision (404)."""
    try:
        return uuid.UUID(text)
    except ValueError:
        raise unknown_decision(text) from None


def unknown_decision(text: str) -> BadInput:
    """The error for a decision that is not there."""
    return BadInput("unknown_decision", "There is no such decision.", where={"decision": text[:40]}, http_status=404)
