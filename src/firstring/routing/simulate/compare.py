"""Policies side by side on common random numbers, with intervals over seeds, and the bound that none can pass."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from typing import Final, NamedTuple

import msgspec
import numpy as np
from numpy.typing import NDArray

from firstring.errors import BadInput
from firstring.routing.pick import prices as pricing
from firstring.routing.simulate import policies
from firstring.routing.simulate.centre import Centre, Policy, Run
from firstring.routing.simulate.drawn import Drawn, Pairs
from firstring.routing.simulate.ours import PriceIndex, PriceRules
from firstring.routing.simulate.world import World

Floats = NDArray[np.float64]

FIRST_COME: Final = policies.FirstCome.name
OURS: Final = PriceIndex.name
POLICIES: Final[dict[str, Callable[[PriceRules], Policy]]] = {
    policies.FirstCome.name: lambda rules: policies.FirstCome(),
    policies.StaticSkills.name: lambda rules: policies.StaticSkills(),
    policies.Greedy.name: lambda rules: policies.Greedy(),
    policies.BatchHungarian.name: lambda rules: policies.BatchHungarian(),
    PriceIndex.name: PriceIndex,
}
BEYOND_S: Final = 30.0
"""What `beyond_share` and `late_share` count from."""
_BOUND_SAMPLE: Final = 1_500
"""Contacts that the bound's prices are found on; it is evaluated on all, and any prices give a bound."""


class Figures(msgspec.Struct, frozen=True, kw_only=True):
    """One run, counted from the end of the warm-up. Of all contacts that came, unless it says otherwise."""

    contacts: int
    success: float
    """Expected success (times value) per contact that came; one that hung up is none."""
    abandoned: float
    """Share that hung up."""
    waited: float
    """Share that did not get an agent at once."""
    in_time: float
    """Share answered within the world's target."""
    wait_s: float
    """Mean wait, of those who hung up too."""
    answer_s: float
    """Mean speed of answer, of those who were answered."""
    wait_p95_s: float
    wait_max_s: float
    beyond_s: float
    """The longest that any contact waited beyond its own wait under first come."""
    beyond_share: float
    """Share of contacts that waited more than 30 s beyond it."""
    before_share: float
    """Share of contacts that waited more than 30 s less."""
    late_s: float
    """The longest that any contact was overtaken: beyond first come on the same agents becoming free (`shadow`)."""
    late_share: float
    """Share of contacts that were overtaken for more than 30 s."""
    handle_s: float
    occupancy_min: float
    occupancy_mean: float
    occupancy_max: float
    occupancy_spread: float
    """Busiest agent less the least busy one."""
    queue: float
    """Mean number that waits."""
    held: float
    """Share that was held for a better agent."""


class Mean(NamedTuple):
    """A mean over seeds and the half width of its 95 % interval (Student's t; nan with one seed)."""

    mean: float
    half: float


class Compared(msgspec.Struct, frozen=True, kw_only=True):
    """One policy over all seeds. Differences to first come are paired, run by run."""

    policy: str
    runs: list[Figures]
    uplift: Mean
    """Success per contact over first come's, relative."""
    gap: Mean
    """Share of the way from first come to the bound."""
    abandoned_more: Mean
    """Abandonment less first come's."""
    wait_max_ratio: float
    """The longest wait of all runs over first come's."""

    def mean(self, name: str) -> Mean:
        """Any of the figures."""
        return interval([getattr(run, name) for run in self.runs])


class Comparison(msgspec.Struct, frozen=True, kw_only=True):
    """A world, its seeds, and every policy on it."""

    world: World
    seeds: list[int]
    bound: Mean
    """Success per contact that no policy passes."""
    bounds: list[float]
    """The same of every run."""
    policies: list[Compared]

    def of(self, name: str) -> Compared:
        return next(compared for compared in self.policies if compared.policy == name)


class _SeedResult(NamedTuple):
    bound: float
    figures: dict[str, Figures]


def compare(
    world: World,
    *,
    seeds: Sequence[int],
    names: Sequence[str] = tuple(POLICIES),
    rules: PriceRules | None = None,
    processes: int = 1,
) -> Comparison:
    """Every policy on the same contacts of every seed. First come is always among them.

    Raises BadInput: policy_unknown, seeds_missing.
    """
    for name in names:
        if name not in POLICIES:
            raise BadInput("policy_unknown", "There is no such policy", hint="Known are: " + ", ".join(POLICIES) + ".")
    if not seeds:
        raise BadInput("seeds_missing", "At least one seed is needed")
    wanted = list(dict.fromkeys((FIRST_COME, *names)))
    rules = rules or PriceRules()
    if processes > 1 and len(seeds) > 1:
        with ProcessPoolExecutor(min(processes, len(seeds)), get_context("spawn")) as pool:
            results = list(pool.map(_of_seed, *zip(*((world, seed, wanted, rules) for seed in seeds), strict=True)))
    else:
        results = [_of_seed(world, seed, wanted, rules) for seed in seeds]
    return Comparison(
        world=world,
        seeds=list(seeds),
        bound=interval([result.bound for result in results]),
        bounds=[result.bound for result in results],
        policies=[_compared(name, results) for name in wanted],
    )


def simulate(world: World, seed: int, policy: Policy) -> tuple[Drawn, Run]:
    """One run: who came, and what happened."""
    pairs = Pairs(world)
    drawn = Drawn(world, pairs, seed)
    return drawn, Centre(world, pairs, drawn, policy).run()


def bound_of(world: World, drawn: Drawn, run: Run) -> float:
    """Success per contact that no policy passes in expectation: the linear programme of all contacts after the warm-up,
    known beforehand, and the time of the agents from then on; each contact in pieces, nobody waits, nobody hangs up."""
    counted = np.flatnonzero(drawn.at_s >= world.warm_up_hours * 3600.0)
    if not len(counted):
        return 0.0
    rng = np.random.default_rng(len(counted))
    some = counted if len(counted) <= _BOUND_SAMPLE else np.sort(rng.choice(counted, _BOUND_SAMPLE, replace=False))
    price = pricing.agent_prices(*_worth(drawn, some), np.full(len(some), len(counted) / len(some)), run.signed_in_s).agent
    total = 0.0
    nothing = np.zeros(len(price))
    for part in np.array_split(counted, max(1, len(counted) * len(price) // 1_000_000)):
        total += pricing.bound_at(*_worth(drawn, part), np.ones(len(part)), nothing, price)
    return (total + float(run.signed_in_s @ np.maximum(price, 0.0))) / len(counted)


def interval(values: Sequence[float]) -> Mean:
    """Mean and half width of the 95 % interval."""
    if len(values) < 2:
        return Mean(float(values[0]) if values else float("nan"), float("nan"))
    from scipy.special import stdtrit

    deviation = float(np.std(values, ddof=1))
    return Mean(float(np.mean(values)), float(stdtrit(len(values) - 1, 0.975)) * deviation / len(values) ** 0.5)


def _worth(drawn: Drawn, contacts: NDArray[np.int64]) -> tuple[Floats, Floats]:
    rows = drawn.block(contacts)
    kind = drawn.kind[contacts]
    # Prices are never below 0 here, so that a bound at cut prices stays one.
    return np.where(drawn.pairs.eligible[kind], rows.p * drawn.value[kind][:, None], -np.inf), rows.h


def _of_seed(world: World, seed: int, names: Sequence[str], rules: PriceRules) -> _SeedResult:
    figures: dict[str, Figures] = {}
    bound = 0.0
    first_wait: Floats = np.zeros(0)
    for name in names:
        drawn, run = simulate(world, seed, POLICIES[name](rules))
        if name == FIRST_COME:
            bound, first_wait = bound_of(world, drawn, run), run.wait_s
        figures[name] = _figures(world, drawn, run, first_wait)
    return _SeedResult(bound, figures)


def _figures(world: World, drawn: Drawn, run: Run, first_wait: Floats) -> Figures:
    counted = drawn.at_s >= world.warm_up_hours * 3600.0
    if not counted.any():
        raise BadInput("world_inconsistent", "Nobody came after the warm-up", hint="Simulate longer, or more arrivals.")
    wait_s, answered = run.wait_s[counted], run.agent[counted] >= 0
    beyond = wait_s - first_wait[counted]
    here = run.signed_in_s > 0.0
    occupancy = run.busy_s[here] / run.signed_in_s[here] if here.any() else np.zeros(1)
    seconds = (world.hours - world.warm_up_hours) * 3600.0
    return Figures(
        contacts=int(counted.sum()),
        success=float(run.expected[counted].mean()),
        abandoned=float(1.0 - answered.mean()),
        waited=float((wait_s > 1e-9).mean()),
        in_time=float((answered & (wait_s <= world.target_s)).mean()),
        wait_s=float(wait_s.mean()),
        answer_s=float(wait_s[answered].mean()) if answered.any() else 0.0,
        wait_p95_s=float(np.quantile(wait_s, 0.95)),
        wait_max_s=float(wait_s.max()),
        beyond_s=float(beyond.max()),
        beyond_share=float((beyond > BEYOND_S).mean()),
        before_share=float((beyond < -BEYOND_S).mean()),
        late_s=float(run.late_s[counted].max()),
        late_share=float((run.late_s[counted] > BEYOND_S).mean()),
        handle_s=float(run.handle_s[counted][answered].mean()) if answered.any() else 0.0,
        occupancy_min=float(occupancy.min()),
        occupancy_mean=float(run.busy_s.sum() / max(run.signed_in_s.sum(), 1e-9)),
        occupancy_max=float(occupancy.max()),
        occupancy_spread=float(occupancy.max() - occupancy.min()),
        queue=float(wait_s.sum() / seconds),
        held=run.held / drawn.count,
    )


def _compared(name: str, results: list[_SeedResult]) -> Compared:
    mine = [result.figures[name] for result in results]
    first = [result.figures[FIRST_COME] for result in results]
    gaps = [result.bound - was.success for result, was in zip(results, first, strict=True)]
    better = [one.success - was.success for one, was in zip(mine, first, strict=True)]
    return Compared(
        policy=name,
        runs=mine,
        uplift=interval([more / max(was.success, 1e-12) for more, was in zip(better, first, strict=True)]),
        gap=interval([more / gap if gap > 1e-9 else float("nan") for more, gap in zip(better, gaps, strict=True)]),
        abandoned_more=interval([one.abandoned - was.abandoned for one, was in zip(mine, first, strict=True)]),
        wait_max_ratio=max(one.wait_max_s for one in mine) / max(max(was.wait_max_s for was in first), 1e-9),
    )
