"""What values are equal, which is less, arithmetic, and what is an error, as Google's CEL (cel-spec, langdef.md) has it.

int, uint and double are int, Uint and float; a timestamp is an aware datetime and a duration a timedelta, both of whole
microseconds. Values of unlike types are unequal, but numbers compare across their types.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any, Final


class Failed(Exception):
    """An evaluation came to an error: a missing field, a division by zero, operands that do not go together.

    It is no fault of the program, and && and || may absorb it.
    """


class Uint(int):
    """A whole number of 64 bits without a sign."""

    __slots__ = ()


INT_MIN: Final = -(1 << 63)
INT_MAX: Final = (1 << 63) - 1
UINT_MAX: Final = (1 << 64) - 1
DURATION_NS_MAX: Final = INT_MAX
"""Sums and differences of durations stay within 64 bits of nanoseconds: 292 years."""

_NUMBERS: Final = frozenset((int, Uint, float))
_PLAIN: Final = frozenset((str, int, bool, float, Uint, bytes, datetime, timedelta, type(None)))
_ORDERED: Final = frozenset((str, int, bool, float, Uint, bytes, datetime, timedelta))
_NAMES: Final = {
    str: "string", int: "int", bool: "bool", float: "double", Uint: "uint", bytes: "bytes", datetime: "timestamp",
    timedelta: "duration", type(None): "null", list: "list", dict: "map",
}  # fmt: skip


def type_name(value: object) -> str:
    """The type of a value, as the language calls it."""
    return _NAMES.get(type(value), type(value).__name__)


def no_overload(function: str, *operands: object) -> Failed:
    """The error where no function of this name takes such operands."""
    return Failed(f"no such overload: {function} of {', '.join(map(type_name, operands))}")


# --- equality, order, membership -----------------------------------------------------------------------------------


def equal(left: Any, right: Any) -> bool:
    """left == right. Never an error."""
    kind, other = type(left), type(right)
    if kind is other:
        if kind in _PLAIN:
            return bool(left == right)
        if kind is list:
            return len(left) == len(right) and all(map(equal, left, right))
        if kind is dict:
            if len(left) != len(right):
                return False
            for key, value in left.items():
                found = lookup(right, key)
                if found is _NONE or not equal(value, found):
                    return False
            return True
        return bool(left == right)
    if kind in _NUMBERS and other in _NUMBERS:
        return (
            bool(_aligned(left) == right)
            if other is float
            else bool(left == _aligned(right) if kind is float else left == right)
        )
    return False


def _aligned(number: Any) -> Any:
    """A whole number as it is compared with a double: rounded to one, where one can hold it."""
    try:
        return float(number)
    except OverflowError:
        return number


def comparison(sign: str, compare: Callable[[Any, Any], Any]) -> Callable[[Any, Any], bool]:
    """One of < <= > >= over all values that have an order."""

    def compared(left: Any, right: Any) -> bool:
        kind, other = type(left), type(right)
        if kind is other:
            if kind in _ORDERED:
                return bool(compare(left, right))
        elif kind in _NUMBERS and other in _NUMBERS:
            if other is float:
                left = _aligned(left)
            elif kind is float:
                right = _aligned(right)
            return bool(compare(left, right))
        raise no_overload(f"_{sign}_", left, right)

    return compared


less: Final = comparison("<", operator.lt)
less_equal: Final = comparison("<=", operator.le)
greater: Final = comparison(">", operator.gt)
greater_equal: Final = comparison(">=", operator.ge)

_NONE: Final = object()


def lookup(mapping: dict[Any, Any], key: Any) -> Any:
    """The value under a key, or NOTHING. Keys of one map are of one type; 1, 1u and 1.0 are one key, true is another."""
    kind = type(key)
    if kind is not str:
        if kind is not bool and kind not in _NUMBERS:
            raise Failed(f"a {type_name(key)} is no key of a map")
        if mapping and (type(next(iter(mapping))) is bool) is not (kind is bool):
            return _NONE
    return mapping.get(key, _NONE)


NOTHING: Final = _NONE


def within(element: Any, container: Any) -> bool:
    """element in container."""
    if type(container) is list:
        if type(element) is str:
            return element in container  # text equals nothing but text, in Python too
        return any(equal(element, one) for one in container)
    if type(container) is dict:
        return lookup(container, element) is not _NONE
    raise no_overload("_in_", element, container)


def at(container: Any, key: Any) -> Any:
    """container[key]."""
    if type(container) is dict:
        found = lookup(container, key)
        if found is _NONE:
            raise Failed(f"no such key: {key!r}"[:120])
        return found
    if type(container) is not list:
        raise no_overload("_[_]", container, key)
    if type(key) not in _NUMBERS or (type(key) is float and not key.is_integer()):
        raise Failed(f"an index is a whole number, not {type_name(key)}")
    if not 0 <= key < len(container):
        raise Failed(f"no such index: {key} of {len(container)}")
    return container[int(key)]


# --- arithmetic ----------------------------------------------------------------------------------------------------


def _int(value: int) -> int:
    if INT_MIN <= value <= INT_MAX:
        return value
    raise Failed("integer overflow")


def _uint(value: int) -> Uint:
    if 0 <= value <= UINT_MAX:
        return Uint(value)
    raise Failed("unsigned integer overflow")


def span(value: timedelta) -> timedelta:
    """A sum or difference of durations, if it is within bounds."""
    if abs(value) // timedelta(microseconds=1) * 1_000 > DURATION_NS_MAX:
        raise Failed("duration overflow")
    return value


def add(left: Any, right: Any) -> Any:
    """left + right."""
    kind, other = type(left), type(right)
    if kind is other:
        if kind is int:
            return _int(left + right)
        if kind in (float, str, bytes, list):
            return left + right
        if kind is Uint:
            return _uint(int(left) + int(right))
        if kind is timedelta:
            return span(left + right)
    elif (kind is datetime and other is timedelta) or (kind is timedelta and other is datetime):
        return _moment(lambda: left + right)
    raise no_overload("_+_", left, right)


def subtract(left: Any, right: Any) -> Any:
    """left - right."""
    kind, other = type(left), type(right)
    if kind is other:
        if kind is int:
            return _int(left - right)
        if kind is float:
            return left - right
        if kind is Uint:
            return _uint(int(left) - int(right))
        if kind is timedelta or kind is datetime:
            return span(left - right)
    elif kind is datetime and other is timedelta:
        return _moment(lambda: left - right)
    raise no_overload("_-_", left, right)


def _moment(made: Callable[[], datetime]) -> datetime:
    try:
        return made().astimezone(UTC)
    except OverflowError:
        raise Failed("timestamp overflow") from None


def multiply(left: Any, right: Any) -> Any:
    """left * right."""
    kind = type(left)
    if kind is type(right):
        if kind is int:
            return _int(left * right)
        if kind is float:
            return left * right
        if kind is Uint:
            return _uint(int(left) * int(right))
    raise no_overload("_*_", left, right)


def divide(left: Any, right: Any) -> Any:
    """left / right; of whole numbers truncated towards zero."""
    kind = type(left)
    if kind is not type(right) or kind not in _NUMBERS:
        raise no_overload("_/_", left, right)
    if kind is float:
        return _double_quotient(left, right)
    if right == 0:
        raise Failed("divide by zero")
    if kind is Uint:
        return Uint(int(left) // int(right))
    quotient = abs(left) // abs(right)
    return _int(quotient if (left < 0) == (right < 0) else -quotient)


def _double_quotient(left: float, right: float) -> float:
    """IEEE 754: no error, but infinities and NaN."""
    if right:
        return left / right
    if left != left:
        return left
    if left == 0.0:
        return math.inf * left  # the NaN of this machine, whose sign shows in its text
    return float("inf") if (str(left)[0] == "-") == (str(right)[0] == "-") else float("-inf")


def remainder(left: Any, right: Any) -> Any:
    """left % right, with the sign of left."""
    kind = type(left)
    if kind is not type(right) or kind not in (int, Uint):
        raise no_overload("_%_", left, right)
    if right == 0:
        raise Failed("modulus by zero")
    if kind is Uint:
        return Uint(int(left) % int(right))
    if left == INT_MIN and right == -1:
        raise Failed("integer overflow")
    rest = abs(left) % abs(right)
    return -rest if left < 0 else rest


def negate(value: Any) -> Any:
    """-value."""
    if type(value) is int:
        return _int(-value)
    if type(value) is float:
        return -value
    raise no_overload("-_", value)
