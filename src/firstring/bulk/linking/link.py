"""Linking files of records: read, plan, train or load a model, compare, cluster, write. No store, key or server."""

from __future__ import annotations

import csv
import os
import tempfile
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final, NamedTuple, Protocol

import msgspec
import numpy as np
from numpy.typing import NDArray

from firstring import limits
from firstring.bulk.linking.gathering import Gathered
from firstring.bulk.linking.pairs import Pairs
from firstring.bulk.linking.plan import Plan
from firstring.bulk.linking.sampling import observe, seen_pairs
from firstring.errors import BadInput
from firstring.identity.comparison.columns import Table
from firstring.identity.comparison.levels import active
from firstring.identity.comparison.spec import CLASSES, Comparison, Spec
from firstring.identity.model.model import Model, weights
from firstring.identity.model.training import trained
from firstring.identity.persons.clustering import LIKELY, Rules, clusters_by_rules, components
from firstring.identity.persons.guards import contradictions

_PAIR_COLUMNS: Final = ("left_source", "left_id", "right_source", "right_id", "probability", "against", "prior")


class Progress(Protocol):
    """Told of steps: `done` of `whole` units of a step are done."""

    def __call__(self, step: str, done: int, whole: int) -> None: ...


class Linked(msgspec.Struct, frozen=True):
    """What linking came to."""

    records: int
    persons: int
    largest_person: int
    candidate_pairs: int
    linked_pairs: int
    model_version: str


def model_of(plan: Plan, table: Table, pairs: Pairs, spec: Spec, told: Progress) -> Model:
    """Trains a model on the pairs of all keys, or a sample of them; then the pairs of the plan are gathered and compared.

    Raises BadInput nothing_to_compare when no two records share any key.
    """
    comparisons = active(spec, table)
    seen = seen_pairs(spec, table, told=lambda done, whole: told("sampling", done, whole))
    if not len(seen.left):
        raise _nothing_to_compare(table.rows, len(spec.keys))
    observed = observe(comparisons, table, seen, lambda done, whole: told("comparing the sample", done, whole))
    told("training", 0, 1)
    model = trained(spec, comparisons, table, observed)
    told("training", 1, 1)
    compare(plan, comparisons, table, pairs, told)
    return model


def compare(plan: Plan, comparisons: tuple[Comparison, ...], table: Table, pairs: Pairs, told: Progress) -> None:
    """Gathers and compares the candidate pairs."""
    pairs.gather(plan, table, lambda done, whole: told("pairs", done, whole))
    if not pairs.count:
        raise _nothing_to_compare(table.rows, len(plan.keys))
    pairs.compare(comparisons, table, lambda done, whole: told("comparing", done, whole))


def _nothing_to_compare(rows: int, keys: int) -> BadInput:
    return BadInput(
        "nothing_to_compare",
        "No two records share anything by which they could be compared.",
        where={"records": rows, "keys": keys},
        hint="Check the map: are names, birth dates, phones, e-mail addresses mapped to their fields?",
    )


class Persons(NamedTuple):
    """The person of every row (of all rows, not only those kept), numbered from 1 in canonical order.

    held: guard -> merges that it held back (identity/persons/guards).
    """

    person: NDArray[np.int64]
    held: dict[str, int]


def persons(gathered: Gathered, pairs: Pairs, model: Model, threshold: float) -> Persons:
    """Who is one person, by the rules by which a store finds it."""
    odds = float(np.log(threshold / (1.0 - threshold)))
    root = components(gathered.table.rows, pairs.edges(), min(odds, LIKELY))
    left, right, log_odds, patterns = pairs.within(root)
    barred: dict[tuple[int, int], str] = {}
    for code, places in contradictions(model, patterns):
        for pair in zip(left[places].tolist(), right[places].tolist(), strict=True):
            barred.setdefault(pair, code)
    many = np.flatnonzero(np.bincount(root[left], minlength=len(root))[root] >= limits.PERSON_CONTENTS)
    content = dict(
        zip(many.tolist(), gathered.first[gathered.kept[many]].tolist(), strict=True)
    )  # copies have one first row
    rules = Rules((), barred, content, limits.PERSON_CONTENTS)
    root, held = clusters_by_rules(root, (left, right, log_odds), odds, rules)
    return Persons(numbered(gathered, root), dict(Counter(one.code for one in held)))


def numbered(gathered: Gathered, root: NDArray[np.int32]) -> NDArray[np.int64]:
    """Numbers of persons for all rows. Copies left out of the table go with the first, if the second copy did."""
    rows = len(gathered.record_ids)
    owner = np.full(rows, -1, np.int64)
    owner[gathered.kept] = gathered.kept[root]
    left_out = np.flatnonzero(owner < 0)
    first = gathered.first[left_out]
    together = root[first] == root[first + 1]
    owner[left_out] = np.where(together, gathered.kept[root[first]], left_out)
    return np.unique(owner, return_inverse=True)[1].astype(np.int64) + 1


@contextmanager
def working_folder() -> Iterator[Path]:
    """A folder for what does not fit into memory; gone afterwards, whatever happens."""
    with tempfile.TemporaryDirectory(prefix="firstring-link-") as folder:
        yield Path(folder)


# --- output --------------------------------------------------------------------------------------------------------


def check_output(path: Path) -> None:
    """Raises BadInput output_format unless the name ends in .csv or .parquet, output_folder when it has no folder."""
    if path.suffix.lower() not in (".csv", ".parquet"):
        where = {"file": str(path)}
        raise BadInput("output_format", "The output is CSV or Parquet.", where=where, hint="Name it .csv or .parquet.")
    if not path.parent.is_dir():
        where = {"file": str(path)}
        raise BadInput("output_folder", "The output's folder is not there.", where=where, hint="Make it first.")


@contextmanager
def whole(*paths: Path | None) -> Iterator[list[Path]]:
    """Paths to write to, which become `paths` when all are written: no half output is ever taken for a whole one.

    A path that is None has one to write to as well, which is not used.
    """
    parts = [(path or Path("none")) for path in paths]
    parts = [path.with_name(f".{path.stem}.{os.getpid()}{path.suffix}") for path in parts]
    try:
        yield parts
        for path, part in zip(paths, parts, strict=True):
            if path is not None:
                part.replace(path)
    finally:
        for part in parts:
            part.unlink(missing_ok=True)


def write_persons(path: Path, gathered: Gathered, person: NDArray[np.int64]) -> None:
    """record_id, person_id, source and line of every row, in the order of the files."""
    order = np.lexsort((gathered.lines, gathered.sources))
    columns = (
        _ids(gathered, order), person[order].tolist(), _names(gathered, order), gathered.lines[order].tolist(),
    )  # fmt: skip
    rows = zip(*columns, strict=True)
    _write(path, ("record_id", "person_id", "source", "line"), rows)


def write_pairs(path: Path, gathered: Gathered, pairs: Pairs, model: Model, probability: float) -> int:
    """The pairs from a probability on, each with the weight (nats) of every field against the likeliest other class.

    prior: what is left of the log-odds, the same for all pairs of a class but for its cell. Returns how many.
    """
    names = [comparison.name for comparison in model.comparisons()]
    count = 0

    def rows() -> Iterator[tuple[Any, ...]]:
        nonlocal count
        for part in pairs.scored(float(np.log(probability / (1 - probability)))):
            odds = part["log_odds"]
            by_field = weights(model, part["pattern"], part["rival"])
            fields = [np.round(by_field[name], 4) for name in names]
            left, right = gathered.kept[part["l"]], gathered.kept[part["r"]]
            count += len(left)
            columns = (
                _names(gathered, left), _ids(gathered, left), _names(gathered, right), _ids(gathered, right),
                np.round(1.0 / (1.0 + np.exp(-np.clip(odds, -700, 700))), 6).tolist(),
                [CLASSES[rival] for rival in part["rival"].tolist()],
                np.round(odds - np.sum(fields, axis=0), 4).tolist(), *(one.tolist() for one in fields),
            )  # fmt: skip
            yield from zip(*columns, strict=True)

    _write(path, (*_PAIR_COLUMNS, *(f"weight_{name}" for name in names)), rows())
    return count


def _ids(gathered: Gathered, rows: NDArray[np.int64]) -> list[str]:
    ids = gathered.record_ids
    return [ids[row] for row in rows.tolist()]


def _names(gathered: Gathered, rows: NDArray[np.int64]) -> list[str]:
    return [gathered.names[source] for source in gathered.sources[rows].tolist()]


def _write(path: Path, header: tuple[str, ...], rows: Iterator[tuple[Any, ...]]) -> None:
    as_csv = path if path.suffix.lower() == ".csv" else path.with_suffix(".csv.part")
    try:
        with as_csv.open("w", encoding="utf-8", newline="") as file:
            writer = csv.writer(file, lineterminator="\n")
            writer.writerow(header)
            writer.writerows(rows)
        if as_csv != path:
            _to_parquet(as_csv, path, header)
    finally:
        if as_csv != path:
            as_csv.unlink(missing_ok=True)


def _to_parquet(source: Path, target: Path, header: tuple[str, ...]) -> None:
    import duckdb

    kinds = {"person_id": "bigint", "line": "bigint", "probability": "double", "prior": "double"}
    columns = {name: kinds.get(name, "double" if name.startswith("weight_") else "varchar") for name in header}
    described = ", ".join(f"'{name}': '{kind}'" for name, kind in columns.items())
    with duckdb.connect() as connection:
        connection.execute(
            f"copy (select * from read_csv(?, header = true, columns = {{{described}}})) to "  # noqa: S608
            f"'{str(target).replace(chr(39), chr(39) * 2)}' (format parquet)",
            [str(source)],
        )


def linked(gathered: Gathered, pairs: Pairs, person: NDArray[np.int64], model: Model, linked_pairs: int) -> Linked:
    """The report."""
    sizes = np.bincount(person)
    return Linked(len(person), len(sizes) - 1, int(sizes.max()), pairs.count, linked_pairs, model.version)
