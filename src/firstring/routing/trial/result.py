"""What a trial shows: the uplift with its interval once it is over, and guard rails all the time before."""

from __future__ import annotations

import math
import uuid
from collections.abc import Sequence
from datetime import datetime
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from firstring.contact import Value
from firstring.proof import sequences
from firstring.proof.effects import Effect, Interval, centred, effect
from firstring.routing.trial.arms import exposure_of
from firstring.routing.trial.plan import METRICS, Basis, Draft, Guard, Metric, Trial, of_recognition

Floats = NDArray[np.float64]
WORSE: Final = {"success": -1.0}
"""Where less is worse; of all other metrics more is."""


class Row(NamedTuple):
    """One contact of a trial, whether anybody answered it or not. success: None where it was not judged. withholdable: its
    caller was recognised when it was offered, and that might have been withheld."""

    contact_id: uuid.UUID
    offered_at: datetime
    waited_s: float
    abandoned: bool
    success: bool | None
    handle_s: float | None
    repeated: bool | None
    complained: bool
    withholdable: bool = False


class Watched(Value, frozen=True):
    """A guard rail: by how much the treatment is worse, with bounds that hold at all moments together; broken: it is worse
    by more than allowed."""

    metric: Metric
    worse_by: float
    allowed: float
    low: float
    high: float
    broken: bool


class Measured(Value, frozen=True):
    """A metric by arm: means, difference and relative difference, each with an interval of 95 %."""

    metric: Metric
    control: Interval
    treatment: Interval
    difference: Interval
    relative: Interval
    rows: tuple[int, int]
    units: int


class Result(Value, frozen=True):
    """What a trial shows. contacts: counted; main: the metric that it was planned for; others: further ones, for which it
    was not planned; warnings: what to mind."""

    contacts: int
    main: Measured
    others: tuple[Measured, ...]
    watched: tuple[Watched, ...]
    warnings: tuple[str, ...] = ()


def counted(draft: Draft, rows: Sequence[Row]) -> Sequence[Row]:
    """The contacts that a trial is about."""
    return [row for row in rows if row.withholdable] if of_recognition(draft) else rows


def value_of(row: Row, metric: Metric) -> float:
    """The metric of one contact; nan where it has none. A contact that nobody answered is no success."""
    if metric == "success":
        return 0.0 if row.abandoned else _float(row.success)
    if metric == "handle_s":
        return _float(row.handle_s)
    if metric == "wait_s":
        return row.waited_s
    if metric == "abandoned":
        return float(row.abandoned)
    return _float(row.repeated) if metric == "repeated" else float(row.complained)


def basis_of(rows: Sequence[Row], metric: Metric, days: float, interval_s: float) -> Basis:
    """What the log says for a plan. Contacts of one interval are alike by their intraclass correlation (one-way analysis of
    variance)."""
    values = np.array([value_of(row, metric) for row in rows])
    known = np.isfinite(values)
    if known.sum() < 2:
        return Basis(int(known.sum()), math.nan, math.nan, 0.0)
    units = np.array([math.floor(row.offered_at.timestamp() / interval_s) for row in rows])[known]
    found = values[known]
    return Basis(
        contacts=len(found),
        mean=float(found.mean()),
        variance=float(found.var(ddof=1)),
        per_day=len(found) / days,
        correlation=_intraclass(found, units),
    )


def _intraclass(values: Floats, units: NDArray[np.int64]) -> float:
    codes = np.unique(units, return_inverse=True)[1]
    counts = np.bincount(codes).astype(np.float64)
    total, groups = float(counts.sum()), len(counts)
    if groups < 2 or total <= groups:
        return 0.0
    means = np.bincount(codes, values) / counts
    between = float((counts * (means - values.mean()) ** 2).sum()) / (groups - 1)
    within = float(((values - means[codes]) ** 2).sum()) / (total - groups)
    size = (total - float((counts**2).sum()) / total) / (groups - 1)
    spread = between + (size - 1.0) * within
    return min(max((between - within) / spread, 0.0), 1.0) if spread > 0.0 else 0.0


class _Exposed(NamedTuple):
    treated: Floats
    untreated: Floats
    units: NDArray[np.int64] | None


def _exposed(trial: Trial, rows: Sequence[Row]) -> _Exposed:
    found = [exposure_of(trial, row.contact_id, row.offered_at) for row in rows]
    units = None
    if trial.draft.kind == "switchback":
        units = np.array([one.unit for one in found], dtype=np.int64)
    return _Exposed(np.array([one.treated for one in found]), np.array([one.untreated for one in found]), units)


def watched(trial: Trial, rows: Sequence[Row]) -> tuple[Watched, ...]:
    """The guard rails at this moment."""
    exposed = _exposed(trial, rows)
    return tuple(_watch(trial, rows, exposed, guard) for guard in trial.draft.guards)


def _watch(trial: Trial, rows: Sequence[Row], exposed: _Exposed, guard: Guard) -> Watched:
    values = np.array([value_of(row, guard.metric) for row in rows])
    known = np.isfinite(values)
    units = None if exposed.units is None else exposed.units[known]
    terms = centred(values[known], exposed.treated[known], exposed.untreated[known], units)
    terms = terms * WORSE.get(guard.metric, 1.0)
    planned_units = trial.contacts if units is None else math.ceil(trial.days * 86_400.0 / trial.draft.interval_s)
    low, high = sequences.bounds(terms, planned=planned_units)
    mean = float(terms.mean()) if len(terms) else 0.0
    return Watched(guard.metric, mean, guard.worse_by, low, high, low > guard.worse_by)


def measured(trial: Trial, rows: Sequence[Row], metric: Metric) -> Measured:
    """One metric by arm."""
    values = np.array([value_of(row, metric) for row in rows])
    known = np.isfinite(values)
    exposed = _exposed(trial, [row for row, is_known in zip(rows, known, strict=True) if is_known])
    found: Effect = effect(
        values[known],
        exposed.treated,
        exposed.untreated,
        clusters=exposed.units,
        lags=0 if exposed.units is None or trial.draft.carry_over_s == 0.0 else 1,
    )
    return Measured(metric, found.control, found.treatment, found.difference, found.relative, found.rows, found.clusters)


def result_of(trial: Trial, rows: Sequence[Row]) -> Result:
    """What the trial shows. To be asked once it is over: an uplift that is looked at until it pleases shows nothing."""
    main = measured(trial, rows, trial.draft.metric)
    others = tuple(measured(trial, rows, metric) for metric in METRICS if metric != trial.draft.metric)
    warnings = []
    if main.rows[0] + main.rows[1] < 0.9 * trial.contacts:
        warnings.append(
            f"{main.rows[0] + main.rows[1]:,} contacts count, {trial.contacts:,} were planned: an effect as small as "
            "planned for may not be seen."
        )
    expected = trial.draft.share * (main.rows[0] + main.rows[1])
    if trial.draft.kind == "contact" and expected > 0.0:
        deviation = math.sqrt(expected * (1.0 - trial.draft.share))
        if abs(main.rows[1] - expected) > 3.89 * deviation:
            warnings.append(
                f"{main.rows[1]:,} contacts are in the treatment where chance would put {expected:,.0f}: one arm lacks "
                "contacts more than the other, and the result cannot be relied on."
            )
    return Result(len(rows), main, others, watched(trial, rows), tuple(warnings))


def _float(value: float | bool | None) -> float:
    return math.nan if value is None else float(value)
