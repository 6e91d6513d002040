"""Durable timers: set in a transaction, handled at least once, at their time or as soon as somebody runs."""

from __future__ import annotations

import asyncio
import signal
import sys
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from tests.server_rig import Home

from firstring import limits
from firstring.errors import BadInput, Retryable
from firstring.ports import SystemClock
from firstring.store.database import Database, Tenant
from firstring.store.notices import Notice
from firstring.store.timers import TAKEN_AT_ONCE, TURN_S, Timers, cancel_timer, set_timer, timers_of

T0 = datetime(2026, 3, 1, 12, tzinfo=UTC)


class SetClock:
    """A clock that shows what it is told."""

    def __init__(self, now: datetime = T0) -> None:
        self.shown = now

    def now(self) -> datetime:
        return self.shown

    def monotonic_s(self) -> float:
        return self.shown.timestamp()

    def passes(self, seconds: float) -> None:
        self.shown += timedelta(seconds=seconds)


class Seen:
    """A handler that notes what it was given; fails as often as it is told to."""

    def __init__(self, failures: int = 0) -> None:
        self.calls: list[tuple[str, dict[str, Any]]] = []
        self.failures = failures

    async def __call__(self, tenant: Tenant, key: str, payload: dict[str, Any]) -> None:
        self.calls.append((key, payload))
        if len(self.calls) <= self.failures:
            raise Retryable("database_slow", "Not now.")


async def put(
    database: Database, tenant: Tenant, key: str, due_at: datetime, kind: str = "call back", **payload: Any
) -> None:
    async with database.transaction(tenant.tenant_id) as connection:
        await set_timer(connection, tenant, kind, key, due_at, payload)


async def waiting(database: Database, tenant: Tenant, kind: str = "call back") -> list[Any]:
    async with database.transaction(tenant.tenant_id) as connection:
        return await timers_of(connection, tenant, kind)


async def test_a_timer_is_handled_at_its_time_and_once(database: Database, tenant: Tenant) -> None:
    clock, seen = SetClock(), Seen()
    timers = Timers(database, clock)
    timers.handle("call back", seen)
    await put(database, tenant, "7", T0 + timedelta(minutes=5), phone="+15550100")
    assert await timers.round(tenant) == T0 + timedelta(minutes=5)
    assert seen.calls == []
    clock.passes(300)
    assert await timers.round(tenant) is None
    assert await timers.round(tenant) is None
    assert seen.calls == [("7", {"phone": "+15550100"})]
    assert await waiting(database, tenant) == []


async def test_set_anew_cancelled_and_rolled_back(database: Database, tenant: Tenant) -> None:
    clock, seen = SetClock(), Seen()
    timers = Timers(database, clock)
    timers.handle("call back", seen)
    await put(database, tenant, "moved", T0, part=1)
    await put(database, tenant, "moved", T0 + timedelta(hours=1), part=2)
    await put(database, tenant, "cancelled", T0)
    async with database.transaction(tenant.tenant_id) as connection:
        assert await cancel_timer(connection, tenant, "call back", "cancelled")
        assert not await cancel_timer(connection, tenant, "call back", "cancelled")

    async def rolled_back() -> None:
        async with database.transaction(tenant.tenant_id) as connection:
            await set_timer(connection, tenant, "call back", "never", T0, {})
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await rolled_back()
    await timers.round(tenant)
    assert seen.calls == []
    clock.passes(3_600)
    await timers.round(tenant)
    assert seen.calls == [("moved", {"part": 2})]


async def test_one_set_anew_while_it_is_handled_comes_again(database: Database, tenant: Tenant) -> None:
    clock, calls = SetClock(), []
    timers = Timers(database, clock)

    async def again_tomorrow(of: Tenant, key: str, payload: dict[str, Any]) -> None:
        calls.append(payload["day"])
        await put(database, of, key, clock.now() + timedelta(days=1), day=payload["day"] + 1)

    timers.handle("call back", again_tomorrow)
    await put(database, tenant, "daily", T0, day=1)
    for _ in range(3):
        assert await timers.round(tenant) == clock.now() + timedelta(days=1)
        clock.passes(86_400)
    assert calls == [1, 2, 3]


async def test_one_that_fails_is_tried_again_later_and_given_up_in_the_end(database: Database, tenant: Tenant) -> None:
    clock, seen, good = SetClock(), Seen(failures=10_000), Seen()
    timers = Timers(database, clock)
    timers.handle("call back", seen)
    timers.handle("other", good)
    await put(database, tenant, "bad", T0)
    await put(database, tenant, "good", T0, kind="other")
    pauses = []
    for _ in range(limits.TIMER_ATTEMPTS):
        await timers.round(tenant)
        due = await timers.round(tenant)
        if due is not None:
            pauses.append((due - clock.now()).total_seconds())
            clock.shown = due
    assert len(good.calls) == 1
    assert pauses[:4] == [1.0, 2.0, 4.0, 8.0]
    assert max(pauses) == 600.0
    assert len(seen.calls) == limits.TIMER_ATTEMPTS
    assert await timers.round(tenant) is None
    [given_up] = await waiting(database, tenant)
    assert (given_up.key, given_up.next_at, given_up.attempts) == ("bad", None, limits.TIMER_ATTEMPTS)


async def test_what_a_dead_process_had_taken_is_taken_by_another_one(database: Database, tenant: Tenant) -> None:
    clock, seen = SetClock(), Seen()
    dead, alive = Timers(database, clock), Timers(database, clock)
    stuck = asyncio.Event()

    async def never_ends(of: Tenant, key: str, payload: dict[str, Any]) -> None:
        await stuck.wait()

    dead.handle("call back", never_ends)
    alive.handle("call back", seen)
    await put(database, tenant, "7", T0)
    round_of_the_dead = asyncio.create_task(dead.round(tenant))
    while not (await waiting(database, tenant))[0].attempts:
        await asyncio.sleep(0.01)
    await alive.round(tenant)
    assert seen.calls == []
    clock.passes(TURN_S)
    await alive.round(tenant)
    assert [key for key, _ in seen.calls] == ["7"]
    stuck.set()
    await round_of_the_dead  # that it ends at last changes nothing


async def test_two_processes_share_many_and_none_is_handled_twice(database: Database, tenant: Tenant) -> None:
    clock, seen = SetClock(), Seen()
    both = [Timers(database, clock), Timers(database, clock)]
    for one in both:
        one.handle("call back", seen)
    async with database.transaction(tenant.tenant_id) as connection:
        for number in range(3 * TAKEN_AT_ONCE):
            await set_timer(connection, tenant, "call back", str(number), T0, {})
    while await waiting(database, tenant):
        await asyncio.gather(*(one.round(tenant) for one in both))
    assert sorted(int(key) for key, _ in seen.calls) == list(range(3 * TAKEN_AT_ONCE))


async def test_kinds_of_another_version_and_other_tenants_are_left_alone(
    database: Database, tenant: Tenant, make_tenant: Callable[[], Awaitable[Tenant]]
) -> None:
    clock, seen = SetClock(), Seen()
    timers = Timers(database, clock)
    timers.handle("call back", seen)
    other = await make_tenant()
    await put(database, tenant, "1", T0, kind="unknown here")
    await put(database, other, "2", T0)
    assert await timers.round(tenant) is None
    assert seen.calls == []
    assert len(await waiting(database, tenant, "unknown here")) == 1
    await timers.round(other)
    assert [key for key, _ in seen.calls] == ["2"]


@pytest.mark.parametrize(("kind", "key"), [("", "1"), ("call back", ""), ("call back", "k" * 201)])
async def test_a_timer_without_a_name_is_refused(database: Database, tenant: Tenant, kind: str, key: str) -> None:
    with pytest.raises(BadInput, match="A timer has a kind"):
        await put(database, tenant, key, T0, kind=kind)
    with pytest.raises(BadInput, match="no zone"):
        await put(database, tenant, "1", T0.replace(tzinfo=None))


async def test_a_running_process_wakes_at_the_time_and_by_notice(database: Database, tenant: Tenant) -> None:
    """Nobody asks: it sleeps until the first is due, and a notice tells of one that is due before."""
    clock, handled = SystemClock(), asyncio.Queue[str]()

    async def handler(of: Tenant, key: str, payload: dict[str, Any]) -> None:
        handled.put_nowait(key)

    timers = Timers(database, clock)
    timers.handle("soon", handler)
    await put(database, tenant, "soon", clock.now() + timedelta(seconds=1.5), kind="soon")
    await timers.start()
    try:
        assert await asyncio.wait_for(handled.get(), 20) == "soon"
        await put(database, tenant, "now", clock.now(), kind="soon")
        timers.heard(Notice(tenant.tenant_id, "timer"))
        assert await asyncio.wait_for(handled.get(), 20) == "now"
    finally:
        await timers.stop()
    assert await waiting(database, tenant, "soon") == []


_PROGRAM = """
import asyncio, sys
from datetime import timedelta
from pathlib import Path
from firstring.store.opening import database_only
from firstring.ports import SystemClock
from firstring.settings import Settings
from firstring.store.timers import Timers, set_timer

async def main(home, what):
    async with database_only(Settings(home=Path(home), listen_port=0)) as database:
        tenant = await database.tenant_named("main")
        if what == "set":
            async with database.transaction(tenant.tenant_id) as connection:
                due_at = SystemClock().now() + timedelta(seconds=1)
                await set_timer(connection, tenant, "call back", "7", due_at, {"phone": "+15550100"})
        timers = Timers(database, SystemClock())
        async def handle(of, key, payload):
            print(key, payload["phone"], flush=True)
            if what == "set":
                await asyncio.sleep(3600)
        timers.handle("call back", handle)
        if what == "set":
            print("set", flush=True)
            await asyncio.sleep(3600)
        await timers.start()
        await asyncio.sleep(3600)

asyncio.run(main(*sys.argv[1:]))
"""


async def _line(process: asyncio.subprocess.Process) -> str:
    assert process.stdout is not None
    return (await asyncio.wait_for(process.stdout.readline(), 60)).decode().strip()


async def test_a_server_killed_between_set_and_due_is_followed_by_one_that_handles_it(make_home: Callable[[], Path]) -> None:
    home = Home(make_home())

    async def started(what: str) -> asyncio.subprocess.Process:
        arguments = (sys.executable, "-c", _PROGRAM, str(home.path), what)
        return await asyncio.create_subprocess_exec(*arguments, stdout=asyncio.subprocess.PIPE, env=home.environment)

    first = await started("set")
    assert await _line(first) == "set"
    first.send_signal(signal.SIGKILL)
    await first.wait()
    second = await started("run")
    try:
        assert await _line(second) == "7 +15550100"
    finally:
        second.send_signal(signal.SIGKILL)
        await second.wait()
