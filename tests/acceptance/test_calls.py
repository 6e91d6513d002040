"""Real calls through Kamailio and a running server: recognised, judged, matched, rung, answered, remembered."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest
import pytest_asyncio
from tests.acceptance.call_rig import Agent, Carrier, Rig, running_rig, until

from firstring.channels.voice.phone import PhoneCall


@pytest_asyncio.fixture(scope="module")
async def carrier(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Carrier]:
    async with Carrier(tmp_path_factory.mktemp("carrier")).serving() as carrier:
        yield carrier


@pytest_asyncio.fixture(scope="module")
async def shared(
    make_home: Callable[[], Path], tmp_path_factory: pytest.TempPathFactory, carrier: Carrier
) -> AsyncIterator[Rig]:
    async with running_rig(tmp_path_factory.mktemp("calls"), make_home(), **carrier.settings) as rig:
        yield rig


@pytest_asyncio.fixture
async def rig(shared: Rig) -> AsyncIterator[Rig]:
    await shared.one_server()
    yield shared
    await shared.clear()
    assert await shared.store.broken() == []


def number() -> str:
    """A number that no other test uses."""
    return f"+1202555{secrets.randbelow(10_000):04d}"


def rang(agent: Agent) -> list[PhoneCall]:
    return list(agent.phone.calls.values())


async def test_a_known_signed_caller_reaches_the_longest_idle_agent_and_becomes_a_touch(rig: Rig, carrier: Carrier) -> None:
    mine = number()
    await rig.store.person("known-1", given_name="Maria", family_name="Lopez", phone=[mine])
    first, second = await rig.add_agents(2)
    spoofed = (("X-Firstring-Contact", "spoofed"), ("x-firstring-vip", "yes"), ("X-Visit", "v-1"))
    calling = asyncio.create_task(
        rig.caller.call(rig.uri, number=mine, headers=(carrier.identity(mine), *spoofed), hold_ms=600)
    )
    call = await first.phone.wait_for(lambda call: call.confirmed)
    contact_id = call.header("X-Firstring-Contact")
    ours = [name for name, _ in call.headers if name.lower().startswith("x-firstring-")]
    assert sorted(ours) == ["X-Firstring-Contact", "X-Firstring-Decision", "X-Firstring-Pop"]
    assert call.header("Identity") == call.header("X-Visit") == ""
    assert rang(second) == []

    async def checked() -> bool:
        decision = await rig.store.decision(contact_id)
        signature = decision.evidence.signature
        return signature is not None and signature.verstat == "TN-Validation-Passed"

    await until(checked)
    decision = await rig.store.decision(contact_id)
    assert decision.evidence.signature is not None
    assert decision.evidence.signature.attestation == "A"
    best = decision.derived.resolution.best
    assert best is not None
    assert best.profile["family_name"] == "Lopez"
    assert (await rig.store.decision(contact_id, 1)).agent_id == first.agent_id

    async def state() -> tuple[str, str | None]:
        view = await rig.store.state(decision.contact.contact_id)
        return view.state, view.assignment_state

    await until(lambda: reached(state, ("answered", "answered")))
    assert await rig.free() == {second.agent_id}
    result = await calling
    assert (result.status, result.hung_up_by) == (200, "caller")
    await until(lambda: reached(state, ("ended", "wrap_up")))
    assert await rig.free() == {second.agent_id}
    body = {"what": "finished", "outcome": "resolved"}
    await rig.server.api("POST", f"/v1/contacts/{contact_id}/events", body)
    assert await rig.free() == {first.agent_id, second.agent_id}
    resolved = await rig.server.api("POST", "/v1/resolve", {"fields": {"phone": mine}})
    assert resolved["candidates"][0]["person_id"] == best.person_id
    await rig.presence(first, "away")
    await until(lambda: logged(rig, contact_id))
    again = await rig.caller.call(rig.uri, number=mine)
    assert again.status == 200
    next_id = rang(second)[0].header("X-Firstring-Contact")
    journeys = (await rig.store.decision(next_id, 1)).derived.journeys
    assert [touch.name for journey in journeys for touch in journey.touches] == ["Call Ended"]


async def reached(state: Callable[[], object], wanted: tuple[str, str]) -> bool:
    return await state() == wanted  # type: ignore[misc]


async def logged(rig: Rig, contact_id: str) -> bool:
    """Whether a contact that is over is in its person's journey."""
    waiting = await rig.store.contacts.ended_not_logged(rig.store.tenant, 1_000)
    return contact_id not in {str(contact.contact_id) for contact in waiting}


async def test_busy_and_no_answer_ring_the_next_agent(rig: Rig) -> None:
    busy, silent, third = await rig.add_agents(3)
    busy.phone.behaviour, silent.phone.behaviour = "busy", "ring"
    result = await rig.caller.call(rig.uri, number=number(), hold_ms=300)
    assert result.status == 200
    assert [len(rang(agent)) for agent in (busy, silent, third)] == [1, 1, 1]
    assert rang(silent)[0].cancelled
    contact_ids = {rang(agent)[0].header("X-Firstring-Contact") for agent in (busy, silent, third)}
    assert len(contact_ids) == 1
    revisions = [rang(agent)[0].header("X-Firstring-Decision") for agent in (busy, silent, third)]
    assert revisions == ["1", "2", "3"]
    causes = [(await rig.store.decision(contact_ids.copy().pop(), revision)).cause for revision in (1, 2, 3)]
    assert causes == ["offered", "busy", "no_answer"]
    presences = {view["profile"]["agent_id"]: view["presence"] for view in await rig.server.api("GET", "/v1/agents/")}
    assert [presences[agent.agent_id] for agent in (busy, silent, third)] == ["ready", "away", "ready"]
    assert rig.queue.calls == {}


async def test_nobody_free_the_caller_rings_until_an_agent_goes_ready(rig: Rig) -> None:
    (agent,) = await rig.add_agents(1, ready=False)
    calling = asyncio.create_task(rig.caller.call(rig.uri, number=number()))
    await until(lambda: waiting(rig))
    await asyncio.sleep(1.0)  # longer than a decision may take: it is the wait that holds the call
    assert not calling.done()
    await rig.presence(agent, "ready")
    result = await calling
    assert result.status == 200
    assert [call.header("X-Firstring-Decision") for call in rang(agent)] == ["2"]
    assert rig.queue.calls == {}


async def test_a_busy_agent_and_then_a_wait_until_another_goes_ready(rig: Rig) -> None:
    busy, other = await rig.add_agents(2, ready=False)
    busy.phone.behaviour = "busy"
    await rig.presence(busy, "ready")
    calling = asyncio.create_task(rig.caller.call(rig.uri, number=number()))
    await until(lambda: waiting(rig))
    await rig.presence(other, "ready")
    result = await calling
    assert result.status == 200
    assert [len(rang(agent)) for agent in (busy, other)] == [1, 1]
    assert rig.queue.calls == {}


async def waiting(rig: Rig) -> bool:
    return any(line.state == "waiting" for line in await rig.store.lines())


async def test_a_caller_who_gives_up_frees_everything(rig: Rig) -> None:
    ringing, answering = await rig.add_agents(2, ready=False)
    ringing.phone.behaviour = "ring"
    given_up = await rig.caller.call(rig.uri, number=number(), cancel_after_ms=700)
    assert given_up.status == 487
    await rig.settle()
    await rig.presence(ringing, "ready")
    given_up = await rig.caller.call(rig.uri, number=number(), cancel_after_ms=500)
    assert given_up.status == 487
    assert rang(ringing)[0].cancelled
    await rig.settle()
    reasons = {line.end_reason for line in (await rig.store.lines())[:2]}
    assert reasons == {"cancelled"}
    assert await rig.free() == {ringing.agent_id}
    await rig.presence(answering, "ready")
    await rig.presence(ringing, "away")
    assert (await rig.caller.call(rig.uri, number=number())).status == 200
    assert len(rang(answering)) == 1
