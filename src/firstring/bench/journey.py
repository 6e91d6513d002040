"""`firstring bench journey`: journeys at size. So far the patterns; the other parts are added as they are built."""

from __future__ import annotations

import json
import os
import platform
from collections.abc import Sequence
from typing import Any

import typer
from rich.console import Console

from firstring.bench.journey_patterns import measured
from firstring.bench.measures import Measure, table


def run_bench(*, events: int, live_events: int, seed: int, as_json: bool, console: Console) -> Sequence[Measure]:
    """Measures and prints a table, or JSON. Times are of the processor, so that what else runs changes them little."""
    found = measured(events=events, live_events=live_events, seed=seed, say=lambda text: console.print(text, style="dim"))
    return shown(found, f"patterns, seed {seed}", as_json=as_json)


def shown(found: Sequence[Measure], title: str, *, as_json: bool) -> Sequence[Measure]:
    """Prints measures as a table, or as JSON."""
    if as_json:
        result: dict[str, Any] = {
            "bench": "journey", "python": platform.python_version(), "machine": platform.machine(),
            "load_average": os.getloadavg()[0], "measures": [one.as_json() for one in found],
        }  # fmt: skip
        typer.echo(json.dumps(result))
    else:
        Console().print(table(f"journey: {title}", found), soft_wrap=True)
    return found
