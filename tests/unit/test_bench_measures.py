"""Figures beside their goals, and quantiles of lists and of Prometheus' histograms."""

from __future__ import annotations

import io
import math

import pytest
from rich.console import Console

from firstring.bench.measures import Buckets, Measure, number, pair, quantile, stages, table
from firstring.observe import Metrics


@pytest.mark.parametrize(
    ("measure", "met"),
    [
        (Measure("a", "ms", 3.0, 3.0), True),
        (Measure("a", "ms", 3.1, 3.0), False),
        (Measure("a", "records/s", 5_000.0, 5_000.0, "higher"), True),
        (Measure("a", "records/s", 4_999.0, 5_000.0, "higher"), False),
        (Measure("a", "ms", None, 3.0), None),
        (Measure("a", "ms", 3.0), None),
    ],
)
def test_a_goal_is_met_or_not_or_neither(measure: Measure, met: bool | None) -> None:
    assert measure.met is met
    assert measure.as_json()["met"] is met


def test_quantiles_are_values_that_were_seen() -> None:
    values = [float(value) for value in range(1, 101)]
    assert [quantile(values, share) for share in (0.0, 0.5, 0.99, 1.0)] == [1.0, 50.0, 99.0, 100.0]
    assert quantile([7.0], 0.99) == 7.0
    with pytest.raises(ValueError, match="no values"):
        quantile([], 0.5)


def test_nothing_measured_is_said() -> None:
    assert [measure.value for measure in pair("a", [], 1, 2, note="kamailio is not installed")] == [None, None]
    assert pair("a", [1.0, 2.0], 1, 2)[1].note == "n=2, max 2.0"


def test_quantiles_of_a_histogram() -> None:
    metrics = Metrics()
    for _ in range(90):
        metrics.observe("decide", 0.9)
    before = stages(metrics.text().decode())["decide"]
    for duration_ms in [1.5] * 98 + [18.0, 3_000.0]:
        metrics.observe("decide", duration_ms)
    spent = stages(metrics.text().decode())["decide"].since(before)
    assert spent.total == 100
    p50, p99, most = (spent.quantile_ms(share) for share in (0.5, 0.99, 1.0))
    assert p50 is not None
    assert 1.0 <= p50 <= 2.0
    assert p99 is not None
    assert 15.0 <= p99 <= 20.0
    assert most == 2_000.0, "beyond the last bound, the last bound"
    assert Buckets({}).quantile_ms(0.5) is None
    assert Buckets({0.001: 0.0, math.inf: 0.0}).quantile_ms(0.5) is None


def test_a_table_shows_every_measure() -> None:
    text = io.StringIO()
    shown = [
        Measure("fast", "ms", 1.25, 3.0),
        Measure("slow", "ms", 400.0, 3.0),
        Measure("none", "ms", None, 3.0, note="why"),
    ]
    Console(file=text, width=120).print(table("title", shown))
    lines = {line.split()[1]: line for line in text.getvalue().splitlines() if line.startswith("│")}
    assert "1.25 ms" in lines["fast"]
    assert "yes" in lines["fast"]
    assert "NO" in lines["slow"]
    assert "not measured" in lines["none"]
    assert number(1234567.8) == "1,234,568"
