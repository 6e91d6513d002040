"""`firstring patterns`, as it is called."""

from __future__ import annotations

import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner

from firstring.cli import app
from firstring.errors import BadInput

PATTERN = """\
id: refund_chaser
match: {seq: [Refund Requested, {absent: Order Refunded, for: 3d}, {any: [Call Started, Chat Started], count: 2}]}
where: 'double(event.properties.total) > 50.0'
valence: negative
within: 14d
"""
ROWS = [
    ("ann", "", "Refund Requested", "2026-01-01T10:00:00Z", "80.00"),
    ("ann", "", "Call Started", "2026-01-05T10:00:00Z", ""),
    ("", "laptop", "Chat Started", "2026-01-06T10:00:00Z", ""),
    ("ann", "laptop", "Signed In", "2026-01-07T10:00:00Z", ""),
    ("bob", "", "Refund Requested", "2026-01-01T10:00:00Z", "80.00"),
    ("bob", "", "Order Refunded", "2026-01-02T10:00:00Z", ""),
    ("bob", "", "Call Started", "2026-01-05T10:00:00Z", ""),
    ("bob", "", "Call Started", "2026-01-06T10:00:00Z", ""),
]
NAMES = ("user_id", "anonymous_id", "event", "timestamp", "properties.total")


def run(*arguments: str) -> str:
    done = CliRunner().invoke(app, ["patterns", *arguments])
    if done.exception is not None and not isinstance(done.exception, SystemExit):
        raise done.exception
    assert done.exit_code == 0, done.output
    return done.output


@pytest.fixture
def pattern(tmp_path: Path) -> str:
    file = tmp_path / "refunds.yaml"
    file.write_text(PATTERN)
    return str(file)


def events(tmp_path: Path, kind: str) -> str:
    file = tmp_path / f"events.{kind}"
    if kind == "csv":
        file.write_text("\n".join(",".join(row) for row in (NAMES, *ROWS)))
    elif kind == "jsonl":
        objects = [{name: cell for name, cell in zip(NAMES, row, strict=True) if cell} for row in ROWS]
        file.write_text("\n".join(json.dumps(one) for one in objects))
    else:
        pq.write_table(pa.table({name: [row[place] or None for row in ROWS] for place, name in enumerate(NAMES)}), file)
    return str(file)


def test_check_says_what_is_there(pattern: str) -> None:
    assert run("check", pattern).strip() == "refund_chaser: negative, by person, within 14d"


def test_check_says_where_a_mistake_is(tmp_path: Path) -> None:
    file = tmp_path / "wrong.yaml"
    file.write_text("id: a\nmatch: Signed Up\nwhere: event.nmae == 'a'\n")
    with pytest.raises(BadInput) as caught:
        run("check", str(file))
    assert caught.value.where == {"file": str(file), "line": 3, "column": 6, "field": "where"}
    with pytest.raises(BadInput, match="no such file"):
        run("check", str(tmp_path / "none.yaml"))


@pytest.mark.parametrize("kind", ["csv", "jsonl", "parquet"])
def test_try_says_whom_when_and_by_which_events(tmp_path: Path, pattern: str, kind: str) -> None:
    trial = json.loads(run("try", pattern, "--on", events(tmp_path, kind), "--json"))
    (one,) = trial["patterns"]
    assert (trial["events"], trial["people"], one["fired"], one["subjects"]) == (8, 2, 1, 1)
    (catch,) = one["examples"]
    assert (catch["subject"], catch["at"], catch["begun"]) == ("ann", "2026-01-06T10:00:00Z", "2026-01-01T10:00:00Z")
    assert [event["name"] for event in catch["events"]] == ["Refund Requested", "Call Started", "Chat Started"]
    assert sum(one["per_bucket"]) == 1


def test_try_warns_of_what_tells_nobody_apart_and_of_what_sees_nothing(tmp_path: Path) -> None:
    file = tmp_path / "doubtful.yaml"
    file.write_text(
        "patterns:\n"
        "  - {id: everybody, match: Page Viewed}\n"
        "  - {id: nobody, match: Page Seen}\n"
        "  - {id: text, match: Page Viewed, where: event.properties.seconds > 5}\n"
    )
    log = tmp_path / "events.csv"
    rows = [f"u{number},Page Viewed,2026-01-01T10:00:00Z,{number}" for number in range(30)]
    log.write_text("\n".join(["user_id,event,timestamp,properties.seconds", *rows]))
    everybody, nobody, text = json.loads(run("try", str(file), "--on", str(log), "--json"))["patterns"]
    assert everybody["share"] == 1.0
    assert "tells nobody apart" in everybody["warnings"][0]
    assert nobody["warnings"] == ["No event is named Page Seen. Frequent names: Page Viewed."]
    assert "came to an error for all of 30 events: no such overload" in text["warnings"][0]
    assert "write double(...)" in text["warnings"][0]
    shown = run("try", str(file), "--on", str(log))
    assert "30 events of 30 people" in shown
    assert "█" in shown


def test_households_are_of_all_their_people(tmp_path: Path) -> None:
    log = tmp_path / "events.jsonl"
    rows = [
        {
            "userId": "ann",
            "event": "Outage Reported",
            "timestamp": "2026-01-01T10:00:00Z",
            "properties": {"household_id": 7},
        },
        {"userId": "bob", "event": "Call Started", "timestamp": "2026-01-01T11:00:00Z", "properties": {"household_id": 7}},
        {"userId": "eve", "event": "Call Started", "timestamp": "2026-01-01T11:00:00Z"},
    ]
    log.write_text("\n".join(json.dumps(row) for row in rows))
    trial = json.loads(run("try", "--on", str(log), "--json"))
    caught = {one["id"]: one["catches"] for one in trial["patterns"] if one["fired"]}
    assert list(caught) == ["household_outage"]
    assert caught["household_outage"][0]["subject"] == "7"
    assert trial["households"] == 2


def test_a_file_of_no_events_is_no_fault(tmp_path: Path) -> None:
    log = tmp_path / "events.csv"
    log.write_text("user_id,event\n,\n,Signed Up\n")
    assert "0 events of 0 people" in run("try", "--on", str(log))


def test_the_library_is_listed_and_printed(tmp_path: Path) -> None:
    assert "rage_clicks: Five clicks" in run("library")
    copy = tmp_path / "copy.yaml"
    copy.write_text(run("library", "rage_clicks"))
    assert "rage_clicks" in run("check", str(copy))
    with pytest.raises(BadInput, match="no pattern"):
        run("library", "unheard_of")
