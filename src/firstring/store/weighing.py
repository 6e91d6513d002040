"""What contacts are weighed with, by tenant: the active model version and the priors fitted to its contacts, kept in memory
so that no ring waits for them.

A watcher asks which are in force (store/watching.py). What is being decided meanwhile is weighed with the version before.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any, Final

import asyncpg
import structlog
from msgspec.json import decode, encode

from firstring.identity.caller.fitted import Fitted
from firstring.identity.caller.weights import DEFAULT, JOINED, TABLE, Weights
from firstring.store.database import Connection, Database, Tenant
from firstring.store.identity.models import ActiveModel, active_model, model_of
from firstring.store.journey import reasoning
from firstring.store.queries import sql
from firstring.store.watching import Watcher

_log = structlog.get_logger("firstring.weighing")
CHANGED: Final = "model"
"""What a notice says when a tenant's active version changes."""
_KEPT: Final = "weights"


def weights_of(tenant: Tenant) -> Weights:
    """What a tenant's contacts are weighed with at this moment: named priors before the first model. No I/O."""
    found = tenant.kept.get(_KEPT, DEFAULT)
    assert isinstance(found, Weights)
    return found


async def refresh(database: Database, tenant: Tenant) -> Weights:
    """Asks which version is active, makes it ready, and keeps it."""
    async with database.transaction(tenant.tenant_id) as connection:
        version = await active_model(connection, tenant)
        priors = await connection.fetchrow(sql("weighing", "priors_in_force"), tenant.tenant_id)
    weights = _weights(version, priors)
    if weights_of(tenant).version != weights.version:
        tenant.kept[_KEPT] = weights
        _log.info("weights_changed", tenant=tenant.tenant_id, version=weights.version)
    return weights_of(tenant)


async def weights_named(connection: Connection, tenant: Tenant, version: str) -> Weights | None:
    """The weights of a decision made before, by Versions.identity; None where its priors or its model are gone.

    Within a transaction of the tenant.
    """
    model, _, named = version.rpartition(JOINED)
    priors = None
    if named != DEFAULT.version:
        priors = await connection.fetchrow(sql("weighing", "priors_of_version"), tenant.tenant_id, named)
        if priors is None:
            return None
    active = None
    if model:
        model_id = await connection.fetchval(sql("weighing", "model_of_version"), tenant.tenant_id, model)
        if model_id is None:
            return None
        active = await model_of(connection, tenant, model_id)
    weights = _weights(active, priors)
    return weights if weights.version == version else None


async def put_in_force(
    connection: Connection, tenant: Tenant, weights: Weights | None, report: dict[str, Any], *, now: datetime, origin: str
) -> None:
    """Fitted priors take the place of those before; None: the named ones do. Programs that run hear it at once."""
    await connection.execute(sql("weighing", "retire_priors"), tenant.tenant_id)
    if weights is not None:
        fitted = {name: value for name, value in weights.values.items() if value != DEFAULT[name]}
        row = (weights.priors_version, weights.rings, encode(fitted).decode(), encode(report).decode(), now)
        await connection.execute(sql("weighing", "add_priors"), tenant.tenant_id, *row)
    await connection.execute(sql("models", "tell_model"), tenant.tenant_id, origin)


def _weights(version: ActiveModel | None, priors: asyncpg.Record | None) -> Weights:
    fitted = None if version is None else Fitted(version.model, version.statistics)
    if priors is None:
        return DEFAULT if fitted is None else Weights(fitted=fitted)
    # A prior that this release no longer has is left out; the version then is another one.
    known = {name: value for name, value in decode(priors["fitted"], type=dict[str, float]).items() if name in TABLE}
    return Weights({**DEFAULT.values, **known}, fitted, priors["basis"])


def weights_watcher(database: Database) -> Watcher:
    """Keeps the weights, and the text model, of every tenant current in this process."""
    return Watcher(database, CHANGED, (refresh, reasoning.refresh))
