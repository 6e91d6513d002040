"""The canonical event, in the form of the Segment Spec, and how a raw one becomes it.

`parse_event` is used for events that arrive over HTTP and for events in files alike. It reads the spec's own spelling
(messageId, userId, sentAt) and the snake case of files (message_id, user_id, sent_at), objects and dotted columns
("properties.order_id"). Source: https://segment.com/docs/connections/spec/common/
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, Final, Literal, cast

import msgspec

from firstring import limits
from firstring.errors import BadInput
from firstring.journey.names import spec_name

EventType = Literal["track", "identify", "page", "screen"]

_TYPES: Final = frozenset(("track", "identify", "page", "screen"))
_NAME_OF_TYPE: Final = {"identify": "Identified", "page": "Page Viewed", "screen": "Screen Viewed"}
_NOBODY: Final = frozenset(("", "null", "undefined", "none", "nan"))
"""What broken clients send as a user id when nobody is signed in; taken at its word it would glue them all together."""

_TRAITS: Final = {
    "firstName": "given_name",
    "first_name": "given_name",
    "middleName": "middle_name",
    "lastName": "family_name",
    "last_name": "family_name",
    "name": "full_name",
    "birthday": "birth_date",
    "createdAt": "first_seen",
    "created_at": "first_seen",
}
_ADDRESS: Final = {
    "street": "street",
    "city": "city",
    "state": "region",
    "region": "region",
    "postalCode": "postcode",
    "postal_code": "postcode",
    "postcode": "postcode",
    "country": "country",
}
"""Segment's reserved traits as fields of the identity vocabulary; a trait of any other name keeps its name."""

_CHANNELS: Final = {
    "voice": "voice",
    "phone": "voice",
    "chat": "chat",
    "email": "email",
    "web": "web",
    "browser": "web",
    "messaging": "messaging",
    "sms": "messaging",
    "whatsapp": "messaging",
    "social": "social",
    "mobile": "mobile",
}
_CHANNEL_OF_NAME: Final = (("Call ", "voice"), ("Live Chat ", "chat"), ("Chat ", "chat"), ("Email ", "email"))
_BACKEND: Final = "backend"


class Event(msgspec.Struct, frozen=True, kw_only=True):
    """One event of somebody, canonical.

    message_id: unique per source; the same id is the same event. name: Segment Spec spelling. channel: one of
    contact.Channel, or "backend" when a system reported it and no channel was involved. occurred_at: aware UTC, on
    our clock. record_id: the source's own id of the person (userId). anonymous_id: the visitor (a cookie); at least
    one of the two is there. fields: raw values under names of the identity vocabulary, not yet canonical.
    """

    message_id: str
    type: EventType
    name: str
    channel: str
    occurred_at: datetime
    received_at: datetime
    sent_at: datetime | None = None
    record_id: str | None = None
    anonymous_id: str | None = None
    fields: dict[str, Any] = {}
    properties: dict[str, Any] = {}


def parse_event(raw: Mapping[str, Any], *, received_at: datetime, correct_skew: bool = True) -> Event:
    """The canonical event of one raw event.

    received_at: aware, when it reached us. correct_skew: whether sentAt tells the error of the sender's clock
    (Segment: time = receivedAt - (sentAt - timestamp)); pass False for events out of a file, which nobody sent just
    now. An event with a receivedAt of its own comes from an archive and was corrected before.

    Without a messageId the id is a digest of the content, so that the same file read twice counts once.

    Raises BadInput with the code malformed_event, event_too_large, unsupported_event_type, missing_name,
    missing_identity, field_too_long, control_character, malformed_time, time_in_future or time_too_early.
    """
    assert received_at.tzinfo is not None, "received_at must be aware"
    event = _unflattened(_as_json(raw))
    kind = _type(event)
    properties = _object(event, "properties")
    context = _object(event, "context")
    name = _name(event, kind, properties)
    record_id = _user(event, "userId", "user_id")
    anonymous_id = _user(event, "anonymousId", "anonymous_id")
    if record_id is None and anonymous_id is None:
        raise BadInput(
            "missing_identity",
            "The event names nobody.",
            where={"field": "userId"},
            hint="Give userId (the source's own id of the person) or anonymousId (the visitor).",
        )
    stated, sent_at, occurred_at = _times(event, received_at.astimezone(UTC), correct_skew=correct_skew)
    fields = _fields(_object(event, "traits") or _object(context, "traits"), context, anonymous_id)
    message_id = _text(event, "messageId", "message_id")
    if message_id is None:
        when = stated or received_at.astimezone(UTC)
        message_id = _digest([kind, name, record_id, anonymous_id, when, properties, fields])
    return Event(
        message_id=message_id,
        type=kind,
        name=name,
        channel=_channel(event, kind, name, context, properties),
        occurred_at=occurred_at,
        received_at=received_at.astimezone(UTC),
        sent_at=sent_at,
        record_id=record_id,
        anonymous_id=anonymous_id,
        fields=fields,
        properties=properties,
    )


# --- the raw event -----------------------------------------------------------------------------------------------


def _as_json(raw: object) -> dict[str, Any]:
    """`raw` through JSON: bounded in size, and of plain values whatever reader it came from (Parquet has datetimes)."""
    if not isinstance(raw, Mapping):
        raise BadInput("malformed_event", "The event is not an object.", hint="Send a JSON object.")
    try:
        encoded = msgspec.json.encode(raw)
    except (TypeError, ValueError, RecursionError) as error:
        raise BadInput(
            "malformed_event",
            "The event cannot be written as JSON.",
            hint="Use objects, lists, text without lone surrogates, numbers, true, false and null.",
        ) from error
    if len(encoded) > limits.RECORD_BYTES:
        raise BadInput(
            "event_too_large",
            f"The event has {len(encoded)} bytes; the limit is {limits.RECORD_BYTES}.",
            hint="Send references instead of content.",
            http_status=413,
        )
    return cast(dict[str, Any], msgspec.json.decode(encoded))


def _unflattened(event: dict[str, Any]) -> dict[str, Any]:
    """Columns such as "properties.order_id" or "context.ip" as members of their object; empty cells are absent."""
    dotted = [key for key in event if key.startswith(("properties.", "traits.", "context."))]
    for key in dotted:
        value = event.pop(key)
        if value is None or value == "":
            continue
        parent, _, member = key.partition(".")
        holder = _object(event, parent)
        holder.setdefault(member, value)
        event[parent] = holder
    return event


def _object(event: Mapping[str, Any], field: str) -> dict[str, Any]:
    """The object in `field`: {} when absent; text that is a JSON object (a cell of a CSV file) is read."""
    value = event.get(field)
    if value is None or value == "":
        return {}
    if isinstance(value, str):
        try:
            value = msgspec.json.decode(value)
        except (msgspec.DecodeError, RecursionError) as error:
            raise _not_an_object(field) from error
    if not isinstance(value, dict):
        raise _not_an_object(field)
    return value


def _not_an_object(field: str) -> BadInput:
    return BadInput(
        "malformed_event",
        f"{field} is not an object.",
        where={"field": field},
        hint='Send an object, such as {"order_id": "1042"}.',
    )


def _type(event: Mapping[str, Any]) -> EventType:
    value = event.get("type") or "track"
    if not isinstance(value, str) or value not in _TYPES:
        raise BadInput(
            "unsupported_event_type",
            "The event is of a type that is not read.",
            where={"field": "type"},
            hint=f"Send one of {', '.join(sorted(_TYPES))}.",
        )
    return cast(EventType, value)


def _name(event: Mapping[str, Any], kind: EventType, properties: dict[str, Any]) -> str:
    """The name of a track event; that of a page or screen goes into `properties`, as the spec has it."""
    if kind != "track":
        title = _text(event, "name")
        if title is not None and kind in ("page", "screen"):
            properties.setdefault("name", title)
        return _NAME_OF_TYPE[kind]
    name = _text(event, "event", "name")
    if name is None:
        raise BadInput(
            "missing_name",
            "The event has no name.",
            where={"field": "event"},
            hint='Give event, in the manner of the Segment Spec: "Order Completed".',
        )
    return spec_name(name)


def _text(event: Mapping[str, Any], *names: str) -> str | None:
    """The first of `names` that holds text or a whole number, trimmed and checked; None when there is none."""
    for name in names:
        value = event.get(name)
        if value is None:
            continue
        if isinstance(value, bool) or not isinstance(value, str | int) or (isinstance(value, int) and value >= 10**100):
            raise BadInput("malformed_event", f"{name} is not text.", where={"field": name}, hint="Send text.")
        text = str(value).strip()
        if not text:
            continue
        if len(text) > limits.FIELD_CHARS:
            raise BadInput(
                "field_too_long",
                f"{name} has {len(text)} characters; the limit is {limits.FIELD_CHARS}.",
                where={"field": name},
                hint="Send a shorter one.",
            )
        if any(character < " " or character == "\x7f" for character in text):
            raise BadInput(
                "control_character",
                f"{name} holds a control character.",
                where={"field": name},
                hint="Remove it; check the encoding of the sender.",
            )
        return text
    return None


def _user(event: Mapping[str, Any], *names: str) -> str | None:
    text = _text(event, *names)
    return None if text is None or text.casefold() in _NOBODY else text


def _digest(content: list[Any]) -> str:
    return "sha256:" + hashlib.sha256(msgspec.json.encode(content, order="deterministic")).hexdigest()[:40]


# --- time --------------------------------------------------------------------------------------------------------


def _times(
    event: Mapping[str, Any], received_at: datetime, *, correct_skew: bool
) -> tuple[datetime | None, datetime | None, datetime]:
    """(time as stated by the sender, sentAt, when it occurred on our clock)."""
    original = _time(event, "originalTimestamp", "original_timestamp")
    timestamp = _time(event, "timestamp", "occurred_at")
    sent_at = _time(event, "sentAt", "sent_at")
    archived = _time(event, "receivedAt", "received_at") is not None
    stated = timestamp or original
    if stated is None:
        return None, sent_at, received_at
    occurred_at = stated
    if correct_skew and sent_at is not None and not archived:
        try:
            occurred_at = received_at - (sent_at - (original or stated))
        except OverflowError as error:
            raise _malformed_time("sentAt") from error
    if occurred_at > received_at + timedelta(seconds=limits.EVENT_AHEAD_S):
        raise BadInput(
            "time_in_future",
            f"The event lies more than {limits.EVENT_AHEAD_S} s in the future.",
            where={"field": "timestamp"},
            hint="Set the sender's clock, or send sentAt so that its error can be corrected.",
        )
    if occurred_at < limits.EVENT_EARLIEST:
        raise BadInput(
            "time_too_early",
            f"The event lies before {limits.EVENT_EARLIEST.date().isoformat()}.",
            where={"field": "timestamp"},
            hint="Such a time is mostly a placeholder; leave timestamp out when it is not known.",
        )
    return stated, sent_at, occurred_at


def _time(event: Mapping[str, Any], *names: str) -> datetime | None:
    """The first of `names` as aware UTC; a time without a zone is UTC, a date is its midnight (ISO 8601)."""
    for name in names:
        value = event.get(name)
        if value is None or value == "":
            continue
        if not isinstance(value, str):
            raise _malformed_time(name)
        try:
            time = datetime.fromisoformat(value.strip())
            return time.replace(tzinfo=UTC) if time.tzinfo is None else time.astimezone(UTC)
        except (ValueError, OverflowError) as error:
            raise _malformed_time(name) from error
    return None


def _malformed_time(field: str) -> BadInput:
    return BadInput(
        "malformed_time",
        f"{field} is not a time.",
        where={"field": field},
        hint="Send ISO 8601, such as 2026-01-31T12:00:00.000Z.",
    )


# --- who and where -----------------------------------------------------------------------------------------------


def _fields(traits: Mapping[str, Any], context: Mapping[str, Any], anonymous_id: str | None) -> dict[str, Any]:
    """Raw fields of the identity vocabulary out of traits, address of the network, device and visitor."""
    fields: dict[str, Any] = {}
    for name, value in traits.items():
        if name == "address" and isinstance(value, dict):
            for part, field in _ADDRESS.items():
                if value.get(part) not in (None, ""):
                    fields[field] = value[part]
        elif value not in (None, ""):
            fields.setdefault(_TRAITS.get(name, name), value)
    ip = context.get("ip")
    if isinstance(ip, str) and ip:
        fields.setdefault("ip", ip)
    device = context.get("device")
    if isinstance(device, dict) and isinstance(device.get("id"), str) and device["id"]:
        fields.setdefault("device", device["id"])
    if anonymous_id is not None:
        fields["cookie"] = anonymous_id
    return fields


def _channel(
    event: Mapping[str, Any],
    kind: EventType,
    name: str,
    context: Mapping[str, Any],
    properties: Mapping[str, Any],
) -> str:
    """What the event says of its channel, else what its name, type or library imply, else "backend"."""
    for stated in (properties.get("channel"), event.get("channel"), context.get("channel")):
        if isinstance(stated, str) and stated.casefold() in _CHANNELS:
            return _CHANNELS[stated.casefold()]
    for prefix, channel in _CHANNEL_OF_NAME:
        if name.startswith(prefix):
            return channel
    if kind == "screen":
        return "mobile"
    if kind == "page" or "page" in context or "userAgent" in context:
        return "web"
    return "mobile" if "device" in context else _BACKEND
