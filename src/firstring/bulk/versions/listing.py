"""Model versions as people see them: which there are, what one says, how two differ."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import Any, Final

import msgspec
from rich.console import Console
from rich.table import Table as Shown

from firstring.errors import BadInput
from firstring.identity.comparison.levels import outcomes
from firstring.identity.comparison.spec import CLASSES, Comparison
from firstring.identity.model.drift import Measure
from firstring.identity.model.drift import State as DriftState
from firstring.identity.model.model import SAME, UNRELATED, Model
from firstring.store.database import Connection, Tenant
from firstring.store.identity.models import ActiveModel, State
from firstring.store.queries import sql

_LEAST_DIFFERENCE: Final = 0.05
"""Nats; a weight that differs by less is not shown."""


class Version(msgspec.Struct, frozen=True):
    """A row of the list. threshold: the probability from which on two records are one person."""

    number: int
    version: str
    state: State
    threshold: float
    trained_at: datetime
    activated_at: datetime | None
    report: dict[str, Any]


class Found(msgspec.Struct, frozen=True):
    """Drift as it was found. state: of the worst measure. records: how many were looked at; measures: the worst first,
    at most drifting.SHOWN."""

    version: str
    at: datetime
    state: DriftState
    records: int
    measures: tuple[Measure, ...]


class LevelWeight(msgspec.Struct, frozen=True):
    """What a level says, in nats: for one person against unrelated ones and against those of a household. same: share
    of the pairs of one person that agree so. Banded levels: the mean over octaves, weighted as pairs of one person are."""

    comparison: str
    level: str
    says: str
    same: float
    against_unrelated: float
    against_household: float


async def versions(connection: Connection, tenant: Tenant) -> list[Version]:
    """All versions, oldest first."""
    return [
        Version(
            row["model_id"],
            row["version"],
            row["state"],
            round(row["threshold"], 6),
            row["trained_at"],
            row["activated_at"],
            msgspec.json.decode(row["report"]) if row["report"] else {},
        )
        for row in await connection.fetch(sql("models", "versions"), tenant.tenant_id)
    ]


async def find_version(connection: Connection, tenant: Tenant, named: str) -> Version:
    """A version by its number, its name, or the beginning of its name; of several the newest.

    Raises BadInput unknown_model (404).
    """
    known = await versions(connection, tenant)
    fitting = [one for one in known if named in (str(one.number), one.version)] or [
        one
        for one in known
        if len(named) > 2 and one.version.removeprefix("model-").startswith(named.removeprefix("model-"))
    ]
    if not fitting:
        raise BadInput(
            "unknown_model",
            "There is no such model version.",
            where={"version": named[:40]},
            hint="See those there are: firstring model list.",
            http_status=404,
        )
    return fitting[-1]


def last_found(version: Version) -> Found | None:
    """What was found last of a version."""
    noted = version.report.get("drift")
    return None if noted is None else msgspec.convert(noted, Found)


def level_weights(model: Model) -> list[LevelWeight]:
    """The weights of all levels, in the order of the comparisons."""
    return [one for comparison in model.comparisons() for one in _levels(model, comparison)]


def _levels(model: Model, comparison: Comparison) -> Iterator[LevelWeight]:
    shares = list(model.shares[comparison.name].values())
    rows: dict[str, list[list[float]]] = {}
    for (level, _), share in zip(outcomes(comparison).of, shares, strict=True):
        rows.setdefault(level.name, []).append(share)
    household = CLASSES.index("household")
    for level in comparison.levels:
        bands = rows[level.name]
        same = sum(band[SAME] for band in bands)
        yield LevelWeight(
            comparison.name,
            level.name,
            level.says,
            same,
            _mean_log(bands, SAME, UNRELATED),
            _mean_log(bands, SAME, household),
        )


def _mean_log(bands: Sequence[Sequence[float]], one: int, other: int) -> float:
    whole = sum(band[one] for band in bands)
    tiny = 1e-300
    return sum(band[one] * math.log(max(band[one], tiny) / max(band[other], tiny)) for band in bands) / max(whole, tiny)


def say_versions(console: Console, known: Sequence[Version]) -> None:
    """The list."""
    if not known:
        console.print("no model yet: firstring train --store", highlight=False)
        return
    table = Shown("number", "version", "state", "threshold", "trained", "in force since", "drift")
    for one in known:
        since = f"{one.activated_at:%Y-%m-%d %H:%M}" if one.activated_at and one.state == "active" else ""
        drift = one.report.get("drift", {}).get("state", "")
        row = (
            str(one.number),
            one.version,
            one.state,
            f"{one.threshold:g}",
            f"{one.trained_at:%Y-%m-%d %H:%M}",
            since,
            drift,
        )
        table.add_row(*row)
    console.print(table)


def say_version(console: Console, version: Version, active: ActiveModel) -> None:
    """What a version says: its figures, and the weight of each level."""
    model = active.model
    same, household = (model.pairs_per_record[name] * model.records for name in ("same", "household"))
    console.print(
        f"{version.version} (number {version.number}, {version.state}), threshold {version.threshold:g}; "
        f"{model.records:,} records, {same:,.0f} pairs of one person, {household:,.0f} of one household",
        highlight=False,
        soft_wrap=True,
    )
    console.print(f"links under: {', '.join(key.name for key in model.spec.linking)}", highlight=False, soft_wrap=True)
    table = Shown("comparison", "level", "share of one person's pairs", "against unrelated", "against household")
    for one in level_weights(model):
        table.add_row(
            one.comparison, one.says, f"{one.same:.2%}", f"{one.against_unrelated:+.1f}", f"{one.against_household:+.1f}"
        )
    console.print(table)
    console.print("weights in nats: +2.3 makes one person ten times as likely", highlight=False)


def say_difference(console: Console, left: Model, right: Model) -> None:
    """Where two versions weigh otherwise."""
    console.print(f"{left.version} -> {right.version}", highlight=False)
    figures: list[tuple[str, float, float]] = [
        ("records", left.records, right.records),
        *((f"pairs of {name} a record", left.pairs_per_record[name], right.pairs_per_record[name]) for name in CLASSES[:2]),
    ]
    for name, was, now in figures:
        if was != now:
            console.print(f"{name}: {was:g} -> {now:g}", highlight=False)
    for said, was_keys, now_keys in (
        ("compares", {c.name for c in left.comparisons()}, {c.name for c in right.comparisons()}),
        ("links under", {k.name for k in left.spec.linking}, {k.name for k in right.spec.linking}),
    ):
        for name in sorted(was_keys ^ now_keys):
            console.print(f"{said} {name}: {'no longer' if name in was_keys else 'new'}", highlight=False)
    table = Shown("comparison", "level", "against unrelated", "", "against household", "")
    before = {(w.comparison, w.level): w for w in level_weights(left)}
    for now_weight in level_weights(right):
        was_weight = before.get((now_weight.comparison, now_weight.level))
        if was_weight is None:
            continue
        pairs = [
            (was_weight.against_unrelated, now_weight.against_unrelated),
            (was_weight.against_household, now_weight.against_household),
        ]
        if max(abs(a - b) for a, b in pairs) >= _LEAST_DIFFERENCE:
            cells = [f"{value:+.2f}" for pair in pairs for value in pair]
            table.add_row(now_weight.comparison, now_weight.says, *cells)
    if table.row_count:
        console.print(table)
    else:
        console.print("every level weighs the same", highlight=False)
