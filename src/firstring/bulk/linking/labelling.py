"""A file of labels for `firstring train --labels`: answers about pairs of records, and what came of them.

CSV with a header: left_id, right_id, answer (same, household, different; unknown says nothing), and where records of
several files have one id, left_source and right_source. sampling_probability and pool_pairs, as clerical review writes
them, say how likely the pair was to be asked about; without them every answer counts alike.
"""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table as Shown

from firstring.bulk.linking.gathering import Gathered
from firstring.bulk.versions.storelink import Stored
from firstring.errors import BadInput
from firstring.identity.model.labels import Labelled, LabelReport
from firstring.identity.persons.clustering import connected

ANSWERS: Final = ("same", "household", "different", "unknown")
_COLUMNS: Final = ("left_id", "right_id", "answer")
_REJECTS_SHOWN: Final = 10
_LARGE: Final = 0.1
"""Nats of change of a weight from which on it is shown."""


class LabelReject(NamedTuple):
    """A label that is not used: the line of the file (from 1), a code, and why in words."""

    line: int
    code: str
    reason: str


class LabelsRead(NamedTuple):
    """What a file gave: answers about rows of the table, those not used, and how many said nothing."""

    labelled: Labelled
    rejects: tuple[LabelReject, ...]
    unknown: int


class _Answer(NamedTuple):
    line: int
    left: int
    right: int
    answer: str
    weight: float


def read_labels(path: Path, gathered: Gathered) -> LabelsRead:
    """Raises BadInput labels_unreadable, labels_columns, or labels_unusable when no label is left."""
    rows = _read(path)
    places = _places(gathered, rows)
    answers: list[_Answer] = []
    rejects: list[LabelReject] = []
    unknown = 0
    for line, row in rows:
        answer = (row.get("answer") or "").strip().lower()
        if answer not in ANSWERS:
            rejects.append(LabelReject(line, "answer_unknown", f"the answer is none of {', '.join(ANSWERS)}"))
            continue
        if answer == "unknown":
            unknown += 1
            continue
        try:
            left, right = (_place(row, side, places) for side in ("left", "right"))
            if left == right:
                raise _Unusable("record_twice", "both sides are one record")
            answers.append(_Answer(line, min(left, right), max(left, right), answer, _weight(row)))
        except _Unusable as found:
            rejects.append(LabelReject(line, found.code, found.reason))
    read = _consistent(answers, rejects, unknown)
    if not len(read.labelled.same):
        raise BadInput(
            "labels_unusable",
            "No label can be used.",
            where={"file": str(path), "labels": len(rows), "first": rejects[0].reason if rejects else "the file is empty"},
            hint="Ids are those of the files trained on; answers are same, household or different.",
        )
    return read


def stored_labels(answers: Sequence[Mapping[str, Any]], stored: Stored) -> LabelsRead:
    """The answers of clerical review about records of a store that are still there; `line` is the answer's number.

    answers: answer_id, left_record, right_record (None where a record is gone), answer, sampling_probability, pool_pairs.
    """
    row_of = {int(record): row for row, record in enumerate(stored.record_ids.tolist())}
    table_row = _table_rows(stored.kept, stored.first)
    found: list[_Answer] = []
    rejects: list[LabelReject] = []
    unknown = 0
    for one in answers:
        sides = [row_of.get(one[side] or 0) for side in ("left_record", "right_record")]
        if one["answer"] == "unknown":
            unknown += 1
        elif sides[0] is None or sides[1] is None:
            rejects.append(LabelReject(one["answer_id"], "record_unknown", "a record is gone"))
        elif (left := int(table_row[sides[0]])) == (right := int(table_row[sides[1]])):
            rejects.append(LabelReject(one["answer_id"], "record_twice", "both sides are copies of one record"))
        else:
            weight = 1.0 / (one["sampling_probability"] * one["pool_pairs"])
            found.append(_Answer(one["answer_id"], min(left, right), max(left, right), one["answer"], weight))
    return _consistent(found, rejects, unknown)


class _Unusable(Exception):
    def __init__(self, code: str, reason: str) -> None:
        super().__init__(reason)
        self.code, self.reason = code, reason


def _read(path: Path) -> list[tuple[int, dict[str, str]]]:
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            reader = csv.DictReader(file)
            columns = reader.fieldnames or ()
            rows = [(reader.line_num, row) for row in reader]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise BadInput(
            "labels_unreadable",
            f"The labels cannot be read: {error}.",
            where={"file": str(path)},
            hint="A CSV file in UTF-8 with a header.",
        ) from error
    missing = [name for name in _COLUMNS if name not in columns]
    if missing:
        raise BadInput(
            "labels_columns",
            f"The labels have no column {', '.join(missing)}.",
            where={"file": str(path), "columns": list(columns)},
            hint="The columns are left_id, right_id, answer and, where ids alone do not tell, left_source and right_source.",
        )
    return rows


def _places(gathered: Gathered, rows: Sequence[tuple[int, Mapping[str, str]]]) -> dict[str, list[tuple[str, int]]]:
    """For each id that a label names: (source, row of the table). A copy left out of the table stands for its first."""
    wanted = {row.get(name) or "" for _, row in rows for name in ("left_id", "right_id")}
    table_row = _table_rows(gathered.kept, gathered.first)
    found: dict[str, list[tuple[str, int]]] = {}
    for row, record_id in enumerate(gathered.record_ids):
        if record_id in wanted:
            found.setdefault(record_id, []).append((gathered.names[int(gathered.sources[row])], int(table_row[row])))
    return found


def _table_rows(kept: NDArray[np.int64], first: NDArray[np.int64]) -> NDArray[np.int64]:
    """For every record its row of the table; of a copy that was left out that of the first."""
    found = first.copy()
    found[kept] = np.arange(len(kept))
    return found


def _place(row: Mapping[str, str], side: str, places: Mapping[str, list[tuple[str, int]]]) -> int:
    record_id, source = row.get(f"{side}_id") or "", row.get(f"{side}_source") or ""
    found = {at for name, at in places.get(record_id, ()) if not source or name == source}
    if not found:
        raise _Unusable("record_unknown", f"no record {record_id!r}" + (f" in {source!r}" if source else ""))
    if len(found) > 1:
        raise _Unusable("record_ambiguous", f"several records {record_id!r}: {side}_source would tell them apart")
    return found.pop()


def _weight(row: Mapping[str, str]) -> float:
    drawn, pool = row.get("sampling_probability"), row.get("pool_pairs")
    if not drawn:
        return 1.0
    try:
        chance = float(drawn) * float(pool or 1.0)
    except ValueError:
        chance = 0.0
    if not 0.0 < chance < float("inf"):
        raise _Unusable("sampling_invalid", "sampling_probability and pool_pairs are numbers above 0")
    return 1.0 / chance


def _consistent(answers: Sequence[_Answer], rejected: Sequence[LabelReject], unknown: int) -> LabelsRead:
    """Without answers that contradict each other, repeated ones once."""
    by_pair: dict[tuple[int, int], list[_Answer]] = {}
    for one in answers:
        by_pair.setdefault((one.left, one.right), []).append(one)
    rejects = list(rejected)
    kept: list[_Answer] = []
    for several in by_pair.values():
        if len({one.answer == "same" for one in several}) > 1:
            lines = ", ".join(str(one.line) for one in several)
            rejects += [LabelReject(one.line, "labels_contradict", f"lines {lines} say both of one pair") for one in several]
        else:
            kept.append(several[0])
    rows = 1 + max((one.right for one in kept), default=0)
    same = [one for one in kept if one.answer == "same"]
    root = connected(rows, [one.left for one in same], [one.right for one in same])
    usable: list[_Answer] = []
    for one in kept:
        if one.answer != "same" and root[one.left] == root[one.right]:
            rejects.append(LabelReject(one.line, "labels_contradict", "other labels together make the two one person"))
        else:
            usable.append(one)
    labelled = Labelled(
        np.array([one.left for one in usable], np.int64),
        np.array([one.right for one in usable], np.int64),
        np.array([one.answer == "same" for one in usable], bool),
        np.array([one.weight for one in usable], np.float64),
    )
    return LabelsRead(labelled, tuple(sorted(rejects)), unknown)


# --- what is said --------------------------------------------------------------------------------------------------


def show_labels(console: Console, read: LabelsRead, report: LabelReport) -> None:
    """Rejected labels, then what the labels changed."""
    if read.unknown:
        console.print(f"{read.unknown:,} labels say nothing (unknown)", highlight=False, soft_wrap=True)
    for reject in read.rejects[:_REJECTS_SHOWN]:
        console.print(
            f"label not used, line {reject.line}: {reject.reason} ({reject.code})",
            highlight=False,
            markup=False,
            soft_wrap=True,
        )
    if len(read.rejects) > _REJECTS_SHOWN:
        console.print(f"and {len(read.rejects) - _REJECTS_SHOWN:,} more labels not used", highlight=False, soft_wrap=True)
    losses = ", ".join(f"{step} {loss:.4f}" for step, loss in report.losses.items())
    changed = {
        "nothing": "the labels change nothing",
        "calibration": "the labels correct the calibration",
        "weights": "the labels correct weights and calibration",
    }[report.taken]
    console.print(
        f"{report.labels:,} labels ({report.same:,} same): {changed}; log loss of labels not seen: {losses}",
        highlight=False,
        soft_wrap=True,
    )
    if report.taken == "nothing":
        return
    console.print(
        f"of the pairs compared {report.joined:,.0f} come to {report.threshold} or more, {report.parted:,.0f} fall below",
        highlight=False,
        soft_wrap=True,
    )
    shown = Shown("stated", "labels", "before", "after", "true", title="labelled pairs", title_justify="left")
    for one in report.calibration:
        cells = (f"{one.stated_before:.3f}", f"{one.stated_after:.3f}", f"{one.found:.3f}")
        shown.add_row(f"{one.low:g}-{one.high:g}", f"{one.labels:,}", *cells)
    console.print(shown)
    for change in sorted(report.weights, key=lambda one: -abs(one.after_nats - one.before_nats)):
        if abs(change.after_nats - change.before_nats) >= _LARGE:
            console.print(
                f"{change.comparison} {change.group}: weight {change.before_nats:+.2f} -> {change.after_nats:+.2f} nats",
                highlight=False,
                soft_wrap=True,
            )
