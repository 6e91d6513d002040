"""Google's own CEL (cel-expr-python, C++) as the oracle of ours: both evaluate, and what comes out is compared."""

from __future__ import annotations

import math
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from cel_expr_python import cel as google

from firstring import cel
from firstring.cel.values import type_name
from firstring.errors import BadInput

_TYPES = {
    "dyn": google.Type.DYN, "bool": google.Type.BOOL, "int": google.Type.INT, "uint": google.Type.UINT,
    "double": google.Type.DOUBLE, "string": google.Type.STRING, "bytes": google.Type.BYTES,
    "timestamp": google.Type.TIMESTAMP, "duration": google.Type.DURATION,
}  # fmt: skip
VARIABLES: dict[str, cel.Type] = {
    "x": cel.DYN, "m": cel.map_of(cel.STRING, cel.DYN), "b": cel.BOOL, "i": cel.INT, "f": cel.DOUBLE,
    "s": cel.STRING, "t": cel.TIMESTAMP, "d": cel.DURATION,
}  # fmt: skip
"""Variables that both know."""

ERROR = ("error", None)
REFUSED = ("refused", None)


def _type(type_: cel.Type) -> Any:
    if type_.kind == "map":
        return google.Type.Map(_type(type_.of[0]), _type(type_.of[1]))
    return _TYPES[type_.kind]


_ENVIRONMENT = google.NewEnv(variables={name: _type(type_) for name, type_ in VARIABLES.items()})


def googles(source: str, values: Mapping[str, Any]) -> tuple[str, Any]:
    """(type, value) by Google's; ERROR where evaluation fails, REFUSED where the expression is not taken."""
    try:
        program = _ENVIRONMENT.compile(source)
    except RuntimeError:
        return REFUSED
    try:
        return _plain(program.eval(data=dict(values)))
    except RuntimeError:  # a duplicate key is raised, everything else is a value of type ERROR
        return ERROR


def _plain(value: Any) -> tuple[str, Any]:
    kind = str(value.type()).lower()
    if kind == "error":
        return ERROR
    inner = value.value()
    if kind.startswith("list"):
        return "list", [_plain(one) for one in inner]
    if kind.startswith("map"):
        return "map", sorted(((repr(key), _plain(one)) for key, one in inner.items()), key=repr)
    if kind == "bytes":
        return "bytes", bytes(inner)
    return kind, _comparable(inner)


def ours(source: str, values: Mapping[str, Any]) -> tuple[str, Any]:
    """The same by ours."""
    try:
        program = cel.compiled(source, VARIABLES)
    except BadInput as error:
        return REFUSED if error.where["line"] >= 1 and error.where["column"] >= 1 else ("no place is named", error.where)
    try:
        return _own(program(values))
    except cel.EvaluationError:
        return ERROR


def _own(value: Any) -> tuple[str, Any]:
    if isinstance(value, list):
        return "list", [_own(one) for one in value]
    if isinstance(value, dict):
        return "map", sorted(((repr(key), _own(one)) for key, one in value.items()), key=repr)
    return type_name(value), _comparable(int(value) if isinstance(value, cel.Uint) else value)


def _comparable(value: Any) -> Any:
    """NaN equal to itself, -0.0 unlike 0.0, times in one zone."""
    if isinstance(value, float):
        return "nan" if math.isnan(value) else repr(value)
    return value.astimezone(UTC) if isinstance(value, datetime) else value


EXAMPLE: dict[str, Any] = {
    "x": {"a": 1, "s": "q", "l": [1, 2, 3], "n": None, "f": 2.5, "o": {"p": "é"}, "e": [], "t": True},
    "m": {"a": {"b": 2}, "k": "v"}, "b": True, "i": 7, "f": 0.5, "s": "text",
    "t": datetime(2024, 2, 29, 13, 4, 5, 678_901, tzinfo=UTC), "d": timedelta(hours=1, microseconds=5),
}  # fmt: skip
