"""A call log in the Anonymous Bank's format becomes a world; the log here is made by the test."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from firstring.cli import app
from firstring.errors import BadInput
from firstring.routing.simulate.calllog import observed, read_calls, world_of_calls
from firstring.routing.simulate.compare import POLICIES, simulate
from firstring.routing.simulate.ours import PriceRules
from firstring.routing.simulate.world import world_of

HEADER = (
    "vru+line\tcall_id\tcustomer_id\tpriority\ttype\tdate\tvru_entry\tvru_exit\tvru_time\tq_start\tq_exit\tq_time\t"
    "outcome\tser_start\tser_exit\tser_time\tserver"
)


def clock(seconds: float) -> str:
    return f"{int(seconds // 3600)}:{int(seconds // 60 % 60):02d}:{int(seconds % 60):02d}"


def log(days: int = 4, per_day: int = 300) -> list[str]:
    """Open from 8 to 16 with two servers, ANA twice as fast as BEN; one in ten hangs up after 40 s."""
    rng = np.random.default_rng(3)
    lines = [HEADER]
    for day in range(days):
        for at in np.sort(rng.uniform(8 * 3600, 16 * 3600 - 900, per_day)).tolist():
            kind = "PS" if rng.random() < 0.7 else "NW"
            hangs, wait = rng.random() < 0.1, float(rng.integers(0, 30))
            server = "ANA" if rng.random() < 0.5 else "BEN"
            took = int((100 if server == "ANA" else 200) * np.exp(rng.normal() * 0.5)) + 1
            start = at + 8 + (40 if hangs else wait)
            served = (
                "HANG\t0:00:00\t0:00:00\t0\tNO_SERVER"
                if hangs
                else f"AGENT\t{clock(start)}\t{clock(start + took)}\t{took}\t{server}"
            )
            lines.append(
                f"AA0101\t1\t0\t0\t{kind}\t99010{day + 1}\t{clock(at)}\t{clock(at + 8)}\t8\t{clock(at + 8)}\t"
                f"{clock(start)}\t{40 if hangs else int(wait)}\t{served}"
            )
        lines.append(
            f"AA0101\t1\t0\t0\tPS\t99010{day + 1}\t9:00:00\t9:00:04\t4\t0:00:00\t0:00:00\t0\tHANG\t0:00:00\t0:00:00\t0\t"
        )
    return lines


def test_the_mean_day_of_a_log() -> None:
    lines = log()
    world = world_of_calls(lines)
    assert {kind.name for kind in world.types} == {"ps", "nw"}
    assert sum(sum(kind.per_hour) for kind in world.types) == pytest.approx(300, rel=0.02)
    assert all(kind.per_hour[hour] == 0.0 for kind in world.types for hour in (0, 7, 17, 23))
    assert len(world.agents) == 2
    speeds = [group.speed for group in world.agents]
    assert speeds[1] / speeds[0] == pytest.approx(2.0, rel=0.15)
    assert all(8.0 <= since < to <= 17.0 for group in world.agents for since, to in group.shifts)
    told = observed(lines)
    # Whoever hung up in the voice response unit asked for nobody.
    assert told["per_day"] == 300
    assert told["abandoned"] == pytest.approx(0.1, abs=0.03)
    waited = sum(call.waited_s for call in read_calls(lines))
    gave_up = sum(not call.server for call in read_calls(lines))
    for kind in world.types:
        assert kind.patience_s == pytest.approx(waited / gave_up, rel=0.35)


def test_days_are_chosen() -> None:
    assert world_of_calls(log(), days="990102").name == "1 days of a call log, 990102 to 990102"
    assert "2 days" in world_of_calls(log(), days="990102-990103").name
    with pytest.raises(BadInput) as refused:
        world_of_calls(log(), days="980101", file="calls.txt")
    assert refused.value.code == "calls_days"
    assert "990101" in refused.value.hint


@pytest.mark.parametrize(
    ("lines", "code"),
    [
        ([], "calls_format"),
        (["a\tb", "1\t2"], "calls_format"),
        ([HEADER], "calls_format"),
        ([HEADER, *(["x\ty"] * 5)], "calls_format"),
        (log(1, 40), "calls_few"),
        (log(1, 200)[:150] + ["\t".join(["?"] * 17)] * 30, "calls_format"),
    ],
)
def test_what_is_no_call_log_is_refused(lines: list[str], code: str) -> None:
    with pytest.raises(BadInput) as refused:
        world_of_calls(lines, file="calls.txt")
    assert refused.value.code == code
    assert refused.value.where["file"] == "calls.txt"


def test_a_wrong_line_among_many_is_passed_over() -> None:
    assert world_of_calls([*log(), "broken"]).types


def test_the_command_reads_a_compressed_log(tmp_path: Path) -> None:
    file = tmp_path / "calls.txt.gz"
    file.write_bytes(gzip.compress("\r\n".join(log()).encode("latin-1")))
    shown = CliRunner().invoke(app, ["simulate", "--calls", str(file), "--seeds", "1", "--policy", "price", "--json"])
    assert shown.exit_code == 0, shown.output
    result = json.loads(shown.stdout)
    assert [one["policy"] for one in result["policies"]] == ["first-come", "price"]
    file.write_bytes(b"\x1f\x8bbroken")
    refused = CliRunner().invoke(app, ["simulate", "--calls", str(file)])
    assert isinstance(refused.exception, BadInput)
    assert refused.exception.code == "file_unreadable"


@pytest.mark.parametrize("policy", [*POLICIES])
def test_who_waits_when_everybody_has_signed_out_waited_in_vain_and_the_run_ends(policy: str) -> None:
    """Nobody hangs up, and the shift is over in the middle of the world."""
    world = world_of(
        {
            "world": {"hours": 1.0, "warm_up_hours": 0.0},
            "agents": [{"name": "x", "count": 1, "shifts": [[0.0, 0.5]]}],
            "types": [{"name": "q", "per_hour": 60.0, "patience_s": 0.0}],
        }
    )
    drawn, run = simulate(world, 1, POLICIES[policy](PriceRules()))
    left = run.agent < 0
    assert left.any()
    assert run.wait_s[left] == pytest.approx(3_600.0 - drawn.at_s[left])


def test_a_report_that_cannot_be_written_is_refused_before_the_runs(tmp_path: Path) -> None:
    world = tmp_path / "world.toml"
    world.write_text('[[agents]]\nname = "x"\ncount = 1\n[[types]]\nname = "q"\nper_hour = 500000\n')
    for place in (tmp_path / "none" / "report.html", tmp_path):
        refused = CliRunner().invoke(app, ["simulate", str(world), "--html", str(place)]).exception
        assert isinstance(refused, BadInput)
        assert refused.code == "file_not_written"
