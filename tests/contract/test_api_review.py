"""Stewards over HTTP: why, decisions about links, and what is refused."""

from __future__ import annotations

from tests.contract.conftest import Rig
from tests.contract.test_api import call, name
from tests.server_rig import error_of


def _records(api: Rig) -> tuple[str, list[str]]:
    """A source with three records: two of one person, one of another in the household."""
    source, phone = name(), f"+1202555{hash(name()) % 10_000:04d}"
    own = [name() for _ in range(3)]
    records = [
        {"record_id": own[0], "full_name": "Ann Lee", "phone": phone, "birth_date": "1971-06-24"},
        {"record_id": own[1], "full_name": "Ann Lee", "phone": phone},
        {"record_id": own[2], "full_name": "Bob Lee", "phone": phone},
    ]
    answer = call(api, "post", "/v1/records", api.tokens["import"], json={"source": source, "records": records})
    assert answer.json()["inserted"] == 3
    return source, [f"{source}:{one}" for one in own]


def test_why_and_decisions(api: Rig) -> None:
    token = api.tokens["steward"]
    _, named = _records(api)
    why = call(api, "get", "/v1/why", token, params={"left": named[0], "right": named[1]}).json()
    assert (why["together"], why["basis"], why["keys"]) == (True, "keys", ["phone+name"])
    person = call(api, "get", f"/v1/persons/{why['left']['person_id']}/why", token).json()
    assert {one["name"] for one in person["records"]} == {one.partition(":")[2] for one in named[:2]}
    assert len(person["links"]) == 1

    decision = {"kind": "cannot", "left": named[0], "right": named[2], "by": "Eve Fox", "because": "a couple"}
    made = call(api, "post", "/v1/decisions/links", token, json=decision).json()
    again = call(api, "post", "/v1/decisions/links", token, json=decision).json()
    assert again == made, "the same decision again is the one that lives"
    [number] = made["decision_ids"]
    against = call(api, "post", "/v1/decisions/links", token, json={**decision, "kind": "must"})
    assert (against.status_code, error_of(against)["code"]) == (409, "decisions_contradict")
    listed = call(api, "get", "/v1/decisions/links", token).json()
    found = next(one for one in listed if one["decision_id"] == number)
    assert {found["left"], found["right"]} == {named[0], named[2]}
    assert found["made_by"] == "Eve Fox (token test)"
    ended = call(api, "post", f"/v1/decisions/links/{number}/revoke", token, json={"by": "Eve", "because": "wrong"})
    assert ended.json()["decision_ids"] == [number]
    twice = call(api, "post", f"/v1/decisions/links/{number}/revoke", token, json={"by": "Eve", "because": "wrong"})
    assert (twice.status_code, error_of(twice)["code"]) == (409, "decision_revoked")


def test_without_a_model_there_is_nothing_to_review(api: Rig) -> None:
    token = api.tokens["steward"]
    for path, params in (("/v1/review/next", {"by": "eve"}), ("/v1/review/effect", {})):
        refused = call(api, "get", path, token, params=params)
        assert (refused.status_code, error_of(refused)["code"]) == (409, "no_model")
    assert call(api, "get", "/v1/held", token).json() == []


def test_what_is_not_there_is_said(api: Rig) -> None:
    token = api.tokens["steward"]
    _, named = _records(api)
    body = {"by": "eve", "because": "x"}
    cases = [
        ("get", "/v1/why", "unknown_record", 404, {"params": {"left": named[0], "right": "crm:nobody"}}),
        ("get", "/v1/why", "same_record", 400, {"params": {"left": named[0], "right": named[0]}}),
        ("get", "/v1/why", "unknown_person", 404, {"params": {"left": named[0], "right": "99999999"}}),
        ("get", "/v1/persons/99999999/why", "unknown_person", 404, {}),
        ("post", "/v1/persons/99999999/unmerge", "unknown_person", 404, {"json": {"record": named[0], **body}}),
        ("post", "/v1/held", "unknown_held", 404, {"json": {"left_person": 1, "right_person": 2, "accept": True, **body}}),
        ("post", "/v1/review/answers", "unknown_question", 404, {"json": {"question_id": 9, "answer": "same", "by": "e"}}),
        ("post", "/v1/review/answers/undo", "unknown_answer", 404, {"json": {"by": "nobody"}}),
        ("post", "/v1/decisions/links/99999999/revoke", "unknown_decision", 404, {"json": body}),
    ]  # fmt: skip
    for method, path, code, status, options in cases:
        answer = call(api, method, path, token, **options)
        assert (answer.status_code, error_of(answer)["code"]) == (status, code), path


def test_values_that_point_at_nobody_show_their_value_to_administrators_only(api: Rig) -> None:
    source = name()
    records = [
        {"record_id": f"{source}{n}", "given_name": f"Gil{chr(97 + n)}{chr(98 + n)}", "family_name": f"Ray{chr(98 + n)}x",
         "birth_date": f"19{30 + n}-0{1 + n % 9}-11", "phone": "+12127365009"}
        for n in range(20)
    ]  # fmt: skip
    call(api, "post", "/v1/records", api.tokens["import"], json={"source": source, "records": records})
    [hidden] = call(api, "get", "/v1/guards", api.tokens["steward"]).json()
    assert (hidden["identifier"], hidden["kind"], hidden["value"]) == ("phone", "strangers", "")
    refused = call(api, "get", "/v1/guards", api.tokens["steward"], params={"values": "true"})
    assert (refused.status_code, error_of(refused)["code"]) == (403, "role_not_allowed")
    [shown] = call(api, "get", "/v1/guards", api.tokens["administrator"], params={"values": "true"}).json()
    assert shown["value"] == "+12127365009"
