"""Rows out of CSV, JSONL and Parquet files in bounded memory, each with the line of the file it came from.

CSV is read with Python's csv module and JSONL with msgspec, because a rejected row must name its line also behind
quoted line breaks and broken rows, and one broken row must not end the import (see docs/decisions/import-readers.md).
"""

from __future__ import annotations

import csv
import io
from collections import deque
from collections.abc import Iterator, Sequence
from datetime import date
from decimal import Decimal
from itertools import islice
from pathlib import Path
from typing import Any, BinaryIO, Final, NamedTuple, TypeAlias

import msgspec

from firstring.bulk.files.formats import SourceFile, checked_header
from firstring.errors import BadInput

Cell: TypeAlias = str | list[str]
"""One value of a row, as text; a list of texts where the file itself holds a list."""

LINE_CHARS: Final = 4 * 1024 * 1024
"""A longer line is rejected without being held in memory."""
CELL_CHARS: Final = 131_072
"""A row with a longer cell is rejected (the csv module's own bound)."""
_PARQUET_ROWS: Final = 2_000
_NESTING: Final = 4


class Row(NamedTuple):
    """One row: `line` is where it begins in the file (from 1), the row's number for Parquet. Empty cells are left out."""

    line: int
    cells: dict[str, Cell]


class BadRow(NamedTuple):
    """A row that could not be read, or not be used."""

    line: int
    code: str
    reason: str
    field: str | None = None
    value: str = ""


def read_rows(file: SourceFile) -> Iterator[Row | BadRow]:
    """All rows in the order of the file. Raises BadInput file_empty, header_missing, duplicate_column, file_damaged."""
    if file.format == "csv":
        return _read_csv(file)
    if file.format == "jsonl":
        return _read_jsonl(file)
    return _read_parquet(file)


def sample(file: SourceFile, rows: int = 1_000) -> tuple[list[str], list[dict[str, Cell]]]:
    """(columns, cells of the first good rows). Raises BadInput file_empty when there is no row at all."""
    found: list[dict[str, Cell]] = []
    any_row = False
    for row in islice(read_rows(file), rows):
        any_row = True
        if isinstance(row, Row):
            found.append(row.cells)
    if not any_row:
        raise BadInput("file_empty", "The file holds no rows.", where={"file": str(file.path)}, hint="Export it again.")
    if file.format == "csv":
        columns = _csv_header(file)
    elif file.format == "parquet":
        columns = _parquet_columns(file)
    else:
        columns = list(dict.fromkeys(name for cells in found for name in cells))
    return columns, found


# --- CSV ---------------------------------------------------------------------------------------------------------


class _TooLong(Exception):
    """A line of more than LINE_CHARS."""


class _Lines:
    """The lines of a text file, with those of the row being read kept so that they can be read again."""

    def __init__(self, file: io.TextIOWrapper) -> None:
        self._readline = file.readline
        self._again: deque[str] = deque()
        self.taken: list[str] = []
        self.number = 0

    def __iter__(self) -> _Lines:
        return self

    def __next__(self) -> str:
        line = self._again.popleft() if self._again else self._readline(LINE_CHARS)
        if not line:
            raise StopIteration
        self.number += 1
        self.taken.append(line)
        if len(line) >= LINE_CHARS and not line.endswith(("\n", "\r")):
            while len(rest := self._readline(LINE_CHARS)) >= LINE_CHARS and not rest.endswith(("\n", "\r")):
                continue
            raise _TooLong
        return line

    @property
    def first(self) -> int:
        """The line on which the present row began."""
        return self.number - len(self.taken) + 1

    def give_back(self) -> None:
        """All but the first line of the present row will be read again: one stray quote must not swallow them."""
        rest = self.taken[1:]
        self._again.extendleft(reversed(rest))
        self.number -= len(rest)
        del self.taken[1:]


def _open_csv(path: Path) -> io.TextIOWrapper:
    return path.open(encoding="utf-8-sig", newline="")


def _csv_header(file: SourceFile) -> list[str]:
    with _open_csv(file.path) as text:
        try:
            header = next((row for row in csv.reader(_Lines(text), delimiter=file.delimiter, strict=True) if row), [])
        except (csv.Error, _TooLong) as error:
            raise BadInput(
                "header_missing",
                "The row of column names cannot be read.",
                where={"file": str(file.path), "line": 1},
                hint="Look for a stray quotation mark or a very long line.",
            ) from error
    return checked_header(file.path, header)


def _read_csv(file: SourceFile) -> Iterator[Row | BadRow]:
    header = _csv_header(file)
    width = len(header)
    with _open_csv(file.path) as text:
        lines = _Lines(text)
        reader = csv.reader(lines, delimiter=file.delimiter, strict=True)
        for row in reader:
            if row:
                break
        while True:
            lines.taken.clear()
            try:
                cells = next(reader)
            except StopIteration:
                return
            except csv.Error as error:
                yield _csv_error(lines, header, file.delimiter, str(error))
                lines.give_back()
                continue
            except _TooLong:
                yield BadRow(lines.number, "line_too_long", f"The line has more than {LINE_CHARS} characters.")
                continue
            if not cells:
                continue
            if len(cells) != width:
                reason = f"The row has {len(cells)} cells, the header {width}."
                yield BadRow(lines.first, "column_count", reason, value=_cut(lines.taken[0]))
                lines.give_back()
                continue
            yield Row(
                lines.first, {name: cell for name, cell in zip(header, cells, strict=True) if cell and not cell.isspace()}
            )


def _csv_error(lines: _Lines, header: Sequence[str], delimiter: str, message: str) -> BadRow:
    first = lines.taken[0]
    if len(first) > CELL_CHARS and "field limit" in message:
        column = _long_cell(first, delimiter)
        field = header[column] if column < len(header) else None
        return BadRow(lines.first, "field_too_long", f"A cell has more than {CELL_CHARS} characters.", field)
    reason = (
        "A quotation mark is not closed." if len(lines.taken) > 1 or "end of data" in message else f"Malformed: {message}."
    )
    return BadRow(lines.first, "malformed_row", reason, value=_cut(first))


def _long_cell(line: str, delimiter: str) -> int:
    """The index of the first cell of more than CELL_CHARS in a line."""
    start = column = 0
    quoted = False
    for position, character in enumerate(line):
        if character == '"':
            quoted = not quoted
        elif character == delimiter and not quoted:
            column, start = column + 1, position + 1
        if position - start > CELL_CHARS:
            break
    return column


def _cut(text: str) -> str:
    return text[:1_000].rstrip("\r\n")


# --- JSONL -------------------------------------------------------------------------------------------------------


def _read_jsonl(file: SourceFile) -> Iterator[Row | BadRow]:
    with file.path.open("rb") as binary:
        yield from json_rows(binary, 0)


def read_objects(file: SourceFile) -> Iterator[tuple[int, dict[str, Any] | BadRow]]:
    """(line, object) of a JSONL file, nothing flattened."""
    with file.path.open("rb") as binary:
        yield from _objects(binary, 0)


def json_rows(binary: BinaryIO, lines_before: int) -> Iterator[Row | BadRow]:
    """The rows of JSONL of which so many lines have been read elsewhere."""
    for number, decoded in _objects(binary, lines_before):
        yield decoded if isinstance(decoded, BadRow) else _json_row(number, decoded)


def _objects(binary: BinaryIO, number: int) -> Iterator[tuple[int, dict[str, Any] | BadRow]]:
    decode = msgspec.json.Decoder().decode
    while line := binary.readline(LINE_CHARS):
        number += 1
        if len(line) >= LINE_CHARS and not line.endswith(b"\n"):
            while len(rest := binary.readline(LINE_CHARS)) >= LINE_CHARS and not rest.endswith(b"\n"):
                continue
            yield number, BadRow(number, "line_too_long", f"The line has more than {LINE_CHARS} bytes.")
            continue
        line = line.removeprefix(b"\xef\xbb\xbf").strip() if number == 1 else line.strip()
        if not line:
            continue
        try:
            decoded = decode(line)
        except (msgspec.DecodeError, RecursionError) as error:
            yield number, BadRow(number, "malformed_json", f"Not JSON: {error}.", value=_cut(line.decode()))
            continue
        if isinstance(decoded, dict):
            yield number, decoded
        else:
            yield number, BadRow(number, "malformed_json", "Not a JSON object.", value=_cut(line.decode()))


def _json_row(line: int, decoded: dict[str, Any]) -> Row | BadRow:
    cells: dict[str, Cell] = {}
    _flatten(decoded, "", cells, _NESTING)
    for name, cell in cells.items():
        if len(cell) > CELL_CHARS:
            return BadRow(line, "field_too_long", f"A value has more than {CELL_CHARS} characters.", name)
    return Row(line, cells)


def _flatten(decoded: dict[str, Any], prefix: str, cells: dict[str, Cell], depth: int) -> None:
    """Objects become dotted names (address.city), lists of plain values stay lists, anything deeper becomes JSON text."""
    for name, value in decoded.items():
        if isinstance(value, dict) and depth > 1:
            _flatten(value, f"{prefix}{name}.", cells, depth - 1)
            continue
        cell = _cell(value)
        if cell:
            cells[prefix + name] = cell


def _cell(value: object) -> Cell | None:
    if isinstance(value, list | tuple):
        if any(isinstance(part, dict | list) for part in value):
            return msgspec.json.encode(value).decode()
        return [text for text in map(_text, value) if text]
    if isinstance(value, dict):
        return msgspec.json.encode(value).decode()
    return _text(value)


def _text(value: object) -> str | None:
    if value is None or value == "":
        return None
    if isinstance(value, str):
        return None if value.isspace() else value
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float) and value.is_integer():
        return str(int(value))  # a reader that guessed a number for 1042 meant 1042, not 1042.0
    if isinstance(value, date):  # datetime is one too
        return value.isoformat()
    if isinstance(value, Decimal):
        return format(value.normalize(), "f")
    if isinstance(value, bytes):
        return value.decode("utf-8", "replace")
    return str(value)


# --- Parquet -----------------------------------------------------------------------------------------------------


def _parquet(file: SourceFile, what: str) -> Any:
    import duckdb  # takes a quarter of a second: only who reads Parquet pays

    connection = duckdb.connect(config={"memory_limit": "512MB", "threads": 1, "preserve_insertion_order": True})
    try:
        return connection.execute(f"select {what} from read_parquet(?)", [str(file.path)])  # noqa: S608 - a constant
    except duckdb.Error as error:
        raise _damaged(file, error) from error


def _damaged(file: SourceFile, error: Exception) -> BadInput:
    return BadInput(
        "file_damaged",
        f"The Parquet file cannot be read ({type(error).__name__}).",
        where={"file": str(file.path)},
        hint="It may be cut off: copy or write it again.",
    )


def _parquet_columns(file: SourceFile) -> list[str]:
    return [column[0] for column in _parquet(file, "*").description]


def _read_parquet(file: SourceFile) -> Iterator[Row | BadRow]:
    import duckdb

    cursor = _parquet(file, "*")
    names = checked_header(file.path, [column[0] for column in cursor.description])
    number = 0
    try:
        while rows := cursor.fetchmany(_PARQUET_ROWS):
            for values in rows:
                number += 1
                yield _json_row(number, dict(zip(names, values, strict=True)))
    except duckdb.Error as error:
        raise _damaged(file, error) from error


def parquet_rows(file: SourceFile) -> int:
    """How many rows a Parquet file has, out of its footer."""
    return int(_parquet(file, "count(*)").fetchone()[0])
