"""`firstring train --labels`: answers correct the model, and whoever gives them is told what they changed."""

from __future__ import annotations

import csv
import io
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console
from tests.store_people import NOW, store
from tests.store_people import people as stored_people

from firstring.bench import people
from firstring.bulk.linking.console import run_train
from firstring.bulk.linking.gathering import gather, sources
from firstring.bulk.linking.labelling import read_labels
from firstring.bulk.versions.training import say_trained, train_store
from firstring.errors import BadInput
from firstring.identity.model.model import from_json
from firstring.store.database import Database, Tenant

COLUMNS = ("record_id", "given_name", "family_name", "birth_date", "phone", "email", "city", "postcode")
PICKED = (0, 1, 2, 4, 5, 8, 11, 12)


@pytest.fixture(scope="module")
def records(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[people.Record]]:
    folder = tmp_path_factory.mktemp("labels")
    made = list(people.population(31, 1_500))
    path = folder / "people.csv"
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(COLUMNS)
        writer.writerows(tuple(one.row[place] for place in PICKED) for one in made)
    return path, made


def _labels(path: Path, rows: list[tuple[str, ...]], header: str = "left_id,right_id,answer") -> Path:
    path.write_text("\n".join([header, *(",".join(row) for row in rows)]) + "\n", "utf-8")
    return path


def _answers(made: list[people.Record]) -> list[tuple[str, ...]]:
    """True answers about people of one household, and about people of one given name."""
    found = []
    for place, one in enumerate(made):
        for other in made[place + 1 : place + 6]:
            if one.household == other.household:
                found.append((one.row[0], other.row[0], "same" if one.person == other.person else "household"))
    by_given: dict[str, people.Record] = {}
    for one in made:
        other = by_given.setdefault(one.row[1], one)
        if other.household != one.household:
            found.append((other.row[0], one.row[0], "different"))
    return found


def _trained(path: Path, out: Path, labels: Path | None) -> tuple[str, object]:
    said = io.StringIO()
    console = Console(file=said, width=200)
    model = run_train([path], None, out, country="US", memory_mb=200, console=console, labels_path=labels)
    return said.getvalue(), model


def test_labels_correct_the_model_and_say_so(records: tuple[Path, list[people.Record]], tmp_path: Path) -> None:
    path, made = records
    answers = _answers(made)
    assert len(answers) > 300
    said, model = _trained(path, tmp_path / "with.json", _labels(tmp_path / "labels.csv", answers))
    _, plain = _trained(path, tmp_path / "without.json", None)
    assert f"{len(answers):,} labels (" in said
    assert "log loss of labels not seen: nothing " in said
    again = from_json((tmp_path / "with.json").read_bytes())
    assert again == model
    assert ("the labels change nothing" in said) == (model == plain)


def test_bad_labels_are_listed_and_the_others_used(records: tuple[Path, list[people.Record]], tmp_path: Path) -> None:
    path, made = records
    gathered = gather(sources([path], None), country="US")
    ids = [one.row[0] for one in made]
    rows = [
        (ids[0], ids[1], "same"),
        (ids[1], ids[0], "different"),  # contradicts the line before
        (ids[2], "nobody", "same"),
        (ids[2], ids[2], "same"),
        (ids[2], ids[3], "perhaps"),
        (ids[2], ids[3], "unknown"),
        (ids[4], ids[5], "same"),
        (ids[5], ids[6], "same"),
        (ids[4], ids[6], "household"),  # contradicts the two before together
        (ids[7], ids[8], "household"),
        (ids[8], ids[7], "household"),  # said twice
    ]
    read = read_labels(_labels(tmp_path / "labels.csv", rows), gathered)
    assert [(one.line, one.code) for one in read.rejects] == [
        (2, "labels_contradict"), (3, "labels_contradict"), (4, "record_unknown"), (5, "record_twice"),
        (6, "answer_unknown"), (10, "labels_contradict"),
    ]  # fmt: skip
    assert read.unknown == 1
    assert read.labelled.same.tolist() == [True, True, False]
    assert (read.labelled.left < read.labelled.right).all()
    place = {record: row for row, record in enumerate(gathered.record_ids)}
    kept = gathered.kept.tolist()
    expected = sorted(kept.index(place[ids[row]]) for row in (4, 5))
    assert [read.labelled.left[0], read.labelled.right[0]] == expected
    assert np.array_equal(read.labelled.weight, [1.0, 1.0, 1.0])


def test_sources_tell_records_of_one_id_apart(tmp_path: Path) -> None:
    for name in ("crm", "shop"):
        (tmp_path / f"{name}.csv").write_text(
            "record_id,full_name,phone\n1,Ann Lee,+12025550101\n2,Bob Ray,+12025550102\n".replace("Ann", name), "utf-8"
        )
    gathered = gather(sources([tmp_path / "crm.csv", tmp_path / "shop.csv"], None), country="US")
    header = "left_source,left_id,right_source,right_id,answer,sampling_probability,pool_pairs"
    rows = [
        ("crm", "1", "shop", "1", "different", "0.25", "2"), ("", "1", "shop", "2", "same", "", ""),
        ("crm", "2", "shop", "2", "same", "x", "2"),
    ]  # fmt: skip
    read = read_labels(_labels(tmp_path / "labels.csv", rows, header), gathered)
    assert [(one.line, one.code) for one in read.rejects] == [(3, "record_ambiguous"), (4, "sampling_invalid")]
    assert read.labelled.weight.tolist() == [2.0]


@pytest.mark.parametrize(
    ("content", "code"),
    [
        ("left,right,answer\n", "labels_columns"), ("left_id,right_id,answer\n", "labels_unusable"),
        ("left_id,right_id,answer\na,b,same\n", "labels_unusable"), (None, "labels_unreadable"),
    ],
)  # fmt: skip
def test_a_file_of_no_use_is_one_clear_error(
    records: tuple[Path, list[people.Record]], tmp_path: Path, content: str | None, code: str
) -> None:
    path = tmp_path / "labels.csv"
    if content is not None:
        path.write_text(content, "utf-8")
    with pytest.raises(BadInput) as raised:
        read_labels(path, gather(sources([records[0]], None), country="US"))
    assert raised.value.code == code


@pytest.mark.asyncio(loop_scope="session")
async def test_answers_of_a_store_teach_its_next_version(database: Database, tenant: Tenant) -> None:
    rows = sorted(stored_people(5, 900), key=lambda row: row[0])
    ids = await store(database, tenant, rows)
    options = {"threshold": 0.95, "memory_mb": 200, "now": NOW, "told": lambda *_: None}
    before = await train_store(database, tenant, **options)  # type: ignore[arg-type]
    assert before.labels is None
    person = dict(zip(ids, (row[2] for row in rows), strict=True))
    by_family: dict[str, list[int]] = {}
    for record, (_, canonical, _) in zip(ids, rows, strict=True):
        by_family.setdefault(str(canonical.fields.get("family_name")), []).append(record)
    asked = [(one, other) for group in by_family.values() for one, other in pairwise(group)][:250]
    answers = [(one, other, "same" if person[one] == person[other] else "different") for one, other in asked]
    answers.append((asked[0][0], asked[0][1], "unknown"))
    async with database.transaction(tenant.tenant_id) as connection:
        of = {
            row["record_id"]: (row["source_id"], row["external_key"])
            for row in await connection.fetch(
                "select record_id, source_id, external_key from record where tenant_id = $1", tenant.tenant_id
            )
        }
        await connection.executemany(
            "insert into clerical_answer (tenant_id, left_source, left_key, right_source, right_key, answer, version,"
            " probability, sampling_probability, pool_pairs, cell, made_by, made_at)"
            " values ($1, $2, $3, $4, $5, $6, $7, 0.5, 0.01, 100, '', 'ann', $8)",
            [(tenant.tenant_id, *of[one], *of[other], answer, before.model.version, NOW) for one, other, answer in answers],
        )
    after = await train_store(database, tenant, **options)  # type: ignore[arg-type]
    assert after.labels is not None
    read, report = after.labels
    assert read.unknown == 1
    assert not read.rejects
    assert report.labels == len(asked)
    assert (report.taken == "nothing") == (after.model == before.model)
    async with database.transaction(tenant.tenant_id) as connection:
        kept = await connection.fetchval("select report from identity_model where model_id = $1", after.model_id)
    assert after.known or '"labels"' in kept
    said = io.StringIO()
    say_trained(Console(file=said, width=200), after)
    assert f"{len(asked):,} labels" in said.getvalue()
