"""Model versions in the store."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from tests.linking_rig import model_by_hand

from firstring.errors import BadInput
from firstring.identity.comparison.columns import table_of
from firstring.store.database import Database, Tenant
from firstring.store.identity.models import active_model, add_model, model_of, set_state, statistics_key

pytestmark = pytest.mark.asyncio(loop_scope="session")
NOW = datetime(2026, 11, 22, tzinfo=UTC)


async def test_one_version_is_active_and_comes_back_as_it_went(database: Database, tenant: Tenant) -> None:
    model = model_by_hand()
    rows = [{"given": ("ann",), "phone": ("+441",)}, {"given": ("ann",)}, {"given": ("bob",)}, {"given": ("zoe",)}]
    statistics = table_of(rows).frozen(("given", "phone"), statistics_key(tenant.keys, model.version))
    async with database.transaction(tenant.tenant_id) as connection:
        assert await active_model(connection, tenant) is None
        first = await add_model(connection, tenant, model, statistics, 0.95, trained_at=NOW)
        second = await add_model(connection, tenant, model, statistics, 0.9, trained_at=NOW)
        await set_state(connection, tenant, first, "active", now=NOW)
        await set_state(connection, tenant, second, "active", now=NOW)
        active = await active_model(connection, tenant)
        assert active is not None
        assert (active.model_id, active.threshold) == (second, 0.9)
        assert active.model == model
        assert active.statistics.bands("given", ["ann", "bob"]).tolist() == [1, 2]
        retired = await model_of(connection, tenant, first)
        assert retired.threshold == 0.95
        assert abs(retired.log_odds - 2.944) < 0.001
        stored = await connection.fetchval("select statistics from identity_model where model_id = $1", first)
        assert b"given" not in stored
        with pytest.raises(BadInput, match="no such model"):
            await set_state(connection, tenant, second + 100, "active", now=NOW)
