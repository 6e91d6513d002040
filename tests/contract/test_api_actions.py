"""Actions over HTTP: what is in force, an action by hand under the gates, its decision with the trace; what is refused."""

from __future__ import annotations

import uuid

from tests.contract.conftest import Rig
from tests.contract.test_api import call, name
from tests.server_rig import error_of


def _person(api: Rig) -> int:
    source, own = name(), name()
    record = {"record_id": own, "full_name": "Ann Lee", "email": f"{own}@example.com"}
    call(api, "post", "/v1/records", api.tokens["import"], json={"source": source, "records": [record]})
    answer = call(api, "post", "/v1/resolve", api.tokens["read"], json={"fields": {"email": record["email"]}})
    return int(answer.json()["candidates"][0]["person_id"])


def test_by_hand_and_why(api: Rig) -> None:
    person, steward, read = _person(api), api.tokens["steward"], api.tokens["read"]
    force = call(api, "get", "/v1/actions", read).json()
    assert {"greet", "offer_upgrade"} <= {one["action"] for one in force["actions"]}
    made = call(api, "post", f"/v1/persons/{person}/actions/offer_upgrade", steward, json={"by": "Eve Fox"}).json()
    assert (made["outcome"], made["action"], made["decided_by"]) == ("acted", "offer_upgrade", "Eve Fox")
    assert made["content"]["agent_text"] == "Offer an upgrade"
    shown = call(api, "get", f"/v1/actions/decisions/{made['decision_id']}", read).json()
    assert (shown["same"], shown["cause"], shown["now"]) == (True, "hand", person)
    listed = call(api, "get", "/v1/actions/decisions", read, params={"person": person}).json()
    assert [one["decision_id"] for one in listed] == [made["decision_id"]]
    gone = call(api, "get", "/v1/actions/decisions", read, params={"person": person, "before": "2020-01-01"}).json()
    assert gone == []
    none = call(api, "post", f"/v1/persons/{person}/actions/settle_refund", steward, json={"by": "Eve Fox"}).json()
    assert none["outcome"] == "none"
    assert [gate["code"] for gate in none["considered"][0]["gated_by"]] == ["not_applicable"]


def test_what_is_refused(api: Rig) -> None:
    person, steward, read = _person(api), api.tokens["steward"], api.tokens["read"]
    for path, code, status in (
        (f"/v1/persons/{person}/actions/no_such", "unknown_action", 404),
        ("/v1/persons/999999999/actions/greet", "unknown_person", 404),
    ):
        answer = call(api, "post", path, steward, json={"by": "Eve Fox"})
        assert (answer.status_code, error_of(answer)["code"]) == (status, code)
    other = call(api, "post", f"/v1/persons/{person}/actions/greet", steward, json={"by": "Eve", "record_id": 999_999_999})
    assert (other.status_code, error_of(other)["code"]) == (409, "record_of_another")
    assert call(api, "post", f"/v1/persons/{person}/actions/greet", read, json={"by": "Eve"}).status_code == 403
    assert call(api, "post", f"/v1/persons/{person}/actions/greet", steward, json={"by": ""}).status_code == 400
    missing = call(api, "get", f"/v1/actions/decisions/{uuid.uuid4()}", read)
    assert (missing.status_code, error_of(missing)["code"]) == (404, "unknown_decision")
    assert call(api, "get", f"/v1/actions/decisions/{'0' * 33}", read).status_code == 404
