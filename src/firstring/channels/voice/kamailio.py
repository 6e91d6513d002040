"""The adapter for Kamailio: a client of its evapi module (netstring JSON over TCP) that asks a Switchboard.

Kamailio suspends the caller's transaction and tells every connected client; an answer names the transaction by its
`adapter_ref`. The client reconnects for ever, bounds what it handles at once, keeps the messages of one call in their
order, and lives through bad messages. Everything that fails here ends at Kamailio's own default queue by its own timer.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections import OrderedDict
from collections.abc import Collection, Coroutine, Iterator, Mapping, Sequence
from typing import Any, Final

import msgspec
import structlog

from firstring.channels.voice.contract import (
    ASKS_AGAIN,
    CallEvent,
    CallOffer,
    RouteAnswer,
    Switchboard,
    clean_text,
    encode_answer,
    event_from_fields,
    offer_from_fields,
)
from firstring.errors import BadInput, FirstringError, Retryable

FRAME_BYTES: Final = 262_144
"""A message from Kamailio; beyond it the connection is dropped and made anew."""
BACKOFF_MIN_S: Final = 0.05
BACKOFF_MAX_S: Final = 1.0
PING_S: Final = 1.0
"""How often Kamailio hears of us; after 3 s of silence it asks nobody."""
LEAVING_S: Final = 0.05
"""How long a stopping client still takes what Kamailio sent before it knew."""
HANDLING_MAX_S: Final = 10.0
"""A message that takes longer is given up, so that a hung decision does not hold its place for ever."""
BACKLOG: Final = 4_096
"""Messages accepted and not yet finished; beyond it offers are dropped (Kamailio sends those calls to its default)."""
SEEN_CALLS: Final = 20_000
"""Calls remembered while a list of live calls is on its way."""

_log = structlog.get_logger(__name__)


def encode_frame(payload: bytes) -> bytes:
    """One netstring (D. J. Bernstein, 1997): length in decimal digits, colon, payload, comma."""
    return b"%d:%s," % (len(payload), payload)


async def read_frame(reader: asyncio.StreamReader) -> bytes:
    """The next netstring. BadInput("bad_frame") when the stream is none; IncompleteReadError at its end."""
    digits = b""
    while (byte := await reader.readexactly(1)) != b":":
        digits += byte
        if not byte.isdigit() or len(digits) > 7:
            raise BadInput("bad_frame", "Not a netstring.")
    length = int(digits or b"0")
    if length > FRAME_BYTES:
        raise BadInput("bad_frame", "A netstring larger than is read.", where={"bytes": length})
    payload = await reader.readexactly(length + 1)
    if payload[-1:] != b",":
        raise BadInput("bad_frame", "A netstring without its comma.")
    return payload[:-1]


class LiveCalls(Collection[str]):
    """The calls that Kamailio listed, and those heard of since it was asked: the latter may still grow in number."""

    def __init__(self, listed: Sequence[str], heard_of: Mapping[str, None]) -> None:
        self._listed = dict.fromkeys(listed)
        self._heard_of = heard_of

    def __iter__(self) -> Iterator[str]:
        return iter(tuple({**self._listed, **self._heard_of}))

    def __len__(self) -> int:
        return len({**self._listed, **self._heard_of})

    def __contains__(self, call_id: object) -> bool:
        return call_id in self._listed or call_id in self._heard_of


class KamailioAdapter:
    """One connection to one Kamailio. `name` is its adapter name in offers and events, unique among the adapters."""

    def __init__(
        self,
        switchboard: Switchboard,
        *,
        name: str = "kamailio",
        host: str = "127.0.0.1",
        port: int = 8448,
        in_flight_max: int = 256,
        reconcile_s: float = 30.0,
    ) -> None:
        self._switchboard = switchboard
        self.name = name
        self._address = (host, port)
        self._places = asyncio.Semaphore(in_flight_max)
        self._reconcile_s = reconcile_s
        self._writer: asyncio.StreamWriter | None = None
        self._connected = asyncio.Event()
        self._run: asyncio.Task[None] | None = None
        self._work: set[asyncio.Task[None]] = set()
        self._last_of_call: dict[str, asyncio.Task[None]] = {}
        self._nonce = 0
        self._listing: list[str] | None = None
        self._answered: list[str] = []
        self._seen: OrderedDict[str, None] = OrderedDict()
        self._ask_again = asyncio.Event()

    @property
    def connected(self) -> bool:
        """Whether Kamailio can ask us now."""
        return self._connected.is_set()

    async def start(self) -> None:
        """Begin to connect, in the background; returns at once. Use `wait_connected` to wait."""
        if self._run is None:
            self._run = asyncio.create_task(self._stay_connected(), name=f"{self.name}-evapi")

    async def wait_connected(self, timeout_s: float = 5.0) -> None:
        """Until Kamailio is connected; TimeoutError otherwise."""
        async with asyncio.timeout(timeout_s):
            await self._connected.wait()

    async def stop(self, grace_s: float = 5.0) -> None:
        """Accept nothing more, finish what was accepted (for at most `grace_s`), then close."""
        run, self._run = self._run, None
        writer = self._writer
        if writer is not None and self.connected:
            with contextlib.suppress(OSError):
                await self._send(b'{"leaving":1}')
            await asyncio.sleep(LEAVING_S)
        if run is not None:
            run.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await run
        if self._work:
            _, late = await asyncio.wait(list(self._work), timeout=grace_s)
            for task in late:
                task.cancel()
            await asyncio.gather(*late, return_exceptions=True)
        if writer is not None:
            await _close(writer)
        self._writer = None

    async def push(self, adapter_ref: str, answer: RouteAnswer) -> None:
        """A route for a call that waits. Retryable("adapter_not_connected") when Kamailio cannot be told now.

        A call that is gone, or already went elsewhere, ignores it; its `call.cancelled` or `call.defaulted` says so.
        """
        if not self.connected:
            raise Retryable("adapter_not_connected", "Kamailio is not connected.", where={"adapter": self.name})
        await self._send(encode_answer(msgspec.structs.replace(answer, adapter_ref=adapter_ref)))

    async def say(self, adapter_ref: str, call_id: str, text: str) -> None:
        """Tells the caller of a call that waits how it stands: 182 Queued, with `text` as the reason phrase."""
        if self.connected:
            text = clean_text(text, 128).replace('"', "'").replace("$", " ")
            await self._send(msgspec.json.encode({"say": text, "adapter_ref": adapter_ref, "call_id": call_id}))

    def reconcile_soon(self) -> None:
        """Ask for the live calls within `PING_S`: what Kamailio told may not have been kept."""
        self._ask_again.set()

    async def _stay_connected(self) -> None:
        backoff_s = BACKOFF_MIN_S
        while True:
            try:
                reader, writer = await asyncio.open_connection(*self._address, limit=FRAME_BYTES)
            except OSError as error:
                _log.debug("kamailio_unreachable", adapter=self.name, error=str(error))
                await asyncio.sleep(backoff_s)
                backoff_s = min(backoff_s * 2, BACKOFF_MAX_S)
                continue
            backoff_s = BACKOFF_MIN_S
            await self._serve(reader, writer)
            await asyncio.sleep(BACKOFF_MIN_S)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Read one connection to its end. Cancelled (by `stop`), the connection stays open for answers under way."""
        self._writer = writer
        self._listing = None
        self._connected.set()
        _log.info("kamailio_connected", adapter=self.name)
        pings = asyncio.create_task(self._ping(), name=f"{self.name}-ping")
        stopping = False
        try:
            while True:
                payload = await read_frame(reader)
                _acknowledge_now(writer)
                self._accept(payload)
        except asyncio.CancelledError:
            stopping = True
            raise
        except (OSError, asyncio.IncompleteReadError, BadInput) as error:
            _log.warning("kamailio_lost", adapter=self.name, error=type(error).__name__)
        finally:
            self._connected.clear()
            pings.cancel()
            if not stopping:
                self._writer = None
                writer.close()

    async def _ping(self) -> None:
        """Say that we are here, and ask for the live calls: at once, then every `reconcile_s`."""
        loop = asyncio.get_running_loop()
        due = loop.time()
        while True:
            try:
                if loop.time() >= due or self._ask_again.is_set():
                    self._ask_again.clear()
                    due = loop.time() + self._reconcile_s
                    await self._ask_live()
                else:
                    await self._send(b'{"ping":1}')
            except OSError:
                return
            await asyncio.sleep(PING_S)

    async def _ask_live(self) -> None:
        self._nonce += 1
        self._listing, self._answered = [], []
        self._seen = OrderedDict()
        await self._send(msgspec.json.encode({"list_live": f"{id(self):x}-{self._nonce}"}))

    async def _send(self, payload: bytes) -> None:
        writer = self._writer
        if writer is None or writer.is_closing():
            return
        writer.write(encode_frame(payload))
        await writer.drain()

    def _accept(self, payload: bytes) -> None:
        try:
            fields = msgspec.json.decode(payload, type=dict[str, Any])
            kind = fields.get("type")
            if kind in ("call.live", "call.live.end"):
                self._on_live(fields)
                return
            fields["adapter"] = self.name
            message = offer_from_fields(fields) if kind == "call.offered" else event_from_fields(fields)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError, BadInput) as error:
            _log.warning("kamailio_bad_message", adapter=self.name, error=type(error).__name__, bytes=len(payload))
            return
        self._seen[message.call_id] = None
        if len(self._seen) > SEEN_CALLS:
            self._seen.popitem(last=False)
        if len(self._work) >= BACKLOG and isinstance(message, CallOffer):
            _log.warning("kamailio_backlog_full", adapter=self.name)
            return
        before = self._last_of_call.get(message.call_id)
        task = self._spawn(self._handle(message, before))
        self._last_of_call[message.call_id] = task
        task.add_done_callback(lambda done: self._forget(message.call_id, done))

    def _spawn(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task = asyncio.create_task(work)
        self._work.add(task)
        task.add_done_callback(self._work.discard)
        return task

    def _forget(self, call_id: str, done: asyncio.Task[None]) -> None:
        if self._last_of_call.get(call_id) is done:
            del self._last_of_call[call_id]

    async def _handle(self, message: CallOffer | CallEvent, before: asyncio.Task[None] | None) -> None:
        if before is not None:
            await asyncio.wait([before])
        try:
            async with self._places, asyncio.timeout(HANDLING_MAX_S):
                answer = await self._ask(message)
            if answer is not None:
                payload = encode_answer(msgspec.structs.replace(answer, adapter_ref=message.adapter_ref))
                await self._send(payload)
        except (TimeoutError, FirstringError, OSError) as error:
            _log.warning("call_not_handled", adapter=self.name, error=type(error).__name__, detail=str(error))
        except Exception:  # noqa: BLE001 - the rim: a fault in a decision must not end the adapter; logged in full
            _log.exception("call_not_handled", adapter=self.name)

    async def _ask(self, message: CallOffer | CallEvent) -> RouteAnswer | None:
        if isinstance(message, CallOffer):
            return await self._switchboard.offered(message)
        if message.type in ASKS_AGAIN:
            return await self._switchboard.no_agent(message)
        await self._switchboard.event(message)
        return None

    def _on_live(self, fields: dict[str, Any]) -> None:
        """Collect the list that we asked for; calls heard of meanwhile live as well, whatever the list says."""
        if self._listing is None or fields.get("nonce") != f"{id(self):x}-{self._nonce}":
            return
        for name, listed in (("ids", self._listing), ("answered", self._answered)):
            ids = fields.get(name, [])
            if isinstance(ids, list):
                listed.extend(str(call_id) for call_id in ids)
        if fields.get("type") == "call.live.end":
            live = LiveCalls(self._listing, self._seen)
            self._listing = None
            self._spawn(self._reconcile(live, tuple(self._answered)))

    async def _reconcile(self, live_call_ids: LiveCalls, answered_call_ids: tuple[str, ...]) -> None:
        try:
            async with asyncio.timeout(HANDLING_MAX_S):
                await self._switchboard.reconcile(self.name, live_call_ids, answered_call_ids)
        except (TimeoutError, FirstringError, OSError) as error:
            _log.warning("reconcile_failed", adapter=self.name, error=type(error).__name__, detail=str(error))
        except Exception:  # noqa: BLE001 - as in _handle
            _log.exception("reconcile_failed", adapter=self.name)


def _acknowledge_now(writer: asyncio.StreamWriter) -> None:
    """evapi sends with Nagle's algorithm on: a delayed acknowledgement would hold its next message back for 40 ms.

    Linux alone has TCP_QUICKACK, and forgets it: it is set after each message.
    """
    sock = writer.get_extra_info("socket")
    if sock is not None and hasattr(socket, "TCP_QUICKACK"):
        with contextlib.suppress(OSError):
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_QUICKACK, 1)


async def _close(writer: asyncio.StreamWriter) -> None:
    writer.close()
    with contextlib.suppress(OSError):
        await writer.wait_closed()
