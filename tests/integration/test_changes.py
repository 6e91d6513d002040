"""The feed of changes: in order, without gaps, whoever writes at the same time; by HTTP and by webhook."""

from __future__ import annotations

import asyncio
import json
import random
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from tests.integration.test_outbound import Hook
from tests.server_rig import Home, ServerProcess, error_of, serving

from firstring.channels.outbound.feeds import FeedSender
from firstring.channels.outbound.guarded import GuardedPoster
from firstring.errors import BadInput
from firstring.identity.canonical.record import canonical_record
from firstring.identity.golden.rules import DEFAULT
from firstring.ports import SystemClock
from firstring.store import changes as store
from firstring.store.changes import Changes, PersonChange
from firstring.store.database import Database, Tenant
from firstring.store.identity.records import apply_records, delete_records

NOW = datetime.now(UTC)


async def put(database: Database, tenant: Tenant, *people: dict[str, Any]) -> None:
    records = [canonical_record(one, country="GB") for one in people]
    await apply_records(database, tenant, "crm", records, now=SystemClock().now())


async def read(database: Database, tenant: Tenant, after: int | None, at_most: int = 1_000, kinds: Any = None) -> Changes:
    async with database.transaction(tenant.tenant_id) as connection:
        found = await store.read(connection, tenant, after, at_most, kinds)
    assert found is not None
    return found


@pytest.fixture
async def feed(database: Database, tenant: Tenant) -> Tenant:
    await store.begin(database, tenant, NOW)
    return tenant


def told(changes: list[PersonChange]) -> list[tuple[str, int]]:
    return [(one.kind, one.person_id) for one in changes]


async def test_nothing_is_noted_before_anybody_asks(database: Database, tenant: Tenant) -> None:
    await put(database, tenant, {"record_id": "1", "full_name": "Ann Lee", "email": "ann@example.org"})
    async with database.transaction(tenant.tenant_id) as connection:
        assert await store.read(connection, tenant, None, 10) is None
        assert await connection.fetchval("select count(*) from change") == 0


async def test_created_changed_merged_deleted(database: Database, feed: Tenant) -> None:
    await put(database, feed, {"record_id": "1", "full_name": "Ann Lee", "email": "ann@example.org"})
    first = await read(database, feed, 0)
    [(kind, ann)] = told(first.changes)
    assert kind == "created"
    await put(database, feed, {"record_id": "1", "full_name": "Ann Lee", "email": "ann@example.org"})
    assert (await read(database, feed, first.next)).changes == [], "the same row again changes nothing"
    await put(database, feed, {"record_id": "1", "full_name": "Ann Lee", "email": "ann.lee@example.org"})
    second = await read(database, feed, first.next)
    assert told(second.changes) == [("changed", ann)]
    whole = {"full_name": "Bob Ray", "birth_date": "1980-02-03", "postcode": "M1 1AE", "city": "Manchester"}
    await put(database, feed, {"record_id": "2", **whole, "email": "bob@example.org"})
    await put(database, feed, {"record_id": "3", **whole, "birth_date": "1999-09-09", "email": "rob@example.org"})
    await put(database, feed, {"record_id": "3", **whole, "email": "rob@example.org"})
    third = await read(database, feed, second.next)
    kinds = [one.kind for one in third.changes]
    assert kinds[:2] == ["created", "created"]
    assert "merged" in kinds
    assert [one.position for one in third.changes] == list(range(second.next + 1, third.next + 1))
    await delete_records(database, feed, "crm", ["1"], now=SystemClock().now())
    fourth = await read(database, feed, third.next)
    assert told(fourth.changes) == [("deleted", ann)]
    assert (await read(database, feed, 0)).changes == [*first.changes, *second.changes, *third.changes, *fourth.changes]
    assert told((await read(database, feed, 0, kinds=["deleted"])).changes) == [
        one for one in told((await read(database, feed, 0)).changes) if one[0] == "deleted"
    ]


@pytest.mark.parametrize("seed", [1, 2, 3])
async def test_whoever_reads_meanwhile_misses_nothing_and_sees_nothing_twice(
    database: Database, feed: Tenant, seed: int
) -> None:
    """Writers that commit in another order than they wrote in, some of them late, some never; a reader who never waits."""
    chance = random.Random(seed)
    committed: list[int] = []
    plans = [[(chance.random() * 0.05, chance.random() < 0.2) for _ in range(8)] for _ in range(4)]

    async def writer(number: int) -> None:
        for place, (wait_s, gives_up) in enumerate(plans[number]):
            person = 1_000 * (number + 1) + place
            try:
                async with database.transaction(feed.tenant_id) as connection:
                    await connection.execute(
                        "insert into change (tenant_id, kind, person_id, what) values ($1, 'pattern', $2, 'p')",
                        feed.tenant_id, person,
                    )  # fmt: skip
                    await asyncio.sleep(wait_s)
                    if gives_up:
                        raise BadInput("given_up", "given up")
            except BadInput:
                continue
            committed.append(person)

    async def records() -> None:
        for number in range(6):
            await put(database, feed, {"record_id": str(number), "full_name": "Ann Lee", "email": f"a{number}@example.org"})
            await put(database, feed, {"record_id": str(number), "full_name": "Ann Lea", "email": f"a{number}@example.org"})

    seen: list[PersonChange] = []

    async def reader() -> None:
        after = 0
        while not done.is_set():
            found = await read(database, feed, after, chance.randint(1, 5))
            seen.extend(found.changes)
            after = found.next
            await asyncio.sleep(chance.random() * 0.005)
        while found := (await read(database, feed, after, 3)).changes:
            seen.extend(found)
            after = found[-1].position

    done = asyncio.Event()
    reading = [asyncio.create_task(reader())]
    await asyncio.gather(*(writer(number) for number in range(4)), records())
    done.set()
    await asyncio.gather(*reading)
    assert [one.position for one in seen] == list(range(1, len(seen) + 1))
    assert sorted(one.person_id for one in seen if one.kind == "pattern") == sorted(committed)
    by_person: dict[int, list[str]] = {}
    for one in seen:
        if one.kind != "pattern":
            by_person.setdefault(one.person_id, []).append(one.kind)
    assert len(by_person) == 6
    assert all(kinds == ["created", "changed"] for kinds in by_person.values())


async def test_old_changes_are_forgotten_and_who_was_away_is_told(database: Database, feed: Tenant) -> None:
    await put(database, feed, {"record_id": "1", "full_name": "Ann Lee", "email": "ann@example.org"})
    async with database.transaction(feed.tenant_id) as connection:
        await store.forget(connection, feed, NOW + timedelta(days=31))
    for after in (0, 99):
        with pytest.raises(BadInput) as gone:
            await read(database, feed, after)
        assert (gone.value.code, gone.value.status) == ("changes_gone", 410)
    assert (await read(database, feed, 1)).changes == []


# --- by webhook --------------------------------------------------------------------------------------------------


@pytest.fixture
async def hook() -> AsyncIterator[Hook]:
    made = Hook()
    server = await asyncio.start_server(made.answer, "127.0.0.1", 0)
    made.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/"
    yield made
    server.close()


async def test_a_receiver_that_fails_gets_everything_in_order(database: Database, feed: Tenant, hook: Hook) -> None:
    clock = SystemClock()
    sender = FeedSender(database, clock, GuardedPoster(frozenset(["127.0.0.1"])), DEFAULT)
    async with database.transaction(feed.tenant_id) as connection:
        await store.add_feed(connection, feed, "crm", hook.url, store.KINDS, profiles=True, position=0, now=clock.now())
        with pytest.raises(BadInput):
            await store.add_feed(connection, feed, "crm", hook.url, store.KINDS, profiles=True, position=0, now=clock.now())

    async def rounds() -> None:
        async with database.transaction(feed.tenant_id) as connection:
            await connection.execute("update feed set next_at = now()")
        while await sender.round(feed):
            pass

    for number in range(150):
        if number % 50 == 0:
            those = range(number, number + 50)
            await put(
                database, feed, *({"record_id": f"{n}", "full_name": "Ann Lee", "email": f"a{n}@x.org"} for n in those)
            )
    hook.answers = [500]
    await rounds()
    async with database.transaction(feed.tenant_id) as connection:
        [stuck] = await store.feeds(connection, feed)
    assert (stuck.position, stuck.failures, stuck.last_code) == (0, 1, "answered_500")
    hook.answers = [200, 503]
    await rounds()
    await rounds()
    bodies = [json.loads(body)["data"] for _, body in hook.got]
    assert [(len(one["changes"]), one["next"]) for one in bodies] == [(100, 100), (100, 100), (50, 150), (50, 150)]
    ids = [headers["webhook-id"] for headers, _ in hook.got]
    assert ids[0] == ids[1] != ids[2] == ids[3]
    assert set(bodies[2]["persons"]) == {str(one["person_id"]) for one in bodies[2]["changes"]}
    async with database.transaction(feed.tenant_id) as connection:
        [there] = await store.feeds(connection, feed)
    assert (there.position, there.failures) == (150, 0)
    hook.answers = [410]
    await put(database, feed, {"record_id": "x", "full_name": "Ann Lee", "email": "x@x.org"})
    await rounds()
    async with database.transaction(feed.tenant_id) as connection:
        assert await store.feeds(connection, feed) == [], "410 ends it"


# --- by HTTP and on the command line -----------------------------------------------------------------------------


@pytest.fixture(scope="module")
def program(make_home: Callable[[], Path]) -> Any:
    home = Home(make_home())
    with serving(home) as running:
        yield home, running


def test_over_http(program: tuple[Home, ServerProcess]) -> None:
    home, running = program
    reader, adapter, writer = home.tokens("read", "adapter", "import")
    with running.client(reader) as client:
        begun = client.get("/v1/changes").json()
        assert begun == {"changes": [], "next": 0, "last": 0, "persons": None}
        records = {"source": "crm", "records": [{"record_id": "1", "full_name": "Ann Lee", "email": "ann@example.org"}]}
        with running.client(writer) as writing:
            assert writing.post("/v1/records", json=records).status_code == 200
        found = client.get("/v1/changes", params={"after": 0, "profiles": True, "wait_s": 5}).json()
        [one] = found["changes"]
        assert (one["kind"], found["next"]) == ("created", 1)
        assert found["persons"][str(one["person_id"])]["email"] == ["ann@example.org"]
        assert client.get("/v1/changes", params={"after": 1, "wait_s": 0.5}).json()["changes"] == []
        assert error_of(client.get("/v1/changes", params={"after": 7}))["code"] == "changes_gone"
        assert client.get("/v1/changes", params={"after": 0, "wait_s": 60}).status_code == 400
    with running.client(adapter) as client:
        assert "profile" not in client.get("/v1/changes", params={"after": 0}).text
        assert client.get("/v1/changes", params={"after": 0, "profiles": True}).status_code == 403
    with running.client(writer) as client:
        assert client.get("/v1/changes").status_code == 403


def test_commands(program: tuple[Home, ServerProcess]) -> None:
    home, _ = program
    private = {"FIRSTRING_OUTBOUND_PRIVATE_HOSTS": "127.0.0.1"}
    assert "webhook_address_refused" in home.run("feeds", "add", "crm", "http://127.0.0.1:1/").stderr
    assert home.run("feeds", "add", "crm", "http://127.0.0.1:1/", "--kind", "merged", **private).stdout.startswith("whsec_")
    assert "feed_exists" in home.run("feeds", "add", "crm", "http://127.0.0.1:1/", **private).stderr
    assert "kind_unknown" in home.run("feeds", "add", "b", "https://x.test/", "--kind", "no").stderr
    assert "merged" in home.run("feeds", "list").stdout
    assert home.run("feeds", "remove", "crm").returncode == 0
    assert "unknown_feed" in home.run("feeds", "remove", "crm").stderr
    assert "nothing is on its way" in home.run("delivery", "list").stdout
    assert "no call was promised" in home.run("callbacks", "list").stdout
    assert "data-key" in home.run("web", "snippet", "--key", "k").stdout
