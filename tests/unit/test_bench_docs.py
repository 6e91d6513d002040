"""docs/benchmarks.md: its commands are commands of the program, its options are all there are."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest
import typer.main

from firstring.bench import callers, people
from firstring.cli import app

ROOT = Path(__file__).resolve().parents[2]
DOCS = (ROOT / "docs" / "benchmarks.md").read_text("utf-8")


@pytest.mark.parametrize(
    ("name", "documents", "commands"), [("ring", ("benchmarks.md",), 3), ("identity", ("benchmarks.md", "linking.md"), 3)]
)
def test_every_option_is_documented_and_every_command_understood(
    name: str, documents: tuple[str, ...], commands: int
) -> None:
    bench = typer.main.get_command(app).commands["bench"].commands[name]  # type: ignore[attr-defined]
    text = "\n".join((ROOT / "docs" / document).read_text("utf-8") for document in documents)
    documented = set(re.findall(r"`(--[a-z-]+)", text))
    for parameter in bench.params:  # of a switch one of its two names is enough
        assert documented & {*parameter.opts, *parameter.secondary_opts} or parameter.opts == ["--help"]
    lines = [line[2:].partition("#")[0] for line in text.splitlines() if line.startswith(f"$ firstring bench {name}")]
    assert len(lines) == commands
    for line in lines:
        bench.make_context(name, shlex.split(line)[3:])


def test_benchmarks_names_no_option_that_is_not_there() -> None:
    documented = set(re.findall(r"`(--[a-z-]+)", DOCS))
    commands = typer.main.get_command(app).commands["bench"].commands.values()  # type: ignore[attr-defined]
    known = {option for one in commands for each in one.params for option in (*each.opts, *each.secondary_opts)}
    assert documented <= known


def test_the_generator_and_the_callers_are_as_described() -> None:
    assert people.VERSION in DOCS
    described = re.search(r"Callers are a mix:(.*?)\.", DOCS, re.DOTALL)
    assert described is not None
    shares = [int(share) / 100 for share in re.findall(r"(\d+) %", described[1])]
    assert shares == [share for _, share in callers.MIX]
