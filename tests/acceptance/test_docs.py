"""The documentation is executed, and is in step with the code.

Convention. A fenced block names its language:

- `console`: lines that begin with `$ ` are commands, run in order by one shell for each document; what stands below a
  command is what it prints, line by line, somewhere in its output; `…` stands for anything. `firstring serve &` starts a
  server on a free port; the address http://127.0.0.1:8470 in later blocks means it.
- `python`: runs as a program of its own, in the same place, at that point of the document.
- `toml`, `json`: must be readable; a table `[routing]` must be a routing policy.
- `text`, `http`, `sql`, `mermaid`: shown only.

With `file=NAME` after its language a block is written to that file before anything is run.

A block that is not run has `<!-- not run: the reason -->` in the line above.
"""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
import sys
import tomllib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import pytest
from tests.server_rig import Home

from firstring.routing.declared.policy import routing_policy
from firstring.settings import load

ROOT = Path(__file__).resolve().parents[2]
DOCUMENTS = sorted([ROOT / "README.md", *(ROOT / "docs").glob("*.md")])
EXECUTED = ("console", "python", "toml", "json")
SHOWN = ("text", "http", "sql", "mermaid")
BLOCK = re.compile(r"^(?P<indent> *)```(?P<info>[^\n`]*)\n(?P<body>.*?)^ *```", re.DOTALL | re.MULTILINE)
NOT_RUN = re.compile(r"<!-- not run: (?P<reason>.{10,}) -->\s*\Z")
ADDRESS = "http://127.0.0.1:8470"
SERVE = "firstring serve &"
START = """firstring serve 2> serve.log &
server=$!
for _ in $(seq 300); do grep -q '"event": "serving"' serve.log && break; kill -0 $server || break; sleep 0.1; done
ADDRESS=$(sed -n 's/.*"address": "\\([^"]*\\)", "event": "serving".*/\\1/p' serve.log | head -1)
[ -n "$ADDRESS" ] || { cat serve.log; exit 1; }
"""
STOP = 'if [ -n "${server:-}" ]; then kill -TERM $server; wait $server; fi\n'


class Block(NamedTuple):
    """A fenced block: its language, the file it is to be written to, its text, and its line in the document."""

    language: str
    file: str
    text: str
    line: int
    not_run: str


def blocks(document: Path) -> Iterator[Block]:
    text = document.read_text("utf-8")
    for match in BLOCK.finditer(text):
        language, *options = match["info"].split() or [""]
        named = dict(option.partition("=")[::2] for option in options)
        reason = NOT_RUN.search(text[: match.start()])
        line = text.count("\n", 0, match.start()) + 1
        yield Block(language, named.get("file", ""), match["body"], line, reason["reason"] if reason else "")


def executed(document: Path) -> list[Block]:
    return [block for block in blocks(document) if block.language in EXECUTED and not block.not_run]


def commands(block: Block) -> Iterator[tuple[str, list[str]]]:
    """(command, lines that it prints); a command goes on in the next line after a backslash."""
    command, expected = "", list[str]()
    for line in block.text.replace("\\\n", "").splitlines():
        if line.startswith("$ "):
            if command:
                yield command, expected
            command, expected = line[2:].strip(), []
        elif line.strip():
            assert command, f"line {block.line}: output before a command"
            expected.append(line.strip())
    if command:
        yield command, expected


def script(document: Path, place: Path) -> tuple[str, list[tuple[str, list[str]]]]:
    """The shell script that runs a document in `place`, and for each output file what it must hold."""
    lines = ["set -eu", f"cd {shlex.quote(str(place))}", 'ADDRESS=""']
    expectations: list[tuple[str, list[str]]] = []
    for block in blocks(document):
        if block.file:
            (place / block.file).write_text(block.text)
    for number, block in enumerate(executed(document)):
        if block.language == "python":
            name = f"snippet_{number}.py"
            (place / name).write_text(block.text)
            lines.append(f'echo "# {document.name}:{block.line}"')
            lines.append(f'sed -i "s#{ADDRESS}#${{ADDRESS:-{ADDRESS}}}#" {name}; {sys.executable} -W error {name}')
        for command, expected in commands(block) if block.language == "console" else ():
            output = f"out_{len(expectations)}"
            expectations.append((output, expected))
            lines.append(f"echo {shlex.quote('$ ' + command)}")
            if command == SERVE:
                lines.append(START)
                (place / output).touch()
            elif command.startswith("export "):
                lines.append(command)
                (place / output).touch()
            else:
                lines.append(f"{{ {command}\n}} > {output} 2>&1 || {{ cat {output}; exit 1; }}")
    return "\n".join([*lines, STOP]), expectations


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_the_snippets_run(document: Path, make_home: Callable[[], Path], tmp_path: Path) -> None:
    """Each document in a home of its own; one with commands starts with what `firstring init` leaves behind."""
    languages = {block.language for block in executed(document)}
    if not languages & {"console", "python"}:
        return
    text, expectations = script(document, tmp_path)
    environment = dict(os.environ)
    if "console" in languages:
        environment = Home(make_home()).environment
    environment["PATH"] = f"{Path(sys.executable).parent}:{environment['PATH']}"
    run = subprocess.run(
        ["bash", "-c", text], env=environment, capture_output=True, text=True, timeout=120, stdin=subprocess.DEVNULL
    )
    assert run.returncode == 0, run.stdout + run.stderr
    for name, expected in expectations:
        printed = (tmp_path / name).read_text()
        for line in expected:
            pattern = ".*".join(re.escape(part) for part in line.split("…"))
            assert re.search(f"^\\s*{pattern}", printed, re.MULTILINE), f"{line!r} is not printed: {printed}"


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_blocks_name_their_language_and_can_be_read(document: Path) -> None:
    for block in blocks(document):
        where = f"{document.name}:{block.line}"
        assert block.language in (*EXECUTED, *SHOWN), f"{where}: name a language (console, python, toml, json, text)"
        if block.language == "json" and not block.not_run:
            json.loads(block.text)
        if block.language == "toml" and not block.not_run:
            table = tomllib.loads(block.text)
            if "routing" in table:
                routing_policy(table["routing"])


def test_the_examples_of_settings_are_settings(tmp_path: Path) -> None:
    """A TOML block that is written to a file of settings is loaded as one."""
    seen = 0
    for block in blocks(ROOT / "docs" / "operating.md"):
        if block.language == "toml" and "database_url" in block.text:
            file = tmp_path / "firstring.toml"
            file.write_text(block.text)
            assert load({"FIRSTRING_CONFIG": str(file), "HOME": str(tmp_path)}).database_url
            seen += 1
    assert seen


def test_the_generated_parts_are_in_step() -> None:
    """Settings, commands, options, metrics and error codes: what the code has is what the documentation says."""
    run = subprocess.run([sys.executable, ROOT / "tools" / "reference.py", "--check"], capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
    operating = (ROOT / "docs" / "operating.md").read_text("utf-8")
    for part in ("settings", "commands", "metrics"):
        assert f"<!-- generated: {part} -->" in operating
    assert "<!-- generated: errors -->" in (ROOT / "docs" / "errors.md").read_text("utf-8")


def test_every_option_says_what_it_does() -> None:
    operating = (ROOT / "docs" / "operating.md").read_text("utf-8")
    rows = re.findall(r"^\| `(--[^`]+|[A-Z]+)` \| [^|]* \| ([^|\n]*) \|$", operating, re.MULTILINE)
    assert len(rows) > 30
    assert [option for option, text in rows if not text.strip()] == []


def test_every_route_is_documented() -> None:
    from tests.contract.test_api import ROUTES

    api = (ROOT / "docs" / "api.md").read_text("utf-8")
    listed = {(method.lower(), path) for method, path in re.findall(r"^\| `([A-Z]+) (/v1[^`]*)` \|", api, re.MULTILINE)}
    assert listed == set(ROUTES)
    for (method, path), roles in ROUTES.items():
        [row] = re.findall(rf"^\| `{method.upper()} {re.escape(path)}` \| ([^|]*) \|", api, re.MULTILINE)
        assert set(row.strip().split(", ")) == (roles or {"administrator"})


def test_the_map_of_the_house_is_complete() -> None:
    """The README names every folder and top-level module of the program, and nothing that is not there."""
    readme = (ROOT / "README.md").read_text("utf-8")
    [drawn] = re.findall(r"```text\n(src/firstring/.*?)```", readme, re.DOTALL)
    source = ROOT / "src" / "firstring"
    named = set(re.findall(r"^  ([a-z_]+(?:/|\.py))", drawn, re.MULTILINE))
    there = {f"{path.name}/" for path in source.iterdir() if path.is_dir() and path.name != "__pycache__"}
    there |= {path.name for path in source.glob("*.py") if path.name != "__init__.py"}
    assert named == there


def test_the_readme_leads_to_every_document() -> None:
    readme = (ROOT / "README.md").read_text("utf-8")
    assert set(re.findall(r"^\| \[[^]]+\]\((docs/[a-z-]+\.md)\) \|", readme, re.MULTILINE)) == {
        f"docs/{path.name}" for path in (ROOT / "docs").glob("*.md")
    }


def test_every_dependency_has_its_reason() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    wanted = [*project["dependencies"], *(one for extra in project["optional-dependencies"].values() for one in extra)]
    names = {re.match(r"[A-Za-z0-9_.-]+", one)[0] for one in wanted}  # type: ignore[index]
    reasons = (ROOT / "docs" / "decisions" / "dependencies.md").read_text("utf-8")
    assert set(re.findall(r"^\| `([^`]+)` \|", reasons, re.MULTILINE)) == names


def test_links_between_documents_lead_somewhere() -> None:
    for document in [*DOCUMENTS, *(ROOT / "docs" / "decisions").glob("*.md")]:
        for target in re.findall(r"\]\(([^)#\s]+)\)", document.read_text("utf-8")):
            if "://" not in target:
                assert (document.parent / target).exists(), f"{document.name}: {target}"
