"""`firstring train --store`: a model of the tenant's own records, kept with what it knows of their values.

Nothing takes effect by it: the version is a candidate until it is rolled in (bulk/versions/rollin).
"""

from __future__ import annotations

import asyncio
import os
from datetime import datetime
from typing import Any, NamedTuple

import msgspec
import numpy as np
from rich.console import Console

from firstring.bulk.linking.labelling import LabelsRead, show_labels, stored_labels
from firstring.bulk.linking.link import Progress, model_of, working_folder
from firstring.bulk.linking.pairs import Pairs
from firstring.bulk.linking.plan import make_plan
from firstring.bulk.versions.storelink import FROZEN, Stored, read_store
from firstring.errors import BadInput
from firstring.identity.comparison.spec import PERSON, Spec
from firstring.identity.comparison.statistics import Statistics
from firstring.identity.model.drift import Profile, level_counts, profile
from firstring.identity.model.labels import LabelReport, relabelled
from firstring.identity.model.model import Model, score
from firstring.store.database import Database, Tenant
from firstring.store.identity.models import add_model, statistics_key
from firstring.store.queries import sql


class Trained(NamedTuple):
    """A version in the store. known: it was there before, so nothing was added. labels: answers and what they changed."""

    model_id: int
    model: Model
    known: bool
    labels: tuple[LabelsRead, LabelReport] | None = None


async def train_store(
    database: Database,
    tenant: Tenant,
    *,
    threshold: float,
    memory_mb: int,
    now: datetime,
    told: Progress,
    spec: Spec = PERSON,
) -> Trained:
    """Trains on all records of the tenant, and on its answers of clerical review, and stores the version as a candidate.

    Raises BadInput threshold_invalid, nothing_to_compare.
    """
    if not 0.0 < threshold < 1.0:
        raise BadInput("threshold_invalid", "A threshold lies between 0 and 1.", where={"argument": "threshold"})
    stored = await read_store(database, tenant, told=lambda done, whole: told("reading", done, whole))
    async with database.transaction(tenant.tenant_id) as connection:
        read = stored_labels(await connection.fetch(sql("review", "answers"), tenant.tenant_id), stored)
    model, statistics, seen, labels = await asyncio.to_thread(
        _fitted, stored, tenant, spec, threshold, memory_mb, told, read
    )
    async with database.transaction(tenant.tenant_id) as connection:
        for row in await connection.fetch(sql("models", "versions"), tenant.tenant_id):
            if row["version"] == model.version and abs(row["threshold"] - threshold) < 1e-6:
                return Trained(row["model_id"], model, True, labels)
        model_id = await add_model(connection, tenant, model, statistics, threshold, trained_at=now)
        await note_report(connection, tenant, model_id, {"profile": msgspec.to_builtins(seen)})
        if labels is not None:
            await note_report(connection, tenant, model_id, {"labels": msgspec.to_builtins(labels[1])})
    return Trained(model_id, model, False, labels)


async def note_report(connection: Any, tenant: Tenant, model_id: int, part: dict[str, Any]) -> None:
    """Adds to the report of a version."""
    await connection.execute(sql("models", "note_report"), tenant.tenant_id, model_id, msgspec.json.encode(part).decode())


def _fitted(
    stored: Stored, tenant: Tenant, spec: Spec, threshold: float, memory_mb: int, told: Progress, read: LabelsRead
) -> tuple[Model, Statistics, Profile, tuple[LabelsRead, LabelReport] | None]:
    table = stored.table
    if not table.rows:
        raise BadInput("nothing_to_compare", "The store holds no records.", hint="Import some: firstring import.")
    plan = make_plan(spec, table)
    with working_folder() as folder:
        pairs = Pairs(folder, memory_mb=memory_mb, threads=os.cpu_count() or 1)
        try:
            model = model_of(plan, table, pairs, spec, told)
            observed = pairs.observed()
        finally:
            pairs.close()
    labels = None
    if len(read.labelled.same):
        model, report = relabelled(model, table, read.labelled, observed, threshold)
        labels = (read, report)
    statistics = table.frozen(FROZEN, statistics_key(tenant.keys, model.version))
    found = score(model, observed.patterns, observed.by_profile, model.records).log_odds
    linked = found >= np.log(threshold / (1.0 - threshold))
    levels = level_counts(model.comparisons(), observed.patterns[linked], observed.counts[linked].astype(np.int64))
    return model, statistics, profile(table, stored.sources[stored.kept], stored.names, statistics, levels), labels


def say_trained(console: Console, trained: Trained) -> None:
    model = trained.model
    if trained.labels is not None:
        show_labels(console, *trained.labels)
    same, household = (model.pairs_per_record[name] * model.records for name in ("same", "household"))
    console.print(
        f"{model.version}: {model.records:,} records, {same:,.0f} pairs of one person, {household:,.0f} of one household",
        highlight=False,
    )
    console.print(
        "it was trained before; nothing was added"
        if trained.known
        else f"kept as number {trained.model_id}, a candidate: firstring model roll-in {model.version}",
        highlight=False,
        soft_wrap=True,
    )
