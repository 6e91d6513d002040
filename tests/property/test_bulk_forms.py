"""Rows by column, in parts and by several processes, become what one row at a time becomes."""

from __future__ import annotations

import csv
import io
import json
import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from firstring.bulk.files import parts
from firstring.bulk.files.read import Row, read_rows
from firstring.bulk.linking import gathering
from firstring.bulk.linking.gathering import Gathered, gather, sources
from firstring.errors import BadInput
from firstring.identity.canonical.record import canonical_record
from firstring.identity.comparison.columns import compared, content_of

_MAP = {
    "id": "record_id", "first": "given_name", "last": "family_name", "name": "full_name", "born": "birth_date",
    "home": "phone", "mobile": "phone", "mail": "email", "street": "street", "nr": "house_number", "zip": "postcode",
    "town": "city", "land": "country", "fb": "social_facebook", "acc": "account", "vip": "tier",
}  # fmt: skip
_CELLS: dict[str, tuple[str, ...]] = {
    "first": ("Ann", "Bob", "", "  ", "José", "unknown", "An\nne", 'Jo "JJ"'),
    "last": ("Lee", "van der Berg", "O'Neill, Jr", "", "Müller"),
    "name": ("", "", "Dr. Ann Lee", "王小明"),
    "born": ("1980-02-03", "1980-02-31", "31/12/1979", "1900-01-01", "", "19800203"),
    "home": ("(212) 555-0114", "+442079460018", "000-000-0000", "020 7946 0018", "12", "", "555 0114 ext 3"),
    "mobile": ("+12125550114", "", "", "2125550114;2125550199", "phone"),
    "mail": ("ann@mail.example.org", "Ann@Mail.Example.org", "noemail@example.com", "ann@", ""),
    "street": ("High Street", "Hauptstr.", ""),
    "nr": ("1", "2b", ""),
    "zip": ("10001", "SW1A1AA", "1234 ab", ""),
    "town": ("New York", "Köln", ""),
    "land": ("US", "GB", "nl", "Atlantis", ""),
    "fb": ("annlee", "", ""),
    "acc": ("K1", "K2", "0000", ""),
    "vip": ("gold", "x" * 2_000),
}  # fmt: skip


def _rows(seed: int, count: int) -> list[dict[str, str]]:
    random_ = random.Random(seed)
    return [
        {"id": f"r{number}" if random_.random() < 0.9 else "", **{name: random_.choice(of) for name, of in _CELLS.items()}}
        for number in range(count)
    ]


def _write(path: Path, rows: list[dict[str, str]]) -> Path:
    if path.suffix == ".csv":
        with path.open("w", encoding="utf-8", newline="") as file:
            writer = csv.DictWriter(file, list(_MAP))
            writer.writeheader()
            writer.writerows(rows)
    else:
        path.write_text("".join(json.dumps(row) + "\n" for row in rows), "utf-8")
    return path


def _mapping(folder: Path) -> Path:
    path = folder / "map.toml"
    path.write_text("[fields]\n" + "".join(f'{column} = "{field}"\n' for column, field in _MAP.items()))
    return path


def _plainly(path: Path, mapping: Path) -> dict[int, dict[str, tuple[str, ...]]]:
    """line -> what is compared, one row at a time by the functions that a store uses."""
    (source,) = sources([path], mapping)
    found: dict[int, dict[str, tuple[str, ...]]] = {}
    for row in read_rows(source.file):
        assert isinstance(row, Row)
        raw: dict[str, Any] = {}
        for choice in source.fields.choices:
            if choice.column in row.cells and choice.field != "tier":
                raw.setdefault(choice.field, []).append(row.cells[choice.column])
        raw = {name: cells if name in ("phone", "email") else cells[0] for name, cells in raw.items()} | {"record_id": "x"}
        try:
            found[row.line] = compared(canonical_record(raw, country="US").fields)
        except BadInput:
            continue  # of no use to a store: a date and a place may link it all the same
    return found


def _values(gathered: Gathered) -> dict[int, dict[str, tuple[str, ...]]]:
    """line -> what is compared, out of the table."""
    found: dict[int, dict[str, tuple[str, ...]]] = {}
    for place, row in enumerate(gathered.kept.tolist()):
        values: dict[str, tuple[str, ...]] = {}
        for name, column in gathered.table.columns.items():
            its = tuple(sorted(column.values[code] for code in column.codes[place].tolist() if code >= 0))
            if its:
                values[name] = its
        found[int(gathered.lines[row])] = values
    return found


@pytest.mark.parametrize("name", ["rows.csv", "rows.jsonl"])
def test_by_column_is_row_by_row(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path, mapping = _write(tmp_path / name, _rows(3, 1_500)), _mapping(tmp_path)
    monkeypatch.setattr(parts, "PART_BYTES", 7_000)
    monkeypatch.setattr(parts.cut, "__defaults__", (7_000,))
    given = sources([path], mapping)
    assert len(parts.cut(given[0].file) or ()) > 20
    here = gather(given, country="US")
    expected = _plainly(path, mapping)
    found = _values(here)
    assert len(here.record_ids) == 1_500
    assert len(expected) > 1_000
    for line, values in found.items():
        if line in expected:
            assert values == {name: tuple(sorted(its)) for name, its in expected[line].items()}
    monkeypatch.setattr(gathering, "_PROCESSES_FROM_BYTES", 0)
    apart = gather(given, country="US")
    assert apart.record_ids == here.record_ids
    assert _values(apart) == found


def test_order_is_that_of_content_whatever_the_file_says(tmp_path: Path) -> None:
    rows = _rows(5, 400)
    mapping = _mapping(tmp_path)
    for row in rows:
        row["id"] = row["id"] or "none"
    one = gather(sources([_write(tmp_path / "rows.csv", rows)], mapping), country="US")
    other = gather(sources([_write(tmp_path / "rows.csv", rows[::-1])], mapping), country="US")
    assert one.record_ids == other.record_ids
    assert {name: column.values for name, column in one.table.columns.items()} == {
        name: column.values for name, column in other.table.columns.items()
    }
    for name, column in one.table.columns.items():
        assert (column.codes == other.table.columns[name].codes).all()
    contents = [content_of(values) for _, values in sorted(_by_place(one).items())]
    assert contents == sorted(contents), "one record is put in order as a file's are"


def _by_place(gathered: Gathered) -> dict[int, dict[str, tuple[str, ...]]]:
    by_line = _values(gathered)
    return {place: by_line[int(gathered.lines[row])] for place, row in enumerate(gathered.kept.tolist())}


@pytest.mark.parametrize("stray", ['"', 'a"b\n"', "\r"])
def test_a_file_that_cannot_be_cut_is_read_in_one_piece(stray: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A stray quotation mark or carriage return: every row is there once, as read.py sees it."""
    path, mapping = _write(tmp_path / "rows.csv", _rows(9, 300)), _mapping(tmp_path)
    monkeypatch.setattr(parts.cut, "__defaults__", (5_000,))
    lines = path.read_text("utf-8").split("\n")
    lines.insert(150, stray)
    path.write_text("\n".join(lines), "utf-8", newline="")
    given = sources([path], mapping)
    expected = list(read_rows(given[0].file))
    gathered = gather(given, country="US")
    assert sorted(gathered.lines.tolist()) == sorted(row.line for row in expected)


def test_parts_cover_a_file_and_break_outside_quotation_marks(tmp_path: Path) -> None:
    random_ = random.Random(1)
    for number in range(200):
        path = tmp_path / f"{number}.csv"
        with path.open("w", newline="") as file:
            writer = csv.writer(file)
            writer.writerow(["a", "b"])
            for _ in range(random_.randint(1, 30)):
                writer.writerow(["".join(random_.choice('ab\n,"') for _ in range(random_.randint(1, 9))) for _ in "ab"])
        (source,) = sources([path], _guessless(tmp_path))
        found = parts.cut(source.file, random_.randint(3, 60))
        assert found is not None
        content = path.read_bytes()
        assert [one.start for one in found] == [0, *(one.end for one in found[:-1])]
        assert found[-1].end == len(content)
        whole = list(csv.reader(io.StringIO(content.decode(), newline="")))
        read = [parts.read_part(source.file, one, ("a", "b")) for one in found]
        cells = [row for part in read for row in zip(part.columns["a"], part.columns["b"], strict=True)]
        assert cells == [tuple(row) for row in whole[1:]]
        rows = [row.line for row in read_rows(source.file) if isinstance(row, Row)]
        assert [line for part in read for line in part.lines] == rows
        assert np.diff(rows).min(initial=1) >= 1


def _guessless(folder: Path) -> Path:
    path = folder / "ab.toml"
    path.write_text('[fields]\na = "given_name"\nb = "family_name"\n')
    return path
