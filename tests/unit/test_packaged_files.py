"""A wheel holds every file that the program reads: an editable install would hide one that is left out."""

from __future__ import annotations

import tomllib
from fnmatch import fnmatch
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def test_every_file_beside_the_modules_is_packaged() -> None:
    patterns = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["tool"]["setuptools"]["package-data"]["*"]
    files = [path for path in (ROOT / "src" / "firstring").rglob("*") if path.is_file() and "__pycache__" not in path.parts]
    beside = [path for path in files if path.suffix != ".py"]
    assert len(beside) > 100
    assert [path for path in beside if not any(fnmatch(path.name, pattern) for pattern in patterns)] == []
