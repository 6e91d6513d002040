"""A declared subset of CEL, the Common Expression Language: read, checked and compiled once, evaluated in microseconds.

On the subset (docs/expressions.md) the meaning is Google's, errors included. Source:
https://github.com/google/cel-spec/blob/master/doc/langdef.md
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from firstring.cel.asks import Asked, asks
from firstring.cel.build import ERRORS, Code, build
from firstring.cel.check import check
from firstring.cel.parse import parse
from firstring.cel.types import (
    BOOL,
    BYTES,
    DOUBLE,
    DURATION,
    DYN,
    INT,
    NULL,
    STRING,
    TIMESTAMP,
    UINT,
    Meeting,
    Type,
    list_of,
    map_of,
    object_of,
)
from firstring.cel.values import Failed, Uint
from firstring.errors import BadInput

__all__ = [
    "BOOL", "BYTES", "DOUBLE", "DURATION", "DYN", "INT", "NULL", "STRING", "TIMESTAMP", "UINT",
    "EvaluationError", "Program", "Type", "Uint", "compiled", "list_of", "map_of", "object_of",
]  # fmt: skip


class EvaluationError(Exception):
    """An evaluation came to an error; the text says which."""


class Program:
    """An expression ready to run.

    type: what it gives. asks: the fields and keys that it names. Values go in and come out as None, bool, int, Uint, float,
    str, bytes, list, dict, aware datetime and timedelta.
    """

    __slots__ = ("_code", "_names", "_own", "asks", "source", "type")

    def __init__(
        self, source: str, type_: Type, code: Code, names: tuple[str, ...], places: int, asked: tuple[Asked, ...]
    ) -> None:
        self.source = source
        self.type = type_
        self.asks = asked
        self._code = code
        self._names = names
        self._own: list[Any] = [None] * (places - len(names))  # the places of macros' variables

    def __call__(self, variables: Mapping[str, Any]) -> Any:
        """The value. Raises EvaluationError."""
        return self.of(*[variables[name] for name in self._names])

    def of(self, *values: Any) -> Any:
        """The value for variables in the order in which they were declared. Raises EvaluationError."""
        try:
            return self._code([*values, *self._own])
        except KeyError as error:
            raise EvaluationError(f"no such key: {error.args[0]!r}"[:120]) from None
        except TypeError:
            raise EvaluationError("no such overload: a field of what has none") from None
        except Failed as error:
            raise EvaluationError(str(error)) from None

    def holds(self, value: Any) -> bool:
        """Whether it is true of the one variable that was declared; an error is not true."""
        try:
            return self._code([value, *self._own]) is True
        except ERRORS:
            return False


def compiled(source: str, variables: Mapping[str, Type], *, wanted: Type | Sequence[Type] = ()) -> Program:
    """Reads, checks and compiles an expression over declared variables.

    wanted: the types that the whole may have; any where it is empty. Raises BadInput expression_invalid, whose `where`
    has line and column (from 1) and whose hint says what to do.
    """
    tree = parse(source)
    type_ = check(source, tree, variables)
    allowed = [wanted] if isinstance(wanted, Type) else list(wanted)
    if allowed and not any(Meeting().meets(one, type_) for one in allowed):
        raise BadInput(
            "expression_invalid",
            f"The expression gives a {type_}; here a {' or '.join(map(str, allowed))} is wanted.",
            where={"line": 1, "column": 1},
            hint="Compare it with something." if allowed == [BOOL] else "Convert it.",
        )
    names = tuple(variables)
    code, places = build(tree, names)
    return Program(source, type_, code, names, places, tuple(asks(tree)))
