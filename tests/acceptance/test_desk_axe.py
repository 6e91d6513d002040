"""Every page of the desk for everybody: no violation that axe-core finds, light and dark, at three widths."""

from __future__ import annotations

import secrets

import pytest
from axe_playwright_python.async_playwright import Axe
from playwright.async_api import Browser, Page
from tests.acceptance.desk_rig import ALICE_PHONE, FAMILY_PHONE, NEW_PHONE, PEOPLE, World, events, new_context, now

RULES = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]


async def check(page: Page, what: str) -> None:
    found = await Axe().run(page, options={"resultTypes": ["violations"], "runOnly": {"type": "tag", "values": RULES}})
    violations = [
        (one["id"], [(node["target"], node.get("failureSummary", "")) for node in one["nodes"]])
        for one in found.response["violations"]
    ]
    assert violations == [], what
    assert await page.evaluate("document.documentElement.scrollWidth <= window.innerWidth"), f"{what} scrolls sideways"


@pytest.mark.parametrize("width", ["desktop", "tablet", "phone"])
@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
async def test_no_page_has_a_violation(world: World, browser: Browser, width: str, dark: bool) -> None:
    await world.add_people(PEOPLE, events(now()))
    context = await new_context(browser, dark=dark, width=width)
    page = await context.new_page()
    await page.goto(f"{world.url}/signin")
    await check(page, "signing in")
    await page.fill("#login", "nobody")
    await page.fill("#password", "wrong")
    await page.press("#password", "Enter")
    await page.wait_for_selector("[role=alert]")
    await check(page, "a refused sign-in")

    await world.ready_agent(page, voice=1, chat=3)
    await check(page, "the empty desk")
    call = await world.offer(ALICE_PHONE, called="sip:+441614960000@pbx.test")
    await page.wait_for_selector(".pop.identified")
    await check(page, "an identified caller")
    await world.tell(call.contact.contact_id, "answered")
    await page.wait_for_selector(".pop[data-state=answered]")
    await page.keyboard.press("w")
    await check(page, "an answered call, unfolded")
    await world.offer(FAMILY_PHONE, channel="chat")
    await page.wait_for_selector("#roster li:nth-child(2)")
    await page.keyboard.press("j")
    await page.wait_for_selector(".pop.household:not([hidden])")
    await check(page, "an ambiguous caller")
    await world.offer(NEW_PHONE, channel="chat")
    await page.wait_for_selector("#roster li:nth-child(3)")
    await page.keyboard.press("j")
    await check(page, "somebody new")
    await page.keyboard.press("?")
    await page.wait_for_selector("dialog[open]")
    await check(page, "the keys")
    await page.goto(f"{world.url}/pop/{call.contact.contact_id}")
    await check(page, "the pop alone")
    await page.goto(f"{world.url}/supervisor")
    await check(page, "a page for another role")

    await world.offer("+44 7700 900321", channel="email")
    login = f"head-{secrets.token_hex(4)}"
    await world.add_staff(login, "administrator")
    await context.clear_cookies()
    await world.sign_in(page, login)
    await check(page, "administration")
    await page.goto(f"{world.url}/supervisor")
    await check(page, "the supervisor's board")
    await context.close()
