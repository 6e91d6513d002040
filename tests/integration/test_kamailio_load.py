"""sipp calls through a real Kamailio while the decider is killed with -9 and started again: no call is lost."""

from __future__ import annotations

import asyncio
import re
import sys
from pathlib import Path

from tests.integration.voice_rig import free_port, running_kamailio
from tests.needs import need

from firstring.channels.voice.phone import Phone

ROOT = Path(__file__).resolve().parents[2]
CALLS = 500
RATE_PER_S = 100


async def start_decider(evapi_port: int, phone: Phone) -> asyncio.subprocess.Process:
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "tests.integration.voice_decider",
        str(evapi_port),
        phone.uri,
        cwd=ROOT,
        stdout=asyncio.subprocess.PIPE,
    )
    assert process.stdout is not None
    async with asyncio.timeout(20):
        while await process.stdout.readline() != b"connected\n":
            pass
    return process


async def test_no_call_is_lost_when_the_decider_is_killed_under_load(tmp_path: Path) -> None:
    sipp = need("sipp", package="sip-tester")
    agent, queue = Phone(user="agent"), Phone(user="queue")
    await agent.start()
    await queue.start()
    numbers = tmp_path / "numbers.csv"
    numbers.write_text("SEQUENTIAL\n" + "".join(f"+1555{index:07d};\n" for index in range(CALLS)))
    async with running_kamailio(tmp_path, default_uri=queue.uri) as kamailio:
        decider = await start_decider(kamailio.evapi_port, agent)
        # fmt: off
        calling = await asyncio.create_subprocess_exec(
            sipp, f"127.0.0.1:{kamailio.sip_port}", "-sf", str(ROOT / "tests/sip/caller.xml"), "-inf", str(numbers),
            "-i", "127.0.0.1", "-p", str(free_port()), "-r", str(RATE_PER_S), "-m", str(CALLS), "-l", str(CALLS),
            "-nostdin", "-timeout", "60", "-trace_err", "-error_file", str(tmp_path / "sipp_errors.log"),
            cwd=tmp_path, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT,
        )
        # fmt: on
        finished = asyncio.create_task(calling.communicate())
        async with asyncio.timeout(30):
            while len(agent.calls) < CALLS // 5:
                await asyncio.sleep(0.01)
        decider.kill()
        await decider.wait()
        before = len(agent.calls)
        decider = await start_decider(kamailio.evapi_port, agent)
        output, _ = await finished
        decider.terminate()
        await decider.wait()
        report = output.decode(errors="replace")
        assert calling.returncode == 0, report[-3000:]
        assert re.findall(r"Successful call\s*\|[^|]*\|\s*(\d+)", report)[-1] == str(CALLS)
        assert set(agent.calls) | set(queue.calls) == set(agent.calls) ^ set(queue.calls)
        assert len(agent.calls) + len(queue.calls) == CALLS
        assert queue.calls, "the default queue took the calls of the gap"
        assert len(agent.calls) > before, "the decider came back"
        for call in agent.calls.values():
            ours = [value for name, value in call.headers if name.lower().startswith("x-firstring-")]
            assert ours == ["one_phone"]
    await agent.stop()
    await queue.stop()
