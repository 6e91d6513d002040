"""Files of all formats: every row with its line, every bad row with its reason, every unusable file refused."""

from __future__ import annotations

import csv
import io
from datetime import date, datetime
from decimal import Decimal
from pathlib import Path

import duckdb
import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from firstring.bulk.files.formats import examine
from firstring.bulk.files.read import CELL_CHARS, LINE_CHARS, BadRow, Row, parquet_rows, read_rows, sample
from firstring.errors import BadInput


def rows_of(path: Path) -> list[Row | BadRow]:
    return list(read_rows(examine(path)))


def write(path: Path, text: str | bytes) -> Path:
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


# --- CSV ---------------------------------------------------------------------------------------------------------


def test_csv_rows_keep_their_lines_behind_quoted_line_breaks_and_broken_rows(tmp_path: Path) -> None:
    text = (
        "id,name,note\n"
        '1,Ann,"two\nlines"\n'
        "2,Bob\n"  # too few cells
        "\n"
        '3,"Cy"x,\n'  # text behind a quotation mark
        "4,Dee,ok,more\n"  # too many
        "5,Eve,fine\n"
    )
    rows = rows_of(write(tmp_path / "a.csv", text))
    assert [(row.line, type(row).__name__, getattr(row, "code", None)) for row in rows] == [
        (2, "Row", None),
        (4, "BadRow", "column_count"),
        (6, "BadRow", "malformed_row"),
        (7, "BadRow", "column_count"),
        (8, "Row", None),
    ]
    assert rows[0] == Row(2, {"id": "1", "name": "Ann", "note": "two\nlines"})


def test_a_quote_that_is_never_closed_costs_its_own_line_only(tmp_path: Path) -> None:
    lines = ["id,name", '1,"Ann', *(f"{number},Name" for number in range(2, 30_000))]
    rows = rows_of(write(tmp_path / "a.csv", "\n".join(lines)))
    assert rows[0] == BadRow(2, "malformed_row", "A quotation mark is not closed.", value='1,"Ann')
    assert len(rows) == len(lines) - 1
    assert all(isinstance(row, Row) for row in rows[1:])
    assert rows[-1].line == len(lines)


cells = st.text(st.characters(exclude_categories=("Cs",)), max_size=8)


@given(table=st.lists(st.tuples(cells, cells, cells), min_size=1, max_size=8), delimiter=st.sampled_from(",;\t|"))
def test_what_a_csv_writer_writes_is_read_as_it_was(
    tmp_path_factory: pytest.TempPathFactory, table: list[tuple[str, str, str]], delimiter: str
) -> None:
    out = io.StringIO()
    writer = csv.writer(out, delimiter=delimiter, quoting=csv.QUOTE_ALL)
    writer.writerow(["one", "two", "three"])
    writer.writerows(table)
    path = write(tmp_path_factory.mktemp("csv") / "a.csv", out.getvalue())
    file = examine(path)
    expected = [
        {name: cell for name, cell in zip(("one", "two", "three"), row, strict=True) if cell and not cell.isspace()}
        for row in table
    ]
    read = [row.cells for row in read_rows(msgspec.structs.replace(file, delimiter=delimiter)) if isinstance(row, Row)]
    assert read == expected


@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
def test_the_delimiter_is_found(tmp_path: Path, delimiter: str) -> None:
    text = "\n".join(delimiter.join(row) for row in (["id", "name"], ["1", "Lee"], ["2", "Ray"]))
    assert rows_of(write(tmp_path / "a.csv", text))[1] == Row(3, {"id": "2", "name": "Ray"})


def test_a_byte_order_mark_and_carriage_returns_are_no_part_of_the_data(tmp_path: Path) -> None:
    rows = rows_of(write(tmp_path / "a.csv", b"\xef\xbb\xbfid,name\r\n1,Ann\r\n2,Bob\r\n"))
    assert rows == [Row(2, {"id": "1", "name": "Ann"}), Row(3, {"id": "2", "name": "Bob"})]


def test_a_million_character_field_rejects_its_row_and_names_the_field(tmp_path: Path) -> None:
    text = "id,name,note\n1,Ann,ok\n2,Bob," + "x" * 1_000_000 + "\n3,Cy," + "x" * CELL_CHARS + "\n"
    rows = rows_of(write(tmp_path / "a.csv", text))
    assert [row.line for row in rows] == [2, 3, 4]
    assert isinstance(rows[1], BadRow)
    assert (rows[1].code, rows[1].field) == ("field_too_long", "note")
    assert isinstance(rows[2], Row)


def test_an_endless_line_is_passed_over(tmp_path: Path) -> None:
    text = "id,name\n1,Ann\n2," + "x," * LINE_CHARS + "\n3,Cy\n"
    rows = rows_of(write(tmp_path / "a.csv", text))
    assert [(row.line, getattr(row, "code", "")) for row in rows] == [(2, ""), (3, "line_too_long"), (4, "")]
    lines = b'{"id": 1}\n{"id": "' + b"x" * LINE_CHARS + b'"}\n{"id": 3}\n'
    rows = rows_of(write(tmp_path / "a.jsonl", lines))
    assert [(row.line, getattr(row, "code", "")) for row in rows] == [(1, ""), (2, "line_too_long"), (3, "")]


# --- JSONL and Parquet -------------------------------------------------------------------------------------------


def test_jsonl_rows_are_flattened_and_bad_lines_named(tmp_path: Path) -> None:
    text = (
        '{"id": 7, "phones": ["1", "2"], "address": {"city": "Bath"}, "x": null}\n\n{broken\n[1]\n{"id": 8.0, "vip": true}\n'
    )
    rows = rows_of(write(tmp_path / "a.jsonl", text))
    assert rows[0] == Row(1, {"id": "7", "phones": ["1", "2"], "address.city": "Bath"})
    assert [(row.line, getattr(row, "code", "")) for row in rows[1:3]] == [(3, "malformed_json"), (4, "malformed_json")]
    assert rows[3] == Row(5, {"id": "8", "vip": "true"})


def test_parquet_values_become_text(tmp_path: Path) -> None:
    path = tmp_path / "a.parquet"
    duckdb.execute(
        "copy (select 42::bigint as id, date '1970-05-06' as born, timestamp '2026-01-02 03:04:05' as seen, "
        "['a','b'] as mails, 1.50::decimal(9,2) as amount, null as nothing, {'city': 'Bath'} as address union all "
        "select 43, null, null, [], null, null, null) to '" + str(path) + "' (format parquet)"
    )
    file = examine(path)
    assert (file.format, parquet_rows(file)) == ("parquet", 2)
    assert list(read_rows(file)) == [
        Row(
            1,
            {
                "id": "42", "born": date(1970, 5, 6).isoformat(), "seen": datetime(2026, 1, 2, 3, 4, 5).isoformat(),  # noqa: DTZ001
                "mails": ["a", "b"], "amount": str(Decimal("1.5")), "address.city": "Bath",
            },
        ),
        Row(2, {"id": "43"}),
    ]  # fmt: skip
    assert sample(file)[0] == ["id", "born", "seen", "mails", "amount", "nothing", "address"]


# --- files that cannot be used -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "content", "code"),
    [
        ("a.csv", b"", "file_empty"),
        ("a.csv", b"\n \n", "file_empty"),
        ("a.csv", b"id,name\n", "file_empty"),
        ("a.csv", "id,name\n1,Jos\u00e9\n".encode("latin-1"), "wrong_encoding"),
        ("a.csv", "id,name\n1,Ann\n".encode("utf-16"), "wrong_encoding"),
        ("a.xlsx", b"PK\x03\x04" + b"\0" * 60, "unknown_format"),
        ("a.csv.gz", b"\x1f\x8b" + b"\0" * 60, "unknown_format"),
        ("a.dat", b"id,name\n1,Ann\n", "unknown_format"),
        ("a.json", b'[{"id": 1}]', "unknown_format"),
        ("a.parquet", b"id,name\n1,Ann\n", "unknown_format"),
        ("a.parquet", b"PAR1 and then nothing of the kind", "file_damaged"),
        ("a.csv", b"id,id\n1,2\n", "duplicate_column"),
        ("a.csv", b"1,ann@lee.org\n2,bob@ray.org\n", "header_missing"),
        ("a.csv", b'id,"name\n1,Ann\n', "header_missing"),
    ],
)
def test_an_unusable_file_is_refused_with_its_reason(tmp_path: Path, name: str, content: bytes, code: str) -> None:
    path = write(tmp_path / name, content)
    with pytest.raises(BadInput) as refused:
        sample(examine(path))
    assert refused.value.code == code
    assert refused.value.where["file"] == str(path)
    assert refused.value.hint


def test_missing_and_unreadable_files(tmp_path: Path) -> None:
    with pytest.raises(BadInput) as missing:
        examine(tmp_path / "none.csv")
    assert missing.value.code == "file_missing"
    with pytest.raises(BadInput) as directory:
        examine(tmp_path)
    assert directory.value.code == "file_unreadable"


@pytest.mark.parametrize("ahead", [0, 5, (1 << 20) - 12, 1 << 20, (1 << 20) + 1])
def test_a_wrong_byte_is_named_by_offset_and_line_also_between_chunks(tmp_path: Path, ahead: int) -> None:
    good = b"id,name\n" + b"x" * ahead + b"\n\xc3\xa9"
    path = write(tmp_path / "a.csv", good + b"\xff rest\n")
    with pytest.raises(BadInput) as refused:
        examine(path)
    assert (refused.value.where["byte"], refused.value.where["line"]) == (len(good), 3)


def test_the_digest_tells_files_apart(tmp_path: Path) -> None:
    one = examine(write(tmp_path / "a.csv", "id,name\n1,Ann\n"))
    same = examine(write(tmp_path / "b.csv", "id,name\n1,Ann\n"))
    other = examine(write(tmp_path / "c.csv", "id,name\n1,Ann \n"))
    assert one.digest == same.digest != other.digest
