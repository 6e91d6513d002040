"""`firstring bench journey`: events into a server of their own, in batches and one by one, durable when answered."""

from __future__ import annotations

import asyncio
import itertools
import os
import random
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any, Final, NamedTuple

import msgspec
from rich.console import Console

from firstring.bench import programs
from firstring.bench.http import Client, expect
from firstring.bench.journey_patterns import declarations
from firstring.bench.measures import Measure, pair, table

BATCH_EVENTS: Final = 500
"""Events of one batch: what an SDK of a server sends when it is busy."""
BATCHES_AT_ONCE: Final = 8
SINGLES_AT_ONCE: Final = 64
VISIT_EVENTS: Final = 10
SIGNED_IN_FROM: Final = 4
"""In each visit the first so many events name nobody."""
VISITS_AT_ONCE: Final = 500
GOAL_BATCHED_PER_S: Final = 10_000.0
GOAL_SINGLE_PER_S: Final = 1_500.0
GOAL_STATE_BYTES: Final = 1_024.0
PATTERNS: Final = 30
_PATHS: Final = ("/", "/lamps", "/lamps/17", "/pricing", "/help/refunds", "/checkout")
_NAMES: Final = (
    "Page Viewed",
    "Product Viewed",
    "Product Added",
    "Products Searched",
    "Checkout Started",
    "Order Completed",
)


class _Sent(NamedTuple):
    """What a run of requests came to."""

    events: int
    seconds: float
    latency_ms: list[float]
    processor_s: dict[str, float]
    others_cores: float


async def run_bench(*, events: int, singles: int, users: int, seed: int, as_json: bool) -> None:
    """Runs it and prints the figures. events: in batches; singles: one a request; users: who they are of."""
    err = Console(stderr=True)
    measures: list[Measure] = []
    settings = {"FIRSTRING_EVENTS_PER_KEY_S": "1000000", "FIRSTRING_LOG_LEVEL": "warning"}
    async with programs.rig() as rig:
        await _switch_on(rig, PATTERNS)
        token = (await rig.run("token", "--role", "events", "--source", "shop", "--name", "bench")).split()[0]
        async with programs.serving(rig, settings) as (server, port):
            client = Client(port, token)
            made = _Made(users, seed)
            err.print("events of new users", style="dim")
            first = made.batches(users, each_once=True)
            told = await _send(rig, server.pid, client, "/v1/batch", first, BATCHES_AT_ONCE)
            measures += _measures("new users, in batches", told, None)
            err.print("events in batches", style="dim")
            told = await _send(rig, server.pid, client, "/v1/batch", made.batches(events), BATCHES_AT_ONCE)
            measures += _measures("events in batches", told, GOAL_BATCHED_PER_S)
            err.print("events of visitors, in batches", style="dim")
            told = await _send(rig, server.pid, client, "/v1/batch", made.visits(events), BATCHES_AT_ONCE)
            measures += _measures("events of visitors, stitched, in batches", told, GOAL_BATCHED_PER_S)
            err.print("events one by one", style="dim")
            told = await _send(rig, server.pid, client, "/v1/track", made.singles(singles), SINGLES_AT_ONCE)
            measures += _measures("events one by one", told, GOAL_SINGLE_PER_S)
            client.close()
            measures += await _states(rig, port)
    if as_json:
        print(msgspec.json.encode([one.as_json() for one in measures]).decode())  # noqa: T201 - it is the output
    else:
        Console().print(table("Ingest", measures))


async def _switch_on(rig: programs.Rig, count: int) -> None:
    """Has so many patterns follow the events: the library, and variants of it."""
    file = rig.home / "bench-patterns.yaml"
    file.write_text("\n---\n".join(declarations(count)), "utf-8")
    await rig.run("patterns", "load", str(file), "--on")


async def _states(rig: programs.Rig, port: int) -> list[Measure]:
    """What is kept of everybody who did anything."""
    token = (await rig.run("token", "--role", "read", "--name", "bench-read")).split()[0]
    client = Client(port, token)
    answer = expect(await client.get("/v1/patterns"), "/v1/patterns").json()
    client.close()
    on = sum(one["is_on"] for one in answer["patterns"])
    fired = sum(one["firings"] for one in answer["patterns"])
    note = f"mean {answer['state_bytes_mean']:.0f}; {answer['states']:,} persons, {on} patterns, {fired:,} firings"
    return [Measure("state of an active person, p99", "bytes", answer["state_bytes_p99"], GOAL_STATE_BYTES, "lower", note)]


class _Made:
    """Events of a shop, encoded beforehand: making them is not what is measured."""

    def __init__(self, users: int, seed: int) -> None:
        self._users = users
        self._random = random.Random(seed)  # noqa: S311 - a benchmark wants the same events again
        self._numbers = itertools.count()

    def event(self, user: int) -> dict[str, Any]:
        number = next(self._numbers)
        path = self._random.choice(_PATHS)
        page = {"url": f"https://shop.example{path}", "path": path}
        return {
            "type": "track",
            "event": self._random.choice(_NAMES),
            "messageId": f"m-{number:x}-{self._random.getrandbits(64):x}",
            "userId": f"u{user}",
            "timestamp": datetime.now(UTC).isoformat(),
            "properties": {"product_id": str(number % 997), "price": 19.9, "currency": "EUR", **page},
            "context": {"library": {"name": "bench", "version": "1"}, "page": page, "locale": "en-GB"},
        }

    def batches(self, events: int, *, each_once: bool = False) -> list[bytes]:
        made = []
        for start in range(0, events, BATCH_EVENTS):
            numbers = range(start, min(events, start + BATCH_EVENTS))
            users = [number if each_once else self._random.randrange(self._users) for number in numbers]
            made.append(msgspec.json.encode({"batch": [self.event(user) for user in users]}))
        return made

    def visits(self, events: int) -> list[bytes]:
        """Visits of VISIT_EVENTS events of one browser each, whose users sign in on the way: many at once, mixed."""
        open_visits: list[tuple[int, int]] = []
        made: list[dict[str, Any]] = []
        visits = itertools.count()
        while len(made) < events:
            while len(open_visits) < VISITS_AT_ONCE:
                open_visits.append((next(visits), 0))
            at = self._random.randrange(len(open_visits))
            visit, done = open_visits[at]
            user = visit * 7919 % self._users
            event = self.event(user)
            event["anonymousId"] = f"browser-{user}"
            if done < SIGNED_IN_FROM:
                del event["userId"]
            made.append(event)
            if done + 1 == VISIT_EVENTS:
                open_visits.pop(at)
            else:
                open_visits[at] = (visit, done + 1)
        encode = msgspec.json.encode
        return [encode({"batch": made[start : start + BATCH_EVENTS]}) for start in range(0, len(made), BATCH_EVENTS)]

    def singles(self, events: int) -> list[bytes]:
        return [msgspec.json.encode(self.event(self._random.randrange(self._users))) for _ in range(events)]


async def _send(rig: programs.Rig, pid: int, client: Client, path: str, bodies: Sequence[bytes], at_once: int) -> _Sent:
    """Sends the bodies, `at_once` at a time, each the next as soon as it has its answer; every event must be stored."""
    await client.warm(at_once)
    waiting = iter(bodies)
    latency_ms: list[float] = []
    stored = 0

    async def sender() -> None:
        nonlocal stored
        for body in waiting:
            began = time.perf_counter()
            answer = expect(await client.post(path, msgspec.Raw(body)), path)
            latency_ms.append((time.perf_counter() - began) * 1_000)
            stored += answer.json()["stored"]

    def used() -> dict[str, float]:
        return {
            "server": programs.processor_s([pid]),
            "PostgreSQL": programs.processor_s(rig.postgresql()),
            "load": programs.processor_s([os.getpid()]),
        }

    before, idle_s, began_s = used(), programs.machine_idle_s(), time.perf_counter()
    await asyncio.gather(*(sender() for _ in range(at_once)))
    took_s = time.perf_counter() - began_s
    after = used()
    spent = {name: after[name] - before[name] for name in before}
    busy = (programs.machine_idle_s() - idle_s + sum(spent.values())) / took_s
    return _Sent(stored, took_s, latency_ms, spent, max(0.0, (os.cpu_count() or 1) - busy))


def _measures(name: str, told: _Sent, goal_per_s: float | None) -> list[Measure]:
    parts = [f"{who} {1e6 * spent / max(1, told.events):,.0f} us" for who, spent in told.processor_s.items()]
    note = f"{told.events:,} events; processor time each: {', '.join(parts)}; others used {told.others_cores:.1f} cores"
    rate = Measure(name, "events/s", told.events / told.seconds, goal_per_s, "higher", note)
    return [rate, *pair("  answered within", told.latency_ms, None, None)]
