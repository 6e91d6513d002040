"""Reading names, levels and numbers out of a parsed mapping (TOML or JSON), for profiles and policies.

Every function raises `BadInput` with a stable code and `where = {"field": dotted path}`. Values are never repeated in
an error: they may be personal data.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any, Final

from firstring.errors import BadInput

LEVEL_MIN: Final = 1
LEVEL_MAX: Final = 5

_SLUG = re.compile(r"[a-z0-9](?:[a-z0-9_.\- ]{0,62}[a-z0-9])?")
_LANGUAGE = re.compile(r"([A-Za-z]{2,3})(?:[-_][A-Za-z0-9]{1,8})*")


def slug(value: object, field: str) -> str:
    """A name of a skill, tier, intent or queue: lower case, 1-64 of a-z, 0-9, `_`, `-`, `.` and inner spaces."""
    if isinstance(value, str):
        text = value.strip().lower()
        if _SLUG.fullmatch(text):
            return text
    raise BadInput(
        "name_invalid",
        "Not a name",
        where={"field": field},
        hint="Use 1 to 64 letters a-z, digits, '_', '-' or '.'.",
    )


def language_of(text: str) -> str | None:
    """The primary subtag of a language tag (RFC 5646) in lower case, or None: es-MX -> es.

    Routing asks for a language, not for a variety of it: an agent for "es" serves a caller of "es-MX".
    """
    match = _LANGUAGE.fullmatch(text.strip())
    return match.group(1).lower() if match else None


def language(value: object, field: str) -> str:
    """A language tag, as its primary subtag."""
    found = language_of(value) if isinstance(value, str) else None
    if found is None:
        raise BadInput(
            "language_invalid",
            "Not a language tag",
            where={"field": field},
            hint="Use a tag of RFC 5646, for example en or es-MX.",
        )
    return found


def table(value: object, field: str, entries_max: int) -> dict[str, Any]:
    """A mapping with text keys and at most `entries_max` entries."""
    if not isinstance(value, Mapping) or not all(isinstance(key, str) for key in value):
        raise BadInput("table_expected", "A table was expected", where={"field": field})
    if len(value) > entries_max:
        raise BadInput("too_many_entries", f"More than {entries_max} entries", where={"field": field})
    return dict(value)


def sequence(value: object, field: str, entries_max: int) -> list[Any]:
    """A list with at most `entries_max` entries."""
    if not isinstance(value, (list, tuple)):
        raise BadInput("list_expected", "A list was expected", where={"field": field})
    if len(value) > entries_max:
        raise BadInput("too_many_entries", f"More than {entries_max} entries", where={"field": field})
    return list(value)


def known(raw: Mapping[str, Any], names: Iterable[str], field: str) -> None:
    """Refuses names that are not in `names`: a misspelt setting must not be ignored."""
    allowed = sorted(names)
    for name in raw:
        if name not in allowed:
            raise BadInput(
                "field_unknown",
                "Unknown field",
                where={"field": f"{field}.{name[:64]}" if field else name[:64]},
                hint="Known are: " + ", ".join(allowed) + ".",
            )


def whole(value: object, field: str, low: int, high: int, code: str = "number_out_of_range") -> int:
    """A whole number in [low, high]. true and false are not numbers."""
    if isinstance(value, int) and not isinstance(value, bool) and low <= value <= high:
        return value
    raise BadInput(code, f"A whole number from {low} to {high} was expected", where={"field": field})


def number(value: object, field: str, low: float, high: float) -> float:
    """A number in [low, high]; the comparison refuses nan and infinities too."""
    if isinstance(value, (int, float)) and not isinstance(value, bool) and low <= value <= high:
        return float(value)
    raise BadInput("number_out_of_range", f"A number from {low:g} to {high:g} was expected", where={"field": field})


def level(value: object, field: str) -> int:
    """A level from 1 (basic) to 5 (expert)."""
    return whole(value, field, LEVEL_MIN, LEVEL_MAX, "level_invalid")


def skills(value: object, field: str, entries_max: int = 100) -> dict[str, int]:
    """Skills with their levels. Two spellings of one skill are refused."""
    levels: dict[str, int] = {}
    for name, at_level in table(value, field, entries_max).items():
        skill = slug(name, field)
        put_once(levels, skill, level(at_level, f"{field}.{skill}"), field)
    return levels


def put_once(into: dict[str, int], name: str, value: int, field: str) -> None:
    """Puts a value and refuses a second spelling of the same name."""
    if name in into:
        raise BadInput("name_twice", "The same name stands there twice", where={"field": f"{field}.{name}"})
    into[name] = value
