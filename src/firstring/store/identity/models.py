"""Model versions in the store: what links a tenant's records, with everything it rests on frozen.

A version is read once by each process: its content never changes, only its state does. Which one is active is asked in
the transaction that uses it.
"""

from __future__ import annotations

import math
from datetime import datetime
from typing import Any, Final, Literal

import msgspec

from firstring.errors import BadInput
from firstring.identity.comparison.shelf import Shelf
from firstring.identity.comparison.statistics import Statistics
from firstring.identity.model.model import Model, as_json, from_json
from firstring.identity.persons.linkkeys import KeyMaker
from firstring.store.database import Connection, Tenant
from firstring.store.queries import sql
from firstring.store.seal import TenantKeys

State = Literal["candidate", "rolling", "active", "retired"]

_KEPT: Final = 4
"""Versions that a process keeps of a tenant: the active one, one that is rolled in, and those just before."""
_DIGITS: Final = 6
"""Of a threshold: PostgreSQL's real has no more."""


class ActiveModel(msgspec.Struct, frozen=True):
    """One version: what decides which records are one person. threshold: a probability; log_odds: the same in nats.

    keys makes the linking keys of a record; heads: the tag of each, and the domain of its blind index. Both out of the
    rest, as are shelf and scored: records and log-odds of patterns that were met lately (identity/persons/linking).
    """

    model_id: int
    version: str
    model: Model
    statistics: Statistics
    threshold: float
    log_odds: float
    keys: KeyMaker
    heads: list[tuple[bytes, str]]
    shelf: Shelf
    scored: dict[int, float] = {}


def statistics_key(keys: TenantKeys, version: str) -> bytes:
    """The key of a version's hashed values: 16 bytes, out of the tenant's index key."""
    return keys.blind("statistics", version)


async def active_model(connection: Connection, tenant: Tenant) -> ActiveModel | None:
    """The version that links the tenant's records now; None before the first. Within a transaction of the tenant."""
    model_id = await connection.fetchval(sql("linking", "active_model"), tenant.tenant_id)
    return None if model_id is None else await model_of(connection, tenant, model_id)


def was_linked(tenant: Tenant) -> bool:
    """Whether this process has met a version of the tenant: then arrivals are likely to be linked by one."""
    return bool(tenant.kept.get("models"))


async def model_of(connection: Connection, tenant: Tenant, model_id: int) -> ActiveModel:
    """A version by its id, in whatever state. Raises BadInput unknown_model."""
    kept: dict[int, ActiveModel] = tenant.kept.setdefault("models", {})
    found = kept.get(model_id)
    if found is None:
        row = await connection.fetchrow(sql("linking", "model"), tenant.tenant_id, model_id)
        if row is None:
            raise BadInput(
                "unknown_model",
                "There is no such model version.",
                where={"model_id": model_id},
                hint="See those there are: firstring model list.",
                http_status=404,
            )
        found = _opened(tenant, model_id, row)
        while len(kept) >= _KEPT:
            del kept[next(iter(kept))]
        kept[model_id] = found
    return found


async def add_model(
    connection: Connection, tenant: Tenant, model: Model, statistics: Statistics, threshold: float, *, trained_at: datetime
) -> int:
    """Stores a version as a candidate; its id. The statistics must be keyed with `statistics_key` of the version."""
    wrapped, sealed = tenant.keys.seal(statistics.as_bytes())
    row = (tenant.tenant_id, model.version, as_json(model), wrapped, sealed, threshold, trained_at)
    return int(await connection.fetchval(sql("linking", "add_model"), *row))


async def set_state(connection: Connection, tenant: Tenant, model_id: int, state: State, *, now: datetime) -> None:
    """Gives a version a state. The version that was active (or rolling) before becomes retired, as there is one at most.

    To be called under the applier's lock (records.sql lock_applier) where the state is, or was, active.
    """
    if state in ("active", "rolling"):
        await connection.execute(sql("linking", "retire_model"), tenant.tenant_id, model_id, state)
    status = await connection.execute(sql("linking", "set_model_state"), tenant.tenant_id, model_id, state, now)
    if status == "UPDATE 0":
        raise BadInput("unknown_model", "There is no such model version.", where={"model_id": model_id}, http_status=404)


def _opened(tenant: Tenant, model_id: int, row: Any) -> ActiveModel:
    statistics = Statistics.from_bytes(
        tenant.keys.open(row["wrapped_key"], row["statistics"]), statistics_key(tenant.keys, row["version"])
    )
    threshold = round(row["threshold"], _DIGITS)
    odds = math.log(threshold / (1.0 - threshold))
    model = from_json(row["model"])
    keys = KeyMaker(model.spec, statistics)
    heads = [(bytes((tag,)), "link:" + "+".join(key.parts)) for key, tag in zip(keys.keys, keys.tags, strict=True)]
    shelf = Shelf(statistics, tuple(model.spec.attributes))
    return ActiveModel(model_id, row["version"], model, statistics, threshold, odds, keys, heads, shelf)
