"""Which column holds which field: read from a map (TOML), or guessed from the columns' names and values.

A map:

    [fields]
    "Kundennummer" = "record_id"
    "Vorname" = "given_name"
    "Notizen" = ""              # not loaded

    [options]
    country = "DE"              # how national phone numbers are read; else the setting
    date_format = "%d/%m/%Y"    # of birth_date, where the file writes dates in a form of its own

A field that is not in the vocabulary is kept as an attribute of that name. Columns that the map does not name are not
loaded: a map says what may be kept about people.
"""

from __future__ import annotations

import difflib
import re
import tomllib
from collections.abc import Mapping, Sequence
from datetime import date, datetime
from pathlib import Path
from typing import Any, Final

import msgspec

from firstring.bulk.files.read import Cell
from firstring.errors import BadInput
from firstring.identity.canonical.fields import FIELDS, IDENTIFIERS, is_attribute
from firstring.identity.canonical.synonyms import SYNONYMS, bare

NOT_LOADED: Final = ""
_OPTIONS: Final = frozenset(("country", "date_format"))
_COUNTRY = re.compile(r"[A-Z]{2}")
_EMAIL = re.compile(r"[^@\s]+@[^@\s]+\.[^@\s]{2,}")
_PHONE = re.compile(r"(?:\+|00?)[\d][\d ().\-/]{6,20}|\(\d{2,5}\)[\d .\-/]{5,15}|\d{3}[-. ]\d{3}[-. ]\d{4}")
_DIGITS = re.compile(r"[\d ().+\-/]{6,22}")
_DATE = re.compile(r"(?:19|20)\d\d-?\d\d-?\d\d(?:[T ].*)?|\d{1,2}[-/. ]\d{1,2}[-/. ](?:19|20)\d\d")
_LOOKS: Final = {"email": re.compile(r"\S+@\S+"), "phone": _DIGITS, "birth_date": re.compile(r".*\d")}
_EXAMPLE: Final = 'Write: [fields] and lines such as "Name" = "full_name".'
_MOSTLY: Final = 0.8
_HARDLY: Final = 0.2


class Choice(msgspec.Struct, frozen=True):
    """What one column becomes, and why: field is a name of the vocabulary, another name (an attribute) or NOT_LOADED."""

    column: str
    field: str
    why: str


class FieldMap(msgspec.Struct, frozen=True):
    """Columns to fields. Without a record_id column a row is known by a digest of its content (`row_digest`)."""

    choices: tuple[Choice, ...]
    guessed: bool
    country: str | None = None
    date_format: str | None = None
    notes: tuple[str, ...] = ()

    @property
    def has_record_id(self) -> bool:
        return any(choice.field == "record_id" for choice in self.choices)

    def key(self) -> bytes:
        """What decides how the file is read, as bytes: part of the key of a resumed import."""
        pairs = sorted((choice.column, choice.field) for choice in self.choices)
        return msgspec.json.encode([pairs, self.country, self.date_format])

    def as_toml(self) -> str:
        """The map as a file that can be edited and given back with --map."""
        lines = ["[fields]"]
        lines += [f"{_quoted(choice.column)} = {_quoted(choice.field)}" for choice in self.choices]
        options = [(name, value) for name, value in (("country", self.country), ("date_format", self.date_format)) if value]
        if options:
            lines += ["", "[options]", *(f"{name} = {_quoted(value)}" for name, value in options)]
        return "\n".join(lines) + "\n"


def _quoted(text: str) -> str:
    return msgspec.json.encode(text).decode().replace("\x7f", "\\u007f")  # a JSON string is a TOML basic string


# --- a map of the user's own -------------------------------------------------------------------------------------


def load_map(path: Path, columns: Sequence[str], *, all_columns_known: bool = True) -> FieldMap:
    """The map of a file, checked against the columns.

    all_columns_known: False for JSONL, whose later rows may have columns that the first ones lack.
    Raises BadInput map_missing, map_malformed, map_unknown_column, map_field_twice or map_unknown_option.
    """
    tables = _toml(path)
    fields = tables.get("fields")
    if not isinstance(fields, dict) or not fields or not all(isinstance(field, str) for field in fields.values()):
        raise _map_error(
            path,
            "map_malformed",
            "The map has no table [fields] of text.",
            'Write: [fields] and lines such as "Name" = "full_name".',
        )
    unknown = sorted(set(tables) - {"fields", "options"})
    if unknown:
        raise _map_error(
            path, "map_malformed", f"The map has an unknown table [{unknown[0]}].", "There are [fields] and [options]."
        )
    notes: list[str] = []
    for column in fields:
        if column in columns:
            continue
        if all_columns_known:
            near = difflib.get_close_matches(column, columns, 1)
            raise _map_error(
                path,
                "map_unknown_column",
                f"The file has no column {column!r}.",
                f"Did you mean {near[0]!r}?" if near else f"Its columns: {', '.join(columns)}.",
                column=column,
            )
        notes.append(f"no row of the sample has {column!r}")
    choices = [_chosen(path, column, field.strip(), notes) for column, field in fields.items()]
    choices += [Choice(column, NOT_LOADED, "not in the map") for column in columns if column not in fields]
    _refuse_twice(path, choices)
    country, date_format = _options(path, tables.get("options", {}))
    if not any(choice.field == "record_id" for choice in choices):
        notes.append(_NO_RECORD_ID)
    return FieldMap(tuple(choices), False, country, date_format, tuple(notes))


_NO_RECORD_ID: Final = "no record_id: a row is known by its content, so a changed row becomes a new record"


def _toml(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text("utf-8"))
    except FileNotFoundError:
        raise _map_error(path, "map_missing", "There is no such map.", "Check the path of --map.") from None
    except OSError as error:
        raise _map_error(
            path, "map_missing", f"The map cannot be read: {error.strerror}.", "Check the path of --map."
        ) from error
    except UnicodeDecodeError:
        raise _map_error(path, "map_malformed", "The map is not UTF-8.", "Save it as UTF-8.") from None
    except tomllib.TOMLDecodeError as error:
        raise _map_error(
            path, "map_malformed", f"The map is not TOML: {error}.", 'Quote columns and fields: "Name" = "full_name".'
        ) from error


def _map_error(path: Path, code: str, message: str, hint: str, **where: str) -> BadInput:
    return BadInput(code, message, where={"file": str(path), **where}, hint=hint)


def _chosen(path: Path, column: str, field: str, notes: list[str]) -> Choice:
    if field == NOT_LOADED:
        return Choice(column, NOT_LOADED, "left out by the map")
    if not is_attribute(field):
        return Choice(column, field, "map")
    if field == "attributes" or len(field) > 200:
        raise _map_error(path, "map_malformed", f"{field[:40]!r} cannot be an attribute's name.", "Give it another name.")
    near = difflib.get_close_matches(field.lower().replace("-", "_").replace(" ", "_"), FIELDS, 1, 0.85)
    if near:
        notes.append(f"{field!r} is no field and is kept as an attribute; did you mean {near[0]!r}?")
    return Choice(column, field, "map, an attribute")


def _refuse_twice(path: Path, choices: Sequence[Choice]) -> None:
    taken: dict[str, str] = {}
    for choice in choices:
        if choice.field == NOT_LOADED or (choice.field in FIELDS and FIELDS[choice.field].several):
            continue
        if choice.field in taken and (choice.field in FIELDS or is_attribute(choice.field)):
            raise _map_error(
                path,
                "map_field_twice",
                f"Two columns have the field {choice.field!r}: {taken[choice.field]!r} and {choice.column!r}.",
                "Only " + ", ".join(name for name, field in FIELDS.items() if field.several) + " may have several.",
                column=choice.column,
            )
        taken[choice.field] = choice.column


def _options(path: Path, options: Any) -> tuple[str | None, str | None]:
    if (
        not isinstance(options, dict)
        or set(options) - _OPTIONS
        or not all(isinstance(value, str) for value in options.values())
    ):
        raise _map_error(
            path, "map_unknown_option", "The map has an unknown option.", f"Options: {', '.join(sorted(_OPTIONS))}."
        )
    country = options.get("country")
    if country is not None and not _COUNTRY.fullmatch(country):
        raise _map_error(path, "map_malformed", "The option country is no ISO 3166-1 alpha-2 code.", 'Write country = "GB".')
    date_format = options.get("date_format")
    if date_format is not None:
        day = date(2001, 2, 3)
        if _iso_date(day.strftime(date_format), date_format) != day.isoformat():
            raise _map_error(path, "map_malformed", "The option date_format is no date.", 'Write date_format = "%d/%m/%Y".')
    return country, date_format


_NAMES_PEOPLE: Final = frozenset(("full_name", "given_name", "family_name", *IDENTIFIERS))


# --- a guess -----------------------------------------------------------------------------------------------------


def guess_map(columns: Sequence[str], rows: Sequence[Mapping[str, Cell]]) -> FieldMap:
    """A map out of the columns' names and the values of a sample. What is not recognised is kept as an attribute.

    Raises BadInput nothing_recognised when no column names or finds a person.
    """
    choices: list[Choice] = []
    taken: set[str] = set()
    filled = {column: [_first(row[column]).strip() for row in rows if row.get(column)] for column in columns}
    record_id = _record_id(columns, rows)
    for column in columns:
        field, why = ("record_id", "name, differs by row") if column == record_id else _guess(column, filled[column])
        if field in taken and not (field in FIELDS and FIELDS[field].several):
            field, why = bare(column, "_"), f"{field} is taken"
        if field in taken and is_attribute(field):
            field = f"{field}_{len(taken)}"
        taken.add(field)
        choices.append(Choice(column, field, why))
    if not taken & {
        "full_name",
        "given_name",
        "family_name",
        "phone",
        "email",
        "account",
        "national_id",
        "device",
        "cookie",
        "social",
    }:
        raise BadInput(
            "nothing_recognised",
            "No column of the file looks like a name, a phone number, an e-mail address or another identifier.",
            where={"columns": ", ".join(columns)[:500]},
            hint='Write a map: [fields] and lines such as "column" = "phone"; give it with --map.',
        )
    notes = () if record_id is not None else (_NO_RECORD_ID,)
    return FieldMap(tuple(choices), True, notes=notes)


def _guess(column: str, values: Sequence[str]) -> tuple[str, str]:
    name = bare(column)
    field = SYNONYMS.get(name) or SYNONYMS.get(re.sub(r"\d+$", "", name)) or SYNONYMS.get(bare(column.rpartition(".")[2]))
    if field is None:
        for shape, pattern in (("email", _EMAIL), ("phone", _PHONE)):
            if values and _share(values, pattern) >= _MOSTLY and _share(values, _DATE) < _HARDLY:
                return shape, "values"
        label = bare(column, "_")
        return (label if is_attribute(label) else f"{label}_"), "not recognised, an attribute"
    looks_like = _LOOKS.get(field)
    if looks_like is not None and values and _share(values, looks_like) < _HARDLY:
        return bare(column, "_") + "_", f"named like {field}, but its values are not"
    return field, "name"


def _record_id(columns: Sequence[str], rows: Sequence[Mapping[str, Cell]]) -> str | None:
    """The column that numbers the rows: named like an id, and filled and different in most rows.

    Not in all: an id that is missing or comes twice is a fault of its row, which the import then names.
    """
    ranked = [(rank, column) for column in columns if (rank := _RECORD_ID_NAMES.get(bare(column))) is not None]
    for rank, column in sorted(ranked):
        values = {_first(row[column]) for row in rows if column in row}
        if len(values) > (_PLAIN_ID_SHARE if rank < _PLAIN_ID_NAMES else _MOSTLY) * len(rows):
            return column
    return None


_PLAIN_ID_NAMES: Final = 6
_PLAIN_ID_SHARE: Final = 0.5
_RECORD_ID_SPELLINGS: Final = (
    "recordid externalid sourceid uniqueid rowid id customerid custid clientid contactid userid uid guid uuid crmid "
    "memberid customernumber customerno customernr kundennummer kundennr kundenid klantnummer klantid numeroclient idclient "
    "numerocliente idcliente recid key"
)
_RECORD_ID_NAMES: Final = {name: rank for rank, name in enumerate(_RECORD_ID_SPELLINGS.split())}


def _first(cell: Cell) -> str:
    return cell if isinstance(cell, str) else (cell[0] if cell else "")


def _share(values: Sequence[str], pattern: re.Pattern[str]) -> float:
    """The share of values that have this form."""
    return sum(pattern.match(value) is not None for value in values) / len(values)


# --- applying it -------------------------------------------------------------------------------------------------


def mapped(cells: Mapping[str, Cell], fields: FieldMap) -> dict[str, Any]:
    """Raw values by field name; several columns of one field become a list."""
    raw: dict[str, Any] = {}
    for choice in fields.choices:
        cell = cells.get(choice.column)
        if cell is None or choice.field == NOT_LOADED:
            continue
        held = raw.get(choice.field)
        if held is None:
            raw[choice.field] = cell
        else:
            raw[choice.field] = [
                *(held if isinstance(held, list) else [held]),
                *(cell if isinstance(cell, list) else [cell]),
            ]
    if fields.date_format and isinstance(raw.get("birth_date"), str):
        raw["birth_date"] = _iso_date(raw["birth_date"], fields.date_format)
    return raw


def _listed(cell: Cell) -> list[str]:
    return cell if isinstance(cell, list) else [cell]


def _iso_date(text: str, date_format: str) -> str:
    """The date as ISO 8601, or the text as it was: canonical_record then says what is wrong with it."""
    try:
        return datetime.strptime(text.strip(), date_format).date().isoformat()  # noqa: DTZ007 - a date has no zone
    except ValueError:
        return text
