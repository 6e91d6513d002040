"""Files cut into parts that can be read apart from one another, by several processes.

A CSV file may be cut at a line break outside quotation marks. Whether a quotation mark opens or closes a cell is known
from their number so far, as long as every row is well formed: the reader of a part finds those that are not, says so,
and the file is then read from its beginning in one piece (see read.py), where one broken row costs that row alone.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Sequence
from itertools import islice
from typing import Final, NamedTuple, TypeAlias

from firstring.bulk.files.formats import SourceFile
from firstring.bulk.files.read import LINE_CHARS, BadRow, Cell, Row, json_rows, read_rows

PART_BYTES: Final = 2_000_000
BATCH_ROWS: Final = 5_000


class Part(NamedTuple):
    """Bytes `start` to `end` of a file; `lines` lines come before them."""

    start: int
    end: int
    lines: int


class Cells(NamedTuple):
    """Rows by column: `columns` has a cell or None for each row, `lines` where each begins, `bad` the code of bad rows."""

    lines: list[int]
    columns: dict[str, Sequence[Cell | None]]
    bad: list[tuple[int, str]]


Batch: TypeAlias = list[Row | BadRow]


class Uneven(Exception):
    """A part that cannot be read apart from the rest of its file."""


def cut(file: SourceFile, part_bytes: int = PART_BYTES) -> list[Part] | None:
    """The parts of a CSV or JSONL file; None where it must be read in one piece."""
    if file.format == "parquet":
        return None
    found: list[Part] = []
    start = lines = 0
    with file.path.open("rb") as binary:
        pending = b""
        while True:
            block = binary.read(part_bytes)
            pending += block
            at = len(pending) if not block else _last_break(pending, quoted=file.format == "csv")
            if file.format == "csv" and pending.count(b"\r", 0, at) != pending.count(b"\r\n", 0, at):
                return None  # a lone carriage return is a line break to the csv module
            if at:
                found.append(Part(start, start + at, lines))
                start, lines, pending = start + at, lines + pending.count(b"\n", 0, at), pending[at:]
            if not block:
                return found
            if len(pending) > part_bytes + LINE_CHARS:
                return None


def _last_break(text: bytes, *, quoted: bool) -> int:
    """Where the last line ends that ends outside quotation marks; 0 where none does."""
    at = text.rfind(b"\n") + 1
    quotes = text.count(b'"', 0, at) if quoted else 0
    while at and quotes % 2:
        before = text.rfind(b"\n", 0, at - 1) + 1
        quotes -= text.count(b'"', before, at)
        at = before
    return at


def read_part(file: SourceFile, part: Part, header: Sequence[str]) -> Cells:
    """The cells of a part. header: the columns of a CSV file, or those wanted of a JSONL file. Raises Uneven."""
    with file.path.open("rb") as binary:
        binary.seek(part.start)
        content = binary.read(part.end - part.start)
    if file.format == "jsonl":
        return by_column(list(json_rows(io.BytesIO(content), part.lines)), header)
    return _csv_cells(content.decode("utf-8-sig" if part.start == 0 else "utf-8"), part, file.delimiter, header)


def _csv_cells(text: str, part: Part, delimiter: str, header: Sequence[str]) -> Cells:
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    width = len(header)
    rows: list[list[str]] = []
    lines: list[int] = []
    bad: list[tuple[int, str]] = []
    before = part.lines
    heading = part.start == 0
    try:
        for row in reader:
            line, before = before + 1, part.lines + reader.line_num
            if len(row) == width and not heading:
                rows.append(row)
                lines.append(line)
            elif row and heading:
                heading = False
            elif row:
                if before != line:
                    raise Uneven
                bad.append((line, "column_count"))
    except csv.Error as error:
        raise Uneven from error
    cells: list[Sequence[Cell | None]] = list(zip(*rows, strict=True)) if rows else [()] * width
    return Cells(lines, dict(zip(header, cells, strict=True)), bad)


def batches(file: SourceFile) -> Iterator[Batch]:
    """All rows in one piece."""
    rows = read_rows(file)
    return iter(lambda: list(islice(rows, BATCH_ROWS)), [])


def by_column(rows: Batch, columns: Sequence[str]) -> Cells:
    """Rows as read.py gives them, by column."""
    good = [row for row in rows if isinstance(row, Row)]
    cells = [row.cells for row in good]
    return Cells(
        [row.line for row in good],
        {name: [one.get(name) for one in cells] for name in columns},
        [(row.line, row.code) for row in rows if isinstance(row, BadRow)],
    )
