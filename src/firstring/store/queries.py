"""Named SQL: every statement lives in store/sql/<room>.sql under a line `-- name: what_it_does`."""

from __future__ import annotations

import re
from functools import cache
from importlib import resources

_NAME = re.compile(r"^-- name: (?P<name>[a-z0-9_]+)\s*$", re.MULTILINE)


@cache
def load(room: str) -> dict[str, str]:
    """The statements of one room by name. Raises KeyError for a name that is defined twice."""
    text = resources.files("firstring.store").joinpath("sql", f"{room}.sql").read_text("utf-8")
    parts = _NAME.split(text)
    statements: dict[str, str] = {}
    for name, body in zip(parts[1::2], parts[2::2], strict=True):
        if name in statements:
            raise KeyError(f"{room}.sql defines {name} twice")
        statements[name] = body.strip()
    return statements


def sql(room: str, name: str) -> str:
    """One statement."""
    return load(room)[name]
