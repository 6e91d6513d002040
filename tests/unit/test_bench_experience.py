"""The benchmark of the experience score: ranks, the made world, the loader of a bank's calls."""

from __future__ import annotations

import gzip
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from firstring.bench.journey_experience import auc, bank, measured, world
from firstring.errors import BadInput

HEAD = (
    "vru+line call_id customer_id priority type date vru_entry vru_exit vru_time q_start q_exit q_time outcome ser_start "
    "ser_exit ser_time server"
)


@given(st.lists(st.tuples(st.integers(0, 4), st.booleans()), min_size=1, max_size=30))
def test_auc_is_the_share_of_pairs_in_order(drawn: list[tuple[int, bool]]) -> None:
    positive = [value for value, truth in drawn if truth]
    negative = [value for value, truth in drawn if not truth]
    pairs = [(left > right) + 0.5 * (left == right) for left in positive for right in negative]
    expected = sum(pairs) / len(pairs) if pairs else 0.5
    assert auc([value for value, _ in drawn], [truth for _, truth in drawn]) == pytest.approx(expected)


def test_the_world_is_the_same_for_a_seed_and_asks_only_of_the_past() -> None:
    one, other = list(world(300, 5)), list(world(300, 5))
    assert one == other
    assert all(touch.occurred_at <= asked.at for asked in one for touch in asked.touches)
    assert not any(touch.name.startswith("Complaint") for asked in one for touch in asked.touches)


def test_calls_of_the_bank(tmp_path: Path) -> None:
    rows = [
        HEAD,
        "A 1 7 0 PS 990101 10:00:00 10:00:06 6 10:00:06 10:02:06 120 HANG 0:00:00 0:00:00 0 NO_SERVER",
        "A 2 7 0 PS 990102 10:00:00 10:00:06 6 10:00:06 10:00:16 10 AGENT 10:00:16 10:01:16 60 ANN",
        "A 3 8 0 NE 990101 10:00:00 10:00:06 6 0:00:00 0:00:00 0 AGENT 10:00:06 10:01:06 60 ANN",
        "A 4 0 0 NE 990103 10:00:00 10:00:06 6 0:00:00 0:00:00 0 AGENT 10:00:06 10:01:06 60 ANN",
        "A 5 1.26E+11 0 NE 990103 10:00:00 10:00:06 6 0:00:00 0:00:00 0 AGENT 10:00:06 10:01:06 60 ANN",
        "A 6 9 0 NE 990120 10:00:00 10:00:06 6 0:00:00 0:00:00 0 AGENT 10:00:06 10:01:06 60 ANN",
    ]
    text = "\r\n".join("\t".join(row.split()) for row in rows) + "\r\n"
    (tmp_path / "anonbank_1999_01.txt.gz").write_bytes(gzip.compress(text.encode()))
    asked = list(bank(tmp_path))
    assert [(len(one.touches), one.came_true) for one in asked] == [(2, True), (4, False), (2, False)]
    assert [touch.name for touch in asked[1].touches] == ["Call Started", "Call Abandoned", "Call Started", "Call Ended"]


def test_without_the_file_it_says_so(tmp_path: Path) -> None:
    with pytest.raises(BadInput) as refused:
        measured(people=20, seed=1, data=tmp_path, say=lambda _: None)
    assert refused.value.code == "file_missing"
