"""Profiles and timelines over HTTP: pages, merged ids, past moments, what is refused."""

from __future__ import annotations

import secrets
from datetime import UTC, datetime, timedelta
from typing import Any

from tests.contract.conftest import Rig
from tests.contract.test_api import call
from tests.server_rig import error_of


def put(api: Rig, record_id: str, email: str, **more: Any) -> int:
    """The person of a record that is there now."""
    token = api.tokens["administrator"]
    record = {"record_id": record_id, "email": email, "full_name": "Cy Dorn", **more}
    assert call(api, "post", "/v1/records", token, json={"source": "shop", "records": [record]}).status_code == 200
    found = call(api, "post", "/v1/resolve", token, json={"fields": {"email": email}}).json()
    return int(found["candidates"][0]["person_id"])


def test_profile_and_timeline_of_a_person_and_of_whom_it_was_merged_into(api: Rig) -> None:
    one, two, account = (secrets.token_hex(6) for _ in range(3))
    read = api.tokens["read"]
    first, second = put(api, one, f"{one}@example.com"), put(api, two, f"{two}@example.com")
    now = datetime.now(UTC)
    events = [
        {"type": "track", "event": f"Step {number}", "userId": user, "messageId": secrets.token_hex(8),
         "timestamp": (now - timedelta(minutes=number)).isoformat()}
        for number in range(6) for user in (one, two)
    ]  # fmt: skip
    sent = call(api, "post", "/v1/events", api.tokens["administrator"], json={"source": "shop", "batch": events})
    assert sent.status_code == 200, sent.text
    page = call(api, "get", f"/v1/persons/{first}/timeline?limit=4", read).json()
    assert [each["name"] for each in page["happened"]] == ["Step 0", "Step 1", "Step 2", "Step 3"]
    rest = call(api, "get", f"/v1/persons/{first}/timeline", read, params={"before": page["before"]}).json()
    assert [each["name"] for each in rest["happened"]] == ["Step 4", "Step 5"]
    assert rest["before"] is None
    assert call(api, "get", f"/v1/persons/{first}/timeline?channel=voice", read).json()["happened"] == []
    put(api, one, f"{one}@example.com", account=account)
    put(api, two, f"{two}@example.com", account=account)
    profile = call(api, "get", f"/v1/persons/{first}/profile", read)
    gone, living = (first, second) if profile.status_code == 308 else (second, first)
    for what in ("profile", "timeline?limit=2"):
        moved = call(api, "get", f"/v1/persons/{gone}/{what}", read)
        assert (moved.status_code, moved.headers["location"]) == (308, f"/v1/persons/{living}/{what}")
        assert moved.json() == {"person_id": gone, "merged_into": living}
    profile = call(api, "get", f"/v1/persons/{living}/profile", read)
    assert profile.headers["cache-control"] == "no-store"
    told = profile.json()
    assert {"attributes", "traits", "counts", "issues", "consents", "household", "doubts", "experience"} <= told.keys()
    assert told["records"] == 2
    assert told["attributes"]["fields"]["email"]["values"][0]["said_by"][0].get("own_id", "") == "", "not for readers"
    as_boss = call(api, "get", f"/v1/persons/{living}/profile", api.tokens["administrator"]).json()
    assert as_boss["attributes"]["fields"]["email"]["values"][0]["said_by"][0]["own_id"] in (one, two)
    past = call(api, "get", f"/v1/persons/{living}/timeline", read, params={"at": now.isoformat()}).json()
    assert len(past["happened"]) <= 12


def test_what_is_refused(api: Rig) -> None:
    read = api.tokens["read"]
    code = secrets.token_hex(6)
    person = put(api, code, f"{code}@example.com")
    for path, status in (
        (f"/v1/persons/{10**12}/profile", 404),
        (f"/v1/persons/{10**12}/timeline", 404),
        (f"/v1/persons/{person}/timeline?before=nonsense", 400),
        (f"/v1/persons/{person}/timeline?before=99999999999999999999.1", 400),
        (f"/v1/persons/{person}/timeline?before=999999999999999999.1", 400),
        (f"/v1/persons/{person}/timeline?limit=0", 400),
        (f"/v1/persons/{person}/timeline?limit=1000", 400),
        (f"/v1/persons/{person}/timeline?channel=VOICE", 400),
        (f"/v1/persons/{person}/profile?at=1999-01-01", 404),
        (f"/v1/persons/{person}/profile?at=2026-99-99T00", 400),
    ):
        answer = call(api, "get", path, read)
        assert (path, answer.status_code) == (path, status)
        assert error_of(answer)["code"]
    assert call(api, "get", f"/v1/persons/{person}/profile", api.other).status_code == 404
