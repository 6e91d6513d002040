"""The functions of the language: their signatures, and what each does.

Sources: cel-spec, langdef.md, "Standard Definitions"; what that leaves open is as Google's C++ has it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal
from functools import lru_cache
from typing import Any, Final, NamedTuple
from zoneinfo import ZoneInfo

from firstring.cel import values
from firstring.cel.types import (
    BOOL,
    BYTES,
    DOUBLE,
    DURATION,
    DYN,
    INT,
    STRING,
    TIMESTAMP,
    UINT,
    Type,
    list_of,
    map_of,
)
from firstring.cel.values import Failed, Uint, no_overload

_A: Final = Type("open", (), "A")
_B: Final = Type("open", (), "B")
_WHITE: Final = " \t\n\r\v\f"
_US: Final = timedelta(microseconds=1)
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_DURATION_MAX: Final = timedelta(seconds=315_576_000_000)
_DIGITS: Final = frozenset("0123456789")


class Overload(NamedTuple):
    """One signature of a function."""

    arguments: tuple[Type, ...]
    result: Type
    method: bool = False


class Function(NamedTuple):
    """signatures: tried in order when types are checked. call: what it does, or an error where nothing fits."""

    signatures: tuple[Overload, ...]
    call: Callable[..., Any]


# --- conversions ---------------------------------------------------------------------------------------------------


def _whole(text: str, what: str) -> int:
    """A whole number in decimal digits, white space around it allowed."""
    bare = text.strip(_WHITE)
    digits = bare[1:] if bare[:1] in ("+", "-") else bare
    if not digits or not _DIGITS.issuperset(digits) or len(digits) > 30:
        raise Failed(f"cannot convert string to {what}")
    return int(bare)


def to_int(value: Any) -> int:
    """int(value); a double is truncated, a timestamp becomes seconds since 1970; of a duration always an error."""
    kind = type(value)
    if kind is int or kind is bool:
        return int(value)
    if kind is Uint and value <= values.INT_MAX:
        return int(value)
    if kind is float and -9.223372036854775808e18 < value < 9.223372036854775808e18:
        return int(value)
    if kind is str:
        number = _whole(value, "int")
        if values.INT_MIN <= number <= values.INT_MAX:
            return number
    elif kind is datetime:
        return (value - _EPOCH) // timedelta(seconds=1)  # type: ignore[no-any-return]
    elif kind not in (Uint, float):
        raise no_overload("int", value)
    raise Failed("out of the range of int")


def to_uint(value: Any) -> Uint:
    """uint(value)."""
    kind = type(value)
    if kind is Uint:
        return value  # type: ignore[no-any-return]
    if kind is int and value >= 0:
        return Uint(value)
    if kind is float and 0.0 <= value < 1.8446744073709551616e19:
        return Uint(int(value))
    if kind is str:
        number = _whole(value, "uint")
        if 0 <= number <= values.UINT_MAX and "-" not in value:
            return Uint(number)
    elif kind not in (int, float):
        raise no_overload("uint", value)
    raise Failed("out of the range of uint")


def to_double(value: Any) -> float:
    """double(value); of text in decimal, "inf" and "nan"."""
    kind = type(value)
    if kind is float:
        return value  # type: ignore[no-any-return]
    if kind is int or kind is Uint:
        return float(value)
    if kind is not str:
        raise no_overload("double", value)
    bare = value.strip(_WHITE)
    if not bare or not bare.isascii() or "_" in bare or bare[-1] in _WHITE:
        raise Failed("cannot convert string to double")
    try:
        return float(bare)
    except ValueError:
        raise Failed("cannot convert string to double") from None


def to_string(value: Any) -> str:
    """string(value); a timestamp as in RFC 3339, a duration in seconds."""
    kind = type(value)
    if kind is str:
        return value  # type: ignore[no-any-return]
    if kind is bool:
        return "true" if value else "false"
    if kind is int or kind is Uint:
        return str(int(value))
    if kind is float:
        return _double_text(value)
    if kind is bytes:
        try:
            return value.decode()  # type: ignore[no-any-return]
        except UnicodeDecodeError:
            raise Failed("malformed UTF-8 bytes") from None
    if kind is datetime:
        moment = value.astimezone(UTC)
        return f"{moment.replace(microsecond=0, tzinfo=None).isoformat()}{_fraction(moment.microsecond)}Z"
    if kind is timedelta:
        whole = abs(value) // _US
        return f"{'-' if value < timedelta(0) else ''}{whole // 1_000_000}{_fraction(whole % 1_000_000)}s"
    raise no_overload("string", value)


def _fraction(microseconds: int) -> str:
    if not microseconds:
        return ""
    return f".{microseconds // 1000:03}" if microseconds % 1000 == 0 else f".{microseconds:06}"


def _double_text(value: float) -> str:
    """The shortest digits that give the number back; with an exponent from 1e6 and below 1e-4 on."""
    if not math.isfinite(value):
        text = "nan" if math.isnan(value) else "inf"
        return f"-{text}" if math.copysign(1.0, value) < 0 else text
    sign = "-" if math.copysign(1.0, value) < 0 else ""
    number = Decimal(repr(abs(value))).normalize()
    exponent = number.adjusted() if value else 0
    if -4 <= exponent < 6:
        return f"{sign}{number:f}"
    first, *rest = map(str, number.as_tuple().digits)
    return f"{sign}{first}{'.' if rest else ''}{''.join(rest)}e{exponent:+03d}"


_TRUTH: Final = {
    **dict.fromkeys(("1", "t", "true", "TRUE", "True"), True),
    **dict.fromkeys(("0", "f", "false", "FALSE", "False"), False),
}


def to_bool(value: Any) -> bool:
    """bool(value)."""
    if type(value) is bool:
        return value
    if type(value) is not str:
        raise no_overload("bool", value)
    if value not in _TRUTH:
        raise Failed("cannot convert string to bool")
    return _TRUTH[value]


def to_bytes(value: Any) -> bytes:
    """bytes(value), text as UTF-8."""
    if type(value) is bytes:
        return value
    if type(value) is not str:
        raise no_overload("bytes", value)
    return value.encode("utf-8", "surrogatepass")


# --- time ----------------------------------------------------------------------------------------------------------


def to_timestamp(value: Any) -> datetime:
    """timestamp(value): of text as in RFC 3339, of seconds since 1970."""
    if type(value) is datetime:
        return value
    if type(value) is int:
        try:
            return _EPOCH + timedelta(seconds=value)
        except OverflowError:
            raise Failed("timestamp overflow") from None
    if type(value) is not str:
        raise no_overload("timestamp", value)
    return _parsed_time(value)


def _parsed_time(text: str) -> datetime:
    """RFC 3339, with at most six digits after the second."""
    upper = text.upper()
    shape = "".join("9" if character in _DIGITS else character for character in upper)
    offset = shape[-1:] == "Z"
    body = shape[:-1] if offset else shape[:-6]
    fraction = body[20:] if body[19:20] == "." else ""
    if (
        body[:19] != "9999-99-99T99:99:99"
        or body[19:] != (f".{fraction}" if fraction else "")
        or fraction.strip("9")
        or len(fraction) > 6
        or not (offset or shape[-6:] in ("+99:99", "-99:99"))
    ):
        raise Failed("cannot convert string to timestamp")
    try:
        moment = datetime.fromisoformat(upper[:19] + (f".{upper[20 : 20 + len(fraction)]:0<6}" if fraction else ""))
        hours, minutes = (0, 0) if offset else (int(text[-5:-3]), int(text[-2:]))
        if hours > 23 or minutes > 59:
            raise ValueError
        zone = timedelta(hours=hours, minutes=minutes)
        return (moment - (-zone if text[-6] == "-" else zone)).replace(tzinfo=UTC)
    except (ValueError, OverflowError):
        raise Failed("cannot convert string to timestamp") from None


_UNITS: Final = {"h": 3_600_000_000, "m": 60_000_000, "s": 1_000_000, "ms": 1_000, "us": 1}


def to_duration(value: Any) -> timedelta:
    """duration(value): of text such as "1h30m", "-1.5s", "250ms"."""
    if type(value) is timedelta:
        return value
    if type(value) is not str:
        raise no_overload("duration", value)
    return _parsed_duration(value)


@lru_cache(maxsize=256)
def _parsed_duration(text: str) -> timedelta:
    bare = text[1:] if text[:1] in ("+", "-") else text
    if bare == "0":
        return timedelta(0)
    total, place = 0, 0
    while place < len(bare) or not bare:
        digits = _run(bare, place)
        dot = bare[digits : digits + 1] == "."
        stop = _run(bare, digits + 1) if dot else digits
        unit = bare[stop : stop + 2] if bare[stop : stop + 2] in ("ms", "us") else bare[stop : stop + 1]
        whole, part = bare[place:digits], bare[digits + 1 : stop] if dot else ""
        if unit not in _UNITS or not (whole or part) or len(whole) + len(part) > 24:
            raise Failed("cannot convert string to duration")
        scaled = int(whole + part) * _UNITS[unit]
        if scaled % 10 ** len(part):
            raise Failed("a duration is of whole microseconds here")
        total += scaled // 10 ** len(part)
        place = stop + len(unit)
    try:
        found = timedelta(microseconds=-total if text[0] == "-" else total)
    except OverflowError:
        raise Failed("duration overflow") from None
    if abs(found) > _DURATION_MAX:
        raise Failed("duration overflow")
    return found


def _run(text: str, at: int) -> int:
    while at < len(text) and text[at] in _DIGITS:
        at += 1
    return at


@lru_cache(maxsize=256)
def _zone(name: str) -> Any:
    """ "Europe/Berlin", "+02:00", "-02:30"."""
    sign = -1 if name[:1] == "-" else 1
    bare = name[1:] if name[:1] in ("+", "-") else name
    if len(bare) == 5 and bare[2] == ":" and _DIGITS.issuperset(bare[:2] + bare[3:]):
        hours, minutes = int(bare[:2]), int(bare[3:])
        if hours < 24 and minutes < 60:
            return timezone(sign * timedelta(hours=hours, minutes=minutes))
        raise Failed("invalid time zone")
    try:
        return ZoneInfo(name) if name else UTC
    except (ValueError, OSError, KeyError):
        raise Failed("invalid time zone") from None


def _part(name: str, of_time: Callable[[datetime], int], of_span: Callable[[int], int] | None = None) -> Function:
    """A part of a timestamp, in UTC or another time zone; and of a duration, whose microseconds `of_span` is given."""

    def part(value: Any, zone: Any = "UTC") -> int:
        if type(value) is datetime and type(zone) is str:
            try:
                return of_time(value.astimezone(UTC if zone == "UTC" else _zone(zone)))
            except OverflowError:
                raise Failed("timestamp overflow") from None
        if type(value) is timedelta and of_span is not None and zone == "UTC":
            microseconds = value // _US
            return of_span(microseconds) if microseconds >= 0 else -of_span(-microseconds)
        raise no_overload(name, value)

    signatures = [Overload((TIMESTAMP,), INT, True), Overload((TIMESTAMP, STRING), INT, True)]
    if of_span is not None:
        signatures.append(Overload((DURATION,), INT, True))
    return Function(tuple(signatures), part)


# --- text and size -------------------------------------------------------------------------------------------------


def size(value: Any) -> int:
    """Characters of a text, bytes, elements of a list, entries of a map."""
    if type(value) in (str, bytes, list, dict):
        return len(value)
    raise no_overload("size", value)


def _of_text(name: str, ask: Callable[[str, str], bool]) -> Function:
    def asked(text: Any, part: Any) -> bool:
        if type(text) is str and type(part) is str:
            return ask(text, part)
        raise no_overload(name, text, part)

    return Function((Overload((STRING, STRING), BOOL, True),), asked)


def _same(value: Any) -> Any:
    return value


def _operator(call: Callable[..., Any], *signatures: tuple[Type, ...]) -> Function:
    """Signatures are given as (argument, ..., result)."""
    return Function(tuple(Overload(one[:-1], one[-1]) for one in signatures), call)


def _conversion(call: Callable[[Any], Any], result: Type, *given: Type) -> Function:
    return Function(tuple(Overload((one,), result) for one in given), call)


_COMPARED: Final = tuple((one, one, BOOL) for one in (INT, UINT, DOUBLE, BOOL, STRING, BYTES, TIMESTAMP, DURATION))
_ARITHMETIC: Final = ((INT, INT, INT), (UINT, UINT, UINT), (DOUBLE, DOUBLE, DOUBLE))
_SIZED: Final = (list_of(_A), map_of(_A, _B), STRING, BYTES)

FUNCTIONS: Final[Mapping[str, Function]] = {
    "_==_": _operator(values.equal, (_A, _A, BOOL)),
    "_!=_": _operator(lambda left, right: not values.equal(left, right), (_A, _A, BOOL)),
    "_<_": _operator(values.less, *_COMPARED),
    "_<=_": _operator(values.less_equal, *_COMPARED),
    "_>_": _operator(values.greater, *_COMPARED),
    "_>=_": _operator(values.greater_equal, *_COMPARED),
    "_in_": _operator(values.within, (_A, list_of(_A), BOOL), (_A, map_of(_A, _B), BOOL)),
    "_[_]": _operator(values.at, (list_of(_A), INT, _A), (map_of(_A, _B), _A, _B)),
    "_+_": _operator(
        values.add, *_ARITHMETIC, (STRING, STRING, STRING), (BYTES, BYTES, BYTES), (list_of(_A), list_of(_A), list_of(_A)),
        (DURATION, DURATION, DURATION), (TIMESTAMP, DURATION, TIMESTAMP), (DURATION, TIMESTAMP, TIMESTAMP),
    ),
    "_-_": _operator(
        values.subtract, *_ARITHMETIC, (DURATION, DURATION, DURATION), (TIMESTAMP, DURATION, TIMESTAMP),
        (TIMESTAMP, TIMESTAMP, DURATION),
    ),
    "_*_": _operator(values.multiply, *_ARITHMETIC),
    "_/_": _operator(values.divide, *_ARITHMETIC),
    "_%_": _operator(values.remainder, (INT, INT, INT), (UINT, UINT, UINT)),
    "-_": _operator(values.negate, (INT, INT), (DOUBLE, DOUBLE)),
    "size": Function(
        tuple(Overload((one,), INT, method) for method in (False, True) for one in _SIZED), size
    ),
    "startsWith": _of_text("startsWith", str.startswith),
    "endsWith": _of_text("endsWith", str.endswith),
    "contains": _of_text("contains", lambda text, part: part in text),
    "int": _conversion(to_int, INT, INT, UINT, DOUBLE, STRING, TIMESTAMP, DURATION),
    "uint": _conversion(to_uint, UINT, UINT, INT, DOUBLE, STRING),
    "double": _conversion(to_double, DOUBLE, DOUBLE, INT, UINT, STRING),
    "string": _conversion(to_string, STRING, STRING, BOOL, INT, UINT, DOUBLE, BYTES, TIMESTAMP, DURATION),
    "bool": _conversion(to_bool, BOOL, BOOL, STRING),
    "bytes": _conversion(to_bytes, BYTES, BYTES, STRING),
    "dyn": _conversion(_same, DYN, _A),
    "timestamp": _conversion(to_timestamp, TIMESTAMP, TIMESTAMP, STRING, INT),
    "duration": _conversion(to_duration, DURATION, DURATION, STRING),
    "getFullYear": _part("getFullYear", lambda time: time.year),
    "getMonth": _part("getMonth", lambda time: time.month - 1),
    "getDayOfYear": _part("getDayOfYear", lambda time: time.timetuple().tm_yday - 1),
    "getDayOfMonth": _part("getDayOfMonth", lambda time: time.day - 1),
    "getDate": _part("getDate", lambda time: time.day),
    "getDayOfWeek": _part("getDayOfWeek", lambda time: time.isoweekday() % 7),
    "getHours": _part("getHours", lambda time: time.hour, lambda us: us // 3_600_000_000),
    "getMinutes": _part("getMinutes", lambda time: time.minute, lambda us: us // 60_000_000),
    "getSeconds": _part("getSeconds", lambda time: time.second, lambda us: us // 1_000_000),
    "getMilliseconds": _part("getMilliseconds", lambda time: time.microsecond // 1000, lambda us: us // 1_000 % 1_000),
}  # fmt: skip
"""Name -> function. The order of signatures is Google's: of an open type the first that fits makes a settled one.

The operators &&, ||, ! and ?: are not here: they do not evaluate all of their operands.
"""
