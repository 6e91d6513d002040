"""`train --store`: the store's records give a model, kept sealed and once, and nothing changes by it."""

from __future__ import annotations

import pytest
from tests.store_people import NOW, people, store

from firstring.bulk.versions.storelink import Stored, read_store
from firstring.bulk.versions.training import train_store
from firstring.errors import BadInput
from firstring.identity.comparison.columns import Column
from firstring.store.database import Database, Tenant
from firstring.store.identity.models import active_model, model_of

pytestmark = pytest.mark.asyncio(loop_scope="session")


def _quiet(_step: str, _done: int, _whole: int) -> None:
    return None


async def test_a_trained_version_is_a_candidate_and_training_again_adds_nothing(database: Database, tenant: Tenant) -> None:
    rows = sorted(people(3, 600), key=lambda row: row[0])
    await store(database, tenant, rows)
    options = {"threshold": 0.95, "memory_mb": 200, "now": NOW, "told": _quiet}
    trained = await train_store(database, tenant, **options)
    assert not trained.known
    again = await train_store(database, tenant, **options)
    assert (again.known, again.model_id, again.model.version) == (True, trained.model_id, trained.model.version)
    other = await train_store(database, tenant, **{**options, "threshold": 0.9})
    assert not other.known
    async with database.transaction(tenant.tenant_id) as connection:
        assert await active_model(connection, tenant) is None
        kept = await model_of(connection, tenant, trained.model_id)
        report = await connection.fetchval("select report from identity_model where model_id = $1", trained.model_id)
    assert kept.model == trained.model
    assert kept.threshold == 0.95
    table = (await read_store(database, tenant)).table
    for name in ("given", "family", "born", "home", "phone", "email", "email_local", "postcode", "city"):
        assert (kept.statistics.bands(name, table.column(name).values) == table.bands(name)[:-1]).all(), name
    names = {value for name in ("given", "family", "city", "email") for value in table.column(name).values if len(value) > 4}
    assert not [name for name in names if f'"{name}"' in report]


async def test_what_is_read_is_the_same_whatever_the_order_of_arrival(
    database: Database, tenant: Tenant, make_tenant: object
) -> None:
    rows = sorted(people(4, 400), key=lambda row: row[0])
    other = await make_tenant()  # type: ignore[operator]
    await store(database, tenant, rows)
    await store(database, other, list(reversed(rows)), batch=37)
    one, two = await read_store(database, tenant), await read_store(database, other)
    assert one.table.rows == two.table.rows
    for name in one.table.columns:
        mine, theirs = ([[*column.values, ""][code] for code in column.codes[:, 0]] for column in _columns(name, one, two))
        assert mine == theirs
    assert sorted(one.sources.tolist()) == sorted(two.sources.tolist())  # of equal records the order is each tenant's own


def _columns(name: str, *read: Stored) -> list[Column]:
    return [one.table.column(name) for one in read]


async def test_an_empty_store_trains_nothing(database: Database, tenant: Tenant) -> None:
    with pytest.raises(BadInput, match="no records"):
        await train_store(database, tenant, threshold=0.95, memory_mb=200, now=NOW, told=_quiet)
    with pytest.raises(BadInput, match="between 0 and 1"):
        await train_store(database, tenant, threshold=1.0, memory_mb=200, now=NOW, told=_quiet)
