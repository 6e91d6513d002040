"""`firstring link` and `firstring train`: files in, persons out, never a row dropped."""

from __future__ import annotations

import csv
import io
import json
import multiprocessing
from pathlib import Path
from typing import Any

import duckdb
import pytest
from rich.console import Console

from firstring.bench.people import population
from firstring.bulk.linking import console as linking
from firstring.bulk.linking.console import run_link, run_train
from firstring.errors import BadInput
from firstring.identity.model.model import from_json

_COLUMNS = (
    "record_id", "given_name", "family_name", "birth_date", "mobile_phone", "home_phone", "email", "street",
    "house_number", "city", "postcode",
)  # fmt: skip
_PICKED = (0, 1, 2, 4, 5, 6, 8, 9, 10, 11, 12)


@pytest.fixture(scope="module")
def people(tmp_path_factory: pytest.TempPathFactory) -> tuple[list[Path], Path, dict[str, int]]:
    """(files by source, map, record -> person) of 2,000 records."""
    folder = tmp_path_factory.mktemp("people")
    truth: dict[str, int] = {}
    rows: dict[int, list[list[str]]] = {0: [], 1: [], 2: []}
    for record in population(11, 2_000):
        rows[record.source].append([record.row[place] for place in _PICKED])
        truth[record.row[0]] = record.person
    paths = []
    for source, its_rows in rows.items():
        path = folder / f"source{source}.csv"
        _write(path, _COLUMNS, its_rows)
        paths.append(path)
    mapping = folder / "map.toml"
    phones = {"mobile_phone": "phone", "home_phone": "phone"}
    lines = [f'{name} = "{phones.get(name, name)}"' for name in _COLUMNS]
    mapping.write_text("[fields]\n" + "\n".join(lines) + "\n")
    return paths, mapping, truth


def _write(path: Path, columns: tuple[str, ...], rows: list[list[str]]) -> None:
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(columns)
        writer.writerows(rows)


def _link(files: list[Path], mapping: Path | None, out: Path | None, **given: Any) -> tuple[Any, str]:
    console = Console(record=True, width=160, file=open("/dev/null", "w"))  # noqa: SIM115 - the console closes nothing
    options: dict[str, Any] = {
        "country": "US", "threshold": 0.95, "pairs_path": None, "model_path": None, "plan_only": False, "memory_mb": 200,
    }  # fmt: skip
    try:
        report = run_link(files, mapping, out=out, console=console, **(options | given))
    finally:
        console.file.close()
    return report, console.export_text()


def _persons(path: Path) -> list[tuple[str, str]]:
    with path.open(encoding="utf-8", newline="") as file:
        return [(row["record_id"], row["person_id"]) for row in csv.DictReader(file)]


def _f1(persons: list[tuple[str, str]], truth: dict[str, int]) -> float:
    def pairs(keys: list[Any]) -> int:
        return sum(count * (count - 1) // 2 for count in {key: keys.count(key) for key in set(keys)}.values())

    found = [person for _, person in persons]
    true = [truth[record] for record, _ in persons]
    both = pairs(list(zip(found, true, strict=True)))
    return 2 * both / (pairs(found) + pairs(true))


def test_links_files_of_several_sources_without_a_model(
    people: tuple[list[Path], Path, dict[str, int]], tmp_path: Path
) -> None:
    files, mapping, truth = people
    report, said = _link(files, mapping, tmp_path / "out.csv", pairs_path=tmp_path / "pairs.csv")
    persons = _persons(tmp_path / "out.csv")
    assert sorted(record for record, _ in persons) == sorted(truth)
    assert _f1(persons, truth) > 0.95
    assert report.records == 2_000
    assert report.persons == len({person for _, person in persons})
    assert report.largest_person <= 6
    assert "plan for 2,000 records" in said
    assert said.index("plan for") < said.index("comparing:")
    with (tmp_path / "pairs.csv").open(encoding="utf-8") as file:
        pairs = list(csv.DictReader(file))
    assert len(pairs) == report.linked_pairs
    likely = [pair for pair in pairs if float(pair["probability"]) >= 0.95]
    right = sum(truth[pair["left_id"]] == truth[pair["right_id"]] for pair in likely)
    assert right / len(likely) > 0.98
    for pair in pairs[:50]:
        total = float(pair["prior"]) + sum(float(pair[name]) for name in pair if name.startswith("weight_"))
        odds = float(pair["probability"]) / max(1 - float(pair["probability"]), 1e-9)
        if odds < 1e5:
            assert total == pytest.approx(__import__("math").log(odds), abs=0.1)


def test_a_trained_model_links_as_it_would_have_by_itself(
    people: tuple[list[Path], Path, dict[str, int]], tmp_path: Path
) -> None:
    files, mapping, _ = people
    console = Console(quiet=True)
    model = run_train(files, mapping, tmp_path / "model.json", country="US", memory_mb=200, console=console)
    again = run_train(files[::-1], mapping, tmp_path / "again.json", country="US", memory_mb=200, console=console)
    assert again.version == model.version
    assert (tmp_path / "again.json").read_bytes() == (tmp_path / "model.json").read_bytes()
    _link(files, mapping, tmp_path / "with.csv", model_path=tmp_path / "model.json")
    _link(files, mapping, tmp_path / "without.csv")
    assert _persons(tmp_path / "with.csv") == _persons(tmp_path / "without.csv")


def test_the_model_holds_no_value_of_anybody(people: tuple[list[Path], Path, dict[str, int]], tmp_path: Path) -> None:
    files, mapping, _ = people
    run_train(files, mapping, tmp_path / "model.json", country="US", memory_mb=200, console=Console(quiet=True))
    text = (tmp_path / "model.json").read_text()
    with files[0].open(encoding="utf-8") as file:
        for row in list(csv.DictReader(file))[:300]:
            for name in ("mobile_phone", "email", "birth_date", "street"):
                assert not row[name] or len(row[name]) < 5 or row[name] not in text
    assert from_json(text.encode()).version == json.loads(text)["version"]


def test_a_changed_model_is_noticed(people: tuple[list[Path], Path, dict[str, int]], tmp_path: Path) -> None:
    files, mapping, _ = people
    path = tmp_path / "model.json"
    run_train(files[:1], mapping, path, country="US", memory_mb=200, console=Console(quiet=True))
    changed = json.loads(path.read_text())
    changed["namesake_rate"] = 0.5
    path.write_text(json.dumps(changed))
    with pytest.raises(BadInput) as caught:
        _link(files, mapping, tmp_path / "out.csv", model_path=path)
    assert caught.value.code == "model_changed"
    path.write_text("{}")
    with pytest.raises(BadInput) as caught:
        _link(files, mapping, tmp_path / "out.csv", model_path=path)
    assert caught.value.code == "model_malformed"
    assert not (tmp_path / "out.csv").exists()


def test_the_plan_alone_writes_nothing(people: tuple[list[Path], Path, dict[str, int]], tmp_path: Path) -> None:
    files, mapping, _ = people
    report, said = _link(files, mapping, None, plan_only=True)
    assert report is None
    assert "city+born" in said
    assert "comparing" not in said
    assert not list(tmp_path.iterdir())


def test_parquet_in_and_out(people: tuple[list[Path], Path, dict[str, int]], tmp_path: Path) -> None:
    files, mapping, _ = people
    source = tmp_path / "all.parquet"
    duckdb.sql(f"copy (select * from read_csv({[str(file) for file in files]}, all_varchar = true)) to '{source}'")
    _link([source], mapping, tmp_path / "out.parquet", pairs_path=tmp_path / "pairs.parquet")
    counted = duckdb.sql(f"select count(*), count(distinct record_id) from '{tmp_path}/out.parquet'").fetchall()
    assert counted == [(2_000, 2_000)]
    described = duckdb.sql(f"describe select * from '{tmp_path}/pairs.parquet'").fetchall()
    kinds = {row[0]: row[1] for row in described}
    assert kinds["probability"] == "DOUBLE"


def test_every_row_is_there_whatever_it_holds(tmp_path: Path) -> None:
    """Copies by the hundred, empty records, records without an id, broken rows, a column of constants."""
    rows = [
        *(["1", "Ann", "Lee", "1980-02-03", "ann.lee@mail.com", "x"] for _ in range(300)),
        *([str(number), "Bo", "", "", "", "x"] for number in range(2, 202)),
        *(["", "", "", "", "", "x"] for _ in range(100)),
        *([f"p{number}", f"Given{number}", f"Name{number}", f"19{10 + number}-01-05", "", "x"] for number in range(50)),
    ]
    path = tmp_path / "rows.csv"
    _write(path, ("id", "given_name", "family_name", "birth_date", "email", "city"), rows)
    with path.open("a") as file:
        file.write("only,two\n")
    mapping = tmp_path / "map.toml"
    names = ("given_name", "family_name", "birth_date", "email", "city")
    mapping.write_text('[fields]\nid = "record_id"\n' + "".join(f'{name} = "{name}"\n' for name in names))
    report, said = _link([path], mapping, tmp_path / "out.csv")
    persons = _persons(tmp_path / "out.csv")
    assert report.records == len(persons) == 651
    ann = {person for record, person in persons if record == "1"}
    assert len(ann) == 1, "300 copies of a full record are one person"
    others = [person for record, person in persons if record != "1"]
    assert len(set(others)) == 351, "first names alone, and empty rows, say nothing"
    assert not ann & set(others)
    assert "rows hold nothing to compare" in said


def test_what_cannot_be_done_is_said_before_anything_is_written(tmp_path: Path) -> None:
    path = tmp_path / "rows.csv"
    _write(path, ("id", "given_name"), [["1", "Ann"], ["2", "Bob"]])
    cases: list[tuple[str, dict[str, Any], Path | None]] = [
        ("threshold_invalid", {"threshold": 1.0}, tmp_path / "out.csv"),
        ("argument_missing", {}, None),
        ("output_format", {}, tmp_path / "out.txt"),
        ("output_folder", {}, tmp_path / "no" / "out.csv"),
        ("output_format", {"pairs_path": tmp_path / "pairs.xlsx"}, tmp_path / "out.csv"),
        ("model_missing", {"model_path": tmp_path / "no.json"}, tmp_path / "out.csv"),
        ("nothing_to_compare", {}, tmp_path / "out.csv"),
    ]
    for code, given, out in cases:
        with pytest.raises(BadInput) as caught:
            _link([path], None, out, **given)
        assert caught.value.code == code
    with pytest.raises(BadInput) as caught:
        _link([path, path], None, tmp_path / "out.csv")
    assert caught.value.code == "file_twice"
    assert sorted(one.name for one in tmp_path.iterdir()) == ["rows.csv"]


def test_an_unknown_engine_is_said(people: tuple[list[Path], Path, dict[str, int]], tmp_path: Path) -> None:
    files, mapping, _ = people
    with pytest.raises(BadInput) as caught:
        _link(files, mapping, tmp_path / "out.csv", engine="spark")
    assert caught.value.code == "engine_unknown"
    assert "duckdb" in (caught.value.hint or "")


@pytest.mark.parametrize("step", ["reading", "comparing", "clustering"])
def test_a_run_that_is_interrupted_leaves_no_output_and_says_so(
    step: str, people: tuple[list[Path], Path, dict[str, int]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    files, mapping, _ = people
    before = multiprocessing.active_children()
    (tmp_path / "out.csv").write_text("of an earlier run")

    def told(self: linking.Told, said: str, done: int, whole: int) -> None:
        if said == step:
            raise KeyboardInterrupt

    monkeypatch.setattr(linking.Told, "__call__", told)
    console = Console(record=True, width=160, file=io.StringIO())
    with pytest.raises(KeyboardInterrupt):
        run_link(
            files, mapping, out=tmp_path / "out.csv", pairs_path=tmp_path / "pairs.csv", country="US", threshold=0.95,
            model_path=None, plan_only=False, memory_mb=200, console=console,
        )  # fmt: skip
    assert [one.name for one in tmp_path.iterdir()] == ["out.csv"]
    assert (tmp_path / "out.csv").read_text() == "of an earlier run"
    assert "no output was written" in console.export_text()
    assert multiprocessing.active_children() == before


def test_one_record_fifty_thousand_times_is_one_person(tmp_path: Path) -> None:
    path = tmp_path / "rows.csv"
    row = ["Ann", "Lee", "1980-02-03", "ann.lee@mail.example.org", "+12125550114"]
    others = [[f"G{n}", f"N{n % 50}", f"19{10 + n % 80}-01-05", "", f"+1212555{1000 + n}"] for n in range(200)]
    columns = ("given_name", "family_name", "birth_date", "email", "phone")
    _write(path, columns, [row] * 50_000 + others)
    report, _ = _link([path], None, tmp_path / "out.csv")
    persons = [person for _, person in _persons(tmp_path / "out.csv")]
    assert report.records == len(persons) == 50_200
    assert len(set(persons[:50_000])) == 1
    assert report.largest_person == 50_000
    assert report.candidate_pairs < 20_000, "copies beyond the fourth are not compared"


def test_a_model_of_other_fields_links_by_those_it_knows(
    people: tuple[list[Path], Path, dict[str, int]], tmp_path: Path
) -> None:
    """A model trained without phones and addresses, used on files that have both; and one for files that lack its fields."""
    files, mapping, truth = people
    fewer = tmp_path / "fewer.toml"
    kept = [line for line in mapping.read_text().splitlines() if not line.startswith(("mobile", "home", "street", "house"))]
    fewer.write_text("\n".join(kept))
    model = run_train(
        files, fewer, tmp_path / "model.json", country="US", memory_mb=200, console=Console(quiet=True)
    )  # fmt: skip
    assert "phone" not in model.shares
    _link(files, mapping, tmp_path / "out.csv", model_path=tmp_path / "model.json")
    persons = _persons(tmp_path / "out.csv")
    assert len(persons) == 2_000
    assert _f1(persons, truth) > 0.8
    poor = tmp_path / "poor.csv"
    with files[0].open(encoding="utf-8") as file:
        rows = [[row["record_id"], row["given_name"], row["family_name"], row["birth_date"]] for row in csv.DictReader(file)]
    _write(poor, ("record_id", "given_name", "family_name", "birth_date"), rows)
    report, _ = _link([poor], None, tmp_path / "poor_out.csv", model_path=tmp_path / "model.json")
    assert report.records == len(rows)
