"""What every test may ask for: one embedded server for the whole run, a tenant of its own for each test."""

from __future__ import annotations

import os
import secrets
import shutil
from collections.abc import AsyncIterator, Callable, Generator, Iterator
from pathlib import Path

import asyncpg
import pytest
import pytest_asyncio

from firstring.ports import SystemClock
from firstring.store.access import Access
from firstring.store.contacts import Contacts
from firstring.store.database import Database, Tenant, connect
from firstring.store.notices import Notices
from firstring.store.ring import RingStore
from firstring.store.server import embedded
from firstring.store.server.migrate import check_schema, upgrade

IN_CI = os.environ.get("CI", "").lower() == "true"


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """In CI nothing is skipped: what is missing has to be installed."""
    report = yield
    if IN_CI and report.skipped and not hasattr(report, "wasxfail"):
        report.outcome = "failed"
        report.longrepr = f"skipped, which CI does not allow: {report.longrepr}"
    return report


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report(
    collector: pytest.Collector,
) -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
    """The same for whole modules."""
    report = yield
    if IN_CI and report.skipped:
        report.outcome = "failed"
        report.longrepr = f"skipped, which CI does not allow: {report.longrepr}"
    return report


@pytest.fixture(scope="session")
def make_home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[], Path]]:
    """Makes paths for homes of embedded servers; the servers are stopped and the homes removed at the end.

    As root below /var/lib: the server's system user cannot pass pytest's own directories.
    """
    made: list[Path] = []

    def make() -> Path:
        base = Path("/var/lib") if os.geteuid() == 0 else tmp_path_factory.mktemp("homes")
        made.append(base / f"firstring-test-{secrets.token_hex(6)}")
        return made[-1]

    yield make
    for home in made:
        if home.exists():
            embedded.stop(home, force=True)
            shutil.rmtree(home)


@pytest.fixture(scope="session")
def server(make_home: Callable[[], Path]) -> Iterator[embedded.EmbeddedServer]:
    """One embedded server for the run; its schema is that of the `database` fixture."""
    with embedded.start(make_home()) as running:
        yield running


@pytest.fixture(scope="session")
def master_key() -> bytes:
    return secrets.token_bytes(32)


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def database(server: embedded.EmbeddedServer, master_key: bytes) -> AsyncIterator[Database]:
    """The migrated database, open as the application role."""
    await upgrade(server.dsn(embedded.OWNER), embedded.APP)
    opened = await Database.open(server.dsn(embedded.APP), master_key, connections=8, check_schema=check_schema)
    yield opened
    await opened.close()


@pytest_asyncio.fixture(loop_scope="session")
async def superuser(server: embedded.EmbeddedServer, database: Database) -> AsyncIterator[asyncpg.Connection]:
    """A connection that row-level security does not bind, for looking behind the scenes."""
    connection = await connect(server.dsn(embedded.SUPERUSER))
    yield connection
    await connection.close()


@pytest_asyncio.fixture(loop_scope="session")
async def owner(server: embedded.EmbeddedServer, database: Database) -> AsyncIterator[asyncpg.Connection]:
    """A connection as the owner of the schema."""
    connection = await connect(server.dsn(embedded.OWNER))
    yield connection
    await connection.close()


@pytest.fixture
def make_tenant(database: Database) -> Callable[[], object]:
    """Makes further tenants: `await make_tenant()`."""

    async def make() -> Tenant:
        tenant = await database.add_tenant(f"t-{secrets.token_hex(6)}", SystemClock().now())
        assert tenant is not None
        return tenant

    return make


@pytest_asyncio.fixture(loop_scope="session")
async def tenant(database: Database) -> Tenant:
    """A new, empty tenant."""
    made = await database.add_tenant(f"t-{secrets.token_hex(6)}", SystemClock().now())
    assert made is not None
    return made


@pytest.fixture
def access(database: Database) -> Access:
    return Access(database, SystemClock())


@pytest.fixture
def notices(database: Database) -> Notices:
    """Not started: it tells this process only."""
    return Notices(database.arguments, f"test-{secrets.token_hex(4)}")


@pytest.fixture
def ring(database: Database, notices: Notices) -> RingStore:
    return RingStore(database, notices)


@pytest.fixture
def contacts(database: Database, notices: Notices) -> Contacts:
    return Contacts(database, notices, SystemClock(), wrap_up_s=30.0)
