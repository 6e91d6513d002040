"""The text model of a tenant: kept sealed, its vocabulary being out of customers' words, and at hand without I/O.

It is read when the program starts and whenever a notice says that a model changed; every version is kept for replay.
"""

from __future__ import annotations

import asyncio
from datetime import datetime
from typing import Any, Final, NamedTuple

import msgspec
import structlog
from msgspec.json import decode, encode

from firstring.decide import Models
from firstring.errors import BadInput, Unrecoverable
from firstring.identity.caller.weights import JOINED
from firstring.journey.words.textmodel import TextModel, from_plain
from firstring.store.database import Connection, Database, Tenant
from firstring.store.queries import sql

_log = structlog.get_logger("firstring.reasoning")
_KEPT: Final = "reasons"
_PREFIX: Final = "reasons-"


class KeptModel(NamedTuple):
    """A version as it is listed."""

    model_id: int
    version: str
    report: dict[str, Any]
    in_force: bool
    trained_at: datetime


def reasons_of(tenant: Tenant) -> TextModel | None:
    """What a tenant's contacts are understood by at this moment; None before the first. No I/O."""
    found = tenant.kept.get(_KEPT)
    assert found is None or isinstance(found, TextModel)
    return found


def with_reasons(tenant: Tenant, models: Models) -> Models:
    """The models with the tenant's text model."""
    found = reasons_of(tenant)
    return models if found is None else msgspec.structs.replace(models, reasons=found)


async def refresh(database: Database, tenant: Tenant) -> TextModel | None:
    """Asks which version is in force, and keeps it ready."""
    async with database.transaction(tenant.tenant_id) as connection:
        row = await connection.fetchrow(sql("words", "model_in_force"), tenant.tenant_id)
        known = reasons_of(tenant)
        if row is not None and known is not None and known.version == row["version"]:
            return known
        model = None if row is None else await _read(connection, tenant, row["model_id"], None)
    if model is not None or known is not None:
        tenant.kept[_KEPT] = model
        _log.info("reasons_changed", tenant=tenant.tenant_id, version=None if model is None else model.version)
    return model


async def with_reasons_named(connection: Connection, tenant: Tenant, models: Models, journey: str) -> Models | None:
    """The models with the text model of a decision made before, by Versions.journey; None where it is gone."""
    version = next((part for part in journey.split(JOINED) if part.startswith(_PREFIX)), None)
    if version is None:
        return msgspec.structs.replace(models, reasons=None)
    known = reasons_of(tenant)
    model = known if known is not None and known.version == version else await _read(connection, tenant, 0, version)
    return None if model is None else msgspec.structs.replace(models, reasons=model)


async def put_in_force(
    connection: Connection, tenant: Tenant, model: TextModel, report: dict[str, Any], *, now: datetime, origin: str
) -> int:
    """Keeps a model in place of the one before; its number. Programs that run hear it at once."""
    wrapped, sealed = await asyncio.to_thread(tenant.keys.seal, model.as_plain())
    await connection.execute(sql("words", "retire_model"), tenant.tenant_id)
    row = (tenant.tenant_id, model.version, encode(report).decode(), now, wrapped, sealed)
    model_id = int(await connection.fetchval(sql("words", "add_model"), *row))
    await connection.execute(sql("models", "tell_model"), tenant.tenant_id, origin)
    return model_id


async def use(connection: Connection, tenant: Tenant, model_id: int | None, *, origin: str) -> str | None:
    """Puts a version that was kept in force again; None: none is. Its version. Raises BadInput unknown_model."""
    await connection.execute(sql("words", "retire_model"), tenant.tenant_id)
    version = None
    if model_id is not None:
        version = await connection.fetchval(sql("words", "use_model"), tenant.tenant_id, model_id)
        if version is None:
            raise BadInput(
                "unknown_model",
                "There is no such text model.",
                where={"model_id": model_id},
                hint="See those there are: firstring reasons list.",
                http_status=404,
            )
    await connection.execute(sql("models", "tell_model"), tenant.tenant_id, origin)
    return version


async def kept_models(connection: Connection, tenant: Tenant) -> list[KeptModel]:
    """Every version, oldest first."""
    rows = await connection.fetch(sql("words", "models"), tenant.tenant_id)
    return [
        KeptModel(row["model_id"], row["version"], decode(row["report"]), row["in_force"], row["trained_at"]) for row in rows
    ]


async def _read(connection: Connection, tenant: Tenant, model_id: int, version: str | None) -> TextModel | None:
    row = await connection.fetchrow(sql("words", "model_sealed"), tenant.tenant_id, model_id, version)
    if row is None:
        return None
    try:
        return await asyncio.to_thread(lambda: from_plain(tenant.keys.open(row["wrapped_key"], row["sealed"])))
    except (ValueError, KeyError, TypeError) as error:
        raise Unrecoverable(
            "text_model_unreadable",
            f"The text model {row['version']} cannot be read ({error}).",
            hint="Train it again: firstring reasons train; or do without it: firstring reasons use none.",
        ) from error
