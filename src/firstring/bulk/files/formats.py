"""What a file is, before anything of it is loaded: its format, its encoding, its columns, a digest of its content."""

from __future__ import annotations

import codecs
import csv
import hashlib
import io
import re
from pathlib import Path
from typing import Final, Literal

import msgspec

from firstring.errors import BadInput

Format = Literal["csv", "jsonl", "parquet"]

_SUFFIXES: Final[dict[str, Format]] = {
    ".csv": "csv",
    ".tsv": "csv",
    ".txt": "csv",
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".json": "jsonl",
    ".parquet": "parquet",
    ".pq": "parquet",
}
_MAGIC: Final = (
    (b"PK\x03\x04", "a ZIP archive or a spreadsheet (.xlsx)", "Save it as CSV with UTF-8 encoding."),
    (b"\x1f\x8b", "compressed with gzip", "Unpack it first."),
    (b"\x28\xb5\x2f\xfd", "compressed with zstd", "Unpack it first."),
    (b"%PDF", "a PDF document", "Export the data as CSV."),
    (b"\xd0\xcf\x11\xe0", "an old Office document (.xls)", "Save it as CSV with UTF-8 encoding."),
    (b"SQLite format 3", "an SQLite database", "Export the table as CSV."),
)
_UTF16: Final = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)
_CHUNK_BYTES: Final = 1 << 20
_SAMPLE_CHARS: Final = 1 << 16
_SAMPLE_ROWS: Final = 50
_DELIMITERS: Final = (",", ";", "\t", "|")
_LOOKS_LIKE_DATA = re.compile(r"[^@\s]+@[^@\s]+\.[a-z]+|\+?\d[\d ().\-/]{5,}|\d{4}-\d\d-\d\d.*")


class SourceFile(msgspec.Struct, frozen=True):
    """A file that can be read. `lines` bounds the rows (its text lines, or the rows of Parquet); digest is SHA-256."""

    path: Path
    format: Format
    size_bytes: int
    lines: int
    digest: bytes
    delimiter: str = ","


def examine(path: Path) -> SourceFile:
    """Reads the whole file once: digest, lines, encoding.

    Raises BadInput file_missing, file_unreadable, file_empty, unknown_format or wrong_encoding.
    """
    try:
        with path.open("rb") as file:
            head = file.read(64)
            if not head:
                raise BadInput("file_empty", "The file is empty.", where={"file": str(path)}, hint="Export it again.")
            kind = _format(path, head)
            file.seek(0)
            digest, size, lines = _scan(path, file, text=kind != "parquet")
    except FileNotFoundError:
        raise BadInput(
            "file_missing", "There is no such file.", where={"file": str(path)}, hint="Check the path.", http_status=404
        ) from None
    except OSError as error:
        raise BadInput(
            "file_unreadable",
            f"The file cannot be read: {error.strerror or type(error).__name__}.",
            where={"file": str(path)},
            hint="It must be a regular file that this user may read.",
        ) from error
    delimiter = _delimiter(path) if kind == "csv" else ","
    return SourceFile(path, kind, size, lines, digest, delimiter)


def _format(path: Path, head: bytes) -> Format:
    if head.startswith(b"PAR1"):
        return "parquet"
    for magic, what, hint in _MAGIC:
        if head.startswith(magic):
            raise _unknown_format(path, f"The file is {what}.", hint)
    if head.startswith(_UTF16):
        raise BadInput(
            "wrong_encoding",
            "The file is UTF-16.",
            where={"file": str(path), "line": 1},
            hint=f"Convert it: iconv -f UTF-16 -t UTF-8 {path.name} > utf8-{path.name}",
        )
    kind = _SUFFIXES.get(path.suffix.lower())
    if kind == "parquet":
        raise _unknown_format(path, "The file is named as Parquet but is none.", "Write it again; it may be cut off.")
    if kind is None:
        raise _unknown_format(
            path, "The file's format is not known by its name.", "Name it .csv, .tsv, .jsonl, .ndjson or .parquet."
        )
    if path.suffix.lower() == ".json" and not head.removeprefix(codecs.BOM_UTF8).lstrip().startswith(b"{"):
        raise _unknown_format(path, "The file is one JSON document.", "Write one object a line (JSONL): jq -c '.[]'")
    return kind


def _unknown_format(path: Path, message: str, hint: str) -> BadInput:
    return BadInput("unknown_format", message, where={"file": str(path)}, hint=hint)


def _scan(path: Path, file: io.BufferedReader, *, text: bool) -> tuple[bytes, int, int]:
    """(digest, bytes, lines). Text must be UTF-8 from the first byte to the last: nothing is loaded of a garbled file."""
    digest = hashlib.sha256()
    decoder = codecs.getincrementaldecoder("utf-8")()
    size = lines = 0
    blank = ended = True
    while True:
        chunk = file.read(_CHUNK_BYTES)
        digest.update(chunk)
        if text:
            pending = len(decoder.getstate()[0])
            try:
                decoder.decode(chunk, final=not chunk)
            except UnicodeDecodeError as error:
                at = size - pending + error.start
                line = lines + chunk.count(b"\n", 0, max(error.start - pending, 0)) + 1
                raise _not_utf8(path, at, line, error.object[error.start]) from None
            blank = blank and not chunk.removeprefix(codecs.BOM_UTF8).strip()
        if not chunk:
            break
        size += len(chunk)
        lines += chunk.count(b"\n")
        ended = chunk.endswith(b"\n")
    if text and blank:
        raise BadInput("file_empty", "The file holds only white space.", where={"file": str(path)}, hint="Export it again.")
    return digest.digest(), size, lines + (not ended)


def _not_utf8(path: Path, at: int, line: int, byte: int) -> BadInput:
    return BadInput(
        "wrong_encoding",
        f"The file is not UTF-8: byte 0x{byte:02x} at offset {at}, line {line}. Nothing was loaded.",
        where={"file": str(path), "line": line, "byte": at},
        hint=f"If it is Windows-1252 or Latin-1: iconv -f WINDOWS-1252 -t UTF-8 {path.name} > utf8-{path.name}",
    )


def _delimiter(path: Path) -> str:
    """The delimiter that splits the first rows most often and most evenly; a comma when nothing splits them."""
    with path.open(encoding="utf-8-sig", newline="") as file:
        sample = file.read(_SAMPLE_CHARS)
    best, best_score = ",", 0.0
    for delimiter in _DELIMITERS:
        widths: list[int] = []
        try:
            for row in csv.reader(io.StringIO(sample, newline=""), delimiter=delimiter):
                if row:
                    widths.append(len(row))
                if len(widths) > _SAMPLE_ROWS:
                    break
        except csv.Error:
            pass  # a malformed row is no reason not to know the delimiter of those before it
        if not widths or widths[0] < 2:
            continue
        even = sum(width == widths[0] for width in widths) / len(widths)
        score = even * (1 + min(widths[0], 100) / 1000)
        if score > best_score:
            best, best_score = delimiter, score
    return best


def checked_header(path: Path, header: list[str]) -> list[str]:
    """Column names out of a header row. Raises BadInput duplicate_column or header_missing."""
    names = [name.strip() or f"column_{number}" for number, name in enumerate(header, 1)]
    if any(_LOOKS_LIKE_DATA.fullmatch(name) for name in names):
        raise BadInput(
            "header_missing",
            "The first row looks like data, not like column names.",
            where={"file": str(path), "line": 1},
            hint="Put a first row with a name for every column.",
        )
    for number, name in enumerate(names):
        if name in names[:number]:
            raise BadInput(
                "duplicate_column",
                f"Two columns have the name {name!r}.",
                where={"file": str(path), "line": 1, "column": number + 1},
                hint="Give every column a name of its own.",
            )
    return names
