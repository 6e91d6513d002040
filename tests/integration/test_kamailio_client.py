"""The evapi client against a peer that misbehaves in ways a real Kamailio does not: it goes on all the same."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator

import pytest_asyncio
from tests.integration.voice_rig import ScriptedSwitchboard

from firstring.channels.voice.contract import CallEvent, CallOffer, RouteAnswer, Wait, route
from firstring.channels.voice.kamailio import KamailioAdapter, encode_frame, read_frame
from firstring.errors import BadInput, Retryable

PHONE = RouteAnswer(routes=(route("sip:a@192.0.2.1"),))


class Peer:
    """Accepts the client as evapi does; what it says is what a test wrote."""

    def __init__(self) -> None:
        self.connections: list[asyncio.StreamWriter] = []
        self.heard: asyncio.Queue[dict[str, object]] = asyncio.Queue()
        self.port = 0
        self._server: asyncio.Server | None = None

    async def start(self) -> None:
        self._server = await asyncio.start_server(self._on_client, "127.0.0.1", self.port)
        self.port = self._server.sockets[0].getsockname()[1]

    async def stop(self) -> None:
        assert self._server is not None
        self._server.close()
        for writer in self.connections:
            writer.close()
        await self._server.wait_closed()

    async def _on_client(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections.append(writer)
        try:
            while True:
                message = json.loads(await read_frame(reader))
                if not {"ping", "list_live"} & set(message):
                    self.heard.put_nowait(message)
        except (asyncio.IncompleteReadError, ConnectionError):
            writer.close()

    def say(self, *messages: bytes | dict[str, object]) -> None:
        for message in messages:
            raw = message if isinstance(message, bytes) else encode_frame(json.dumps(message).encode())
            self.connections[-1].write(raw)

    async def answer(self) -> dict[str, object]:
        async with asyncio.timeout(5):
            return await self.heard.get()


def offer(call_id: str, ref: str = "1:2:0") -> dict[str, object]:
    return {"type": "call.offered", "call_id": call_id, "adapter_ref": ref}


@pytest_asyncio.fixture
async def peer() -> AsyncIterator[Peer]:
    peer = Peer()
    await peer.start()
    yield peer
    await peer.stop()


async def to_phone(_: CallOffer | CallEvent) -> RouteAnswer | None:
    return PHONE


async def test_bad_messages_are_survived(peer: Peer) -> None:
    adapter = KamailioAdapter(ScriptedSwitchboard(to_phone), port=peer.port)
    await adapter.start()
    await adapter.wait_connected()
    await asyncio.sleep(0.05)
    bad: list[bytes] = [b"not json", b"[]", b"\xff\xfe", b'{"type":"call.exploded"}', b'{"type":"call.offered"}', b"{}"]
    peer.say(*(encode_frame(message) for message in bad), {"type": "call.live.end", "nonce": "not ours"}, offer("good"))
    assert (await peer.answer())["adapter_ref"] == "1:2:0"
    peer.say(b"no netstring")  # desynchronised: the connection is made anew
    await asyncio.sleep(0.3)
    assert len(peer.connections) == 2
    peer.say(offer("again", "3:4:0"))
    assert (await peer.answer())["adapter_ref"] == "3:4:0"
    await adapter.stop()


async def test_it_reconnects_for_ever(peer: Peer) -> None:
    adapter = KamailioAdapter(ScriptedSwitchboard(to_phone), port=peer.port)
    await adapter.start()
    await adapter.wait_connected()
    await peer.stop()
    await asyncio.sleep(0.6)
    assert not adapter.connected
    await peer.start()
    await adapter.wait_connected()
    await asyncio.sleep(0.05)
    peer.say(offer("back"))
    assert (await peer.answer())["adapter_ref"] == "1:2:0"
    await adapter.stop()


async def test_messages_of_one_call_keep_their_order_and_calls_do_not_wait_for_each_other(peer: Peer) -> None:
    slow = asyncio.Event()
    order: list[str] = []

    async def answering(message: CallOffer | CallEvent) -> RouteAnswer | None:
        if message.call_id == "slow":
            await slow.wait()
        order.append(message.call_id)
        return PHONE

    core = ScriptedSwitchboard(answering)
    adapter = KamailioAdapter(core, port=peer.port)
    await adapter.start()
    await adapter.wait_connected()
    await asyncio.sleep(0.05)
    peer.say(offer("slow"), {"type": "call.cancelled", "call_id": "slow"}, offer("quick", "5:6:0"))
    assert (await peer.answer())["adapter_ref"] == "5:6:0"
    assert core.events == []
    slow.set()
    await core.until(lambda: core.events)
    assert order == ["quick", "slow"]
    await adapter.stop()


async def test_no_more_than_the_bound_is_handled_at_once(peer: Peer) -> None:
    now = most = 0

    async def answering(_: CallOffer | CallEvent) -> RouteAnswer | None:
        nonlocal now, most
        now += 1
        most = max(most, now)
        await asyncio.sleep(0.01)
        now -= 1
        return PHONE

    adapter = KamailioAdapter(ScriptedSwitchboard(answering), port=peer.port, in_flight_max=4)
    await adapter.start()
    await adapter.wait_connected()
    await asyncio.sleep(0.05)
    peer.say(*(offer(f"call-{index}", f"{index}:0:0") for index in range(40)))
    refs = {(await peer.answer())["adapter_ref"] for _ in range(40)}
    assert len(refs) == 40
    assert most == 4
    await adapter.stop()


async def test_an_answer_too_large_to_read_is_not_sent(peer: Peer) -> None:
    async def answering(message: CallOffer | CallEvent) -> RouteAnswer | None:
        return RouteAnswer(decision="d" * 20_000) if message.call_id == "large" else PHONE

    adapter = KamailioAdapter(ScriptedSwitchboard(answering), port=peer.port)
    await adapter.start()
    await adapter.wait_connected()
    await asyncio.sleep(0.05)
    peer.say(offer("large"), offer("good", "7:8:0"))
    assert (await peer.answer())["adapter_ref"] == "7:8:0"
    await adapter.stop()


async def test_live_calls_are_told_again_and_again_with_calls_heard_of_meanwhile(peer: Peer) -> None:
    core = ScriptedSwitchboard(to_phone)
    adapter = KamailioAdapter(core, port=peer.port, reconcile_s=0.5)
    await adapter.start()
    await adapter.wait_connected()
    await asyncio.sleep(0.05)
    nonce = f"{id(adapter):x}-1"
    peer.say(
        {"type": "call.live", "nonce": nonce, "ids": ["one", "two"]},
        offer("three"),
        {"type": "call.live.end", "nonce": nonce, "ids": []},
    )
    await core.until(lambda: core.reconciled)
    assert core.reconciled == [("kamailio", ["one", "two", "three"])]
    await asyncio.sleep(1.3)
    peer.say({"type": "call.live.end", "nonce": f"{id(adapter):x}-2", "ids": []})
    await core.until(lambda: len(core.reconciled) == 2)
    await adapter.stop()


async def test_a_push_without_a_connection_says_so(peer: Peer) -> None:
    adapter = KamailioAdapter(ScriptedSwitchboard(to_phone), port=peer.port)
    code = ""
    try:
        await adapter.push("1:2:0", PHONE)
    except Retryable as error:
        code = error.code
    assert code == "adapter_not_connected"
    await adapter.start()
    await adapter.wait_connected()
    await adapter.push("1:2:0", RouteAnswer(wait=Wait(max_ms=5)))
    assert await peer.answer() == {
        "version": "1.0",
        "routing": "serial",
        "routes": [],
        "wait": {"max_ms": 5},
        "decision": "",
        "reasons": [],
        "treatment": "",
        "pop_url": "",
        "adapter_ref": "1:2:0",
    }
    await adapter.stop()


async def test_stopping_tells_kamailio_first(peer: Peer) -> None:
    async def failing(_: CallOffer | CallEvent) -> RouteAnswer | None:
        raise BadInput("x", "a refusal of the core")

    adapter = KamailioAdapter(ScriptedSwitchboard(failing), port=peer.port)
    await adapter.start()
    await adapter.wait_connected()
    await asyncio.sleep(0.05)
    peer.say(offer("refused"))
    await adapter.stop()
    assert await peer.answer() == {"leaving": 1}
