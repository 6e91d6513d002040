"""A real server with a small, true world, and real browsers, for the tests of the desk."""

from __future__ import annotations

import asyncio
import secrets
import tempfile
import uuid
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
from playwright.async_api import Browser, BrowserContext, Page, async_playwright
from tests.needs import need

from firstring.bootstrap import Server, running
from firstring.contact import AgentProfile, Contact, Decision
from firstring.identity.caller.evidence import gather
from firstring.identity.canonical.record import canonical_record
from firstring.journey.events import parse_event
from firstring.serving import HttpServer, bind, http_server
from firstring.settings import Settings
from firstring.store.access import Access, Staff
from firstring.store.database import Tenant
from firstring.store.identity.records import apply_records
from firstring.store.journey.events import ingest

PASSWORD = "correct horse battery"
CHROMIUM_FLAGS = (
    "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking", "--disable-component-update",
    "--disable-sync", "--disable-dev-shm-usage",
)  # fmt: skip
WIDTHS = {"desktop": (1280, 800), "tablet": (820, 1100), "phone": (390, 844)}

# Numbers that Ofcom keeps free for drama: they ring nowhere.
ALICE_PHONE = "+44 7700 900123"
FAMILY_PHONE = "+44 20 7946 0018"
NEW_PHONE = "+44 7700 900999"

PEOPLE: tuple[dict[str, Any], ...] = (
    {
        "record_id": "c-1", "full_name": "Alice Rivera", "phone": ALICE_PHONE, "email": "alice.rivera@example.org",
        "birth_date": "1984-03-11", "postcode": "M1 1AE", "city": "Manchester", "street": "Whitworth Street",
        "house_number": "12", "account": "48213377", "language": "es", "tier": "vip", "last_seen": "2026-11-10T09:00:00Z",
    },
    {
        "record_id": "c-2", "full_name": "Bram de Vries", "phone": FAMILY_PHONE, "email": "bram@example.org",
        "birth_date": "1979-07-02", "postcode": "SW1A 1AA", "city": "London", "street": "Mill Lane", "house_number": "4",
        "language": "nl", "last_seen": "2026-10-20T10:00:00Z",
    },
    {
        "record_id": "c-3", "full_name": "Noor de Vries", "phone": FAMILY_PHONE, "email": "noor@example.org",
        "birth_date": "1981-12-24", "postcode": "SW1A 1AA", "city": "London", "street": "Mill Lane", "house_number": "4",
        "language": "nl", "last_seen": "2026-10-28T10:00:00Z",
    },
)  # fmt: skip


def events(now: datetime) -> list[dict[str, Any]]:
    """What Alice has been through: an order, a refund that is open, visits; Noor has bought something."""

    def event(user: str, name: str, hours: float, channel: str = "web", **properties: Any) -> dict[str, Any]:
        return {
            "type": "track", "event": name, "userId": user, "messageId": secrets.token_hex(8), "channel": channel,
            "timestamp": (now - timedelta(hours=hours)).isoformat(), "properties": properties,
        }  # fmt: skip

    return [
        event("c-1", "Order Completed", 24 * 9, total=59.9, currency="EUR", order_id="1042"),
        event("c-1", "Order Delivered", 24 * 6, order_id="1042"),
        event("c-1", "Refund Requested", 24 * 4, order_id="1042", total=59.9, currency="EUR"),
        event("c-1", "Email Sent", 24 * 2, channel="email", subject="Your refund is being looked at"),
        event("c-1", "Page Viewed", 2, path="/help/refunds"),
        event("c-1", "Product Viewed", 1, product="Standing lamp"),
        event("c-3", "Order Completed", 24 * 3, total=120.0, currency="EUR", order_id="2001"),
        event("c-3", "Order Shipped", 24 * 2, order_id="2001"),
    ]


class World:
    """A tenant with customers, agents and staff on a running server, and the address of its desk."""

    def __init__(self, server: Server, tenant: Tenant, url: str) -> None:
        self.server, self.tenant, self.url = server, tenant, url
        self.access = Access(server.services.database, server.services.clock)

    async def add_people(self, people: Sequence[dict[str, Any]] = PEOPLE, raw: Sequence[dict[str, Any]] = ()) -> None:
        services = self.server.services
        now = services.clock.now()
        records = [canonical_record(person, country="GB") for person in people]
        await apply_records(services.database, self.tenant, "shop", records, now=now)
        parsed = [parse_event(one, received_at=now, correct_skew=False) for one in raw]
        result = await ingest(services.database, self.tenant, "shop", parsed, now=now)
        assert not result.rejected, result.rejected

    async def add_agent(self, name: str = "Maya Okafor", **capacity: int) -> tuple[int, str]:
        """(agent's id, login)."""
        places = capacity or {"voice": 1, "chat": 2}
        profile = AgentProfile(
            0, 0, name, f"sip:{secrets.token_hex(4)}@agents.test", languages={"en": 5, "es": 4, "nl": 5},
            tiers=("vip",), channels=tuple(places), capacity=places,
        )  # fmt: skip
        agent_id, _ = await self.server.services.contacts.put_agent(self.tenant, profile)
        login = f"{name.split()[0].lower()}-{secrets.token_hex(3)}"
        await self.add_staff(login, "agent", agent_id)
        return agent_id, login

    async def add_staff(self, login: str, role: Any, agent_id: int | None = None) -> Staff:
        return await self.access.create_staff(self.tenant, login, PASSWORD, role, agent_id=agent_id)

    async def offer(self, phone: str = "", channel: Any = "voice", **fields: Any) -> Decision:
        """A contact is offered, as the HTTP surface does it."""
        services = self.server.services
        contact = Contact(
            services.ids.new(), channel, services.clock.now(), secrets.token_hex(8), called=fields.pop("called", "")
        )
        evidence = gather({**({"phone": phone} if phone else {}), **fields}, country="GB")
        decision = await services.decider.offered(self.tenant, contact, evidence)
        if decision.outcome == "route":
            await services.routed(self.tenant, decision)
        return decision

    async def ready_agent(self, page: Page, name: str = "Maya Okafor", **capacity: int) -> int:
        """An agent whose desk is open in `page`, ready."""
        agent_id, login = await self.add_agent(name, **capacity)
        await self.sign_in(page, login)
        await page.keyboard.press("r")
        await page.wait_for_selector("#presence[data-presence=ready]")
        return agent_id

    async def tell(self, contact_id: uuid.UUID, what: Any) -> None:
        await self.server.services.contacts.event(self.tenant, contact_id, what)

    def client(self) -> httpx.AsyncClient:
        return httpx.AsyncClient(base_url=self.url, headers={"Accept": "text/html"})

    async def signed_in_client(self, login: str) -> httpx.AsyncClient:
        """An HTTP client with a session, and the session's CSRF token in its headers."""
        client = self.client()
        page = await client.get("/signin")
        form = {"csrf": value_of(page.text, "csrf"), "tenant": self.tenant.name, "login": login, "password": PASSWORD}
        answer = await client.post("/signin", data=form)
        assert answer.status_code == 303, answer.text
        session = await self.access.session(client.cookies["firstring"])
        client.headers["X-CSRF-Token"] = session.csrf
        return client

    async def sign_in(self, page: Page, login: str, following: str = "") -> None:
        await page.goto(f"{self.url}/signin?tenant={self.tenant.name}&next={following}")
        await page.fill("#login", login)
        await page.fill("#password", PASSWORD)
        await page.press("#password", "Enter")
        await page.wait_for_url(lambda url: "/signin" not in url)


def value_of(html: str, name: str) -> str:
    """The value of a hidden field."""
    return html.partition(f'name="{name}" value="')[2].partition('"')[0]


@asynccontextmanager
async def serving(settings: Settings, port: int = 0) -> AsyncIterator[tuple[Server, str, HttpServer]]:
    """A server in this process on a free port (or a given one), stopped as `firstring serve` stops it."""
    listening = bind("127.0.0.1", port)
    try:
        async with running(settings) as server:
            http = http_server(server)
            task = asyncio.create_task(http.serve(sockets=[listening]))
            while not http.started and not task.done():
                await asyncio.sleep(0.01)
            try:
                yield server, f"http://127.0.0.1:{listening.getsockname()[1]}", http
            finally:
                server.services.stopping = True
                server.pops.close()
                http.should_exit = True
                await task
    finally:
        listening.close()


@asynccontextmanager
async def chromium() -> AsyncIterator[Browser]:
    path = need("chromium", package="chromium")
    with tempfile.TemporaryDirectory(prefix="firstring-browser-") as directory:
        async with async_playwright() as playwright:
            browser = await playwright.chromium.launch(
                executable_path=path, args=list(CHROMIUM_FLAGS), env={"HOME": directory, "TMPDIR": directory}
            )
            yield browser
            await browser.close()


async def new_context(browser: Browser, *, dark: bool = False, width: str = "desktop") -> BrowserContext:
    wide, high = WIDTHS[width]
    context = await browser.new_context(
        viewport={"width": wide, "height": high}, color_scheme="dark" if dark else "light", reduced_motion="reduce"
    )
    context.set_default_timeout(30_000)
    return context


def settings_of(home: Path, master_key: bytes, **more: Any) -> Settings:
    return Settings(home=home, master_key=master_key.hex(), country="GB", database_connections=4, listen_port=0, **more)


def now() -> datetime:
    return datetime.now(UTC)
