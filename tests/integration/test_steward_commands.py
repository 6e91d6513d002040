"""The commands of stewards, run as the program runs them, over a tenant of the test's server."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from tests.integration.test_clerical_store import stored
from tests.integration.test_deciding import JUNIOR, THREE, _persons
from typer.testing import CliRunner, Result

from firstring.cli import app
from firstring.errors import BadInput
from firstring.store.database import Database, Tenant
from firstring.store.server import embedded

Command = Callable[..., Result]


@pytest.fixture
def command(
    server: embedded.EmbeddedServer, tenant: Tenant, master_key: bytes, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> Command:
    """Runs one command in a thread: the program brings its own loop."""
    monkeypatch.setenv("FIRSTRING_HOME", str(tmp_path))
    where = server.dsn(embedded.APP)
    url = f"postgresql://{where['user']}@/{where['database']}?host={where['host']}&port={where['port']}"
    monkeypatch.setenv("FIRSTRING_DATABASE_URL", url)
    monkeypatch.setenv("FIRSTRING_MASTER_KEY", master_key.hex())
    monkeypatch.setenv("FIRSTRING_TENANT", tenant.name)
    monkeypatch.setenv("COLUMNS", "200")

    def run(*arguments: str, typed: str = "") -> Result:
        with ThreadPoolExecutor(1) as pool:
            return pool.submit(CliRunner().invoke, app, list(arguments), typed).result()

    return run


def _told(result: Result) -> str:
    assert result.exit_code == 0, (result.output, result.exception)
    return result.stdout


async def test_review_from_question_to_labels(database: Database, tenant: Tenant, command: Command, tmp_path: Path) -> None:
    await stored(database, tenant, 80)
    question: dict[str, Any] = json.loads(_told(command("review", "next", "--by", "eve", "--json")))
    assert question["pair"]["fields"][0]["text"]
    number = str(question["question_id"])
    given = json.loads(_told(command("review", "answer", number, "same", "--by", "eve", "--json")))
    assert given["answer"] == "same"
    assert isinstance(command("review", "answer", number, "perhaps").exception, BadInput)
    assert isinstance(command("review", "answer", number, "same").exception, BadInput), "it was answered"
    assert "taken back" in _told(command("review", "undo", "--by", "eve"))
    text = _told(command("review", "--by", "eve", typed="h\nd\n?\nq\n"))
    assert "3 answers" in text
    assert "that they are one person" in text
    effect = json.loads(_told(command("review", "effect", "--json")))
    assert effect["answers"] == {"household": 1, "different": 1, "unknown": 1}
    assert "answers: 1 different, 1 household, 1 unknown" in _told(command("review", "effect"))
    labels = tmp_path / "labels.csv"
    assert "3 answers" in _told(command("review", "labels", "--out", str(labels)))
    with labels.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert {row["answer"] for row in rows} == {"household", "different", "unknown"}
    assert {row["left_source"] for row in rows} == {"crm"}
    unwritable = command("review", "labels", "--out", str(tmp_path / "no" / "labels.csv"))
    assert isinstance(unwritable.exception, BadInput)


async def test_explain_and_decide(database: Database, tenant: Tenant, command: Command) -> None:
    before = await _persons(database, tenant, THREE)
    text = _told(command("explain", "crm:1", "crm:3"))
    assert "they are two persons" in text
    assert "to begin with, against" in text
    assert "given name is different" in text
    assert "what holds it together" in _told(command("explain", "crm:1"))
    assert json.loads(_told(command("explain", str(before["1"]), "--json")))["records_in_all"] == 2
    made = _told(command("decision", "must", "crm:1", "crm:3", "--because", "seen the passport", "--by", "eve"))
    assert "1 person merged" in made
    number = made.split()[1].rstrip(":")
    assert "seen the passport" in _told(command("decision", "list"))
    assert "1 person split off" in _told(command("decision", "revoke", number, "--because", "wrong", "--by", "eve"))
    assert "nothing was decided" in _told(command("decision", "list"))
    assert "revoked by eve: wrong" in _told(command("decision", "list", "--revoked"))
    apart = _told(command("decision", "unmerge", str(before["1"]), "crm:2", "--because", "not hers"))
    assert "1 person split off" in apart
    assert "no identifier is shared" in _told(command("guards"))


async def test_held_merges(database: Database, tenant: Tenant, command: Command) -> None:
    before = await _persons(database, tenant, JUNIOR)
    held = json.loads(_told(command("held", "list", "--json")))
    assert held[0]["guard"] == "suffix_contradicts"
    table = _told(command("held", "list"))  # 80 characters wide: where the cell breaks depends on the ids beside it
    assert "One is called Jr" in " ".join(table.replace("│", " ").split())
    pair = (str(before["s1"]), str(before["j1"]))
    assert "decision" in _told(command("held", "reject", *pair, "--because", "father and son", "--by", "eve"))
    assert "no merge is held" in _told(command("held", "list"))
    assert isinstance(command("held", "accept", *pair, "--because", "x").exception, BadInput)
