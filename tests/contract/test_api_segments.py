"""Segments over HTTP and by command: loaded, entered, listed, left, told to the metrics."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.server_rig import Home, ServerProcess, error_of, serving, until

from firstring.errors import BadInput
from firstring.nextbest.segments import together

LEEDS = "{id: leeds, title: In Leeds, where: person.city == 'Leeds'}"


@pytest.fixture(scope="module")
def home(make_home: Callable[[], Path]) -> Home:
    return Home(make_home())


@pytest.fixture(scope="module")
def server(home: Home) -> Iterator[ServerProcess]:
    with serving(home) as running:
        yield running


def put(client: Any, record_id: str, **fields: str) -> None:
    record = {"record_id": record_id, "full_name": f"Ann {record_id}", **fields}
    client.post("/v1/records", json={"source": "crm", "records": [record]}).raise_for_status()


def test_loaded_entered_left_and_switched_off(home: Home, server: ServerProcess, tmp_path: Path) -> None:
    [admin] = home.tokens("administrator")
    with server.client(admin) as client:
        begun = client.get("/v1/changes").json()["next"]
        put(client, "1", city="Leeds")
        put(client, "2")
        loaded = client.post("/v1/segments", json={"declarations": LEEDS, "by": "ann"})
        assert (loaded.status_code, loaded.json()) == (
            200,
            {"added": ["leeds"], "changed": [], "unchanged": [], "warnings": []},
        )

        def members() -> list[int]:
            page = client.get("/v1/segments/leeds/members").json()
            assert (page["segment"], page["next"]) == ("leeds", None)
            return [one["person_id"] for one in page["members"]]

        [one] = until(members, "somebody is in it")
        put(client, "2", city="Leeds")
        assert len(until(lambda: members()[1:] and members(), "another one")) == 2
        page = client.get("/v1/segments/leeds/members", params={"limit": 1}).json()
        assert ([each["person_id"] for each in page["members"]], page["next"]) == ([one], one)
        assert len(client.get("/v1/segments/leeds/members", params={"after": one}).json()["members"]) == 1
        put(client, "1", city="York")
        until(lambda: one not in members(), "it is left")
        changes = client.get("/v1/changes", params={"after": begun}).json()["changes"]
        of_segments = [(each["kind"], each["what"]) for each in changes if each["kind"] in ("entered", "left")]
        assert of_segments == [("entered", "leeds"), ("entered", "leeds"), ("left", "leeds")]
        assert 'firstring_segment_errors_total{segment="leeds"}' in client.get("/metrics").text
        [shown] = client.get("/v1/segments").json()["segments"]
        assert (shown["title"], shown["is_on"], shown["members"]) == ("In Leeds", True, 1)
        assert shown["loaded_by"].startswith("ann (")

        file = tmp_path / "more.yaml"
        file.write_text("id: all\nwhere: 'true'")
        assert "1 new" in home.run("segments", "load", str(file)).stdout
        until(lambda: len(client.get("/v1/segments/all/members").json()["members"]) == 2, "a command's load is seen")
        file.write_text("id: all\ntitle: Everybody\nwhere: 'true || has(person.attributes.shoe_size)'")
        warned = home.run("segments", "load", str(file))
        assert "1 changed" in warned.stdout
        assert "none of the newest 2 records has the attribute shoe_size" in " ".join(warned.stderr.split())
        put(client, "2", city="Leeds", shoe_size="43")
        file.write_text("id: all\ntitle: All\nwhere: 'true || has(person.attributes.shoe_size)'")
        assert "warning" not in home.run("segments", "load", str(file)).stderr
        file.write_text("id: all\nwhere: now.x")
        refused = home.run("segments", "load", str(file))
        assert refused.returncode == 2
        assert "expression_invalid" in refused.stderr
        assert "more.yaml" in refused.stderr
        assert "segments_unreadable" in home.run("segments", "load", str(tmp_path / "none.yaml")).stderr
        assert "since" in home.run("segments", "members", "all", "--limit", "1").stdout
        assert "leeds" in home.run("segments", "list").stdout
        assert home.run("segments", "off", "all").stdout == "all is off\n"
        assert home.run("segments", "off", "all").stdout == "nothing was changed\n"
        until(lambda: not client.get("/v1/segments/all/members").json()["members"], "everybody leaves")


@pytest.mark.parametrize(
    ("where", "says", "meant"),
    [
        ("has(person.citty)", "person has no citty", "Did you mean city?"),
        ("traits['order'] > 1", "traits has no order", "Did you mean orders?"),
        ("has(person.shoe_size)", "person has no shoe_size", "person.attributes.shoe_size"),
    ],
)
def test_a_field_that_there_is_not_is_a_mistake(where: str, says: str, meant: str) -> None:
    """It would be false for everybody, and nobody would be told."""
    text = f"id: fine\nwhere: true\n---\nid: a\ntitle: A\nwhere: {where}\n"
    with pytest.raises(BadInput) as refused:
        together([("mine.yaml", text)])
    assert says in refused.value.message
    assert meant in refused.value.hint
    assert (refused.value.code, refused.value.where["file"], refused.value.where["line"]) == (
        "expression_invalid", "mine.yaml", 6,
    )  # fmt: skip


def test_what_a_macro_names_is_its_own() -> None:
    [one] = together([("", "id: a\nwhere: \"[{'a': 1}].exists(person, person.a == 1)\"")])
    assert one.attributes == frozenset()


@pytest.mark.parametrize(
    ("body", "code"),
    [
        ({"declarations": "{id: a, wehre: 'true'}", "by": "ann"}, "segment_invalid"),
        ({"declarations": "{id: a, where: contact.known}", "by": "ann"}, "expression_invalid"),
        ({"declarations": "", "by": "ann"}, None),
        ({"declarations": "{id: a, where: 'true'}"}, None),
    ],
)
def test_what_is_refused_changes_nothing(home: Home, server: ServerProcess, body: dict[str, str], code: str | None) -> None:
    [steward] = home.tokens("steward")
    with server.client(steward) as client:
        before = client.get("/v1/segments").json()["segments"]
        answer = client.post("/v1/segments", json=body)
        assert answer.status_code == 400
        if code is not None:
            error = error_of(answer)
            assert (error["code"], error["where"]["line"]) == (code, 1)
            assert error["hint"]
        assert client.get("/v1/segments").json()["segments"] == before
        assert error_of(client.get("/v1/segments/nothing/members"))["code"] == "unknown_segment"
        assert client.get("/v1/segments/..%2Fx/members").status_code in (400, 404)
