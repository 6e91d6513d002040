"""Files of records to one table in canonical order, every row accounted for."""

from __future__ import annotations

import hashlib
import multiprocessing
import os
import signal
import warnings
from collections.abc import Callable, Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Any, Final, NamedTuple, TypeAlias

import msgspec
import numpy as np
from numpy.typing import NDArray

from firstring.bulk.files import SourceFile, examine
from firstring.bulk.mapping import FieldMap, guess_map, load_map, mapped
from firstring.bulk.read import BadRow, Row, read_rows, sample
from firstring.errors import BadInput
from firstring.identity.canonical import canonical, canonical_record
from firstring.identity.columns import Encoder, Table, compared

COPIES: Final = 4
"""Copies of one row that are compared; they show what to do with the others."""
_BATCH_ROWS: Final = 5_000
_PROCESSES_FROM_BYTES: Final = 2_000_000
"""Smaller files are read in this process: others would take longer to start than to work."""
_NAME_NOBODY: Final = ("birth_date", "gender", "address", "street", "house_number", "city", "postcode")
_UNREAD: Final[dict[str, tuple[str, ...]]] = {}

Ready: TypeAlias = tuple[str, int, bytes, dict[str, tuple[str, ...]], str]
"""(record id, line, digest of what is compared, what is compared, code of what was wrong or "")."""


class Source(NamedTuple):
    """A file to link and how it is read. Its name stands for it in the output."""

    file: SourceFile
    fields: FieldMap
    name: str


class Gathered(NamedTuple):
    """All rows of all files, in canonical order.

    record_ids, lines and sources (index of the file) are of all rows. The table holds those `kept`; of a row that comes
    more than COPIES times, the others are left out, and `first` says for every row the place in the table of its first
    copy. unusable counts rows with nothing to compare, by code.
    """

    table: Table
    kept: NDArray[np.int64]
    first: NDArray[np.int64]
    record_ids: list[str]
    lines: NDArray[np.int64]
    sources: NDArray[np.int32]
    names: tuple[str, ...]
    unusable: dict[str, int]


def sources(files: Sequence[Path], map_path: Path | None) -> list[Source]:
    """Examines the files. Raises BadInput as files.examine and mapping.load_map do, or file_twice."""
    found: list[Source] = []
    for path in files:
        file = examine(path)
        columns, rows = sample(file)
        known = file.format != "jsonl"
        fields = guess_map(columns, rows) if map_path is None else load_map(map_path, columns, all_columns_known=known)
        if any(file.path.resolve() == other.file.path.resolve() for other in found):
            raise BadInput("file_twice", "The file is given twice.", where={"file": str(path)}, hint="Name it once.")
        stems = [other.file.path.stem for other in found]
        found.append(Source(file, fields, path.stem if path.stem not in stems else path.name))
    return found


def gather(
    given: Sequence[Source], *, country: str, told: Callable[[int, int], None] = lambda _done, _all: None
) -> Gathered:
    """Reads everything. country: of national forms where a map names none. told: (rows read, about how many in all)."""
    encoder = Encoder()
    record_ids: list[str] = []
    lines: list[int] = []
    owners: list[int] = []
    digests = bytearray()
    unusable: dict[str, int] = {}
    expected = sum(source.file.lines for source in given)
    for number, source in enumerate(given):
        for batch in _ready(source, source.fields.country or country):
            for record_id, line, digest, values, code in batch:
                encoder.add(values)
                record_ids.append(record_id)
                lines.append(line)
                owners.append(number)
                digests += digest
                if code:
                    unusable[code] = unusable.get(code, 0) + 1
            told(encoder.rows, expected)
    keys = np.frombuffer(bytes(digests), ">u8").reshape(-1, 3).astype(np.uint64)
    order = np.lexsort((keys[:, 2], keys[:, 1], keys[:, 0]))
    content = keys[order, :2]
    begins = np.flatnonzero(np.append(True, (content[1:] != content[:-1]).any(axis=1)))
    copies = np.diff(np.append(begins, len(order)))
    begin = np.repeat(begins, copies)
    kept = np.flatnonzero(np.arange(len(order)) - begin < COPIES)
    return Gathered(
        encoder.table(order[kept]),
        kept,
        np.searchsorted(kept, begin),
        [record_ids[place] for place in order.tolist()],
        np.array(lines, np.int64)[order],
        np.array(owners, np.int32)[order],
        tuple(source.name for source in given),
        unusable,
    )


def ready_rows(rows: Sequence[Row | BadRow], fields: FieldMap, name: str, country: str) -> list[Ready]:
    """Rows in the form in which they are compared. A row that cannot be used is there with nothing to compare."""
    found: list[Ready] = []
    for row in rows:
        code = ""
        values = _UNREAD
        if isinstance(row, BadRow):
            record_id, code = f"{name}:{row.line}", row.code
        else:
            raw = mapped(row.cells, fields)
            stated = raw.get("record_id")
            # The id goes to the output as the file writes it; whether it is a good id is no matter here.
            record_id = stated if isinstance(stated, str) and stated else f"{name}:{row.line}"
            raw["record_id"] = "row"
            try:
                record = canonical_record(raw, country=country)
                values = compared(record.fields)
            except BadInput as error:
                # Without a name or an identifier a record is of no use to a store, yet a date and a place may link it.
                values = compared(_rest(raw, country)) if error.code == "nothing_usable" else _UNREAD
                code = "" if values else error.code
        found.append((record_id, row.line, _digest(record_id, name, values), values, code))
    return found


def _rest(raw: dict[str, Any], country: str) -> dict[str, str]:
    """Canonical values of the fields that name nobody; what is refused is left out."""
    fields: dict[str, str] = {}
    for name in _NAME_NOBODY:
        try:
            fields[name] = canonical(name, raw[name], country=country)
        except (KeyError, BadInput):
            continue
    return fields


def _digest(record_id: str, name: str, values: dict[str, tuple[str, ...]]) -> bytes:
    """What orders rows: what is compared first; 24 bytes."""
    content = msgspec.json.encode(sorted(values.items()))
    return (
        hashlib.blake2b(content, digest_size=16).digest()
        + hashlib.blake2b(f"{record_id}\x1f{name}".encode(), digest_size=8).digest()
    )


# --- processes -----------------------------------------------------------------------------------------------------


def _ready(source: Source, country: str) -> Iterator[list[Ready]]:
    rows = read_rows(source.file)
    jobs = ((batch, source.fields, source.name, country) for batch in iter(lambda: list(islice(rows, _BATCH_ROWS)), []))
    processes = min(os.cpu_count() or 1, 8)
    if source.file.size_bytes < _PROCESSES_FROM_BYTES or processes < 2:
        for job in jobs:
            yield _work(job)
        return
    context = multiprocessing.get_context("fork")
    with warnings.catch_warnings():
        # Python 3.12 warns of forking beside threads, whose locks the child would find held: a worker takes none.
        warnings.simplefilter("ignore", DeprecationWarning)
        pool = context.Pool(processes, initializer=signal.signal, initargs=(signal.SIGINT, signal.SIG_IGN))
    with pool:
        waiting: list[Any] = []
        for job in jobs:
            waiting.append(pool.apply_async(_work, (job,)))
            if len(waiting) > 2 * processes:  # bounded: the reader never runs far ahead
                yield waiting.pop(0).get()
        for one in waiting:
            yield one.get()


def _work(job: tuple[list[Row | BadRow], FieldMap, str, str]) -> list[Ready]:
    return ready_rows(*job)
