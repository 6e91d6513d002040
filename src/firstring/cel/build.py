"""Checked tree -> Python closures.

Each node becomes a function of `scope`, a list: one place for each variable, those of macros included. An error is an
exception: Failed, or what Python itself raises where a field is missing (KeyError) or where fields are asked of what has
none (TypeError); so the way that everything goes well costs nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, TypeAlias

from firstring.cel.functions import FUNCTIONS
from firstring.cel.syntax import Call, Constant, Entries, Expression, Items, Macro, Name, Select
from firstring.cel.values import Failed, no_overload, type_name

Scope: TypeAlias = list[Any]
Code: TypeAlias = Callable[[Scope], Any]

ERRORS: Final = (Failed, KeyError, TypeError)
"""What an evaluation may raise."""
_COMPARED: Final = frozenset(("_==_", "_!=_", "_<_", "_<=_", "_>_", "_>=_"))
_NUMBER: Final = frozenset((int, float))


def build(tree: Expression, variables: Sequence[str]) -> tuple[Code, int]:
    """(code, places): the code wants a scope of so many places, the variables first, in this order."""
    builder = _Builder({name: place for place, name in enumerate(variables)})
    code = builder.code(tree)
    return code, builder.places


class _Builder:
    def __init__(self, place_of: Mapping[str, int]) -> None:
        self._place_of = dict(place_of)
        self.places = len(place_of)

    def code(self, node: Expression) -> Code:
        if isinstance(node, Constant):
            value = node.value
            return lambda _scope: value
        if isinstance(node, Name):
            place = self._place_of[node.name]
            return lambda scope: scope[place]
        if isinstance(node, Select):
            return self._test(node) if node.test else self._select(node)
        if isinstance(node, Call):
            return self._call(node)
        if isinstance(node, Items):
            parts = [self.code(item) for item in node.items]
            if all(isinstance(item, Constant) for item in node.items):
                constant = [part([]) for part in parts]
                return lambda _scope: constant
            return lambda scope: [part(scope) for part in parts]
        if isinstance(node, Entries):
            return self._entries(node)
        return self._macro(node)

    # --- fields --------------------------------------------------------------------------------------------------

    def _select(self, node: Select) -> Code:
        """A chain of fields is one function: event.properties.total."""
        fields = [node.field]
        inner = node.operand
        while isinstance(inner, Select) and not inner.test:
            fields.append(inner.field)
            inner = inner.operand
        fields.reverse()
        if isinstance(inner, Name):
            place = self._place_of[inner.name]
            if len(fields) == 1:
                (one,) = fields
                return lambda scope: scope[place][one]
            if len(fields) == 2:
                one, two = fields
                return lambda scope: scope[place][one][two]
            if len(fields) == 3:
                one, two, three = fields
                return lambda scope: scope[place][one][two][three]
        operand = self.code(inner)

        def chain(scope: Scope) -> Any:
            value = operand(scope)
            for field in fields:
                value = value[field]
            return value

        return chain

    def _test(self, node: Select) -> Code:
        operand, field = self.code(node.operand), node.field

        def test(scope: Scope) -> bool:
            holder = operand(scope)
            if type(holder) is not dict:
                raise Failed(f"a {type_name(holder)} has no fields")
            return field in holder

        return test

    # --- calls ---------------------------------------------------------------------------------------------------

    def _call(self, node: Call) -> Code:
        parts = [self.code(argument) for argument in node.arguments]
        if node.function == "_&&_":
            return _logical("_&&_", parts, False)
        if node.function == "_||_":
            return _logical("_||_", parts, True)
        if node.function == "!_":
            return _not(parts[0])
        if node.function == "_?_:_":
            return _condition(*parts)
        right = node.arguments[-1]
        if node.function in _COMPARED and isinstance(right, Constant) and type(right.value) in (str, int, float):
            return _compared_with(node.function, parts[0], right.value)
        if node.function == "_in_" and isinstance(right, Items) and _all_text(right):
            return _one_of(parts[0], frozenset(item.value for item in right.items if isinstance(item, Constant)))
        call = FUNCTIONS[node.function].call
        if len(parts) == 1:
            (only,) = parts
            return lambda scope: call(only(scope))
        if len(parts) == 2:
            first, second = parts
            return lambda scope: call(first(scope), second(scope))
        return lambda scope: call(*[part(scope) for part in parts])

    def _entries(self, node: Entries) -> Code:
        keys = [self.code(key) for key in node.keys]
        held = [self.code(value) for value in node.values]

        def made(scope: Scope) -> dict[Any, Any]:
            found = {key(scope): value(scope) for key, value in zip(keys, held, strict=True)}
            if len(found) < len(keys):
                raise Failed("a key stands twice in a map")
            return found

        return made

    # --- macros --------------------------------------------------------------------------------------------------

    def _macro(self, node: Macro) -> Code:
        over = self.code(node.over)
        place = self.places
        self.places += 1
        hidden = self._place_of.get(node.variable)
        self._place_of[node.variable] = place
        body = self.code(node.body)
        of = self.code(node.of) if node.of is not None else None
        if hidden is None:
            del self._place_of[node.variable]
        else:
            self._place_of[node.variable] = hidden
        if node.name == "all":
            return _fold(over, place, body, False)
        if node.name == "exists":
            return _fold(over, place, body, True)
        if node.name == "exists_one":
            return lambda scope: sum(1 for _ in _kept(over, place, body, scope)) == 1
        if node.name == "filter":
            return lambda scope: list(_kept(over, place, body, scope))
        if of is not None:
            return lambda scope: [of(scope) for _ in _kept(over, place, body, scope)]

        def mapped(scope: Scope) -> list[Any]:
            found = []
            for element in _elements(over(scope)):
                scope[place] = element
                found.append(body(scope))
            return found

        return mapped


def _elements(value: Any) -> Any:
    if type(value) is list or type(value) is dict:
        return value
    raise Failed(f"a {type_name(value)} is neither list nor map")


def _kept(over: Code, place: int, body: Code, scope: Scope) -> Any:
    """The elements of which the body is true; each stands in its place while it is given out."""
    for element in _elements(over(scope)):
        scope[place] = element
        said = body(scope)
        if said is True:
            yield element
        elif said is not False:
            raise no_overload("_?_:_", said)


def _fold(over: Code, place: int, body: Code, ends: bool) -> Code:
    """all (ends with the first False) and exists (ends with the first True); errors count only where none ends it."""

    def folded(scope: Scope) -> bool:
        error: Exception | None = None
        for element in _elements(over(scope)):
            scope[place] = element
            try:
                said: object = body(scope)
            except ERRORS as failed:
                error = failed
                continue
            if said is ends:
                return ends
            if type(said) is not bool:
                error = no_overload("_||_" if ends else "_&&_", said)
        if error is not None:
            raise error
        return not ends

    return folded


# --- logic -----------------------------------------------------------------------------------------------------


def _logical(function: str, parts: list[Code], ends: bool) -> Code:
    """&& and ||: an error, or what is neither true nor false, counts only where no other part decides."""

    def decided(scope: Scope) -> bool:
        error: Exception | None = None
        for part in parts:
            try:
                said: object = part(scope)
            except ERRORS as failed:
                error = failed
                continue
            if said is ends:
                return ends
            if type(said) is not bool:
                error = no_overload(function, said)
        if error is not None:
            raise error
        return not ends

    return decided


def _not(part: Code) -> Code:
    def negated(scope: Scope) -> bool:
        said = part(scope)
        if type(said) is bool:
            return not said
        raise no_overload("!_", said)

    return negated


def _condition(condition: Code, yes: Code, no: Code) -> Code:
    def chosen(scope: Scope) -> Any:
        said = condition(scope)
        if said is True:
            return yes(scope)
        if said is False:
            return no(scope)
        raise no_overload("_?_:_", said)

    return chosen


# --- the most frequent, made fast ------------------------------------------------------------------------------------


def _compared_with(function: str, left: Code, constant: Any) -> Code:
    """x == 'a', x > 50.0: where the types are alike, or both are numbers that compare as Python has it."""
    call = FUNCTIONS[function].call
    kind = type(constant)
    if function == "_==_":
        if kind is str:
            return lambda scope: left(scope) == constant  # text equals nothing but text, in Python too
        return lambda scope: value == constant if type(value := left(scope)) is kind else call(value, constant)
    if function == "_!=_":
        if kind is str:
            return lambda scope: left(scope) != constant
        return lambda scope: value != constant if type(value := left(scope)) is kind else call(value, constant)
    if function == "_<_":
        return lambda scope: value < constant if type(value := left(scope)) is kind else call(value, constant)
    if function == "_<=_":
        return lambda scope: value <= constant if type(value := left(scope)) is kind else call(value, constant)
    if function == "_>_":
        return lambda scope: value > constant if type(value := left(scope)) is kind else call(value, constant)
    return lambda scope: value >= constant if type(value := left(scope)) is kind else call(value, constant)


def _all_text(node: Items) -> bool:
    return all(isinstance(item, Constant) and type(item.value) is str for item in node.items)


def _one_of(left: Code, texts: frozenset[Any]) -> Code:
    def found(scope: Scope) -> bool:
        value = left(scope)
        return value in texts if type(value) is str else False

    return found
