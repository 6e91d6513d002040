"""Free attributes as compared columns: `attribute.NAME`, each brought to its form by the kind of its comparison. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

from firstring.errors import BadInput
from firstring.identity.canonical.record import canonical
from firstring.identity.canonical.text import fold
from firstring.identity.comparison.spec import ATTRIBUTE

_FIELD_OF: Final = {"date": "birth_date", "code": "tier", "suffix": "tier", "identifier": "account"}
"""The field whose canonical form a kind has; others are folded text."""


def attribute_columns(stated: Mapping[str, Any], wanted: Mapping[str, str]) -> dict[str, tuple[str, ...]]:
    """The columns of the attributes that are stated. wanted: column -> kind. What has no form is left out."""
    found: dict[str, tuple[str, ...]] = {}
    for column, kind in wanted.items():
        value = stated.get(column.removeprefix(ATTRIBUTE))
        if value is not None and (text := _form(kind, value)):
            found[column] = (text,)
    return found


def attribute_names(rows: Iterable[Mapping[str, Sequence[str]]]) -> tuple[str, ...]:
    """The columns of attributes that any row has, in order."""
    return tuple(sorted({name for row in rows for name in row if name.startswith(ATTRIBUTE)}))


def _form(kind: str, value: Any) -> str:
    if isinstance(value, bool):
        value = "true" if value else "false"
    try:
        text = canonical(_FIELD_OF.get(kind, "city"), value, country="")
    except BadInput:
        return ""
    return text.replace("-", "") if kind == "date" else text if kind in _FIELD_OF else fold(text)
