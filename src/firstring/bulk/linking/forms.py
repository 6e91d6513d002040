"""What is compared of rows, by column: each distinct value of a part of a file is brought to its form once.

The forms are those of identity/canonical/record and identity/comparison/columns.compared, group of fields by group of
fields. A row is used for all that it states well, whether or not a store would take it as a record.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from itertools import repeat
from typing import Any, Final, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

from firstring import limits
from firstring.bulk.files.mapping import Choice, FieldMap, mapped
from firstring.bulk.files.parts import Cells
from firstring.bulk.files.read import Cell
from firstring.contact import Reason
from firstring.errors import BadInput
from firstring.identity.canonical.fields import SOCIAL_PREFIX
from firstring.identity.canonical.record import TRACES, canonical, canonical_list, canonical_record, traces
from firstring.identity.comparison.attributes import attribute_columns
from firstring.identity.comparison.columns import GROUPS, SEVERAL, Hashes, Values, compared, content_of_rows, value_hashes
from firstring.identity.comparison.spec import ATTRIBUTE

_KNOWN_MOST: Final = 100_000
"""Distinct cells of a group remembered from part to part."""
_NOTHING: Final[Values] = {}
_Formed: TypeAlias = Callable[[Mapping[str, Any]], Values]
_Country: TypeAlias = tuple[str, bool]
"""The country of a row's national forms, and whether the row states it: only then names follow its habits."""
_Measure: TypeAlias = Callable[[dict[str, Any], str, bool], Values]
_Known: TypeAlias = dict[Any, Values]


class Encoded(NamedTuple):
    """One column of a part. values: distinct; hashes: theirs; codes: of each row in turn; held: how many a row has."""

    values: list[str]
    hashes: Hashes
    codes: NDArray[np.int32]
    held: NDArray[np.int32]


class Formed(NamedTuple):
    """A part in the form in which it is compared. content: what orders rows (see columns.content_of_rows)."""

    record_ids: list[str]
    lines: NDArray[np.int64]
    content: Hashes
    columns: dict[str, Encoded]
    unusable: dict[str, int]


class Forms:
    """The forms of the rows of one source. Remembers a bounded number of cells; what it gives does not depend on them."""

    def __init__(self, fields: FieldMap, name: str, country: str, attributes: Mapping[str, str] | None = None) -> None:
        """attributes: the columns of free attributes that are compared (see `Spec.attributes`)."""
        self._name = name
        self._country = country
        self._groups: list[tuple[FieldMap, _Measure, _Known]] = []
        self._id = self._of(fields, lambda field: field == "record_id")
        self._own_country = self._of(fields, lambda field: field == "country")
        for names, values_of in GROUPS:
            chosen = self._of(fields, lambda field, names=names: field in names or _is_network(field, names))  # type: ignore[misc]
            if chosen.choices:
                self._groups.append((chosen, _measure(names, values_of), {}))
        for column, kind in (attributes or {}).items():
            name_of_it = column.removeprefix(ATTRIBUTE)
            chosen = self._of(fields, lambda field, name=name_of_it: field == name)  # type: ignore[misc]
            if chosen.choices:
                self._groups.append((chosen, partial(_attribute, column, kind), {}))

    @staticmethod
    def _of(fields: FieldMap, wanted: Callable[[str], bool]) -> FieldMap:
        choices = tuple(choice for choice in fields.choices if wanted(choice.field))
        return FieldMap(choices, fields.guessed, fields.country, fields.date_format)

    @property
    def columns(self) -> list[str]:
        """The columns of the file that are looked at."""
        chosen = (self._id, self._own_country, *(fields for fields, _, _ in self._groups))
        return [choice.column for fields in chosen for choice in fields.choices]

    def of(self, cells: Cells) -> Formed:
        """The forms of rows; bad rows follow the good ones, with nothing to compare."""
        count, bad = len(cells.lines), len(cells.bad)
        columns: dict[str, Encoded] = {}
        countries = self._countries(cells)
        for fields, measure, known in self._groups:
            keys: list[Any] = list(
                zip(*(cells.columns[choice.column] for choice in fields.choices), countries, strict=False)
            )
            columns |= self._encoded(keys, fields.choices, fields, measure, known, count + bad)
        content = content_of_rows({name: (one.hashes, one.codes, one.held) for name, one in columns.items()}, count + bad)
        codes: dict[str, int] = {}
        for _, code in cells.bad:
            codes[code] = codes.get(code, 0) + 1
        empty = int((content[:count] == 0).sum())
        if empty:
            codes["nothing_usable"] = empty
        lines = [*cells.lines, *(line for line, _ in cells.bad)]
        return Formed(self._ids(cells, lines), np.array(lines, np.int64), content, columns, codes)

    def _countries(self, cells: Cells) -> Any:
        """For each row the country of its national forms, and whether it states it: else it is the map's or command's."""
        if not self._own_country.choices:
            return repeat((self._country, False))
        keys: list[Any] = list(zip(*(cells.columns[choice.column] for choice in self._own_country.choices), strict=True))
        found: dict[Any, _Country] = {}
        for key in dict.fromkeys(keys):
            raw = _raw(key, self._own_country)
            try:
                found[key] = (canonical("country", raw.get("country"), country=self._country), True)
            except BadInput:
                found[key] = (self._country, False)
        return [found[key] for key in keys]

    def _ids(self, cells: Cells, lines: Sequence[int]) -> list[str]:
        """The id goes to the output as the file writes it; whether it is a good id is no matter here."""
        good = len(cells.lines)
        stated: list[Any] = [None] * len(lines)
        if len(self._id.choices) == 1:
            column = cells.columns[self._id.choices[0].column]
            stated[:good] = column
        return [
            one if isinstance(one, str) and one and not one.isspace() else f"{self._name}:{line}"
            for one, line in zip(stated, lines, strict=True)
        ]

    def _encoded(
        self,
        keys: list[Any],
        choices: Sequence[Choice],
        fields: FieldMap,
        measure: _Measure,
        known: _Known,
        rows: int,
    ) -> dict[str, Encoded]:
        """The columns that a group of fields gives."""
        place_of: dict[Any, int] = {}
        places = [place_of.setdefault(key, len(place_of)) for key in keys]
        found: list[Values] = []
        for key in place_of:
            values = known.get(key)
            if values is None:
                raw = _raw(key, fields)
                values = measure(raw, *key[-1]) if raw else _NOTHING
                if len(known) >= _KNOWN_MOST:
                    known.clear()
                known[key] = values
            found.append(values)
        at = np.full(rows, len(found), np.int64)
        at[: len(places)] = places
        found.append(_NOTHING)
        names = dict.fromkeys(name for values in found for name in values)
        return {name: _column([values.get(name, ()) for values in found], at) for name in names}


def _column(of_keys: list[tuple[str, ...]], at: NDArray[np.int64]) -> Encoded:
    """A column out of the values of each distinct key and the key of each row."""
    code_of: dict[str, int] = {}
    flat = np.array([code_of.setdefault(value, len(code_of)) for values in of_keys for value in values], np.int32)
    counts = np.array([len(values) for values in of_keys], np.int32)
    begins = np.cumsum(counts) - counts
    held = counts[at]
    within = np.arange(int(held.sum()), dtype=np.int64) - np.repeat(np.cumsum(held) - held, held)
    codes = flat[np.repeat(begins[at], held) + within] if len(flat) else np.zeros(0, np.int32)
    values = list(code_of)
    return Encoded(values, value_hashes(values), codes, held)


# --- groups --------------------------------------------------------------------------------------------------------


def _raw(key: Sequence[Cell | None], fields: FieldMap) -> dict[str, Any]:
    """Raw values by field, as mapping.mapped gives them; empty cells are none."""
    raw: dict[str, Any] = {}
    for choice, cell in zip(fields.choices, key, strict=False):
        if not cell or (isinstance(cell, str) and cell.isspace()):
            continue
        if choice.field in raw or (fields.date_format and choice.field == "birth_date"):
            return mapped({one.column: its for one, its in zip(fields.choices, key, strict=False) if its}, fields)
        raw[choice.field] = cell
    return raw


def _measure(names: tuple[str, ...], values_of: _Formed) -> _Measure:
    if names == ("social",):
        return _social
    return _several if names[0] in SEVERAL else partial(_single, values_of)


def _is_network(field: str, names: tuple[str, ...]) -> bool:
    return names == ("social",) and field.startswith(SOCIAL_PREFIX) and len(field) > len(SOCIAL_PREFIX)


def _single(values_of: _Formed, raw: dict[str, Any], country: str, stated: bool) -> Values:
    fields: dict[str, Any] = {}
    dropped: list[Reason] = []
    for name, given in raw.items():
        try:
            fields[name] = canonical(name, given, country=country)
        except BadInput as error:
            dropped.append(Reason(error.code, "", field=name))
    if dropped and (shown := traces(raw, fields, dropped)):
        return compared(fields | {TRACES: shown})
    if not fields:
        return _NOTHING
    if stated:
        fields["country"] = country
    return values_of(fields)


def _several(raw: dict[str, Any], country: str, _stated: bool) -> Values:
    (name,) = raw
    values, dropped = canonical_list(name, raw[name], country=country)
    if values:
        return {name: tuple(sorted(values[: limits.IDENTIFIERS_PER_RECORD]))}
    shown = traces(raw, {}, dropped) if dropped else {}
    return {column: (trace,) for column, trace in shown.items()} or _NOTHING


def _attribute(column: str, kind: str, raw: dict[str, Any], _country: str, _stated: bool) -> Values:
    return attribute_columns(raw, {column: kind})


def _social(raw: dict[str, Any], country: str, _stated: bool) -> Values:
    """Handles under the names of their networks are gathered as a record gathers them."""
    try:
        fields = canonical_record({"record_id": "row", "full_name": "row", **raw}, country=country).fields
    except BadInput:
        return _NOTHING
    return {"social": tuple(sorted(fields["social"]))} if "social" in fields else _NOTHING
