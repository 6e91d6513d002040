"""Imports: resumable, repeatable, with every bad row named; files of records and of events."""

from __future__ import annotations

import asyncio
import csv
import io
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import duckdb
import msgspec
import pytest
from rich.console import Console

from firstring.bulk.files.formats import SourceFile
from firstring.bulk.files.mapping import FieldMap
from firstring.bulk.files.progress import ConsoleReporter
from firstring.bulk.importing import records as importing
from firstring.bulk.importing.events import EventsReport, import_events_file
from firstring.bulk.importing.load import say_events, say_records, show_map
from firstring.bulk.importing.records import ImportReport, import_file
from firstring.contact import Identifier
from firstring.errors import BadInput, Retryable
from firstring.ports import SystemClock
from firstring.settings import Settings
from firstring.store.database import Database, Tenant
from firstring.store.ring import RingStore

PROGRAM = Path(__file__).with_name("import_program.py")
Load = Callable[..., Any]


@pytest.fixture
def load(database: Database, tenant: Tenant) -> Load:
    async def run(path: Path, **changes: Any) -> ImportReport:
        batch = changes.pop("batch", 2_000)
        settings = Settings(home=path.parent, country="GB", import_batch=batch)
        arguments = {"database": database, "tenant": tenant, "settings": settings, "clock": SystemClock(), **changes}
        return await import_file(path, arguments.pop("source", "crm"), arguments.pop("map_path", None), **arguments)

    return run


def written(path: Path, text: str) -> Path:
    path.write_text(text, "utf-8")
    return path


def people(count: int, bad_every: int = 0) -> str:
    lines = ["id,first_name,last_name,email,phone"]
    for number in range(count):
        if bad_every and number % bad_every == bad_every - 1:
            lines.append(f"{number},too,few")
        else:
            lines.append(f"{number},Ann{number},Lee,ann{number}@lee.org,")
    return "\n".join(lines) + "\n"


def rejects_of(report: ImportReport | EventsReport) -> list[dict[str, Any]]:
    assert report.rejects_file is not None
    return [msgspec.json.decode(line) for line in Path(report.rejects_file).read_bytes().splitlines()]


async def counted(database: Database, tenant: Tenant, table: str = "record") -> int:
    async with database.transaction(tenant.tenant_id) as connection:
        return int(await connection.fetchval(f"select count(*) from {table}"))


# --- what is loaded ----------------------------------------------------------------------------------------------


async def test_a_file_is_loaded_and_the_same_file_again_changes_nothing(
    database: Database, tenant: Tenant, load: Load, tmp_path: Path, ring: RingStore
) -> None:
    path = written(tmp_path / "a.csv", people(250))
    shown: list[FieldMap] = []
    first = await load(path, batch=100, show=lambda _file, fields: shown.append(fields))
    assert (first.rows, first.inserted, first.rejected, first.rejects_file) == (250, 250, 0, None)
    assert shown[0].guessed
    read = await ring.read(tenant, [Identifier("email", "ann7@lee.org")], None)
    assert read.records[0].fields["given_name"] == "Ann7"
    again = await load(path, batch=100)
    assert (again.rows, again.inserted, again.updated, again.unchanged) == (250, 0, 0, 250)
    assert await counted(database, tenant) == 250
    said = io.StringIO()
    say_records(Console(file=said, width=120), again)
    assert "Nothing changed." in said.getvalue()


async def test_a_dry_run_shows_the_map_and_loads_nothing(
    database: Database, tenant: Tenant, load: Load, tmp_path: Path
) -> None:
    said = io.StringIO()

    def show(file: SourceFile, fields: FieldMap) -> None:
        show_map(Console(file=said, width=120), file, fields)

    report = await load(written(tmp_path / "a.csv", people(3)), show=show, dry_run=True)
    assert report.dry_run
    assert await counted(database, tenant) == 0
    assert "first_name" in said.getvalue()
    assert "given_name" in said.getvalue()
    assert "guessed" in said.getvalue()


async def test_a_changed_file_changes_only_what_differs(load: Load, tmp_path: Path) -> None:
    await load(written(tmp_path / "a.csv", people(20)))
    changed = people(20).replace("Ann7,", "Anna7,")
    report = await load(written(tmp_path / "b.csv", changed))
    assert (report.inserted, report.updated, report.unchanged) == (0, 1, 19)


async def test_all_formats_load_the_same(database: Database, make_tenant: Any, tmp_path: Path) -> None:
    table = [
        {"id": "1", "name": "Ann Lee", "mails": ["a@lee.org", "b@lee.org"]},
        {"id": "2", "name": "Bob Ray", "mails": ["b@ray.org"]},
    ]
    jsonl = written(tmp_path / "a.jsonl", "".join(msgspec.json.encode(row).decode() + "\n" for row in table))
    with (tmp_path / "a.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["id", "name", "mails"])
        writer.writerows([row["id"], row["name"], ";".join(row["mails"])] for row in table)
    duckdb.execute(f"copy (select * from read_json('{jsonl}')) to '{tmp_path / 'a.parquet'}' (format parquet)")
    map_path = written(tmp_path / "m.toml", '[fields]\nid = "record_id"\nname = "full_name"\nmails = "email"\n')
    found = []
    for name in ("a.jsonl", "a.csv", "a.parquet"):
        tenant = await make_tenant()
        settings = Settings(home=tmp_path, country="GB")
        report = await import_file(
            tmp_path / name, "crm", map_path, database=database, tenant=tenant, settings=settings, clock=SystemClock()
        )
        assert report.inserted == 2
        async with database.transaction(tenant.tenant_id) as connection:
            rows = await connection.fetch("select wrapped_key, sealed from record order by record_id")
        found.append([tenant.keys.open(row["wrapped_key"], row["sealed"]) for row in rows])
    assert found[0] == found[1] == found[2]
    assert found[0][0] == {"record_id": "1", "full_name": "Ann Lee", "email": ["a@lee.org", "b@lee.org"]}


async def test_rows_without_a_record_id_are_known_by_their_content(
    database: Database, tenant: Tenant, load: Load, tmp_path: Path
) -> None:
    path = written(tmp_path / "a.csv", "name,email\nAnn Lee,ann@lee.org\nBob Ray,bob@ray.org\nAnn Lee,ann@lee.org\n")
    report = await load(path)
    assert (report.inserted, report.unchanged, report.rejected) == (2, 1, 0)
    assert any("no record_id" in note for note in report.fields.notes)
    again = await load(written(tmp_path / "b.csv", path.read_text() + "Cy Orr,cy@orr.org\n"))
    assert (again.inserted, again.unchanged) == (1, 3)
    assert await counted(database, tenant) == 3


async def test_processes_prepare_what_a_thread_prepares(
    database: Database, make_tenant: Any, load: Load, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = written(tmp_path / "a.csv", people(700, bad_every=50))
    thread = await load(path, batch=60)
    monkeypatch.setattr(importing, "_PROCESSES_FROM_BYTES", 0)
    other = await make_tenant()
    processes = await load(path, batch=60, tenant=other, rejects_path=tmp_path / "other.jsonl")
    assert rejects_of(thread) == rejects_of(processes)
    assert (processes.inserted, processes.rejected) == (thread.inserted, thread.rejected) == (686, 14)


# --- what is rejected --------------------------------------------------------------------------------------------


async def test_every_bad_row_and_value_is_named_and_the_rest_is_loaded(
    database: Database, tenant: Tenant, load: Load, tmp_path: Path
) -> None:
    rows = [
        "id,name,phone,email,dob,note",
        "0,Joe Doe,+442079460990,,,",
        "1,Ann Lee,+442079460991,ann@lee.org,1970-05-06,",
        "2,Bob Ray,call me,bob.ray.org,1900-01-01,",
        "1,Ann Again,,,,",
        ",No Id,,no@id.org,,",
        "5,,,,,only a note",
        "6,Nul Byte,+44207946\0992,nul@byte.org,,",
        "7,Long,,,," + "x" * 1_000_000,
        "8,Lon,,,," + "y" * 2_000,
        "9,Few",
        '10,"Open,,,,',
        "11,Last One,,last@one.org,,",
    ]
    report = await load(written(tmp_path / "a.csv", "\n".join(rows) + "\n"), batch=3)
    assert (report.rows, report.inserted, report.rejected) == (12, 6, 6)
    found = [(reject["line"], reject["field"], reject["code"], reject["kept"]) for reject in rejects_of(report)]
    assert found == [
        (4, "phone", "phone_letters", True),
        (4, "email", "email_without_at", True),
        (4, "birth_date", "placeholder", True),
        (5, "record_id", "duplicate_record_id", False),
        (6, "record_id", "record_id_missing", False),
        (7, "record_id", "nothing_usable", False),
        (8, "phone", "control_character", True),
        (9, "note", "field_too_long", False),
        (10, "note", "too_long", True),
        (11, None, "column_count", False),
        (12, None, "malformed_row", False),
    ]
    by_line = {reject["line"]: reject for reject in rejects_of(report)}
    assert by_line[10]["value"].endswith("(2000 characters)")
    assert len(by_line[10]["value"]) < 300
    assert all(reject["reason"] for reject in rejects_of(report))
    assert Path(report.rejects_file or "").stat().st_mode & 0o777 == 0o600
    assert await counted(database, tenant) == 6


@pytest.mark.parametrize(
    ("name", "content", "code"),
    [
        ("a.csv", b"", "file_empty"),
        ("a.csv", b"id,name\n1,Jos\xe9\n", "wrong_encoding"),
        ("a.csv", b"colour,size\nred,3\n", "nothing_recognised"),
        ("a.xlsx", b"PK\x03\x04" + bytes(60), "unknown_format"),
    ],
)
async def test_an_unusable_file_changes_nothing(
    database: Database, tenant: Tenant, load: Load, tmp_path: Path, name: str, content: bytes, code: str
) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(BadInput) as refused:
        await load(tmp_path / name)
    assert refused.value.code == code
    for table in ("record", "source", "import_run"):
        assert await counted(database, tenant, table) == 0
    assert [path.name for path in tmp_path.iterdir()] == [name]


async def test_rejects_that_cannot_be_written_stop_the_import_before_it_begins(
    database: Database, tenant: Tenant, load: Load, tmp_path: Path
) -> None:
    path = written(tmp_path / "a.csv", people(3))
    with pytest.raises(BadInput) as refused:
        await load(path, rejects_path=tmp_path / "none" / "rejects.jsonl")
    assert refused.value.code == "rejects_unwritable"
    with pytest.raises(BadInput) as unnamed:
        await load(path, source="")
    assert unnamed.value.code == "source_invalid"
    assert await counted(database, tenant) == 0


# --- interrupted -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("sign", [signal.SIGKILL, signal.SIGINT])
async def test_an_import_that_is_killed_goes_on_where_it_stopped(
    database: Database, tenant: Tenant, load: Load, tmp_path: Path, master_key: bytes, sign: signal.Signals
) -> None:
    total, bad_every, batch = 8_000, 100, 100
    path = written(tmp_path / "a.csv", people(total, bad_every))
    given = {
        "arguments": dict(database.arguments), "master_key": master_key.hex(), "tenant": tenant.tenant_id,
        "file": str(path), "batch": batch,
    }  # fmt: skip
    program = subprocess.Popen([sys.executable, str(PROGRAM)], stdin=subprocess.PIPE, stderr=subprocess.PIPE)
    assert program.stdin is not None
    program.stdin.write(msgspec.json.encode(given))
    program.stdin.close()
    program.stdin = None
    while await counted(database, tenant) < 5 * batch:
        assert program.poll() is None, "the import ended before it could be interrupted"
        await asyncio.sleep(0.005)
    program.send_signal(sign)
    _, said = await asyncio.to_thread(program.communicate)
    assert program.returncode != 0
    assert (b"goes on from there" in said) == (sign is signal.SIGINT)
    done = await _settled(database, tenant)
    assert 0 < done < total
    assert await counted(database, tenant) == done - done // bad_every, "rows and their place are durable together"

    report = await load(path, batch=batch)
    assert (report.resumed_rows, report.rows) == (done, total - done)
    assert report.inserted == total - done - (total // bad_every - done // bad_every)
    assert await counted(database, tenant) == total - total // bad_every
    lines = [reject["line"] for reject in rejects_of(report)]
    assert lines == [number + 2 for number in range(total) if number % bad_every == bad_every - 1], "each once"
    again = await load(path, batch=2_000)
    assert (again.resumed_rows, again.inserted, again.updated, again.rows) == (0, 0, 0, total)


async def _settled(database: Database, tenant: Tenant) -> int:
    """The place of the only run, once the killed program's last transaction has ended one way or the other."""
    async with database.transaction(tenant.tenant_id) as connection:
        await connection.execute("select pg_advisory_xact_lock(1179796033, $1::int)", tenant.tenant_id)
    async with database.transaction(tenant.tenant_id) as connection:
        return int(await connection.fetchval("select rows_done from import_run"))


async def test_a_duplicate_behind_an_interruption_is_still_one(
    database: Database, tenant: Tenant, load: Load, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first batches hold a good row 1 and a rejected row 2; behind the interruption both ids come again."""
    text = "id,name,email\n1,Ann,ann@lee.org\n2,,\n3,Cy,cy@orr.org\n4,Dee,dee@orr.org\n1,Other,\n2,Bob,bob@ray.org\n"
    path = written(tmp_path / "a.csv", text)
    real = importing.apply_prepared
    calls = 0

    async def failing(*arguments: Any, **named: Any) -> Any:
        nonlocal calls
        calls += 1
        if calls == 3:
            raise BadInput("interrupted", "as if the program had ended here")
        return await real(*arguments, **named)

    monkeypatch.setattr(importing, "apply_prepared", failing)
    with pytest.raises(BadInput):
        await load(path, batch=2)
    report = await load(path, batch=2)
    assert (report.resumed_rows, report.inserted) == (4, 1)
    assert [(reject["line"], reject["code"]) for reject in rejects_of(report)] == [
        (3, "nothing_usable"),
        (6, "duplicate_record_id"),
    ]


async def test_a_lost_answer_is_asked_for_again(
    database: Database, tenant: Tenant, load: Load, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = importing.apply_prepared
    calls = 0

    async def losing(*arguments: Any, **named: Any) -> Any:
        nonlocal calls
        calls += 1
        applied = await real(*arguments, **named)
        if calls == 2:
            raise Retryable("database_unavailable", "the connection was lost after the commit")
        return applied

    monkeypatch.setattr(importing, "apply_prepared", losing)
    monkeypatch.setattr(importing, "_RETRY_AFTER_S", 0.01)
    report = await load(written(tmp_path / "a.csv", people(50)), batch=20)
    assert report.rows == 50
    assert await counted(database, tenant) == 50


async def test_two_programs_on_one_file_do_not_both_count(
    database: Database, tenant: Tenant, load: Load, tmp_path: Path
) -> None:
    path = written(tmp_path / "a.csv", people(60))
    results = await asyncio.gather(
        load(path, batch=10), load(path, batch=10, rejects_path=tmp_path / "b"), return_exceptions=True
    )
    assert await counted(database, tenant) == 60
    for result in results:
        if isinstance(result, BaseException):
            assert isinstance(result, Retryable)
            assert result.code == "import_running"


async def test_progress_is_said_in_plain_lines_where_there_is_no_terminal(load: Load, tmp_path: Path) -> None:
    class Later(SystemClock):
        at = 0.0

        def monotonic_s(self) -> float:
            self.at += 3.0
            return self.at

    said = io.StringIO()
    await load(
        written(tmp_path / "a.csv", people(50)), batch=10, progress=ConsoleReporter(Console(file=said, width=200), Later())
    )
    assert "rows/s" in said.getvalue()
    assert "s left" in said.getvalue()
    assert "\x1b" not in said.getvalue()
    await load(
        written(tmp_path / "b.csv", people(20)),
        progress=ConsoleReporter(Console(file=said, width=200, force_terminal=True), SystemClock()),
    )
    assert "100%" in said.getvalue()


# --- events ------------------------------------------------------------------------------------------------------


async def test_a_file_of_events_is_loaded_once(database: Database, tenant: Tenant, tmp_path: Path) -> None:
    lines = [
        '{"messageId": "m1", "userId": "7", "event": "Order Completed", "timestamp": "2026-10-01T10:00:00Z"}',
        '{"userId": "7", "event": "Refund Requested", "properties": {"order_id": "9"}}',
        '{"event": "Nobody"}',
        "{broken",
        '{"messageId": "m1", "userId": "7", "event": "Order Completed"}',
    ]
    path = written(tmp_path / "e.jsonl", "\n".join(lines) + "\n")
    table = written(tmp_path / "e.csv", "message_id,user_id,event,properties.total\nm9,8,order_completed,12.50\n")
    settings = Settings(home=tmp_path, country="GB")

    async def load(file: Path) -> EventsReport:
        return await import_events_file(
            file, "shop", database=database, tenant=tenant, settings=settings, clock=SystemClock()
        )

    first = await load(path)
    assert (first.rows, first.stored, first.duplicates, first.rejected) == (5, 2, 1, 2)
    assert [(reject["line"], reject["code"]) for reject in rejects_of(first)] == [
        (3, "missing_identity"),
        (4, "malformed_json"),
    ]
    again = await load(path)
    assert (again.stored, again.duplicates) == (0, 3)
    said = io.StringIO()
    say_events(Console(file=said, width=120), again)
    assert "Nothing changed." in said.getvalue()
    assert (await load(table)).stored == 1
    assert await counted(database, tenant, "event") == 3
