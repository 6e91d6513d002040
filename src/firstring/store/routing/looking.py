"""What people and programs are shown of models and trials. Of a trial that runs no uplift; never what chance is drawn by."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Sequence
from datetime import datetime, timedelta
from functools import partial
from typing import Any, Final

import msgspec

from firstring.proof.effects import Interval
from firstring.routing.fit.calibration import Stated, calibration
from firstring.routing.fit.model import PARTS, FitModel
from firstring.routing.trial.audit import Audit, audit
from firstring.routing.trial.result import Measured, Row, Watched, result_of, watched
from firstring.settings import Settings
from firstring.store.aside import aside
from firstring.store.database import Database, Tenant
from firstring.store.queries import sql
from firstring.store.routing.meters import PROTECTED, audited_between, saved_between
from firstring.store.routing.models import ModelLine, fit_named, models, unknown_model
from firstring.store.routing.outcomes import outcomes_since
from firstring.store.routing.trials import TrialLine, rows_of, trial, trials

FEW: Final = 2_000
"""Contacts that are looked at here; more beside the server."""
CALIBRATED_ON: Final = 5_000
"""The newest outcomes that a model's statements are held against."""


class Figure(msgspec.Struct, frozen=True):
    """A number with its interval of 95 %; nothing where it cannot be told."""

    value: float | None
    low: float | None
    high: float | None


class MetricShown(msgspec.Struct, frozen=True):
    """A metric by arm, the difference, and that relative to the control. contacts: of control and treatment."""

    metric: str
    control: Figure
    treatment: Figure
    difference: Figure
    relative: Figure
    contacts: tuple[int, int]


class GuardShown(msgspec.Struct, frozen=True):
    """A guard rail. holds: the treatment is not worse by more than allowed, as far as can be told. low, high: by how much it
    is worse, with bounds that hold at all times; not told of the trial's own metric while it runs."""

    metric: str
    allowed: float
    holds: bool
    low: float | None = None
    high: float | None = None


class ResultShown(msgspec.Struct, frozen=True):
    """main: the metric that it was planned for; others were not."""

    main: MetricShown
    others: tuple[MetricShown, ...]
    warnings: tuple[str, ...]


class TrialShown(msgspec.Struct, frozen=True):
    """A trial. planned: contacts, days; counted: contacts so far; result: once it is over."""

    name: str
    state: str
    kind: str
    metric: str
    detect: float
    share: float
    power: float
    interval_s: float
    carry_over_s: float
    control: dict[str, Any]
    treatment: dict[str, Any]
    mean: float
    planned: int
    planned_days: float
    planned_by: str
    planned_at: datetime
    started_at: datetime | None
    stopped_at: datetime | None
    stopped_because: str | None
    counted: int | None = None
    guards: tuple[GuardShown, ...] = ()
    result: ResultShown | None = None


class PartShown(msgspec.Struct, frozen=True):
    """One of success, handle, repeat. mean: of a contact of which nothing is known (a share, or seconds). agents, reasons,
    segments: how far agents differ, and within them (standard deviations of log odds or log seconds; 0: no difference is
    shown). calibration: groups of newer contacts, which it was not trained on."""

    name: str
    outcomes: int
    mean: float
    agents: float
    reasons: float
    segments: float
    calibration: tuple[Stated, ...] = ()


class ModelShown(msgspec.Struct, frozen=True):
    """A trained model. gain: by how many nats an outcome agents' effects better the prediction, with its standard error;
    newer: outcomes since it was trained that its statements are held against."""

    version: str
    trained_at: datetime
    trained_by: str
    outcomes: int
    updates: int
    active: bool
    agents: int
    reasons: int
    segments: int
    fields: tuple[str, ...]
    gain: tuple[float, float]
    parts: tuple[PartShown, ...]
    newer: int


# --- trials --------------------------------------------------------------------------------------------------------


def trial_shown(line: TrialLine, rows: Sequence[Row] | None = None) -> TrialShown:
    """A trial as it may be seen at this moment. rows: its contacts (`rows_of`); None: without guard rails and result."""
    draft = line.trial.draft
    shown = TrialShown(
        line.name, line.state, draft.kind, draft.metric, draft.detect, draft.share, draft.power, draft.interval_s,
        draft.carry_over_s, draft.control, draft.treatment, line.trial.basis.mean, line.trial.contacts, line.trial.days,
        line.planned_by, line.planned_at, line.started_at, line.stopped_at, line.stopped_because,
    )  # fmt: skip
    if rows is None or line.started_at is None:
        return shown
    guards = tuple(_guard(one, hidden=line.state == "running" and one.metric == draft.metric)
                   for one in watched(line.trial, rows))  # fmt: skip
    if line.state == "running":
        return msgspec.structs.replace(shown, counted=len(rows), guards=guards)
    found = line.result or result_of(line.trial, rows)
    result = ResultShown(_metric(found.main), tuple(_metric(one) for one in found.others), found.warnings)
    return msgspec.structs.replace(shown, counted=len(rows), guards=guards, result=result)


def _guard(one: Watched, *, hidden: bool) -> GuardShown:
    if hidden:
        return GuardShown(one.metric, one.allowed, not one.broken)
    return GuardShown(one.metric, one.allowed, not one.broken, _known(one.low), _known(one.high))


def _metric(one: Measured) -> MetricShown:
    difference, relative = _figure(one.difference), _figure(one.relative)
    return MetricShown(one.metric, _figure(one.control), _figure(one.treatment), difference, relative, one.rows)


def _figure(one: Interval) -> Figure:
    return Figure(_known(one.value), _known(one.low), _known(one.high))


def _known(value: float) -> float | None:
    return value if math.isfinite(value) else None


async def trials_shown(database: Database, tenant: Tenant) -> list[TrialShown]:
    """The trials, the newest first, without their contacts."""
    async with database.transaction(tenant.tenant_id) as connection:
        return [trial_shown(line) for line in await trials(connection, tenant)]


async def trial_looked_at(database: Database, tenant: Tenant, name: str, now: datetime) -> TrialShown:
    """One trial with its guard rails, and its result once it is over. Raises BadInput unknown_trial (404)."""
    async with database.transaction(tenant.tenant_id) as connection:
        line = await trial(connection, tenant, name)
        rows = await rows_of(connection, tenant, line, now)
    return await asyncio.to_thread(trial_shown, line, rows)


# --- models --------------------------------------------------------------------------------------------------------


async def model_looked_at(database: Database, tenant: Tenant, version: str) -> ModelShown:
    """A trained model (without its updates), held against what came of contacts since. Raises BadInput fit_model_unknown."""
    async with database.transaction(tenant.tenant_id) as connection:
        line = next((one for one in await models(connection, tenant, 1_000) if one.version == version), None)
        model = None if line is None else await fit_named(connection, tenant, version)
        if line is None or model is None:
            raise unknown_model(version)
        until = await connection.fetchval(sql("fit", "trained_until"), tenant.tenant_id, version)
        outcomes, _ = await outcomes_since(connection, tenant, until, CALIBRATED_ON)
    return await asyncio.to_thread(_model, line, model, outcomes)


def _model(line: ModelLine, model: FitModel, outcomes: Sequence[Any]) -> ModelShown:
    content = model.content
    parts = []
    for name in PARTS:
        part = model.part(name)
        mean = math.exp(part.intercept) * part.smear if name == "handle" else 1.0 / (1.0 + math.exp(-part.intercept))
        agents, reasons, segments = (math.sqrt(one) for one in part.tau2)
        happened = calibration(model, name, outcomes)
        parts.append(PartShown(name, part.rows, mean, agents, reasons, segments, happened))
    return ModelShown(
        line.version, line.made_at, line.made_by, line.outcomes, line.updates, line.active, len(content.agents),
        len(content.intents), len(content.segments), content.fields, content.gain, tuple(parts), len(outcomes),
    )  # fmt: skip


# --- what it is worth ----------------------------------------------------------------------------------------------


async def audit_of(
    settings: Settings, database: Database, tenant: Tenant, now: datetime, days: float, *, protected: bool = True
) -> Audit:
    """The audit of the last days. Of more than a few contacts in a process beside the server: it opens the records of
    everybody who called."""
    work = partial(_audit, now=now, days=days, protected=protected)
    async with database.transaction(tenant.tenant_id) as connection:
        values = (tenant.tenant_id, now - timedelta(days=days), now, FEW)
        contacts = await connection.fetchval(sql("meters", "how_many"), *values)
    return await (work(database, tenant) if contacts < FEW else aside(settings, tenant.name, work))


async def _audit(database: Database, tenant: Tenant, *, now: datetime, days: float, protected: bool) -> Audit:
    contacts = await audited_between(database, tenant, now - timedelta(days=days), now, protected=protected)
    return audit(contacts, protected=PROTECTED)


class SavedShown(msgspec.Struct, frozen=True):
    """Handle time saved by recognising callers, in seconds a contact; positive: recognised contacts are shorter. An adjusted
    comparison of recognised, others (contacts compared), no trial."""

    recognised: int
    others: int
    plain: Figure | None
    adjusted: Figure | None
    left_out: int
    warnings: tuple[str, ...]


async def saved_of(database: Database, tenant: Tenant, now: datetime, days: float) -> SavedShown:
    """Time saved by recognising callers in the last days, adjusted."""
    found = await saved_between(database, tenant, now - timedelta(days=days), now)
    plain, adjusted = (None if one is None else _figure(one) for one in (found.crude, found.adjusted))
    return SavedShown(found.recognised, found.others, plain, adjusted, found.left_out, found.warnings)
