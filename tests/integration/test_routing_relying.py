"""How far the model is relied on, from calls to prices: a model that is wrong about its agents ends as first come, longest
idle, one that is right is believed; each pair is judged once, by what was expected when it was made."""

from __future__ import annotations

import msgspec
import pytest
from tests.integration.test_decide import World, world
from tests.integration.test_never import offered
from tests.integration.test_routing_fitted import put, same_again
from tests.unit.test_routing_live import model

from firstring.store.notices import Notices
from firstring.store.queries import sql
from firstring.store.routing.models import FitWork, fit_in_force
from firstring.store.routing.prices import PricesWork, live_in_force
from firstring.store.routing.relying import CARRIED, Relied, relied_of

__all__ = ["world"]
PAIRS = 15


async def calls(world: World, work: FitWork, agents: list[int], good: int) -> None:
    """Two calls at a time, one for each agent; those of `good` go well."""
    for _ in range(PAIRS):
        made = [await offered(world), await offered(world)]
        assert sorted(one.agent_id or 0 for one in made) == sorted(agents)
        for one in made:
            contact_id = one.contact.contact_id
            await world.contacts.event(world.tenant, contact_id, "answered")
            outcome = "resolved" if one.agent_id == good else "unresolved"
            await world.contacts.event(world.tenant, contact_id, "finished", outcome=outcome)
    while not await work.settle(world.tenant):
        pass


async def relied(world: World) -> Relied:
    async with world.database.transaction(world.tenant.tenant_id) as connection:
        row = await connection.fetchrow(sql("fit", "active_model"), world.tenant.tenant_id)
        return await relied_of(connection, world.tenant, row["root"])


@pytest.mark.parametrize("is_right", [True, False])
async def test_a_model_is_relied_on_as_outcomes_bear_it_out(world: World, notices: Notices, is_right: bool) -> None:
    agents = [await world.agent("Ann"), await world.agent("Bob")]
    await put(world, model(1.5, -1.5), agents)
    work = FitWork(world.database, notices, world.clock, lambda _: world.models.routing)
    await calls(world, work, agents, good=agents[0] if is_right else agents[1])
    found = await relied(world)
    assert found.succeeds.n == pytest.approx(2 * PAIRS, rel=0.01)
    assert found.takes.n == pytest.approx(2 * PAIRS, rel=0.01)
    while not await work.settle(world.tenant):
        pass
    assert await relied(world) == found, "each pair once"

    assert await world.contacts.take_lease(world.tenant, "queue") is not None
    prices = PricesWork(world.database, notices, world.clock, lambda _: world.models.routing)
    live = await prices.find(world.tenant, fit_in_force(world.tenant))
    assert live is not None
    assert live.prices.slopes[0] == pytest.approx(found.succeeds.slope, rel=1e-6)
    assert any(price > 0.0 for price in live.prices.price), "of the calls that came just now"
    assert sum(live.prices.usual_s) > 0.0
    world.decider.models = msgspec.structs.replace(
        world.decider.models, fit=fit_in_force(world.tenant), live=live_in_force(world.tenant)
    )
    # Bob is idle longest; Ann fits, so it is said.
    for one in agents[::-1]:
        await world.contacts.set_presence(world.tenant, one, "offline")
        await world.contacts.set_presence(world.tenant, one, "ready")
    flat = msgspec.structs.replace(live.prices, price=(0.0, 0.0), occupancy=(0.5, 0.5))
    world.decider.models = msgspec.structs.replace(world.decider.models, live=type(live)(flat))
    rings = await offered(world)
    assert rings.agent_id == (agents[0] if is_right else agents[1])
    assert live.prices.slopes[0] > 0.7 if is_right else live.prices.slopes[0] == 0.0


async def test_a_model_that_is_trained_anew_is_believed_as_the_one_before(world: World, notices: Notices) -> None:
    agents = [await world.agent("Ann"), await world.agent("Bob")]
    await put(world, model(1.5, -1.5), agents)
    work = FitWork(world.database, notices, world.clock, lambda _: world.models.routing)
    await calls(world, work, agents, good=agents[1])
    before = await relied(world)
    async with world.database.transaction(world.tenant.tenant_id) as connection:
        await connection.execute(sql("fit", "retire"), world.tenant.tenant_id, "")
    await put(world, model(1.0, -1.0), agents)
    after = await relied(world)
    assert after.succeeds.n == min(before.succeeds.n, CARRIED)
    assert after.slopes == pytest.approx(before.slopes)
    # What was decided with it is derived again.
    await same_again(world, (await offered(world)).contact.contact_id)
