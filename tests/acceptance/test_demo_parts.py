"""The parts of the demonstration that need nothing running."""

from __future__ import annotations

import csv
import json
import re
from datetime import UTC, datetime
from pathlib import Path

import pytest

from firstring.demo.account import quantile
from firstring.demo.props import stranger
from firstring.demo.voice import choose_voice
from firstring.demo.world import DATA, agents, dated, demo_home, write_settings
from firstring.errors import BadInput

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)


def test_a_home_of_its_own() -> None:
    assert demo_home({"HOME": "/home/kim"}, is_root=False) == Path("/home/kim/.local/share/firstring-demo")
    assert demo_home({}, is_root=True) == Path("/var/lib/firstring-demo")
    assert demo_home({"FIRSTRING_HOME": "/srv/mine"}, is_root=True) == Path("/srv/mine")


def test_settings_of_another_installation_are_not_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FIRSTRING_DATABASE_URL", "postgresql://app@production/firstring")
    monkeypatch.setenv("FIRSTRING_TENANT", "production")
    (tmp_path / "demo").mkdir()
    settings = write_settings(tmp_path, {"listen_port": 1234})
    assert (settings.home, settings.tenant, settings.listen_port) == (tmp_path, "demo", 1234)
    assert settings.is_embedded


def test_unknown_voice() -> None:
    with pytest.raises(BadInput) as caught:
        choose_voice("carrier pigeon")
    assert caught.value.code == "argument_invalid"


def test_nobody_in_the_sample_can_be_reached() -> None:
    """Numbers set aside for fiction (555-01xx) and mail to example.com only."""
    with (DATA / "customers.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert len({row["customer_id"] for row in rows}) == len(rows) > 300
    for row in rows:
        assert row["email"].endswith("@example.com")
        numbers = [row[column] for column in ("phone", "mobile") if row[column]]
        assert numbers
        assert all(re.fullmatch(r"\(\d{3}\) 555-01\d\d", number) for number in numbers)
    assert re.fullmatch(r"\+1\d{3}55501\d\d", stranger())
    areas = {row[column][1:4] for row in rows for column in ("phone", "mobile") if row[column]}
    assert all(stranger()[2:5] not in areas for _ in range(100))


def test_events_happen_relative_to_today() -> None:
    line = json.dumps({"messageId": "e1", "userId": "C1", "event": "Refund Requested", "hoursAgo": 36})
    (made,) = dated([line], NOW)
    event = json.loads(made)
    assert event["timestamp"] == "2026-02-28T00:00:00+00:00"
    assert event["messageId"] == "e1-2026-03-01"
    assert "hoursAgo" not in event


def test_every_event_belongs_to_a_customer() -> None:
    with (DATA / "customers.csv").open(encoding="utf-8", newline="") as file:
        known = {row["customer_id"] for row in csv.DictReader(file)}
    events = [json.loads(line) for line in (DATA / "events.jsonl").read_text("utf-8").splitlines()]
    assert {event["userId"] for event in events} <= known
    assert len({event["messageId"] for event in events}) == len(events)


def test_agents_have_valid_profiles() -> None:
    logins = ("june", "dev", "carmen", "marcus", "bruno", "agent")
    found = agents({login: f"sip:{login}@127.0.0.1:5070" for login in logins})
    assert [login for login, _ in found] == list(logins)
    assert len({profile.name for _, profile in found}) == len(found)


@pytest.mark.parametrize(
    ("values", "share", "expected"),
    [([], 0.5, 0.0), ([3.0], 0.99, 3.0), ([4.0, 1.0, 3.0, 2.0], 0.5, 2.0), ([1.0, 2.0, 3.0], 0.99, 3.0)],
)
def test_quantile(values: list[float], share: float, expected: float) -> None:
    assert quantile(values, share) == expected
