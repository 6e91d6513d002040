"""Drift of the version in force, looked for in a bounded sample of the newest records. Reads, and notes what it found."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any, Final

import msgspec
import numpy as np
from numpy.typing import NDArray
from rich.console import Console

from firstring.bulk.linking.plan import insufficient, key_pairs, make_plan
from firstring.bulk.versions.listing import Found, Version, find_version
from firstring.bulk.versions.storelink import Gathering, Opened, Stored, open_all, source_names
from firstring.bulk.versions.training import note_report
from firstring.errors import BadInput
from firstring.identity.comparison.columns import Table
from firstring.identity.comparison.levels import patterns
from firstring.identity.model.drift import (
    Drift,
    Profile,
    calibration,
    compared_profiles,
    level_counts,
    profile,
)
from firstring.identity.model.model import score
from firstring.store.database import Database, Tenant
from firstring.store.identity.models import ActiveModel, active_model
from firstring.store.queries import sql

SAMPLE_RECORDS: Final = 20_000
RECORDS_OF_PERSON: Final = 4
SHOWN: Final = 50
"""Measures that are kept, the worst first."""
SINCE_DAYS: Final = 30
_SLICE: Final = 200
_PAUSE_S: Final = 0.01
"""Between slices: whoever rings in this process goes first."""


async def look_for_drift(
    database: Database, tenant: Tenant, *, now: datetime, since_days: int = SINCE_DAYS, sample: int = SAMPLE_RECORDS
) -> Found:
    """Holds the newest records, of the last `since_days` days, against what the version in force was trained on.

    Raises BadInput no_model, drift_no_profile (the version was not trained on this store).
    """
    since = now - timedelta(days=min(since_days, 36_500))
    async with database.transaction(tenant.tenant_id) as connection:
        active = await active_model(connection, tenant)
        if active is None:
            raise BadInput("no_model", "No model version is in force.", hint="Make one: firstring train --store.")
        version = await find_version(connection, tenant, str(active.model_id))
        was = _profile_of(version)
        newest = await connection.fetch(sql("models", "newest"), tenant.tenant_id, sample, since)
        ids = [row["record_id"] for row in newest]
        others = await connection.fetch(sql("models", "with_them"), tenant.tenant_id, ids, RECORDS_OF_PERSON)
        names = await source_names(connection, tenant)
        answers = await connection.fetch(sql("models", "answers"), tenant.tenant_id, active.version)
    opened = await _opened(tenant, [*newest, *others])
    drift = await asyncio.to_thread(_measured, opened, set(ids), names, active, was)
    stated = calibration(np.array([row["probability"] for row in answers]), np.array([row["same"] for row in answers], bool))
    both = Drift((*stated.measures, *drift.measures)).worst_first()
    found = Found(active.version, now, both.state, len(ids), both.measures[:SHOWN])
    async with database.transaction(tenant.tenant_id) as connection:
        await note_report(connection, tenant, active.model_id, {"drift": msgspec.to_builtins(found)})
    return found


def _profile_of(version: Version) -> Profile:
    noted = version.report.get("profile")
    if noted is None:
        raise BadInput(
            "drift_no_profile",
            "The version was not trained on this store: what its records looked like is not known.",
            where={"version": version.version},
            hint="Train one here: firstring train --store.",
        )
    return msgspec.convert(noted, Profile)


async def _opened(tenant: Tenant, rows: Sequence[Any]) -> list[Opened]:
    found: list[Opened] = []
    for start in range(0, len(rows), _SLICE):
        found += await asyncio.to_thread(open_all, tenant, rows[start : start + _SLICE])
        await asyncio.sleep(_PAUSE_S)
    return found


def _measured(opened: Sequence[Opened], sample: set[int], names: dict[int, str], active: ActiveModel, was: Profile) -> Drift:
    whole = _stored(opened, names, active)
    newest = _stored([one for one in opened if one.record_id in sample], names, active)
    mine = np.isin(whole.record_ids[whole.kept], np.fromiter(sample, np.int64, len(sample)))
    levels = _levels(whole.table, mine, active)
    sources = newest.sources[newest.kept]
    return compared_profiles(was, profile(newest.table, sources, newest.names, active.statistics, levels))


def _stored(opened: Sequence[Opened], names: dict[int, str], active: ActiveModel) -> Stored:
    gathering = Gathering()
    for record in opened:
        gathering.add(record)
    return gathering.stored(names, active.statistics)


def _levels(table: Table, mine: NDArray[np.bool_], active: ActiveModel) -> dict[str, dict[str, int]]:
    """At which levels linked pairs with a record of the sample agree."""
    model, rows = active.model, table.rows
    met: list[NDArray[np.int64]] = [np.zeros(0, np.int64)]
    by_profile: list[NDArray[np.int64]] = [np.zeros(0, np.int64)]
    weak: list[NDArray[np.int64]] = [np.zeros(0, np.int64)]
    for key in make_plan(model.spec, table).keys:
        for left, right in key_pairs(key, table):
            chosen = mine[left] | mine[right]
            left, right = left[chosen], right[chosen]
            numbers = left.astype(np.int64) * rows + right
            met.append(numbers)
            weak.append(numbers[insufficient(model.spec, key.key, table, left, right)])
            if key.key.profile:
                by_profile.append(numbers)
    pairs, keys = np.unique(np.concatenate(met), return_counts=True)
    pairs = pairs[(keys > 1) | ~np.isin(pairs, np.concatenate(weak))]
    if not len(pairs):
        return {}
    found = patterns(model.comparisons(), table, pairs // rows, pairs % rows)
    is_profile = np.isin(pairs, np.concatenate(by_profile))
    linked = score(model, found, is_profile, model.records).log_odds >= active.log_odds
    distinct, counts = np.unique(found[linked], return_counts=True)
    return level_counts(model.comparisons(), distinct, counts)


def say_drift(console: Console, found: Found) -> None:
    """What is not steady, the worst first."""
    console.print(f"{found.state}: {found.records:,} of the newest records, {found.version}", highlight=False)
    for one in found.measures:
        if one.state != "steady":
            console.print(f"{one.state}: {one.text} (index {one.index:.2f}, n={one.n:,})", highlight=False, markup=False)
