"""What was measured beside what was wanted, as a table and as JSON."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, Literal

import msgspec
from prometheus_client.parser import text_string_to_metric_families
from rich.table import Table


class Measure(msgspec.Struct, frozen=True):
    """One figure. goal None: shown without one. value None: not measured, and `note` says why."""

    name: str
    unit: str
    value: float | None
    goal: float | None = None
    better: Literal["lower", "higher"] = "lower"
    note: str = ""

    @property
    def met(self) -> bool | None:
        """Whether the goal was reached; None without a goal or a value."""
        if self.goal is None or self.value is None:
            return None
        return self.value <= self.goal if self.better == "lower" else self.value >= self.goal

    def as_json(self) -> dict[str, Any]:
        return {**msgspec.to_builtins(self), "met": self.met}


def quantile(values: Sequence[float], share: float) -> float:
    """The smallest value that at least `share` of the values do not exceed (nearest rank). Raises ValueError for none."""
    if not values:
        raise ValueError("no values")
    return sorted(values)[max(0, math.ceil(share * len(values)) - 1)]


def pair(
    name: str, values: Sequence[float], p50: float | None, p99: float | None, *, unit: str = "ms", note: str = ""
) -> list[Measure]:
    """Median and 99th percentile, with their goals."""
    if not values:
        return [Measure(f"{name} {share}", unit, None, note=note or "nothing was measured") for share in ("p50", "p99")]
    text = note or f"n={len(values):,}, max {max(values):,.1f}"
    return [
        Measure(f"{name} p50", unit, quantile(values, 0.5), p50, note=text),
        Measure(f"{name} p99", unit, quantile(values, 0.99), p99, note=text),
    ]


class Buckets(msgspec.Struct, frozen=True):
    """A Prometheus histogram: cumulative counts by upper bound, in seconds."""

    counts: dict[float, float]

    def since(self, before: Buckets) -> Buckets:
        return Buckets({bound: count - before.counts.get(bound, 0.0) for bound, count in self.counts.items()})

    @property
    def total(self) -> float:
        return max(self.counts.values(), default=0.0)

    def quantile_ms(self, share: float) -> float | None:
        """By linear interpolation within the bucket, as Prometheus' histogram_quantile; None for an empty one."""
        if not self.total:
            return None
        wanted, below, low = share * self.total, 0.0, 0.0
        for bound in sorted(self.counts):
            count = self.counts[bound]
            if count >= wanted:
                if math.isinf(bound):
                    return low * 1000.0
                return (low + (bound - low) * (wanted - below) / (count - below)) * 1000.0
            below, low = count, bound
        return low * 1000.0


def stages(text: str) -> Mapping[str, Buckets]:
    """The durations of each stage of a decision, out of /metrics."""
    found: dict[str, dict[float, float]] = {}
    for family in text_string_to_metric_families(text):
        if family.name != "firstring_stage_seconds":
            continue
        for sample in family.samples:
            if sample.name.endswith("_bucket"):
                found.setdefault(sample.labels["stage"], {})[float(sample.labels["le"])] = sample.value
    return {stage: Buckets(counts) for stage, counts in found.items()}


def table(title: str, measures: Sequence[Measure]) -> Table:
    """Measure, goal, measured, met."""
    shown = Table("what", "goal", "measured", "met", "", title=title, title_justify="left")
    for measure in measures:
        sign = "<=" if measure.better == "lower" else ">="
        goal = "" if measure.goal is None else f"{sign} {number(measure.goal)} {measure.unit}"
        value = "not measured" if measure.value is None else f"{number(measure.value)} {measure.unit}"
        met = {None: "", True: "yes", False: "NO"}[measure.met]
        shown.add_row(measure.name, goal, value, met, measure.note)
    return shown


def number(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 100 or value == int(value) else f"{value:,.2f}"
