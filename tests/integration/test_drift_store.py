"""Drift looked for in a store: quiet on what it was trained on, loud when phones vanish; once a day by one process."""

from __future__ import annotations

from datetime import datetime, timedelta

import msgspec
import pytest
from tests.store_people import NOW, people, store

from firstring.bulk.versions.drifting import look_for_drift
from firstring.bulk.versions.driftwatch import DriftWatch
from firstring.bulk.versions.listing import Found, find_version, last_found
from firstring.bulk.versions.rollin import roll_in
from firstring.bulk.versions.training import train_store
from firstring.errors import BadInput
from firstring.identity.canonical.record import CanonicalRecord
from firstring.observe import Metrics
from firstring.ports import SystemClock
from firstring.store.database import Database, Tenant


class Clock:
    def __init__(self) -> None:
        self.at = NOW

    def now(self) -> datetime:
        return self.at

    def monotonic_s(self) -> float:
        return self.at.timestamp()


async def _trained(database: Database, tenant: Tenant) -> int:
    await store(database, tenant, sorted(people(51, 700), key=lambda row: row[0]))
    trained = await train_store(database, tenant, threshold=0.95, memory_mb=100, now=NOW, told=lambda *_: None)
    await roll_in(
        database, tenant, str(trained.model_id), yes=True, threshold=None, memory_mb=100, clock=SystemClock(),
        told=lambda *_: None,
    )  # fmt: skip
    return trained.model_id


def _without_phones(record: CanonicalRecord) -> CanonicalRecord:
    fields = {name: value for name, value in record.fields.items() if name != "phone"}
    return msgspec.structs.replace(record, fields=fields)


async def test_the_same_is_steady_and_phones_that_vanish_are_an_alarm(database: Database, tenant: Tenant) -> None:
    with pytest.raises(BadInput, match="No model version"):
        await look_for_drift(database, tenant, now=NOW)
    number = await _trained(database, tenant)
    found = await look_for_drift(database, tenant, now=NOW)
    assert (found.state, found.records) == ("steady", 700)
    assert {one.kind for one in found.measures} >= {"stated", "unfamiliar", "levels"}
    later = [(source, _without_phones(record), person) for source, record, person in people(52, 500)]
    await store(database, tenant, sorted(later, key=lambda row: row[0]))
    found = await look_for_drift(database, tenant, now=NOW, sample=500)
    assert found.state == "alarm"
    assert {one.name for one in found.measures if one.state == "alarm"} >= {"phone"}
    async with database.transaction(tenant.tenant_id) as connection:
        assert last_found(await find_version(connection, tenant, str(number))) == found
    assert (await look_for_drift(database, tenant, now=NOW + timedelta(days=90))).records == 0


async def test_once_a_day_by_one_process(database: Database, tenant: Tenant) -> None:
    clock, metrics = Clock(), Metrics()
    watch = DriftWatch(
        database, clock, metrics.drift, lambda of, now: look_for_drift(database, of, now=now),
    )  # fmt: skip
    await watch.look(tenant)  # there is no version: nothing to look at
    assert b"firstring_drift{" not in metrics.text()
    number = await _trained(database, tenant)

    async def noted() -> Found | None:
        async with database.transaction(tenant.tenant_id) as connection:
            return last_found(await find_version(connection, tenant, str(number)))

    await watch.look(tenant)
    assert await noted() is None, "it has just looked whether there is a version"
    clock.at += timedelta(hours=1)
    await watch.look(tenant)
    first = await noted()
    assert first is not None
    clock.at += timedelta(hours=23)
    await watch.look(tenant)
    assert await noted() == first
    clock.at += timedelta(hours=2)
    await watch.look(tenant)
    second = await noted()
    assert second is not None
    assert second.at == clock.at
    text = metrics.text().decode()
    assert f'firstring_drift{{tenant="{tenant.name}"}} 0.0' in text
