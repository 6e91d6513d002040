"""From "call me" on a page to the agent who dials: promised, kept at its time, and refused where it cannot be kept."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest
from playwright.async_api import Browser, Page
from tests.acceptance.desk_rig import new_context
from tests.acceptance.test_web_snippet import CONTENT, Shop, Site, dialog, shop, site

from firstring.channels.callbacks.opening import Opening, opening_from_file
from firstring.errors import BadInput
from firstring.nextbest.hours import DAYS
from firstring.store import callbacks as store

__all__ = ["Site", "shop", "site"]
ALWAYS = Opening(hours=dict.fromkeys(DAYS, ("00:00-24:00",)), per_slot=1, countries=("GB",), ahead_minutes=0)
PHONE = "+44 7700 900123"


@pytest.fixture
async def calling(shop: Shop) -> AsyncIterator[Shop]:
    callbacks = shop.world.server.services.web.callbacks
    before, callbacks.opening = callbacks.opening, ALWAYS
    yield shop
    callbacks.opening = before


async def asked(shop: Shop, page: Page, form: str) -> dict[str, Any]:
    """An action that offers a call, shown to the page's visitor; with what proves the visitor."""
    await page.evaluate("firstring.consent(true)")
    record = await shop.record_of(await shop.visitor(page))
    delivery = await shop.decide(record, {**CONTENT, "form": form, "title": "Shall we call you?", "accept": "Call me"})
    await dialog(page).wait_for()
    me = json.loads(await page.evaluate("localStorage.getItem('firstring')"))
    return {"key": shop.key.text, **me, "delivery": str(delivery.delivery_id)}


async def test_call_me_now_rings_at_the_desk(calling: Shop, browser: Browser) -> None:
    shop = calling
    context = await new_context(browser)
    desk = await context.new_page()
    await shop.world.ready_agent(desk)
    page = await shop.visit()
    await asked(shop, page, "call_me")
    await dialog(page).get_by_label("Your phone number").fill("12")
    await dialog(page).get_by_role("button", name="Call me").click()
    await dialog(page).get_by_role("alert").wait_for()
    shop.problems.clear()  # the browser's own line about the refused request
    await dialog(page).get_by_label("Your phone number").fill(PHONE)
    await dialog(page).get_by_role("button", name="Call me").click()
    await dialog(page).get_by_role("status").wait_for()
    await desk.wait_for_selector(".pop")
    pop = desk.locator(".pop")
    assert await pop.locator("a.dial").get_attribute("href") == "tel:+447700900123"
    assert "Call back" in await pop.locator(".over").inner_text()
    await desk.keyboard.press("a")
    await desk.wait_for_selector(".pop[data-state=answered]")
    await desk.keyboard.press("f")
    await desk.keyboard.press("1")
    await desk.wait_for_selector(".pop", state="detached")
    callbacks = shop.world.server.services.web.callbacks
    assert await callbacks.settle(shop.world.tenant) == 1
    [line] = await store.listed(shop.world.server.services.database, shop.world.tenant, 10)
    assert (line.state, line.attempts) == ("done", 1)
    await shop.actions("Action Shown", "Action Accepted")
    await context.close()


async def test_a_chosen_time_is_kept(calling: Shop) -> None:
    """The time is one of those offered; the call is a contact at that time, with the visitor's record behind it."""
    shop = calling
    page = await shop.visit()
    await asked(shop, page, "callback")
    choices = dialog(page).get_by_label("When shall we call?").locator("option")
    await choices.nth(2).wait_for(state="attached")
    chosen = await choices.nth(2).get_attribute("value")
    await dialog(page).get_by_label("When shall we call?").select_option(chosen)
    await dialog(page).get_by_label("Your phone number").fill(PHONE)
    await dialog(page).get_by_role("button", name="Call me").click()
    await dialog(page).get_by_role("status").wait_for()
    services, tenant = shop.world.server.services, shop.world.tenant
    [line] = await store.listed(services.database, tenant, 10)
    assert line.due_at == datetime.fromisoformat(chosen or "")
    assert line.state == "booked"
    assert await services.contacts.recent(tenant) == []
    await services.web.callbacks.due(tenant, str(line.callback_id), {})
    await services.web.callbacks.due(tenant, str(line.callback_id), {})  # told twice, as timers may
    [contact] = await services.contacts.recent(tenant)
    decision = await services.ring.decision(tenant, contact.contact_id)
    assert decision is not None
    assert (contact.channel, decision.cause, decision.contact.called) == ("voice", "callback", "+447700900123")
    assert {one.kind for one in decision.evidence.identifiers} == {"phone", "cookie"}
    assert decision.evidence.intent == "Shall we call you?"


async def test_what_cannot_be_promised_is_said(calling: Shop) -> None:
    shop = calling
    page = await shop.visit()
    told = await asked(shop, page, "callback")
    services, tenant = shop.world.server.services, shop.world.tenant
    slots = await services.web.callbacks.slots(tenant)

    async def refused(**more: Any) -> tuple[int, str]:
        async with httpx.AsyncClient(base_url=shop.world.url) as client:
            answer = await client.post("/web/callback", content=json.dumps({**told, "phone": PHONE, **more}))
        return answer.status_code, answer.json().get("error", {}).get("code", "")

    at = slots[3].isoformat()
    past = (datetime.now(UTC) - timedelta(hours=1)).isoformat()
    assert await refused(at=past) == (400, "time_past")
    assert await refused(at="tomorrow") == (400, "time_invalid")
    assert await refused(at=(slots[3] + timedelta(minutes=7)).isoformat()) == (400, "outside_hours")
    assert await refused(at=at, phone="hello") == (400, "phone_invalid")
    assert await refused(at=at, phone="+1 202 555 0123") == (400, "phone_refused")
    assert await refused(at=at, phone="+44 909 879 0123") == (400, "phone_refused")
    assert await refused(at=at, timeZone="Mars/Base") == (400, "time_zone_unknown")
    services.web.callbacks.opening = Opening(hours={}, countries=("GB",))
    assert await refused() == (409, "closed_now")
    services.web.callbacks.opening = ALWAYS
    assert await refused(at=at, timeZone="Europe/Lisbon") == (200, "")
    assert await refused(at=slots[4].isoformat()) == (409, "callback_booked")
    assert await refused(at=at, phone="+44 7700 900124") == (409, "slot_full")
    assert slots[3] not in await services.web.callbacks.slots(tenant)


async def test_one_that_nobody_could_make_is_tried_again_then_missed(calling: Shop) -> None:
    shop = calling
    page = await shop.visit()
    told = await asked(shop, page, "call_me")
    services, tenant = shop.world.server.services, shop.world.tenant
    async with httpx.AsyncClient(base_url=shop.world.url) as client:
        assert (await client.post("/web/callback", content=json.dumps({**told, "phone": PHONE}))).status_code == 200
    callbacks = services.web.callbacks
    for attempt in range(1, ALWAYS.attempts + 1):
        [line] = await store.listed(services.database, tenant, 10)
        await callbacks.due(tenant, str(line.callback_id), {})
        [line] = await store.listed(services.database, tenant, 10)
        assert (line.state, line.attempts) == ("offered", attempt)
        assert line.contact_id is not None
        await services.contacts.event(tenant, line.contact_id, "cancelled")
        for _ in range(100):  # the server's own chore may have been quicker
            await callbacks.settle(tenant)
            [line] = await store.listed(services.database, tenant, 10)
            if line.state != "offered":
                break
            await asyncio.sleep(0.05)
    assert line.state == "missed"
    await shop.actions("Action Shown", "Action Accepted", "Action Failed")


def test_opening_hours(tmp_path: Any) -> None:
    """Across the change of the clocks, over closed days, and with what is wrong said."""
    path = tmp_path / "callbacks.toml"
    assert opening_from_file(path).hours["mon"] == ("09:00-17:00",)
    path.write_text(
        'time_zone = "Europe/Berlin"\nslot_minutes = 30\nclosed = [2026-03-30]\ndays = 3\n'
        '[hours]\nsun = ["01:00-04:00"]\nmon = ["09:00-17:00"]\ntue = ["09:00-10:00"]\n'
    )
    opening = opening_from_file(path)
    found = list(opening.slots(datetime(2026, 3, 28, 20, tzinfo=UTC)))
    assert [at.isoformat()[:16] for at in found] == [
        "2026-03-29T00:00", "2026-03-29T00:30", "2026-03-29T01:00", "2026-03-29T01:30",  # 01:00, 01:30, 03:00, 03:30 there
        "2026-03-31T07:00", "2026-03-31T07:30",
    ]  # fmt: skip
    assert not opening.is_open(datetime(2026, 3, 30, 10, tzinfo=UTC))
    for wrong in (
        'time_zone = "Mars/Base"',
        "[hours]\nfunday = []",
        '[hours]\nmon = ["9 to 5"]',
        "slot_minutes = 1",
        "x = 1",
        "=",
    ):
        path.write_text(wrong)
        with pytest.raises(BadInput) as refused:
            opening_from_file(path)
        assert refused.value.code == "callbacks_file_invalid"
