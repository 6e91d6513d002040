"""docs/benchmarks.md: its commands are commands of the program, its options are all there are."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import typer.main

from firstring.bench import callers, people
from firstring.cli import app

DOCS = (Path(__file__).resolve().parents[2] / "docs" / "benchmarks.md").read_text("utf-8")


def test_every_option_is_documented_and_every_command_understood() -> None:
    bench = typer.main.get_command(app).commands["bench"].commands["ring"]  # type: ignore[attr-defined]
    known = {
        name
        for parameter in bench.params
        for name in (*parameter.opts, *parameter.secondary_opts)
        if name not in ("--help", "--splink", "--no-keep", "--no-json")
    }
    documented = set(re.findall(r"`(--[a-z-]+)", DOCS))
    assert documented == known
    commands = [line[2:].partition("#")[0] for line in DOCS.splitlines() if line.startswith("$ firstring bench ring")]
    assert len(commands) == 3
    for command in commands:
        assert bench.make_context("ring", shlex.split(command)[3:]).params["seconds"] > 0


def test_the_generator_and_the_callers_are_as_described() -> None:
    assert people.VERSION in DOCS
    described = re.search(r"Callers are a mix:(.*?)\.", DOCS, re.DOTALL)
    assert described is not None
    shares = [int(share) / 100 for share in re.findall(r"(\d+) %", described[1])]
    assert shares == [share for _, share in callers.MIX]
