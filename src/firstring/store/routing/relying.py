"""How far a tenant's model is relied on: what came of pairs against what was expected of them when they were made.

A decision holds what the model said of the agent who got the contact, and on average; the outcome, once it is written down,
says what came of it. So each pair is judged by what was known before it, and a model that knows nothing is found out.
"""

from __future__ import annotations

import math
import uuid
from collections.abc import Sequence
from datetime import datetime
from typing import Final

import asyncpg
import msgspec

from firstring.contact import Value
from firstring.errors import FirstringError
from firstring.routing.pick.reliance import Reliance, learnt
from firstring.store.database import Connection, Tenant
from firstring.store.queries import sql

CARRIED: Final = 400.0
"""A model that was trained anew is believed as the one before it, as if so many pairs had shown that."""
_NAME: Final = "reliance:"


class Relied(msgspec.Struct, frozen=True):
    """The sums of success and of handle time, of one trained model with its updates."""

    succeeds: Reliance = Reliance()
    takes: Reliance = Reliance()

    @property
    def slopes(self) -> tuple[float, float]:
        return self.succeeds.slope, self.takes.slope


class _Verdict(Value, frozen=True):
    agent_id: int
    expected: tuple[float, float] | None = None


class _Routing(Value, frozen=True):
    ranked: tuple[_Verdict, ...] = ()
    means: tuple[float, float] | None = None


class _Derived(Value, frozen=True):
    routing: _Routing


class _Seen(Value, frozen=True):
    """Of a decision what was expected."""

    derived: _Derived


_decoder: Final = msgspec.msgpack.Decoder(_Seen)


async def slopes_of(connection: Connection, tenant: Tenant) -> tuple[float, float]:
    """Of the model in force."""
    row = await connection.fetchrow(sql("fit", "active_model"), tenant.tenant_id)
    return (1.0, 1.0) if row is None else (await relied_of(connection, tenant, row["root"])).slopes


async def relied_of(connection: Connection, tenant: Tenant, root: str) -> Relied:
    """Of a trained model; where nothing is known of it, as of the one before it."""
    content = await connection.fetchval(sql("prices", "state"), tenant.tenant_id, _NAME + root)
    if content is not None:
        return msgspec.json.decode(content, type=Relied)
    content = await connection.fetchval(sql("prices", "relied_before"), tenant.tenant_id, _NAME)
    before = Relied() if content is None else msgspec.json.decode(content, type=Relied)
    return Relied(_carried(before.succeeds), _carried(before.takes))


async def rely(connection: Connection, tenant: Tenant, contacts: Sequence[uuid.UUID], now: datetime) -> Relied | None:
    """Learns from contacts of which it was just written down what came of them, in that transaction: each teaches once.
    None: no model is in force, or nothing was expected of any."""
    row = await connection.fetchrow(sql("fit", "active_model"), tenant.tenant_id)
    if row is None or not contacts:
        return None
    before = relied = await relied_of(connection, tenant, row["root"])
    for outcome in await connection.fetch(sql("prices", "expected"), tenant.tenant_id, list(contacts)):
        relied = _learnt(tenant, relied, outcome)
    if relied is before:
        return None
    content = msgspec.json.encode(relied).decode()
    await connection.execute(sql("prices", "put_state"), tenant.tenant_id, _NAME + row["root"], content, now)
    return relied


def _learnt(tenant: Tenant, before: Relied, outcome: asyncpg.Record) -> Relied:
    try:
        seen = _decoder.decode(tenant.keys.open_bytes(outcome["wrapped_key"], outcome["sealed"]))
    except (FirstringError, msgspec.DecodeError):
        return before
    routing = seen.derived.routing
    expected = next((one.expected for one in routing.ranked if one.agent_id == outcome["agent_id"]), None)
    if expected is None or routing.means is None:
        return before
    (success, handle_s), (mean, mean_s) = expected, routing.means
    succeeds, takes = before.succeeds, before.takes
    if outcome["success"] is not None:
        succeeds = learnt(succeeds, success - mean, float(outcome["success"]) - mean)
    if outcome["handle_s"] is not None and min(handle_s, mean_s) > 0.0:
        took = math.log(max(outcome["handle_s"], 1e-3) / mean_s)
        takes = learnt(takes, math.log(handle_s / mean_s), took)
    return Relied(succeeds, takes)


def _carried(before: Reliance) -> Reliance:
    share = min(1.0, CARRIED / before.n) if before.n > 0.0 else 1.0
    return Reliance(*(share * part for part in before))
