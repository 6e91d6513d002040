"""The web snippet in a real browser: what it sends, what it shows, to whom, and what it leaves alone."""

from __future__ import annotations

import asyncio
import gzip
import json
import secrets
from collections.abc import AsyncIterator
from datetime import timedelta
from importlib.resources import files
from typing import Any

import httpx
import pytest
from axe_playwright_python.async_playwright import Axe
from playwright.async_api import Browser, BrowserContext, Page
from tests.acceptance.conftest import new_world
from tests.acceptance.desk_rig import WIDTHS, World
from tests.events_rig import Key, Stored, make_key, read_events

from firstring.api.web import script
from firstring.bootstrap import Server
from firstring.journey.events.reading import user_signature
from firstring.nextbest.delivery import Delivery
from firstring.nextbest.library import sources
from firstring.store.delivery import announce, cookie_key, enqueue, listed
from firstring.store.nextbest.policies import load_policy, refresh

WAIT_S = 6.0
SCRIPT = files("firstring.channels.web").joinpath("firstring.js").read_bytes()
CONTENT = {
    "form": "popup", "title": "Your payment did not go through", "text": "We keep your basket. Try another card?",
    "accept": "Try again", "dismiss": "Not now",
}  # fmt: skip


class Site:
    """A web server of one's own, of another origin than ours. (Pages that a test intercepts lose what they send last.)"""

    def __init__(self) -> None:
        self.pages: dict[str, tuple[str, str]] = {}
        self.url = ""

    async def answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        body, policy = self.pages.get(head.split(" ")[1], ("", ""))
        lines = ["HTTP/1.1 200 OK", "Content-Type: text/html; charset=utf-8", "Connection: close", "Cache-Control: no-store"]
        lines += [f"Content-Security-Policy: {policy}"] if policy else []
        writer.write("\r\n".join([*lines, "", body]).encode())
        await writer.drain()
        writer.close()


@pytest.fixture(scope="session")
async def site() -> AsyncIterator[Site]:
    made = Site()
    server = await asyncio.start_server(made.answer, "127.0.0.1", 0)
    made.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    yield made
    server.close()


class Shop:
    """A site with the snippet, its write key, and what is stored of its visitors."""

    def __init__(self, world: World, key: Key, browser: Browser, site: Site) -> None:
        self.world, self.key, self.browser, self.site = world, key, browser, site
        self.problems: list[str] = []
        self.contexts: list[BrowserContext] = []

    async def context(self, **options: Any) -> BrowserContext:
        made = await self.browser.new_context(
            reduced_motion="reduce",
            **({"viewport": {"width": 1280, "height": 800}} | options),
        )
        self.contexts.append(made)
        return made

    async def visit(
        self,
        context: BrowserContext | None = None,
        html: str = "",
        *,
        head: str | None = None,
        policy: str = "",
        path: str = "/",
    ) -> Page:
        page = await (context or await self.context()).new_page()
        page.on("pageerror", lambda error: self.problems.append(str(error)))
        page.on("console", lambda said: self.problems.append(said.text) if said.type == "error" else None)
        tag = head if head is not None else self.tag()

        body = f"<!doctype html><html lang=en><title>Shop</title>{tag}<main><h1>Shop</h1>{html}</main>"
        self.site.pages[path] = (body, policy)
        await page.goto(self.site.url + path)
        return page

    def tag(self, more: str = "") -> str:
        made = script()
        return (
            f'<script async src="{self.world.url}{made.path}" integrity="{made.integrity}" crossorigin'
            f' data-key="{self.key.text}" {more}></script>'
        )

    async def stored(self, count: int) -> list[Stored]:
        deadline = asyncio.get_running_loop().time() + WAIT_S
        services = self.world.server.services
        while True:
            found = await read_events(services.database, self.world.tenant, self.key.source)
            if len(found) >= count:
                return found
            assert asyncio.get_running_loop().time() < deadline, ([one.name for one in found], self.problems)
            await asyncio.sleep(0.05)

    async def actions(self, *names: str) -> list[Stored]:
        """The events that tell what became of actions, once these are there."""
        deadline = asyncio.get_running_loop().time() + WAIT_S
        services = self.world.server.services
        while True:
            found = await read_events(services.database, self.world.tenant, self.key.source)
            found = [one for one in found if one.name.startswith("Action ")]
            if [one.name for one in found] == list(names):
                return found
            assert asyncio.get_running_loop().time() < deadline, ([one.name for one in found], self.problems)
            await asyncio.sleep(0.05)

    async def record_of(self, name: str) -> int:
        """The record that a visitor's or a user's events went to."""
        async with self.world.server.services.database.transaction(self.world.tenant.tenant_id) as connection:
            found = await connection.fetchval(
                "select record_id from record_key where key = $1", cookie_key(self.world.tenant, name)
            )
            if found is None:
                rows = await connection.fetch("select record_id, wrapped_key, sealed from record")
                [found] = [
                    row["record_id"] for row in rows
                    if self.world.tenant.keys.open(row["wrapped_key"], row["sealed"])["record_id"] == name
                ]  # fmt: skip
        assert isinstance(found, int)
        return found

    async def decide(self, record_id: int, content: dict[str, Any] | None = None, **changes: Any) -> Delivery:
        """An action is decided for a record, as the next best action does it."""
        services = self.world.server.services
        now = services.clock.now()
        made = {
            "delivery_id": services.ids.new(), "decision_id": services.ids.new(), "person_id": 1, "record_id": record_id,
            "route": "web", "action": "sign_in_help", "kind": "service", "content": content or CONTENT,
            "not_before": now, "expires_at": now + timedelta(minutes=5),
        }  # fmt: skip
        delivery = Delivery(**{**made, **changes})
        async with services.database.transaction(self.world.tenant.tenant_id) as connection:
            assert await enqueue(connection, self.world.tenant, delivery, now=now)
        announce(services.notices, self.world.tenant, [delivery.delivery_id])
        return delivery

    async def visitor(self, page: Page) -> str:
        """The visitor's id, once the server has made it and the first event is there."""
        await self.stored(1)
        asked = await page.evaluate("performance.getEntriesByType('resource').map((one) => one.name)")
        assert any(one.endswith("/web/visitor") for one in asked)
        found = await read_events(self.world.server.services.database, self.world.tenant, self.key.source)
        return found[-1].fields["cookie"] if "cookie" in found[-1].fields else found[-1].record.removeprefix("cookie:")

    async def states(self) -> list[str]:
        lines = await listed(self.world.server.services.database, self.world.tenant, None, 100)
        return sorted(line.state for line in lines)


async def load_actions(world: World) -> None:
    """The library of actions is in force: what is delivered is asked for again by its gates."""
    services, tenant = world.server.services, world.tenant
    async with services.database.transaction(tenant.tenant_id) as connection:
        now, origin = services.clock.now(), services.notices.origin
        await load_policy(connection, tenant, sources("journey"), by="test", now=now, origin=origin)
    await refresh(services.database, tenant)


@pytest.fixture
async def shop(desk_server: tuple[Server, str], browser: Browser, site: Site) -> AsyncIterator[Shop]:
    world = await new_world(*desk_server)
    key = await make_key(world.server.services.database, world.tenant, "write_key", f"shop-{secrets.token_hex(3)}")
    await load_actions(world)
    made = Shop(world, key, browser, site)
    yield made
    for context in made.contexts:
        await context.close()
    assert made.problems == []


def dialog(page: Page) -> Any:
    return page.get_by_role("dialog")


def test_it_is_small_and_plain() -> None:
    assert len(gzip.compress(SCRIPT, 9)) <= 6_000
    text = SCRIPT.decode()
    for never in ("innerHTML", "eval(", "document.cookie", "new Function", "insertAdjacentHTML", "document.write"):
        assert never not in text


async def test_the_address_is_versioned_and_kept(shop: Shop) -> None:
    made = script()
    async with httpx.AsyncClient(base_url=shop.world.url) as client:
        versioned = await client.get(made.path)
        assert versioned.content == SCRIPT
        assert "immutable" in versioned.headers["cache-control"]
        assert versioned.headers["content-encoding"] == "gzip"
        newest = await client.get("/web/firstring.js")
        assert "max-age=300" in newest.headers["cache-control"]
        again = await client.get("/web/firstring.js", headers={"If-None-Match": newest.headers["etag"]})
        assert (again.status_code, again.content) == (304, b"")
        assert (await client.get("/web/000000000000/firstring.js")).status_code == 404


async def test_events_are_sent_and_nothing_is_stored_before_consent(shop: Shop) -> None:
    context = await shop.context()
    page = await shop.visit(context, path="/lamps?colour=red")
    await page.wait_for_function("window.firstring && window.firstring.loaded")
    await page.evaluate("firstring.track('Product Viewed', {product_id: '7'})")
    found = {one.name: one for one in await shop.stored(2)}
    assert set(found) == {"Page Viewed", "Product Viewed"}
    assert {one.standing for one in found.values()} == {0}
    assert found["Page Viewed"].properties["path"] == "/lamps"
    assert await page.evaluate("[localStorage.length, sessionStorage.length, document.cookie]") == [0, 0, ""]
    assert await context.cookies() == []
    first = found["Page Viewed"].record

    second = await shop.visit(context)
    await second.wait_for_function("window.firstring && window.firstring.loaded")
    third = await shop.stored(3)
    assert third[-1].record != first, "without consent every page is somebody else"
    await second.evaluate("firstring.consent(true)")
    await second.wait_for_function("localStorage.getItem('firstring')")
    await shop.visit(context)
    fourth = await shop.stored(4)
    assert fourth[-1].record == third[-1].record
    await second.evaluate("firstring.consent(false)")
    assert await second.evaluate("localStorage.length") == 0


async def test_what_waits_for_consent_sends_nothing(shop: Shop) -> None:
    page = await shop.visit(head=shop.tag('data-wait="consent"'))
    await page.wait_for_function("window.firstring && window.firstring.loaded")
    await page.evaluate("firstring.track('Product Viewed')")
    await page.wait_for_timeout(300)
    asked = await page.evaluate("performance.getEntriesByType('resource').map((one) => new URL(one.name).pathname)")
    assert [path for path in asked if path != "/favicon.ico"] == [script().path]
    await page.evaluate("firstring.consent(true)")
    assert [one.name for one in await shop.stored(1)] == ["Page Viewed"]


async def test_calls_before_the_script_are_kept_and_sent(shop: Shop) -> None:
    """A consent manager lets the script through late: what the page said meanwhile counts, and at its time."""
    stub = (
        "<script>window.firstring={q:[]};['page','track','identify','reset','consent'].forEach(function(name){"
        "firstring[name]=function(){firstring.q.push([name].concat([].slice.call(arguments)))}});"
        "firstring.track('Product Added',{product_id:'7'})</script>"
    )
    page = await shop.visit(head=stub)
    await page.wait_for_timeout(300)
    await page.evaluate(
        """([src, key]) => { const late = document.createElement('script');
        late.src = src; late.dataset.key = key; document.head.append(late) }""",
        [f"{shop.world.url}/web/firstring.js", shop.key.text],
    )
    assert {one.name for one in await shop.stored(2)} == {"Page Viewed", "Product Added"}


async def test_a_page_that_closes_sends_what_it_has(shop: Shop) -> None:
    page = await shop.visit()
    await page.wait_for_function("window.firstring && window.firstring.loaded")
    await shop.stored(1)
    await page.evaluate("firstring.track('Cart Viewed'); firstring.track('Checkout Started')")
    await page.goto("about:blank")
    assert {one.name for one in await shop.stored(3)} == {"Page Viewed", "Cart Viewed", "Checkout Started"}


async def test_only_fields_that_are_asked_for(shop: Shop) -> None:
    html = """<form id=contact data-firstring="phone secret card"><label>Phone <input name=phone></label>
      <label>Name <input name=name></label><label>Secret <input type=password name=secret></label>
      <label>Card <input name=card autocomplete=cc-number></label><button>Send</button></form>
      <form id=other onsubmit="return false"><label>Street <input name=street></label><button>Go</button></form>"""
    page = await shop.visit(html=html + "<script>contact.onsubmit = () => false</script>")
    await page.wait_for_function("window.firstring && window.firstring.loaded")
    for name, text in (("phone", "+44 7700 900123"), ("name", "Ann"), ("secret", "s3cret"), ("card", "4111111111111111")):
        await page.fill(f"#contact [name={name}]", text)
    await page.fill("#other [name=street]", "Mill Lane")
    await page.click("#other button")
    await page.click("#contact button")
    found = [one for one in await shop.stored(2) if one.name == "Form Submitted"]
    assert [one.properties for one in found] == [{"form": "contact", "phone": "+44 7700 900123"}]


async def test_shown_accepted_dismissed_and_ignored_are_events(shop: Shop) -> None:
    page = await shop.visit()
    visitor = await shop.visitor(page)
    record = await shop.record_of(visitor)
    first = await shop.decide(record)
    await dialog(page).wait_for()
    assert await dialog(page).get_by_role("heading").inner_text() == CONTENT["title"]
    await page.get_by_role("button", name="Try again").click()
    found = await shop.actions("Action Shown", "Action Accepted")
    assert {one.properties["decision_id"] for one in found} == {str(first.decision_id)}
    assert {(one.properties["action"], one.properties["route"], one.standing) for one in found} == {
        ("sign_in_help", "web", 1)
    }
    await shop.decide(record)
    await dialog(page).wait_for()
    await page.get_by_role("button", name="Not now").click()
    await shop.actions("Action Shown", "Action Accepted", "Action Shown", "Action Dismissed")
    await shop.decide(record)
    await dialog(page).wait_for()
    await page.close(run_before_unload=True)
    await shop.actions(
        "Action Shown", "Action Accepted", "Action Shown", "Action Dismissed", "Action Shown", "Action Ignored"
    )
    assert await shop.states() == ["accepted", "dismissed", "ignored"]


async def test_what_was_decided_while_nobody_was_there_is_shown_once_on_one_of_many_pages(shop: Shop) -> None:
    context = await shop.context()
    page = await shop.visit(context)
    visitor = await shop.visitor(page)
    await page.evaluate("firstring.consent(true)")
    record = await shop.record_of(visitor)
    await page.close()
    await shop.decide(record)
    pages = [await shop.visit(context) for _ in range(3)]
    await shop.actions("Action Shown")
    await asyncio.sleep(0.5)
    shown = [await dialog(one).count() for one in pages]
    assert sum(shown) == 1
    assert await shop.states() == ["shown"]


async def test_nobody_else_sees_it(shop: Shop) -> None:
    """With the write key alone, another's id, another's secret, or another's user id nothing is told."""
    page = await shop.visit()
    visitor = await shop.visitor(page)
    record = await shop.record_of(visitor)
    await page.close()
    delivery = await shop.decide(record)
    key = shop.key.text
    async with httpx.AsyncClient(base_url=shop.world.url) as client:
        own = (await client.post("/web/visitor", content=json.dumps({"key": key}))).json()
        for told, status in (
            ({"id": visitor, "secret": ""}, 401),
            ({"id": visitor, "secret": own["secret"]}, 401),
            ({"id": "", "secret": own["secret"]}, 401),
            ({"id": own["id"], "secret": own["secret"], "user": "u1", "userHash": "00"}, 400),
        ):
            for path in ("/web/poll", "/web/stream", "/web/show"):
                body = {"key": key, **told, "delivery": str(delivery.delivery_id)}
                assert (await client.post(path, content=json.dumps(body))).status_code == status
        body = {"key": key, **own, "user": f"cookie:{visitor}"}
        assert (await client.post("/web/poll", content=json.dumps(body))).json()["actions"] == []
        shown = await client.post("/web/show", content=json.dumps({**body, "delivery": str(delivery.delivery_id)}))
        assert shown.json() == {"show": False, "why": "unknown_delivery"}
        answered = {**body, "delivery": str(delivery.delivery_id), "what": "dismissed"}
        assert (await client.post("/web/answer", content=json.dumps(answered))).status_code == 404
        admin = await make_key(shop.world.server.services.database, shop.world.tenant, "administrator", "a")
        assert (await client.post("/web/visitor", content=json.dumps({"key": admin.text}))).status_code == 403
        assert (await client.post("/web/visitor", content="nonsense")).status_code == 400
        assert (await client.post("/web/visitor", content=json.dumps({"key": "fr_1_x"}))).status_code == 401
    assert await shop.states() == ["pending"]


async def test_a_user_is_shown_only_what_the_site_s_server_signed_for(shop: Shop) -> None:
    """Identified by a web page alone anybody may be u1; with the signature of the site's server it is u1."""
    page = await shop.visit()
    await page.wait_for_function("window.firstring && window.firstring.loaded")
    await page.evaluate("firstring.identify('u1', {plan: 'gold'})")
    await shop.stored(2)
    record = await shop.record_of("u1")
    await shop.decide(record)
    await asyncio.sleep(0.5)
    assert await dialog(page).count() == 0
    await page.evaluate("(signature) => firstring.identify('u1', {}, signature)", user_signature(shop.key.secret, "u1"))
    await dialog(page).wait_for()
    await shop.actions("Action Shown")


async def test_after_sign_out_the_next_one_at_this_computer_sees_nothing(shop: Shop) -> None:
    page = await shop.visit()
    await page.wait_for_function("window.firstring && window.firstring.loaded")
    await page.evaluate("firstring.consent(true)")
    await page.evaluate("(signature) => firstring.identify('u1', {}, signature)", user_signature(shop.key.secret, "u1"))
    await shop.stored(2)
    record = await shop.record_of("u1")
    await page.evaluate("firstring.reset()")
    await page.wait_for_timeout(300)
    await shop.decide(record)
    await asyncio.sleep(0.5)
    assert await dialog(page).count() == 0
    assert await shop.states() == ["pending"]


async def test_a_strict_content_security_policy(shop: Shop) -> None:
    policy = f"default-src 'none'; script-src 'nonce-abc'; connect-src {shop.world.url}; style-src 'nonce-abc'"
    page = await shop.visit(head=shop.tag('nonce="abc"'), policy=policy)
    record = await shop.record_of(await shop.visitor(page))
    await shop.decide(record)
    await dialog(page).wait_for()
    assert (
        await page.evaluate(
            "getComputedStyle(document.querySelector('firstring-box').shadowRoot.querySelector('.b')).position"
        )
        == "fixed"
    )


async def test_hostile_texts_are_texts(shop: Shop) -> None:
    bad = '<img src=x onerror="window.hurt=1"><script>window.hurt=1</script>'
    page = await shop.visit()
    record = await shop.record_of(await shop.visitor(page))
    content = {"form": "answer", "title": bad, "text": bad, "accept": bad, "dismiss": bad, "url": "javascript:window.hurt=1",
               "items": [{"title": bad, "text": bad}], "language": '"><b>'}  # fmt: skip
    await shop.decide(record, content)
    await dialog(page).wait_for()
    assert await dialog(page).get_by_role("heading").inner_text() == bad
    await dialog(page).locator(".m").click()
    await shop.actions("Action Shown", "Action Accepted")
    assert await page.evaluate("window.hurt") is None


async def test_keyboard_and_focus(shop: Shop) -> None:
    page = await shop.visit(html="<label>Search <input id=search></label>")
    record = await shop.record_of(await shop.visitor(page))
    await page.focus("#search")
    await shop.decide(record)
    await dialog(page).wait_for()
    assert await page.evaluate("document.activeElement.id") == "search", "nobody who types is interrupted"
    await page.keyboard.press("Escape")
    await page.wait_for_timeout(100)
    assert await dialog(page).count() == 1, "Escape belongs to the field"
    await page.keyboard.press("Tab")
    seen = []
    for _ in range(3):
        seen.append(await page.evaluate("document.activeElement.shadowRoot.activeElement.textContent"))
        await page.keyboard.press("Tab")
    assert seen == ["Try again", "Not now", "×"]
    await page.focus("#search")
    await page.keyboard.press("Tab")
    await page.keyboard.press("Escape")
    await dialog(page).wait_for(state="detached")
    assert await page.evaluate("document.activeElement.id") == "search"
    await page.evaluate("document.activeElement.blur()")
    await shop.decide(record)
    await dialog(page).wait_for()
    assert await page.evaluate("document.activeElement.tagName") == "FIRSTRING-BOX"


@pytest.mark.parametrize("width", ["desktop", "phone"])
@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
async def test_axe_finds_nothing(shop: Shop, width: str, dark: bool, request: pytest.FixtureRequest) -> None:
    wide, high = WIDTHS[width]
    context = await shop.context(viewport={"width": wide, "height": high}, color_scheme="dark" if dark else "light")
    page = await shop.visit(context, html="<p>Lamps and shades.</p>")
    await page.add_style_tag(content=":root{color-scheme:light dark}")
    record = await shop.record_of(await shop.visitor(page))
    forms: list[dict[str, Any]] = [
        CONTENT,
        {**CONTENT, "form": "chat", "title": "May we help?", "accept": "Chat with us"},
        {**CONTENT, "form": "call_me", "title": "Shall we call you?", "accept": "Call me now"},
        {**CONTENT, "form": "callback", "title": "When suits you?", "accept": "Book the call"},
        {**CONTENT, "form": "answer", "title": "Where is my parcel?", "accept": "That helped", "dismiss": "It did not",
         "items": [{"title": "How long does delivery take?", "text": "Two to three days."}]},
    ]  # fmt: skip
    for content in forms:
        await shop.decide(record, content)
        await dialog(page).wait_for()
        found = await Axe().run(page, options={"resultTypes": ["violations"]})
        violations = [
            (one["id"], [node["target"] for node in one["nodes"]]) for one in found.response["violations"]
            if one["id"] not in ("page-has-heading-one",)
        ]  # fmt: skip
        assert violations == [], content["form"]
        assert await page.evaluate("document.documentElement.scrollWidth <= window.innerWidth")
        await page.get_by_role("button", name="Close").click()
        await dialog(page).wait_for(state="detached")
