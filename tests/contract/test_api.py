"""The HTTP surface: roles, tenants, one shape of errors, records and persons."""

from __future__ import annotations

import secrets
import time
import uuid
from datetime import UTC, datetime
from typing import Any

import httpx
import pytest
from tests.contract.conftest import ROLES, Rig
from tests.server_rig import error_of

from firstring import limits

NOBODY = "00000000-0000-4000-8000-000000000000"
ROUTES: dict[tuple[str, str], set[str]] = {
    ("post", "/v1/decide"): {"adapter"},
    ("post", "/v1/calls/events"): {"adapter"},
    ("get", "/v1/contacts/{contact_id}/route"): {"adapter"},
    ("get", "/v1/contacts"): {"adapter", "read"},
    ("post", "/v1/contacts"): {"adapter"},
    ("get", "/v1/contacts/{contact_id}"): {"adapter"},
    ("get", "/v1/contacts/{contact_id}/decisions/{revision}"): {"adapter"},
    ("post", "/v1/contacts/{contact_id}/events"): {"adapter"},
    ("post", "/v1/contacts/{contact_id}/evidence"): {"adapter"},
    ("get", "/v1/contacts/{contact_id}/place"): {"adapter"},
    ("post", "/v1/contacts/{contact_id}/direct"): set(),
    ("post", "/v1/contacts/{contact_id}/transfer"): {"adapter"},
    ("post", "/v1/contacts/{contact_id}/callback"): {"adapter"},
    ("post", "/v1/contacts/{contact_id}/person"): {"adapter"},
    ("get", "/v1/contacts/{contact_id}/decisions/{revision}/agents/{agent_id}"): {"read"},
    ("get", "/v1/interventions"): {"read"},
    ("post", "/v1/resolve"): {"read", "adapter"},
    ("get", "/v1/persons/{person_id}"): {"read", "steward"},
    ("get", "/v1/persons/{person_id}/profile"): {"read", "steward"},
    ("get", "/v1/persons/{person_id}/timeline"): {"read", "steward"},
    ("get", "/v1/persons/{person_id}/patterns"): {"read", "steward"},
    ("post", "/v1/persons/{person_id}/actions/{action}"): {"steward"},
    ("get", "/v1/patterns"): {"read", "steward"},
    ("post", "/v1/patterns"): {"steward"},
    ("post", "/v1/patterns/switch"): {"steward"},
    ("get", "/v1/patterns/fired"): {"read", "steward"},
    ("get", "/v1/routing/models"): {"read"},
    ("get", "/v1/routing/models/{version}"): {"read"},
    ("post", "/v1/routing/models/train"): set(),
    ("post", "/v1/routing/models/{version}/use"): set(),
    ("get", "/v1/routing/trials"): {"read"},
    ("post", "/v1/routing/trials"): set(),
    ("get", "/v1/routing/trials/{name}"): {"read"},
    ("post", "/v1/routing/trials/{name}/start"): set(),
    ("post", "/v1/routing/trials/{name}/stop"): set(),
    ("get", "/v1/routing/regret"): {"read"},
    ("get", "/v1/routing/saved"): {"read"},
    ("get", "/v1/routing/audit"): {"steward"},
    ("get", "/v1/segments"): {"read", "steward"},
    ("post", "/v1/segments"): {"steward"},
    ("get", "/v1/segments/{segment}/members"): {"read", "steward"},
    ("get", "/v1/actions"): {"read", "steward"},
    ("get", "/v1/actions/decisions"): {"read", "steward"},
    ("get", "/v1/actions/decisions/{decision_id}"): {"read", "steward"},
    ("get", "/v1/changes"): {"read", "steward", "adapter"},
    ("get", "/v1/persons/{person_id}/why"): {"steward"},
    ("post", "/v1/persons/{person_id}/unmerge"): {"steward"},
    ("get", "/v1/why"): {"steward"},
    ("get", "/v1/guards"): {"steward"},
    ("get", "/v1/held"): {"steward"},
    ("post", "/v1/held"): {"steward"},
    ("get", "/v1/decisions/links"): {"steward"},
    ("post", "/v1/decisions/links"): {"steward"},
    ("post", "/v1/decisions/links/{decision_id}/revoke"): {"steward"},
    ("get", "/v1/review/next"): {"steward"},
    ("post", "/v1/review/answers"): {"steward"},
    ("post", "/v1/review/answers/undo"): {"steward"},
    ("get", "/v1/review/effect"): {"steward"},
    ("get", "/v1/conflicts"): {"read", "steward"},
    ("post", "/v1/conflicts/{conflict_id}"): {"steward"},
    ("get", "/v1/hygiene"): {"read", "steward"},
    ("post", "/v1/records"): {"import"},
    ("post", "/v1/events"): {"events", "write_key"},
    ("get", "/v1/events/rejected"): set(),
    ("post", "/v1/events/rejected/resend"): set(),
    ("get", "/v1/agents"): set(),
    ("post", "/v1/agents"): set(),
    ("put", "/v1/agents/{agent_id}"): set(),
    ("post", "/v1/agents/{agent_id}/presence"): set(),
}
"""Every route of /v1 and the roles beside administrator that may use it."""
OPEN = {("get", "/healthz"), ("get", "/readyz"), ("get", "/metrics")}


def name() -> str:
    return "x" + secrets.token_hex(6)


def call(rig: Rig, method: str, path: str, token: str = "", **options: Any) -> httpx.Response:
    if token:
        options["headers"] = {"Authorization": f"Bearer {token}", **options.get("headers", {})}
    return rig.client.request(method, path, **options)


def filled(path: str) -> str:
    numbers: dict[str, Any] = dict.fromkeys(("person_id", "agent_id", "conflict_id", "decision_id"), 10**9)
    if "/actions/decisions/" in path:
        numbers["decision_id"] = NOBODY
    return path.format(contact_id=NOBODY, revision=1, action="greet", segment="none", version="none", name="none", **numbers)


def document(rig: Rig) -> dict[str, Any]:
    return call(rig, "get", "/schema/openapi.json").json()


def test_the_table_above_is_complete(api: Rig) -> None:
    found = {(method, path) for path, item in document(api)["paths"].items() for method in item}
    assert found == set(ROUTES) | OPEN


@pytest.mark.parametrize(("method", "path"), sorted(ROUTES), ids=lambda part: part)
def test_only_the_roles_of_a_route_may_use_it(api: Rig, method: str, path: str) -> None:
    body = {"json": {}} if method in ("post", "put") else {}
    without = call(api, method, filled(path), **body)
    assert (without.status_code, error_of(without)["code"]) == (401, "token_missing")
    assert without.headers["www-authenticate"] == "Bearer"
    assert without.headers["cache-control"] == "no-store"
    for forged in ("fr_1_" + "a" * 43, "fr_999999999_" + "a" * 43, "fr_1_", "Ä" * 40, "a b", "fr_" + "1" * 5000):
        refused = call(api, method, filled(path), headers={b"Authorization": b"Bearer " + forged.encode()}, **body)
        assert (refused.status_code, error_of(refused)["code"]) == (401, "unknown_token")
    for role in ROLES:
        answer = call(api, method, filled(path), api.tokens[role], **body)
        if role == "administrator" or role in ROUTES[(method, path)]:
            assert answer.status_code not in (401, 403), (role, answer.text)
        else:
            assert (answer.status_code, error_of(answer)["code"]) == (403, "role_not_allowed")


def test_operators_need_no_token(api: Rig) -> None:
    for method, path in OPEN:
        assert call(api, method, path).status_code == 200
    ready = call(api, "get", "/readyz").json()
    assert ready == {"ready": True, "stopping": False, "database": "ready", "adapters": {}}


def test_a_revoked_token_is_refused(api: Rig) -> None:
    from firstring.ports import SystemClock
    from firstring.store.access import Access

    async def revoked(database: Any, tenant: Any) -> str:
        access = Access(database, SystemClock())
        text, made = await access.create_token(tenant, "read", "revoked")
        assert await access.revoke_token(tenant, made.token_id)
        return text

    assert error_of(call(api, "get", "/v1/contacts", api.home.within(revoked)))["code"] == "unknown_token"


# --- one shape of errors -----------------------------------------------------------------------------------------


def test_errors_have_one_shape(api: Rig) -> None:
    token = api.tokens["administrator"]
    cases: list[tuple[int, str, str, str, dict[str, Any]]] = [
        (404, "not_found", "get", "/v1/nothing", {}),
        (404, "not_found", "get", "/nothing", {}),
        (405, "method_not_allowed", "delete", "/v1/contacts", {}),
        (405, "method_not_allowed", "get", "/v1/decide", {}),
        (404, "unknown_contact", "get", "/v1/contacts/not-a-uuid", {}),
        (404, "unknown_contact", "get", f"/v1/contacts/{NOBODY}", {}),
        (404, "unknown_contact", "post", f"/v1/contacts/{NOBODY}/events", {"json": {"what": "ended"}}),
        (404, "unknown_contact", "post", f"/v1/contacts/{NOBODY}/evidence", {"json": {}}),
        (404, "unknown_contact", "get", f"/v1/contacts/{NOBODY}/route", {}),
        (404, "unknown_agent", "put", "/v1/agents/1000000", {"json": {"name": "A", "address": "sip:a@b.test"}}),
        (404, "unknown_agent", "post", "/v1/agents/1000000/presence", {"json": {"presence": "ready"}}),
        (404, "unknown_person", "get", "/v1/persons/1000000000", {}),
        (400, "invalid_body", "get", "/v1/persons/0", {}),
        (400, "invalid_body", "get", f"/v1/persons/{2**70}", {}),
        (400, "invalid_body", "get", "/v1/contacts?limit=0", {}),
        (400, "invalid_body", "get", f"/v1/contacts/{NOBODY}/route?wait_ms=99999", {}),
        (400, "invalid_body", "get", f"/v1/contacts/{NOBODY}/decisions/{2**40}", {}),
        (400, "bad_json", "post", "/v1/resolve", {"content": b"{", "headers": {"content-type": "application/json"}}),
        (400, "bad_json", "post", "/v1/resolve", {"content": b'{"fields": {"phone": "\xff"}}'}),
        (400, "bad_json", "post", "/v1/resolve", {"content": b"[" * 100_000}),
        (400, "bad_json", "post", "/v1/decide", {"content": b'{"call_id": ' + b"[" * 50_000}),
        (400, "invalid_body", "post", "/v1/resolve", {"json": {"fields": 7}}),
        (400, "invalid_body", "post", "/v1/resolve", {"json": {"unknown": {}, "fields": {}}}),
        (400, "invalid_body", "post", "/v1/resolve", {}),
        (400, "invalid_body", "post", "/v1/records", {"json": {"source": "a\nb", "records": []}}),
        (400, "invalid_body", "post", "/v1/records", {"json": {"source": "", "records": []}}),
        (400, "bad_call_id", "post", "/v1/decide", {"json": {}}),
        (400, "invalid_body", "post", f"/v1/contacts/{NOBODY}/events", {"json": {"what": "eaten"}}),
        (400, "invalid_body", "post", f"/v1/contacts/{NOBODY}/evidence", {"json": {"ruled_out": [2**64]}}),
        (413, "too_large", "post", "/v1/resolve", {"content": b" " * (limits.BODY_BYTES + 1)}),
        (413, "too_large", "post", "/v1/records", {"content": b" " * (limits.RECORDS_BODY_BYTES + 1)}),
    ]
    for status, code, method, path, options in cases:
        answer = call(api, method, path, token, **options)
        assert (answer.status_code, error_of(answer)["code"]) == (status, code), (method, path, answer.text)
    assert "POST" in call(api, "get", "/v1/decide", token).headers["allow"]


@pytest.mark.parametrize("outcome", ["called back, Ann is angry", "+12025550123", "Résolu", "", "a" * 41, "ok\n", 7, "a.b"])
def test_an_outcome_is_a_code(api: Rig, outcome: object) -> None:
    made = call(api, "post", "/v1/contacts", api.tokens["adapter"], json={"id": name(), "channel": "email"}).json()
    answer = call(
        api,
        "post",
        f"/v1/contacts/{made['contact_id']}/events",
        api.tokens["adapter"],
        json={"what": "finished", "outcome": outcome},
    )
    assert (answer.status_code, error_of(answer)["code"]) == (400, "invalid_body")


# --- the way of a contact over HTTP ------------------------------------------------------------------------------


def test_a_chat_from_offer_to_end(api: Rig) -> None:
    token, adapter = api.tokens["administrator"], api.tokens["adapter"]
    email = f"{name()}@example.com"
    record = {"record_id": name(), "full_name": "Ada Bell", "email": email}
    stored = call(api, "post", "/v1/records", token, json={"source": "crm", "records": [record]}).json()
    assert (stored["inserted"], stored["rejected"]) == (1, [])
    event = {"type": "track", "event": "Refund Requested", "userId": record["record_id"], "messageId": name()}
    events = {"source": "crm", "batch": [event, {"type": "dance"}, event]}
    taken = call(api, "post", "/v1/events", api.tokens["write_key"], json=events).json()
    assert (taken["stored"], taken["duplicates"]) == (1, 1)
    assert [(one["index"], one["code"]) for one in taken["rejected"]] == [(1, "unsupported_event_type")]

    offer = {"id": name(), "channel": "chat", "fields": {"email": email}, "language": "en"}
    first = call(api, "post", "/v1/contacts", adapter, json=offer)
    assert first.status_code == 201
    decision = first.json()
    assert (decision["outcome"], decision["agent_id"], decision["revision"]) == ("route", api.agent, 1)
    assert decision["resolution"]["candidates"][0]["profile"]["email"] == [email]
    assert decision["journeys"][0]["open_issues"][0]["kind"] == "refund"
    again = call(api, "post", "/v1/contacts", adapter, json=offer).json()
    assert (again["contact_id"], again["revision"]) == (decision["contact_id"], 1)

    path = f"/v1/contacts/{decision['contact_id']}"
    person = decision["resolution"]["candidates"][0]["person_id"]
    later = call(api, "post", f"{path}/evidence", adapter, json={"confirmed_person": person, "intent": "refund"}).json()
    assert (later["cause"], later["outcome"], later["agent_id"], later["revision"]) == ("confirmed", "keep", api.agent, 2)
    assert call(api, "get", f"{path}/decisions/1", adapter).json()["revision"] == 1
    assert call(api, "get", path, adapter).json()["state"] == "assigned"
    assert call(api, "post", f"{path}/events", adapter, json={"what": "answered"}).json()["after"] == "answered"
    assert call(api, "post", f"{path}/events", adapter, json={"what": "ended"}).json()["after"] == "ended"
    done = call(api, "post", f"{path}/events", adapter, json={"what": "finished", "outcome": "refunded_2x"})
    assert done.json()["after"] == "ended"
    over = call(api, "post", f"{path}/evidence", adapter, json={"intent": "late"})
    assert (over.status_code, error_of(over)["code"]) == (409, "contact_over")
    lines = call(api, "get", "/v1/contacts?limit=500", api.tokens["read"]).json()["contacts"]
    [line] = [line for line in lines if line["contact_id"] == decision["contact_id"]]
    assert (line["outcome"], line["state"]) == ("refunded_2x", "ended")
    assert email not in str(lines)

    view = call(api, "get", f"/v1/persons/{person}", api.tokens["read"]).json()
    assert (view["person_id"], view["profile"]["full_name"]) == (person, "Ada Bell")
    assert view["records"][0]["source"] == "crm"
    assert view["journey"]["open_issues"][0]["kind"] == "refund"


@pytest.mark.parametrize("form", [False, True])
def test_a_call_is_decided_in_both_encodings(api: Rig, form: bool) -> None:
    number = f"+1202555{secrets.randbelow(9000) + 1000}"
    offer = {"call_id": name(), "from": number, "to": "+12025550100", "adapter_ref": "17:3"}
    options = {"data": offer} if form else {"json": offer}
    answer = call(api, "post", "/v1/decide", api.tokens["adapter"], **options)
    assert answer.status_code == 200
    if form:
        fields = httpx.QueryParams(answer.text)
        assert answer.headers["content-type"].startswith("application/x-www-form-urlencoded")
        assert (fields["action"], fields["uri"], fields["adapter_ref"]) == ("route", "sip:agent@agents.test", "17:3")
    else:
        assert answer.json()["routes"][0]["uri"] == "sip:agent@agents.test"
    happened = {"type": "call.answered", "call_id": offer["call_id"]}
    options = {"data": happened} if form else {"json": happened}
    assert call(api, "post", "/v1/calls/events", api.tokens["adapter"], **options).status_code == 200
    for what in ("call.ended",):
        call(api, "post", "/v1/calls/events", api.tokens["adapter"], json={**happened, "type": what})
    lines = call(api, "get", "/v1/contacts", api.tokens["read"]).json()["contacts"]
    finished = call(
        api, "post", f"/v1/contacts/{lines[0]['contact_id']}/events", api.tokens["adapter"], json={"what": "finished"}
    )
    assert finished.json() == {"before": "ended", "after": "ended"}


# --- records and persons -----------------------------------------------------------------------------------------


def test_records_that_cannot_be_used_are_named(api: Rig) -> None:
    token = api.tokens["import"]
    good = {"record_id": name(), "email": f"{name()}@example.com", "phone": "123", "birth_date": "1900-01-01", "plan": 7}
    bad: list[dict[str, Any]] = [{}, {"record_id": "1"}, {"record_id": "2", "email": "no-at"}, {"full_name": "Ann"}]
    answer = call(api, "post", "/v1/records", token, json={"source": "crm", "records": [*bad, good]})
    assert answer.status_code == 200
    result = answer.json()
    assert (result["inserted"], result["updated"]) == (1, 0)
    assert [one["index"] for one in result["rejected"]] == [0, 1, 2, 3]
    assert {one["code"] for one in result["rejected"]} == {"record_id_missing", "nothing_usable"}
    assert {(one["index"], one["field"]) for one in result["left_out"]} == {(4, "phone"), (4, "birth_date")}
    once_more = call(api, "post", "/v1/records", token, json={"source": "crm", "records": [good]}).json()
    assert (once_more["unchanged"], once_more["inserted"]) == (1, 0)
    many = [{"record_id": str(number)} for number in range(limits.IMPORT_BATCH_RECORDS + 1)]
    assert error_of(call(api, "post", "/v1/records", token, json={"source": "crm", "records": many}))["code"] == (
        "batch_too_large"
    )


def test_as_many_records_as_a_batch_may_have_fit_into_a_request(api: Rig) -> None:
    token, mark = api.tokens["import"], name()
    household = {"address_line1": "Flat 12, 4 Long Street", "city": "Leeds", "postcode": "LS1 1AA", "notes": "n" * 400}
    many = [
        {"record_id": f"{mark}-{number}", "full_name": "Ann Lee", "email": f"{mark}-{number}@example.com", **household}
        for number in range(limits.IMPORT_BATCH_RECORDS)
    ]
    answer = call(api, "post", "/v1/records", token, json={"source": "crm", "records": many})
    assert (answer.status_code, answer.json()["inserted"]) == (200, limits.IMPORT_BATCH_RECORDS)
    refused = call(api, "post", "/v1/records", token, content=b" " * (limits.RECORDS_BODY_BYTES + 1))
    assert "4,000,000 bytes of records" in error_of(refused)["hint"]


def test_a_merged_person_leads_to_the_living_one(api: Rig) -> None:
    token = api.tokens["administrator"]
    one, two, account = f"{name()}@example.com", f"{name()}@example.com", name()

    def person(email: str) -> int:
        found = call(api, "post", "/v1/resolve", token, json={"fields": {"email": email}}).json()
        return int(found["candidates"][0]["person_id"])

    def put(record_id: str, email: str, **more: str) -> dict[str, Any]:
        record = {"record_id": record_id, "email": email, "full_name": "Cy Dorn", **more}
        return call(api, "post", "/v1/records", token, json={"source": "crm", "records": [record]}).json()

    first, second = name(), name()
    put(first, one)
    put(second, two)
    apart = person(one), person(two)
    assert apart[0] != apart[1]
    put(first, one, account=account)
    assert put(second, two, account=account)["merged"] == 1
    living = person(one)
    assert person(two) == living
    [gone] = {*apart} - {living}
    redirected = call(api, "get", f"/v1/persons/{gone}", api.tokens["read"])
    assert redirected.status_code == 308
    assert redirected.headers["location"] == f"/v1/persons/{living}"
    assert redirected.json() == {"person_id": gone, "merged_into": living}
    found = call(api, "get", redirected.headers["location"], api.tokens["read"])
    assert found.json()["person_id"] == living
    assert found.headers["cache-control"] == "no-store"


def test_a_person_now_and_at_a_past_moment(api: Rig) -> None:
    token, own, source = api.tokens["administrator"], name(), name()
    email = f"{name()}@example.com"
    record = {"record_id": own, "email": email, "full_name": "Di Orr", "tier": "gold"}
    call(api, "post", "/v1/records", token, json={"source": source, "records": [record]})
    found = call(api, "post", "/v1/resolve", token, json={"fields": {"email": email}}).json()
    path = f"/v1/persons/{found['candidates'][0]['person_id']}"
    then = datetime.now(UTC)
    time.sleep(0.01)
    call(api, "post", "/v1/records", token, json={"source": source, "records": [{**record, "tier": "vip"}]})

    view = call(api, "get", path, api.tokens["read"]).json()
    assert view["profile"]["tier"] == "vip"
    assert view["golden"]["fields"]["tier"]["values"][0]["said_by"][0]["source"] == source
    assert own not in call(api, "get", path, api.tokens["read"]).text, "the sources' own ids are for administrators"
    assert own in call(api, "get", path, token).text
    past = call(api, "get", path, api.tokens["read"], params={"at": then.isoformat()}).json()
    assert (past["profile"]["tier"], past["records"][0]["source"], past["gone"]) == ("gold", source, [])
    assert own not in str(past)
    early = call(api, "get", path, api.tokens["read"], params={"at": "2020-01-01"})
    assert (early.status_code, error_of(early)["code"]) == (404, "person_not_yet")
    wrong = call(api, "get", path, api.tokens["read"], params={"at": "2020-13-45T99:00"})
    assert (wrong.status_code, error_of(wrong)["code"]) == (400, "time_invalid")


def test_conflicts_and_hygiene_over_http(api: Rig) -> None:
    token = api.tokens["administrator"]
    unknown = call(
        api, "post", f"/v1/conflicts/{10**9}", token, json={"value": "1970-05-06", "by": "Eve", "because": "asked"}
    )
    assert (unknown.status_code, error_of(unknown)["code"]) == (404, "unknown_conflict")
    assert isinstance(call(api, "get", "/v1/conflicts", api.tokens["read"]).json(), list)
    assert set(call(api, "get", "/v1/hygiene", api.tokens["read"]).json()) == {"last", "under_way", "ask_again"}


# --- tenants -----------------------------------------------------------------------------------------------------


def test_tenants_see_nothing_of_each_other(api: Rig) -> None:
    mine, theirs = api.tokens["administrator"], api.other
    email, call_id = f"{name()}@example.com", name()
    record = {"record_id": "1", "full_name": "Eve Fox", "email": email}
    call(api, "post", "/v1/records", mine, json={"source": "crm", "records": [record]})
    found = call(api, "post", "/v1/resolve", mine, json={"fields": {"email": email}}).json()
    person = found["candidates"][0]["person_id"]
    made = call(api, "post", "/v1/contacts", mine, json={"id": call_id, "channel": "email", "fields": {"email": email}})
    contact = made.json()["contact_id"]

    assert "candidates" not in call(api, "post", "/v1/resolve", theirs, json={"fields": {"email": email}}).json() or (
        call(api, "post", "/v1/resolve", theirs, json={"fields": {"email": email}}).json()["candidates"] == []
    )
    for method, path, body in [
        ("get", f"/v1/persons/{person}", None),
        ("get", f"/v1/contacts/{contact}", None),
        ("get", f"/v1/contacts/{contact}/decisions/1", None),
        ("get", f"/v1/contacts/{contact}/route?wait_ms=0", None),
        ("post", f"/v1/contacts/{contact}/events", {"what": "cancelled"}),
        ("post", f"/v1/contacts/{contact}/evidence", {"intent": "x"}),
        ("put", f"/v1/agents/{api.agent}", {"name": "Mallory", "address": "sip:m@m.test"}),
        ("post", f"/v1/agents/{api.agent}/presence", {"presence": "away"}),
    ]:
        answer = call(api, method, path, theirs, **({"json": body} if body else {}))
        assert answer.status_code == 404, (path, answer.text)
    assert contact not in call(api, "get", "/v1/contacts?limit=500", theirs).text
    assert [one["profile"]["agent_id"] for one in call(api, "get", "/v1/agents", theirs).json()] == [api.other_agent]
    assert call(api, "get", f"/v1/contacts/{contact}", mine).json()["state"] != "ended"
    same_id = call(api, "post", "/v1/contacts", theirs, json={"id": call_id, "channel": "email"}).json()
    assert uuid.UUID(same_id["contact_id"]) != uuid.UUID(contact)
    confirmed = call(
        api, "post", f"/v1/contacts/{same_id['contact_id']}/evidence", theirs, json={"confirmed_person": person}
    ).json()
    assert email not in str(confirmed)


# --- metrics -----------------------------------------------------------------------------------------------------


def test_every_stage_and_decision_is_measured(api: Rig) -> None:
    call(api, "post", "/v1/contacts", api.tokens["adapter"], json={"id": name(), "channel": "social"})
    text = call(api, "get", "/metrics").text
    for stage in ("read", "derive", "commit", "decide"):
        assert f'firstring_stage_seconds_count{{stage="{stage}"}}' in text
    assert 'firstring_decisions_total{cause="offered",outcome="wait"}' in text
    assert 'firstring_http_seconds_count{route="/v1/contacts",status="2xx"}' in text
    assert NOBODY not in text, text
