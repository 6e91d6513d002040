"""Who fits, as it is in force for a tenant: trained by night, updated as outcomes come, kept in memory.

A trained model is stored whole; what newer outcomes change, as an update of it. A version is found again by its root and the
updates up to it, so decisions made with it are derived again.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from functools import partial
from typing import Any, Final

import msgspec
import structlog

from firstring.errors import BadInput, Unrecoverable
from firstring.nextbest.situation import IDENTIFY_THRESHOLD
from firstring.ports import Clock
from firstring.routing.declared.policy import RoutingPolicy
from firstring.routing.fit.model import PARTS, PRIOR, FitModel, model_from_json, model_to_json
from firstring.routing.fit.train import ENOUGH, Outcome, train
from firstring.routing.fit.update import Update, update_of, updated
from firstring.settings import Settings
from firstring.store.aside import aside
from firstring.store.database import Connection, Database, Tenant
from firstring.store.notices import Notices
from firstring.store.queries import sql
from firstring.store.routing.outcomes import REMEMBERED, complaints, follow, outcomes_since, settle
from firstring.store.routing.relying import rely
from firstring.store.watching import Watcher

_log = structlog.get_logger("firstring.fit")
CHANGED: Final = "fit"
"""What a notice says when another model is in force."""
_KEPT: Final = "fit"
_BUILT: Final = "fit_built"
BUILT_KEPT: Final = 32
"""Models of earlier decisions that are kept in memory."""
SETTLE_S: Final = 30.0
"""How often outcomes are looked at, and the model is updated with them."""
FOLLOW_S: Final = 600.0
"""How often it is asked who came again, and who complained."""
ROUNDS_AGAIN: Final = 24
EVENTS_BEFORE: Final = 200_000
"""Events before a server's start in which complaints are looked for."""
KEPT: Final = timedelta(days=400)
"""Decisions made with a model that was last updated longer ago cannot be derived again; outcomes are kept as long."""
TRAIN_HOUR: Final = 3
"""It is trained at this hour (UTC), or as soon afterwards as a server runs."""
TRY_AGAIN: Final = timedelta(hours=1)
TRAINED_ON: Final = 100_000
"""Outcomes that a server trains on, the newest; the command takes more."""
TRAINED_ON_MOST: Final = 1_000_000
UPDATES_MOST: Final = 5_000
"""Updates of one trained model; then it is trained anew."""
_WITHIN_S: Final = 5.0
ASIDE: Final = "training"
"""Who tells that another model is in force: not the server itself, which then hears it too."""


class ModelLine(msgspec.Struct, frozen=True):
    """A trained model as lists show it. active: it is in force, with its updates."""

    version: str
    outcomes: int
    until: datetime
    made_at: datetime
    made_by: str
    active: bool
    updates: int


def fit_in_force(tenant: Tenant) -> FitModel:
    """What is in force at this moment: named priors before anything was learned. No I/O."""
    found = tenant.kept.get(_KEPT, PRIOR)
    assert isinstance(found, FitModel)
    return found


async def refresh(database: Database, tenant: Tenant) -> FitModel:
    """Asks which model is in force, makes it ready, and keeps it."""
    before = fit_in_force(tenant)
    async with database.transaction(tenant.tenant_id) as connection:
        row = await connection.fetchrow(sql("fit", "active_model"), tenant.tenant_id)
        if row is None:
            tenant.kept.pop(_KEPT, None)
            return PRIOR
        if row["version"] == before.version:
            return before
        chain = await connection.fetch(sql("fit", "chain_since"), tenant.tenant_id, row["version"], before.version)
    if chain[0]["parent"] == before.version:
        found = await asyncio.to_thread(_linked, before, chain)
    else:
        found = await asyncio.to_thread(_built, chain)
    tenant.kept[_KEPT] = found
    _log.info("fit_changed", tenant=tenant.tenant_id, version=found.version)
    return found


async def fit_named(connection: Connection, tenant: Tenant, version: str) -> FitModel | None:
    """The model of a version; None where it is gone."""
    if version == PRIOR.version:
        return PRIOR
    kept = fit_in_force(tenant)
    if kept.version == version:
        return kept
    built: dict[str, FitModel] = tenant.kept.setdefault(_BUILT, {})
    if version not in built:
        chain = await connection.fetch(sql("fit", "chain"), tenant.tenant_id, version)
        if not chain:
            return None
        built.clear()
        built.update(await asyncio.to_thread(_last_built, chain))
    return built[version]


def _built(chain: Sequence[Any]) -> FitModel:
    """A trained model with its updates, each on top of its parent."""
    first = chain[0]
    return _linked(model_from_json(first["content"], version=first["version"]), chain[1:])


def _last_built(chain: Sequence[Any]) -> dict[str, FitModel]:
    """The last models of a chain: whoever asks for one of them will ask for those before it."""
    cut = max(1, len(chain) - BUILT_KEPT + 1)
    found = {}
    model = _built(chain[:cut])
    found[model.version] = model
    for row in chain[cut:]:
        model = _linked(model, [row])
        found[model.version] = model
    return found


def _linked(model: FitModel, updates: Sequence[Any]) -> FitModel:
    for row in updates:
        if row["parent"] != model.version:
            raise Unrecoverable(
                "fit_model_broken", "An update of the model of who fits does not follow the one before it.",
                where={"version": row["version"]}, hint="Train it anew: firstring routing train.",
            )  # fmt: skip
        model = updated(model, msgspec.json.decode(row["content"], type=Update))
    _ = model.effects  # worked out here, and not when a contact rings
    for name in PARTS:
        model.of_agents(name)
    return model


async def train_now(
    database: Database, tenant: Tenant, *, policy: RoutingPolicy, now: datetime, by: str, origin: str, at_most: int
) -> FitModel:
    """Trains on what is in the store, and puts it in force. Raises BadInput outcomes_too_few, feature_protected."""
    async with database.transaction(tenant.tenant_id) as connection:
        outcomes, until = await outcomes_since(connection, tenant, now - REMEMBERED, at_most)
    model = await asyncio.to_thread(train, outcomes, fields=policy.fit_fields, since=now - REMEMBERED, until=until or now)
    async with database.transaction(tenant.tenant_id) as connection:
        await put_in_force(
            connection, tenant, model, outcomes=len(outcomes), until=until or now, now=now, by=by, origin=origin
        )
    return model


async def put_in_force(
    connection: Connection,
    tenant: Tenant,
    model: FitModel,
    *,
    outcomes: int,
    until: datetime,
    now: datetime,
    by: str,
    origin: str,
) -> None:
    """Stores a trained model, and puts it in force. Programs that run hear it at once."""
    await connection.execute(sql("fit", "retire"), tenant.tenant_id, model.version)
    await connection.execute(
        sql("fit", "add_model"), tenant.tenant_id, model.version, None, model.version, model_to_json(model), outcomes, until,
        now, by,
    )  # fmt: skip
    await connection.execute(sql("fit", "tell"), tenant.tenant_id, origin)


async def back_to(connection: Connection, tenant: Tenant, version: str, *, origin: str) -> str:
    """Puts a model that was trained before in force again, with its updates. Raises BadInput fit_model_unknown (404)."""
    newest = await connection.fetchval(sql("fit", "newest_of_root"), tenant.tenant_id, version)
    if newest is None:
        raise unknown_model(version)
    await connection.execute(sql("fit", "retire"), tenant.tenant_id, newest)
    await connection.execute(sql("fit", "reactivate"), tenant.tenant_id, newest)
    await connection.execute(sql("fit", "tell"), tenant.tenant_id, origin)
    return str(newest)


def unknown_model(version: str) -> BadInput:
    """BadInput fit_model_unknown (404)."""
    return BadInput(
        "fit_model_unknown",
        "No model of this version is stored.",
        where={"version": version[:64]},
        hint="`firstring routing models` lists them.",
        http_status=404,
    )


async def models(connection: Connection, tenant: Tenant, at_most: int = 50) -> list[ModelLine]:
    """The trained models, the newest first."""
    rows = await connection.fetch(sql("fit", "models"), tenant.tenant_id, at_most)
    return [ModelLine(**{**dict(row), "active": bool(row["active"])}) for row in rows]


def fit_watcher(database: Database) -> Watcher:
    """Keeps what is in force for every tenant current in this process."""
    return Watcher(database, CHANGED, (refresh,))


class FitWork:
    """A chore of the queue task: writes down what came of contacts, updates the model, trains it by night."""

    def __init__(
        self,
        database: Database,
        notices: Notices,
        clock: Clock,
        policy_of: Callable[[Tenant], RoutingPolicy],
        *,
        threshold: float = IDENTIFY_THRESHOLD,
        settings: Settings | None = None,
    ) -> None:
        """threshold: from this probability on a caller counts as recognised. settings: of the server, beside which it is
        trained in a process of its own; None: here."""
        self._database = database
        self._notices = notices
        self._clock = clock
        self._policy_of = policy_of
        self._threshold = threshold
        self._settings = settings
        self._settle_s: dict[str, float] = {}
        self._follow_s: dict[str, float] = {}
        self._tried: dict[str, datetime] = {}
        self._events: dict[str, deque[int]] = {}

    async def look(self, tenant: Tenant) -> None:
        """Goes on where it is time."""
        now_s = self._clock.monotonic_s()
        if now_s >= self._settle_s.get(tenant.name, 0.0):
            done = await self.settle(tenant)
            self._settle_s[tenant.name] = self._clock.monotonic_s() + (SETTLE_S if done else 0.0)
        if self._may_train(tenant):
            await self.train(tenant)

    async def settle(self, tenant: Tenant) -> bool:
        """Writes down what came of contacts, for a while; False where more are left."""
        until_s = self._clock.monotonic_s() + _WITHIN_S
        follows = self._clock.monotonic_s() >= self._follow_s.get(tenant.name, 0.0)
        while self._clock.monotonic_s() <= until_s:
            async with self._database.transaction(tenant.tenant_id) as connection:
                if not await connection.fetchval(sql("fit", "lock"), tenant.tenant_id):
                    return True
                now = self._clock.now()
                found = await settle(connection, tenant, self._policy_of(tenant), now, threshold=self._threshold)
                await rely(connection, tenant, found.ids, now)
                outcomes = found.outcomes
                updated_to = None
                if follows:
                    outcomes = outcomes + await follow(connection, tenant, now)
                    await self._complaints(connection, tenant)
                    self._follow_s[tenant.name] = self._clock.monotonic_s() + FOLLOW_S
                    follows = False
                if outcomes:
                    updated_to = await self._update(connection, tenant, outcomes, now)
            if updated_to is not None:
                tenant.kept[_KEPT] = updated_to
            if found.contacts == 0:
                return True
        return False

    async def _complaints(self, connection: Connection, tenant: Tenant) -> None:
        """Marks contacts that were complained about. Events of the last rounds are looked at again: a complaint may be told
        before its contact is over."""
        newest = await connection.fetchval(sql("fit", "newest_event"), tenant.tenant_id)
        marks = self._events.setdefault(tenant.name, deque([max(0, newest - EVENTS_BEFORE)], maxlen=ROUNDS_AGAIN))
        if newest > marks[0]:
            await complaints(connection, tenant, marks[0], newest)
        marks.append(newest)

    async def _update(
        self, connection: Connection, tenant: Tenant, outcomes: Sequence[Outcome], now: datetime
    ) -> FitModel | None:
        """Adds outcomes to the model in force, in the transaction that wrote them down: each teaches once."""
        row = await connection.fetchrow(sql("fit", "active_model"), tenant.tenant_id)
        model = None if row is None else await fit_named(connection, tenant, row["version"])
        if model is None:
            return None
        update = await asyncio.to_thread(update_of, model, outcomes, until=now.isoformat())
        if update is None:
            return None
        await connection.execute(sql("fit", "retire"), tenant.tenant_id, update.version)
        await connection.execute(
            sql("fit", "add_model"), tenant.tenant_id, update.version, model.version, row["root"],
            msgspec.json.encode(update).decode(), len(outcomes), now, now, "outcomes",
        )  # fmt: skip
        await connection.execute(sql("fit", "tell"), tenant.tenant_id, self._notices.origin)
        content = msgspec.json.encode(update).decode()
        return await asyncio.to_thread(
            _linked, model, [{"version": update.version, "parent": model.version, "content": content}]
        )

    def _may_train(self, tenant: Tenant) -> bool:
        now = self._clock.now()
        tried = self._tried.get(tenant.name)
        return tried is None or now - tried >= TRY_AGAIN or now < tried

    async def train(self, tenant: Tenant) -> FitModel | None:
        """Trains where the model is older than the last TRAIN_HOUR and there is enough to learn from."""
        now = self._clock.now()
        self._tried[tenant.name] = now
        due = now.replace(hour=TRAIN_HOUR, minute=0, second=0, microsecond=0)
        due = due if due <= now else due - timedelta(days=1)
        async with self._database.transaction(tenant.tenant_id) as connection:
            trained = await models(connection, tenant, 1)
            enough = await connection.fetchval(sql("fit", "enough_since"), tenant.tenant_id, now - REMEMBERED, ENOUGH)
        newest = trained[0] if trained else None
        if enough < ENOUGH or (newest is not None and newest.made_at >= due and newest.updates < UPDATES_MOST):
            return None
        training = partial(train_now, policy=self._policy_of(tenant), now=now, by="night", origin=ASIDE, at_most=TRAINED_ON)
        if self._settings is None:
            model = await training(self._database, tenant)
        else:
            model = await aside(self._settings, tenant.name, training)
            await refresh(self._database, tenant)
        async with self._database.transaction(tenant.tenant_id) as connection:
            await connection.execute(sql("fit", "forget"), tenant.tenant_id, now - KEPT)
            await connection.execute(sql("fit", "forget_outcomes"), tenant.tenant_id, now - KEPT, timeout=60.0)
        _log.info("fit_trained", tenant=tenant.tenant_id, version=model.version, trained_on=model.content.success.rows)
        return model
