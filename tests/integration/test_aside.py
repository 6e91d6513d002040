"""What a server has done in a process beside it: its answer, its errors, its end."""

from __future__ import annotations

import asyncio
import os
from functools import partial
from pathlib import Path

import pytest
from tests import aside_work

from firstring.errors import BadInput, Retryable
from firstring.limits import NICENESS
from firstring.settings import Settings
from firstring.store.aside import aside
from firstring.store.database import Database, Tenant
from firstring.store.server import embedded


@pytest.fixture
def settings(server: embedded.EmbeddedServer, database: Database, master_key: bytes) -> Settings:
    return Settings(home=server.home, master_key=master_key.hex())


async def test_work_is_done_in_another_process_at_the_lowest_priority(settings: Settings, tenant: Tenant) -> None:
    process, niceness, name, total = await aside(settings, tenant.name, partial(aside_work.told, add=2))
    assert process != os.getpid()
    assert (niceness, name, total) == (NICENESS, tenant.name, 3)


async def test_its_error_arrives_whole(settings: Settings, tenant: Tenant) -> None:
    with pytest.raises(BadInput) as caught:
        await aside(settings, tenant.name, aside_work.refused)
    error = caught.value
    assert (error.code, error.where, error.hint, error.status) == ("no_model", {"tenant": tenant.name}, "Make one.", 409)


async def test_a_process_that_dies_is_told_of(settings: Settings, tenant: Tenant) -> None:
    with pytest.raises(Retryable) as caught:
        await aside(settings, tenant.name, aside_work.died)
    assert caught.value.code == "aside_ended"


async def test_who_gives_up_ends_it(settings: Settings, tenant: Tenant, tmp_path: Path) -> None:
    path = tmp_path / "process"
    running = asyncio.create_task(aside(settings, tenant.name, partial(aside_work.waited, path=path)))
    async with asyncio.timeout(60):
        while not path.exists() or not path.read_text():
            await asyncio.sleep(0.05)
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    with pytest.raises(ProcessLookupError):
        os.kill(int(path.read_text()), 0)
