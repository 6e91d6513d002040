"""Contacts are weighed with the active model, whichever process made it so; old decisions with the one they had."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime

import msgspec
import pytest
from tests.linking_rig import model_by_hand

from firstring.contact import Contact, Decision, Evidence, Identifier
from firstring.decide import Decider, Models, differences, rederive
from firstring.identity.caller.weights import DEFAULT, Weights
from firstring.identity.comparison.columns import table_of
from firstring.identity.model.model import Model
from firstring.nextbest.library import BUILT_IN
from firstring.observe import Metrics
from firstring.ports import SystemClock, SystemIds
from firstring.routing.declared.policy import RoutingPolicy
from firstring.store.database import Database, Tenant
from firstring.store.identity.models import add_model, set_state, statistics_key
from firstring.store.identity.records import SourceRecord, apply_records
from firstring.store.notices import Notice, Notices
from firstring.store.ring import RingStore
from firstring.store.weighing import CHANGED, refresh, weights_named, weights_of, weights_watcher
from firstring.trust.score import DEFAULT_PRIORS

pytestmark = pytest.mark.asyncio(loop_scope="session")
NOW = datetime(2026, 11, 22, tzinfo=UTC)
NUMBER = "+12025550177"


async def activated(database: Database, tenant: Tenant, model: Model) -> None:
    rows = [{"given": ("ann",), "phone": (NUMBER,)}, {"given": ("ann",)}, {"given": ("bob",)}]
    statistics = table_of(rows).frozen(("given", "phone"), statistics_key(tenant.keys, model.version))
    async with database.transaction(tenant.tenant_id) as connection:
        model_id = await add_model(connection, tenant, model, statistics, 0.95, trained_at=NOW)
        await set_state(connection, tenant, model_id, "active", now=NOW)


async def decided(ring: RingStore, tenant: Tenant) -> Decision:
    models = Models(DEFAULT, DEFAULT_PRIORS, BUILT_IN, RoutingPolicy())
    decider = Decider(ring, models, SystemClock(), SystemIds(), Metrics(), weights_of)
    evidence = Evidence((Identifier("phone", NUMBER),), {"given_name": "Ann"}, caller_number="shown")
    contact_id = SystemIds().new()
    contact = Contact(contact_id, "voice", datetime.now(UTC), contact_id.hex)
    await decider.offered(tenant, contact, evidence)
    stored = await ring.decision(tenant, contact_id)
    assert stored is not None
    return stored


async def again(database: Database, tenant: Tenant, ring: RingStore, decision: Decision) -> list[str]:
    version = decision.derived.versions.identity
    async with database.transaction(tenant.tenant_id) as connection:
        weights = await weights_named(connection, tenant, version)
    assert weights is not None
    assert weights.version == version
    models = Models(weights, DEFAULT_PRIORS, BUILT_IN, RoutingPolicy())
    assert models.versions() == decision.derived.versions
    profiles = await ring.profiles(tenant, decision.read.agents)
    return differences(decision.derived, rederive(decision, profiles, models))


async def test_decisions_of_every_version_derive_again(database: Database, tenant: Tenant, notices: Notices) -> None:
    ring = RingStore(database, notices)
    await apply_records(
        database, tenant, "crm", [SourceRecord("1", {"given_name": "Ann", "phone": [NUMBER]})], now=datetime.now(UTC)
    )
    without = await decided(ring, tenant)
    assert without.derived.resolution.basis == "prior"
    model = model_by_hand()
    await activated(database, tenant, model)
    assert weights_of(tenant) is DEFAULT, "nothing is asked while it rings"
    await refresh(database, tenant)
    first = await decided(ring, tenant)
    assert first.derived.resolution.basis == "fitted"
    assert first.derived.versions.identity.startswith(model.version)
    other = msgspec.structs.replace(model, namesake_rate=model.namesake_rate * 3)
    await activated(database, tenant, other)
    await refresh(database, tenant)
    second = await decided(ring, tenant)
    assert len({one.derived.versions.identity for one in (without, first, second)}) == 3
    tenant.kept.clear()  # another process
    for decision in (without, first, second):
        assert await again(database, tenant, ring, decision) == []
    async with database.transaction(tenant.tenant_id) as connection:
        assert await weights_named(connection, tenant, f"model-000000000000+{DEFAULT.version}") is None
        assert await weights_named(connection, tenant, "prior-000000000000") is None


async def test_a_notice_wakes_the_watcher(database: Database, tenant: Tenant) -> None:
    watcher = weights_watcher(database)
    await watcher.start()
    try:
        assert weights_of(tenant).fitted is None
        model = model_by_hand()
        await activated(database, tenant, model)
        watcher.heard(Notice(tenant.tenant_id, CHANGED))

        def is_known(weights: Weights) -> bool:
            return weights.version.startswith(model.version)

        async with asyncio.timeout(30.0):
            while not is_known(weights_of(await database.tenant(tenant.tenant_id))):
                await asyncio.sleep(0.02)
    finally:
        await watcher.stop()
