"""The programs under measurement, in a home of their own: the database, the server, Kamailio. All on loopback."""

from __future__ import annotations

import asyncio
import contextlib
import os
import secrets
import shutil
import signal
import socket
import sys
import tempfile
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from http import HTTPStatus
from pathlib import Path
from typing import Final

import structlog

from firstring.bench.http import Client
from firstring.channels.voice.config import render_config
from firstring.errors import FirstringError, Unrecoverable
from firstring.store.server import embedded

_START_S: Final = 60.0
_STOP_S: Final = 20.0
_SETTLED_S: Final = 180.0
_RESTS: Final = 0.15
"""Of one processor: programs that use less have nothing to do but to be there."""
_log = structlog.get_logger("firstring.bench")


class Rig:
    """A home, and the commands of firstring in it. `server` is in use as long as the rig is open."""

    def __init__(self, home: Path, environment: Mapping[str, str], server: embedded.EmbeddedServer) -> None:
        self.home = home
        self.environment = dict(environment)
        self.server = server

    async def run(self, *arguments: str) -> str:
        """One command until its end; its output. Raises Unrecoverable bench_command_failed."""
        process = await self.start(*arguments, output=asyncio.subprocess.PIPE)
        try:
            out, told = await process.communicate()
        except asyncio.CancelledError:
            await ended(process)
            raise
        if process.returncode:
            raise _failed(f"firstring {arguments[0]}", told.decode("utf-8", "replace"))
        return out.decode()

    async def start(
        self, *arguments: str, output: int | None = None, settings: Mapping[str, str] | None = None
    ) -> asyncio.subprocess.Process:
        """A command of firstring; without `output` its errors go to NAME.log in the home."""
        command = [*_ends_with_us(), sys.executable, "-m", "firstring.cli", *arguments]
        environment = {**self.environment, **(settings or {})}
        if output is not None:
            return await asyncio.create_subprocess_exec(*command, env=environment, stdout=output, stderr=output)
        with (self.home / f"bench-{arguments[0]}.log").open("ab") as log:
            return await asyncio.create_subprocess_exec(*command, env=environment, stdout=log, stderr=log)

    def postgresql(self) -> list[int]:
        """The processes of the database."""
        postmaster = int((self.home / "data" / "postmaster.pid").read_text().splitlines()[0])
        return [postmaster, *children_of(postmaster)]

    def log_of(self, name: str) -> str:
        """The end of a command's log."""
        path = self.home / f"bench-{name}.log"
        return path.read_text("utf-8", "replace")[-1500:] if path.exists() else ""


@asynccontextmanager
async def rig(*, keep: bool = False, country: str = "US") -> AsyncIterator[Rig]:
    """A new home with an initialised database; stopped and removed at the end, unless `keep`.

    As root below /var/lib, because the database's system user must be able to reach it.
    """
    base = Path("/var/lib") if os.geteuid() == 0 else Path(tempfile.gettempdir())
    home = base / f"firstring-bench-{secrets.token_hex(4)}"
    environment = {name: value for name, value in os.environ.items() if not name.startswith("FIRSTRING_")}
    environment |= {
        "FIRSTRING_HOME": str(home),
        "FIRSTRING_COUNTRY": country,
        "FIRSTRING_WRAP_UP_S": "0",
        "FIRSTRING_LOG_LEVEL": "warning",
    }
    server = await asyncio.to_thread(embedded.start, home)
    try:
        made = Rig(home, environment, server)
        await made.run("init")
        yield made
    finally:
        server.release()
        if not keep:
            await asyncio.to_thread(embedded.stop, home, force=True)
            await asyncio.to_thread(shutil.rmtree, home)


@asynccontextmanager
async def serving(of: Rig, settings: Mapping[str, str]) -> AsyncIterator[tuple[asyncio.subprocess.Process, int]]:
    """`firstring serve` until the block ends: (process, port), once it says that it is ready."""
    port = free_port()
    process = await of.start("serve", settings={"FIRSTRING_LISTEN_PORT": str(port), **settings})
    try:
        await _ready(port, process, lambda: of.log_of("serve"))
        yield process, port
    finally:
        await ended(process)


@asynccontextmanager
async def kamailio(folder: Path, default_uri: str) -> AsyncIterator[tuple[str, str] | None]:
    """Kamailio with the configuration of `firstring kamailio-config`: (SIP URI to call, evapi), or None without one."""
    binary = shutil.which("kamailio", path=os.pathsep.join((os.environ.get("PATH", ""), "/usr/sbin", "/usr/local/sbin")))
    if binary is None:
        yield None
        return
    sip, evapi = free_port(socket.SOCK_DGRAM), free_port()
    config, log = folder / "kamailio.cfg", folder / "kamailio.log"
    config.write_text(
        render_config(
            listen=(f"udp:127.0.0.1:{sip}", f"tcp:127.0.0.1:{sip}"),
            evapi=f"127.0.0.1:{evapi}",
            default_uri=default_uri,
            log_stderror=True,
        )
    )
    with log.open("wb") as output:
        # fmt: off
        process = await asyncio.create_subprocess_exec(
            *_ends_with_us(), binary, "-DD", "-E", "-f", str(config), "-m", "128", "-M", "16", "-Y", str(folder),
            "-P", str(folder / "kamailio.pid"), stdout=output, stderr=output, cwd=folder,
        )
        # fmt: on
    try:
        await _answers(evapi, process, lambda: log.read_text("utf-8", "replace")[-1500:], "kamailio")
        yield f"sip:support@127.0.0.1:{sip}", f"127.0.0.1:{evapi}"
    finally:
        await ended(process)


async def settled(pids: Sequence[int]) -> None:
    """Until these programs rest: what a server does once a day it does first when it starts, and is over by then."""
    loop = asyncio.get_running_loop()
    until, calm = loop.time() + _SETTLED_S, 0
    while calm < 3 and loop.time() < until:
        before = processor_s(pids)
        await asyncio.sleep(1.0)
        calm = calm + 1 if processor_s(pids) - before < _RESTS else 0


async def ended(process: asyncio.subprocess.Process) -> None:
    """Asks a program to end, and ends it when it does not."""
    if process.returncode is None:
        process.send_signal(signal.SIGTERM)
        try:
            async with asyncio.timeout(_STOP_S):
                await process.wait()
        except TimeoutError:
            process.kill()
    await process.wait()


async def _answers(port: int, process: asyncio.subprocess.Process, log: Callable[[], str], name: str) -> None:
    loop = asyncio.get_running_loop()
    until = loop.time() + _START_S
    while loop.time() < until and process.returncode is None:
        try:
            _, writer = await asyncio.open_connection("127.0.0.1", port)
        except OSError:
            await asyncio.sleep(0.05)
            continue
        writer.close()
        await writer.wait_closed()
        return
    raise _failed(name, log())


async def _ready(port: int, process: asyncio.subprocess.Process, log: Callable[[], str]) -> None:
    """Until /readyz says so: the system takes connections to the port before the server has opened everything."""
    await _answers(port, process, log, "firstring serve")
    client = Client(port, "")
    try:
        async with asyncio.timeout(_START_S):
            while (await client.get("/readyz")).status != HTTPStatus.OK:  # noqa: ASYNC110 - another process has no event
                await asyncio.sleep(0.05)
    except (TimeoutError, FirstringError):
        raise _failed("firstring serve", log()) from None
    finally:
        client.close()


def _failed(name: str, told: str) -> Unrecoverable:
    return Unrecoverable("bench_command_failed", f"{name} failed: {told[-1500:].strip() or 'it said nothing'}")


def _ends_with_us() -> Sequence[str]:
    """Where setpriv is there, a program that we started ends when we are killed."""
    setpriv = shutil.which("setpriv")
    return [setpriv, "--pdeathsig", "TERM"] if setpriv else []


def free_port(kind: socket.SocketKind = socket.SOCK_STREAM) -> int:
    """A port of the loopback interface that was free a moment ago, for a program that must be told one."""
    with socket.socket(socket.AF_INET, kind) as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


# --- memory ------------------------------------------------------------------------------------------------------


def resident_mb(pid: int) -> float:
    """Resident memory of a process, shared pages counted whole (VmRSS), in MB."""
    return _kilobytes(Path(f"/proc/{pid}/status"), "VmRSS:") / 1000.0


def proportional_mb(pid: int) -> float:
    """Memory of a process, shared pages counted by share (PSS), in MB."""
    return _kilobytes(Path(f"/proc/{pid}/smaps_rollup"), "Pss:") / 1000.0


def children_of(pid: int) -> list[int]:
    """The processes that `pid` started and that live."""
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


# --- processor time ----------------------------------------------------------------------------------------------

_TICKS_PER_S: Final = os.sysconf("SC_CLK_TCK")


def processor_s(pids: Sequence[int]) -> float:
    """Processor time that these processes have used, in seconds; those that have ended meanwhile count as none."""
    ticks = 0
    for pid in pids:
        with contextlib.suppress(OSError):
            fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
            ticks += int(fields[11]) + int(fields[12])
    return ticks / _TICKS_PER_S


def machine_idle_s() -> float:
    """Processor time that nobody has used, in seconds over all cores. What is busy is counted by ticks, this exactly."""
    idle, waiting = Path("/proc/stat").read_text().split("\n", 1)[0].split()[4:6]
    return (int(idle) + int(waiting)) / _TICKS_PER_S


def _kilobytes(path: Path, name: str) -> float:
    for line in path.read_text().splitlines():
        if line.startswith(name):
            return float(line.split()[1]) * 1.024
    raise ValueError(f"{path} has no {name}")
