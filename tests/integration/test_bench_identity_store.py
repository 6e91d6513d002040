"""`firstring bench identity --store` at its smallest, as a program: every part runs, and a machine can read the result."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from itertools import islice
from pathlib import Path

from firstring.bench import arriving, people

RECORDS = 150


def test_what_arrives_is_new_or_of_somebody_who_is_there() -> None:
    there = list(people.population(5, RECORDS))
    households = there[-1].household + 1
    drawn = list(islice(arriving.fresh(5, households), 400))
    assert drawn == list(islice(arriving.fresh(5, households), 400))
    ids = [record.row[0] for record in drawn]
    assert len(set(ids)) == len(ids)
    assert set(ids).isdisjoint(record.row[0] for record in there)
    further = [record for record in drawn if record.household < households]
    assert len({record.household for record in further}) == len(further) == households
    assert {record.household for record in drawn} >= {households, households + 1}


def test_a_switchboard_and_a_person_of_many_records() -> None:
    company = list(arriving.on_the_switchboard(5, 1_000, 20))
    assert len({record.record_id for record in company}) == 20
    assert all(arriving.SWITCHBOARD in record.fields["phone"] for record in company)
    person = arriving.one_person("crowd", "x", 100, 8)
    assert len({record.record_id for record in person}) == 100
    assert len({str(record.fields) for record in person}) == 8


async def test_the_benchmark_runs_and_says_what_it_measured(tmp_path: Path) -> None:
    output = tmp_path / "result.json"
    # fmt: off
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "firstring.cli", "bench", "identity", "--store", "--store-records", str(RECORDS),
        "--seed", "4", "--one-person", "40", "--json", "--no-splink", "--output", str(output),
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE, env=dict(os.environ),
    )
    # fmt: on
    async with asyncio.timeout(240):
        out, told = await process.communicate()
    assert process.returncode == 0, told.decode()[-3000:]
    result = json.loads(out)
    assert result == json.loads(output.read_text("utf-8"))
    assert (result["records"], result["seed"]) == (RECORDS, 4)
    measured = {measure["name"]: measure for measure in result["measures"]}
    for name in (
        "import",
        "train --store",
        "model roll-in --yes",
        "persons of the store: F1",
        "resolve in process p99",
        "arrivals one at a time, one source",
        "arrivals in batches of 2,000",
        f"one number {RECORDS} times: last 10 / first 10",
        "merge (must-link), few contents",
        "split (must-link revoked), 40 contents",
        "un-merge, 40 contents",
        "resolve over HTTP p99",
        "arrivals over HTTP, one at a time",
        "memory of the server process (RSS)",
    ):
        assert measured[name]["value"] > 0, name
    assert measured["merge (must-link), 40 contents"]["note"].startswith("39 and 1 records made 40")
    assert "arrivals in batches of 2,000" in told.decode(), "the table is shown beside the JSON"
