"""How many agents a promise takes, with this mix and this policy: the simulator searched, from the exact Erlang-A answer."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import msgspec

from firstring.errors import BadInput
from firstring.routing.simulate import erlang
from firstring.routing.simulate.compare import FIRST_COME, OURS, Mean, compare
from firstring.routing.simulate.ours import PriceRules
from firstring.routing.simulate.world import World


class Staffed(msgspec.Struct, frozen=True, kw_only=True):
    """The fewest agents with whom the promise is kept on average over the seeds, groups in the world's proportions."""

    policy: str
    agents: int
    groups: dict[str, int]
    in_time: Mean
    abandoned: Mean
    fewer_in_time: Mean | None
    """What one agent fewer would give; None with one agent."""


class Staffing(msgspec.Struct, frozen=True, kw_only=True):
    """Answers to "how many agents for 80/20"."""

    share: float
    within_s: float
    erlang_a: int | None
    """Exact, if all agents could do everything at the mean speed and arrivals were those of the busiest hour."""
    found: list[Staffed]


def promise(text: str) -> tuple[float, float]:
    """ "80/20": 80 % answered within 20 s. Raises BadInput: promise_invalid."""
    share, slash, seconds = text.partition("/")
    try:
        percent, within_s = float(share), float(seconds)
    except ValueError:
        percent = within_s = -1.0
    if not slash or not 0.0 < percent < 100.0 or not 0.0 <= within_s <= 86_400.0:
        raise BadInput(
            "promise_invalid", "Not a promise of service", hint="80/20: 80 % of the contacts are answered within 20 s."
        )
    return percent / 100.0, within_s


def staff(
    world: World,
    *,
    share: float,
    within_s: float,
    seeds: Sequence[int],
    names: Sequence[str] = (FIRST_COME, OURS),
    rules: PriceRules | None = None,
    processes: int = 1,
) -> Staffing:
    """The fewest agents with each policy. Raises BadInput: staffing_impossible where no number up to ten times does."""
    world = msgspec.structs.replace(world, target_s=within_s)
    exact = _exact(world, share, within_s)
    found = []
    for name in names:
        tried: dict[int, tuple[Mean, Mean]] = {}

        def kept(agents: int, name: str = name, tried: dict[int, tuple[Mean, Mean]] = tried) -> bool:
            if agents not in tried:
                result = compare(scaled(world, agents), seeds=seeds, names=[name], rules=rules, processes=processes).of(name)
                tried[agents] = (result.mean("in_time"), result.mean("abandoned"))
            return tried[agents][0].mean >= share

        agents = _least(kept, exact or world.agent_count, len(world.agents), 10 * max(exact or 0, world.agent_count))
        fewer = None
        if agents > len(world.agents):
            kept(agents - 1)
            fewer = tried[agents - 1][0]
        sizes = {group.name: group.count for group in scaled(world, agents).agents}
        found.append(
            Staffed(
                policy=name,
                agents=agents,
                groups=sizes,
                in_time=tried[agents][0],
                abandoned=tried[agents][1],
                fewer_in_time=fewer,
            )
        )
    return Staffing(share=share, within_s=within_s, erlang_a=exact, found=found)


def scaled(world: World, agents: int) -> World:
    """The world with so many agents in all, groups in proportion (largest remainders), each with one at least."""
    count = world.agent_count
    left = max(agents - len(world.agents), 0)
    quotas = [group.count / count * agents for group in world.agents]
    over = [max(quota - 1.0, 0.0) for quota in quotas]
    total = sum(over) or 1.0
    parts = [left * share / total for share in over]
    sizes = [1 + int(part) for part in parts]
    by_remainder = sorted(range(len(parts)), key=lambda i: (int(parts[i]) - parts[i], i))
    for i in by_remainder[: max(agents - sum(sizes), 0)]:
        sizes[i] += 1
    groups = tuple(msgspec.structs.replace(group, count=size) for group, size in zip(world.agents, sizes, strict=True))
    return msgspec.structs.replace(world, agents=groups)


def _exact(world: World, share: float, within_s: float) -> int | None:
    hours = max(len(kind.per_hour) for kind in world.types)
    busiest = max(range(hours), key=lambda hour: sum(k.per_hour[hour % len(k.per_hour)] * k.handle_s for k in world.types))
    rates = [kind.per_hour[busiest % len(kind.per_hour)] / 3600.0 for kind in world.types]
    rate = sum(rates)
    if rate <= 0.0:
        return None
    handle_s = sum(r * k.handle_s for r, k in zip(rates, world.types, strict=True)) / rate
    leaves = sum(r / k.patience_s for r, k in zip(rates, world.types, strict=True) if k.patience_s) / rate
    places = sum(group.count * group.places / group.speed for group in world.agents) / world.agent_count
    try:
        found = erlang.agents_for(rate, handle_s, 1.0 / leaves if leaves else 0.0, share=share, within_s=within_s)
    except ValueError:
        return None
    return max(1, round(found / places))


def _least(kept: Callable[[int], bool], start: int, low: int, most: int) -> int:
    """The least number from `low` on that keeps it, by doubling steps from `start` and halving."""
    high, step = max(start, low), 1
    while not kept(high):
        low, high, step = high + 1, high + step, step * 2
        if high > most:
            raise BadInput(
                "staffing_impossible",
                "No number of agents keeps this promise here",
                hint="Do shifts cover the hours with arrivals? Are there agents for each skill?",
            )
    step = 1
    while high - step >= low and kept(high - step):
        high, step = high - step, step * 2
    low = max(low, high - step + 1)
    while low < high:
        middle = (low + high) // 2
        if kept(middle):
            high = middle
        else:
            low = middle + 1
    return high
