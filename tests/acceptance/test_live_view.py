"""The live view: who is there, what they are going through, and an action started by hand under the usual gates."""

from __future__ import annotations

import re
import secrets

import pytest
from playwright.async_api import Browser, Page
from tests.acceptance.desk_rig import ALICE_PHONE, PEOPLE, World, events, new_context, now
from tests.acceptance.test_desk_axe import check
from tests.acceptance.test_web_snippet import Shop, Site, dialog, shop, site

from firstring.bootstrap import Server
from firstring.store.journey.declared import load
from firstring.store.nextbest.policies import load_policy, refresh

__all__ = ["Site", "shop", "site"]
PATTERN = """
id: looks_for_help
title: Looks for help
match: {seq: ["Help Viewed", "Help Viewed"]}
within: 1h
valence: negative
"""


@pytest.fixture
async def watched(shop: Shop) -> Shop:
    services = shop.world.server.services
    await load(services.database, shop.world.tenant, [("", PATTERN)], by="test", now=services.clock.now(), switch_on=True)
    services.timers.wake()
    return shop


async def signed_in(world: World, browser: Browser, role: str = "supervisor", **options: bool | str) -> Page:
    context = await new_context(browser, **options)
    page = await context.new_page()
    if role == "agent":
        _, login = await world.add_agent()
    else:
        login = f"head-{secrets.token_hex(4)}"
        await world.add_staff(login, role)
    await world.sign_in(page, login, "/live")
    await page.goto(f"{world.url}/live")
    return page


async def test_a_visitor_appears_and_is_helped_by_hand(watched: Shop, browser: Browser) -> None:
    shop = watched
    desk = await signed_in(shop.world, browser, "agent")
    assert "Nobody was there" in await desk.inner_text("#live")
    page = await shop.visit()
    await page.wait_for_function("window.firstring && window.firstring.loaded")
    await desk.wait_for_selector(".there li")
    await page.evaluate("firstring.track('Help Viewed')")
    await desk.wait_for_selector(".there .ways >> text=under way")
    await page.evaluate("firstring.track('Help Viewed')")
    await desk.wait_for_selector(".there .ways >> text=came true")
    assert "Looks for help" in await desk.inner_text(".there .ways")
    # By keyboard alone: the choice and the focus outlive what is read anew.
    await desk.focus(".there select")
    await desk.keyboard.type("Show the way back")
    await shop.visitor(page)
    await desk.wait_for_timeout(1_500)
    assert await desk.evaluate("document.activeElement.value") == "sign_in_help"
    await desk.keyboard.press("Tab")
    await desk.keyboard.press("Enter")
    await dialog(page).wait_for()
    await desk.wait_for_selector(".there .ways >> text=shown")
    await desk.context.close()


async def test_an_agent_sees_the_names_of_those_whose_pages_they_may_open(watched: Shop) -> None:
    """One rule for both: who comes into question in a contact of theirs."""
    world = watched.world
    await world.add_people(PEOPLE, [events(now())[2], {**events(now())[5], "timestamp": now().isoformat()}])
    agent_id, login = await world.add_agent()
    head = f"head-{secrets.token_hex(4)}"
    await world.add_staff(head, "supervisor")
    supervisor, agent = await world.signed_in_client(head), await world.signed_in_client(login)
    shown = (await supervisor.get("/live")).text
    [person] = re.findall(r'data-person="(\d+)"', shown)
    before = (await agent.get("/live")).text
    assert f'<h2>Customer <span class="count">{person}</span>' in before
    assert "Alice" in shown
    assert "Alice" not in before
    assert (await agent.get(f"/person/{person}")).status_code == 403
    async with world.server.services.database.transaction(world.tenant.tenant_id) as connection:
        offer = "id: lamp\nkind: offer\nroute: email\ntext: Lamp\ntrigger: {patterns: [x]}\ncaps: [{most: 1, per: 7d}]\n"
        texts = [("", offer + "chance: 0.5\nvalue: 9\ncontent: {en: {text: Lamp}}\n")]
        await load_policy(connection, world.tenant, texts, by="t", now=now(), origin="t")
    await refresh(world.server.services.database, world.tenant)
    wanted = {"person": person, "wanted": "lamp"}
    refused = [await one.post("/live/actions", data=wanted) for one in (supervisor, agent)]
    assert [one.status_code for one in refused] == [409, 409]
    assert "59.90" in refused[0].text
    assert "59.90" not in refused[1].text
    assert "A refund of theirs is open" in refused[1].text
    await world.server.services.contacts.set_presence(world.tenant, agent_id, "ready")
    assert (await world.offer(ALICE_PHONE)).agent_id == agent_id
    assert "Alice" in (await agent.get("/live")).text
    page = await agent.get(f"/person/{person}")
    assert "<h1>Alice Rivera</h1>" in page.text
    assert f"Person {person}" in page.text, "the number stands beside it"
    await supervisor.aclose()
    await agent.aclose()


async def test_an_action_that_is_gated_says_why(watched: Shop, browser: Browser) -> None:
    shop = watched
    desk = await signed_in(shop.world, browser)
    page = await shop.visit()
    await shop.visitor(page)
    await desk.wait_for_selector(".there li")
    await desk.select_option(".there select", "call_me_now")
    await desk.click(".there .act button")
    await desk.wait_for_selector("#problem:not([hidden])")
    assert "not allowed now" in await desk.inner_text("#problem")
    await desk.context.close()


async def test_who_may_not(watched: Shop) -> None:
    world = watched.world
    async with world.client() as client:
        assert (await client.get("/live")).status_code == 303
        assert (await client.post("/live/actions")).status_code in (401, 403)
    login = f"head-{secrets.token_hex(4)}"
    await world.add_staff(login, "supervisor")
    client = await world.signed_in_client(login)
    form = {"person": "999999", "wanted": "sign_in_help"}
    assert (await client.post("/live/actions", data=form)).status_code == 404
    assert (await client.post("/live/actions", data={**form, "person": "x"})).status_code == 404
    assert (await client.post("/live/actions", data=form, headers={"X-CSRF-Token": "no"})).status_code == 403
    await client.aclose()


@pytest.mark.parametrize("width", ["desktop", "phone"])
@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
async def test_axe_finds_nothing_live(
    watched: Shop, browser: Browser, width: str, dark: bool, desk_server: tuple[Server, str]
) -> None:
    page = await watched.visit()
    await watched.visitor(page)
    await page.evaluate("firstring.track('Help Viewed')")
    await watched.stored(2)
    desk = await signed_in(watched.world, browser, dark=dark, width=width)
    await desk.wait_for_selector(".there .ways >> text=under way")
    await check(desk, "the live view")
    await desk.context.close()
