"""`firstring bench ring` at its smallest, as a program: every part runs, and the result can be read by a machine."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from pathlib import Path

from tests.needs import need


async def test_the_benchmark_runs_and_says_what_it_measured(tmp_path: Path) -> None:
    need("kamailio", package="kamailio kamailio-extra-modules kamailio-json-modules")
    need("chromium", package="chromium")
    output = tmp_path / "result.json"
    # fmt: off
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "firstring.cli", "bench", "ring", "--records", "2000", "--seconds", "2", "--seed", "4",
        "--json", "--no-splink", "--output", str(output),
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE, env=dict(os.environ),
    )
    # fmt: on
    async with asyncio.timeout(240):
        out, told = await process.communicate()
    assert process.returncode == 0, told.decode()[-3000:]
    result = json.loads(out)
    assert result == json.loads(output.read_text("utf-8"))
    assert (result["records"], result["seconds"], result["seed"]) == (2_000, 2, 4)
    measured = {measure["name"]: measure for measure in result["measures"]}
    for name in (
        "import",
        "database",
        "decide at 100/s, in the server p50",
        "decide at 100/s, in the server p99",
        "decide at 100/s, over HTTP from the due time p99",
        "decide while an import runs, in the server p99",
        "INVITE -> forwarded INVITE, 100 calls/s p99",
        "decision -> pop painted in Chromium p99",
        "resolve over HTTP p99",
        "memory of the server process (RSS)",
        "memory of PostgreSQL (PSS)",
    ):
        assert measured[name]["value"] > 0, name
    assert measured["calls lost"]["value"] == 0
    assert "decide at 100/s, in the server p99" in told.decode(), "the table is shown beside the JSON"
