"""Callers who hide, lie or send rubbish reach somebody all the same, and the decision says what was wrong; and the way of
a call through the redirect server."""

from __future__ import annotations

import asyncio
import contextlib
import secrets
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from tests.acceptance.call_rig import SERVICE, Agent, Carrier, Rig, running_rig, until
from tests.integration.voice_rig import free_port

from firstring.channels.voice import sip
from firstring.channels.voice.caller import Caller
from firstring.channels.voice.phone import PhoneCall, PhoneListener
from firstring.contact import Decision


@pytest_asyncio.fixture(scope="module")
async def carrier(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Carrier]:
    async with Carrier(tmp_path_factory.mktemp("carrier")).serving() as carrier:
        yield carrier


@pytest_asyncio.fixture(scope="module")
async def shared(
    make_home: Callable[[], Path], tmp_path_factory: pytest.TempPathFactory, carrier: Carrier
) -> AsyncIterator[Rig]:
    folder = tmp_path_factory.mktemp("hostile")
    async with running_rig(folder, make_home(), redirects=True, **carrier.settings) as rig:
        yield rig


@pytest_asyncio.fixture
async def rig(shared: Rig) -> AsyncIterator[Rig]:
    await shared.one_server()
    yield shared
    assert await shared.store.broken() == []
    await shared.clear()


class OddCaller(Caller):
    """Writes its From as it likes."""

    from_value = ""

    def invite(self, *arguments: Any, **named: Any) -> sip.Message:
        message = super().invite(*arguments, **named)
        headers = tuple((name, self.from_value if name == "From" else value) for name, value in message.headers)
        return replace(message, headers=headers)


@pytest_asyncio.fixture
async def odd() -> AsyncIterator[OddCaller]:
    caller = OddCaller()
    await caller.start()
    yield caller
    await caller.stop()


def number() -> str:
    return f"+1202555{secrets.randbelow(10_000):04d}"


async def decided(rig: Rig, agent: Agent, call_id: str) -> Decision:
    """The newest decision of a call that rang at an agent, its certificate fetched or given up."""
    contact_id = agent.phone.calls[call_id].header("X-Firstring-Contact")

    async def found() -> Decision | None:
        decision = await rig.store.decision(contact_id)
        signature = decision.evidence.signature
        return None if signature is not None and signature.reason == "certificate_pending" else decision

    decision: Decision = await until(found)
    return decision


@pytest.mark.parametrize(
    "from_value",
    [
        '"Anonymous" <sip:anonymous@anonymous.invalid>;tag=a1',
        "<sip:%00%0d%0aX-Evil@x>;tag=a2",
        '"\u0000\u0007\u263a" <sip:\u263a@x>;tag=a3',
        "<tel:+1;phone-context=evil>;tag=a4",
        "<sip:" + "9" * 5_000 + "@x>;tag=a5",
        "<sip:$(rm)${x}$var(ev)@x>;tag=a6",
    ],
)
async def test_whoever_hides_or_sends_rubbish_reaches_an_agent(rig: Rig, odd: OddCaller, from_value: str) -> None:
    (agent,) = await rig.add_agents(1)
    odd.from_value = from_value
    result = await odd.call(rig.uri)
    assert result.status == 200
    decision = await decided(rig, agent, result.call_id)
    assert decision.evidence.identifiers == ()
    assert decision.derived.resolution.someone_new == pytest.approx(1.0)
    assert decision.evidence.signature is not None
    assert decision.evidence.signature.verstat == "No-TN-Validation"


@pytest.mark.parametrize("from_value", ["", "><<;;==,,", "\u0001" * 200, "<sip:'; drop table contact; --@x>;tag=b1"])
async def test_a_from_that_cannot_be_read_is_no_request_and_is_told_so(rig: Rig, odd: OddCaller, from_value: str) -> None:
    await rig.add_agents(1)
    odd.from_value = from_value
    result = await odd.call(rig.uri)
    assert (result.status, result.answer.reason) == (400, "Bad From")
    assert (await rig.caller.call(rig.uri, number=number())).status == 200


async def test_headers_that_fill_a_datagram_are_carried_to_the_agent(rig: Rig) -> None:
    (agent,) = await rig.add_agents(1)
    result = await rig.caller.call(rig.uri, number=number(), headers=[("X-Large", "x" * 50_000)])
    assert result.status == 200
    decision = await decided(rig, agent, result.call_id)
    assert len(decision.evidence.identifiers) == 1


async def test_large_headers_over_tcp_are_carried_to_the_agent(rig: Rig) -> None:
    (agent,) = await rig.add_agents(1)
    reader, writer = await asyncio.open_connection("127.0.0.1", rig.sip_port)
    invite = rig.caller.invite(rig.uri, number=number(), call_id="large-0", headers=[("X-Large", "x" * 50_000)])
    writer.write(sip.encode(invite).replace(b"SIP/2.0/UDP", b"SIP/2.0/TCP"))
    heard = b""
    async with asyncio.timeout(10):
        while b"SIP/2.0 200 " not in heard:
            heard += await reader.read(65_536)
    agent.phone.hang_up("large-0")
    writer.close()
    await rig.settle()


async def test_a_megabyte_of_headers_is_refused_and_harms_nobody(rig: Rig) -> None:
    (agent,) = await rig.add_agents(1)
    reader, writer = await asyncio.open_connection("127.0.0.1", rig.sip_port)
    invite = rig.caller.invite(rig.uri, number=number(), call_id="large-1", headers=[("X-Large", "x" * 1_000_000)])
    heard = b""
    with contextlib.suppress(ConnectionError):
        writer.write(sip.encode(invite).replace(b"SIP/2.0/UDP", b"SIP/2.0/TCP"))
        async with asyncio.timeout(10):
            await writer.drain()
            heard = await reader.read(65_536)
    writer.close()
    assert heard == b"", "the connection is ended"
    for index in range(5):
        rig.caller.send_bytes(b"INVITE " + bytes([65 + index]) * 60_000, ("127.0.0.1", rig.sip_port))
    result = await rig.caller.call(rig.uri, number=number())
    assert result.status == 200
    assert result.call_id in agent.phone.calls


async def test_a_wrong_signature_is_told_with_its_reason_and_keeps_nobody_from_an_agent(rig: Rig, carrier: Carrier) -> None:
    mine, other = "+12025550171", "+12025550172"
    long_ago = datetime.now(UTC) - timedelta(minutes=10)
    good = carrier.identity(mine)[1]
    cases = {
        "stale": carrier.identity(mine, at=long_ago)[1],
        "orig_mismatch": carrier.identity(other)[1],
        "dest_mismatch": carrier.identity(mine, called="+18005550199")[1],
        "certificate_untrusted": carrier.identity(mine, by=carrier.unknown)[1],
        "certificate_refused": carrier.identity(mine, by=carrier.inside)[1],
        "bad_signature": good.partition(";")[0][:-8] + "AAAAAAAA;" + good.partition(";")[2],
        "malformed_token": "a.b.c;info=<https://localhost/x>;alg=ES256;ppt=shaken",
    }
    (agent,) = await rig.add_agents(1)
    found = {}
    for reason, identity in cases.items():
        result = await rig.caller.call(rig.uri, number=mine, headers=[("Identity", identity)])
        assert result.status == 200, reason
        decision = await decided(rig, agent, result.call_id)
        assert decision.evidence.signature is not None
        found[reason] = (decision.evidence.signature.reason, decision.evidence.signature.verstat)
        reasons = {code.code for assurance in decision.derived.assurances for code in assurance.reasons}
        assert "signature_failed" in reasons, reason
        await rig.settle()
        await rig.finish_all()
    assert found == {reason: (reason, "TN-Validation-Failed") for reason in cases}


# --- the redirect server ------------------------------------------------------------------------------------------


def telling(rig: Rig) -> PhoneListener:
    """How a phone tells the server what becomes of its calls: behind a redirect server nobody else can."""

    async def tell(what: str, call: PhoneCall) -> None:
        body = {"type": what, "call_id": call.call_id, "adapter": "redirect", "uri": sip.without_uri_headers(call.uri)}
        await rig.server.api("POST", "/v1/calls/events", body)

    return tell


async def test_redirected_to_the_agent_whose_phone_tells_what_happens(rig: Rig) -> None:
    (agent,) = await rig.add_agents(1, listener=telling(rig))
    calling = asyncio.create_task(rig.caller.call(rig.redirect_uri, number=number(), hold_ms=800))
    call = await agent.phone.wait_for(lambda call: call.confirmed)
    contact_id = call.header("X-Firstring-Contact")
    decision = await rig.store.decision(contact_id)
    assert (decision.contact.adapter, decision.contact.called) == ("redirect", SERVICE)

    async def is_in(state: str) -> bool:
        return (await rig.store.state(decision.contact.contact_id)).state == state

    await until(lambda: is_in("answered"))
    result = await calling
    assert result.status == 200
    assert result.uris == [rig.redirect_uri, agent.phone.uri]
    await until(lambda: is_in("ended"))
    await rig.finish_all()
    assert await rig.free() == {agent.agent_id}


@pytest.mark.parametrize("phones_tell", [True, False])
async def test_a_busy_phone_and_the_call_comes_back_for_the_next_agent(rig: Rig, phones_tell: bool) -> None:
    busy, other, third = await rig.add_agents(3, listener=telling(rig) if phones_tell else None)
    busy.phone.behaviour = "busy"
    result = await rig.caller.call(rig.redirect_uri, number=number(), hold_ms=300, come_back=2)
    assert result.status == 200
    assert result.uris == [rig.redirect_uri, busy.phone.uri, rig.redirect_uri, other.phone.uri]
    assert third.phone.calls == {}
    if phones_tell:
        await rig.settle()
        await rig.finish_all()
        assert await rig.free() >= {other.agent_id, third.agent_id}


async def test_a_call_that_came_back_waits_and_is_redirected_when_an_agent_goes_ready(rig: Rig) -> None:
    busy, other = await rig.add_agents(2, ready=False)
    busy.phone.behaviour = "busy"
    await rig.presence(busy, "ready")
    calling = asyncio.create_task(rig.caller.call(rig.redirect_uri, number=number(), come_back=2))

    async def waits() -> bool:
        return any(line.state == "waiting" for line in await rig.store.lines())

    await until(waits)
    await rig.presence(other, "ready")
    result = await calling
    assert result.status == 200
    assert result.uris[-1] == other.phone.uri
    assert rig.queue.calls == {}


async def test_a_call_that_waits_at_one_server_is_redirected_when_another_finds_an_agent(rig: Rig) -> None:
    [agent] = await rig.add_agents(1, ready=False)
    port = free_port()
    second = await rig.start_server(FIRSTRING_REDIRECT_LISTEN=f"127.0.0.1:{port}")  # the first has the queue's lease
    calling = asyncio.create_task(rig.caller.call(f"sip:{SERVICE}@127.0.0.1:{port}", number=number(), hold_ms=300))

    async def waits() -> bool:
        return any(line.state == "waiting" for line in await rig.store.lines())

    await until(waits)
    await rig.presence(agent, "ready")
    async with asyncio.timeout(5):
        result = await calling
    assert result.uris[-1] == agent.phone.uri
    assert rig.queue.calls == {}
    rig.servers.remove(second)
    assert await second.terminate() == 0
