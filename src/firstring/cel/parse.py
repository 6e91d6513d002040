"""Text -> syntax tree, by precedence climbing (Pratt 1973). The grammar is that of cel-spec, langdef.md, less what
docs/expressions.md leaves out."""

from __future__ import annotations

from typing import Final, cast

from firstring import limits
from firstring.cel.syntax import Call, Constant, Entries, Expression, Items, Macro, MacroName, Name, Select, parts, wrong
from firstring.cel.tokens import Token, is_reserved, tokens
from firstring.errors import BadInput

_POWER: Final = {
    "||": 1, "&&": 2,
    "<": 3, "<=": 3, ">": 3, ">=": 3, "==": 3, "!=": 3, "in": 3,
    "+": 4, "-": 4,
    "*": 5, "/": 5, "%": 5,
}  # fmt: skip
"""How strongly an operator binds; all of them to the left."""
MACROS: Final = ("all", "exists", "exists_one", "filter", "map")
_MOST_WHOLE: Final = (1 << 63) - 1


def parse(source: str) -> Expression:
    """The tree of an expression. Raises BadInput expression_invalid with line, column and what to do."""
    if len(source) > limits.EXPRESSION_CHARS:
        raise wrong(
            source,
            0,
            f"The expression has {len(source)} characters; the limit is {limits.EXPRESSION_CHARS}.",
            "Make it shorter; `in` with a list says what many comparisons say.",
        )
    parser = _Parser(source, tokens(source))
    tree = parser.expression(0)
    rest = parser.token
    if rest.kind != "end":
        raise parser.wrong(f"{rest.text} does not go on with what stands before it.", "Put an operator between, or &&.")
    _bounded(source, tree)
    return tree


def _bounded(source: str, tree: Expression) -> None:
    """Refuses a tree in which to walk down is to sink: a long chain of + or of points is one too."""
    level: list[Expression] = [tree]
    for _ in range(limits.EXPRESSION_DEPTH):
        level = [part for node in level for part in parts(node)]
        if not level:
            return
    raise wrong(source, level[0].at, "The expression is nested too deeply.", "Split it.")


class _Parser:
    """A cursor over the words."""

    def __init__(self, source: str, words: list[Token]) -> None:
        self._source = source
        self._words = words
        self._next = 0
        self._depth = 0
        self._ranges = 0

    @property
    def token(self) -> Token:
        return self._words[self._next]

    def wrong(self, message: str, hint: str = "", at: int | None = None) -> BadInput:
        return wrong(self._source, self.token.at if at is None else at, message, hint)

    def _take(self) -> Token:
        token = self._words[self._next]
        self._next += token.kind != "end"
        return token

    def _is(self, sign: str) -> bool:
        return self.token.kind == "sign" and self.token.text == sign

    def _accept(self, sign: str) -> bool:
        if self._is(sign):
            self._next += 1
            return True
        return False

    def _expect(self, sign: str) -> None:
        if not self._accept(sign):
            raise self.wrong(f"Here {sign} is missing before {self.token.text}.", f"Add {sign}.")

    # --- from weak to strong -------------------------------------------------------------------------------------

    def expression(self, power: int) -> Expression:
        """What binds stronger than `power`; 0 takes a condition (?:) too."""
        self._depth += 1
        if self._depth > limits.EXPRESSION_DEPTH:
            raise self.wrong("The expression is nested too deeply.", "Split it.")
        left = self._unary()
        while self.token.kind == "sign" and _POWER.get(self.token.text, 0) > power:
            operator = self._take()
            right = self.expression(_POWER[operator.text])
            name = f"_{operator.text}_"
            if operator.text in ("&&", "||") and isinstance(left, Call) and left.function == name:
                left.arguments.append(right)  # a chain is one node: it may be long
            else:
                left = Call(operator.at, name, [left, right])
        if power == 0 and self._is("?"):
            at = self._take().at
            yes = self.expression(0)
            self._expect(":")
            no = self.expression(0)
            left = Call(at, "_?_:_", [left, yes, no])
        self._depth -= 1
        return left

    def _unary(self) -> Expression:
        """! or - any number of times, never mixed (`-!x` is not of the language); an even number says nothing."""
        sign = self.token
        if not (self._is("!") or self._is("-")):
            return self._member(self._primary())
        count = 0
        while self._accept(sign.text):
            count += 1
        if sign.text == "-" and self.token.kind == "constant" and _is_number(self.token.value):
            literal = self._take()
            operand = self._member(Constant(literal.at, -literal.value))
            count -= 1
            if literal.value > _MOST_WHOLE and count % 2:
                raise self.wrong("The number does not fit in 64 bits.", "Write a smaller one.", literal.at)
        else:
            operand = self._member(self._primary())
        return Call(sign.at, f"{sign.text}_", [operand]) if count % 2 else operand

    def _member(self, operand: Expression) -> Expression:
        while True:
            at = self.token.at
            if self._accept("."):
                operand = self._selected(operand, at)
            elif self._accept("["):
                index = self.expression(0)
                self._expect("]")
                operand = Call(at, "_[_]", [operand, index])
            else:
                return operand

    def _selected(self, operand: Expression, at: int) -> Expression:
        name = self._take()
        if name.kind != "name":
            raise self.wrong("After the point a name is missing.", "Write x.name, or x['any name'].", name.at)
        if not self._accept("("):
            return Select(at, operand, name.text)
        if name.text in MACROS:
            return self._macro(operand, name)
        return Call(name.at, name.text, [operand, *self._arguments(")")], method=True)

    def _primary(self) -> Expression:
        token = self._take()
        if token.kind == "constant":
            if type(token.value) is int and token.value > _MOST_WHOLE:
                raise self.wrong("The number does not fit in 64 bits.", "Write a smaller one.", token.at)
            return Constant(token.at, token.value)
        if token.kind == "name":
            if self._accept("("):
                return self._has(token) if token.text == "has" else Call(token.at, token.text, self._arguments(")"))
            if is_reserved(token.text):
                raise self.wrong(f"{token.text} is a reserved word.", "Give the variable another name.", token.at)
            return Name(token.at, token.text)
        if token.text == "(":
            inner = self.expression(0)
            self._expect(")")
            return inner
        if token.text == "[":
            return Items(token.at, self._arguments("]"))
        if token.text == "{":
            return self._entries(token)
        what = "a value is missing" if token.kind == "end" else f"{token.text} stands where a value should"
        raise self.wrong(f"Here {what}.", "Write a literal, a variable, or something in brackets.", token.at)

    # --- what stands in brackets ---------------------------------------------------------------------------------

    def _arguments(self, closing: str) -> list[Expression]:
        found: list[Expression] = []
        while not self._accept(closing):
            found.append(self.expression(0))
            if not self._accept(","):
                self._expect(closing)
                break
            if closing == ")" and self._is(")"):
                raise self.wrong("After the comma an argument is missing.", "Add it, or remove the comma.")
        return found

    def _entries(self, opening: Token) -> Expression:
        keys: list[Expression] = []
        values: list[Expression] = []
        while not self._accept("}"):
            keys.append(self.expression(0))
            self._expect(":")
            values.append(self.expression(0))
            if not self._accept(","):
                self._expect("}")
                break
        return Entries(opening.at, keys, values)

    def _has(self, name: Token) -> Expression:
        arguments = self._arguments(")")
        field = arguments[0] if len(arguments) == 1 else None
        if not isinstance(field, Select) or field.test:
            hint = "For a key with spaces write 'the key' in x."
            raise self.wrong("has() asks for one field of something: has(x.field).", hint, name.at)
        return Select(name.at, field.operand, field.field, test=True)

    def _macro(self, over: Expression, name: Token) -> Expression:
        self._ranges += 1
        if self._ranges > limits.EXPRESSION_RANGES:
            raise self.wrong("The expression goes through too many lists.", "Split it.", name.at)
        arguments = self._arguments(")")
        wanted = (2, 3) if name.text == "map" else (2,)
        if len(arguments) not in wanted or not isinstance(arguments[0], Name):
            hint = f"Write list.{name.text}(item, something about item)."
            raise self.wrong(f"{name.text} wants a name for the element and what to ask of it.", hint, name.at)
        of = arguments[2] if len(arguments) == 3 else None
        return Macro(name.at, cast(MacroName, name.text), over, arguments[0].name, arguments[1], of)


def _is_number(value: object) -> bool:
    return type(value) in (int, float)
