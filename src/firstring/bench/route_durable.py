"""How many decisions a second are made, committed and told: one server beside its PostgreSQL, over real HTTP.

A home of its own with customers out of the generator and agents who are ready. So many callers at a time ring, are routed
and hang up, one after the other without a pause; each answer that came back counts. At the end the server is killed, not
asked to stop, and the database is asked how many decisions it has: what was told and is not there is a miss.
"""

from __future__ import annotations

import asyncio
import os
import tempfile
import time
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Final, NamedTuple

from firstring.bench import people, programs
from firstring.bench.callers import callers
from firstring.bench.http import Client, expect
from firstring.bench.measures import Measure, pair
from firstring.store.database import connect
from firstring.store.queries import sql
from firstring.store.server import embedded

RECORDS: Final = 20_000
AGENTS: Final = 200
AT_ONCE: Final = (8, 16)
"""Callers at the same time; the goal is for the last of them."""
SECONDS: Final = 8.0
GOAL_PER_S: Final = 200.0
_WARM_S: Final = 2.0
_PLAIN_S: Final = 2.0
_SEED: Final = 1


class Window(NamedTuple):
    """What a stretch of time saw. latency_ms: of every decision that was told."""

    at_once: int
    seconds: float
    routed: int
    told: int
    latency_ms: list[float]
    refused: int
    server_s: float
    postgresql_s: float
    others: float
    """Cores that other programs of the machine used meanwhile, this one's own callers left out."""


async def durable(
    *, records: int = RECORDS, agents: int = AGENTS, at_once: tuple[int, ...] = AT_ONCE, seconds: float = SECONDS
) -> list[Measure]:
    """The figures, the goal with the last of `at_once`. Raises Unrecoverable where a program does not start."""
    with tempfile.TemporaryDirectory(prefix="firstring-bench-") as name:
        written = await asyncio.to_thread(people.write, Path(name), _SEED, records)
        async with programs.rig() as rig:
            for path in written.files:
                await rig.run("import", str(path), "--source", path.stem)
            token = (await rig.run("token", "--role", "administrator", "--name", "bench")).strip()
            numbers = (call.number for call in callers(_SEED, written.households, 10_000_000) if call.number)
            before = await _decisions(rig)
            async with programs.serving(rig, {}) as (server, port):
                client = Client(port, token)
                try:
                    await client.warm(max(at_once))
                    await _staff(client, agents)
                    await programs.settled([server.pid, *rig.postgresql()])
                    warm = await _window(rig, client, server.pid, numbers, at_once[0], min(_WARM_S, seconds))
                    windows = [await _window(rig, client, server.pid, numbers, many, seconds) for many in at_once]
                finally:
                    client.close()
                server.kill()
                await server.wait()
            found = await _decisions(rig) - before
            plain = await _plain(rig, max(at_once), min(_PLAIN_S, seconds))
    return _measured(windows, told=warm.told + sum(one.told for one in windows), found=found, plain=plain, records=records)


async def _staff(client: Client, agents: int) -> None:
    for number in range(agents):
        profile = {
            "name": f"Agent {number + 1}",
            "address": f"sip:agent{number + 1}@127.0.0.1:5060",
            "languages": dict.fromkeys(("en", "de", "fr", "es", "nl", "pl"), 5),
            "skills": {"service": 1 + number % 5},
        }
        agent = expect(await client.post("/v1/agents/", profile), "agent").json()["agent_id"]
        expect(await client.post(f"/v1/agents/{agent}/presence", {"presence": "ready"}), "presence")


async def _window(
    rig: programs.Rig, client: Client, server: int, numbers: Iterator[str], at_once: int, seconds: float
) -> Window:
    latency_ms: list[float] = []
    routed = refused = 0
    loop = asyncio.get_running_loop()
    began = loop.time()

    async def caller(of: int) -> None:
        nonlocal routed, refused
        place = 0
        while loop.time() < began + seconds:
            call_id, place = f"durable-{os.getpid()}-{at_once}-{of}-{place}-{seconds:g}", place + 1
            (number,) = islice(numbers, 1)
            ring = {"call_id": call_id, "from": number, "to": "+18005550100", "deadline_ms": 800}
            asked = time.perf_counter()
            made = await client.post("/v1/decide", ring)
            if made.status not in (200, 201):
                refused += 1
                continue
            latency_ms.append(1_000.0 * (time.perf_counter() - asked))
            routed += bool(made.json().get("routes"))
            gone = await client.post("/v1/calls/events", {"type": "call.ended", "call_id": call_id})
            refused += gone.status not in (200, 202)

    used = programs.processor_s([server]), programs.processor_s(rig.postgresql())
    own, idle = programs.processor_s([os.getpid()]), programs.machine_idle_s()
    async with asyncio.TaskGroup() as group:
        for of in range(at_once):
            group.create_task(caller(of))
    took_s = loop.time() - began
    server_s = programs.processor_s([server]) - used[0]
    postgresql_s = programs.processor_s(rig.postgresql()) - used[1]
    ours_s = server_s + postgresql_s + programs.processor_s([os.getpid()]) - own
    others = max((os.cpu_count() or 1) - (programs.machine_idle_s() - idle + ours_s) / took_s, 0.0)
    return Window(at_once, took_s, routed, len(latency_ms), latency_ms, refused, server_s, postgresql_s, others)


async def _decisions(rig: programs.Rig) -> int:
    connection = await connect(rig.server.dsn(embedded.SUPERUSER))
    try:
        return int(await connection.fetchval(sql("bench", "rung")))
    finally:
        await connection.close()


async def _plain(rig: programs.Rig, at_once: int, seconds: float) -> float:
    """Transactions a second that write one small row and are durable, by as many at a time: what the database can do."""
    loop = asyncio.get_running_loop()
    connections = [await connect(rig.server.dsn(embedded.SUPERUSER)) for _ in range(at_once)]
    count = 0
    try:
        await connections[0].execute(sql("bench", "plain_table"))
        began = loop.time()

        async def writes(place: int) -> None:
            nonlocal count
            while loop.time() < began + seconds:
                await connections[place].execute(sql("bench", "plain"), place)
                count += 1

        async with asyncio.TaskGroup() as group:
            for place in range(at_once):
                group.create_task(writes(place))
        return count / (loop.time() - began)
    finally:
        for connection in connections:
            await connection.close()


def _measured(windows: list[Window], *, told: int, found: int, plain: float, records: int) -> list[Measure]:
    measures = []
    for one in windows:
        name = f"durable decisions, {one.at_once} callers at a time"
        per_s, told_one = one.told / one.seconds, max(one.told, 1)
        note = (
            f"{one.told:,} in {one.seconds:.1f} s, {one.routed / told_one:.0%} to an agent; {records:,} records; processor "
            f"time: server {1000 * one.server_s / told_one:.1f} ms, PostgreSQL {1000 * one.postgresql_s / told_one:.1f} ms; "
            f"other programs used {one.others:.1f} of {os.cpu_count()} cores"
        )
        goal = GOAL_PER_S if one is windows[-1] else None
        measures.append(Measure(name, "/s", per_s, goal, "higher", note))
        measures += pair("  over HTTP, told after", one.latency_ms, None, None)
    last = windows[-1].told / windows[-1].seconds
    measures.append(Measure("  plain commits of one row a second beside it", "/s", plain, better="higher"))
    measures.append(Measure("  decisions for each plain commit", "ratio", last / max(plain, 1e-9), better="higher"))
    lost = max(told - found, 0)
    refused = sum(one.refused for one in windows)
    measures.append(Measure("  requests refused", "", float(refused), 0.0, note="database too slow, or else"))
    note = f"{told:,} told, {found:,} in the database after the server was killed"
    measures.append(Measure("  decisions told and not found", "", float(lost), 0.0, note=note))
    return measures
