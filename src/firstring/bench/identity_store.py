"""`firstring bench identity --store`: the identity engine in its store at size, every part of it real.

In a home of its own: imports, trains, rolls the model in, resolves beside Splink, takes arrivals, a switchboard and a
steward's decisions. docs/benchmarks.md says what each figure means.
"""

from __future__ import annotations

import asyncio
import csv
import json
import os
import platform
import shlex
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime
from itertools import islice
from pathlib import Path
from typing import Any, Final

from rich.console import Console

from firstring import __version__
from firstring.bench import arriving, callers, measures, people, programs
from firstring.bench.http import Client, expect
from firstring.bench.identity import accuracy
from firstring.bench.measures import Measure, pair, quantile
from firstring.bench.metering import CALLERS, Meter, batches, by_callers, costs, largest_mb, now, timed
from firstring.contact import Resolution
from firstring.decide import looked_up, who
from firstring.errors import Unrecoverable
from firstring.identity.caller.evidence import gather
from firstring.identity.canonical.record import CanonicalRecord, canonical_record
from firstring.observe import configure_logs
from firstring.store.database import Database, Tenant, connect
from firstring.store.identity.arrivals import Arrivals
from firstring.store.identity.decisions import decide_link, revoke_decision, unmerge
from firstring.store.identity.linkindex import parts_of
from firstring.store.identity.records import apply_records, external_key
from firstring.store.notices import Notices
from firstring.store.queries import sql
from firstring.store.ring import RingStore, warm
from firstring.store.seal import read_master_key
from firstring.store.server import embedded
from firstring.store.weighing import refresh

ONE_AT_A_TIME: Final = 5_000
IN_BATCHES: Final = 20_000
BATCHES_IN_FLIGHT: Final = 2
"""Calls that wait for their answer: the second is made ready while the database works for the first."""
ON_ONE_NUMBER: Final = 10_000
A_BODY: Final = 500
"""Records in one POST: about 250 kB, where limits.BODY_BYTES is 512 kB."""
LOOK_UPS: Final = 500
SPLINK_S: Final = 30.0
SPLINK_MAX_S: Final = 600.0
_SOURCE: Final = "arrivals"
_BETWEEN_S: Final = 0.01
"""Between two changes of a store into which a version is rolled."""
_OF_THE_COMPANY: Final = 100_000_000
"""The first household whose people share a switchboard: far from all others."""


class Bench:
    """One run: what it is given, and what it has measured so far."""

    def __init__(self, *, records: int, seed: int, one_person: int, splink: bool, keep: bool, console: Console) -> None:
        self.records = records
        self.seed = seed
        self.one_person = one_person
        self.splink = splink
        self.keep = keep
        self.measured: list[Measure] = []
        self.facts: dict[str, Any] = {}
        self._console = console
        self._fresh: Iterator[people.Record] = iter(())

    def say(self, text: str) -> None:
        self._console.print(text, style="dim", highlight=False)

    def add(self, *measured: Measure) -> None:
        self.measured += measured
        for one in measured:
            value = "not measured" if one.value is None else f"{measures.number(one.value)} {one.unit}"
            self.say(f"{one.name}: {value} {one.note}")

    async def run(self) -> None:
        with tempfile.TemporaryDirectory(prefix="firstring-bench-") as name:
            folder = Path(name)
            written = await asyncio.to_thread(people.write, folder, self.seed, self.records)
            self._fresh = arriving.fresh(self.seed, written.households)
            async with programs.rig(keep=self.keep) as rig:
                if self.keep:
                    self.say(f"home: {rig.home}")
                await self._linked(rig, written)
                queries = self._queries(written)
                key = read_master_key(rig.home / "master.key", "")
                database = await Database.open(rig.server.dsn(embedded.APP), key, warm=warm)
                try:
                    (tenant,) = await database.tenants()
                    await self._accuracy(rig, tenant, written)
                    pids = [os.getpid(), *rig.postgresql()]
                    ours = await self._resolve(database, tenant, queries, pids)
                    if self.splink:
                        await self._peer(rig, folder, queries, ours)
                    await self._arrive(database, tenant, pids)
                    await self._switchboard(database, tenant, pids)
                    for name, contents in (("few contents", 8), (f"{self.one_person:,} contents", self.one_person)):
                        await self._decide(database, tenant, name, contents)
                finally:
                    await database.close()
                await self._over_http(rig, queries)

    # --- from files to persons -----------------------------------------------------------------------------------

    async def _linked(self, rig: programs.Rig, written: people.Written) -> None:
        imports = [("import", str(path), "--source", path.stem) for path in written.files]
        took_s, memory_mb = await self._commands(rig, imports)
        self.add(Measure("import", "records/s", self.records / took_s, 5_000, "higher", costs(took_s, memory_mb)))
        await self._upkeep(rig)
        took_s, memory_mb = await self._commands(rig, [("train", "--store")])
        self.add(Measure("train --store", "s", took_s, note=costs(took_s, memory_mb)))
        waits_ms: list[float] = []
        changing = asyncio.create_task(self._wait(rig, waits_ms))
        took_s, memory_mb = await self._commands(rig, [("model", "roll-in", "1", "--yes")])
        changing.cancel()
        await asyncio.wait((changing,))
        note = f"n={len(waits_ms):,}, p99 {quantile(waits_ms, 0.99):,.0f} ms"
        self.add(
            Measure("model roll-in --yes", "s", took_s, note=costs(took_s, memory_mb)),
            Measure("longest wait of a change meanwhile", "ms", max(waits_ms), 1_000, note=note),
        )
        size, keys, persons = await self._upkeep(rig)
        self.add(Measure("database", "MB", size, note=f"{keys / written.records:.1f} keys a record, {persons:,} persons"))

    async def _commands(self, rig: programs.Rig, commands: Iterable[Sequence[str]]) -> tuple[float, float]:
        """(seconds, MB of the largest process) of commands one after the other, start of the program included."""
        began, most_mb = time.perf_counter(), 0.0
        for command in commands:
            process = await rig.start(*command)
            ending = asyncio.ensure_future(process.wait())
            try:
                while not ending.done():
                    most_mb = max(most_mb, largest_mb(process.pid))
                    await asyncio.wait((ending,), timeout=0.2)
            finally:
                await programs.ended(process)
            if process.returncode:
                told = rig.log_of(command[0]).strip()
                raise Unrecoverable("bench_command_failed", f"firstring {shlex.join(command)} failed: {told}")
        return time.perf_counter() - began, most_mb

    async def _wait(self, rig: programs.Rig, waits_ms: list[float]) -> None:
        """Again and again, until cancelled: how long whoever changes records waits until it is its turn."""
        connection = await connect(rig.server.dsn(embedded.APP))
        try:
            tenant_id = await connection.fetchval(sql("bench", "tenant"))
            while True:
                async with connection.transaction():
                    began = time.perf_counter()
                    await connection.execute(sql("records", "lock_applier"), tenant_id)
                    waits_ms.append((time.perf_counter() - began) * 1_000)
                await asyncio.sleep(_BETWEEN_S)
        finally:
            await connection.close()

    async def _upkeep(self, rig: programs.Rig) -> tuple[float, int, int]:
        """(MB, keys, persons), after what PostgreSQL would else do by itself in the minutes after."""
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

    async def _accuracy(self, rig: programs.Rig, tenant: Tenant, written: people.Written) -> None:
        connection = await connect(rig.server.dsn(embedded.SUPERUSER))
        try:
            rows = await connection.fetch(sql("bench", "persons"))
        finally:
            await connection.close()
        person_of = {key.hex(): person for key, person in rows}
        truth: dict[str, str] = {}
        with written.truth.open(encoding="utf-8", newline="") as file:
            for row in csv.DictReader(file):
                truth[external_key(tenant.keys, row["source"], row["record_id"]).hex()] = row["person"]
        got = accuracy(person_of, truth)
        goal = 0.975 if self.records <= 50_000 else 0.97 if self.records <= 500_000 else 0.95
        note = f"{got.f1:.4f}: precision {got.precision:.4f}, recall {got.recall:.4f}"
        self.add(
            Measure("persons of the store: F1", "", got.f1, goal, "higher", note),
            Measure("persons of the store: largest", "records", got.largest, 2.0 * got.true_largest,
                    note=f"in truth {got.true_largest}"),
        )  # fmt: skip

    # --- who is it -------------------------------------------------------------------------------------------------

    def _queries(self, written: people.Written) -> list[dict[str, str]]:
        calls = callers.callers(self.seed, written.households, sys.maxsize)
        known = (call for call in calls if call.kind in ("known", "landline"))
        return [{**call.claims, "phone": call.number} for call in islice(known, min(LOOK_UPS, self.records))]

    async def _resolve(
        self, database: Database, tenant: Tenant, queries: Sequence[dict[str, str]], pids: Sequence[int]
    ) -> list[Measure]:
        ring = RingStore(database, Notices(database.arguments, "bench"))
        weights = await refresh(database, tenant)

        async def resolved(query: dict[str, str]) -> Resolution:
            evidence = gather(query, country=arriving.COUNTRY)
            read = await ring.read(tenant, looked_up(evidence), None)
            return who(evidence, read, weights=weights, now=now())

        for query in queries[:50]:
            await resolved(query)
        latency_ms, found = [], 0
        meter = Meter.of(pids)
        for query in queries:
            began = time.perf_counter()
            resolution = await resolved(query)
            latency_ms.append((time.perf_counter() - began) * 1_000)
            found += resolution.someone_new < 0.5
        note = f"n={len(queries)}, {found / len(queries):.0%} found, {meter.told(len(queries))}"
        ours = pair("resolve in process", latency_ms, 1.5, 5, note=note)
        self.add(*ours)
        return ours

    async def _peer(self, rig: programs.Rig, folder: Path, queries: list[dict[str, str]], ours: list[Measure]) -> None:
        path = folder / "queries.json"
        path.write_text(json.dumps([{**query, "phone": query["phone"][-9:]} for query in queries]))
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "firstring.bench.peer", str(folder), str(path), str(SPLINK_S),
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
            self.add(Measure("Splink / Firstring in process, p50", "times", None, 150, "higher", f"Splink failed: {reason}"))
            return
        report = json.loads(out)
        note = f"{report['version']}, n={len(report['latency_ms'])}, {report['found']:.0%} found"
        theirs = pair("the same look-up by Splink", report["latency_ms"], None, None, note=note)
        self.add(*theirs)
        for our, their, share, goal in zip(ours, theirs, ("p50", "p99"), (150, None), strict=True):
            if our.value and their.value:
                times = their.value / our.value
                self.add(Measure(f"Splink / Firstring in process, {share}", "times", times, goal, "higher"))

    # --- arrivals --------------------------------------------------------------------------------------------------

    def _drawn(self, count: int) -> tuple[list[CanonicalRecord], list[str]]:
        """The next records that nobody has handed in yet, and where each came from."""
        rows = list(islice(self._fresh, count))
        return [canonical_record(arriving.fields_of(row.row), country=arriving.COUNTRY) for row in rows], [
            f"later {people.SOURCES[row.source]}" for row in rows
        ]

    async def _arrive(self, database: Database, tenant: Tenant, pids: Sequence[int]) -> None:
        arrivals = Arrivals(database)
        count = min(ONE_AT_A_TIME, self.records)
        for name, goal in (("one source", 500.0), ("three sources mixed", None)):
            records, sources = self._drawn(count)
            if goal is not None:
                sources = [_SOURCE] * count

            async def one(place: int, records: Any = records, sources: Any = sources) -> None:
                await arrivals.apply(tenant, sources[place], [records[place]], now=now())

            meter = Meter.of(pids)
            took_s, latency_ms = await by_callers(one, count)
            note = f"{count:,} by {CALLERS} callers, p99 {quantile(latency_ms, 0.99):,.0f} ms, {meter.told(count)}"
            self.add(Measure(f"arrivals one at a time, {name}", "records/s", count / took_s, goal, "higher", note))
        await arrivals.close()
        count = min(IN_BATCHES, self.records)
        records, _ = self._drawn(count)
        waiting, merged = iter(batches(records)), 0

        async def caller() -> None:
            nonlocal merged
            for batch in waiting:
                merged += (await apply_records(database, tenant, _SOURCE, batch, now=now())).merged

        meter, began = Meter.of(pids), time.perf_counter()
        await asyncio.gather(*(caller() for _ in range(BATCHES_IN_FLIGHT)))
        took_s = time.perf_counter() - began
        note = f"{count:,} in {took_s:,.1f} s, {merged:,} persons merged, {meter.told(count)}"
        self.add(Measure("arrivals in batches of 2,000", "records/s", count / took_s, 2_500, "higher", note))

    async def _switchboard(self, database: Database, tenant: Tenant, pids: Sequence[int]) -> None:
        count = min(ON_ONE_NUMBER, self.records)
        spent_ms: list[float] = []
        meter = Meter.of(pids)
        for record in arriving.on_the_switchboard(self.seed, _OF_THE_COMPANY, count):
            spent, _ = await timed(apply_records(database, tenant, _SOURCE, [record], now=now()))
            spent_ms.append(spent)
        begins, ends = quantile(spent_ms[:10], 0.5), quantile(spent_ms[-10:], 0.5)
        note = f"medians {begins:.1f} and {ends:.1f} ms, largest {max(spent_ms):,.0f} ms, {meter.told(count)}"
        name = f"one number {count:,} times: last 10 / first 10"
        self.add(Measure(name, "times", ends / begins, 1.5, note=note))

    # --- a steward's decisions -------------------------------------------------------------------------------------

    async def _decide(self, database: Database, tenant: Tenant, name: str, contents: int) -> None:
        """A person of many records: merged from two, taken apart again, split, un-merged."""
        source, most = f"x{contents}", self.one_person - 1
        told = {"by": "bench", "reason": "measured"}
        crowd = arriving.one_person("crowd", source, most, contents)
        visitor = arriving.one_person("visitor", source, 1, 1)
        applied = await apply_records(database, tenant, source, [*crowd, *visitor], now=now())
        person, size = await self._largest(database, tenant, applied.record_ids)
        one, middle, other = ((source, record.record_id) for record in (crowd[0], crowd[most // 2 + 1], visitor[0]))
        merges, partings = [], []
        for _ in range(5):
            spent, done = await timed(decide_link(database, tenant, "must", one, other, now=now(), **told))
            merges.append(spent)
            _, together = await self._largest(database, tenant, applied.record_ids)
            spent, _ = await timed(revoke_decision(database, tenant, done.decision_ids[0], now=now(), **told))
            partings.append(spent)
        note = f"{size} and {together - size} records made {together}; the longest of 5"
        self.add(
            Measure(f"merge (must-link), {name}", "ms", max(merges), 100, note=note),
            Measure(f"split (must-link revoked), {name}", "ms", max(partings), 100, note=note),
        )
        spent, done = await timed(decide_link(database, tenant, "cannot", one, middle, now=now(), **told))
        _, left = await self._largest(database, tenant, applied.record_ids)
        self.add(Measure(f"split (cannot-link inside), {name}", "ms", spent, 100, note=f"{size} records became {left}"))
        await revoke_decision(database, tenant, done.decision_ids[0], now=now(), **told)
        person, size = await self._largest(database, tenant, applied.record_ids)
        parted = range(1, 1 + max(1, contents // 100))  # all records of a content go together
        apart = [record for place, record in enumerate(applied.record_ids[:most]) if place % contents in parted]
        spent, done = await timed(unmerge(database, tenant, person, apart, now=now(), **told))
        _, left = await self._largest(database, tenant, applied.record_ids)
        note = f"{size} records became {left}, by {len(done.decision_ids):,} cannot-links"
        self.add(Measure(f"un-merge, {name}", "ms", spent, 100, note=note))

    async def _largest(self, database: Database, tenant: Tenant, records: Iterable[int]) -> tuple[int, int]:
        """(the person of most of these records, how many)."""
        async with database.transaction(tenant.tenant_id) as connection:
            parts = await parts_of(connection, tenant, records)
        return Counter(part.person_id for part in parts.values()).most_common(1)[0]

    # --- over HTTP -------------------------------------------------------------------------------------------------

    async def _over_http(self, rig: programs.Rig, queries: Sequence[dict[str, str]]) -> None:
        token = (await rig.run("token", "--role", "administrator", "--name", "bench")).strip()
        async with programs.serving(rig, {}) as (server, port):
            client = Client(port, token)
            try:
                await client.warm(CALLERS)
                pids = [server.pid, *rig.postgresql()]
                await self._resolve_over_http(client, queries, pids, "resolve over HTTP while drift is looked for", None)
                await programs.settled(pids)
                await self._resolve_over_http(client, queries, pids, "resolve over HTTP", (3, 10))
                await self._arrive_over_http(client, pids)
            finally:
                client.close()
            self.add(Measure("memory of the server process (RSS)", "MB", programs.resident_mb(server.pid), 400))

    async def _resolve_over_http(
        self,
        client: Client,
        queries: Sequence[dict[str, str]],
        pids: Sequence[int],
        name: str,
        goals: tuple[float, float] | None,
    ) -> None:
        latency_ms: list[float] = []
        meter = Meter.of(pids)
        for query in [*queries[:50], *queries]:
            spent, answer = await timed(client.post("/v1/resolve", {"fields": query}))
            expect(answer, "resolve")
            latency_ms.append(spent)
        note = f"n={len(queries)}, {meter.told(len(latency_ms))}"
        self.add(*pair(name, latency_ms[-len(queries) :], *(goals or (None, None)), note=note))

    async def _arrive_over_http(self, client: Client, pids: Sequence[int]) -> None:
        def bodies(count: int) -> list[dict[str, Any]]:
            return [arriving.fields_of(row.row) for row in islice(self._fresh, count)]

        count = min(ONE_AT_A_TIME, self.records)
        singles = bodies(count)

        async def one(place: int) -> None:
            expect(await client.post("/v1/records", {"source": _SOURCE, "records": [singles[place]]}), "records")

        meter = Meter.of(pids)
        took_s, latency_ms = await by_callers(one, count)
        note = f"{count:,} by {CALLERS} callers, p99 {quantile(latency_ms, 0.99):,.0f} ms, {meter.told(count)}"
        self.add(Measure("arrivals over HTTP, one at a time", "records/s", count / took_s, 500, "higher", note))
        count = min(IN_BATCHES, self.records)
        whole = bodies(count)
        meter, began = Meter.of(pids), time.perf_counter()
        for batch in batches(whole, A_BODY):
            expect(await client.post("/v1/records", {"source": _SOURCE, "records": batch}), "records")
        took_s = time.perf_counter() - began
        self.add(
            Measure(
                f"arrivals over HTTP, in batches of {A_BODY}",
                "records/s",
                count / took_s,
                2_500,
                "higher",
                meter.told(count),
            )
        )

    def as_json(self) -> dict[str, Any]:
        return {
            "benchmark": "identity --store",
            "command": shlex.join(["firstring", *sys.argv[1:]]),
            "version": __version__,
            "generator": people.VERSION,
            "at": datetime.now(UTC).isoformat(timespec="seconds"),
            "records": self.records,
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
    *,
    records: int,
    seed: int,
    splink: bool,
    as_json: bool,
    one_person: int = 1_000,
    keep: bool = False,
    output: Path | None = None,
) -> bool:
    """Measures and prints; True where every goal was met. `output`: the JSON also goes to this file."""
    console = Console(stderr=True)
    configure_logs("warning")
    bench = Bench(records=records, seed=seed, one_person=one_person, splink=splink, keep=keep, console=console)
    task = asyncio.current_task()
    assert task is not None
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)
    try:
        await bench.run()
    except asyncio.CancelledError:
        bench.facts["interrupted"] = True
        raise
    finally:
        _report(bench, console, as_json, output)
    return all(each.met is not False for each in bench.measured)


def _report(bench: Bench, console: Console, as_json: bool, output: Path | None) -> None:
    """What was measured until now: a run that is ended early says that much."""
    report = bench.as_json()
    if output is not None:
        output.write_text(json.dumps(report, indent=1, ensure_ascii=False) + "\n", "utf-8")
    if as_json:
        sys.stdout.write(json.dumps(report) + "\n")
    title = f"identity in the store, {bench.records:,} records, seed {bench.seed}"
    Console(stderr=as_json, width=max(console.width, 150)).print(measures.table(title, bench.measured))
