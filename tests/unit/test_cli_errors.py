"""An error of a command is told as it stands: its brackets are no markup of the terminal."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from firstring.cli import main


def test_brackets_of_an_error_are_shown(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    rows, names = tmp_path / "people.csv", tmp_path / "map.toml"
    rows.write_text("id,name\n1,Jon Smith\n")
    names.write_text('[columns]\nname = "full_name"\n')
    monkeypatch.setattr(
        sys, "argv", ["firstring", "link", str(rows), "--map", str(names), "--out", str(tmp_path / "out.csv")]
    )
    with pytest.raises(SystemExit) as ended:
        main()
    told = capsys.readouterr().err
    assert ended.value.code == 2
    assert "map_malformed" in told
    assert "[columns]" in told or "[fields]" in told
