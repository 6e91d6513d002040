"""Actions for an agent's screen: put before whoever serves the person, done or declined there, told as events."""

from __future__ import annotations

import asyncio
from datetime import timedelta

from playwright.async_api import Browser
from tests.acceptance.desk_rig import ALICE_PHONE, PEOPLE, World, events, new_context, now
from tests.acceptance.test_desk_axe import check
from tests.acceptance.test_desk_person import _person
from tests.events_rig import read_events

from firstring.nextbest.library import sources
from firstring.store.delivery import listed
from firstring.store.nextbest.policies import load_policy, refresh

POLICY = """
policy: {holdout: 0.0}
actions:
  - {id: parcel_check, kind: service, text: "Tell{name} where the parcel is", trigger: {patterns: [late]}, expires: 2h}
  - {id: lamp_offer, kind: offer, text: "Offer the lamp", trigger: {patterns: [late]}, chance: 0.9, value: 50}
"""


async def _load(world: World, text: str) -> None:
    services = world.server.services
    async with services.database.transaction(world.tenant.tenant_id) as connection:
        texts = [*sources("contact"), ("mine.yaml", text)]
        await load_policy(
            connection, world.tenant, texts, by="test", now=services.clock.now(), origin=services.notices.origin
        )
    await refresh(services.database, world.tenant)


async def _told(world: World, count: int) -> list[str]:
    async with asyncio.timeout(10):
        while True:
            found = await read_events(world.server.services.database, world.tenant, "shop")
            names = [one.name for one in found if one.name.startswith("Action ")]
            if len(names) >= count:
                return sorted(names)
            await asyncio.sleep(0.05)


async def test_what_is_to_be_done_is_put_before_the_agent(world: World, browser: Browser) -> None:
    await world.add_people(PEOPLE, events(now()))
    await _load(world, POLICY)
    services, tenant = world.server.services, world.tenant
    alice = await _person(world, "c-1")
    context = await new_context(browser)
    page = await context.new_page()
    await world.ready_agent(page)
    before = await services.acting.by_hand(tenant, alice, "parcel_check", by="Eve")
    assert before.outcome == "acted"
    gated = await services.acting.by_hand(tenant, alice, "lamp_offer", by="Eve")
    assert gated.outcome == "none", "a refund of hers is open"

    decision = await world.offer(ALICE_PHONE)
    treat = page.locator(".treat")
    await treat.wait_for()
    assert "Tell Alice Rivera where the parcel is" in await treat.inner_text()
    assert "lamp" not in await treat.inner_text()
    await check(page, "a treatment")
    assert await _told(world, 1) == ["Action Shown"]
    stranger = await world.signed_in_client((await world.add_agent("Bo Lund"))[1])
    [line] = await listed(services.database, tenant, "shown", 10)
    address = f"/desk/contacts/{decision.contact.contact_id}/treatments/{line.delivery_id}"
    assert (await stranger.post(address, data={"what": "accepted"})).status_code == 409, "somebody else serves her"
    await stranger.aclose()
    await treat.get_by_role("button", name="Done").click()
    await treat.wait_for(state="detached")
    assert await _told(world, 2) == ["Action Accepted", "Action Shown"]

    # While the agent talks to her another one is decided, and declined.
    await services.acting.by_hand(tenant, alice, "parcel_check", by="Eve")
    await treat.wait_for()
    assert await page.text_content("#announce") == "To do: Tell Alice Rivera where the parcel is"
    await treat.get_by_role("button", name="Not for them").click()
    await treat.wait_for(state="detached")
    assert await _told(world, 4) == ["Action Accepted", "Action Dismissed", "Action Shown", "Action Shown"]
    states = {one.state for one in await listed(services.database, tenant, None, 10)}
    assert states == {"accepted", "dismissed"}
    await context.close()


async def test_gates_are_asked_again_before_an_agent_sees_it(world: World) -> None:
    await world.add_people(PEOPLE, events(now()))
    await _load(world, POLICY)
    services, tenant = world.server.services, world.tenant
    noor = await _person(world, "c-3")
    offered = await services.acting.by_hand(tenant, noor, "lamp_offer", by="Eve")
    assert offered.outcome == "acted"
    refund = {**events(now())[2], "userId": "c-3", "timestamp": (now() - timedelta(minutes=1)).isoformat()}
    await world.add_people((), [refund])
    assert await services.treatments.shown(tenant, [noor]) == {}
    [line] = await listed(services.database, tenant, "withdrawn", 10)
    assert (line.action, line.reason) == ("lamp_offer", "open_refund")
