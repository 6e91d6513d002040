"""Stepping in over HTTP: a contact of a channel of its own is told its wait, sent on, handed on, and asked why."""

from __future__ import annotations

import time
from typing import Any

import pytest
from tests.contract.conftest import Rig
from tests.contract.test_api import call, name
from tests.server_rig import error_of

PROFILE = {"channels": ["social"], "capacity": {"social": 1}}


def agent(api: Rig, **more: Any) -> int:
    made = call(api, "post", "/v1/agents", api.tokens["administrator"], json={"name": name(), **PROFILE, **more})
    assert made.status_code == 201, made.text
    return made.json()["agent_id"]


@pytest.fixture(autouse=True)
def nobody_else_waits(api: Rig) -> None:
    """What other tests left open is over, and their agents are away: the line is ours."""
    lines = call(api, "get", "/v1/contacts?limit=500", api.tokens["read"]).json()["contacts"]
    for line in lines:
        if line["state"] != "ended":
            path = f"/v1/contacts/{line['contact_id']}/events"
            assert call(api, "post", path, api.tokens["adapter"], json={"what": "finished"}).status_code == 200
    for one in call(api, "get", "/v1/agents", api.tokens["administrator"]).json():
        if one["presence"] == "ready" and "social" in one["profile"]["channels"]:
            ready(api, one["profile"]["agent_id"], "away")


def ready(api: Rig, agent_id: int, presence: str = "ready") -> None:
    path = f"/v1/agents/{agent_id}/presence"
    assert call(api, "post", path, api.tokens["administrator"], json={"presence": presence}).status_code == 200


def offered(api: Rig) -> dict[str, Any]:
    made = call(api, "post", "/v1/contacts", api.tokens["adapter"], json={"id": name(), "channel": "social"})
    assert made.status_code == 201, made.text
    return made.json()


def until(api: Rig, contact: str, what: str, wanted: Any) -> dict[str, Any]:
    for _ in range(100):
        found = call(api, "get", f"/v1/contacts/{contact}", api.tokens["adapter"]).json()
        if found[what] == wanted:
            return found
        time.sleep(0.05)
    raise AssertionError(f"{what} is {found[what]!r} and not {wanted!r}")


def test_a_contact_is_told_its_wait_sent_on_handed_on_and_explained(api: Rig) -> None:
    ann, bob, eve = agent(api), agent(api), agent(api, refuses=["sales"], hours={"zone": "UTC", "mon-sun": ["00:00-24:00"]})
    ready(api, ann)
    taken = offered(api)
    assert taken["agent_id"] == ann
    waits = offered(api)
    contact = waits["contact_id"]
    assert waits["outcome"] == "wait"
    for _ in range(100):
        place = call(api, "get", f"/v1/contacts/{contact}/place", api.tokens["adapter"]).json()
        if place["told_wait_s"] is not None:
            break
        time.sleep(0.1)
    assert place["place"] == 1
    assert 0.0 < place["told_low_s"] < place["told_wait_s"] < place["told_high_s"]

    sent = call(
        api, "post", f"/v1/contacts/{contact}/direct", api.tokens["administrator"],
        json={"because": "knows the case", "to_agent": bob, "points": 5, "note": "be kind"},
    )  # fmt: skip
    assert sent.status_code == 200, sent.text
    ready(api, eve)
    ready(api, bob)
    assert until(api, contact, "agent_id", bob)["decision"]["outcome"] == "route"

    assert (
        call(api, "post", f"/v1/contacts/{contact}/events", api.tokens["adapter"], json={"what": "answered"}).json()["after"]
        == "answered"
    )
    handed = call(
        api,
        "post",
        f"/v1/contacts/{contact}/transfer",
        api.tokens["adapter"],
        json={"because": "a claim", "intent": "claim"},
    ).json()
    assert handed["agent_id"] == eve
    assert handed["routing"]["need"]["intent"] == "claim"
    path = f"/v1/contacts/{contact}/decisions/{handed['revision']}/agents"
    why = call(api, "get", f"{path}/{eve}", api.tokens["read"]).json()
    assert (why["got_it"], why["place"]) == (True, 1)
    other = call(api, "get", f"{path}/{ann}", api.tokens["read"]).json()
    assert (other["got_it"], other["eligible"], other["reasons"][0]["code"]) == (False, False, "not_free")

    log = call(api, "get", "/v1/interventions?limit=2", api.tokens["read"]).json()["interventions"]
    assert [one["what"] for one in log] == ["transfer", "move"]
    assert log[1]["note"] == "be kind"
    assert log[1]["because"] == "knows the case"
    for one in (taken["contact_id"], contact):
        call(api, "post", f"/v1/contacts/{one}/events", api.tokens["adapter"], json={"what": "finished"})
    for one in (ann, bob, eve):
        ready(api, one, "offline")


def test_what_cannot_be_done_says_why(api: Rig) -> None:
    token = api.tokens["administrator"]
    waits = offered(api)["contact_id"]
    for path, body, status, code in (
        ("direct", {"because": "x"}, 400, "nothing_asked"),
        ("direct", {"because": "x", "to_agent": 10**12}, 404, "unknown_agent"),
        ("transfer", {"because": "x", "intent": "y"}, 409, "contact_not_taken"),
        ("callback", {}, 409, "not_a_call"),
    ):
        answer = call(api, "post", f"/v1/contacts/{waits}/{path}", token, json=body)
        assert (answer.status_code, error_of(answer)["code"]) == (status, code), path
    call(api, "post", f"/v1/contacts/{waits}/events", token, json={"what": "cancelled"})
    over = call(api, "post", f"/v1/contacts/{waits}/direct", token, json={"because": "x", "points": 1})
    assert (over.status_code, error_of(over)["code"]) == (409, "contact_over")
    for profile, code in (
        ({"hours": {"zone": "Nowhere", "mon": ["08:00-12:00"]}}, "hours_invalid"),
        ({"mix": [{"social": 2}]}, "mix_invalid"),
        ({"licences": {"life": "soon"}}, "licence_invalid"),
    ):
        refused = call(api, "post", "/v1/agents", token, json={"name": "A", **PROFILE, **profile})
        assert (refused.status_code, error_of(refused)["code"]) == (400, code)
        assert error_of(refused)["where"]["field"]
