"""Who may see and do what at the desk, and what every answer carries."""

from __future__ import annotations

import asyncio
import re
import secrets
import uuid
from collections.abc import AsyncIterator

import httpx
import pytest
import pytest_asyncio
from litestar import Litestar
from tests.acceptance.desk_rig import ALICE_PHONE, PASSWORD, World, settings_of, value_of

from firstring.bootstrap import Server, application
from firstring.desk.pages import make_room
from firstring.desk.rendering import Rendering

INLINE = re.compile(r"<style|\sstyle=|\son[a-z]+=|<script(?![^>]*\ssrc=)|=\s*[\"']?javascript:", re.IGNORECASE)
BUDGET_BYTES = 100_000


@pytest_asyncio.fixture(loop_scope="session")
async def clients(world: World) -> AsyncIterator[dict[str, httpx.AsyncClient]]:
    """A signed-in client for each role."""
    await world.add_people()
    _, login = await world.add_agent()
    found = {"agent": await world.signed_in_client(login)}
    for role in ("supervisor", "administrator"):
        login = f"{role}-{secrets.token_hex(4)}"
        await world.add_staff(login, role)
        found[role] = await world.signed_in_client(login)
    yield found
    for client in found.values():
        await client.aclose()


@pytest.mark.parametrize(
    ("path", "agent", "supervisor", "administrator"),
    [
        ("/desk", 200, 403, 403),  # this administrator is no agent
        ("/supervisor", 403, 200, 200),
        ("/administrator", 403, 403, 200),
        ("/", 303, 303, 303),
    ],
)
async def test_roles(
    clients: dict[str, httpx.AsyncClient], path: str, agent: int, supervisor: int, administrator: int
) -> None:
    expected = {"agent": agent, "supervisor": supervisor, "administrator": administrator}
    for role, client in clients.items():
        answer = await client.get(path)
        assert (role, answer.status_code) == (role, expected[role])
        if answer.status_code == 403:
            assert answer.headers["content-type"].startswith("text/html")
            assert "<h1>This" in answer.text
    homes = {role: (await client.get("/")).headers["location"] for role, client in clients.items()}
    assert homes == {"agent": "/desk", "supervisor": "/supervisor", "administrator": "/administrator"}


async def test_nobody_gets_in_without_signing_in(world: World) -> None:
    async with world.client() as client:
        for path in ("/", "/desk", "/supervisor", "/administrator", f"/pop/{uuid.uuid4()}", "/desk/stream"):
            answer = await client.get(path)
            assert answer.status_code == 303, path
            assert answer.headers["location"] == f"/signin?next={path}"
            client.headers["Accept"] = "application/json"
            told = await client.get(path)
            assert (told.status_code, told.json()["error"]["code"]) == (401, "not_signed_in")
            client.headers["Accept"] = "text/html"


def posts(app: Litestar) -> list[str]:
    """Every address of the desk that takes a POST, except the sign-in itself."""
    return sorted(
        path.replace("{contact_id:str}", str(uuid.uuid4()))
        .replace("{agent_id:int}", "1")
        .replace("{delivery_id:uuid}", str(uuid.uuid4()))
        for route in app.routes
        for handler in getattr(route, "route_handlers", [])
        if "room" in handler.opt and "POST" in handler.http_methods
        for path in handler.paths
        if route.path == path.replace("{", "{") and path != "/signin"
    )


async def test_no_form_works_without_its_token(
    clients: dict[str, httpx.AsyncClient], desk_server: tuple[Server, str]
) -> None:
    app = application(desk_server[0])
    assert isinstance(app, Litestar)
    paths = posts(app)
    assert len(paths) == 12, paths
    client = clients["agent"]
    token = client.headers.pop("X-CSRF-Token")
    clients["supervisor"].headers.pop("X-CSRF-Token")
    for path in paths:
        client = clients["supervisor" if path.startswith("/supervisor") else "agent"]
        for sent in ({}, {"csrf": ""}, {"csrf": "x" * 43}, {"csrf": token[:-1]}, {"csrf": "é"}):
            answer = await client.post(path, data=sent, headers={"Accept": "application/json"})
            assert (answer.status_code, path) == (403, path) or (sent == {} and answer.status_code == 415)
            assert answer.json()["error"]["code"] in ("csrf_failed", "form_expected")
    answer = await clients["agent"].post("/desk/presence", data={"csrf": token, "presence": "ready"})
    assert answer.status_code == 204  # in a field, as a form without script sends it


async def test_a_token_of_another_session_is_refused(clients: dict[str, httpx.AsyncClient]) -> None:
    client = clients["agent"]
    client.headers["X-CSRF-Token"] = clients["supervisor"].headers["X-CSRF-Token"]
    answer = await client.post("/desk/presence", data={"presence": "ready"})
    assert answer.status_code == 403


async def test_every_page_forbids_what_it_does_not_use(clients: dict[str, httpx.AsyncClient], world: World) -> None:
    await world.server.services.contacts.set_presence(
        world.tenant, (await world.server.services.contacts.agents(world.tenant))[0].profile.agent_id, "ready"
    )
    decision = await world.offer(ALICE_PHONE)
    seen = []
    for role, path in (
        ("agent", "/desk"), ("agent", f"/pop/{decision.contact.contact_id}"), ("supervisor", "/supervisor"),
        ("administrator", "/administrator"), ("agent", "/supervisor"), ("agent", "/signin"), ("agent", "/nowhere"),
        ("supervisor", f"/pop/{decision.contact.contact_id}"),
    ):  # fmt: skip
        answer = await clients[role].get(path)
        seen.append(answer.status_code)
        policy = answer.headers["content-security-policy"]
        assert "default-src 'self'" in policy
        assert "frame-ancestors 'none'" in policy
        assert "unsafe" not in policy
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert answer.headers["referrer-policy"] == "no-referrer"
        assert answer.headers["cache-control"] == "no-store"
        assert not INLINE.search(answer.text), path
    assert seen == [200, 200, 200, 200, 403, 200, 404, 200]


async def test_static_files_are_few_and_kept(world: World) -> None:
    static = Rendering().static
    assert sum(len(file.zipped) for file in static.values()) < BUDGET_BYTES
    async with world.client() as client:
        for name in static:
            answer = await client.get(f"/static/{name}")
            assert answer.status_code == 200
            assert "immutable" in answer.headers["cache-control"]
            assert answer.headers["content-encoding"] == "gzip"
            assert answer.content == static[name].body
        for name in ("..%2f..%2fpages.py", "nothing.js", "%00"):
            assert (await client.get(f"/static/{name}")).status_code == 404


async def test_the_session_cookie(world: World) -> None:
    _, login = await world.add_agent()
    client = await world.signed_in_client(login)
    assert (await world.access.session(client.cookies["firstring"])).staff.login == login
    await client.aclose()
    async with world.client() as fresh:
        page = await fresh.get("/signin")
        form = {"csrf": value_of(page.text, "csrf"), "tenant": world.tenant.name, "login": login, "password": PASSWORD}
        answer = await fresh.post("/signin", data=form)
        cookie = next(line for line in answer.headers.get_list("set-cookie") if line.startswith("firstring="))
        assert "HttpOnly" in cookie
        assert "SameSite=lax" in cookie
        assert "Secure" not in cookie
        for target, expected in (
            ("//evil.example", "/desk"), ("https://evil.example", "/desk"), ("/\\evil.example", "/desk"),
            ("/desk//evil", "/desk"), ("/pop/1", "/pop/1"), ("", "/desk"),
        ):  # fmt: skip
            page = await fresh.get("/signin")
            answer = await fresh.post("/signin", data={**form, "csrf": value_of(page.text, "csrf"), "next": target})
            assert answer.headers["location"] == expected


async def test_over_https_the_cookie_is_bound_to_the_host(desk_server: tuple[Server, str]) -> None:
    server, _ = desk_server
    secure = settings_of(server.services.settings.home, b"\0" * 32, public_url="https://desk.example")
    room = make_room(server.services, server.pops)
    assert not room.is_secure
    room.is_secure = secure.public_url.startswith("https:")
    cookie = room.cookie("firstring", "x", max_age_s=60).to_header(header="")
    assert cookie.startswith("__Host-firstring=x")
    assert "Secure" in cookie


async def test_a_sign_in_needs_the_form_it_came_with(world: World) -> None:
    _, login = await world.add_agent()
    form = {"csrf": "x" * 43, "tenant": world.tenant.name, "login": login, "password": PASSWORD}
    async with world.client() as client:
        assert (await client.post("/signin", data=form)).status_code == 403  # no cookie
        await client.get("/signin")
        answer = await client.post("/signin", data=form)
        assert answer.status_code == 403
        assert "firstring" not in client.cookies


async def test_guessing_passwords_is_slowed_down(world: World) -> None:
    _, login = await world.add_agent()
    async with world.client() as client:
        page = await client.get("/signin")
        form = {"csrf": value_of(page.text, "csrf"), "tenant": world.tenant.name, "login": login}
        for _ in range(5):
            answer = await client.post("/signin", data={**form, "password": "wrong"})
            assert answer.status_code == 401
            assert "Login or password is wrong" in answer.text
        answer = await client.post("/signin", data={**form, "password": PASSWORD})
        assert answer.status_code == 429
        assert "retry-after" in answer.headers
        nobody = await client.post("/signin", data={**form, "tenant": "no-such-tenant", "password": "wrong"})
        assert nobody.status_code == 401


async def test_many_guesses_at_once_are_not_more_than_many_in_turn(world: World) -> None:
    _, login = await world.add_agent()
    async with world.client() as client:
        page = await client.get("/signin")
        form = {"csrf": value_of(page.text, "csrf"), "tenant": world.tenant.name, "login": login}
        answers = await asyncio.gather(
            *(client.post("/signin", data={**form, "password": f"guess {number}"}) for number in range(20))
        )
    assert sorted(answer.status_code for answer in answers) == [401] * 5 + [429] * 15


async def test_whoever_is_no_agent_sees_no_contact_that_nobody_has(world: World) -> None:
    await world.add_people()
    decision = await world.offer(ALICE_PHONE)
    assert decision.agent_id is None
    login = f"newcomer-{secrets.token_hex(4)}"
    await world.add_staff(login, "agent")
    client = await world.signed_in_client(login)
    answer = await client.get(f"/pop/{decision.contact.contact_id}")
    await client.aclose()
    assert answer.status_code == 403
    assert "Rivera" not in answer.text


async def test_an_agent_touches_only_their_own_contacts(clients: dict[str, httpx.AsyncClient], world: World) -> None:
    other_id, _ = await world.add_agent("Jonas Berg", voice=1, chat=1)
    await world.server.services.contacts.set_presence(world.tenant, other_id, "ready")
    decision = await world.offer(ALICE_PHONE, channel="chat")
    assert decision.agent_id == other_id
    client = clients["agent"]
    client.headers["Accept"] = "application/json"
    at = f"/desk/contacts/{decision.contact.contact_id}"
    for path, form in (("accept", {}), ("finish", {"outcome": "resolved"}), ("confirm", {"person": "new"})):
        answer = await client.post(f"{at}/{path}", data=form)
        assert (answer.status_code, answer.json()["error"]["code"]) == (409, "not_your_contact")
    assert (await client.get(f"/pop/{decision.contact.contact_id}")).status_code == 403
    assert (await client.get(f"/pop/{uuid.uuid4()}")).status_code == 404
    assert (await client.get("/pop/nonsense")).status_code == 404
    assert (await clients["supervisor"].get(f"/pop/{decision.contact.contact_id}")).status_code == 200


async def test_buttons_refuse_what_makes_no_sense(clients: dict[str, httpx.AsyncClient], world: World) -> None:
    client = clients["agent"]
    client.headers["Accept"] = "application/json"
    await client.post("/desk/presence", data={"presence": "ready"})
    decision = await world.offer(ALICE_PHONE)
    at = f"/desk/contacts/{decision.contact.contact_id}"
    for path, form, code in (
        (f"{at}/accept", {}, "answered_by_phone"),
        (f"{at}/finish", {"outcome": "sold"}, "out_of_range"),
        (f"{at}/confirm", {"person": "999999"}, "unknown_person"),
        (f"{at}/confirm", {"person": "1; drop"}, "unknown_person"),
        (f"{at}/confirm", {"person": "٣"}, "unknown_person"),
        (f"{at}/confirm", {"persons": "1"}, "unknown_person"),
        (f"{at}/confirm", {}, "form_expected"),
        ("/desk/presence", {"presence": "offline"}, "out_of_range"),
        (f"/desk/contacts/{uuid.uuid4()}/finish", {"outcome": "resolved"}, "unknown_contact"),
    ):
        answer = await client.post(path, data=form)
        assert answer.json()["error"]["code"] == code
    answer = await client.post(f"{at}/finish", json={"outcome": "resolved"})
    assert answer.status_code == 415
    answer = await client.post(f"{at}/finish", data={"outcome": "x" * 30_000})
    assert answer.status_code == 413
    assert (await client.post(f"{at}/finish", data={"outcome": "resolved"})).status_code == 204
    answer = await client.post(f"{at}/finish", data={"outcome": "resolved"})
    assert answer.json()["error"]["code"] == "not_your_contact"


async def test_browsers_get_pages_and_machines_json(world: World) -> None:
    async with world.client() as client:
        page = await client.get("/nowhere")
        assert page.status_code == 404
        assert page.headers["content-type"].startswith("text/html")
        told = await client.get("/v1/nowhere")
        assert told.json()["error"]["code"] == "not_found"
