"""Whether an expression goes together, before it ever runs: names that exist, operands that fit."""

from __future__ import annotations

from collections.abc import Mapping

from firstring import limits
from firstring.cel.functions import FUNCTIONS, Function
from firstring.cel.parse import MACROS
from firstring.cel.syntax import Call, Constant, Entries, Expression, Items, Macro, Name, Select, near, wrong
from firstring.cel.types import BOOL, BYTES, DOUBLE, DYN, INT, NULL, STRING, UINT, Meeting, Type, list_of, map_of
from firstring.cel.values import Uint
from firstring.errors import BadInput

_OF_CONSTANT = {type(None): NULL, bool: BOOL, int: INT, Uint: UINT, float: DOUBLE, str: STRING, bytes: BYTES}
_KEYS = ("string", "int", "bool")
_INSTEAD = {
    "matches": "Regular expressions are left out; use startsWith, endsWith, contains or in.",
    "type": "Types are not values here.",
    "len": "Write size().",
    "length": "Write size().",
    "lower": "Case cannot be changed here; list the spellings with in.",
    "lowerAscii": "Case cannot be changed here; list the spellings with in.",
    "now": "An expression knows no clock; compare event.time with another time.",
    "float": "Write double().",
    "str": "Write string().",
    "any": "Write exists().",
}


def check(source: str, tree: Expression, variables: Mapping[str, Type]) -> Type:
    """The type of the whole; every node gets its own. Raises BadInput expression_invalid."""
    checker = _Checker(source, variables)
    return checker.meeting.known(checker.type_of(tree))


class _Checker:
    def __init__(self, source: str, variables: Mapping[str, Type]) -> None:
        self._source = source
        self._scope = dict(variables)
        self._within = 0
        self.meeting = Meeting()

    def _wrong(self, at: int, message: str, hint: str = "") -> BadInput:
        return wrong(self._source, at, message, hint)

    def type_of(self, node: Expression) -> Type:
        if isinstance(node, Constant):
            node.type = _OF_CONSTANT[type(node.value)]
        elif isinstance(node, Name):
            node.type = self._name(node)
        elif isinstance(node, Select):
            node.type = self._select(node)
        elif isinstance(node, Call):
            node.type = self._call(node)
        elif isinstance(node, Items):
            node.type = list_of(self._joined([self.type_of(item) for item in node.items]))
        elif isinstance(node, Entries):
            node.type = self._entries(node)
        else:
            node.type = self._macro(node)
        return node.type

    def _name(self, node: Name) -> Type:
        found = self._scope.get(node.name)
        if found is None:
            known = ", ".join(sorted(self._scope)) or "none"
            hint = f"{near(node.name, list(self._scope))}Known: {known}. Text stands in quotation marks."
            raise self._wrong(node.at, f"{node.name} is not known here.", hint)
        return found

    def _select(self, node: Select) -> Type:
        operand = self.meeting.known(self.type_of(node.operand))
        if operand.kind == "object":
            if node.field not in operand.fields:
                fields = list(operand.fields)
                hint = f"{near(node.field, fields)}It has: {', '.join(fields)}."
                if "properties" in operand.fields:
                    hint += f" A property of it is {operand}.properties.{node.field}."
                raise self._wrong(node.at, f"{operand} has no field {node.field}.", hint)
            found = operand.fields[node.field]
        elif operand.kind == "map":
            found = operand.of[1]
        elif operand.kind in ("dyn", "open"):
            found = DYN
        else:
            raise self._wrong(node.at, f"A {operand} has no fields, so no .{node.field}.", "Ask the object that holds it.")
        return BOOL if node.test else found

    def _call(self, node: Call) -> Type:
        arguments = [self.type_of(argument) for argument in node.arguments]
        if node.function in ("_&&_", "_||_", "!_"):
            self._all_bool(node, arguments)
            return BOOL
        if node.function == "_?_:_":
            return self._condition(node, arguments)
        function = FUNCTIONS.get(node.function)
        if function is None:
            raise self._unknown(node)
        return self._fitting(node, function, arguments)

    def _unknown(self, node: Call) -> BadInput:
        if node.function in MACROS:
            return self._wrong(node.at, f"{node.function} stands behind a list.", f"Write list.{node.function}(item, ...).")
        names = [name for name in FUNCTIONS if name.isidentifier()]
        hint = _INSTEAD.get(node.function) or f"{near(node.function, names)}There are: {', '.join(sorted(names))}."
        return self._wrong(node.at, f"There is no function {node.function}.", hint)

    def _all_bool(self, node: Call, arguments: list[Type]) -> None:
        for argument, given in zip(node.arguments, arguments, strict=True):
            if not self.meeting.meets(BOOL, given):
                sign = node.function.strip("_")
                message = f"{sign} wants true or false, not a {self.meeting.known(given)}."
                raise self._wrong(argument.at, message, "Compare it with something.")

    def _condition(self, node: Call, arguments: list[Type]) -> Type:
        if not self.meeting.meets(BOOL, arguments[0]):
            message = f"Before the ? stands true or false, not a {self.meeting.known(arguments[0])}."
            raise self._wrong(node.arguments[0].at, message, "Compare it with something.")
        result = self.meeting.open()
        if not (self.meeting.meets(result, arguments[1]) and self.meeting.meets(result, arguments[2])):
            one, other = (self.meeting.known(argument) for argument in arguments[1:])
            raise self._wrong(node.at, f"Both sides of : are of one type, not {one} and {other}.", "Convert one of them.")
        return self.meeting.known(result)

    def _fitting(self, node: Call, function: Function, arguments: list[Type]) -> Type:
        results: list[Type] = []
        for signature in function.signatures:
            if signature.method is not node.method or len(signature.arguments) != len(arguments):
                continue
            *wanted, result = self.meeting.fresh(*signature.arguments, signature.result)
            if self.meeting.all_meet(wanted, arguments):
                results.append(self.meeting.known(result))
        if not results:
            raise self._nothing_fits(node, function, arguments)
        first = results[0]
        return first if all(result == first for result in results) else DYN

    def _nothing_fits(self, node: Call, function: Function, arguments: list[Type]) -> BadInput:
        name = node.function.strip("_").replace("[_]", "[]")
        given = [str(self.meeting.known(argument)) for argument in arguments]
        if node.method is not function.signatures[0].method and not any(
            signature.method is node.method for signature in function.signatures
        ):
            how = f"x.{name}()" if function.signatures[0].method else f"{name}(x)"
            return self._wrong(node.at, f"{name} is not written like this.", f"Write {how}.")
        hint = ""
        if set(given) in ({"int", "double"}, {"int", "uint"}, {"uint", "double"}):
            hint = "Write both numbers in one way, such as 50.0 and 1.5, or convert one: double(x), int(x)."
        elif name in ("<", "<=", ">", ">=", "==", "!=", "+"):
            hint = "Convert one of them: string(x), double(x), timestamp(x), duration(x)."
        return self._wrong(node.at, f"{name} does not go with {' and '.join(given) or 'nothing'}.", hint)

    def _joined(self, types: list[Type]) -> Type:
        if not types:
            return self.meeting.open()
        joined = types[0]
        for type_ in types[1:]:
            joined = self.meeting.joined(joined, type_)
        return joined

    def _entries(self, node: Entries) -> Type:
        keys = [self.meeting.known(self.type_of(key)) for key in node.keys]
        values = [self.type_of(value) for value in node.values]
        for key, type_ in zip(node.keys, keys, strict=True):
            if type_.kind not in _KEYS or type_ != keys[0]:
                raise self._wrong(key.at, "The keys of a map are all text, all int or all bool.", "Quote them all.")
        return map_of(keys[0] if keys else self.meeting.open(), self._joined(values))

    def _macro(self, node: Macro) -> Type:
        over = self.meeting.known(self.type_of(node.over))
        if over.kind not in ("list", "map", "dyn"):
            hint = "Write dyn(...) around it." if over.kind == "open" else "Ask the value itself."
            what = "what is not known to be one" if over.kind == "open" else f"a {over}"
            raise self._wrong(node.at, f"{node.name} goes through a list or a map, not {what}.", hint)
        element = over.of[0] if over.of else DYN
        self._within += 1
        if self._within > limits.EXPRESSION_NESTED_RANGES:
            raise self._wrong(node.at, "Too many lists inside one another.", "Split the expression.")
        hidden = self._scope.get(node.variable)
        self._scope[node.variable] = element
        body = self.type_of(node.body)
        result = body if node.of is None else self.type_of(node.of)
        if hidden is None:
            del self._scope[node.variable]
        else:
            self._scope[node.variable] = hidden
        self._within -= 1
        if (node.name != "map" or node.of is not None) and not self.meeting.meets(BOOL, body):
            message = f"{node.name} asks for true or false, not for a {self.meeting.known(body)}."
            raise self._wrong(node.body.at, message, f"Compare {node.variable} with something.")
        if node.name == "filter":
            return list_of(element)
        return list_of(result) if node.name == "map" else BOOL
