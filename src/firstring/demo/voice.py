"""Telephony for a demonstration, all of it real SIP on loopback: Kamailio with sipp, or our redirect server with our phones.

Both do the same: they give each agent a phone, tell the server's settings, and place calls one by one.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any, Final, Literal, NamedTuple, Protocol

from firstring.channels.voice.caller import Caller
from firstring.channels.voice.config import render_config
from firstring.channels.voice.phone import Phone, PhoneCall
from firstring.demo.processes import Program, failed, find_program, free_port, is_free, start_program
from firstring.errors import BadInput

Voice = Literal["kamailio", "redirect"]
SERVICE_NUMBER: Final = "+12025550100"
"""The number that customers call."""
HOST: Final = "127.0.0.1"
CALL_S: Final = 60.0
"""The longest that a call of the demonstration may last, waiting in the queue included."""
_START_S: Final = 15.0
_TRIES: Final = 4
_HEARD: Final = {"call.ringing": "ringing", "call.answered": "answered", "call.ended": "ended"}


class Call(NamedTuple):
    """A call to the service number. identity: the header of RFC 8224, empty where nobody signs. hold_ms: once answered."""

    number: str
    identity: str = ""
    hold_ms: int = 300


class PhoneSpec(NamedTuple):
    """How an agent's phone behaves: it rings this long and answers, or it is busy (486)."""

    ring_ms: int = 150
    busy: bool = False


Tell = Callable[[str, str], Awaitable[None]]
"""(contact, what happened): how a phone behind a redirect server lets the server know."""


class Telephony(Protocol):
    """A running telephone system with the agents' phones."""

    voice: Voice
    phones: Mapping[str, str]
    """Login of the agent -> SIP address of the phone."""

    @property
    def settings(self) -> dict[str, Any]:
        """What the server must be told of it."""
        ...

    def connect(self, tell: Tell) -> None:
        """The server is up: phones may tell it what happens."""
        ...

    async def call(self, call: Call) -> bool:
        """Places a call and follows it to its end. Whether it was answered and ended in order."""
        ...


def choose_voice(wanted: str) -> Voice:
    """What `auto` means here. Raises BadInput where Kamailio is asked for and it or sipp is missing."""
    if wanted not in ("auto", "kamailio", "redirect"):
        raise BadInput("argument_invalid", "voice is auto, kamailio or redirect.", where={"argument": wanted[:40]})
    missing = [name for name in ("kamailio", "sipp") if find_program(name) is None]
    if wanted == "kamailio" and missing:
        raise BadInput(
            "program_missing",
            f"Not installed: {', '.join(missing)}.",
            hint="Install kamailio kamailio-extra-modules kamailio-json-modules sip-tester, or use --voice redirect.",
        )
    return "redirect" if wanted == "redirect" or missing else "kamailio"


@asynccontextmanager
async def telephony(voice: Voice, phones: Mapping[str, PhoneSpec], folder: Path) -> AsyncIterator[Telephony]:
    """The telephone system, until the block ends. `folder` takes its files."""
    async with AsyncExitStack() as stack:
        if voice == "kamailio":
            yield await _kamailio(stack, phones, folder)
        else:
            yield await _redirect(stack, phones)


# --- our own phones behind the redirect server -------------------------------------------------------------------


class OwnTelephony:
    """The project's caller and phones; the redirect server is part of the server itself."""

    voice: Voice = "redirect"

    def __init__(self, caller: Caller, phones: Mapping[str, Phone], queue: Phone, port: int) -> None:
        self._caller = caller
        self._queue = queue
        self._port = port
        self._tell: Tell | None = None
        self.phones: Mapping[str, str] = {login: phone.uri for login, phone in phones.items()}

    @property
    def settings(self) -> dict[str, Any]:
        return {"redirect_listen": f"{HOST}:{self._port}", "default_queue_uri": self._queue.uri}

    def connect(self, tell: Tell) -> None:
        self._tell = tell

    async def heard(self, what: str, call: PhoneCall) -> None:
        """What became of a call at a phone: behind a redirect server nobody else can tell."""
        contact = call.header("X-Firstring-Contact")
        if self._tell is not None and contact and what in _HEARD:
            await self._tell(contact, _HEARD[what])

    async def call(self, call: Call) -> bool:
        headers = (("Identity", call.identity),) if call.identity else ()
        result = await self._caller.call(
            f"sip:{SERVICE_NUMBER}@{HOST}:{self._port}",
            number=call.number,
            headers=headers,
            hold_ms=call.hold_ms,
            timeout_ms=int(CALL_S * 1000),
            come_back=3,
        )
        return result.status == 200


async def _redirect(stack: AsyncExitStack, specs: Mapping[str, PhoneSpec]) -> OwnTelephony:
    heard: list[OwnTelephony] = []

    async def listener(what: str, call: PhoneCall) -> None:
        for own in heard:
            await own.heard(what, call)

    phones = {
        login: Phone(
            user=login,
            behaviour="busy" if spec.busy else "answer",
            answer_after_ms=spec.ring_ms,
            listener=listener,
        )
        for login, spec in specs.items()
    }
    caller, queue = Caller(), Phone(user="queue")
    for endpoint in (*phones.values(), caller, queue):
        await endpoint.start()
        stack.push_async_callback(endpoint.stop)
    own = OwnTelephony(caller, phones, queue, free_port(socket.SOCK_DGRAM))
    heard.append(own)
    return own


# --- Kamailio with sipp ------------------------------------------------------------------------------------------


class KamailioTelephony:
    """Kamailio with the configuration of `firstring kamailio-config`; every phone and every call is a sipp."""

    voice: Voice = "kamailio"

    def __init__(self, folder: Path, ports: tuple[int, int], phones: Mapping[str, str], queue: str) -> None:
        self._folder = folder
        self._sip_port, self._evapi_port = ports
        self._queue = queue
        self._calls = 0
        self.phones = phones

    @property
    def settings(self) -> dict[str, Any]:
        return {"kamailio_evapi": f"{HOST}:{self._evapi_port}", "default_queue_uri": self._queue}

    def connect(self, tell: Tell) -> None:
        """Kamailio itself tells what becomes of calls."""

    async def call(self, call: Call) -> bool:
        self._calls += 1
        name = f"call-{self._calls % 100}"
        scenario = self._folder / f"{name}.xml"
        values = {
            "NUMBER": call.number,
            "SERVICE": SERVICE_NUMBER,
            "HOLD_MS": str(call.hold_ms),
            "IDENTITY": f"Identity: {call.identity}\n" if call.identity else "",
        }
        scenario.write_text(_filled("caller.xml", values), encoding="utf-8")
        target = f"{HOST}:{self._sip_port}"
        sipp = _sipp(self._folder, name, scenario, [target, "-m", "1", "-timeout", f"{CALL_S:.0f}", "-timeout_error"])
        try:
            return await sipp.ended(CALL_S + 5.0) == 0
        finally:
            await sipp.stop()


async def _kamailio(stack: AsyncExitStack, specs: Mapping[str, PhoneSpec], folder: Path) -> KamailioTelephony:
    # The default queue is a phone like any other.
    wanted = {**specs, "queue": PhoneSpec()}
    ports = await asyncio.gather(*(_sipp_phone(stack, folder, login, spec) for login, spec in wanted.items()))
    addresses = {login: f"sip:{login}@{HOST}:{port}" for login, port in zip(wanted, ports, strict=True)}
    queue = addresses.pop("queue")
    switch_ports = await _switch(stack, folder, queue)
    return KamailioTelephony(folder, switch_ports, addresses, queue)


async def _sipp_phone(stack: AsyncExitStack, folder: Path, login: str, spec: PhoneSpec) -> int:
    scenario = folder / f"phone-{login}.xml"
    template = "busy.xml" if spec.busy else "phone.xml"
    scenario.write_text(_filled(template, {"RING_MS": str(spec.ring_ms)}), encoding="utf-8")
    for attempt in range(_TRIES):
        port = free_port(socket.SOCK_DGRAM)
        phone = _sipp(folder, f"phone-{login}", scenario, ["-p", str(port)])
        stack.push_async_callback(phone.stop)
        if await _until(phone, lambda port=port: not is_free(port, socket.SOCK_DGRAM)):  # type: ignore[misc]
            return port
        if attempt == _TRIES - 1:
            raise failed(phone)
    raise AssertionError("unreachable")


def _sipp(folder: Path, name: str, scenario: Path, more: list[str]) -> Program:
    sipp = find_program("sipp")
    assert sipp is not None
    # fmt: off
    command = [
        sipp, *more, "-sf", str(scenario), "-i", HOST, "-nostdin", "-trace_err", "-error_file", str(folder / f"{name}.err"),
    ]
    # fmt: on
    return start_program(f"sipp ({name})", command, log=folder / f"{name}.log", folder=folder)


async def _switch(stack: AsyncExitStack, folder: Path, queue: str) -> tuple[int, int]:
    """Starts Kamailio; its SIP and evapi ports."""
    kamailio = find_program("kamailio")
    assert kamailio is not None
    for attempt in range(_TRIES):
        sip_port, evapi_port = free_port(socket.SOCK_DGRAM), free_port()
        config = folder / "kamailio.cfg"
        text = render_config(
            listen=(f"udp:{HOST}:{sip_port}",),
            evapi=f"{HOST}:{evapi_port}",
            default_uri=queue,
            children=2,
            log_stderror=True,
        )
        config.write_text(text, encoding="utf-8")
        # fmt: off
        command = [
            kamailio, "-DD", "-E", "-f", str(config), "-m", "64", "-M", "8", "-Y", str(folder),
            "-P", str(folder / "kamailio.pid"),
        ]
        # fmt: on
        switch = start_program("Kamailio", command, log=folder / "kamailio.log", folder=folder)
        stack.push_async_callback(switch.stop)
        if await _until(switch, lambda port=evapi_port: _listens(port)):  # type: ignore[misc]
            return sip_port, evapi_port
        if attempt == _TRIES - 1:
            raise failed(switch)
    raise AssertionError("unreachable")


def _listens(port: int) -> bool:
    with contextlib.suppress(OSError), socket.create_connection((HOST, port), timeout=0.5):
        return True
    return False


async def _until(program: Program, there: Callable[[], bool]) -> bool:
    """Until `there`; False when the program ends before, or does not come."""
    for _ in range(int(_START_S / 0.02)):
        if program.exit_code is not None:
            return False
        if there():
            return True
        await asyncio.sleep(0.02)
    return False


def _filled(template: str, values: Mapping[str, str]) -> str:
    """A sipp scenario with its @NAMES@ replaced."""
    text = (Path(__file__).with_name("data") / template).read_text("utf-8")
    for name, value in values.items():
        text = text.replace(f"@{name}@", value)
    return text
