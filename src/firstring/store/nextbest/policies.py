"""What is in force for a tenant: the declared actions, what was learned of their chances, the offers; kept in memory.

A watcher asks for what changed (store/watching.py), so a policy is exchanged under a running server. Where a tenant has
loaded nothing, the built-in actions are in force as they are declared: nothing is drawn by chance and nobody is held out.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

import msgspec
import structlog

from firstring.decide import Models
from firstring.errors import BadInput
from firstring.nextbest.actions import Catalogue
from firstring.nextbest.declared import together
from firstring.nextbest.learning.posterior import UNLEARNED, Learned
from firstring.nextbest.library import BUILT_IN
from firstring.nextbest.offers.affinity import Shop
from firstring.store.database import Connection, Database, Tenant
from firstring.store.nextbest.offers import offers_in_force
from firstring.store.queries import sql
from firstring.store.watching import Watcher

_log = structlog.get_logger("firstring.actions")
CHANGED: Final = "actions"
JOINED: Final = "+"
_KEPT: Final = "actions"


_EMPTY: Final = Shop()


@dataclass(frozen=True, slots=True)
class InForce:
    """What a tenant's actions are chosen with. loaded: a policy of its own is in force. mark: tells whether
    anything has changed since."""

    catalogue: Catalogue = BUILT_IN
    learned: Learned = UNLEARNED
    loaded: bool = False
    shop: Shop = _EMPTY
    mark: tuple[Any, ...] = ()


class PolicyLine(msgspec.Struct, frozen=True):
    """A version of a policy as lists show it."""

    version: str
    actions: int
    loaded_by: str
    loaded_at: datetime
    active: bool


def in_force(tenant: Tenant) -> InForce:
    """What is in force at this moment. No I/O."""
    found = tenant.kept.get(_KEPT)
    return found if isinstance(found, InForce) else InForce()


def holdout_key(tenant: Tenant) -> bytes:
    """The key by which people are held out of offers."""
    return tenant.keys.blind("actions", "holdout")


async def read_in_force(connection: Connection, tenant: Tenant, known: InForce | None = None) -> InForce:
    """What is in force, within a transaction of the tenant; `known`, where nothing has changed since."""
    mark = tuple((await connection.fetchrow(sql("actions", "mark"), tenant.tenant_id)).values())
    if known is not None and known.mark == mark:
        return known
    row = await connection.fetchrow(sql("actions", "active_policy"), tenant.tenant_id)
    catalogue = BUILT_IN if row is None else _catalogue(row["texts"])
    learned = await connection.fetchrow(sql("actions", "active_learned"), tenant.tenant_id)
    return InForce(
        catalogue,
        UNLEARNED if learned is None else msgspec.json.decode(learned["learned"], type=Learned),
        row is not None,
        Shop(*await offers_in_force(connection, tenant)),
        mark,
    )


async def refresh(database: Database, tenant: Tenant) -> InForce:
    """Reads what is in force, and keeps it."""
    before = in_force(tenant)
    async with database.transaction(tenant.tenant_id) as connection:
        found = await read_in_force(connection, tenant, before)
    tenant.kept[_KEPT] = found
    if (before.catalogue.version, before.learned.version) != (found.catalogue.version, found.learned.version):
        _log.info("actions_changed", tenant=tenant.tenant_id, version=found.catalogue.version, learned=found.learned.version)
    return found


async def catalogue_named(connection: Connection, tenant: Tenant, version: str) -> Catalogue | None:
    """The actions of a version, as they were declared; None where this program reads them as another version."""
    if version == BUILT_IN.version:
        return BUILT_IN
    row = await connection.fetchrow(sql("actions", "policy_named"), tenant.tenant_id, version)
    found = None if row is None else _catalogue(row["texts"])
    return found if found is not None and found.version == version else None


async def learned_named(connection: Connection, tenant: Tenant, version: str) -> Learned | None:
    """What was learned, by its version; None where it is gone."""
    if version == UNLEARNED.version:
        return UNLEARNED
    row = await connection.fetchrow(sql("actions", "learned_named"), tenant.tenant_id, version)
    return None if row is None else msgspec.json.decode(row["learned"], type=Learned)


async def load_policy(
    connection: Connection, tenant: Tenant, texts: Sequence[tuple[str, str]], *, by: str, now: datetime, origin: str
) -> Catalogue:
    """Puts declared actions in force: (file, YAML)s, on top of the built-in ones. Programs that run hear it at once.

    Raises BadInput action_invalid or expression_invalid; what is in force stays then.
    """
    found = together(texts, BUILT_IN)
    await connection.execute(sql("actions", "retire_policies"), tenant.tenant_id, found.version)
    await connection.execute(
        sql("actions", "add_policy"), tenant.tenant_id, found.version, msgspec.json.encode(list(texts)).decode(),
        len(found.actions), by, now,
    )  # fmt: skip
    await connection.execute(sql("actions", "tell"), tenant.tenant_id, origin)
    return found


async def unknown_patterns(connection: Connection, tenant: Tenant, catalogue: Catalogue) -> list[str]:
    """The patterns that actions wait for and that are not on."""
    rows = await connection.fetch(sql("actions", "patterns_on"), tenant.tenant_id)
    return sorted(set(catalogue.by_pattern) - {row["pattern"] for row in rows})


async def back_to(connection: Connection, tenant: Tenant, version: str, *, origin: str) -> None:
    """Puts a version that was loaded before in force again. Raises BadInput policy_unknown (404)."""
    row = await connection.fetchrow(sql("actions", "policy_named"), tenant.tenant_id, version)
    if row is None:
        raise BadInput(
            "policy_unknown",
            "No policy of this version was loaded.",
            where={"version": version[:64]},
            hint="`firstring actions list --versions` lists them.",
            http_status=404,
        )
    await connection.execute(sql("actions", "retire_policies"), tenant.tenant_id, version)
    await connection.execute(sql("actions", "reactivate_policy"), tenant.tenant_id, version)
    await connection.execute(sql("actions", "tell"), tenant.tenant_id, origin)


async def policies(connection: Connection, tenant: Tenant, at_most: int = 50) -> list[PolicyLine]:
    """The versions that were loaded, the newest first."""
    rows = await connection.fetch(sql("actions", "policies"), tenant.tenant_id, at_most)
    return [PolicyLine(**dict(row)) for row in rows]


def _catalogue(texts: str) -> Catalogue:
    return together(msgspec.json.decode(texts, type=list[tuple[str, str]]), BUILT_IN)


def policy_watcher(database: Database) -> Watcher:
    """Keeps what is in force for every tenant current in this process."""
    return Watcher(database, CHANGED, (refresh,))


def with_actions(tenant: Any, models: Models) -> Models:
    """`models` with a tenant's own actions, where it has loaded any. No I/O."""
    assert isinstance(tenant, Tenant)
    force = in_force(tenant)
    if not force.loaded:
        return models
    return msgspec.structs.replace(models, actions=force.catalogue, learned=force.learned, holdout_key=holdout_key(tenant))


async def with_actions_named(connection: Connection, tenant: Tenant, models: Models, version: str) -> Models | None:
    """`models` with the actions of Versions.actions of a decision made before; None where they are gone."""
    named, _, learned_version = version.partition(JOINED)
    catalogue = await catalogue_named(connection, tenant, named)
    learned = await learned_named(connection, tenant, learned_version or UNLEARNED.version)
    if catalogue is None or learned is None:
        return None
    key = holdout_key(tenant) if learned_version else b""
    return msgspec.structs.replace(models, actions=catalogue, learned=learned, holdout_key=key)
