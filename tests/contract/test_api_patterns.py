"""Patterns over HTTP and by command: loaded, tried, switched, seen on a person, told to the metrics."""

from __future__ import annotations

import json
import re
import secrets
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.server_rig import Home, ServerProcess, serving

TWICE = "{id: twice, title: Two calls, valence: negative, within: 7d, match: {event: Call Started, count: 2}}"
CART = "{id: left, within: 2h, match: {seq: [Product Added, {absent: Order Completed, for: 1h}]}}"


@pytest.fixture(scope="module")
def home(make_home: Callable[[], Path]) -> Home:
    return Home(make_home())


@pytest.fixture(scope="module")
def server(home: Home) -> Iterator[ServerProcess]:
    with serving(home) as running:
        yield running


def command(home: Home, *arguments: str, code: int = 0) -> str:
    done = subprocess.run(
        [Path(sys.executable).with_name("firstring"), "patterns", *arguments],
        capture_output=True, text=True, env=home.environment, timeout=120, check=False,
    )  # fmt: skip
    assert done.returncode == code, done.stderr
    return done.stdout if not code else done.stderr


def happens(client: Any, user: str, *names: str) -> None:
    batch = [{"type": "track", "event": name, "userId": user, "messageId": secrets.token_hex(8)} for name in names]
    answer = client.post("/v1/batch", json={"batch": batch})
    assert answer.json()["stored"] == len(names), answer.text


def test_loaded_switched_fired_and_seen(home: Home, server: ServerProcess) -> None:
    [admin] = home.tokens("administrator")
    with server.client(admin) as client:
        there = client.get("/v1/patterns").json()
        assert {one["is_on"] for one in there["patterns"]} == {True}, "a new tenant has the library on"
        assert len(there["patterns"]) >= 20
        names = [one["id"] for one in there["patterns"]]
        off = client.post("/v1/patterns/switch", json={"patterns": names, "on": False, "by": "ann"}).json()
        assert off == {"switched": sorted(names), "reports": []}

        dry = client.post("/v1/patterns", json={"declarations": TWICE, "by": "ann", "dry": True}).json()
        assert (dry["added"], dry["reports"][0]["pattern"], dry["reports"][0]["caught"]) == ([], "twice", 0)
        both = {"declarations": f"{TWICE}\n---\n{CART}", "by": "ann", "on": True}
        assert client.post("/v1/patterns", json=both).json()["on"] == ["twice", "left"]
        happens(client, "u1", "Call Started", "Product Added", "Call Started", "Call Started")
        [fired] = client.get("/v1/patterns/fired", params={"pattern": "twice"}).json()
        person = fired["person_id"]
        seen = client.get(f"/v1/persons/{person}/patterns").json()
        [one] = seen["fired"]
        assert (one["title"], one["valence"]) == ("Two calls", "negative")
        assert [event["name"] for event in one["events"]] == ["Call Started", "Call Started"]
        ways = {way["pattern"]: way for way in seen["under_way"]}
        assert [event["name"] for event in ways["left"]["events"]] == ["Product Added"]
        assert ways["left"]["comes_true_at"]
        assert len(ways["twice"]["events"]) == 1
        assert 'firstring_patterns_fired_total{pattern="twice",valence="negative"} 1.0' in client.get("/metrics").text

        off = client.post("/v1/patterns/switch", json={"patterns": ["twice"], "on": False, "by": "ann"}).json()
        assert off["switched"] == ["twice"]
        happens(client, "u1", "Call Started", "Call Started")
        assert len(client.get("/v1/patterns/fired").json()) == 1
        on = client.post("/v1/patterns/switch", json={"patterns": ["twice"], "on": True, "by": "ann"}).json()
        assert on["reports"][0]["caught"] == 1


@pytest.mark.parametrize(
    ("path", "body", "status", "code"),
    [
        ("/v1/patterns", {"declarations": "{id: a, match: A, wihtin: 3d}", "by": "ann"}, 400, "pattern_invalid"),
        ("/v1/patterns", {"declarations": "{id: a, match: A, where: event.x}", "by": "a"}, 400, "expression_invalid"),
        ("/v1/patterns", {"declarations": "", "by": "ann"}, 400, None),
        ("/v1/patterns/switch", {"patterns": ["nothing"], "on": True, "by": "ann"}, 404, "unknown_pattern"),
        ("/v1/patterns/switch", {"patterns": ["../x"], "on": True, "by": "ann"}, 400, None),
    ],
)  # fmt: skip
def test_what_is_wrong_is_refused(
    home: Home, server: ServerProcess, path: str, body: Any, status: int, code: str | None
) -> None:
    [admin, reader] = home.tokens("administrator", "read")
    with server.client(admin) as client:
        before = client.get("/v1/patterns").json()["patterns"]
        answer = client.post(path, json=body)
        assert answer.status_code == status, answer.text
        if code is not None:
            assert answer.json()["error"]["code"] == code
        assert client.get("/v1/patterns").json()["patterns"] == before
        assert client.get(f"/v1/persons/{10**15}/patterns").status_code == 404
    with server.client(reader) as client:
        assert client.get("/v1/patterns").status_code == 200
        assert client.post(path, json=body).status_code == 403


def test_by_command_while_a_server_runs(home: Home, server: ServerProcess, tmp_path: Path) -> None:
    """Another process loads and switches; the server goes by it with the next events."""
    [admin] = home.tokens("administrator")
    file = tmp_path / "thrice.yaml"
    file.write_text(TWICE.replace("twice", "thrice").replace("count: 2", "count: 3"))
    said = command(home, "load", str(file))
    assert "thrice: would have fired once, for 1 of 1 persons" in said
    assert "1 new" in said
    assert "thrice" in command(home, "on", "thrice")
    with server.client(admin) as client:
        happens(client, "u2", "Call Started", "Call Started", "Call Started")
        fired = client.get("/v1/patterns/fired", params={"pattern": "thrice"}).json()
        [one] = [one for one in fired if not one["is_past"]]  # what came true before it was on is noted soon
    assert re.search(r"thrice \(negative\): person \d+", command(home, "fired", "thrice"))
    shown = command(home, "fired", "--person", str(one["person_id"]))
    assert re.search(r"thrice \(negative\): Call Started .*, Call Started .*, Call Started", shown)
    listed = json.loads(command(home, "list", "--json"))
    assert {each["id"]: each["is_on"] for each in listed}["thrice"]
    assert "thrice" in command(home, "list")
    file.write_text("{id: thrice, match: A, wihtin: 3d}")
    assert "pattern_invalid" in command(home, "load", str(file), code=2)
    assert "patterns_not_named" in command(home, "off", code=2)
    assert "thrice" in command(home, "off", "thrice")
    assert "nothing was changed" in command(home, "off", "thrice")
