"""What others may rely on, and what keeps the house in order: public names, named SQL, the direction of imports."""

from __future__ import annotations

import ast
import subprocess
import sys
from importlib import import_module
from importlib.resources import files
from pathlib import Path

import pytest

import firstring
from firstring.store.queries import load

ROOT = Path(firstring.__file__).parent
MODULES = sorted(ROOT.rglob("*.py"))
SQL_FILES = sorted((ROOT / "store" / "sql").glob("*.sql"))
PUBLIC = [
    "AgentProfile", "Assurance", "BadInput", "Candidate", "Contact", "Decision", "Derived", "Evidence", "Identifier",
    "Journey", "Models", "NextAction", "Read", "Reason", "Resolution", "Retryable", "Routing", "Settings", "Unrecoverable",
    "__version__", "derive", "differences", "gather", "rederive", "resolve",
]  # fmt: skip


def test_the_public_names() -> None:
    """A name that is added or taken away is added or taken away here, on purpose."""
    assert firstring.__all__ == PUBLIC
    assert len(PUBLIC) <= 30
    for name in PUBLIC:
        value = getattr(firstring, name)
        assert name in dir(firstring)
        if name != "__version__":
            assert value.__doc__, name
            assert getattr(import_module(value.__module__), name) is value
    with pytest.raises(AttributeError, match="no attribute 'Nothing'"):
        _ = firstring.Nothing  # type: ignore[attr-defined]


def test_importing_it_loads_nothing_else() -> None:
    code = "import sys, firstring; print([m for m in sys.modules if m.startswith(('firstring.', 'msgspec', 'asyncpg'))])"
    assert subprocess.check_output([sys.executable, "-c", code], text=True).strip() == "[]"


def test_it_is_typed() -> None:
    assert files("firstring").joinpath("py.typed").is_file()


def used_statements() -> set[tuple[str, str]]:
    """(room, name) of every sql("room", "name") in the code; room alone where the name is a variable."""
    used = set()
    for module in MODULES:
        for node in ast.walk(ast.parse(module.read_text("utf-8"))):
            if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "sql" and len(node.args) == 2:
                room, name = node.args
                assert isinstance(room, ast.Constant), f"{module.name}:{node.lineno}: the room is a constant"
                used.add((str(room.value), str(name.value) if isinstance(name, ast.Constant) else ""))
    return used


def words() -> set[str]:
    """Every string constant of the code."""
    return {
        node.value
        for module in MODULES
        for node in ast.walk(ast.parse(module.read_text("utf-8")))
        if isinstance(node, ast.Constant) and isinstance(node.value, str)
    }


def test_every_named_statement_is_used_and_every_used_one_exists() -> None:
    defined = {(path.stem, name) for path in SQL_FILES for name in load(path.stem)}
    used = used_statements()
    with_variable_names = {room for room, name in used if not name}
    assert {pair for pair in used if pair[1]} <= defined
    constants = words()
    unused = {
        (room, name)
        for room, name in defined - used
        if not (room in with_variable_names and name in constants)  # the name is chosen at run time
    }
    assert unused == set()


def test_sql_stands_in_files_only() -> None:
    """No statement is written in Python, but calls of the schema's functions."""
    for module in MODULES:
        for node in ast.walk(ast.parse(module.read_text("utf-8"))):
            if isinstance(node, ast.Constant) and isinstance(node.value, str):
                text = node.value.strip().lower()
                assert not text.startswith(("insert into ", "delete from ", "create table ", "with ", "alter table ")) or (
                    "bulk" in module.parts or "bench" in module.parts or "\n" not in node.value
                ), f"{module.name}:{node.lineno}"


def test_imports_run_one_way() -> None:
    run = subprocess.run(
        [Path(sys.executable).with_name("lint-imports"), "--no-cache"],
        cwd=ROOT.parents[1],
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert run.returncode == 0, run.stdout + run.stderr
