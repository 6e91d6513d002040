"""`firstring bench ring`: the ring path at size, every part of it real, each figure beside its goal.

In a home of its own: imports, serves, rings by HTTP and through Kamailio, pops in Chromium, resolves beside Splink.
docs/benchmarks.md says what each figure means.
"""

from __future__ import annotations

import asyncio
import json
import os
import platform
import shlex
import signal
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import AsyncExitStack
from datetime import UTC, datetime
from itertools import islice
from pathlib import Path
from typing import Any, Final

from rich.console import Console

from firstring import __version__
from firstring.bench import browser, callers, measures, people, programs
from firstring.bench.calls import through_kamailio
from firstring.bench.http import Client, expect
from firstring.bench.load import LoadReport, ring
from firstring.bench.measures import Measure, pair
from firstring.channels.voice.phone import Phone
from firstring.store.database import connect
from firstring.store.queries import sql
from firstring.store.server import embedded

AGENTS: Final = 300
RATE_PER_S: Final = 100
WARM_UP_S: Final = 3.0
POPS_MAX: Final = 250
SPLINK_S: Final = 30.0
SPLINK_MAX_S: Final = 600.0
"""Loading and training included."""
_LANGUAGES: Final = ("de", "fr", "es", "nl", "pl")
_PASSWORD: Final = "bench-password-of-nobody"  # noqa: S105 - of a database that is removed at the end


class Bench:
    """One run: what it is given, and what it has measured so far."""

    def __init__(self, *, records: int, seconds: int, seed: int, splink: bool, keep: bool, console: Console) -> None:
        self.records = records
        self.seconds = seconds
        self.seed = seed
        self.splink = splink
        self.keep = keep
        self.measured: list[Measure] = []
        self.facts: dict[str, Any] = {}
        self.agents: list[int] = []
        self._console = console
        self._callers: Iterator[callers.Call] = iter(())

    def say(self, text: str) -> None:
        self._console.print(text, style="dim", highlight=False)

    def add(self, *measured: Measure) -> None:
        self.measured += measured

    def calls(self, count: int) -> list[callers.Call]:
        """The next callers of this run."""
        return list(islice(self._callers, count))

    async def run(self) -> None:
        with tempfile.TemporaryDirectory(prefix="firstring-bench-") as name:
            folder = Path(name)
            began = time.perf_counter()
            written = await asyncio.to_thread(people.write, folder, self.seed, self.records)
            self.say(f"{written.records:,} records of {written.households:,} households, {written.events:,} events")
            self.facts["generator_records_per_s"] = round(written.records / (time.perf_counter() - began))
            self._callers = callers.callers(self.seed, written.households, sys.maxsize)
            async with programs.rig(keep=self.keep) as rig:
                if self.keep:
                    self.say(f"home: {rig.home}")
                await self._import(rig, written)
                await self._serve(rig, folder, written)

    # --- import -------------------------------------------------------------------------------------------------

    async def _import(self, rig: programs.Rig, written: people.Written) -> None:
        began = time.perf_counter()
        for path in written.files:
            await rig.run("import", str(path), "--source", path.stem)
        took_s = time.perf_counter() - began
        self.add(
            Measure(
                "import",
                "records/s",
                written.records / took_s,
                5_000,
                "higher",
                f"{len(written.files)} files, {took_s:,.0f} s",
            )
        )
        began = time.perf_counter()
        await rig.run("import", str(written.events_file), "--events", "--source", people.SOURCES[0])
        took_s = time.perf_counter() - began
        self.add(Measure("import of events", "events/s", written.events / took_s, note=f"{written.events:,} events"))
        began = time.perf_counter()
        size, keys, persons = await self._settled(rig)
        self.facts["upkeep_s"] = round(time.perf_counter() - began, 1)
        self.add(Measure("database", "MB", size, note=f"{keys / written.records:.1f} keys a record, {persons:,} persons"))
        self.say(f"imported, {size:,.0f} MB")

    async def _settled(self, rig: programs.Rig) -> tuple[float, int, int]:
        """(MB, keys, persons), after the upkeep that PostgreSQL would else do in the minutes after a large import."""
        connection = await connect(rig.server.dsn(embedded.SUPERUSER))
        try:
            for statement in ("vacuum", "checkpoint"):
                await connection.execute(sql("bench", statement))
            row = await connection.fetchrow(sql("bench", "size"))
        finally:
            await connection.close()
        assert row is not None
        self.facts["postgresql"] = row["version"]
        return row["size"] / 1e6, row["keys"], row["persons"]

    # --- the server ---------------------------------------------------------------------------------------------

    async def _serve(self, rig: programs.Rig, folder: Path, written: people.Written) -> None:
        async with AsyncExitStack() as stack:
            agents, queue = Phone(user="agents"), Phone(user="queue")
            for phone in (agents, queue):
                await phone.start()
                stack.push_async_callback(phone.stop)
            switch = await stack.enter_async_context(programs.kamailio(folder, queue.uri))
            settings = {"FIRSTRING_DEFAULT_QUEUE_URI": queue.uri, "FIRSTRING_HOLD_URI": queue.uri}
            if switch is not None:
                settings["FIRSTRING_KAMAILIO_EVAPI"] = switch[1]
            token = (await rig.run("token", "--role", "administrator", "--name", "bench")).strip()
            server, port = await stack.enter_async_context(programs.serving(rig, settings))
            client = Client(port, token)
            stack.callback(client.close)
            await self._staff(client, agents)
            await client.warm(32)
            await self._ring(client, self._of_seconds(WARM_UP_S), "warm")
            await self._decide(rig, client, server.pid)
            await self._decide_while_importing(rig, client, folder)
            await self._calls(client, switch, agents, queue)
            await self._pops(rig, client, port)
            await self._resolve(rig, client, folder)
            await self._memory(server.pid, rig)

    def _of_seconds(self, seconds: float) -> list[callers.Call]:
        return self.calls(max(20, int(seconds * RATE_PER_S)))

    async def _staff(self, client: Client, phone: Phone) -> None:
        for number in range(AGENTS):
            of_team = number % 20 == 1
            others = _LANGUAGES if number == 0 or of_team else (_LANGUAGES[number % len(_LANGUAGES)],)
            languages = {"en": 5, **dict.fromkeys(others, 4 + number % 2)}
            profile: dict[str, Any] = {
                "name": f"Agent {number + 1}",
                "address": f"sip:agent{number + 1}@{phone.uri_host}",
                "languages": languages,
                "skills": {"service": 1 + number % 5},
                "tiers": ["vip"] if of_team else [],
            }
            made = expect(await client.post("/v1/agents/", profile), "agent").json()
            self.agents.append(made["agent_id"])
        await self._presence(client, self.agents, "ready")

    async def _presence(self, client: Client, agents: list[int], presence: str) -> None:
        for agent in agents:
            expect(await client.post(f"/v1/agents/{agent}/presence", {"presence": presence}), "presence")

    async def _ring(self, client: Client, calls: list[callers.Call], name: str) -> LoadReport:
        return await ring(client, calls, rate_per_s=RATE_PER_S, seed=self.seed, name=f"{name}-{self.seed}")

    async def _decide(self, rig: programs.Rig, client: Client, pid: int) -> None:
        def used_s() -> dict[str, float]:
            return {
                "server": programs.processor_s([pid]),
                "PostgreSQL": programs.processor_s(rig.postgresql()),
                "load": programs.processor_s([os.getpid()]),
                "nobody": programs.machine_idle_s(),
            }

        calls = self._of_seconds(self.seconds)
        before, used_before, began = await self._stages(client), used_s(), time.perf_counter()
        report = await self._ring(client, calls, "decide")
        took_s, used_after, after = time.perf_counter() - began, used_s(), await self._stages(client)
        used = {name: used_after[name] - used_before[name] for name in used_after}
        await self._report(report, before, after, "decide at 100/s", (3, 15))
        for kind, values in sorted(report.latency_ms.items()):
            self.add(*pair(f"  over HTTP, {kind}", values, None, None)[1:])
        for stage in ("read", "derive", "commit"):
            spent = after[stage].since(before[stage])
            self.add(Measure(f"  in the server, {stage} p50", "ms", spent.quantile_ms(0.5)))
            self.add(Measure(f"  in the server, {stage} p99", "ms", spent.quantile_ms(0.99)))
        for name in ("server", "PostgreSQL"):
            self.add(Measure(f"  processor time a call, {name}", "ms", used[name] / len(calls) * 1000.0))
        cores = os.cpu_count() or 1
        others = max(0.0, cores - sum(used.values()) / took_s)
        self.add(Measure("  other programs on the machine meanwhile", "cores", others, note=f"of {cores}"))

    async def _report(
        self, report: LoadReport, before: Any, after: Any, name: str, goals: tuple[float | None, float]
    ) -> None:
        spent = after["decide"].since(before["decide"])
        note = f"n={spent.total:,.0f}, from the server's histogram"
        self.add(Measure(f"{name}, in the server p50", "ms", spent.quantile_ms(0.5), goals[0], note=note))
        self.add(Measure(f"{name}, in the server p99", "ms", spent.quantile_ms(0.99), goals[1], note=note))
        self.add(*pair(f"{name}, over HTTP from the due time", report.all_ms, None, None))
        failed = sum(report.failed.values())
        answers = ", ".join(f"{count:,} {what}" for what, count in report.answers.most_common())
        told = ", ".join(f"{count} {what}" for what, count in report.failed.most_common(3))
        self.add(Measure(f"{name}, failed", "calls", float(failed), 0, note=f"{answers}. {told}".strip()))
        self.say(f"{name}: {answers}")

    async def _stages(self, client: Client) -> Any:
        return measures.stages(expect(await client.get("/metrics"), "metrics").body.decode())

    async def _decide_while_importing(self, rig: programs.Rig, client: Client, folder: Path) -> None:
        late = folder / "late"
        late.mkdir()
        count = min(self.records, max(5_000, self.seconds * 12_000))
        written = await asyncio.to_thread(people.write, late, self.seed + 1, count)
        importer = await rig.start("import", str(written.files[0]), "--source", "late")
        try:
            await self._loading(rig, importer)
            before = await self._stages(client)
            report = await self._ring(client, self._of_seconds(self.seconds), "importing")
            after = await self._stages(client)
            ran_through = importer.returncode is None
        finally:
            if importer.returncode is None:
                importer.send_signal(signal.SIGINT)
            await importer.wait()
        name = "decide while an import runs"
        await self._report(report, before, after, name, (5, 30))
        if not ran_through:
            self.add(Measure(f"{name}: the import was over before the end", "", None))

    async def _loading(self, rig: programs.Rig, importer: asyncio.subprocess.Process) -> None:
        """Until the import has written its first records."""
        connection = await connect(rig.server.dsn(embedded.SUPERUSER))
        try:
            while importer.returncode is None:
                if await connection.fetchval(sql("bench", "newest_import")):
                    return
                await asyncio.sleep(0.1)
        finally:
            await connection.close()

    # --- calls, pops, resolve, memory ---------------------------------------------------------------------------

    async def _calls(self, client: Client, switch: tuple[str, str] | None, agents: Phone, queue: Phone) -> None:
        name = "INVITE -> forwarded INVITE, 100 calls/s"
        if switch is None:
            self.add(*pair(name, [], 8, 40, note="kamailio is not installed"))
            return
        before = (await self._stages(client))["decide"]
        report = await through_kamailio(switch[0], agents, queue, self._of_seconds(self.seconds), rate_per_s=RATE_PER_S)
        spent = (await self._stages(client))["decide"].since(before)
        self.add(*pair(name, report.to_phone_ms, 8, 40))
        self.add(Measure("  of that deciding, in the server p50", "ms", spent.quantile_ms(0.5)))
        self.add(Measure("  of that deciding, in the server p99", "ms", spent.quantile_ms(0.99)))
        to_queue = f"{report.default_queue} to the default queue"
        self.add(Measure("calls lost", "calls", float(report.lost), 0, note=to_queue))
        self.say(f"calls: {len(report.to_phone_ms):,} to agents, {to_queue}, {report.lost} lost")

    async def _pops(self, rig: programs.Rig, client: Client, port: int) -> None:
        name = "decision -> pop painted in Chromium"
        try:
            import playwright  # noqa: F401 - part of an extra
        except ImportError:
            self.add(*pair(name, [], 60, 150, note="playwright is not installed: pip install firstring[bench]"))
            return
        if browser.chromium() is None:
            self.add(*pair(name, [], 60, 150, note="chromium is not installed"))
            return
        one, *others = self.agents
        await rig.run("staff", "add", "bench", "--agent", str(one), "--password", _PASSWORD)
        await self._presence(client, others, "away")
        calls = self.calls(min(POPS_MAX, 12 * self.seconds))
        painted = await browser.pops(port, client, calls, login="bench", password=_PASSWORD)
        self.add(*pair(name, painted, 60, 150, note=f"n={len(painted)} of {len(calls)}" if painted else "nothing painted"))
        await self._presence(client, others, "ready")
        self.say(f"pops: {len(painted)}")

    async def _resolve(self, rig: programs.Rig, client: Client, folder: Path) -> None:
        queries: list[dict[str, str]] = []
        while len(queries) < 25 * self.seconds:
            call = self.calls(1)[0]
            if call.kind in ("known", "landline"):
                queries.append({**call.claims, "phone": call.number})
        latency_ms: list[float] = []
        found = 0
        for query in queries:
            began = time.perf_counter()
            answer = expect(await client.post("/v1/resolve", {"fields": query}), "resolve")
            latency_ms.append((time.perf_counter() - began) * 1000.0)
            found += answer.json()["someone_new"] < 0.5
        ours = pair("resolve over HTTP", latency_ms, 3, 10, note=f"n={len(queries)}, {found / len(queries):.0%} found")
        self.add(*ours)
        if self.splink:
            await self._peer(rig, folder, queries, ours)

    async def _peer(self, rig: programs.Rig, folder: Path, queries: list[dict[str, str]], ours: list[Measure]) -> None:
        path = folder / "queries.json"
        path.write_text(json.dumps([{**query, "phone": query["phone"][-9:]} for query in queries]))
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "firstring.bench.peer", str(folder), str(path), str(min(SPLINK_S, 2.0 * self.seconds)),
            stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE, env=rig.environment,
        )  # fmt: skip
        try:
            async with asyncio.timeout(SPLINK_MAX_S):
                out, told = await process.communicate()
        except TimeoutError:
            out, told = b"", f"not done within {SPLINK_MAX_S:.0f} s".encode()
        finally:
            await programs.ended(process)
        if process.returncode:
            reason = told.decode("utf-8", "replace").strip().rpartition("\n")[2][:200]
            self.add(*pair("the same look-up by Splink", [], None, None, note=f"failed: {reason}"))
            return
        report = json.loads(out)
        took = report["seconds"]
        note = f"{report['version']}, n={len(report['latency_ms'])}, {report['found']:.0%} found, "
        note += f"{report['memory_mb']:,.0f} MB, {took['load'] + took['train']:.0f} s to load and train"
        theirs = pair("the same look-up by Splink", report["latency_ms"], None, None, note=note)
        self.add(*theirs)
        for our, their, share in zip(ours, theirs, ("p50", "p99"), strict=True):
            if our.value and their.value:
                self.add(Measure(f"Splink / Firstring, {share}", "times", their.value / our.value, better="higher"))

    async def _memory(self, pid: int, rig: programs.Rig) -> None:
        note = f"PSS {programs.proportional_mb(pid):,.0f} MB"
        self.add(Measure("memory of the server process (RSS)", "MB", programs.resident_mb(pid), 400, note=note))
        pids = rig.postgresql()
        shared = sum(programs.proportional_mb(each) for each in pids)
        self.add(Measure("memory of PostgreSQL (PSS)", "MB", shared, note=f"{len(pids)} processes, 256 MB shared buffers"))

    def as_json(self) -> dict[str, Any]:
        return {
            "benchmark": "ring",
            "command": shlex.join(["firstring", *sys.argv[1:]]),
            "version": __version__,
            "generator": people.VERSION,
            "at": datetime.now(UTC).isoformat(timespec="seconds"),
            "records": self.records,
            "seconds": self.seconds,
            "seed": self.seed,
            "machine": {
                "cores": os.cpu_count(),
                "system": platform.platform(),
                "python": platform.python_version(),
                "memory_mb": round(os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / 1e6),
            },
            **self.facts,
            "measures": [each.as_json() for each in self.measured],
        }


async def run_bench(
    *, records: int, as_json: bool, seconds: int, seed: int, splink: bool, keep: bool = False, output: Path | None = None
) -> bool:
    """Measures and prints; True where every goal was met. `output`: the JSON also goes to this file."""
    console = Console(stderr=True)
    bench = Bench(records=records, seconds=seconds, seed=seed, splink=splink, keep=keep, console=console)
    task = asyncio.current_task()
    assert task is not None
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)
    await bench.run()
    report = bench.as_json()
    if output is not None:
        text = json.dumps(report, indent=1, ensure_ascii=False) + "\n"
        await asyncio.to_thread(output.write_text, text, "utf-8")
    if as_json:
        sys.stdout.write(json.dumps(report) + "\n")
    title = f"ring, {records:,} records, {seconds} s each, seed {seed}"
    Console(stderr=as_json, width=max(console.width, 150)).print(measures.table(title, bench.measured))
    return all(each.met is not False for each in bench.measured)
