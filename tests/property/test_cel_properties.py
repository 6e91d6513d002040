"""Random expressions over random values: Google's CEL and ours refuse the same, fail the same, and say the same.

Expressions are drawn by a generator of their own from a seed that hypothesis gives: thousands take seconds.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from random import Random
from typing import Any

from hypothesis import example, given, settings
from hypothesis import strategies as st
from tests.cel_oracle import ERROR, EXAMPLE, REFUSED, googles, ours

KINDS = ("bool", "int", "uint", "double", "string", "bytes", "timestamp", "duration", "dyn", "list")
_LEAVES: dict[str, tuple[str, ...]] = {
    "bool": ("true", "false", "b", "has(x.a)", "has(x.zz)", "has(x.o.p)", "has(m.a)", "x.t"),
    "int": ("0", "1", "-1", "2", "7", "i", "9223372036854775807", "-9223372036854775808", "9007199254740993", "size(s)",
            "t.getHours()", "t.getDayOfWeek('Europe/Berlin')", "d.getMinutes()", "int(x.a)", "size(x.l)"),
    "uint": ("0u", "1u", "5u", "18446744073709551615u", "uint(i)", "uint(x.f)"),
    "double": ("0.0", "1.0", "-0.0", "2.5", "1e300", "f", "double(x.a)", "double(x.s)", "double(i)", "1.0/0.0"),
    "string": ("''", "'a'", "'é'", "'12'", "s", "string(i)", "string(f)", "string(t)", "string(d)", "string(x.a)"),
    "bytes": ("b''", "b'a'", "bytes(s)"),
    "timestamp": ("t", "timestamp(0)", "timestamp('2024-02-29T23:30:00Z')", "timestamp(x.s)", "timestamp(i)"),
    "duration": ("d", "duration('1h')", "duration('-1.5s')", "duration('9000000000s')", "duration(s)"),
    "dyn": ("x", "x.a", "x.s", "x.l", "x.n", "x.f", "x.o", "x.o.p", "x.zz", "x['a']", "m.a", "m['k']", "dyn(i)", "dyn(1u)",
            "dyn(s)", "dyn(b)", "x.l[0]", "x.o.p.q", "null"),
    "list": ("[]", "[1]", "[1, 2, 3]", "['a', s]", "[1, 'a']", "[x.a, x.zz]", "x.l", "[[1], []]", "[0.0, f]", "['a', 'b']"),
}  # fmt: skip
_FORMS: dict[str, tuple[str, ...]] = {
    "bool": ("({bool} && {bool})", "({bool} || {bool})", "!({bool})", "({any} {compare} {same})", "({any} {compare} {same})",
             "({dyn} {compare} {any})", "({any} in {list})", "({string} in x)", "({string} in {{'a': 1, 'b': 2}})",
             "({string}).startsWith({string})", "({string}).endsWith({string})", "({string}).contains({string})",
             "{all}", "{exists}", "{exists_one}", "bool({string})", "({bool} ? {bool} : {bool})"),
    "int": ("({int} + {int})", "({int} - {int})", "({int} * {int})", "({int} / {int})", "({int} % {int})", "-({int})",
            "int({any})", "size({string})", "size({list})", "size({dyn})", "({list}).size()", "({bool} ? {int} : {int})"),
    "uint": ("({uint} + {uint})", "({uint} - {uint})", "({uint} * {uint})", "({uint} / {uint})", "({uint} % {uint})",
             "uint({any})"),
    "double": ("({double} + {double})", "({double} - {double})", "({double} * {double})", "({double} / {double})",
               "-({double})", "double({any})", "({bool} ? {double} : {double})"),
    "string": ("({string} + {string})", "string({any})", "({bool} ? {string} : {string})"),
    "bytes": ("({bytes} + {bytes})", "bytes({string})"),
    "timestamp": ("({timestamp} + {duration})", "({timestamp} - {duration})", "({bool} ? {timestamp} : {timestamp})"),
    "duration": ("({duration} + {duration})", "({timestamp} - {timestamp})", "({duration} - {duration})"),
    "list": ("[{any}, {any}]", "({list} + {list})", "{map}", "{map_where}", "{filter}", "({bool} ? {list} : {list})"),
    "dyn": ("dyn({any})", "x.l[{int}]", "[1, 2][{int}]", "x[{string}]", "{{'a': 1}}[{string}]", "{{'a': {any}}}.a",
            "({dyn}).a", "({bool} ? {dyn} : {any})", "({list})[{int}]"),
}  # fmt: skip
_MACROS = {
    "all": "({list}).all(Q, {bool})", "exists": "({list}).exists(Q, {bool})",
    "exists_one": "({list}).exists_one(Q, {bool})", "filter": "({list}).filter(Q, {bool})", "map": "({list}).map(Q, {any})",
    "map_where": "({list}).map(Q, {bool}, {dyn})",
}  # fmt: skip


class _Drawn(dict[str, str]):
    """What stands for {name} in a form: drawn anew each time."""

    def __init__(self, draw: Callable[[str], str]) -> None:
        self._draw = draw

    def __missing__(self, name: str) -> str:
        return self._draw(name)


class Maker:
    """Draws expressions; one part in twelve is of another kind than it should be."""

    def __init__(self, random: Random) -> None:
        self._random = random
        self._same = "int"

    def expression(self, kind: str, depth: int, inner: tuple[str, ...] = ()) -> str:
        random = self._random
        if random.random() < 1 / 12:
            kind = random.choice(KINDS)
        if depth == 0 or random.random() < 0.15:
            if inner and random.random() < 0.5:
                return random.choice(inner)
            return random.choice(_LEAVES[kind])
        return self._filled(random.choice(_FORMS[kind]), depth - 1, inner)

    def _filled(self, form: str, depth: int, inner: tuple[str, ...]) -> str:
        same = self._random.choice(KINDS)
        return form.format_map(_Drawn(lambda name: self._part(name, same, depth, inner)))

    def _part(self, name: str, same: str, depth: int, inner: tuple[str, ...]) -> str:
        if name == "compare":
            return self._random.choice(("==", "!=", "<", "<=", ">", ">="))
        if name in _MACROS:
            if len(inner) == 2:
                return "true"
            variable = "qr"[len(inner)]
            over = self.expression("list", depth, inner)
            body = _MACROS[name].replace("{list}", over).replace("Q", variable)
            for part in ("{bool}", "{any}", "{dyn}"):
                if part in body:
                    kind = part.strip("{}")
                    body = body.replace(part, self.expression("int" if kind == "any" else kind, depth, (*inner, variable)))
            return body
        return self.expression(same if name in ("any", "same") else name, depth, inner)


class Values:
    """Draws values of the variables: fields may be missing, or be of any type."""

    def __init__(self, random: Random) -> None:
        self._random = random

    def whole(self) -> int:
        return self._random.choice((-5, -1, 0, 1, 2, 3, 7, 12, 2**63 - 1, -(2**63), 2**53 + 1, 10**12))

    def double(self) -> float:
        some = self._random.uniform(-1e4, 1e4)
        return self._random.choice((0.0, -0.0, 1.0, 2.5, 1e300, float("nan"), float("inf"), 2.0**53, some, some * 1e-9))

    def text(self) -> str:
        return self._random.choice(("", "a", "é", "12", "1.5", "true", "1h", "2024-02-29T23:30:00Z", "q", "😀"))

    def plain(self) -> Any:
        return self._random.choice((None, True, False, self.whole(), self.double(), self.text()))

    def json(self, depth: int = 2) -> Any:
        shape = self._random.random()
        if depth == 0 or shape < 0.6:
            return self.plain()
        if shape < 0.8:
            return [self.json(depth - 1) for _ in range(self._random.randrange(4))]
        return {name: self.json(depth - 1) for name in ("a", "p", "q", "k") if self._random.random() < 0.5}

    def bindings(self) -> dict[str, Any]:
        random = self._random
        usual = {"a": self.whole(), "s": self.text(), "l": [self.plain() for _ in range(3)], "f": self.double(), "t": True}
        other = {name: self.json() for name in ("a", "s", "l", "n", "f", "o", "t") if random.random() < 0.3}
        moment = datetime(2024, 2, 29, 13, 4, 5, 678_901, tzinfo=UTC)
        return {
            "x": {**usual, **other} if random.random() < 0.8 else other,
            "m": {"a": self.plain(), "k": self.json()},
            "b": random.random() < 0.5, "i": self.whole(), "f": self.double(), "s": self.text(),
            "t": moment + timedelta(microseconds=random.randrange(-(10**16), 10**16)),
            "d": timedelta(microseconds=random.randrange(-(10**13), 10**13)),
        }  # fmt: skip


def unordered(source: str, said: tuple[str, Any]) -> tuple[str, Any]:
    """Lists that may have been made of a map's keys: those come in any order."""
    if said[0] != "list" or (".map(" not in source and ".filter(" not in source):
        return said
    return "list", sorted((unordered(source, one) for one in said[1]), key=repr)


@settings(max_examples=120, deadline=None)
@given(st.integers(0, 2**32))
def test_random_expressions_mean_what_googles_mean(seed: int) -> None:
    random = Random(seed)
    for _ in range(10):
        source = Maker(random).expression(random.choice(KINDS), 3)
        values = Values(random).bindings()
        mine, its = ours(source, values), googles(source, values)
        assert unordered(source, mine) == unordered(source, its), (source, values)


_WORDS = (
    "x", "x.a", "i", "s", "b", "1", "2.5", "'a'", "null", "true", "[", "]", "(", ")", "{", "}", ":", "?", ",", ".", "==",
    "<", "in", "&&", "||", "!", "-", "+", "*", "%", "size", "has", "all", "q", "exists", "startsWith", "1u", "\n",
)  # fmt: skip


@settings(max_examples=400, deadline=None)
@given(st.lists(st.sampled_from(_WORDS), min_size=1, max_size=9).map(" ".join))
@example("x . all ( q , q )")
def test_what_is_no_expression_is_refused_by_both(source: str) -> None:
    assert ours(source, EXAMPLE) == googles(source, EXAMPLE)


@settings(max_examples=200, deadline=None)
@given(st.text(max_size=60))
def test_any_text_is_an_expression_or_refused_with_its_place(source: str) -> None:
    assert ours(source, EXAMPLE)[0] != "no place is named"


@settings(max_examples=50, deadline=None)
@given(st.sampled_from(("(", "[", "!(", "-(", "x.a && (", "x[")), st.integers(1, 600))
def test_depth_is_bounded_and_never_a_fault(opening: str, times: int) -> None:
    closing = "]" if opening.endswith("[") else ")"
    said, _ = ours(opening * times + "1" + closing * times, EXAMPLE)
    assert said in ("refused", "error", "int", "list")
    assert ours("1" + " + 1" * times, EXAMPLE) in (REFUSED, ("int", times + 1))
    assert ours("x" + ".a" * times, EXAMPLE) in (REFUSED, ERROR, ("int", 1))
