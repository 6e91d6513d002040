"""A Firstring server as operators run it: `firstring serve` in a process and a home of its own."""

from __future__ import annotations

import asyncio
import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Coroutine, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx

from firstring.ports import SystemClock
from firstring.routing.may.agents import agent_profile
from firstring.settings import Settings
from firstring.store.access import Access, TokenRole
from firstring.store.contacts import Contacts
from firstring.store.database import Database, Tenant
from firstring.store.notices import Notices
from firstring.store.opening import database_only, initialise

START_S = 30.0


def own_loop(work: Coroutine[Any, Any, Any]) -> Any:
    """Runs to its end in a thread and a loop of its own: the tests' own loop belongs to pytest."""
    with ThreadPoolExecutor(1) as pool:
        return pool.submit(asyncio.run, work).result()


class Home:
    """A home with an embedded server, initialised; `environment` runs the program in it."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.settings = Settings(home=path, listen_port=0)
        own_loop(initialise(self.settings, SystemClock()))

    @property
    def environment(self) -> dict[str, str]:
        inherited = {name: value for name, value in os.environ.items() if not name.startswith("FIRSTRING_")}
        return {**inherited, "FIRSTRING_HOME": str(self.path), "FIRSTRING_LISTEN_PORT": "0", "COLUMNS": "200"}

    def within(self, work: Callable[[Database, Tenant], Any], tenant: str = "main") -> Any:
        """What the coroutine function `work` returns, over this home's database."""

        async def run() -> Any:
            async with database_only(self.settings) as database:
                its_tenant = await database.add_tenant(tenant, SystemClock().now())
                return await work(database, its_tenant or await database.tenant_named(tenant))

        return own_loop(run())

    def tokens(self, *roles: TokenRole, tenant: str = "main") -> list[str]:
        """New tokens of these roles."""

        async def make(database: Database, its_tenant: Tenant) -> list[str]:
            access = Access(database, SystemClock())
            return [(await access.create_token(its_tenant, role, "test"))[0] for role in roles]

        return self.within(make, tenant)

    def agent(self, tenant: str = "main", **profile: Any) -> int:
        """A new agent who is ready."""

        async def make(database: Database, its_tenant: Tenant) -> int:
            contacts = Contacts(database, Notices(database.arguments, "test"), SystemClock(), wrap_up_s=0.0)
            whole = agent_profile({"name": "Agent", "address": "sip:agent@agents.test", **profile}, agent_id=0)
            made, _ = await contacts.put_agent(its_tenant, whole)
            await contacts.set_presence(its_tenant, made, "ready")
            return made

        return self.within(make, tenant)

    def run(self, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
        """One command of the program, to its end."""
        return subprocess.run(
            [sys.executable, "-W", "error::ResourceWarning", "-m", "firstring.cli", *arguments],
            env={**self.environment, **environment},
            capture_output=True,
            text=True,
            timeout=60,
            stdin=subprocess.DEVNULL,
        )


class ServerProcess:
    """A running `firstring serve`. What it wrote to standard error is in `log`."""

    def __init__(self, home: Home, **environment: str) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-m", "firstring.cli", "serve"],
            env={**home.environment, **environment},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            stdin=subprocess.DEVNULL,
            text=True,
        )
        self.lines: list[str] = []
        self._readers = [
            threading.Thread(target=self._read, args=(stream,), daemon=True)
            for stream in (self.process.stderr, self.process.stdout)
        ]
        for reader in self._readers:
            reader.start()
        self.url = ""

    def _read(self, stream: Any) -> None:
        for line in stream:
            self.lines.append(line)

    @property
    def log(self) -> str:
        return "".join(self.lines)

    def wait_serving(self) -> ServerProcess:
        deadline = time.monotonic() + START_S
        while time.monotonic() < deadline:
            found = re.search(r'"address": "(http://[^"]+)", "event": "serving"', self.log)
            if found:
                self.url = found[1]
                return self
            if self.process.poll() is not None:
                break
            time.sleep(0.02)
        raise AssertionError(f"the server does not serve: {self.log}")

    def client(self, token: str = "", **options: Any) -> httpx.Client:
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        options = {"timeout": 15.0, "verify": False, "trust_env": False, **options}
        return httpx.Client(base_url=self.url, headers=headers, **options)

    def stop(self, number: int = signal.SIGTERM, timeout_s: float = 30.0) -> int:
        """The exit status after the signal."""
        if self.process.poll() is None:
            self.process.send_signal(number)
        status = self.process.wait(timeout_s)
        for reader in self._readers:
            reader.join(5)
        return status

    def close(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait(10)
        for reader in self._readers:
            reader.join(5)
        for stream in (self.process.stderr, self.process.stdout):
            assert stream is not None
            stream.close()


@contextmanager
def serving(home: Home, **environment: str) -> Iterator[ServerProcess]:
    """A server that answers; killed at the end if it still runs."""
    server = ServerProcess(home, **environment)
    try:
        yield server.wait_serving()
    finally:
        server.close()


def until(condition: Callable[[], Any], what: str, timeout_s: float = 20.0) -> Any:
    """What `condition` returns once it is true; it may fail by a connection error meanwhile."""
    deadline = time.monotonic() + timeout_s
    while True:
        try:
            found = condition()
        except httpx.TransportError:
            found = None
        if found:
            return found
        assert time.monotonic() < deadline, f"not within {timeout_s} s: {what}"
        time.sleep(0.05)


def postmaster(home: Home) -> int:
    """The process id of the home's PostgreSQL."""
    return int((home.path / "data" / "postmaster.pid").read_text().split("\n")[0])


def family(pid: int) -> list[int]:
    """A process and its children."""
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return [pid, *(int(child) for child in children)]


def error_of(response: httpx.Response) -> dict[str, Any]:
    """The error in a response, which must have the one shape."""
    body = json.loads(response.content)
    assert set(body) == {"error"}, body
    assert set(body["error"]) == {"group", "code", "message", "where", "hint"}, body
    return body["error"]
