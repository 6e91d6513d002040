"""The whole ring path as it runs in production: `firstring serve` in processes of their own over an embedded PostgreSQL,
a real Kamailio with the configuration that `firstring kamailio-config` prints, SIP callers and phones on loopback."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import json
import os
import secrets
import signal
import socket
import ssl
import sys
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import asyncpg
import httpx
from tests.integration.test_killed import BROKEN
from tests.integration.voice_rig import KAMAILIO_PACKAGES, free_port
from tests.needs import need

from firstring.channels.voice.caller import Caller
from firstring.channels.voice.phone import Phone
from firstring.contact import Decision
from firstring.ports import SystemClock
from firstring.settings import Settings
from firstring.store.access import Access
from firstring.store.contacts import ContactLine, Contacts
from firstring.store.database import Database, Tenant, connect
from firstring.store.identity.records import SourceRecord, apply_records
from firstring.store.notices import Notices
from firstring.store.opening import initialise, open_database
from firstring.store.ring import RingStore
from firstring.store.server import embedded, keeper
from firstring.trust.trial_ca import TrialAuthority, TrialCarrier

ROOT = Path(__file__).resolve().parents[2]
SERVICE = "+18005550100"
"""The number that callers call."""
RING_TIMEOUT_MS = 2_000


async def until(condition: Callable[[], Any | Awaitable[Any]], timeout_s: float = 15.0, pause_s: float = 0.03) -> Any:
    """What `condition` says once it is true; TimeoutError when it never is in time."""
    async with asyncio.timeout(timeout_s):
        while True:
            found = condition()
            if asyncio.iscoroutine(found):
                found = await found
            if found:
                return found
            await asyncio.sleep(pause_s)


class Program:
    """A process of ours, ended by its own pid; its output is in `log`."""

    def __init__(self, process: asyncio.subprocess.Process, log: Path) -> None:
        self.process = process
        self.log = log

    @classmethod
    async def start(cls, command: Sequence[str], log: Path, folder: Path, environment: dict[str, str]) -> Program:
        with log.open("ab") as output:
            process = await asyncio.create_subprocess_exec(
                *command, stdin=asyncio.subprocess.DEVNULL, stdout=output, stderr=output, cwd=folder, env=environment
            )
        return cls(process, log)

    @property
    def text(self) -> str:
        return self.log.read_text("utf-8", "replace")

    async def kill(self) -> None:
        if self.process.returncode is None:
            self.process.kill()
        await self.process.wait()

    async def terminate(self, timeout_s: float = 20.0) -> int:
        """SIGTERM; the exit code. Killed after `timeout_s`."""
        if self.process.returncode is None:
            self.process.send_signal(signal.SIGTERM)
        try:
            async with asyncio.timeout(timeout_s):
                return await self.process.wait()
        except TimeoutError:
            self.process.kill()
            return await self.process.wait()


@dataclass
class Server(Program):
    """A running `firstring serve` and a client of its HTTP surface."""

    process: asyncio.subprocess.Process
    log: Path
    client: httpx.AsyncClient

    async def api(self, method: str, path: str, body: Any = None, *, status: int = 200) -> Any:
        response = await self.client.request(method, path, json=body)
        assert response.status_code == status, (method, path, response.status_code, response.text)
        return response.json()

    async def connected(self) -> bool:
        """Whether every voice adapter of the settings is connected."""
        adapters = (await self.client.get("/readyz")).json()["adapters"]
        return bool(adapters) and all(state == "connected" for state in adapters.values())

    async def kill(self) -> None:
        await super().kill()
        await self.client.aclose()

    async def terminate(self, timeout_s: float = 20.0) -> int:
        code = await super().terminate(timeout_s)
        await self.client.aclose()
        return code

    def logged(self, event: str) -> list[dict[str, Any]]:
        """The log's lines of one event."""
        lines = (line for line in self.text.splitlines() if line.startswith("{"))
        return [entry for entry in map(json.loads, lines) if entry.get("event") == event]


@dataclass
class Agent:
    """An agent with a phone of their own."""

    agent_id: int
    phone: Phone


@dataclass
class Rig:
    """One home with its database, one Kamailio, the default queue's phone, a caller; servers come and go."""

    folder: Path
    settings: Settings
    environment: dict[str, str]
    store: Store
    token: str
    sip_port: int
    redirect_port: int
    queue: Phone
    caller: Caller
    agents: list[Agent] = field(default_factory=list)
    servers: list[Server] = field(default_factory=list)
    kamailio: Program | None = None
    _names: itertools.count[int] = field(default_factory=itertools.count)

    @property
    def uri(self) -> str:
        """Where Kamailio takes calls to the service number."""
        return f"sip:{SERVICE}@127.0.0.1:{self.sip_port}"

    @property
    def redirect_uri(self) -> str:
        return f"sip:{SERVICE}@127.0.0.1:{self.redirect_port}"

    @property
    def server(self) -> Server:
        return self.servers[0]

    # --- servers ----------------------------------------------------------------------------------------------

    async def start_server(self, **changes: str) -> Server:
        """One more `firstring serve`, connected to Kamailio."""
        log = self.folder / f"serve-{next(self._names)}.log"
        environment = {**self.environment, **changes}
        program = await Program.start([sys.executable, "-m", "firstring.cli", "serve"], log, self.folder, environment)

        def address() -> str | None:
            assert program.process.returncode is None, program.text[-3000:]
            lines = (json.loads(line) for line in program.text.splitlines() if '"serving"' in line)
            return next((line["address"] for line in lines), None)

        client = httpx.AsyncClient(
            base_url=await until(address, 60.0),
            headers={"Authorization": f"Bearer {self.token}"},
            timeout=10.0,
            trust_env=False,
        )
        server = Server(program.process, log, client)
        await until(server.connected)
        self.servers.append(server)
        return server

    async def one_server(self) -> Server:
        """Exactly one living server: the first of those that are there, or a new one."""
        self.servers = [server for server in self.servers if server.process.returncode is None]
        for server in self.servers[1:]:
            await server.terminate()
        self.servers = self.servers[:1]
        return self.servers[0] if self.servers else await self.start_server()

    # --- people -----------------------------------------------------------------------------------------------

    async def add_agents(self, count: int, *, ready: bool = True, **behaviour: Any) -> list[Agent]:
        """New agents with phones; ready ones become free one after the other, the first of them first."""
        made = []
        for _ in range(count):
            name = f"agent{next(self._names)}"
            phone = Phone(user=name, **behaviour)
            await phone.start()
            profile = {"name": name, "address": phone.uri, "languages": {"en": 5}}
            stored = await self.server.api("POST", "/v1/agents", profile, status=201)
            made.append(Agent(stored["agent_id"], phone))
            self.agents.append(made[-1])
            if ready:
                await self.presence(made[-1], "ready")
        return made

    async def presence(self, agent: Agent, presence: str) -> None:
        await self.server.api("POST", f"/v1/agents/{agent.agent_id}/presence", {"presence": presence})

    async def clear(self) -> None:
        """Nobody of the tests before is left: their agents are off, their contacts over."""
        for agent in self.agents:
            await self.store.contacts.set_presence(self.store.tenant, agent.agent_id, "offline")
            await agent.phone.stop()
        self.agents.clear()
        for line in await self.store.lines():
            if line.state != "ended" or line.assignment_state not in (None, "ended"):
                await self.store.contacts.event(self.store.tenant, line.contact_id, "finished")
        self.queue.calls.clear()
        self.queue.behaviour, self.queue.answer_after_ms = "answer", 20

    # --- what is so -------------------------------------------------------------------------------------------

    async def free(self) -> set[int]:
        """Agents with a free place."""
        free, _ = await self.store.contacts.free_agents(self.store.tenant)
        return {agent.agent_id for agent in free.get("voice", [])}

    async def settle(self, timeout_s: float = 20.0) -> None:
        """Until no contact is open but in wrap-up."""

        async def over() -> bool:
            return all(line.state == "ended" for line in await self.store.lines())

        await until(over, timeout_s)

    async def finish_all(self) -> None:
        """Every wrap-up is finished over HTTP."""
        for line in await self.store.lines():
            if line.assignment_state == "wrap_up":
                await self.server.api("POST", f"/v1/contacts/{line.contact_id}/events", {"what": "finished"})


class Store:
    """The test's own eyes on the database of the home, and what it plants there."""

    def __init__(self, settings: Settings, server: embedded.EmbeddedServer, database: Database, tenant: Tenant) -> None:
        self.settings = settings
        self.server = server
        self.database = database
        self.tenant = tenant
        notices = Notices(database.arguments, f"test-{secrets.token_hex(4)}")
        self.ring = RingStore(database, notices)
        self.contacts = Contacts(database, notices, SystemClock(), wrap_up_s=settings.wrap_up_s)

    async def person(self, record_id: str, **fields: object) -> None:
        records = [SourceRecord(record_id, fields)]
        await apply_records(self.database, self.tenant, "crm", records, now=datetime.now(UTC))

    async def lines(self) -> list[ContactLine]:
        """All contacts of the tenant, newest first."""
        return await self.contacts.recent(self.tenant, 10_000)

    async def contact_of(self, call_id: str, adapter: str = "kamailio") -> uuid.UUID | None:
        """The open contact of a call."""
        return await self.ring.contact_by_call(self.tenant, adapter, call_id)

    async def state(self, contact_id: uuid.UUID) -> ContactLine:
        return next(line for line in await self.lines() if line.contact_id == contact_id)

    async def decision(self, contact_id: uuid.UUID | str, revision: int | None = None) -> Decision:
        found = await self.ring.decision(self.tenant, uuid.UUID(str(contact_id)), revision)
        assert found is not None
        return found

    async def broken(self) -> list[asyncpg.Record]:
        """What must never be (see test_killed.BROKEN); empty when all is well."""
        connection = await connect(self.server.dsn(embedded.SUPERUSER))
        try:
            return list(await connection.fetch(BROKEN, self.tenant.tenant_id))
        finally:
            await connection.close()

    def postmaster_pid(self) -> int:
        found = keeper.running(str(self.settings.home / "data"))
        assert found is not None
        return found.pid


@asynccontextmanager
async def running_rig(folder: Path, home: Path, *, redirects: bool = False, **settings: str) -> AsyncIterator[Rig]:
    """A home with a tenant, an administrator's token, Kamailio, the queue's phone and one server.

    redirects: the server is a redirect server as well (then there can be only one).
    """
    binary = need("kamailio", package=KAMAILIO_PACKAGES)
    async with AsyncExitStack() as stack:
        queue, caller = Phone(user="queue"), Caller()
        for endpoint in (queue, caller):
            await endpoint.start()
            stack.push_async_callback(endpoint.stop)
        sip_port, evapi_port, redirect_port = free_port(), free_port(socket.SOCK_STREAM), free_port()
        own = {
            "FIRSTRING_HOME": str(home),
            "FIRSTRING_LISTEN_PORT": "0",
            "FIRSTRING_KAMAILIO_EVAPI": f"127.0.0.1:{evapi_port}",
            "FIRSTRING_DEFAULT_QUEUE_URI": queue.uri,
            "FIRSTRING_RING_TIMEOUT_MS": str(RING_TIMEOUT_MS),
            **({"FIRSTRING_REDIRECT_LISTEN": f"127.0.0.1:{redirect_port}"} if redirects else {}),
            **settings,
        }
        environment = {name: value for name, value in os.environ.items() if not name.startswith("FIRSTRING_")} | own
        in_process = Settings(home=home, wrap_up_s=float(own.get("FIRSTRING_WRAP_UP_S", "30")))
        await initialise(in_process, SystemClock())
        opened = await open_database(in_process)
        stack.push_async_callback(opened.close)
        tenant = await opened.database.tenant_named("main")
        token, _ = await Access(opened.database, SystemClock()).create_token(tenant, "administrator", "test")
        assert opened.server.embedded is not None
        store = Store(in_process, opened.server.embedded, opened.database, tenant)
        rig = Rig(folder, in_process, environment, store, token, sip_port, redirect_port, queue, caller)
        rig.kamailio = await _kamailio(stack, binary, folder, environment, sip_port, evapi_port)
        stack.push_async_callback(_end, rig)
        await rig.start_server()
        yield rig
        assert rig.kamailio.process.returncode is None, rig.kamailio.text[-3000:]


async def _end(rig: Rig) -> None:
    for server in rig.servers:
        await server.terminate()
    for agent in rig.agents:
        await agent.phone.stop()


async def _kamailio(
    stack: AsyncExitStack, binary: str, folder: Path, environment: dict[str, str], sip_port: int, evapi_port: int
) -> Program:
    # fmt: off
    printing = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "firstring.cli", "kamailio-config", "--log-stderror",
        "--listen", f"udp:127.0.0.1:{sip_port}", "--listen", f"tcp:127.0.0.1:{sip_port}",
        stdout=asyncio.subprocess.PIPE, env=environment,
    )
    text, _ = await printing.communicate()
    assert printing.returncode == 0
    config = folder / "kamailio.cfg"
    config.write_bytes(text)
    command = [
        binary, "-DD", "-E", "-f", str(config), "-m", "128", "-M", "16", "-Y", str(folder),
        "-P", str(folder / "kamailio.pid"),
    ]
    # fmt: on
    program = await Program.start(command, folder / "kamailio.log", folder, dict(os.environ))
    stack.push_async_callback(program.terminate)

    async def listens() -> bool:
        assert program.process.returncode is None, program.text[-3000:]
        with contextlib.suppress(OSError):
            _, writer = await asyncio.open_connection("127.0.0.1", evapi_port)
            writer.close()
            await writer.wait_closed()
            return True
        return False

    await until(listens)
    return program


class Carrier:
    """A carrier that signs calls, and the https server that publishes its chain."""

    def __init__(self, folder: Path, authority: TrialAuthority | None = None) -> None:
        self.authority = authority or TrialAuthority(datetime.now(UTC))
        self.roots = folder / "roots.pem"
        self.roots.write_bytes(self.authority.root_pem)
        self._folder = folder
        self.signer: TrialCarrier
        self.unknown: TrialCarrier
        self.inside: TrialCarrier
        self.asked = 0

    @property
    def settings(self) -> dict[str, str]:
        """What a server has to be told to trust it."""
        return {
            "FIRSTRING_STIR_ROOTS_FILE": str(self.roots),
            "FIRSTRING_STIR_HTTPS_ROOTS_FILE": str(self.roots),
            "FIRSTRING_STIR_PRIVATE_HOSTS": "localhost",
        }

    @asynccontextmanager
    async def serving(self) -> AsyncIterator[Carrier]:
        chain, key = self.authority.tls(["localhost"])
        (self._folder / "https.pem").write_bytes(chain + key)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self._folder / "https.pem")
        published = self.authority.carrier("")
        other = TrialAuthority(datetime.now(UTC)).carrier("")

        async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            self.asked += 1
            with contextlib.suppress(OSError, asyncio.IncompleteReadError):
                request = await reader.readuntil(b"\r\n\r\n")
                body = other.chain_pem if b"/other.pem" in request else published.chain_pem
                head = f"HTTP/1.1 200 OK\r\nContent-Length: {len(body)}\r\nConnection: close\r\n\r\n"
                writer.write(head.encode() + body)
                await writer.drain()
            writer.close()

        listening = await asyncio.start_server(answer, "127.0.0.1", 0, ssl=context)
        try:
            address = f"https://localhost:{listening.sockets[0].getsockname()[1]}"
            self.signer = published.at(f"{address}/chain.pem")
            self.unknown = other.at(f"{address}/other.pem")
            self.inside = published.at(f"{address.replace('localhost', '127.0.0.1')}/chain.pem")
            yield self
        finally:
            listening.close()

    def identity(
        self, caller: str, *, called: str = SERVICE, at: datetime | None = None, by: TrialCarrier | None = None
    ) -> tuple[str, str]:
        """The Identity header of a call with attestation A.

        by: `unknown`, whose authority nobody trusts, or `inside`, whose certificate lies at an address of our own network.
        """
        return "Identity", (by or self.signer).sign(caller, called, at or datetime.now(UTC), str(uuid.uuid4()), "A")
