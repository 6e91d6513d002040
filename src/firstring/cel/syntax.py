"""What an expression is made of once it has been read."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, TypeAlias

from firstring.cel.types import DYN, Type
from firstring.errors import BadInput

MacroName = Literal["all", "exists", "exists_one", "filter", "map"]


@dataclass
class Node:
    """at: where it begins (the operator, of an operation), in characters from 0. type: set by the check."""

    at: int
    type: Type = field(default=DYN, kw_only=True)


@dataclass
class Constant(Node):
    """A literal. value: None, bool, int, values.Uint, float, str or bytes."""

    value: Any


@dataclass
class Name(Node):
    """A variable."""

    name: str


@dataclass
class Select(Node):
    """operand.field; with `test`, has(operand.field)."""

    operand: Expression
    field: str
    test: bool = False


@dataclass
class Call(Node):
    """A function, a method (`method`: the first argument stands before the dot) or an operator such as `_+_`."""

    function: str
    arguments: list[Expression]
    method: bool = False


@dataclass
class Items(Node):
    """[a, b]."""

    items: list[Expression]


@dataclass
class Entries(Node):
    """{a: b}."""

    keys: list[Expression]
    values: list[Expression]


@dataclass
class Macro(Node):
    """over.all(variable, body), and so on. of: the second body of map(variable, condition, of)."""

    name: MacroName
    over: Expression
    variable: str
    body: Expression
    of: Expression | None = None


Expression: TypeAlias = Constant | Name | Select | Call | Items | Entries | Macro


def parts(node: Expression) -> list[Expression]:
    """What a node is made of."""
    if isinstance(node, Select):
        return [node.operand]
    if isinstance(node, Call):
        return node.arguments
    if isinstance(node, Items):
        return node.items
    if isinstance(node, Entries):
        return [*node.keys, *node.values]
    if isinstance(node, Macro):
        return [node.over, node.body, *([] if node.of is None else [node.of])]
    return []


def wrong(source: str, at: int, message: str, hint: str = "") -> BadInput:
    """The error for what stands at `at`: expression_invalid, with line and column (from 1)."""
    before = source[:at]
    line = before.count("\n") + 1
    column = at - (before.rfind("\n") + 1) + 1
    return BadInput("expression_invalid", message, where={"line": line, "column": column}, hint=hint)


def near(word: str, words: Sequence[str]) -> str:
    """ "Did you mean ...? " for the word that is nearest, or ""."""
    from difflib import get_close_matches

    found = get_close_matches(word, words, n=1)
    return f"Did you mean {found[0]}? " if found else ""
