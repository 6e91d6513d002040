"""A process dies between the commit of events and the hook that acts on what came true: it is acted on all the same."""

from __future__ import annotations

import asyncio
import signal
import sys
from collections.abc import Callable, Sequence
from datetime import timedelta
from pathlib import Path

from tests.following_rig import SetClock
from tests.server_rig import Home

from firstring.ports import SystemClock
from firstring.store.database import Database, Tenant
from firstring.store.journey.firings import Firing, Firings, claim_firings

_PROGRAM = """
import asyncio, os, signal, sys
from datetime import timedelta
from pathlib import Path
from firstring.store.opening import database_only
from firstring.journey.events import parse_event
from firstring.ports import SystemClock
from firstring.settings import Settings
from firstring.store.journey.declared import load
from firstring.store.journey.events import ingest
from firstring.store.journey.firings import Firings

async def main(home):
    async with database_only(Settings(home=Path(home), listen_port=0)) as database:
        tenant = await database.tenant_named("main")
        clock = SystemClock()
        patterns = ["{id: thing, match: Thing}", "{id: quiet, within: 1h, match: {seq: [Thing, {absent: Other, for: 1h}]}}"]
        await load(database, tenant, [("", one) for one in patterns], by="ann", now=clock.now(), switch_on=True)
        firings = Firings(database, clock)
        async def dies(tenant, told):
            print("told", len(told), flush=True)
            os.kill(os.getpid(), signal.SIGKILL)
        firings.hooks.append(dies)
        event = parse_event({"event": "Thing", "userId": "ann"}, received_at=clock.now())
        await ingest(database, tenant, "shop", [event], now=clock.now(), told=firings.tell)
        await asyncio.sleep(3600)

asyncio.run(main(sys.argv[1]))
"""


async def test_what_a_dead_process_saw_is_acted_on_once_more(make_home: Callable[[], Path]) -> None:
    home = Home(make_home())
    arguments = (sys.executable, "-c", _PROGRAM, str(home.path))
    process = await asyncio.create_subprocess_exec(*arguments, stdout=asyncio.subprocess.PIPE, env=home.environment)
    output, _ = await asyncio.wait_for(process.communicate(), 120)
    assert output.split() == [b"told", b"1"]
    assert process.returncode == -signal.SIGKILL

    async def after(database: Database, tenant: Tenant) -> list[tuple[str, int]]:
        """Two other processes, each of which finds it."""
        clock = SetClock(SystemClock().now() + timedelta(seconds=20))
        decided: list[tuple[str, int]] = []

        async def act(of: Tenant, told: Sequence[Firing]) -> None:
            async with database.transaction(of.tenant_id) as connection:
                mine = await claim_firings(connection, of, [one.firing_id for one in told], clock.now())
            decided.extend((one.pattern, one.firing_id) for one in told if one.firing_id in mine)

        both = [Firings(database, clock), Firings(database, clock)]
        for one in both:
            one.hooks.append(act)
        for _ in range(3):
            await asyncio.gather(*(one.catch_up(tenant) for one in both))
            clock.passes(minutes=2)
        return decided

    decided = await asyncio.to_thread(home.within, after)
    assert [pattern for pattern, _ in decided] == ["thing"]
