"""`firstring bench route`: the pick beside first come, static skills, greedy and batches; how long a pick takes.

One recipe for all of them: `PriceRules()` as it stands. A world's structure seed draws agents and who suits whom, a run's
seed the contacts; figures are pooled over several of each.
"""

from __future__ import annotations

import asyncio
import json
import os
import time
from collections.abc import Sequence
from typing import Any, Final

import msgspec
import numpy as np
from numpy.typing import NDArray
from rich.console import Console

from firstring.bench import route_worlds
from firstring.bench.measures import Measure, pair, table
from firstring.bench.route_durable import GOAL_PER_S, durable
from firstring.errors import BadInput, FirstringError
from firstring.routing.pick import choose as picking
from firstring.routing.simulate.compare import FIRST_COME, OURS, POLICIES, Compared, Figures, compare, interval
from firstring.routing.simulate.world import ModelError, World, world_of

Floats = NDArray[np.float64]

STRUCTURES: Final = (101, 102, 103)
"""Frozen: who works there, and who suits whom."""
WORLDS: Final = 42
"""Worlds of every sort that are tried: six of each."""
_TYPES: Final = (("account", 150.0, 0.60), ("order", 170.0, 0.66), ("invoice", 200.0, 0.70), ("fault", 240.0, 0.68))
_LOAD: Final = 0.95


class Pooled(msgspec.Struct, frozen=True, kw_only=True):
    """A policy over all structures and seeds."""

    name: str
    uplift: tuple[float, float]
    """Mean and half of the 95 % interval, as the other pairs."""
    gap: tuple[float, float]
    abandoned_more: tuple[float, float]
    abandoned: float
    answer_s: float
    wait_max_s: float
    wait_max_ratio: float
    beyond_share: float
    beyond_s: float
    late_share: float
    late_s: float
    spread_max: float


def world_with(agents: int, structure: int, model: ModelError | None = None, *, hours: float = 9.0) -> World:
    """The benchmark's world: four types, load .95, patience and handle times as in the Anonymous Bank."""
    work_s = sum(handle_s for _, handle_s, _ in _TYPES) / len(_TYPES)
    per_hour = agents * _LOAD * 3600.0 / work_s / len(_TYPES)
    world = world_of(
        {
            "world": {"name": f"{agents} agents", "hours": hours, "structure_seed": structure},
            "agents": [{"name": "all", "count": agents}],
            "types": [
                {"name": name, "per_hour": per_hour, "handle_s": handle_s, "success": success}
                for name, handle_s, success in _TYPES
            ],
            "compatibility": {"type_agent_sd": 0.5, "customer_sd": 0.5},
        }
    )
    return world if model is None else msgspec.structs.replace(world, model=model)


def run_bench(
    *,
    seeds: int,
    large: bool,
    as_json: bool,
    console: Console,
    processes: int = 0,
    worlds: int = WORLDS,
    with_store: bool = True,
) -> None:
    """Runs it, prints the table (and JSON on standard output). Exit status 1 where a goal was missed. worlds: how many of
    every sort (`route_worlds`). with_store: durable decisions too, in a home of their own."""
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    at_once = processes or os.cpu_count() or 1
    began = time.perf_counter()
    measures: list[Measure] = []
    found: dict[str, Any] = {}
    plain = _pooled(40, None, seeds, list(POLICIES), at_once)
    found["40 agents"] = list(plain.values())
    measures += _of_forty(plain)
    wrong = _pooled(40, ModelError(error=1.0), seeds, [OURS, "greedy"], at_once)
    found["40 agents, error equals signal"] = list(wrong.values())
    measures += [
        Measure("uplift, error equals signal", "%", 100 * wrong[OURS].uplift[0], 9.0, "higher", _pm(wrong[OURS].uplift)),
        _no_more("hang up more, error equals signal", wrong[OURS]),
    ]
    useless = _pooled(40, ModelError(useless=True), seeds, [OURS, "greedy"], at_once)
    found["40 agents, useless model"] = list(useless.values())
    upper = 100 * sum(useless[OURS].uplift)
    measures += [
        Measure("uplift, useless model, upper end", "%", upper, 0.0, "higher", _pm(useless[OURS].uplift)),
        _no_more("hang up more, useless model", useless[OURS]),
    ]
    if large:
        many = _pooled(200, None, 1, [OURS], at_once)
        found["200 agents"] = list(many.values())
        measures += [
            Measure("gap closed, 200 agents", "%", 100 * many[OURS].gap[0], 75.0, "higher", _pm(many[OURS].gap)),
            _longer("200 agents", many),
            Measure("spread of occupancy, 200 agents", "points", 100 * many[OURS].spread_max, 20.0),
            _no_more("hang up more, 200 agents", many[OURS]),
        ]
    if worlds:
        console.print(
            f"{time.perf_counter() - began:.0f} s; {worlds} worlds of every sort follow", style="dim", highlight=False
        )
        numbers = range(worlds)
        every = route_worlds.tried(numbers, processes=at_once)
        nothing = route_worlds.tried(numbers, useless=True, processes=at_once)
        measures += route_worlds.measures(every, nothing)
        found["worlds"] = [one._asdict() for one in every]
    measures += picks() + rounds()
    if with_store:
        console.print(f"{time.perf_counter() - began:.0f} s; durable decisions follow", style="dim", highlight=False)
        try:
            measures += asyncio.run(durable())
        except FirstringError as error:
            # The figures of minutes are not thrown away for a program that did not start.
            measures.append(Measure("durable decisions", "/s", None, GOAL_PER_S, "higher", error.message))
    found["measures"] = [measure.as_json() for measure in measures]
    console.print(table(f"Routing ({time.perf_counter() - began:.0f} s)", measures))
    if as_json:
        print(json.dumps(msgspec.to_builtins(found)))  # noqa: T201 - the result
    if any(measure.met is False for measure in measures):
        raise SystemExit(1)


def picks(agents: int = 10_000, times: int = 1_000) -> list[Measure]:
    """One contact against so many agents who are all free: the whole pick and its terms, in processor time."""
    rng = np.random.default_rng(7)
    price, occupancy, idle_s = rng.random(agents) / 200.0, rng.random(agents), rng.random(agents) * 600.0
    h = rng.uniform(60.0, 400.0, agents)
    took = []
    for _ in range(times):
        p = np.where(rng.random(agents) < 0.3, -np.inf, rng.random(agents))
        began = time.process_time()
        made = picking.pick(p, h, price=price, occupancy=occupancy, idle_s=idle_s)
        took.append(1_000.0 * (time.process_time() - began))
        assert made.chosen >= 0
    return pair(f"pick, {agents:,} agents", took, None, 5.0)


def rounds(contacts: int = 500, agents: int = 5_000, times: int = 5) -> list[Measure]:
    """A round of so many contacts and agents, in processor time, beside the bound of its own dual."""
    rng = np.random.default_rng(8)
    took, short = [], []
    for _ in range(times):
        p = 1.0 / (1.0 + np.exp(-(0.7 + rng.normal(size=(contacts, 4)) @ rng.normal(size=(4, agents)) * 0.4)))
        h = rng.uniform(60.0, 400.0, (contacts, agents))
        price = rng.random(agents) / 500.0
        began = time.process_time()
        index = picking.pair_index(p, h, price=price, contact_price=np.zeros(contacts))
        pairs = picking.batch(index)
        took.append(1_000.0 * (time.process_time() - began))
        reached = sum(float(index[row, column]) for row, column in pairs)
        short.append(100.0 * (_dual(index) - reached) / abs(reached))
    return [
        Measure(f"round, {contacts} x {agents:,}", "ms", float(np.median(took)), 250.0, note=f"max {max(took):.0f} ms"),
        Measure("round, short of the optimum by at most", "%", max(max(short), 0.0), 0.5, note="against a dual bound"),
    ]


def _dual(index: Floats) -> float:
    """An upper bound of the assignment by Bertsekas' auction: sum_r max_c (index - price) + sum_c price, price >= 0."""
    rows, columns = index.shape
    price, holder = np.zeros(columns), np.full(columns, -1)
    step = 0.001 * float(np.abs(index).mean())
    waiting = list(range(rows))
    while waiting:
        row = waiting.pop()
        net = index[row] - price
        best = int(net.argmax())
        top = float(net[best])
        net[best] = -np.inf
        price[best] += top - float(net.max()) + step
        if holder[best] >= 0:
            waiting.append(int(holder[best]))
        holder[best] = row
    return float((index - price).max(axis=1).sum() + price.sum())


def _of_forty(pooled: dict[str, Pooled]) -> list[Measure]:
    ours = pooled[OURS]
    measures = [
        Measure("gap closed, 40 agents", "%", 100 * ours.gap[0], 53.0, "higher", _pm(ours.gap)),
        Measure("uplift, 40 agents", "%", 100 * ours.uplift[0], None, "higher", _pm(ours.uplift)),
        Measure(
            "longest wait over first come's, 40 agents",
            "x",
            ours.wait_max_ratio,
            1.25,
            note=f"{ours.wait_max_s:.0f} s, first come {pooled[FIRST_COME].wait_max_s:.0f} s",
        ),
        _longer("40 agents", pooled),
        Measure("spread of occupancy, 40 agents", "points", 100 * ours.spread_max, 20.0, note="the worst run"),
        _no_more("hang up more, 40 agents", ours),
        Measure(
            "overtaken for more than 30 s, 40 agents",
            "%",
            100 * ours.late_share,
            1.0,
            note=f"by place; {ours.late_s:.0f} s at most",
        ),
        Measure(
            "waited 30 s beyond first come's own history, 40 agents",
            "%",
            100 * ours.beyond_share,
            note=f"{ours.beyond_s:.0f} s at most",
        ),
    ]
    for name, one in pooled.items():
        if name not in (OURS, FIRST_COME):
            note = (
                f"gap, longest wait {one.wait_max_ratio:.1f}x, spread {100 * one.spread_max:.0f} points, "
                f"hang up {100 * one.abandoned:.1f} %"
            )
            measures.append(Measure(f"beside it: {name}", "%", 100 * one.gap[0], note=note))
    return measures


def _longer(name: str, pooled: dict[str, Pooled]) -> Measure:
    """The setting of the guard, on the longest waits."""
    ours, first = pooled[OURS].wait_max_s, pooled[FIRST_COME].wait_max_s
    note = f"{ours:.0f} s, first come {first:.0f} s"
    return Measure(f"longest wait less first come's, {name}", "s", ours - first, 30.0, note=note)


def _no_more(name: str, one: Pooled) -> Measure:
    """The lower end of the interval: above 0 would be more than first come's, beyond chance."""
    mean, half = (100 * value for value in one.abandoned_more)
    return Measure(name, "points", mean - half, 0.0, note=f"{mean:+.2f} ±{half:.2f}: {100 * one.abandoned:.2f} % hang up")


def _pooled(agents: int, model: ModelError | None, seeds: int, names: Sequence[str], processes: int) -> dict[str, Pooled]:
    if seeds < 1:
        raise BadInput("seeds_missing", "At least one seed is needed")
    numbers = list(range(1, seeds + 1))
    every = []
    for structure in STRUCTURES if agents < 100 else STRUCTURES[:2]:
        every.append(compare(world_with(agents, structure, model), seeds=numbers, names=names, processes=processes))
    bounds = [comparison.bounds for comparison in every]
    return {
        name: _pool(name, [one.of(name) for one in every], [one.of(FIRST_COME) for one in every], bounds)
        for name in dict.fromkeys((FIRST_COME, *names))
    }


def _pool(name: str, mine: list[Compared], first: list[Compared], bounds: list[list[float]]) -> Pooled:
    runs: list[tuple[Figures, Figures, float]] = [
        entry
        for one, was, most in zip(mine, first, bounds, strict=True)
        for entry in zip(one.runs, was.runs, most, strict=True)
    ]

    def over(values: list[float]) -> tuple[float, float]:
        found = interval(values)
        return found.mean, 0.0 if found.half != found.half else found.half

    return Pooled(
        name=name,
        uplift=over([one.success / was.success - 1.0 for one, was, _ in runs]),
        gap=over([(one.success - was.success) / (most - was.success) for one, was, most in runs]),
        abandoned_more=over([one.abandoned - was.abandoned for one, was, _ in runs]),
        abandoned=float(np.mean([one.abandoned for one, _, _ in runs])),
        answer_s=float(np.mean([one.answer_s for one, _, _ in runs])),
        wait_max_s=max(one.wait_max_s for one, _, _ in runs),
        wait_max_ratio=max(one.wait_max_s for one, _, _ in runs) / max(was.wait_max_s for _, was, _ in runs),
        beyond_share=float(np.mean([one.beyond_share for one, _, _ in runs])),
        beyond_s=max(one.beyond_s for one, _, _ in runs),
        late_share=float(np.mean([one.late_share for one, _, _ in runs])),
        late_s=max(one.late_s for one, _, _ in runs),
        spread_max=max(one.occupancy_spread for one, _, _ in runs),
    )


def _pm(value: tuple[float, float]) -> str:
    return f"{100 * value[0]:.1f} ±{100 * value[1]:.1f}"
