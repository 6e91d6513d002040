"""`firstring bench journey`, tiny: it ends, and every event that it sent was stored."""

from __future__ import annotations

import json
import subprocess
import sys


def test_a_tiny_run() -> None:
    sizes = ("--events", "1000", "--singles", "100", "--users", "100", "--json")
    command = [sys.executable, "-m", "firstring.cli", "bench", "journey", *sizes]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    measures = {one["name"]: one for one in json.loads(done.stdout)}
    assert measures["new users, in batches"]["note"].startswith("100 events")
    assert measures["events in batches"]["note"].startswith("1,000 events")
    assert measures["events one by one"]["note"].startswith("100 events")
    assert all(one["value"] > 0 for one in measures.values())
