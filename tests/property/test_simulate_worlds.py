"""The guard and the pick in worlds of every sort, drawn by number: what must hold in all of them, on few contacts."""

from __future__ import annotations

import numpy as np
import pytest

from firstring.bench import route_worlds
from firstring.bench.route import world_with
from firstring.bench.route_worlds import SORTS, tried, varied
from firstring.routing.pick.choose import HOLDING
from firstring.routing.simulate.centre import Centre
from firstring.routing.simulate.drawn import Drawn, Pairs
from firstring.routing.simulate.ours import PriceIndex, PriceRules
from firstring.routing.simulate.policies import FirstCome, Greedy

CONTACTS = 500
NUMBERS = (0, 1, 2, 3, 4, 5, 6, 9, 10)
"""One of each sort, and some more that are not large."""


def test_a_number_is_a_world_and_each_sort_has_what_it_is_named_for() -> None:
    worlds = [varied(number) for number in range(70)]
    assert worlds[:7] == [varied(number) for number in range(7)]
    assert {world.name.split()[1] for world in worlds} == set(SORTS)
    assert min(world.agent_count for world in worlds) < 8
    assert max(world.agent_count for world in worlds) > 200
    by_sort = {sort: [world for world in worlds if world.name.endswith(sort)] for sort in SORTS}
    assert all(any(group.shifts for group in world.agents) for world in by_sort["shifts"])
    assert all(group.learning > 0.0 for world in by_sort["learning"] for group in world.agents[:1])
    assert any(kind.skills for world in by_sort["skills"] for kind in world.types)
    assert any(min(kind.per_hour) < 0.1 * max(kind.per_hour) for world in by_sort["surge"] for kind in world.types)
    assert any(world.model.useless for world in worlds)
    assert any(kind.patience_s == 0.0 for world in worlds for kind in world.types)


def test_over_all_worlds_nobody_hangs_up_more_and_few_are_overtaken_for_long() -> None:
    runs = tried(NUMBERS, contacts=CONTACTS)
    useless = tried(NUMBERS, contacts=CONTACTS, useless=True)
    measures = {measure.name: measure for measure in route_worlds.measures(runs, useless)}
    assert [name for name, measure in measures.items() if measure.met is False] == []
    # The same check with a policy that starves callers fails by far.
    assert late_share(Greedy()) > 2 * route_worlds.LATE_GOAL / 100 > 4 * late_share(PriceIndex(PriceRules()))


def late_share(policy: FirstCome) -> float:
    world = world_with(40, 101, hours=2.0)
    pairs = Pairs(world)
    run = Centre(world, pairs, Drawn(world, pairs, 1), policy).run()
    return float((run.late_s > 30.0).mean())


@pytest.mark.parametrize("number", [1, 2, 3, 5])
def test_first_come_is_never_late_and_ours_without_leeway_hardly(number: int) -> None:
    """The guard's memory and the shadow beside the run are two programs; where nobody may be overtaken they agree."""
    world = varied(number, contacts=CONTACTS)
    pairs = Pairs(world)
    ring_s = world.ringing.seconds + world.ringing.no_answer_s * (world.ringing.no_answer > 0.0)

    def late_s(policy: FirstCome) -> np.ndarray:
        return Centre(world, pairs, Drawn(world, pairs, 1), policy).run().late_s

    assert late_s(FirstCome()).max() <= ring_s + 1e-6
    strict = PriceRules(pick=type(HOLDING)(guard_s=0.0, guard_caution=10.0))
    assert late_s(PriceIndex(strict)).max() <= 30.0
