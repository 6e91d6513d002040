"""The supervisor's board: who waits and who is there; a supervisor steps in, by keyboard alone, and it is written down."""

from __future__ import annotations

import random
import re
import secrets
from datetime import timedelta

import pytest
from playwright.async_api import Browser, Page
from tests.acceptance.desk_rig import ALICE_PHONE, FAMILY_PHONE, World, new_context
from tests.acceptance.test_desk_axe import check
from tests.integration.test_routing_worth import log

from firstring.desk.board import alarms, row_of
from firstring.errors import BadInput
from firstring.routing.declared.policy import RoutingPolicy
from firstring.store.board import Day, InLine, Length, read_day, read_line
from firstring.store.interventions import listed
from firstring.store.routing.models import refresh, train_now


async def supervisor(world: World, browser: Browser, **options: bool | str) -> tuple[Page, str]:
    context = await new_context(browser, **options)
    page = await context.new_page()
    login = f"head-{secrets.token_hex(4)}"
    await world.add_staff(login, "supervisor")
    await world.sign_in(page, login)
    await page.wait_for_selector("#agents-title")
    return page, login


async def test_a_contact_is_sent_to_an_agent_and_the_note_is_read_there(world: World, browser: Browser) -> None:
    await world.add_people()
    waiting = await world.offer(ALICE_PHONE)
    assert waiting.outcome == "wait"
    page, login = await supervisor(world, browser)
    await page.wait_for_selector("text=nobody is ready for it")
    desk = await (await new_context(browser)).new_page()
    agent_id, agents_login = await world.add_agent("Yusuf Adeyemi")
    other_id, _ = await world.add_agent("Zoe Kim")
    await world.sign_in(desk, agents_login)

    # By keyboard alone: the link, the note, then the agent.
    await page.focus(f'a[href="/supervisor/contacts/{waiting.contact.contact_id}"]')
    await page.keyboard.press("Enter")
    await page.wait_for_selector("#note")
    await page.focus("#note")
    await page.keyboard.type("Her refund was promised for today <b>")
    await page.keyboard.press("Enter")
    await page.wait_for_selector(".log >> text=left a note")
    await page.focus("#agent")
    await page.select_option("#agent", str(agent_id))
    await page.focus("#why-move")
    await page.keyboard.type("He knows the case")
    await page.keyboard.press("Enter")
    await page.wait_for_selector(".log >> text=sent it on to Yusuf Adeyemi")

    # Somebody else becomes free first and does not get it; the one it was sent to does, and reads the note.
    contacts = world.server.services.contacts
    await contacts.set_presence(world.tenant, other_id, "ready")
    await contacts.set_presence(world.tenant, agent_id, "ready")
    await desk.wait_for_selector(".whispered")
    note = await desk.inner_text(".whispered")
    assert "Her refund was promised for today <b>" in note
    assert login in note
    state = await world.server.services.ring.contact(world.tenant, waiting.contact.contact_id)
    assert state is not None
    assert state.agent_id == agent_id

    log = await listed(world.server.services.database, world.tenant, contact_id=waiting.contact.contact_id)
    assert [(one.what, one.by, one.agent_id) for one in log] == [("move", login, agent_id), ("note", login, None)]
    assert log[0].because == "He knows the case"
    # Whoever has it keeps it: the page offers no more to send it away, and the board shows who stepped in.
    await page.goto(f"{world.url}/supervisor/contacts/{waiting.contact.contact_id}")
    assert await page.locator("#why-move").count() == 0
    await page.goto(f"{world.url}/supervisor")
    await page.wait_for_selector("#done-title")
    assert "He knows the case" in await page.inner_text("#board")


async def test_priority_moves_a_contact_up_the_line_and_a_break_takes_an_agent_out(world: World, browser: Browser) -> None:
    await world.add_people()
    agent_id, _ = await world.add_agent("Yusuf Adeyemi")
    first, second = await world.offer(FAMILY_PHONE), await world.offer("+44 7700 900777")
    services = world.server.services
    page, login = await supervisor(world, browser)
    await page.goto(f"{world.url}/supervisor/contacts/{second.contact.contact_id}")
    await page.fill("#points", "50")
    await page.fill("#why-priority", "Cut off before")
    await page.press("#why-priority", "Enter")
    await page.wait_for_selector(".log >> text=changed its priority (points +50)")
    read = await read_line(services.database, world.tenant, services.clock.now(), at_most=10)
    assert [one.contact_id for one in sorted(read.line, key=lambda one: one.place)] == [
        second.contact.contact_id,
        first.contact.contact_id,
    ]
    await page.goto(f"{world.url}/supervisor/agents/{agent_id}")
    await page.select_option("#presence", "ready")
    await page.fill("#why", "Back from lunch")
    await page.press("#why", "Enter")
    await page.wait_for_selector("h1 .chip.ready")
    for _ in range(100):
        state = await services.ring.contact(world.tenant, second.contact.contact_id)
        if state is not None and state.agent_id == agent_id:
            break
        await page.wait_for_timeout(100)
    else:
        pytest.fail("nobody got the contact that was put to the front")
    await page.goto(f"{world.url}/supervisor/agents/{agent_id}")
    assert await page.locator("main ul.log li").count() == 1
    await page.select_option("#presence", "away")
    await page.fill("#why", "Needs a rest")
    await page.press("#why", "Enter")
    await page.wait_for_selector("h1 .chip.away")
    done = await listed(services.database, world.tenant)
    assert [(one.what, one.detail, one.by) for one in done[:3]] == [
        ("presence", "away", login), ("presence", "ready", login), ("prioritise", "points=+50", login),
    ]  # fmt: skip


async def test_forms_refuse_what_is_wrong_and_write_down_what_could_not_be_done(world: World) -> None:
    login = f"head-{secrets.token_hex(4)}"
    await world.add_staff(login, "supervisor")
    decision = await world.offer(FAMILY_PHONE)
    path = f"/supervisor/contacts/{decision.contact.contact_id}"
    client = await world.signed_in_client(login)
    client.headers["Accept"] = "application/json"
    for where, form, status, code in (
        ("move", {"agent": "one", "why": "x"}, 400, "out_of_range"),
        ("move", {"agent": "999999", "why": "x"}, 404, "unknown_agent"),
        ("move", {"agent": "9999999999999999999", "why": "x"}, 400, "out_of_range"),
        ("move", {"agent": "-1", "why": "x"}, 404, "unknown_agent"),
        ("priority", {"points": "51", "why": "x"}, 400, "out_of_range"),
        ("priority", {"points": "5", "why": "  "}, 400, "because_missing"),
        ("note", {"note": "x" * 501}, 400, "out_of_range"),
    ):
        answer = await client.post(f"{path}/{where}", data=form)
        assert (answer.status_code, answer.json()["error"]["code"]) == (status, code), where
    await world.tell(decision.contact.contact_id, "cancelled")
    over = await client.post(f"{path}/note", data={"note": "too late"})
    assert (over.status_code, over.json()["error"]["code"]) == (409, "contact_over")
    assert (await client.get("/supervisor/agents/999999")).status_code == 404
    wrong = await client.post("/supervisor/agents/1/presence", data={"presence": "asleep", "why": "x"})
    assert wrong.json()["error"]["code"] == "out_of_range"
    await client.aclose()
    with pytest.raises(BadInput):
        await world.server.services.house.presence(world.tenant, 999999, "away", by=login, because="x")


async def test_the_day_counts_what_happened(world: World) -> None:
    services = world.server.services
    agent_id, _ = await world.add_agent()
    await services.contacts.set_presence(world.tenant, agent_id, "ready")
    served, given_up = await world.offer(ALICE_PHONE), await world.offer(FAMILY_PHONE)
    await world.tell(served.contact.contact_id, "answered")
    await world.tell(given_up.contact.contact_id, "cancelled")
    day = await read_day(services.database, world.tenant, services.clock.now(), 20.0)
    assert (day.offered, day.answered, day.abandoned, day.in_time) == (2, 1, 1, 1)
    read = await read_line(services.database, world.tenant, services.clock.now() + timedelta(seconds=60), at_most=10)
    assert read.occupancy[agent_id] > 0
    assert read.lengths["voice"] == Length(0, None, 1, 0)


def test_alarms_say_what_calls_for_a_supervisor() -> None:
    policy = RoutingPolicy()
    quiet = Day(offered=100, answered=97, abandoned=3, in_time=90)
    there = {"voice": Length(0, None, 3, 2)}
    assert list(alarms((), there, quiet, 0.5, 3, policy)) == []
    found = list(alarms((), {"chat": Length(2, None, 0, 0)}, Day(100, 60, 40, 30), 0.95, 3, policy))
    assert [one.grave for one in found] == [True, True, False, False]
    assert found[0].text == "2 contacts wait on Chat and nobody is ready for it."
    # Shares of a handful of calls are nobody's business.
    assert list(alarms((), there, Day(offered=5, abandoned=5), None, 0, policy)) == []


async def test_who_waits_longer_than_told_is_shown(world: World) -> None:
    decision = await world.offer(FAMILY_PHONE)
    services = world.server.services
    now = services.clock.now()
    (one,) = (await read_line(services.database, world.tenant, now, at_most=10)).line
    assert one.contact_id == decision.contact.contact_id
    told: InLine = one._replace(told_s=(60.0, 30.0, 120.0), told_at=now - timedelta(seconds=121))
    assert row_of(told, now, {}).late
    assert row_of(told, now, {}).told == "30 s to 2 min"
    assert not row_of(told._replace(told_at=now - timedelta(seconds=119)), now, {}).late


@pytest.mark.parametrize(("width", "dark"), [("desktop", False), ("phone", True)])
async def test_the_pages_of_the_board_have_no_violation(world: World, browser: Browser, width: str, dark: bool) -> None:
    await world.add_people()
    agent_id, _ = await world.add_agent()
    decision = await world.offer(ALICE_PHONE, called="+442079460000")
    page, login = await supervisor(world, browser, width=width, dark=dark)
    await world.server.services.house.direct(
        world.tenant, decision.contact.contact_id, by=login, because="so", points=5, note="Be kind"
    )
    await check(page, "the board")
    for path in (f"contacts/{decision.contact.contact_id}", f"agents/{agent_id}"):
        await page.goto(f"{world.url}/supervisor/{path}")
        await check(page, path)


async def test_what_the_matching_is_worth_stands_on_the_board(world: World, browser: Browser) -> None:
    services = world.server.services
    agents = [(await world.add_agent(name))[0] for name in ("Maya Okafor", "Zoe Kim")]
    rng = random.Random(3)
    good = {("refund", agents[0]), ("moving", agents[1])}
    rows = [
        (agent, intent, rng.random() < (0.9 if (intent, agent) in good else 0.3), False, 100.0, None)
        for intent in ("refund", "moving")
        for agent in agents
        for _ in range(150 if (intent, agent) in good else 50)
    ]
    rng.shuffle(rows)
    await log(services.database, world.tenant, rows)
    base = services.models.routing
    now = services.clock.now()
    await train_now(services.database, world.tenant, policy=base, now=now, by="test", origin="test", at_most=10_000)
    await refresh(services.database, world.tenant)
    page, _ = await supervisor(world, browser)
    await page.wait_for_selector("text=Of what was possible")
    figures = await page.inner_text(".figures")
    share = re.search(r"Of what was possible\s+(\d+) %", figures)
    uplift = re.search(r"Uplift, last 24 h\s+\+(\d+\.\d) %", figures)
    assert share is not None
    assert uplift is not None
    assert 25 <= int(share[1]) <= 75  # three quarters of each kind went to whom it suits: half of the way
    assert 10.0 <= float(uplift[1]) <= 40.0
