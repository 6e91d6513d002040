"""The desk as an agent meets it: a real server, real contacts, a real browser."""

from __future__ import annotations

import asyncio
import os
import secrets
import signal

import pytest
from playwright.async_api import Browser, Page
from tests.acceptance.conftest import new_world
from tests.acceptance.desk_rig import (
    ALICE_PHONE,
    FAMILY_PHONE,
    NEW_PHONE,
    PEOPLE,
    World,
    chromium,
    events,
    new_context,
    now,
    serving,
)

from firstring import limits
from firstring.bootstrap import running
from firstring.settings import Settings

NASTY = '<img src=x onerror="window.stolen=1"><script>window.stolen=1</script>'


async def text_of(page: Page, selector: str) -> str:
    return " ".join((await page.inner_text(selector)).split())


async def eventually(page: Page, expression: str) -> None:
    await page.wait_for_function(f"() => {expression}")


async def test_an_agent_works_by_keyboard_alone(world: World, page: Page) -> None:
    await world.add_people(PEOPLE, events(now()))
    agent_id, login = await world.add_agent()
    await page.goto(f"{world.url}/signin?tenant={world.tenant.name}")
    await page.wait_for_selector("input[name=login]:focus")
    await page.keyboard.type(login)
    await page.keyboard.press("Tab")
    await page.keyboard.type("correct horse battery")
    await page.keyboard.press("Enter")
    await page.wait_for_url("**/desk")
    await page.keyboard.press("r")
    await eventually(page, "document.querySelector('#presence').dataset.presence === 'ready'")

    decision = await world.offer(FAMILY_PHONE, channel="chat")
    assert decision.agent_id == agent_id
    await page.wait_for_selector(".pop.household")
    assert "Bram de Vries" in await text_of(page, ".candidates")
    assert "Noor de Vries" in await text_of(page, ".candidates")
    assert await page.is_hidden("#empty")
    announced = await text_of(page, "#announce")
    assert "Somebody of a household" in announced
    assert "Noor de Vries" in announced

    first = await page.get_attribute("#pops [data-press='1']", "value")
    await page.keyboard.press("1")
    await page.wait_for_selector(".pop.identified[data-revision='2']")
    stored = await world.server.services.ring.decision(world.tenant, decision.contact.contact_id)
    assert stored is not None
    assert (stored.cause, stored.outcome) == ("confirmed", "keep")
    assert stored.evidence.confirmed_person == int(first or "0")
    assert "Confirmed by an agent" in await text_of(page, ".pop .confidence")

    await page.keyboard.press("a")
    await page.wait_for_selector(".pop[data-state=answered]")
    await page.keyboard.press("f")
    assert await page.evaluate("document.activeElement.name") == "outcome"
    await page.keyboard.press("2")
    await page.wait_for_selector("#empty:not([hidden])")
    assert await page.locator(".pop").count() == 0
    line = (await world.server.services.contacts.recent(world.tenant, 1))[0]
    assert (line.state, line.outcome, line.agent_id) == ("ended", "follow_up", agent_id)


async def test_the_pop_of_a_call_before_during_and_after(world: World, page: Page) -> None:
    await world.add_people(PEOPLE, events(now()))
    await world.ready_agent(page)
    decision = await world.offer(ALICE_PHONE, called="sip:+441614960000@pbx.test")
    await page.wait_for_selector(".pop.identified[data-state=offered]")
    whole = await text_of(page, ".pop")
    for expected in (
        "Alice Rivera", "VIP", "Spanish", "prior, not calibrated", "Open refund", "+44 161 496 0000",
        "Settle the open refund", "Offers are locked", "Offer an upgrade", "Looks routine", "Answer by the phone",
        "Refund requested, order 1042, 59.90 EUR", "Probably about", "E-mail",
    ):  # fmt: skip
        assert expected in whole
    assert await page.locator(".touches li").count() == 5
    assert await page.locator(".pop [data-press='a']").count() == 0  # a call is answered by the phone
    assert "Open refund" in await text_of(page, "#announce")

    contact_id = decision.contact.contact_id
    await world.tell(contact_id, "ringing")
    await page.wait_for_selector(".pop[data-state=ringing]")
    await world.tell(contact_id, "answered")
    await page.wait_for_selector(".pop[data-state=answered]")
    await world.tell(contact_id, "ended")
    await page.wait_for_selector(".pop[data-state=wrap_up]")
    await page.keyboard.press("f")
    await page.keyboard.press("1")
    await page.wait_for_selector("#empty:not([hidden])")

    pops = await page.evaluate("window.firstringPops")
    assert [(pop["contact"], pop["revision"]) for pop in pops] == [(str(contact_id), 1)]  # painted once for a revision
    assert pops[0]["decided_at"] == pytest.approx(decision.decided_at.timestamp() * 1000, abs=0.01)
    assert pops[0]["painted_at"] > pops[0]["decided_at"]


async def test_the_pop_is_handed_over_before_the_switch_is_answered(world: World, page: Page) -> None:
    await world.add_people()
    await world.ready_agent(page)
    observed = world.server.services.metrics.registry
    before = observed.get_sample_value("firstring_stage_seconds_count", {"stage": "pop"}) or 0
    await world.offer(ALICE_PHONE)
    assert observed.get_sample_value("firstring_stage_seconds_count", {"stage": "pop"}) == before + 1


async def test_somebody_new_rules_everybody_out(world: World, page: Page) -> None:
    await world.add_people()
    await world.ready_agent(page)
    decision = await world.offer(FAMILY_PHONE)
    await page.wait_for_selector(".pop.household")
    await page.keyboard.press("n")
    await page.wait_for_selector(".pop.unknown[data-revision='2']")
    state = await world.server.services.ring.contact(world.tenant, decision.contact.contact_id)
    assert state is not None
    assert len(state.evidence.ruled_out) == 2


async def test_an_unknown_number_shows_nobody(world: World, page: Page) -> None:
    await world.add_people()
    await world.ready_agent(page)
    await world.offer(NEW_PHONE)
    await page.wait_for_selector(".pop.unknown")
    whole = await text_of(page, ".pop")
    assert "Somebody new" in whole
    assert "+44 7700 900999" in whole
    assert "Rivera" not in whole


async def test_nothing_from_outside_is_markup(world: World, page: Page) -> None:
    nasty = {"record_id": "x", "full_name": NASTY, "phone": ALICE_PHONE, "note": NASTY, "city": NASTY, "tier": "vip"}
    touched = {
        "type": "track", "event": f"Refund Requested {NASTY[:40]}", "userId": "x", "channel": "web",
        "timestamp": now().isoformat(), "properties": {"order_id": NASTY, "subject": NASTY, "product": NASTY},
    }  # fmt: skip
    await world.add_people([nasty], [touched])
    await world.ready_agent(page, name="Eve <b>bold</b>")
    decision = await world.offer(ALICE_PHONE, called=f"sip:{NASTY}@x")
    await page.wait_for_selector(".pop")
    assert "<img src=x" in await page.inner_text(".pop h1")
    assert "<img src=x" in await page.inner_text(".over")
    await page.goto(f"{world.url}/pop/{decision.contact.contact_id}")
    await page.wait_for_selector(".pop")
    await world.add_staff(f"boss-{world.tenant.name}", "supervisor")
    await page.context.clear_cookies()
    await world.sign_in(page, f"boss-{world.tenant.name}")
    assert "Eve <b>bold</b>" in await page.inner_text("#board")
    assert await page.evaluate("window.stolen") is None
    assert await page.locator("#board b, .pop img, .pop script").count() == 0


async def test_two_tabs_show_the_same(world: World, page: Page) -> None:
    await world.add_people()
    await world.ready_agent(page)
    other = await page.context.new_page()
    await other.goto(f"{world.url}/desk")
    await eventually(other, "window.firstringPops !== undefined")
    await world.offer(ALICE_PHONE, channel="chat")
    for tab in (page, other):
        await tab.wait_for_selector(".pop.identified")
    await other.keyboard.press("a")
    for tab in (page, other):
        await tab.wait_for_selector(".pop[data-state=answered]")
    await page.keyboard.press("f")
    await page.keyboard.press("1")
    for tab in (page, other):
        await tab.wait_for_selector("#empty:not([hidden])")
    await page.keyboard.press("r")
    await eventually(other, "document.querySelector('#presence').dataset.presence === 'away'")


async def test_several_contacts_and_moving_between_them(world: World, page: Page) -> None:
    await world.add_people()
    await world.ready_agent(page)
    call = await world.offer(ALICE_PHONE)
    await page.wait_for_selector(".pop.identified")
    await world.tell(call.contact.contact_id, "answered")
    await page.wait_for_selector(".pop[data-state=answered]")
    await world.offer(NEW_PHONE, channel="chat")
    await page.wait_for_selector("#roster li:nth-child(2)")
    assert await page.inner_text(".pop:not([hidden]) h1") != "Somebody new"  # who is spoken with stays in front
    await page.keyboard.press("j")
    assert await page.inner_text(".pop:not([hidden]) h1") == "Somebody new"
    assert await page.evaluate("document.activeElement.textContent") == "Somebody new"
    await page.keyboard.press("a")
    await page.wait_for_selector(".pop:not([hidden])[data-state=answered]")
    await page.keyboard.press("f")
    await page.keyboard.press("4")
    await page.wait_for_selector("#roster li:nth-child(2)", state="detached")
    assert "Alice Rivera" in await page.inner_text(".pop:not([hidden]) h1")


async def test_the_keys_are_listed_and_can_be_switched_off(world: World, page: Page) -> None:
    await world.ready_agent(page)
    await page.keyboard.press("?")
    await page.wait_for_selector("dialog[open]")
    await page.keyboard.press("r")  # not while the list is open
    await page.uncheck("#single-keys")
    await page.keyboard.press("Escape")
    await page.wait_for_selector("dialog:not([open])", state="attached")
    await page.keyboard.press("r")
    await page.keyboard.press("?")
    await page.wait_for_selector("dialog[open]")
    assert await page.get_attribute("#presence", "data-presence") == "ready"


async def test_a_contact_decided_by_another_process_pops(world: World, page: Page, desk_settings: Settings) -> None:
    await world.add_people()
    agent_id = await world.ready_agent(page)
    async with running(desk_settings) as other:
        elsewhere = World(other, await other.services.database.tenant(world.tenant.tenant_id), "")
        decision = await elsewhere.offer(ALICE_PHONE)
        assert decision.agent_id == agent_id
        await page.wait_for_selector(".pop.identified[data-state=offered]")
        await elsewhere.tell(decision.contact.contact_id, "answered")
        await page.wait_for_selector(".pop[data-state=answered]")
        await elsewhere.tell(decision.contact.contact_id, "finished")
        await page.wait_for_selector("#empty:not([hidden])")


async def test_a_restarted_server_is_found_again_and_nothing_is_missed(desk_settings: Settings, page: Page) -> None:
    async with serving(desk_settings) as (server, url, _):
        world = await new_world(server, url)
        await world.add_people()
        agent_id = await world.ready_agent(page)
        first = await world.offer(NEW_PHONE, channel="chat")
        await page.wait_for_selector(".pop.unknown")
    await page.wait_for_selector("#lost:not([hidden])")
    async with running(desk_settings) as other:  # nobody's desk is there, the calls go on
        elsewhere = World(other, await other.services.database.tenant(world.tenant.tenant_id), "")
        await elsewhere.tell(first.contact.contact_id, "finished")
        assert (await elsewhere.offer(ALICE_PHONE)).agent_id == agent_id
    async with serving(desk_settings, port=int(url.rpartition(":")[2])):
        await page.wait_for_selector(".pop.identified")
        await page.wait_for_selector("#lost", state="hidden")
        assert await page.locator(".pop").count() == 1


async def test_a_browser_that_dies_while_it_rings(world: World, page: Page, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody answers the chat there: it goes to the next one, and no further one comes to a desk where nobody is."""
    monkeypatch.setattr(limits, "OFFER_EXPIRES_S", 4)
    async with chromium() as doomed:
        first = await (await new_context(doomed)).new_page()
        maya = await world.ready_agent(first, chat=2)
        offered = await world.offer(NEW_PHONE, channel="chat")
        assert offered.agent_id == maya
        await first.wait_for_selector(".pop[data-state=offered]")
        session = await doomed.new_browser_cdp_session()
        processes = (await session.send("SystemInfo.getProcessInfo"))["processInfo"]
        tom = await world.ready_agent(page, "Tom Berg", chat=2)
        os.kill(next(one["id"] for one in processes if one["type"] == "browser"), signal.SIGKILL)
    await page.wait_for_selector(".pop[data-state=offered]")
    assert [line.agent_id for line in await world.server.services.contacts.of_agent(world.tenant, tom)] == [tom]
    assert await world.server.services.contacts.of_agent(world.tenant, maya) == []
    states = {state.profile.agent_id: state.presence for state in await world.server.services.contacts.agents(world.tenant)}
    assert states == {maya: "away", tom: "ready"}
    assert (await world.offer(FAMILY_PHONE, channel="chat")).agent_id == tom


async def test_a_session_that_is_over_leads_to_the_sign_in_and_back(world: World, page: Page) -> None:
    agent_id, login = await world.add_agent()
    await world.sign_in(page, login)
    staff = next(one for one in await world.access.staff(world.tenant) if one.agent_id == agent_id)
    await world.access.set_password(world.tenant, staff.staff_id, "another long password")
    await page.keyboard.press("r")
    await page.wait_for_url("**/signin?next=*")
    await page.evaluate(f"document.querySelector('[name=tenant]').value = '{world.tenant.name}'")
    await page.fill("#login", login)
    await page.fill("#password", "another long password")
    await page.press("#password", "Enter")
    await page.wait_for_url("**/desk")


async def test_signing_out_ends_the_session_and_takes_no_contacts(world: World, page: Page) -> None:
    agent_id = await world.ready_agent(page)
    await page.click("text=Sign out")
    await page.wait_for_url("**/signin")
    agent = await world.server.services.contacts.agent(world.tenant, agent_id)
    assert agent is not None
    assert agent.presence == "offline"
    await page.goto(f"{world.url}/desk")
    assert "/signin?next=/desk" in page.url


async def test_the_supervisor_sees_it_live(world: World, page: Page, browser: Browser) -> None:
    await world.add_people()
    boss = f"boss-{secrets.token_hex(4)}"
    await world.add_staff(boss, "supervisor")
    await world.sign_in(page, boss)
    assert page.url.endswith("/supervisor")
    assert "No agents yet" in await text_of(page, "#board")
    agent_id, _ = await world.add_agent("Jonas Berg", voice=1)
    await world.server.services.contacts.set_presence(world.tenant, agent_id, "ready")
    await eventually(page, "document.querySelector('#board').innerText.includes('1 of 1 ready')")
    call = await world.offer(ALICE_PHONE)
    await eventually(page, "document.querySelector('#board').innerText.includes('about to ring')")
    await world.offer(FAMILY_PHONE)
    await eventually(page, "document.querySelector('#board').innerText.includes('waiting')")
    assert "Rivera" not in await text_of(page, "#board")  # lists hold no personal data
    await world.server.services.contacts.event(world.tenant, call.contact.contact_id, "finished", outcome="resolved")
    await eventually(page, "document.querySelector('#board').innerText.includes('resolved')")


@pytest.mark.parametrize("width", ["desktop", "phone"])
async def test_a_new_pop_comes_into_view_without_taking_the_focus(world: World, browser: Browser, width: str) -> None:
    await world.add_people()
    context = await new_context(browser, width=width)
    page = await context.new_page()
    await world.ready_agent(page)
    await page.focus("#presence button")
    await world.offer(ALICE_PHONE)
    await page.wait_for_selector(".pop.identified")
    assert await page.evaluate("document.activeElement.closest('#presence') !== null")
    box = await page.locator(".pop h1").bounding_box()
    assert box is not None
    assert box["y"] < 844
    wide = await page.evaluate("document.documentElement.scrollWidth <= window.innerWidth")
    assert wide  # nothing makes the page scroll sideways
    await context.close()


async def test_many_streams_and_a_burst_leave_everybody_with_the_same(world: World, page: Page) -> None:
    await world.add_people()
    await world.ready_agent(page, chat=8)
    made = await asyncio.gather(*(world.offer(f"+44 7700 9001{number:02d}", channel="chat") for number in range(8)))
    assert all(decision.outcome == "route" for decision in made)
    await page.wait_for_selector("#roster li:nth-child(8)")
    await asyncio.gather(*(world.tell(decision.contact.contact_id, "answered") for decision in made))
    await eventually(page, "document.querySelectorAll('.pop[data-state=answered]').length === 8")
    await asyncio.gather(*(world.tell(decision.contact.contact_id, "finished") for decision in made))
    await page.wait_for_selector("#empty:not([hidden])")
