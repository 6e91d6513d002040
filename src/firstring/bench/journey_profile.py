"""`firstring bench journey --profile`: profiles and timelines out of a store with many events, made set-wise.

Every event's payload is sealed and every person has a record as the import makes them; payloads are drawn from a pool, so
that a store of ten million events is made in minutes. A few persons have most of the events: the busiest has thousands.
"""

from __future__ import annotations

import asyncio
import os
import random
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any, Final

from rich.console import Console

from firstring.bench import programs
from firstring.bench.http import Client, expect
from firstring.bench.journey import shown
from firstring.bench.measures import Measure, pair
from firstring.identity.canonical.record import canonical_record
from firstring.identity.golden.rules import DEFAULT as RULES
from firstring.identity.persons.blocking import identifier_keys
from firstring.journey.issues import classify
from firstring.store.database import Database, Tenant, connect
from firstring.store.identity.records import source_id
from firstring.store.journey.planned import FACETS
from firstring.store.journey.profiles import read_profile, read_timeline
from firstring.store.queries import sql
from firstring.store.seal import read_master_key
from firstring.store.server import embedded

POOL: Final = 2_000
EVENTS_PER_PERSON: Final = 20
CHUNK: Final = 500_000
GOAL_P99_MS: Final = 10.0
_KINDS: Final = (
    ("Page Viewed", "web", 40), ("Product Viewed", "web", 25), ("Product Added", "web", 8), ("Checkout Started", "web", 4),
    ("Order Completed", "backend", 5), ("Order Shipped", "backend", 5), ("Order Delivered", "backend", 5),
    ("Email Sent", "email", 4), ("Call Ended", "voice", 1), ("Order Refunded", "backend", 1),
    ("Refund Requested", "web", 1), ("Consent Given", "web", 0.5), ("Consent Withdrawn", "email", 0.5),
)  # fmt: skip


async def run_bench(*, events: int, look_ups: int, seed: int, as_json: bool) -> Sequence[Measure]:
    """Makes the store, reads profiles and timelines of random persons one after the other, prints the figures."""
    err = Console(stderr=True)
    found: list[Measure] = []
    async with programs.rig() as rig:
        await rig.run("token", "--role", "events", "--source", "shop", "--name", "bench")
        key = read_master_key(rig.home / "master.key", "")
        database = await Database.open(rig.server.dsn(embedded.APP), key)
        try:
            (tenant,) = await database.tenants()
            began_s = time.perf_counter()
            persons, note = await _made(rig, database, tenant, events, seed, err)
            note = f"{note}; made in {time.perf_counter() - began_s:,.0f} s"
            draw = random.Random(seed)  # noqa: S311 - a benchmark wants the same persons again
            asked = [draw.randrange(persons[0], persons[1] + 1) for _ in range(look_ups)]
            found += await _in_process(rig, database, tenant, asked, note)
        finally:
            await database.close()
        found += await _over_http(rig, asked)
    return shown(found, f"profiles, seed {seed}", as_json=as_json)


async def _made(
    rig: programs.Rig, database: Database, tenant: Tenant, events: int, seed: int, err: Console
) -> tuple[tuple[int, int], str]:
    """((first, last) person, what the store holds)."""
    async with database.transaction(tenant.tenant_id) as connection:
        source = await source_id(connection, tenant, "shop", datetime.now(UTC))
    boss = await connect(rig.server.dsn(embedded.SUPERUSER))
    try:
        await boss.execute("set search_path to firstring")
        for part in sql("bench_journey", "pools").split(";"):
            await boss.execute(part)
        await boss.copy_records_to_table("pool_record", records=_records(tenant))
        await boss.copy_records_to_table("pool_event", records=_events(tenant, seed))
        indexes = [row[0] for row in await boss.fetch(sql("bench_journey", "indexes"))]
        await boss.execute(sql("bench_journey", "drop_indexes"))
        persons = max(100, events // EVENTS_PER_PERSON)
        await boss.execute(sql("bench_journey", "persons"), tenant.tenant_id, persons, source, POOL, timeout=3_600)
        await boss.execute(sql("bench_journey", "record_keys"), tenant.tenant_id, timeout=3_600)
        ids = await boss.fetchrow(sql("bench_journey", "record_ids"), tenant.tenant_id)
        assert ids is not None
        for low in range(1, events + 1, CHUNK):
            high = min(events, low + CHUNK - 1)
            arguments = (tenant.tenant_id, low, high, ids["low"], ids["high"], float(events), POOL)
            await boss.execute(sql("bench_journey", "events"), *arguments, timeout=3_600)
            err.print(f"{high:,} events", style="dim")
        for definition in indexes:
            await boss.execute(definition, timeout=3_600)
        err.print("indexes", style="dim")
        await boss.execute("vacuum (analyze) firstring.event", timeout=3_600)
        await boss.execute("vacuum (analyze) firstring.record", timeout=3_600)
        sizes = await boss.fetchrow(sql("bench_journey", "sizes"))
        busiest = await boss.fetch(sql("bench_journey", "busiest"), tenant.tenant_id, ids["low"] + 100, timeout=600)
        assert sizes is not None
    finally:
        await boss.close()
    note = (
        f"{events:,} events, {sizes['event_bytes'] / 1e9:.1f} GB with indexes; {sizes['records']:,} records; the busiest"
        f" person has {busiest[0]['events'] if busiest else 0:,}"
    )
    return (ids["first"], ids["last"]), note


def _records(tenant: Tenant) -> list[tuple[Any, ...]]:
    found = []
    for number in range(POOL):
        record = canonical_record(
            {
                "record_id": f"c{number}", "full_name": f"Ann{number} Lee", "email": f"ann{number}@lee.org",
                "phone": f"+44 7911 1{number:05}", "city": "Leeds", "street": "High Street", "house_number": str(number),
                "postcode": "LS1 1AA", "birth_date": "1980-02-03", "language": "en", "tier": "gold",
                "last_seen": "2026-01-02",
            },
            country="GB",
        )  # fmt: skip
        keys = [tenant.keys.blind(one.kind, one.value) for one in identifier_keys(record.fields)]
        wrapped, sealed = tenant.keys.seal({**record.fields, "record_id": record.record_id})
        found.append((number, wrapped, sealed, keys))
    return found


def _events(tenant: Tenant, seed: int) -> list[tuple[Any, ...]]:
    draw = random.Random(seed)  # noqa: S311
    found = []
    for number in range(POOL):
        name, channel, _ = draw.choices(_KINDS, [weight for *_, weight in _KINDS])[0]
        properties: dict[str, Any] = {
            "order_id": str(number % 40), "total": round(draw.uniform(5, 200), 2), "currency": "EUR",
            "product": f"Lamp {number}", "url": f"https://shop.example/lamps/{number}", "channel": channel,
        }  # fmt: skip
        issue = classify(name, properties)
        payload: dict[str, Any] = {"name": name, "properties": properties, "type": "track", "user": f"u{number}"}
        payload["context"] = {"timezone": "Europe/London", "locale": "en-GB", "library": {"name": "bench", "version": "1"}}
        if issue is not None:
            payload["issue_ref"] = issue.ref
        wrapped, sealed = tenant.keys.seal(payload)
        row = (FACETS.get(name), issue.kind if issue else None, issue.effect if issue else 0, wrapped, sealed)
        found.append((number, channel, *row))
    return found


async def _in_process(
    rig: programs.Rig, database: Database, tenant: Tenant, asked: Sequence[int], note: str
) -> list[Measure]:
    now = datetime.now(UTC)
    took: dict[str, list[float]] = {"profile": [], "timeline": []}
    for person in asked[:50]:  # connections and plans are warm in a server
        await read_profile(database, tenant, person, now=now, rules=RULES)
        await read_timeline(database, tenant, person)
    load = os.getloadavg()[0]
    used_s = programs.processor_s([os.getpid()]), programs.processor_s(rig.postgresql())
    for person in asked:
        began_s = time.perf_counter()
        await read_profile(database, tenant, person, now=now, rules=RULES)
        took["profile"].append((time.perf_counter() - began_s) * 1_000.0)
        began_s = time.perf_counter()
        await read_timeline(database, tenant, person)
        took["timeline"].append((time.perf_counter() - began_s) * 1_000.0)
    own_ms, theirs_ms = (
        1_000.0 * (after - before) / len(asked)
        for after, before in zip(
            (programs.processor_s([os.getpid()]), programs.processor_s(rig.postgresql())), used_s, strict=True
        )
    )
    note = f"{note}; processor time of a profile and a timeline: {own_ms:.2f} ms, PostgreSQL {theirs_ms:.2f} ms"
    found = [Measure("the store", "persons asked", float(len(asked)), None, "higher", note)]
    found += pair("profile, in process", took["profile"], None, GOAL_P99_MS)
    found += pair(f"timeline of 50, in process (load {load:.1f})", took["timeline"], None, GOAL_P99_MS)
    return found


async def _over_http(rig: programs.Rig, asked: Sequence[int]) -> list[Measure]:
    token = (await rig.run("token", "--role", "read", "--name", "bench reads")).split()[0]
    took: dict[str, list[float]] = {"profile": [], "timeline": []}
    async with programs.serving(rig, {"FIRSTRING_LOG_LEVEL": "warning"}) as (server, port):
        client = Client(port, token)
        await client.warm(2)
        await programs.settled([server.pid, *rig.postgresql()])
        for number, person in enumerate(asked):
            for what, each in took.items():
                began_s = time.perf_counter()
                expect(await client.get(f"/v1/persons/{person}/{what}"), what)
                if number >= min(50, len(asked) // 2):
                    each.append((time.perf_counter() - began_s) * 1_000.0)
            await asyncio.sleep(0)
        client.close()
    return [
        *pair("profile, over HTTP", took["profile"], None, GOAL_P99_MS),
        *pair("timeline of 50, over HTTP", took["timeline"], None, GOAL_P99_MS),
    ]
