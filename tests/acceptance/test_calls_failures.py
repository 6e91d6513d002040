"""Servers and the database are killed, frozen and stopped while calls ring: no caller is lost, nobody stays taken."""

from __future__ import annotations

import asyncio
import itertools
import os
import re
import signal
import time
from collections.abc import AsyncIterator, Callable, Sequence
from pathlib import Path

import pytest
import pytest_asyncio
from tests.acceptance.call_rig import ROOT, Agent, Rig, Server, running_rig, until
from tests.integration.voice_rig import free_port
from tests.needs import need

from firstring.channels.voice.caller import CallResult, place_calls
from firstring.channels.voice.phone import PhoneCall
from firstring.errors import FirstringError

CALLS = 400
RATE_PER_S = 80


@pytest_asyncio.fixture(scope="module")
async def shared(make_home: Callable[[], Path], tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Rig]:
    async with running_rig(tmp_path_factory.mktemp("failures"), make_home(), FIRSTRING_WRAP_UP_S="0") as rig:
        yield rig


@pytest_asyncio.fixture
async def rig(shared: Rig) -> AsyncIterator[Rig]:
    await shared.one_server()
    yield shared
    assert await shared.store.broken() == []
    await shared.one_server()
    await shared.clear()


def numbers(count: int) -> list[str]:
    return [f"+1202{index:07d}" for index in range(5_550_100, 5_550_100 + count)]


def answered(agents: Sequence[Agent]) -> list[PhoneCall]:
    return [call for agent in agents for call in agent.phone.calls.values() if call.answered_s is not None]


async def all_free(rig: Rig, agents: Sequence[Agent]) -> bool:
    return await rig.free() == {agent.agent_id for agent in agents}


async def sipp(rig: Rig, calls: int, folder: Path) -> asyncio.subprocess.Process:
    """Places calls, each 200 ms long once answered."""
    program = need("sipp", package="sip-tester")
    injected = folder / "numbers.csv"
    injected.write_text("SEQUENTIAL\n" + "".join(f"{number};\n" for number in numbers(calls)))
    # fmt: off
    return await asyncio.create_subprocess_exec(
        program, f"127.0.0.1:{rig.sip_port}", "-sf", str(ROOT / "tests/sip/caller.xml"), "-inf", str(injected),
        "-i", "127.0.0.1", "-p", str(free_port()), "-r", str(RATE_PER_S), "-m", str(calls), "-l", str(calls),
        "-nostdin", "-timeout", "60", "-trace_err", "-error_file", str(folder / "errors.log"),
        cwd=folder, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT,
    )
    # fmt: on


async def test_the_server_is_killed_under_load_and_no_call_is_lost(rig: Rig, tmp_path: Path) -> None:
    agents = await rig.add_agents(40)
    calling = await sipp(rig, CALLS, tmp_path)
    finished = asyncio.create_task(calling.communicate())
    await until(lambda: len(answered(agents)) >= CALLS // 5, 30.0)
    await rig.server.kill()
    await rig.one_server()
    output, _ = await finished
    report = output.decode(errors="replace")
    assert calling.returncode == 0, report[-3000:]
    assert re.findall(r"Successful call\s*\|[^|]*\|\s*(\d+)", report)[-1] == str(CALLS)
    by_agents = {call.call_id for call in answered(agents)}
    assert len(by_agents) == len(answered(agents)), "one phone answers a call"
    assert not by_agents & set(rig.queue.calls)
    assert len(by_agents) + len(rig.queue.calls) == CALLS
    assert rig.queue.calls, "the default queue took the calls of the gap"
    await place_calls(rig.caller, [], rig.uri, numbers(1), rate_per_s=1, hold_ms=150)
    assert len(answered(agents)) + len(rig.queue.calls) == CALLS + 1, "the server came back, or the queue is there"
    await rig.settle(45.0)
    await until(lambda: all_free(rig, agents), 45.0)


async def test_two_servers_agree_on_every_call(rig: Rig) -> None:
    await rig.start_server()
    agents = await rig.add_agents(12)
    for agent in agents[:3]:
        agent.phone.behaviour = "busy"
    placed = await place_calls(rig.caller, [], rig.uri, numbers(60), rate_per_s=15, hold_ms=150)
    assert {call.status for call in placed} == {200}
    assert rig.queue.calls == {}
    assert len(answered(agents)) == 60
    for call in placed:
        rung = [agent.phone.calls[call.call_id] for agent in agents if call.call_id in agent.phone.calls]
        assert len({ring.header("X-Firstring-Contact") for ring in rung}) == 1, "one contact"
        revisions = [ring.header("X-Firstring-Decision") for ring in rung]
        assert len(set(revisions)) == len(revisions), "one agent for each decision"
    for agent in agents:
        at_once(list(agent.phone.calls.values()))
    assert sum(bool(server.logged("failed_open")) for server in rig.servers) == 0
    await rig.settle()
    await until(lambda: all_free(rig, agents))


def at_once(calls: list[PhoneCall]) -> None:
    """No phone had two calls at the same time."""
    spans = sorted((call.invited_s, call.ended_s) for call in calls if call.ended_s is not None)
    assert all(left[1] <= right[0] for left, right in itertools.pairwise(spans))


async def elected(rig: Rig) -> Server:
    """The server whose queue task holds the lease."""

    async def holder() -> Server | None:
        async with rig.store.database.transaction(rig.store.tenant.tenant_id) as connection:
            name = await connection.fetchval("select holder from lease where name = 'queue' and expires_at > now()")
        pid = int((name or "0").partition("-")[0])
        return next((server for server in rig.servers if server.process.pid == pid), None)

    found: Server = await until(holder)
    return found


async def waiting(rig: Rig) -> int:
    return sum(line.state == "waiting" for line in await rig.store.lines())


async def is_waiting(rig: Rig, count: int) -> bool:
    return await waiting(rig) == count


async def test_the_elected_server_is_killed_and_the_other_serves_who_waits(rig: Rig) -> None:
    await rig.start_server()
    late, quick = await rig.add_agents(2, ready=False)
    first = asyncio.create_task(rig.caller.call(rig.uri, number=numbers(1)[0]))
    await until(lambda: is_waiting(rig, 1))
    gone = await elected(rig)
    await gone.kill()
    rig.servers.remove(gone)
    await rig.presence(quick, "ready")
    second = await rig.caller.call(rig.uri, number=numbers(2)[1], hold_ms=100)
    assert second.status == 200, "ringing needs no election"
    await rig.presence(late, "ready")
    result = await first
    assert result.status == 200
    assert {call.call_id for call in answered([late, quick])} == {first.result().call_id, second.call_id}
    assert rig.queue.calls == {}
    assert (await elected(rig)) is rig.server
    await rig.settle()


async def until_decided(rig: Rig, agents: Sequence[Agent]) -> CallResult:
    """Calls until a call reaches an agent again; every one of them reaches somebody."""
    async with asyncio.timeout(90):
        while True:
            result = await rig.caller.call(rig.uri, number=numbers(1)[0], hold_ms=50)
            assert result.status == 200
            if any(result.call_id in agent.phone.calls for agent in agents):
                return result
            assert result.call_id in rig.queue.calls
            await asyncio.sleep(0.3)


async def readable(rig: Rig) -> bool:
    try:
        await rig.store.lines()
    except FirstringError:
        return False
    return True


async def test_the_database_is_killed_in_the_middle_of_calls(rig: Rig) -> None:
    agents = await rig.add_agents(3)
    long = asyncio.create_task(rig.caller.call(rig.uri, number=numbers(9)[8], hold_ms=2_500))
    talking = await agents[0].phone.wait_for(lambda call: call.confirmed)
    contact_id = talking.header("X-Firstring-Contact")
    await until(lambda: is_answered(rig))
    os.kill(rig.store.postmaster_pid(), signal.SIGKILL)
    during = await rig.caller.call(rig.uri, number=numbers(2)[1], hold_ms=50)
    assert during.status == 200
    assert during.call_id in rig.queue.calls
    await until_decided(rig, agents)
    assert (await long).status == 200
    await until(lambda: readable(rig), 30.0)
    assert (await rig.store.decision(contact_id)).agent_id == agents[0].agent_id, "what was acknowledged is there"
    await rig.settle(45.0)
    await until(lambda: all_free(rig, agents), 45.0)
    waits = asyncio.create_task(wait_and_go_ready(rig, agents))
    assert (await waits).status == 200, "notices are heard again"


async def is_answered(rig: Rig) -> bool:
    return any(line.state == "answered" for line in await rig.store.lines())


async def wait_and_go_ready(rig: Rig, agents: Sequence[Agent]) -> CallResult:
    for agent in agents:
        await rig.presence(agent, "away")
    calling = asyncio.create_task(rig.caller.call(rig.uri, number=numbers(3)[2]))
    await until(lambda: is_waiting(rig, 1))
    await rig.presence(agents[0], "ready")
    return await calling


def family(pid: int) -> list[int]:
    """A process and its children."""
    children = [pid]
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            parent = int(stat.read_text().rpartition(")")[2].split()[1])
        except (OSError, ValueError):
            continue
        if parent == pid:
            children.append(int(stat.parent.name))
    return children


async def test_a_frozen_database_sends_calls_to_the_default_queue_until_it_thaws(rig: Rig) -> None:
    agents = await rig.add_agents(3)
    assert (await until_decided(rig, agents)).status == 200
    frozen = family(rig.store.postmaster_pid())
    for pid in frozen:
        os.kill(pid, signal.SIGSTOP)
    try:
        began_s = time.monotonic()
        results = await place_calls(rig.caller, [rig.queue], rig.uri, numbers(20), rate_per_s=10, hold_ms=50)
        assert {call.status for call in results} == {200}
        assert {call.call_id for call in results} <= set(rig.queue.calls)
        health = await rig.server.client.get("/healthz")
        assert health.status_code == 200
        assert time.monotonic() - began_s < 30
    finally:
        for pid in frozen:
            os.kill(pid, signal.SIGCONT)
    await until_decided(rig, agents)
    await rig.settle(45.0)
    await until(lambda: all_free(rig, agents), 45.0)


async def test_a_stopped_server_leaves_its_calls_in_order_and_the_next_one_takes_them_up(rig: Rig) -> None:
    talking, later = await rig.add_agents(2, ready=False, answer_after_ms=1_200)
    await rig.presence(talking, "ready")
    rings = asyncio.create_task(rig.caller.call(rig.uri, number=numbers(1)[0], hold_ms=15_000))
    call = await talking.phone.wait_for(lambda _: True)
    waits = asyncio.create_task(rig.caller.call(rig.uri, number=numbers(2)[1], timeout_ms=60_000))
    await until(lambda: is_waiting(rig, 1))
    stopped = rig.server
    assert await stopped.terminate() == 0
    assert stopped.logged("stopped")
    now = await rig.caller.call(rig.uri, number=numbers(3)[2])
    assert rig.queue.calls[now.call_id].header("X-Firstring-Default") == "no_decider"
    await talking.phone.wait_for(lambda call: call.confirmed)

    await rig.one_server()
    await until(lambda: is_answered(rig))
    contact_id = (await rig.store.decision(call.header("X-Firstring-Contact"))).contact.contact_id
    line = await rig.store.state(contact_id)
    assert (line.state, line.agent_id) == ("answered", talking.agent_id), "answered while nobody listened"
    assert await rig.free() == set()
    await rig.presence(later, "ready")
    assert (await waits).status == 200
    assert [call.call_id for call in answered([later])] == [waits.result().call_id]
    assert (await rings).hung_up_by == "caller"
    assert len(talking.phone.calls) == 1
    await rig.settle(45.0)
    await until(lambda: all_free(rig, [talking, later]), 45.0)


async def test_a_stopping_server_rings_everybody_whom_it_claimed(rig: Rig) -> None:
    agents = await rig.add_agents(60)  # one for each call: whoever is told to wait, waits for the next server
    placing = asyncio.create_task(place_calls(rig.caller, [], rig.uri, numbers(60), rate_per_s=60, hold_ms=2_500))
    await until(lambda: len(answered(agents)) >= 8)
    stopped = rig.server
    assert await stopped.terminate() == 0
    claimed = {str(line.contact_id) for line in await rig.store.lines() if line.state in ("assigned", "answered")}
    rung = {call.header("X-Firstring-Contact") for agent in agents for call in agent.phone.calls.values()}
    assert claimed <= rung
    placed = await placing
    given_up = sum(call.status == 487 for call in placed)  # a slow phone rings for longer than a caller waits
    assert {call.status for call in placed} <= {200, 487}
    assert given_up <= 6
    assert 60 - given_up <= len(answered(agents)) + len(rig.queue.calls) <= 60
    await rig.one_server()
    await rig.settle(45.0)
    await until(lambda: all_free(rig, agents), 45.0)
