"""The doors of the SDKs: keys in every place, bodies of every kind, limits, preflights, and what goes wrong."""

from __future__ import annotations

import base64
import gzip
import json
import secrets
import zlib
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest
from tests.contract.conftest import Rig
from tests.events_rig import Key, keys, stored
from tests.server_rig import error_of, serving

from firstring import limits
from firstring.journey.events.reading import user_signature

ORIGIN = "https://shop.test"


def name() -> str:
    return "x" + secrets.token_hex(6)


@pytest.fixture(scope="module")
def public(api: Rig) -> Key:
    return keys(api.home, "write_key", f"web-{name()}")[0]


@pytest.fixture(scope="module")
def server_key(api: Rig) -> Key:
    return keys(api.home, "events", f"shop-{name()}")[0]


@pytest.fixture(scope="module")
def narrow(api: Rig) -> Iterator[httpx.Client]:
    """A second server of the same home that lets little through."""
    limited = {"FIRSTRING_EVENTS_PER_CLIENT_S": "1", "FIRSTRING_EVENTS_PER_KEY_S": "1000"}
    with serving(api.home, FIRSTRING_EVENT_PROXIES="127.0.0.1", **limited) as server:
        with server.client() as client:
            yield client


def track(**more: Any) -> dict[str, Any]:
    return {"type": "track", "event": "Product Viewed", "userId": name(), "messageId": name(), **more}


def post(api: Rig, path: str, body: Any = None, key: Key | None = None, **options: Any) -> httpx.Response:
    headers = {**({"authorization": f"Bearer {key.text}"} if key else {}), **options.pop("headers", {})}
    content = options.pop("content", None)
    content = json.dumps(body).encode() if content is None else content
    return api.client.post(path, content=content, headers=headers, **options)


# --- keys --------------------------------------------------------------------------------------------------------


def basic(key: str) -> dict[str, str]:
    return {"authorization": "Basic " + base64.b64encode(f"{key}:".encode()).decode()}


def test_a_write_key_is_taken_in_every_sdks_way(api: Rig, public: Key) -> None:
    one = track(userId=None, anonymousId="visitor-1")
    snowplow = {"e": "pv", "url": ORIGIN, "eid": name(), "duid": "visitor-1", "aid": public.text}
    ways: list[tuple[str, Any, dict[str, Any]]] = [
        ("/v1/batch", {"batch": [one]}, {"headers": basic(public.text)}),
        ("/v1/batch", {"batch": [one], "writeKey": public.text}, {}),
        ("/v1/t", {**one, "writeKey": public.text}, {"headers": {"content-type": "text/plain"}}),
        ("/v1/track", one, {"headers": basic(public.text)}),
        ("/api/s/track", one, {"headers": {"x-write-key": f"{public.text}:any"}}),
        ("/batch/", {"api_key": public.text, "batch": [{"event": "x", "distinct_id": "u", "uuid": name()}]}, {}),
        ("/e/", [{"event": "x", "properties": {"distinct_id": "u", "token": public.text}, "uuid": name()}], {}),
        ("/com.snowplowanalytics.snowplow/tp2", {"schema": "iglu:x", "data": [snowplow]}, {}),
        ("/v1/cloudevents", {"specversion": "1.0", "id": name(), "source": "/s", "type": "a.b", "subject": "u"},
         {"headers": {"authorization": f"Bearer {public.text}", "content-type": "application/cloudevents+json"}}),
        ("/v1/import", {"batch": [one]}, {"params": {"writeKey": public.text}}),
    ]  # fmt: skip
    for path, body, options in ways:
        answer = post(api, path, body, **options)
        assert answer.status_code == 200, (path, answer.text)
        assert answer.json()["stored"] + answer.json()["duplicates"] == 1, (path, answer.text)
    pixel = api.client.get("/i", params={**snowplow, "eid": name()})
    assert (pixel.status_code, pixel.headers["content-type"]) == (200, "image/gif")


def test_a_key_that_is_none_is_told_so(api: Rig, public: Key) -> None:
    body = {"batch": [track()]}
    missing = post(api, "/v1/batch", body)
    assert (missing.status_code, error_of(missing)["code"]) == (401, "write_key_missing")
    for forged in ("k-1", "fr_1_" + "a" * 43, public.text[:-1]):
        answer = post(api, "/v1/batch", body, headers=basic(forged))
        assert (answer.status_code, error_of(answer)["code"]) == (401, "unknown_write_key")
        assert "www-authenticate" not in answer.headers, "a browser would ask the visitor for a password"
    other = post(api, "/v1/batch", body, headers=basic(api.tokens["read"]))
    assert (other.status_code, error_of(other)["code"]) == (403, "role_not_allowed")
    settings = api.client.get("/v1/projects/k-1/settings", headers={"origin": ORIGIN})
    assert (settings.status_code, settings.headers["access-control-allow-origin"]) == (401, ORIGIN)


def test_browsers_are_told_where_to_send(api: Rig, public: Key) -> None:
    found = api.client.get(f"/v1/projects/{public.text}/settings").json()["integrations"]["Segment.io"]
    url = api.server.url.removeprefix("http://")
    assert (found["apiKey"], found["apiHost"], found["protocol"]) == (public.text, f"{url}/v1", "http")
    rudder = api.client.get("/sourceConfig/", headers=basic(public.text)).json()["source"]
    assert (rudder["enabled"], rudder["writeKey"], rudder["destinations"]) == (True, public.text, [])


def test_a_preflight_is_answered_and_so_is_every_error(api: Rig) -> None:
    asked = {
        "origin": ORIGIN,
        "access-control-request-method": "POST",
        "access-control-request-headers": "authorization,x-a",
    }
    for path in ("/v1/t", "/v1/batch", "/api/s/track", "/batch/", "/com.snowplowanalytics.snowplow/tp2", "/sourceConfig/"):
        answer = api.client.options(path, headers=asked)
        assert (answer.status_code, answer.content) == (204, b"")
        assert answer.headers["access-control-allow-origin"] == ORIGIN
        assert answer.headers["access-control-allow-headers"] == "authorization,x-a"
    refused = api.client.post("/v1/t", content=b"{", headers={"origin": ORIGIN})
    assert (refused.status_code, refused.headers["access-control-allow-origin"]) == (400, ORIGIN)


def test_a_token_of_one_source_is_not_for_another(api: Rig, public: Key) -> None:
    body = {"source": "crm", "batch": [track()]}
    answer = post(api, "/v1/events", body, public)
    assert (answer.status_code, error_of(answer)["code"]) == (403, "source_not_allowed")
    assert post(api, "/v1/events", {"batch": [track()]}, public).json()["stored"] == 1


# --- bodies ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "headers",
    [
        {"content-type": "application/x-www-form-urlencoded", "content-encoding": "gzip"},
        {"content-type": "application/json"},
        {"content-type": "text/plain", "content-encoding": "identity"},
    ],
)
def test_gzip_is_known_by_its_bytes(api: Rig, server_key: Key, headers: dict[str, str]) -> None:
    content = gzip.compress(json.dumps({"batch": [track()]}).encode())
    assert post(api, "/v1/batch", content=content, key=server_key, headers=headers).json()["stored"] == 1


def test_what_cannot_be_read_is_refused_whole(api: Rig, server_key: Key) -> None:
    bomb = gzip.compress(b"0" * 50_000_000)
    cut = gzip.compress(json.dumps({"batch": [track()] * 50}).encode())[:-30]
    cases: list[tuple[bytes, dict[str, str], int, str]] = [
        (bomb, {}, 413, "too_large"),
        (b"[" + b"1," * 300_000 + b"1]", {}, 413, "too_large"),
        (cut, {}, 400, "bad_compression"),
        (b"\x1f\x8b rubbish", {}, 400, "bad_compression"),
        (zlib.compress(b"x")[:3], {"content-encoding": "deflate"}, 400, "bad_compression"),
        (b"{}", {"content-encoding": "br"}, 415, "unsupported_encoding"),
        (b"{", {}, 400, "bad_json"),
        (b"[" * 100_000, {}, 400, "bad_json"),
        (b"\xff", {}, 400, "bad_json"),
        (b"7", {}, 400, "malformed_batch"),
        (b'{"batch": 7}', {}, 400, "malformed_batch"),
        (json.dumps({"batch": [{}] * (limits.EVENTS_PER_BATCH + 1)}).encode(), {}, 400, "batch_too_large"),
    ]
    for content, headers, status, code in cases:
        answer = post(api, "/v1/batch", content=content, key=server_key, headers=headers)
        assert (answer.status_code, error_of(answer)["code"]) == (status, code), (content[:20], answer.text)
    assert api.client.get("/v1/batch").status_code == 405
    assert post(api, "/v1/batch", {"batch": []}, server_key).json()["stored"] == 0


# --- what is wrong with single events ----------------------------------------------------------------------------


def test_bad_events_are_kept_with_their_reason_and_sent_again(api: Rig, server_key: Key) -> None:
    admin = {"Authorization": f"Bearer {api.tokens['administrator']}"}
    now = datetime.now(UTC)
    mark = name()
    bad: list[tuple[dict[str, Any], str]] = [
        (track(event=""), "missing_name"),
        (track(userId=None, anonymousId=None), "missing_identity"),
        (track(timestamp=(now + timedelta(days=2)).isoformat()), "time_in_future"),
        (track(timestamp="1970-01-01T00:00:00Z"), "time_too_early"),
        (track(timestamp="yesterday"), "malformed_time"),
        (track(properties={"text": "x" * limits.RECORD_BYTES}), "event_too_large"),
        ({"type": "dance", "userId": "u", "messageId": name()}, "unsupported_event_type"),
        ({"type": "alias", "userId": "u", "previousId": "u", "messageId": name()}, "alias_of_itself"),
        (track(userId="u" * 300), "record_id_invalid"),
    ]
    good = [track(timestamp=(now - timedelta(days=3650)).isoformat(), properties={"mark": mark}), track()]
    batch = [*(event for event, _ in bad), *good, 7]
    answer = post(api, "/v1/batch", {"batch": batch}, server_key).json()
    assert (answer["stored"], answer["duplicates"]) == (2, 0)
    assert [one["code"] for one in answer["rejected"]] == [code for _, code in bad] + ["malformed_event"]
    [old] = [one for one in stored(api.home, server_key.source) if one.properties.get("mark") == mark]
    assert abs(old.occurred_at - (now - timedelta(days=3650))) < timedelta(seconds=1)

    again = post(api, "/v1/batch", {"batch": batch}, server_key).json()
    assert (again["stored"], again["duplicates"], len(again["rejected"])) == (0, 2, 10)

    def mine() -> list[dict[str, Any]]:
        listed = api.client.get("/v1/events/rejected", params={"limit": 1000}, headers=admin).json()
        return [one for one in listed["events"] if one["source"] == server_key.source]

    kept = mine()
    assert {one["code"] for one in kept} == {code for _, code in bad} | {"malformed_event"}
    assert {one["times"] for one in kept} == {2}
    assert all(one["message"] for one in kept)
    [nameless] = [one for one in kept if one["code"] == "missing_name"]
    assert nameless["event"] == bad[0][0]

    resend = {"ids": [one["rejected_id"] for one in kept] + [10**9]}
    mended = {str(nameless["rejected_id"]): {**nameless["event"], "event": "Mended"}}
    done = api.client.post("/v1/events/rejected/resend", json={**resend, "mended": mended}, headers=admin).json()
    assert (done["taken"], done["unknown"]) == (1, [10**9])
    assert len(done["rejected"]) == len(kept) - 1
    assert [one.name for one in stored(api.home, server_key.source)].count("Mended") == 1
    forgotten = api.client.post("/v1/events/rejected/resend", json={**resend, "forget": True}, headers=admin).json()
    assert forgotten["forgotten"] == len(kept) - 1
    assert mine() == []


def test_a_single_bad_event_is_answered_and_kept(api: Rig, server_key: Key) -> None:
    answer = post(api, "/v1/track", {"userId": "u1", "messageId": name()}, server_key)
    assert (answer.status_code, error_of(answer)["code"]) == (400, "missing_name")
    listed = api.home.run("events", "rejected", "--code", "missing_name").stdout
    assert server_key.source in listed
    done = api.home.run("events", "resend", "--code", "missing_name", "--forget")
    assert "given up" in done.stdout, done.stderr


def test_one_message_id_is_one_event(api: Rig, server_key: Key) -> None:
    one = track(properties={"total": 5})
    other = {**one, "properties": {"total": 6}}
    answer = post(api, "/v1/batch", {"batch": [one, one, other]}, server_key).json()
    assert (answer["stored"], answer["duplicates"]) == (1, 1)
    assert [(refused["index"], refused["code"]) for refused in answer["rejected"]] == [(2, "message_id_reused")]
    later = post(api, "/v1/batch", {"batch": [other, one]}, server_key).json()
    assert (later["stored"], later["duplicates"], later["rejected"][0]["code"]) == (0, 1, "message_id_reused")


def test_the_error_of_a_clients_clock_is_corrected(api: Rig, server_key: Key) -> None:
    wrong = datetime.now(UTC) - timedelta(days=400)
    user = name()
    body = {"sentAt": wrong.isoformat(), "batch": [track(userId=user, timestamp=(wrong - timedelta(hours=1)).isoformat())]}
    assert post(api, "/v1/batch", body, server_key).json()["stored"] == 1
    [found] = [one for one in stored(api.home, server_key.source) if one.user == user]
    assert abs(found.occurred_at - (datetime.now(UTC) - timedelta(hours=1))) < timedelta(seconds=60)


def test_names_that_lead_in_a_circle_are_refused(api: Rig, server_key: Key) -> None:
    old, new, newest = name(), name(), name()

    def alias(previous: str, user: str) -> dict[str, Any]:
        return {"type": "alias", "previousId": previous, "userId": user, "messageId": name()}

    batch = [alias(old, new), alias(new, newest), alias(newest, old), alias(newest, new), alias(old, newest)]
    answer = post(api, "/v1/batch", {"batch": [*batch, track(userId=old), track(userId=new)]}, server_key).json()
    assert [(one["index"], one["code"]) for one in answer["rejected"]] == [(2, "alias_loop"), (3, "alias_loop")]
    assert {one.record for one in stored(api.home, server_key.source) if one.user in (old, new, newest)} == {newest}


# --- limits ------------------------------------------------------------------------------------------------------


def test_a_flood_of_one_client_leaves_the_others_alone(narrow: httpx.Client, public: Key, server_key: Key) -> None:
    def send(key: Key, count: int, client: str) -> httpx.Response:
        batch = [{"type": "track", "event": "x", "anonymousId": "flood"}] * count
        return narrow.post(
            "/v1/batch", json={"batch": batch}, headers={**basic(key.text), "x-forwarded-for": f"203.0.113.9, {client}"}
        )

    assert send(public, 2_500, "192.0.2.1").status_code == 200
    refused = send(public, 10, "192.0.2.1")
    assert (refused.status_code, error_of(refused)["code"]) == (429, "events_limited")
    assert 1 <= int(refused.headers["retry-after"]) <= 11
    assert error_of(refused)["where"]["by"] == "client"
    assert send(public, 10, "192.0.2.2").status_code == 200
    assert send(server_key, 10, "192.0.2.1").status_code == 200
    codes = [
        narrow.post("/v1/t", json={}, headers={**basic(f"fr_1_{'k' * 30}{number}"), "x-forwarded-for": "192.0.2.3"})
        for number in range(60)
    ]
    assert {one.status_code for one in codes[:20]} == {401}
    assert 429 in {one.status_code for one in codes}
    text = narrow.get("/metrics").text
    assert 'firstring_events_limited_total{by="client"} 1.0' in text
    assert 'firstring_events_limited_total{by="lookups"}' in text


# --- what a public key is worth ----------------------------------------------------------------------------------


def test_a_public_key_carries_claims_only(api: Rig, public: Key, server_key: Key) -> None:
    admin = {"Authorization": f"Bearer {api.tokens['administrator']}"}
    email, phone, victim = f"{name()}@example.com", f"+1202555{secrets.randbelow(9000) + 1000}", name()
    record = {"record_id": victim, "full_name": "Ann Lee", "email": email, "phone": phone, "birth_date": "1980-02-03"}
    api.client.post("/v1/records", json={"source": public.source, "records": [record]}, headers=admin)

    def persons(**fields: str) -> dict[int, float]:
        found = api.client.post("/v1/resolve", json={"fields": fields}, headers=admin).json()
        return {one["person_id"]: one["probability"] for one in found.get("candidates", [])}

    def person() -> dict[str, Any]:
        [number] = persons(email=email)
        return api.client.get(f"/v1/persons/{number}", headers=admin).json()

    before = persons(email=email), persons(phone=phone), person()["profile"]
    said = {
        "email": email, "phone": "+12025550199", "name": "Ann Lee", "birthday": "1980-02-03", "verified_at": "2026-01-01",
        "tier": "vip", "account": "4711",
    }  # fmt: skip
    claims = [
        {"type": "identify", "userId": name(), "anonymousId": "thief", "traits": said, "messageId": name()},
        {"type": "identify", "anonymousId": "thief", "traits": said, "messageId": name()},
        {"type": "identify", "userId": victim, "anonymousId": "thief", "traits": said, "messageId": name()},
        {"type": "alias", "userId": "thief", "previousId": victim, "messageId": name()},
        {
            "type": "track",
            "event": "Refund Requested",
            "userId": victim,
            "messageId": name(),
            "properties": {"order_id": "1"},
        },
    ]
    answer = post(api, "/v1/batch", {"batch": claims}, headers=basic(public.text)).json()
    assert (answer["stored"], answer["rejected"]) == (5, [])
    after = persons(email=email), persons(phone=phone), person()["profile"]
    assert after[2] == before[2], "nothing of the person changed"
    assert list(after[0]) == list(before[0]), "nobody else has this address now"
    assert persons(phone="+12025550199") == {}
    assert persons(account="4711") == {}
    assert set(persons(cookie="thief")) & set(before[0]) == set(), "nobody was joined to the visitor"
    later = post(
        api, "/v1/batch", {"batch": [track(userId=victim, properties={"mark": "late"})]}, headers=basic(public.text)
    )
    assert later.json()["stored"] == 1
    [late] = [one for one in stored(api.home, public.source) if one.properties.get("mark") == "late"]
    assert (late.record, late.standing) == (victim, 0), "an alias of a public key leads nobody's events away"

    # What anybody may have sent opens an issue, and does not close one that one's own server reported.
    refund = {"type": "track", "userId": victim, "properties": {"order_id": "2"}}
    source = {"source": public.source}
    reported = {**refund, "event": "Refund Requested", "messageId": name()}
    api.client.post("/v1/events", json={**source, "batch": [reported]}, headers=admin)
    settled = {**refund, "event": "Refund Completed", "messageId": name()}
    claimed = {**settled, "messageId": name(), "properties": {"order_id": "1"}}
    post(api, "/v1/batch", {"batch": [settled, claimed]}, headers=basic(public.text))
    assert [issue["ref"] for issue in person()["journey"].get("open_issues", [])] == ["2"]
    by_us = {**settled, "messageId": name()}
    api.client.post("/v1/events", json={**source, "batch": [by_us]}, headers=admin)
    assert person()["journey"].get("open_issues", []) == []


def test_a_signed_user_id_counts_for_more(api: Rig, public: Key) -> None:
    user, visitor = name(), name()
    signed = user_signature(public.secret, user)
    events = [
        {"type": "identify", "userId": user, "anonymousId": visitor, "context": {"userHash": signed}, "messageId": name()},
        {"type": "identify", "userId": user, "traits": {"user_hash": signed.upper()}, "messageId": name()},
        {"type": "identify", "userId": name(), "context": {"userHash": signed}, "messageId": name()},
        {"type": "identify", "userId": user, "context": {"userHash": "é"}, "messageId": name()},
    ]
    answer = post(api, "/v1/batch", {"batch": events}, headers=basic(public.text)).json()
    assert answer["stored"] == 2
    assert [(one["index"], one["code"]) for one in answer["rejected"]] == [
        (2, "signature_invalid"),
        (3, "signature_invalid"),
    ]
    found = [one for one in stored(api.home, public.source) if one.user == user]
    assert [one.standing for one in found] == [2, 2]
    assert "user_hash" not in found[1].fields
