"""What an expression asks of its variables: the fields and keys that it names."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from firstring.cel.syntax import Call, Constant, Expression, Macro, Name, Select, parts


class Asked(NamedTuple):
    """path: a variable and the fields or keys named behind it, as in ("person", "city"). at: where it stands, in characters
    from 0."""

    path: tuple[str, ...]
    at: int


def asks(node: Expression, hidden: frozenset[str] = frozenset()) -> Iterator[Asked]:
    """Everything that is named, the longest paths. hidden: variables of macros around it, which are not the expression's."""
    path = _path(node)
    if path is not None:
        if path[0] not in hidden:
            yield Asked(path, node.at)
        return
    for part in parts(node):
        inside = hidden | {node.variable} if isinstance(node, Macro) and part is not node.over else hidden
        yield from asks(part, inside)


def _path(node: Expression) -> tuple[str, ...] | None:
    """None where it is more than names behind a variable."""
    if isinstance(node, Name):
        return (node.name,)
    if isinstance(node, Select):
        before = _path(node.operand)
        return None if before is None else (*before, node.field)
    if isinstance(node, Call) and node.function == "_[_]" and isinstance(node.arguments[1], Constant):
        before, key = _path(node.arguments[0]), node.arguments[1].value
        return (*before, key) if before is not None and isinstance(key, str) else None
    return None
