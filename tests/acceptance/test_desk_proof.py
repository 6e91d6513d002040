"""The supervisor's pages about proof, and the pop of a caller who is not made known: in a browser, by keyboard alone."""

from __future__ import annotations

import random
import secrets
import uuid
from contextlib import aclosing
from datetime import datetime, timedelta

import pytest
from playwright.async_api import Browser, Page
from tests.acceptance.desk_rig import World, new_context
from tests.acceptance.test_desk_axe import check

from firstring.routing.trial.arms import arm_of
from firstring.routing.trial.plan import Basis, draft_from_toml
from firstring.store.identity.records import SourceRecord, apply_records
from firstring.store.routing.models import refresh as refresh_fit
from firstring.store.routing.models import train_now
from firstring.store.routing.trials import plan, start, stop, trial_in_force
from firstring.store.routing.trials import refresh as refresh_trials

KNOWN = "name = 'known'\nmetric = 'handle_s'\ndetect = 0.05\nshare = {share}\n[treatment]\nrecognise = false\n"
DANA = "+44 7700 900456"


async def running(world: World, text: str, at: datetime) -> None:
    services = world.server.services
    async with services.database.transaction(world.tenant.tenant_id) as connection:
        draft = draft_from_toml(text)
        await plan(connection, world.tenant, draft, now=at, by="ann", basis=Basis(0, 120.0, 1_600.0, 900.0))
        await start(connection, world.tenant, draft.name, now=at, origin="test")
    await refresh_trials(services.database, world.tenant)


async def log(world: World, agents: list[int], persons: list[int | None], count: int, until: datetime) -> None:
    """Contacts that are over, one each 30 s until a moment. The first agent is good; whoever is asked who they are takes
    30 s longer; every second person is helped less."""
    services, chance = world.server.services, random.Random(8)
    found = trial_in_force(world.tenant)
    rows = []
    for place in range(count):
        at = until - timedelta(seconds=30 * (count - place))
        identity, agent = uuid.uuid4(), agents[place // 4 % len(agents)]
        person = persons[place % len(persons)]
        treated = found is not None and arm_of(found.trial, identity, at).treated
        likely = (0.85 if agent == agents[0] else 0.6) - (0.25 if place % len(persons) % 2 else 0.0)
        rows.append((
            world.tenant.tenant_id, identity, agent, person, not treated, at, at + timedelta(seconds=90),
            chance.lognormvariate(4.6, 0.35) + 30.0 * treated, chance.random() < likely, chance.random() < 0.2, treated,
        ))  # fmt: skip
    async with services.database.transaction(world.tenant.tenant_id) as connection:
        await connection.executemany(
            """insert into routing_outcome (tenant_id, contact_id, assignment_id, agent_id, person_id, recognised,
                 offered_at, answered_at, ended_at, handle_s, success, repeated, withheld, withholdable, last, known,
                 channel, intent, last_agent, met, waited_s, policy, propensity)
               values ($1, $2, $2, $3, $4, $5, $6, $6, $7, $8, $9, $10, $11, true, true, 1, 'voice', 'refund', false, false,
                 5, 'test', 1)""",
            rows,
        )


async def seeded(world: World) -> tuple[list[int], str]:
    """Two agents, customers with genders, a model (its version) and contacts after it, a trial that is over."""
    services = world.server.services
    now = services.clock.now()
    agents = [(await world.add_agent(name))[0] for name in ("Maya Okafor", "Zoe Kim")]
    records = [
        SourceRecord(
            f"p-{n}", {"full_name": f"Robin {n}", "gender": ("female", "male")[n % 2], "phone": [f"+44770090010{n}"]}
        )
        for n in range(4)
    ]
    await apply_records(services.database, world.tenant, "crm", records, now=now)
    async with services.database.transaction(world.tenant.tenant_id) as connection:
        found = await connection.fetch(
            "select person_id from record where tenant_id = $1 order by record_id", world.tenant.tenant_id
        )
    persons = [row["person_id"] for row in found]
    await log(world, agents, persons, 400, now - timedelta(hours=9))
    policy = services.decider.models_of(world.tenant).routing
    model = await train_now(
        services.database, world.tenant, policy=policy, now=now - timedelta(hours=9), by="night", origin="t", at_most=10**5
    )
    await refresh_fit(services.database, world.tenant)
    await running(world, KNOWN.format(share=0.5), now - timedelta(hours=8))
    await log(world, agents, persons, 800, now)
    async with services.database.transaction(world.tenant.tenant_id) as connection:
        await stop(connection, world.tenant, "known", now=now, because="complete: 800 contacts", origin="t", ended=True)
    await refresh_trials(services.database, world.tenant)
    return agents, model.version


async def supervisor(world: World, browser: Browser, **options: bool | str) -> Page:
    page = await (await new_context(browser, **options)).new_page()
    login = f"head-{secrets.token_hex(4)}"
    await world.add_staff(login, "supervisor")
    await world.sign_in(page, login)
    await page.wait_for_selector("#agents-title")
    return page


async def follow(page: Page, text: str) -> None:
    """A link, by keyboard alone."""
    await page.focus(f"main nav a:text-is('{text}')")
    await page.keyboard.press("Enter")


@pytest.mark.parametrize(("width", "dark"), [("desktop", False), ("phone", True)], ids=["wide-light", "phone-dark"])
async def test_fairness_trials_and_models(world: World, browser: Browser, width: str, dark: bool) -> None:
    _, version = await seeded(world)
    page = await supervisor(world, browser, width=width, dark=dark)
    await follow(page, "Fairness")
    await page.wait_for_selector("h1:has-text('Who fares how')")
    said = await page.inner_text("main")
    assert "Gender male: " in said, "the second of two persons is helped less, beyond chance"
    assert "Maya Okafor: " in said
    assert "Protected: it never enters the matching" in said
    heads = await page.locator("section[aria-labelledby=agents] tbody th").all_inner_texts()
    assert [head.split(" differs")[0] for head in heads] == ["Maya Okafor", "Zoe Kim"], "agents have names"
    await check(page, "fairness")

    await follow(page, "Trials")
    await page.wait_for_selector("text=Does it help?")
    await check(page, "trials")
    await page.focus("th a:text-is('known')")
    await page.keyboard.press("Enter")
    await page.wait_for_selector("#result")
    told = await page.inner_text("section[aria-labelledby=result]")
    assert "Handle time: +" in told, "being asked takes longer"
    assert "recognise = false" in await page.inner_text("main")
    await check(page, "a trial that is over")

    await follow(page, "Models")
    await page.focus(f"a:text-is('{version}')")  # by night a server trains another
    await page.keyboard.press("Enter")
    await page.wait_for_selector("svg.chart")
    assert await page.locator("svg.chart circle").count() >= 4
    await page.focus("details summary >> nth=0")
    await page.keyboard.press("Enter")
    await check(page, "models")


async def test_a_trial_that_runs_shows_no_uplift(world: World, browser: Browser) -> None:
    services = world.server.services
    agents = [(await world.add_agent())[0]]
    now = services.clock.now()
    await running(world, KNOWN.format(share=0.5) + "[guards]\nhandle_s = 60.0\nwait_s = 15.0\n", now - timedelta(hours=3))
    await log(world, agents, [None], 300, now)
    page = await supervisor(world, browser)
    await page.goto(f"{world.url}/supervisor/trials/known")
    told = await page.inner_text("main")
    assert "What the trial shows is told once it is over" in told
    assert await page.locator("#result").count() == 0
    guards = {
        (await row.inner_text()).split("\t")[0]: await row.inner_text()
        for row in await page.locator("#guards ~ div tbody tr").all()
    }
    assert "not shown while it runs" in guards["handle time"]
    assert "not shown" not in guards["wait"]


async def test_agents_do_not_see_them_and_what_is_not_there_is_told(world: World) -> None:
    _, agent = await world.add_agent()
    head = f"head-{secrets.token_hex(4)}"
    await world.add_staff(head, "supervisor")
    async with aclosing(await world.signed_in_client(agent)) as client:
        for path in ("audit", "trials", "trials/known", "models", "models/fit-none"):
            assert (await client.get(f"/supervisor/{path}")).status_code == 403, path
    async with aclosing(await world.signed_in_client(head)) as client:
        for path, status in (
            ("audit", 200), ("audit?days=7", 200), ("audit?days=0", 400), ("trials", 200), ("trials/none", 404),
            ("models", 200), ("models/fit-none", 404), ("models/%3Cb%3E", 404),
        ):  # fmt: skip
            answer = await client.get(f"/supervisor/{path}")
            assert answer.status_code == status, path
            assert "<b>" not in answer.text
    async with world.client() as client:
        assert (await client.get("/supervisor/audit")).status_code in (303, 401)


async def test_a_caller_who_is_not_made_known(world: World, browser: Browser) -> None:
    """By chance nobody is named to the agent, who asks; then one key shows who it is."""
    await world.add_people(({"record_id": "c-9", "full_name": "Dana Whitfield", "phone": DANA, "birth_date": "1990-02-03"},))
    await running(world, KNOWN.format(share=0.99), world.server.services.clock.now())
    page = await (await new_context(browser)).new_page()
    await world.ready_agent(page, voice=5)
    while (call := await world.offer(DANA)).derived.recognition != "withheld":
        await world.tell(call.contact.contact_id, "cancelled")
    await page.wait_for_selector("h1:has-text('Ask who it is')")
    assert "Dana" not in await page.content()
    assert "Whitfield" not in await page.content()
    await check(page, "a caller who is not made known")
    await world.tell(call.contact.contact_id, "answered")
    await page.wait_for_selector(".pop[data-state=answered]")
    await page.keyboard.press("1")
    await page.wait_for_selector("h1:has-text('Dana Whitfield')")
