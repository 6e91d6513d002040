"""A raw event becomes the canonical one, or is refused with a code that says why."""

from __future__ import annotations

import json
from datetime import UTC, date, datetime, timedelta, timezone
from decimal import Decimal
from typing import Any

import pytest

from firstring import limits
from firstring.errors import BadInput
from firstring.journey.events import parse_event
from firstring.journey.names import SPEC_NAMES, spec_name

NOW = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)


def track(**more: Any) -> dict[str, Any]:
    return {"event": "Order Completed", "userId": "u1", "messageId": "m1", **more}


def refused(raw: Any, **options: Any) -> BadInput:
    with pytest.raises(BadInput) as caught:
        parse_event(raw, received_at=NOW, **options)
    assert caught.value.hint
    return caught.value


def test_a_track_call_of_a_segment_client() -> None:
    event = parse_event(
        {
            "type": "track",
            "event": "Order Completed",
            "messageId": "ajs-1",
            "anonymousId": "visitor-1",
            "userId": "u1",
            "timestamp": "2026-03-01T11:59:00.000Z",
            "properties": {"order_id": "1042", "total": 59.9, "currency": "EUR"},
            "context": {
                "ip": "203.0.113.9",
                "userAgent": "Mozilla/5.0",
                "traits": {"email": "ana@example.org", "firstName": "Ana", "address": {"postalCode": "1011AB"}},
            },
        },
        received_at=NOW,
    )
    assert (event.message_id, event.type, event.name, event.channel) == ("ajs-1", "track", "Order Completed", "web")
    assert (event.record_id, event.anonymous_id) == ("u1", "visitor-1")
    assert event.occurred_at == NOW - timedelta(minutes=1)
    assert event.fields == {
        "email": "ana@example.org",
        "given_name": "Ana",
        "postcode": "1011AB",
        "ip": "203.0.113.9",
        "cookie": "visitor-1",
    }
    assert event.properties == {"order_id": "1042", "total": 59.9, "currency": "EUR"}


def test_a_row_of_a_file_is_the_same_event() -> None:
    row = {
        "event": "refund_requested",
        "user_id": 17,
        "timestamp": datetime(2026, 2, 1, 9, 30),  # noqa: DTZ001 - what a Parquet column without a zone gives
        "properties.order_id": "1042",
        "properties.total": Decimal("59.90"),
        "properties.note": None,
        "properties.day": date(2026, 2, 1),
        "traits.email": "ana@example.org",
        "context": "",
    }
    event = parse_event(row, received_at=NOW, correct_skew=False)
    assert (event.name, event.record_id) == ("Refund Requested", "17")
    assert event.occurred_at == datetime(2026, 2, 1, 9, 30, tzinfo=UTC)
    assert event.properties == {"order_id": "1042", "total": "59.90", "day": "2026-02-01"}
    assert event.fields == {"email": "ana@example.org"}


def test_objects_in_cells_are_read() -> None:
    event = parse_event(track(properties='{"order_id": 1042}'), received_at=NOW)
    assert event.properties == {"order_id": 1042}
    assert refused(track(properties="{oops")).code == "malformed_event"
    assert refused(track(properties="[1]")).where == {"field": "properties"}
    assert refused(track(**{"properties": 3, "properties.x": 1})).code == "malformed_event"


@pytest.mark.parametrize(
    ("raw", "name", "channel"),
    [
        ({"type": "identify", "traits": {"phone": "+34600"}}, "Identified", "backend"),
        ({"type": "page", "name": "Prices"}, "Page Viewed", "web"),
        ({"type": "screen", "name": "Home"}, "Screen Viewed", "mobile"),
        ({"event": "Call Ended"}, "Call Ended", "voice"),
        ({"event": "Live Chat Message Sent"}, "Live Chat Message Sent", "chat"),
        ({"event": "Order Shipped", "channel": "server"}, "Order Shipped", "backend"),
        ({"event": "Order Shipped", "channel": "browser"}, "Order Shipped", "web"),
        ({"event": "Product Viewed", "context": {"device": {"id": "d1"}}}, "Product Viewed", "mobile"),
        ({"event": "Complaint Opened", "properties": {"channel": "Phone"}}, "Complaint Opened", "voice"),
    ],
)
def test_name_and_channel(raw: dict[str, Any], name: str, channel: str) -> None:
    event = parse_event({"userId": "u1", **raw}, received_at=NOW)
    assert (event.name, event.channel) == (name, channel)
    if raw.get("name"):
        assert event.properties["name"] == raw["name"]


@pytest.mark.parametrize(
    "spelling", ["order_completed", "Order  Completed ", "ORDER COMPLETED", "orderCompleted", "order-completed"]
)
def test_known_names_have_one_spelling(spelling: str) -> None:
    assert spec_name(spelling) == "Order Completed"


def test_synonyms_and_unknown_names() -> None:
    assert spec_name("refund canceled") == "Refund Cancelled"
    assert spec_name(" My own Event") == "My own Event"
    assert all(spec_name(name) == name for name in SPEC_NAMES)


def test_the_error_of_the_senders_clock_is_taken_out() -> None:
    raw = track(timestamp="2026-02-28T11:00:00Z", sentAt="2026-02-28T11:00:30Z")  # the sender is a day slow
    assert parse_event(raw, received_at=NOW).occurred_at == NOW - timedelta(seconds=30)
    fast = track(originalTimestamp="2031-01-01T00:00:00Z", sentAt="2031-01-01T00:00:05Z")
    assert parse_event(fast, received_at=NOW).occurred_at == NOW - timedelta(seconds=5)
    assert refused(fast, correct_skew=False).code == "time_in_future"
    # the sender's own reading counts, not a time it rewrote
    both = track(originalTimestamp="2026-02-01T00:00:00Z", timestamp="2026-02-02T00:00:00Z", sentAt="2026-02-01T00:00:10Z")
    assert parse_event(both, received_at=NOW).occurred_at == NOW - timedelta(seconds=10)


def test_an_event_out_of_an_archive_was_corrected_before() -> None:
    raw = track(
        originalTimestamp="2020-01-01T00:00:00Z",
        sentAt="2020-01-01T00:00:01Z",
        receivedAt="2020-01-02T00:00:00Z",
        timestamp="2020-01-01T23:59:59Z",
    )
    assert parse_event(raw, received_at=NOW).occurred_at == datetime(2020, 1, 1, 23, 59, 59, tzinfo=UTC)


def test_ten_years_old_lands_where_it_belongs() -> None:
    event = parse_event(track(timestamp="2016-03-01T12:00:00+02:00", sentAt=NOW.isoformat()), received_at=NOW)
    assert event.occurred_at == datetime(2016, 3, 1, 10, 0, tzinfo=UTC)


def test_times_without_a_zone_or_hour_are_utc() -> None:
    assert parse_event(track(timestamp="2026-02-01T08:00:00"), received_at=NOW).occurred_at.hour == 8
    assert parse_event(track(timestamp="2026-02-01"), received_at=NOW).occurred_at == datetime(2026, 2, 1, tzinfo=UTC)
    zone = timezone(timedelta(hours=3))
    assert parse_event(track(), received_at=NOW.astimezone(zone)).occurred_at == NOW


def test_an_hour_ahead_is_the_limit() -> None:
    at = (NOW + timedelta(hours=1)).isoformat()
    assert parse_event(track(timestamp=at), received_at=NOW).occurred_at > NOW
    assert refused(track(timestamp=(NOW + timedelta(seconds=3601)).isoformat())).code == "time_in_future"


@pytest.mark.parametrize(
    ("raw", "code"),
    [
        ([], "malformed_event"),
        ("x", "malformed_event"),
        ({"event": "\ud800", "userId": "u"}, "malformed_event"),
        ({"event": object(), "userId": "u"}, "malformed_event"),
        ({"userId": "u"}, "missing_name"),
        ({"event": "  ", "userId": "u"}, "missing_name"),
        ({"event": ["x"], "userId": "u"}, "malformed_event"),
        ({"event": True, "userId": "u"}, "malformed_event"),
        ({"event": "x"}, "missing_identity"),
        ({"event": "x", "userId": "null", "anonymousId": ""}, "missing_identity"),
        ({"event": "x", "userId": "u\x00"}, "control_character"),
        ({"event": "x", "userId": "u" * 1001}, "field_too_long"),
        ({"event": "x", "userId": "u", "messageId": "m" * 1001}, "field_too_long"),
        ({"type": "merge", "userId": "u"}, "unsupported_event_type"),
        ({"type": "alias", "userId": "u"}, "missing_previous_id"),
        ({"type": "alias", "anonymousId": "a", "previousId": "b"}, "missing_previous_id"),
        ({"type": "alias", "userId": "u", "previousId": " u "}, "alias_of_itself"),
        ({"type": "group", "userId": "u", "groupId": ""}, "missing_group"),
        ({"type": ["track"], "event": "x", "userId": "u"}, "unsupported_event_type"),
        ({"event": "x", "userId": "u", "timestamp": "yesterday"}, "malformed_time"),
        ({"event": "x", "userId": "u", "timestamp": 1_700_000_000}, "malformed_time"),
        ({"event": "x", "userId": "u", "sentAt": "?"}, "malformed_time"),
        ({"event": "x", "userId": "u", "timestamp": "9999-12-31T23:59:59-23:00"}, "malformed_time"),
        ({"event": "x", "userId": "u", "timestamp": "0001-01-01T00:00:00Z", "sentAt": "9999-01-01"}, "malformed_time"),
        ({"event": "x", "userId": "u", "timestamp": "1970-01-01T00:00:00Z"}, "time_too_early"),
        ({"event": "x", "userId": "u", "context": "x"}, "malformed_event"),
        ({"event": "x", "userId": "u", "properties": {"text": "y" * limits.RECORD_BYTES}}, "event_too_large"),
    ],
)
def test_what_is_wrong_is_refused_with_a_code(raw: Any, code: str) -> None:
    assert refused(raw).code == code


def test_a_refusal_does_not_repeat_what_was_sent() -> None:
    error = refused({"event": "x", "userId": "ana@example.org", "timestamp": "ana@example.org"})
    assert "ana" not in json.dumps(error.as_json())


def test_too_deep_and_too_large_numbers() -> None:
    deep: list[Any] = []
    for _ in range(100_000):
        deep = [deep]
    assert refused(track(properties={"x": deep})).code == "malformed_event"
    assert refused({"event": "x", "userId": 10**4000}).code == "malformed_event"
    assert refused(track(properties='{"x":' + "[" * 20_000 + "]" * 0)).code == "malformed_event"


def test_without_a_message_id_the_content_is_the_id() -> None:
    raw = {"event": "Order Completed", "userId": "u1", "timestamp": "2026-02-01T00:00:00Z", "properties": {"a": 1, "b": 2}}
    again = {**raw, "properties": {"b": 2, "a": 1}}
    later = NOW + timedelta(days=1)
    first = parse_event(raw, received_at=NOW)
    assert first.message_id == parse_event(again, received_at=later).message_id
    assert first.message_id != parse_event({**raw, "userId": "u2"}, received_at=NOW).message_id
    # with no time either, two arrivals cannot be told from two events: they are two
    del raw["timestamp"]
    assert parse_event(raw, received_at=NOW).message_id != parse_event(raw, received_at=later).message_id
