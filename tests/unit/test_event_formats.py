"""Each format becomes Segment's form; buckets fill; bodies that lie are refused."""

from __future__ import annotations

import base64
import json
from datetime import UTC, datetime
from typing import Any

import msgspec
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from firstring.api.ingest.buckets import Buckets, retry_after
from firstring.errors import BadInput
from firstring.journey.events import Event
from firstring.journey.events.cloudevents import from_binary
from firstring.journey.events.formats import FORMATS
from firstring.journey.events.reading import read_event

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)


def events(name: str, body: Any) -> list[Event | None]:
    form = FORMATS[name]
    found = form.split(body)
    return [read_event(form, item, found.common, received_at=NOW, standing="reported") for item in found.items]


def one(name: str, body: Any) -> Event:
    [event] = events(name, body)
    assert event is not None
    return event


def test_a_batch_says_once_what_holds_for_all() -> None:
    body = {
        "sentAt": "2026-03-01T11:00:00Z",
        "context": {"ip": "203.0.113.9", "locale": "fr"},
        "batch": [{"event": "x", "userId": "u", "timestamp": "2026-03-01T10:59:00Z", "context": {"locale": "de"}}],
    }
    event = one("segment", body)
    assert event.occurred_at == datetime(2026, 3, 1, 11, 59, tzinfo=UTC)
    assert (event.context, event.fields) == ({"locale": "de"}, {"ip": "203.0.113.9"})


def test_rudderstack_keeps_ids_out_of_the_traits() -> None:
    traits = {"email": "a@b.co", "anonymousId": "v", "userId": "u", "id": "u"}
    event = one("rudder", {"type": "identify", "userId": "u", "context": {"traits": traits}})
    assert event.fields == {"email": "a@b.co"}


def posthog(event: str, **more: Any) -> Event:
    return one("posthog", {"api_key": "k", "event": event, "uuid": "m", **more})


def test_posthog_says_who_is_signed_in() -> None:
    visitor = posthog("x", distinct_id="v", properties={"$device_id": "v", "$current_url": "https://s/"})
    assert (visitor.record_id, visitor.anonymous_id) == (None, "v")
    known = posthog("$identify", distinct_id="u", properties={"$anon_distinct_id": "v", "$set": {"email": "a@b.co"}})
    assert (known.type, known.record_id, known.anonymous_id) == ("identify", "u", "v")
    assert known.fields == {"email": "a@b.co", "cookie": "v"}
    page = posthog("$pageview", distinct_id="u", properties={"$current_url": "https://s/a", "$pathname": "/a", "plan": 1})
    assert (page.type, page.properties) == ("page", {"url": "https://s/a", "path": "/a", "plan": 1})
    screen = posthog("$screen", distinct_id="u", properties={"$screen_name": "Start"})
    assert (screen.type, screen.properties) == ("screen", {"name": "Start"})
    alias = posthog("$create_alias", distinct_id="u", properties={"alias": "v"})
    assert (alias.type, alias.record_id, alias.previous_id) == ("alias", "u", "v")
    assert posthog("$rageclick", distinct_id="u").name == "Rage Clicked"
    assert events("posthog", {"api_key": "k", "event": "$groupidentify", "distinct_id": "g"}) == [None]


def snowplow(**item: str) -> Event:
    return one("snowplow", {"schema": "iglu:x", "data": [{"eid": "m", "uid": "u", **item}]})


def packed(value: Any, *, url_safe: bool = False) -> str:
    encode = base64.urlsafe_b64encode if url_safe else base64.b64encode
    return encode(json.dumps(value).encode()).decode().rstrip("=" if url_safe else "")


@pytest.mark.parametrize("url_safe", [False, True])
def test_snowplows_own_events_are_packed(url_safe: bool) -> None:
    inner = {"schema": "iglu:com.acme/refund_requested/jsonschema/1-0-0", "data": {"order_id": "7", "why": "~~~???"}}
    event = snowplow(e="ue", ue_px=packed({"schema": "iglu:y", "data": inner}, url_safe=url_safe))
    assert (event.name, event.properties) == ("Refund Requested", {"order_id": "7", "why": "~~~???"})
    plain = snowplow(e="ue", ue_pr=json.dumps({"data": inner}))
    assert plain.name == "Refund Requested"


def test_snowplow_has_times_sessions_and_old_orders() -> None:
    session = {"schema": "iglu:c/client_session/jsonschema/1-0-2", "data": {"userId": "visitor", "sessionId": "s"}}
    event = snowplow(e="tr", tr_id="7", tr_tt="5.5", tr_cu="EUR", dtm="1772362800000", stm="1772366400000",
                     cx=packed({"data": [session]}), tz="Europe/Paris")  # fmt: skip
    assert (event.name, event.properties) == ("Order Completed", {"order_id": "7", "total": 5.5, "currency": "EUR"})
    assert event.occurred_at == datetime(2026, 3, 1, 11, tzinfo=UTC)
    assert (event.anonymous_id, event.context["sessionId"]) == ("visitor", "s")
    assert snowplow(e="se", se_ac="x", se_va="nan").properties == {"value": "nan"}
    exact = snowplow(e="pv", ttm="1772362800000", stm="1")
    assert exact.occurred_at == datetime(2026, 3, 1, 11, tzinfo=UTC)
    for item, code in (
        ({"e": "ue", "ue_px": "!"}, "malformed_event"),
        ({"e": "ue", "ue_px": packed({"data": 7})}, "malformed_event"),
        ({"e": "?"}, "unsupported_event_type"),
        ({"e": "pv", "dtm": "soon"}, "malformed_time"),
        ({"e": "pv", "dtm": "9" * 30}, "malformed_time"),
    ):
        with pytest.raises(BadInput) as caught:
            snowplow(**item)
        assert caught.value.code == code


def cloud(**more: Any) -> Event:
    return one("cloudevents", {"specversion": "1.0", "id": "1", "source": "/shop", "type": "x", "subject": "u", **more})


def test_cloudevents_are_named_by_the_end_of_their_type() -> None:
    assert cloud(type="com.acme.shop.order.completed").name == "Order Completed"
    assert cloud(type="com.acme.v2.Something").name == "com.acme.v2.Something"
    assert cloud(type="com.acme.identify", data={"traits": {"email": "a@b.co"}}).fields == {"email": "a@b.co"}
    assert cloud().message_id == "/shop 1"
    assert cloud(userid="v", data={"userId": "w", "n": 1}).record_id == "v"
    assert cloud(data={"userId": "w", "n": 1}).properties == {"n": 1}
    assert cloud(data_base64=base64.b64encode(b'{"n": 2}').decode()).properties == {"n": 2}
    assert cloud(data_base64="!").properties == {}
    assert cloud(data=[1]).properties == {"data": [1]}
    binary = from_binary({"ce-id": "1", "ce-type": "x", "ce-source": "/s%20t", "ce-specversion": "1.0"}, "text/plain", b"hi")
    assert (binary["source"], binary["data"]) == ("/s t", "hi")
    with pytest.raises(BadInput) as caught:
        cloud(id="")
    assert caught.value.where == {"field": "id"}


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)
FIELDS = st.sampled_from(
    ["batch", "data", "schema", "event", "type", "e", "ue_px", "ue_pr", "cx", "co", "properties", "distinct_id", "traits",
     "context", "userId", "uid", "anonymousId", "timestamp", "sentAt", "dtm", "stm", "$set", "specversion", "id", "source",
     "subject", "messageId", "previousId", "groupId", "alias", "writeKey", "api_key", "aid", "token", "data_base64"]
)  # fmt: skip
BODIES = JSON | st.recursive(
    st.dictionaries(FIELDS, JSON, max_size=6),
    lambda inner: st.dictionaries(FIELDS, inner | st.lists(inner, max_size=2) | JSON, max_size=6),
    max_leaves=6,
)


@given(name=st.sampled_from(sorted(FORMATS)), body=BODIES)
@example(name="posthog", body={"event": []})
def test_whatever_comes_is_read_or_refused(name: str, body: Any) -> None:
    """No body makes anything but an event or a BadInput, and what is read does not change when it is read again."""
    body = msgspec.json.decode(msgspec.json.encode(body))
    form = FORMATS[name]
    try:
        found = form.split(body)
    except BadInput:
        return
    for item in found.items:
        seen = []
        for _ in range(2):
            try:
                seen.append(read_event(form, item, found.common, received_at=NOW, standing="claimed", secret="s"))
            except BadInput as error:
                seen.append((error.code, error.message))
        assert seen[0] == seen[1]


# --- buckets -----------------------------------------------------------------------------------------------------


@given(
    per_s=st.floats(0.1, 1_000),
    most=st.floats(1, 5_000),
    calls=st.lists(st.tuples(st.integers(1, 6_000), st.floats(0, 20)), max_size=40),
)
def test_a_bucket_lets_through_what_it_holds(per_s: float, most: float, calls: list[tuple[int, float]]) -> None:
    """In any time no more than it held and was filled with, but for one call that is larger than itself."""
    buckets = Buckets(per_s, most, names=2)
    now_s = passed = largest = 0.0
    for count, pause_s in calls:
        now_s += pause_s
        wait_s = buckets.take("a", count, now_s)
        if wait_s == 0.0:
            passed += count
            largest = max(largest, count)
        else:
            assert buckets.take("a", count, now_s) > 0.0, "waiting less than told does not help"
        assert passed <= most + per_s * now_s + largest + 1e-6
    assert buckets.take("b", 1, now_s) == 0.0
    assert retry_after(0.2) == 1
    assert len(buckets._held) <= 2
