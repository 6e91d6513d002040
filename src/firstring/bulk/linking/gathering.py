"""Files of records to one table in canonical order, every row accounted for."""

from __future__ import annotations

import gc
import multiprocessing
import os
import signal
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from functools import lru_cache, partial
from pathlib import Path
from typing import Any, Final, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

from firstring.bulk.files.formats import SourceFile, examine
from firstring.bulk.files.mapping import FieldMap, guess_map, load_map
from firstring.bulk.files.parts import Batch, Part, Uneven, batches, by_column, cut, read_part
from firstring.bulk.files.read import sample
from firstring.bulk.linking.forms import Encoded, Formed, Forms
from firstring.errors import BadInput
from firstring.identity.comparison.columns import COLUMNS, SEVERAL, Column, Hashes, Table, counted, slots_of
from firstring.identity.comparison.spec import PERSON, Spec

COPIES: Final = 4
"""Copies of one row that are compared; they show what to do with the others."""
_PROCESSES_FROM_BYTES: Final = 2_000_000
"""Smaller files are read in this process: others would take longer to start than to work."""


class Source(NamedTuple):
    """A file to link and how it is read. Its name stands for it in the output."""

    file: SourceFile
    fields: FieldMap
    name: str
    columns: tuple[str, ...]
    attributes: tuple[tuple[str, str], ...] = ()
    """The columns of free attributes that are compared, with their kinds (`Spec.attributes`)."""


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


def sources(files: Sequence[Path], map_path: Path | None, spec: Spec = PERSON) -> list[Source]:
    """Examines the files. spec: what is going to be compared.

    Raises BadInput as files.examine and mapping.load_map do, or file_twice.
    """
    found: list[Source] = []
    attributes = tuple(spec.attributes.items())
    for path in files:
        file = examine(path)
        columns, rows = sample(file)
        known = file.format != "jsonl"
        fields = guess_map(columns, rows) if map_path is None else load_map(map_path, columns, all_columns_known=known)
        if any(file.path.resolve() == other.file.path.resolve() for other in found):
            raise BadInput("file_twice", "The file is given twice.", where={"file": str(path)}, hint="Name it once.")
        stems = [other.file.path.stem for other in found]
        found.append(Source(file, fields, path.stem if path.stem not in stems else path.name, tuple(columns), attributes))
    return found


def gather(
    given: Sequence[Source], *, country: str, told: Callable[[int, int], None] = lambda _done, _all: None
) -> Gathered:
    """Reads everything. country: of national forms where a map names none. told: (rows read, about how many in all)."""
    parts: list[Formed] = []
    owners: list[int] = []
    unusable: dict[str, int] = {}
    expected = sum(source.file.lines for source in given)
    for number, source in enumerate(given):
        before = sum(len(part.record_ids) for part in parts)
        found = _formed(source, source.fields.country or country, partial(_tell, told, before, expected))
        parts += found
        owners += [number] * len(found)
        for formed in found:
            for code, count in formed.unusable.items():
                unusable[code] = unusable.get(code, 0) + count
    sizes = [len(part.record_ids) for part in parts]
    record_ids = [one for part in parts for one in part.record_ids]
    sources_of = np.repeat(np.array(owners, np.int32), sizes)
    names = tuple(source.name for source in given)
    content = _joined([part.content for part in parts], np.uint64)
    order = _in_order(content, record_ids, sources_of, names)
    content = content[order]
    begins = np.flatnonzero(np.append(True, content[1:] != content[:-1])) if len(order) else np.zeros(0, np.int64)
    copies = np.diff(np.append(begins, len(order)))
    begin = np.repeat(begins, copies)
    kept = np.flatnonzero(np.arange(len(order)) - begin < COPIES)
    lines = _joined([part.lines for part in parts], np.int64)[order]
    table = _table([part.columns for part in parts], sizes, order[kept])
    return Gathered(
        table,
        kept,
        np.searchsorted(kept, begin),
        [record_ids[place] for place in order.tolist()],
        lines,
        sources_of[order],
        names,
        unusable,
    )


def _tell(told: Callable[[int, int], None], before: int, expected: int, rows: int) -> None:
    told(before + rows, expected)


def _in_order(
    content: Hashes, record_ids: Sequence[str], sources_of: NDArray[np.int32], names: Sequence[str]
) -> NDArray[np.int64]:
    """Rows by content, those of one content by the source's own id, then the source."""
    order = np.argsort(content, kind="stable")
    ordered = content[order]
    again = np.append(False, ordered[1:] == ordered[:-1])
    in_tie = np.flatnonzero(again | np.append(again[1:], False))
    if len(in_tie):
        rows = order[in_tie].tolist()
        keys = content[order[in_tie]].tolist()
        told = [(key, record_ids[row], names[sources_of[row]], row) for key, row in zip(keys, rows, strict=True)]
        order[in_tie] = [row for _, _, _, row in sorted(told)]
    return order


def _joined(arrays: list[NDArray[Any]], kind: Any) -> NDArray[Any]:
    return np.concatenate(arrays) if arrays else np.zeros(0, kind)


# --- one table -----------------------------------------------------------------------------------------------------


def _table(parts: list[dict[str, Encoded]], sizes: Sequence[int], order: NDArray[np.int64]) -> Table:
    """The columns of all parts under common codes, rows as `order` says. The parts are used up."""
    columns: dict[str, Column] = {}
    hashes: dict[str, Hashes] = {}
    for name in dict.fromkeys((*COLUMNS, *(name for part in parts for name in sorted(part)))):
        pieces = [part.pop(name, None) for part in parts]
        if any(pieces):
            columns[name], hashes[name] = _column(name, pieces, sizes, order)
    return Table(len(order), columns, hashes=hashes)


def _column(
    name: str, pieces: Sequence[Encoded | None], sizes: Sequence[int], order: NDArray[np.int64]
) -> tuple[Column, Hashes]:
    """One column: its values in the order of their hashes, so that codes do not depend on the order of rows."""
    given = [piece for piece in pieces if piece is not None]
    hashes, first, inverse = np.unique(
        np.concatenate([piece.hashes for piece in given]), return_index=True, return_inverse=True
    )
    ends = np.cumsum([len(piece.values) for piece in given])
    codes_of = np.split(inverse.astype(np.int32), ends[:-1])
    codes = np.concatenate([codes[piece.codes] for codes, piece in zip(codes_of, given, strict=True)])
    held = np.concatenate(
        [np.zeros(size, np.int32) if piece is None else piece.held for piece, size in zip(pieces, sizes, strict=True)]
    )
    piece_of = np.searchsorted(ends, first, side="right")
    within = first - np.append(0, ends)[piece_of]
    values = [given[piece].values[place] for piece, place in zip(piece_of.tolist(), within.tolist(), strict=True)]
    if name not in SEVERAL:
        single = np.full(len(held), -1, np.int32)
        single[held > 0] = codes
        return counted(single[order].reshape(-1, 1), values), hashes
    return counted(slots_of(codes, held, values, name)[order], values), hashes


# --- processes -----------------------------------------------------------------------------------------------------

_Job: TypeAlias = tuple[Source, str, Part | Batch]


def _formed(source: Source, country: str, told: Callable[[int], None]) -> list[Formed]:
    """The rows of a file in parts, in the order of the file. told: how many rows have been read of it."""
    parts = cut(source.file)
    if parts is not None:
        # A malformed row makes a part uneven: then the file is read in one piece, and that row is found there.
        with suppress(Uneven):
            return _collected(_worked(source, ((source, country, part) for part in parts)), told)
    return _collected(_worked(source, ((source, country, batch) for batch in batches(source.file))), told)


def _collected(parts: Iterator[Formed], told: Callable[[int], None]) -> list[Formed]:
    found: list[Formed] = []
    rows = 0
    for part in parts:
        found.append(part)
        rows += len(part.record_ids)
        told(rows)
    return found


def _worked(source: Source, jobs: Iterator[_Job]) -> Iterator[Formed]:
    processes = min(os.cpu_count() or 1, 8)
    if source.file.size_bytes < _PROCESSES_FROM_BYTES or processes < 2:
        for job in jobs:
            yield _work(job)
        return
    context = multiprocessing.get_context("fork")
    with warnings.catch_warnings():
        # Python 3.12 warns of forking beside threads, whose locks the child would find held: a worker takes none.
        warnings.simplefilter("ignore", DeprecationWarning)
        pool = context.Pool(processes, initializer=_begin)
    with pool:
        waiting: list[Any] = []
        for job in jobs:
            waiting.append(pool.apply_async(_work, (job,)))
            if len(waiting) > 2 * processes:  # bounded: the reader never runs far ahead
                yield waiting.pop(0).get()
        for one in waiting:
            yield one.get()


def _begin() -> None:
    """A worker leaves an interruption to who started it; what it makes is freed as it goes, without looking for cycles."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    gc.disable()


def _work(job: _Job) -> Formed:
    source, country, rows = job
    forms = _forms(source.fields, source.name, country, source.attributes)
    if isinstance(rows, Part):
        return forms.of(read_part(source.file, rows, source.columns if source.file.format == "csv" else forms.columns))
    return forms.of(by_column(rows, forms.columns))


@lru_cache(maxsize=1)
def _forms(fields: FieldMap, name: str, country: str, attributes: tuple[tuple[str, str], ...]) -> Forms:
    """One for each process and source: what it remembers from part to part is what makes it fast."""
    return Forms(fields, name, country, dict(attributes))
