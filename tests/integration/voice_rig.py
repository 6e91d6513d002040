"""What the voice tests share: a real Kamailio on free ports, and a Switchboard that a test scripts."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Collection
from pathlib import Path
from typing import Any

from tests.needs import need

from firstring.channels.voice.config import render_config
from firstring.channels.voice.contract import CallEvent, CallOffer, RouteAnswer

KAMAILIO_PACKAGES = "kamailio kamailio-extra-modules kamailio-json-modules"
Answering = Callable[[CallOffer | CallEvent], Awaitable[RouteAnswer | None]]


class ScriptedSwitchboard:
    """The port's double: answers as the test's `answering` says and notes everything it hears, in order."""

    def __init__(self, answering: Answering) -> None:
        self.answering = answering
        self.offers: list[CallOffer] = []
        self.asked_again: list[CallEvent] = []
        self.events: list[CallEvent] = []
        self.reconciled: list[tuple[str, list[str]]] = []
        self.answered: list[str] = []

    async def offered(self, offer: CallOffer) -> RouteAnswer | None:
        self.offers.append(offer)
        return await self.answering(offer)

    async def no_agent(self, event: CallEvent) -> RouteAnswer | None:
        self.asked_again.append(event)
        return await self.answering(event)

    async def event(self, event: CallEvent) -> None:
        self.events.append(event)

    async def reconcile(self, adapter: str, live_call_ids: Collection[str], answered_call_ids: Collection[str] = ()) -> None:
        self.answered = list(answered_call_ids)
        self.reconciled.append((adapter, list(live_call_ids)))

    def kinds(self, call_id: str) -> list[str]:
        """The types of the events of one call, in the order in which they came."""
        return [event.type for event in self.events if event.call_id == call_id]

    async def until(self, condition: Callable[[], Any], timeout_s: float = 5.0) -> None:
        """Until `condition` holds; TimeoutError otherwise."""
        async with asyncio.timeout(timeout_s):
            while not condition():
                await asyncio.sleep(0.01)


def free_port(kind: int = socket.SOCK_DGRAM) -> int:
    """A port that was free a moment ago, for a program that cannot be told to take any."""
    with socket.socket(socket.AF_INET, kind) as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])


class Kamailio:
    """A running Kamailio: its SIP port (UDP and TCP), its evapi port, and its log."""

    def __init__(self, sip_port: int, evapi_port: int, log: Path, process: asyncio.subprocess.Process) -> None:
        self.sip_port = sip_port
        self.evapi_port = evapi_port
        self.log = log
        self.process = process

    @property
    def uri(self) -> str:
        return f"sip:support@127.0.0.1:{self.sip_port}"


@contextlib.asynccontextmanager
async def running_kamailio(folder: Path, *, default_uri: str, **settings: Any) -> AsyncIterator[Kamailio]:
    """Kamailio with the configuration that `firstring kamailio-config` writes, until the block ends."""
    binary = need("kamailio", package=KAMAILIO_PACKAGES)
    sip_port, evapi_port = free_port(), free_port(socket.SOCK_STREAM)
    config, log = folder / "kamailio.cfg", folder / "kamailio.log"
    config.write_text(
        render_config(
            listen=(f"udp:127.0.0.1:{sip_port}", f"tcp:127.0.0.1:{sip_port}"),
            evapi=f"127.0.0.1:{evapi_port}",
            default_uri=default_uri,
            children=2,
            log_stderror=True,
            **settings,
        )
    )
    with log.open("wb") as output:
        # fmt: off
        process = await asyncio.create_subprocess_exec(
            binary, "-DD", "-E", "-f", str(config), "-m", "128", "-M", "16", "-Y", str(folder),
            "-P", str(folder / "kamailio.pid"), stdout=output, stderr=output, cwd=folder,
        )
        # fmt: on
        try:
            await _listening(evapi_port, process, log)
            yield Kamailio(sip_port, evapi_port, log, process)
        finally:
            if process.returncode is None:
                process.terminate()
            await process.wait()


async def _listening(port: int, process: asyncio.subprocess.Process, log: Path) -> None:
    """Until evapi accepts connections (the SIP sockets are bound before it)."""
    for _ in range(400):
        if process.returncode is not None:
            break
        try:
            _, writer = await asyncio.open_connection("127.0.0.1", port)
        except OSError:
            await asyncio.sleep(0.025)
            continue
        writer.close()
        await writer.wait_closed()
        return
    raise AssertionError(f"Kamailio does not start:\n{log.read_text()[-3000:]}")
