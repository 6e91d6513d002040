"""A server and a browser for the whole run; a world of its own for each test."""

from __future__ import annotations

import secrets
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest_asyncio
from playwright.async_api import Browser, Page
from tests.acceptance.desk_rig import World, chromium, new_context, serving, settings_of

from firstring.bootstrap import Server
from firstring.ports import SystemClock
from firstring.settings import Settings
from firstring.store.opening import initialise


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def desk_settings(make_home: Callable[[], Path]) -> Settings:
    settings = settings_of(make_home(), secrets.token_bytes(32))
    await initialise(settings, SystemClock())
    return settings


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def desk_server(desk_settings: Settings) -> AsyncIterator[tuple[Server, str]]:
    async with serving(desk_settings) as (server, url, _):
        yield server, url


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def browser() -> AsyncIterator[Browser]:
    async with chromium() as found:
        yield found


@pytest_asyncio.fixture(loop_scope="session")
async def world(desk_server: tuple[Server, str]) -> World:
    """A tenant of its own, without people."""
    return await new_world(*desk_server)


async def new_world(server: Server, url: str) -> World:
    tenant = await server.services.database.add_tenant(f"t-{secrets.token_hex(6)}", server.services.clock.now())
    assert tenant is not None
    return World(server, tenant, url)


@pytest_asyncio.fixture(loop_scope="session")
async def page(browser: Browser) -> AsyncIterator[Page]:
    """A laptop's browser window. A script error or a refused resource fails the test."""
    context = await new_context(browser)
    opened = await context.new_page()
    problems: list[str] = []
    opened.on("pageerror", lambda error: problems.append(str(error)))
    opened.on("console", lambda said: problems.append(said.text) if "Content Security" in said.text else None)
    yield opened
    await context.close()
    assert not problems
