"""The generator of customers of many countries: the same seed gives the same bytes, and the truth covers every row."""

from __future__ import annotations

import csv
import hashlib
from pathlib import Path

from firstring.bench.people_world import COLUMNS, records, write


def test_a_seed_gives_the_same_bytes_and_a_truth_of_every_row(tmp_path: Path) -> None:
    first, second = tmp_path / "a", tmp_path / "b"
    first.mkdir()
    second.mkdir()
    one, other = write(first, 3, 160), write(second, 3, 160)
    assert one.file.read_bytes() == other.file.read_bytes()
    assert (
        hashlib.sha256(one.file.read_bytes()).hexdigest()
        != hashlib.sha256(write(second, 4, 160).file.read_bytes()).hexdigest()
    )
    with one.file.open(encoding="utf-8") as file, one.truth.open(encoding="utf-8") as told:
        rows, truth = list(csv.DictReader(file)), list(csv.DictReader(told))
    assert tuple(rows[0]) == COLUMNS
    assert [row["record_id"] for row in rows] == [row["record_id"] for row in truth]
    assert len({row["record_id"] for row in rows}) == len(rows) == one.records
    assert len({row["person"] for row in truth}) == one.persons
    assert len({row["country"] for row in rows}) == 16
    assert all(row["full_name"] or (row["given_name"] and row["family_name"]) for row in rows)


def test_a_household_is_a_function_of_its_number() -> None:
    assert list(records(1, 7)) == list(records(1, 7))
    assert list(records(1, 7)) != list(records(1, 23))
