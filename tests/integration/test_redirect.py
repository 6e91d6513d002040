"""The redirect server over real UDP, with the small caller and phones, and a scripted core."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass

import pytest
import pytest_asyncio
from tests.integration.voice_rig import ScriptedSwitchboard

from firstring.channels.voice import sip
from firstring.channels.voice.caller import Caller, place_calls
from firstring.channels.voice.contract import CallEvent, CallOffer, RouteAnswer, Wait, route
from firstring.channels.voice.endpoint import Address, Endpoint
from firstring.channels.voice.phone import Phone, PhoneCall
from firstring.channels.voice.redirect import RedirectServer
from firstring.errors import BadInput, Retryable

HEADERS = {"X-Firstring-Contact": "c-1", "X-Firstring-Decision": "longest idle; 50%"}


class Probe(Endpoint):
    """Sends what a test says and keeps what comes back."""

    def __init__(self) -> None:
        super().__init__()
        self.heard: asyncio.Queue[sip.Message] = asyncio.Queue()

    def on_message(self, message: sip.Message, source: Address) -> None:
        self.heard.put_nowait(message)

    async def next(self, timeout_s: float = 3.0) -> sip.Message:
        async with asyncio.timeout(timeout_s):
            return await self.heard.get()


@dataclass
class Rig:
    """A redirect server, two agents' phones, the default queue, the hold place, a caller and a probe."""

    core: ScriptedSwitchboard
    server: RedirectServer
    first: Phone
    second: Phone
    queue: Phone
    hold: Phone
    caller: Caller
    probe: Probe

    @property
    def uri(self) -> str:
        return f"sip:support@{self.server.uri_host}"

    @property
    def address(self) -> Address:
        return self.server.host, self.server.port

    async def to_first(self, _: CallOffer | CallEvent) -> RouteAnswer | None:
        return RouteAnswer(routes=(route(self.first.uri, HEADERS),))

    def request(self, method: str, *, to_tag: str = "", call_id: str = "probe-1") -> sip.Message:
        caller_invite = self.caller.invite(self.uri, number="+1555", call_id=call_id)
        headers = tuple(
            (name, value.replace("INVITE", method) + (f";tag={to_tag}" if name == "To" and to_tag else ""))
            for name, value in caller_invite.headers
        )
        return sip.Message(method=method, uri=caller_invite.uri, headers=headers)


async def nobody(_: CallOffer | CallEvent) -> RouteAnswer | None:
    return None


@pytest_asyncio.fixture
async def rig() -> AsyncIterator[Rig]:
    core = ScriptedSwitchboard(nobody)
    phones = [Phone(user=user) for user in ("first", "second", "queue", "hold")]
    caller, probe = Caller(), Probe()
    for endpoint in (*phones, caller, probe):
        await endpoint.start()
    server = RedirectServer(core, port=0, default_uri=phones[2].uri, hold_uri=phones[3].uri, agents_tried_max=3)
    await server.start()
    rig = Rig(core, server, *phones, caller=caller, probe=probe)
    core.answering = rig.to_first
    yield rig
    await server.stop()
    for endpoint in (*phones, caller, probe):
        await endpoint.stop()


async def test_a_call_is_redirected_to_the_agent_with_our_headers(rig: Rig) -> None:
    headers = (("P-Asserted-Identity", '"Doe" <sip:+15550009@carrier.example>'), ("X-Visit", "v-1"), ("Identity", "abc"))
    result = await rig.caller.call(rig.uri, number="+15551230077", headers=headers)
    assert result.status == 200
    assert result.responses == [100, 180, 302, 180, 200]
    assert result.uris == [rig.uri, rig.first.uri]
    offer = rig.core.offers[0]
    assert (offer.from_, offer.pai, offer.to) == ("+15551230077", "+15550009", "support")
    assert (offer.identity, offer.visit, offer.attempt) == ("abc", "v-1", 0)
    assert offer.src == f"127.0.0.1:{rig.caller.port}"
    call = rig.first.calls[result.call_id]
    assert {name: call.header(name) for name in HEADERS} == HEADERS
    assert rig.core.events == []


async def test_the_phone_itself_tells_what_the_server_cannot_see(rig: Rig) -> None:
    heard: list[str] = []

    async def listener(what: str, call: PhoneCall) -> None:
        heard.append(f"{what} {call.header('X-Firstring-Contact')}")

    phone = Phone(user="telling", listener=listener)
    await phone.start()

    async def answering(_: CallOffer | CallEvent) -> RouteAnswer | None:
        return RouteAnswer(routes=(route(phone.uri, HEADERS),))

    rig.core.answering = answering
    await rig.caller.call(rig.uri)
    await rig.core.until(lambda: len(heard) == 3)
    assert heard == ["call.ringing c-1", "call.answered c-1", "call.ended c-1"]
    await phone.stop()


async def test_a_call_that_comes_back_asks_for_the_next_agent_anew(rig: Rig) -> None:
    rig.first.behaviour = "busy"

    async def answering(message: CallOffer | CallEvent) -> RouteAnswer | None:
        return RouteAnswer(routes=(route((rig.first if message.attempt == 0 else rig.second).uri, HEADERS),))

    rig.core.answering = answering
    result = await rig.caller.call(rig.uri, come_back=1)
    assert result.status == 200
    assert result.uris == [rig.uri, rig.first.uri, rig.uri, rig.second.uri]
    assert len(rig.core.offers) == 1
    asked = rig.core.asked_again[0]
    assert (asked.type, asked.attempt, asked.uri) == ("call.unreachable", 1, rig.first.uri)


async def test_who_comes_back_from_everywhere_gets_the_default_queue_and_then_a_final_reply(rig: Rig) -> None:
    rig.first.behaviour = rig.queue.behaviour = "busy"
    result = await rig.caller.call(rig.uri, come_back=9)
    assert result.status == 480
    assert [uri for uri in result.uris if uri != rig.uri] == [rig.first.uri] * 3 + [rig.queue.uri]
    await rig.core.until(lambda: "call.ended" in rig.core.kinds(result.call_id))
    assert rig.core.kinds(result.call_id) == ["call.defaulted", "call.ended"]


@pytest.mark.parametrize("fault", ["silent", "late", "raises", "bad_input"])
async def test_no_decision_in_time_means_the_default_queue(rig: Rig, fault: str) -> None:
    async def answering(_: CallOffer | CallEvent) -> RouteAnswer | None:
        if fault == "raises":
            raise RuntimeError("a fault of the core")
        if fault == "bad_input":
            raise BadInput("x", "y")
        if fault == "late":
            await asyncio.sleep(1.0)
            return RouteAnswer(routes=(route(rig.first.uri),))
        return None

    rig.core.answering = answering
    result = await rig.caller.call(rig.uri)
    assert result.status == 200
    assert rig.queue.calls[result.call_id].header("X-Firstring-Decision") == "default"
    await rig.core.until(lambda: rig.core.kinds(result.call_id))
    assert (rig.core.events[0].type, rig.core.events[0].defaulted) == ("call.defaulted", True)
    assert rig.core.events[0].reason == ("timeout" if fault == "late" else "failed")


async def test_a_wait_rings_on_until_a_route_is_pushed(rig: Rig) -> None:
    async def answering(_: CallOffer | CallEvent) -> RouteAnswer | None:
        return RouteAnswer(wait=Wait(max_ms=10_000))

    rig.core.answering = answering
    calling = asyncio.create_task(rig.caller.call(rig.uri))
    await rig.core.until(lambda: rig.core.offers)
    await asyncio.sleep(1.0)
    assert not calling.done()
    for _ in range(2):
        await rig.server.push(rig.core.offers[0].adapter_ref, RouteAnswer(routes=(route(rig.second.uri, HEADERS),)))
    result = await calling
    assert result.uris == [rig.uri, rig.second.uri]


async def test_who_waits_is_told_how_it_stands(rig: Rig) -> None:
    contact_id = "0190a4de-0000-7000-8000-000000000001"

    async def answering(_: CallOffer | CallEvent) -> RouteAnswer | None:
        return RouteAnswer(wait=Wait(max_ms=10_000), decision=f"{contact_id}/1")

    rig.core.answering = answering
    assert not rig.server.holds(contact_id)
    calling = asyncio.create_task(rig.caller.call(rig.uri))
    await rig.core.until(lambda: rig.server.holds(contact_id))
    for text in ("Queued; place 2; wait 3 min", "Queued; place 1\r\nX-Evil: 1"):
        rig.server.say(contact_id, text)
        await asyncio.sleep(0.05)
    await rig.server.push(rig.core.offers[0].adapter_ref, RouteAnswer(routes=(route(rig.second.uri, HEADERS),)))
    result = await calling
    rig.server.say(contact_id, "Queued; no more")
    assert result.queued == ["Queued; place 2; wait 3 min", "Queued; place 1 X-Evil: 1"]
    assert result.uris == [rig.uri, rig.second.uri]


@pytest.mark.parametrize("named", [True, False])
async def test_a_wait_that_is_over_goes_to_the_hold_place(rig: Rig, named: bool) -> None:
    async def answering(_: CallOffer | CallEvent) -> RouteAnswer | None:
        return RouteAnswer(wait=Wait(max_ms=200, uri=rig.second.uri if named else ""))

    rig.core.answering = answering
    result = await rig.caller.call(rig.uri)
    assert result.uris[-1] == (rig.second if named else rig.hold).uri
    await rig.core.until(lambda: rig.core.kinds(result.call_id))
    assert rig.core.events[0].reason == "wait_over"


@pytest.mark.parametrize("when", ["deciding", "waiting"])
async def test_the_caller_gives_up(rig: Rig, when: str) -> None:
    async def answering(message: CallOffer | CallEvent) -> RouteAnswer | None:
        if when == "waiting":
            return RouteAnswer(wait=Wait(max_ms=10_000))
        await asyncio.sleep(0.5)
        return await rig.to_first(message)

    rig.core.answering = answering
    result = await rig.caller.call(rig.uri, cancel_after_ms=200)
    assert result.status == 487
    await rig.core.until(lambda: rig.core.kinds(result.call_id))
    assert rig.core.kinds(result.call_id) == ["call.cancelled"]
    assert not rig.first.calls


async def test_a_retransmission_gets_what_was_said_last_and_asks_nobody(rig: Rig) -> None:
    invite = rig.request("INVITE")
    for _ in range(4):
        rig.probe.send(invite, rig.address)
        await asyncio.sleep(0.05)
    assert len(rig.core.offers) == 1
    statuses = [rig.probe.heard.get_nowait().status for _ in range(rig.probe.heard.qsize())]
    assert statuses[:3] == [100, 180, 302]
    assert set(statuses[3:]) == {302}
    assert (await rig.probe.next()).status == 302  # repeated for want of an ACK
    rig.probe.send(rig.request("ACK"), rig.address)
    await asyncio.sleep(0.1)
    while not rig.probe.heard.empty():
        rig.probe.heard.get_nowait()
    await asyncio.sleep(1.2)
    assert rig.probe.heard.empty()


async def test_other_requests(rig: Rig) -> None:
    for message, status in (
        (rig.request("OPTIONS"), 200),
        (rig.request("REGISTER"), 405),
        (rig.request("BYE", to_tag="x"), 481),
        (rig.request("CANCEL"), 481),
    ):
        rig.probe.send(message, rig.address)
        answer = await rig.probe.next()
        assert answer.status == status
        assert (answer.header("allow") != "") == (status in (200, 405))
    rig.probe.send(rig.request("ACK"), rig.address)
    await asyncio.sleep(0.1)
    assert rig.probe.heard.empty()


async def test_garbage_hurts_nobody(rig: Rig) -> None:
    for data in (
        b"",
        b"\r\n\r\n",
        b"\xff" * 50_000,
        b"INVITE\r\n\r\n",
        b"SIP/2.0 xyz\r\n\r\n",
        b"INVITE sip:x SIP/2.0\r\n:\r\n\r\n",
    ):
        rig.probe.send_bytes(data, rig.address)
    nameless = sip.Message(
        method="INVITE", uri=rig.uri, headers=(("Via", "SIP/2.0/UDP x;branch=z9hG4bK1"), ("To", "<sip:x>"))
    )
    rig.probe.send(nameless, rig.address)
    assert (await rig.probe.next()).status == 400
    blanks = rig.request("INVITE", call_id="a call id with blanks")
    rig.probe.send(blanks, rig.address)
    statuses = [(await rig.probe.next()).status for _ in range(3)]
    assert statuses == [100, 180, 302]
    assert rig.core.offers == []
    headers = (("Identity", "x" * 40_000), ("From-Garbage", "\u260e"))
    assert (await rig.caller.call(rig.uri, number="9" * 400, headers=headers)).status == 200
    assert (len(rig.core.offers[0].from_), len(rig.core.offers[0].identity)) == (256, 8_192)


async def test_header_injection_is_not_possible(rig: Rig) -> None:
    async def answering(_: CallOffer | CallEvent) -> RouteAnswer | None:
        return RouteAnswer(routes=(route(rig.first.uri, {"X-Firstring-Name": "a\r\nX-Evil: yes\r\n\r\nbody"}),))

    rig.core.answering = answering
    result = await rig.caller.call(rig.uri)
    call = rig.first.calls[result.call_id]
    assert call.header("X-Firstring-Name") == "a X-Evil: yes body"
    assert call.header("X-Evil") == ""


async def test_a_stopping_server_finishes_its_decisions(rig: Rig) -> None:
    async def answering(message: CallOffer | CallEvent) -> RouteAnswer | None:
        await asyncio.sleep(0.3)
        return await rig.to_first(message)

    rig.core.answering = answering
    calling = asyncio.create_task(rig.caller.call(rig.uri))
    await rig.core.until(lambda: rig.core.offers)
    await rig.server.stop()
    assert (await calling).uris[-1] == rig.first.uri


async def test_a_stopping_server_sends_who_waits_to_the_hold_place(rig: Rig) -> None:
    async def answering(_: CallOffer | CallEvent) -> RouteAnswer | None:
        return RouteAnswer(wait=Wait(max_ms=60_000))

    rig.core.answering = answering
    calling = asyncio.create_task(rig.caller.call(rig.uri))
    await rig.core.until(lambda: rig.core.offers)
    await asyncio.sleep(0.05)
    await rig.server.stop()
    assert (await calling).uris[-1] == rig.hold.uri


async def test_an_address_that_is_taken_says_so(rig: Rig) -> None:
    other = RedirectServer(rig.core, port=rig.server.port, default_uri=rig.queue.uri)
    with pytest.raises(Retryable, match="cannot be bound"):
        await other.start()


async def test_two_hundred_calls(rig: Rig) -> None:
    numbers = [f"+1555{index:07d}" for index in range(200)]
    times = await place_calls(rig.caller, [rig.first], rig.uri, numbers, rate_per_s=200)
    assert {call.status for call in times} == {200}
    assert all(call.to_phone_ms is not None and call.to_ring_ms is not None for call in times)
