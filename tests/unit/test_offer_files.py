"""Files of offers that are none: refused with what is wrong, or row by row."""

from __future__ import annotations

from pathlib import Path

import pytest

from firstring.errors import BadInput
from firstring.steward.actions import _rows
from firstring.store.nextbest.offers import read_rows

HEAD = "offer_id,title,price\n"


@pytest.mark.parametrize(
    ("name", "content", "offers", "rejected"),
    [
        ("a.csv", HEAD + "a,A,1\nb,B,1,2,3\n", 1, 1),
        ("a.csv", HEAD + "a\0b,A,1\n", 0, 1),
        ("a.jsonl", '{"offer_id": "a", "title": "A"}\n7\n', 1, 1),
        ("a.jsonl", '{"offer_id": "a", "title": "A"}\n' + "[" * 100_000 + "\n", 1, 1),
    ],
)
def test_rows_that_are_no_offers(tmp_path: Path, name: str, content: str, offers: int, rejected: int) -> None:
    (tmp_path / name).write_text(content)
    found, refused = read_rows(list(_rows(tmp_path / name)))
    assert (len(found), len(refused)) == (offers, rejected)


def test_a_file_that_cannot_be_read(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text(HEAD + 'a,"' + "x" * 200_000 + '",1\n')
    with pytest.raises(BadInput) as refused:
        list(_rows(tmp_path / "a.csv"))
    assert refused.value.code == "file_unreadable"
