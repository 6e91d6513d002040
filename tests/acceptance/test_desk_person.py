"""A person's page at the desk: who sees it, what it shows, by keyboard, on a phone, in the dark."""

from __future__ import annotations

import secrets

import pytest
from playwright.async_api import Browser
from tests.acceptance.desk_rig import ALICE_PHONE, PEOPLE, World, events, new_context, now
from tests.acceptance.test_desk_axe import check


async def _person(world: World, record_id: str) -> int:
    async with world.server.services.database.transaction(world.tenant.tenant_id) as connection:
        key = world.tenant.keys.blind("record:shop", record_id)
        found = await connection.fetchval("select person_id from record where external_key = $1", key)
    assert isinstance(found, int)
    return found


@pytest.mark.parametrize(("width", "dark"), [("desktop", False), ("phone", True)])
async def test_a_person_at_the_desk(world: World, browser: Browser, width: str, dark: bool) -> None:
    many = [one for _ in range(20) for one in events(now())[4:6]]
    await world.add_people(PEOPLE, [*events(now()), *many])
    alice, noor = await _person(world, "c-1"), await _person(world, "c-3")
    context = await new_context(browser, dark=dark, width=width)
    page = await context.new_page()
    await world.ready_agent(page)
    refused = await page.goto(f"{world.url}/person/{alice}")
    assert refused is not None
    assert refused.status == 403, "nobody of theirs"
    await page.goto(f"{world.url}/desk")
    await world.offer(ALICE_PHONE)
    await page.wait_for_selector(".pop.identified")
    async with context.expect_page() as opened:
        await page.keyboard.press("p")
    profile = await opened.value
    await profile.wait_for_selector("h1")
    assert (await profile.text_content("h1") or "").strip() == "Alice Rivera"
    text = await profile.inner_text("main")
    for shown in ("Open refund", "59.90 EUR", "Whitworth Street", "shop", "Computed"):
        assert shown in text
    await check(profile, "a person")
    await profile.keyboard.press("o")
    await profile.wait_for_url("**before=**")
    await profile.keyboard.press("n")
    await profile.wait_for_url(f"**/person/{alice}")
    await profile.click("nav.filters a[href='?channel=email']")
    assert await profile.locator(".touches li").count() == 1
    assert (await profile.goto(f"{world.url}/person/{noor}")).status == 403  # type: ignore[union-attr]
    login = f"head-{secrets.token_hex(4)}"
    await world.add_staff(login, "supervisor")
    await context.clear_cookies()
    await world.sign_in(page, login)
    seen = await page.goto(f"{world.url}/person/{noor}")
    assert seen is not None
    assert seen.status == 200
    assert (await page.goto(f"{world.url}/person/999999999")).status == 404  # type: ignore[union-attr]
    assert (await page.goto(f"{world.url}/person/{noor}?before=rubbish")).status == 400  # type: ignore[union-attr]
    await context.close()
